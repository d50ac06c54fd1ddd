//! Writes to a stream that may be non-blocking, since another process that shares it may have set that: whole ones, however
//! long they take, and those that do not wait.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

/// The longest write that a pipe accepts as a whole or not at all (`PIPE_BUF` on Linux). A pipe or a socket that is ready
/// has room for so much.
pub(crate) const AT_ONCE_BYTES: usize = 4096;

/// Writes all bytes, however long that takes, and counts the written ones.
pub(crate) fn write_whole(output: &mut (impl Write + AsFd), bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match output.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => *written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(output, PollFlags::OUT)], None) {
                    Err(Errno::INTR) => {}
                    ready => drop(ready?),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes bytes without waiting for a reader, and counts the written ones. Fails with `WouldBlock` where the rest has to
/// wait: a pipe or a socket has no room, or the output is one that promises nothing, such as a terminal. A file takes all.
pub(crate) fn write_at_once(output: &mut (impl Write + AsFd), bytes: &[u8], written: &mut usize) -> io::Result<()> {
    let kind = FileType::from_raw_mode(fstat(&*output)?.st_mode);
    match kind {
        FileType::RegularFile => return write_whole(output, bytes, written),
        FileType::Fifo | FileType::Socket => {}
        _ => return Err(io::ErrorKind::WouldBlock.into()),
    }
    while *written < bytes.len() {
        if !is_ready(output)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let end = bytes.len().min(*written + AT_ONCE_BYTES);
        let piece = &bytes[*written..end];
        // Another process that shares the output may have taken the room.
        let result = match write_nowait(&*output, piece) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => output.write(piece),
            result => result,
        };
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => *written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a write succeeds or fails at once.
fn is_ready(output: &impl AsFd) -> io::Result<bool> {
    const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(output, PollFlags::OUT)];
    Ok(poll(&mut polled, Some(&NOT_AT_ALL))? > 0)
}

/// Writes bytes if there is room for them; otherwise fails with `WouldBlock`, and with `Unsupported` where the kernel does
/// not know such writes to pipes and sockets.
#[cfg(target_os = "linux")]
pub(crate) fn write_nowait(output: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, pwritev2};

    /// The offset for files without positions, such as pipes.
    const NONE: u64 = u64::MAX;

    match pwritev2(output, &[io::IoSlice::new(bytes)], NONE, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
        written => Ok(written?),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn write_nowait(_output: &impl AsFd, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_file_takes_all_at_once() {
        let (mut file, mut written) = (tempfile::tempfile().expect("a file"), 0);
        write_at_once(&mut file, &vec![b'x'; 100_000], &mut written).expect("written");
        assert_eq!(written, 100_000);
    }

    #[test]
    fn a_device_takes_nothing_at_once() {
        let mut device = std::fs::File::options().write(true).open("/dev/null").expect("opened");
        let mut written = 0;
        let error = write_at_once(&mut device, b"x", &mut written).expect_err("it promises nothing");
        assert_eq!((error.kind(), written), (io::ErrorKind::WouldBlock, 0));
    }

    #[test]
    fn a_full_pipe_refuses_the_rest() {
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        let (bytes, mut written) = (vec![b'x'; 100_000], 0);
        let error = write_at_once(&mut writer, &bytes, &mut written).expect_err("it is full");
        assert!(error.kind() == io::ErrorKind::WouldBlock && (1..100_000).contains(&written), "{error}, {written}");
        let mut text = vec![0; written];
        reader.read_exact(&mut text).expect("written");
        write_at_once(&mut writer, &bytes, &mut written).expect("there is room again");
        drop(reader);
        let mut none = 0;
        let error = write_at_once(&mut writer, &bytes, &mut none).expect_err("nobody reads");
        assert_eq!((error.kind(), none), (io::ErrorKind::BrokenPipe, 0));
    }

    #[test]
    fn a_full_socket_refuses_the_rest() {
        let (mut writer, _reader) = UnixStream::pair().expect("a pair");
        let (bytes, mut written) = (vec![b'x'; 10_000_000], 0);
        let error = write_at_once(&mut writer, &bytes, &mut written).expect_err("it is full");
        assert!(error.kind() == io::ErrorKind::WouldBlock && written > 0, "{error}, {written}");
    }
}
