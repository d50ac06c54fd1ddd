//! An open file: appends whole lines to it. Nothing is kept that another process may change: each line begins with the file's
//! size and last byte as they are, so that a file that was emptied, cut or appended to by others is right for the next line.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::retry_on_intr;

use super::error::{failed, not_a_file};
use crate::sink::error::SinkError;

/// The permissions of a new file, before the umask: samples are for the agent's group, not for everybody.
const MODE: Mode = Mode::from_raw_mode(0o640);

/// Never waits for a reader of a pipe, follows no link in the path's last part, and does not go to the compile child.
const FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A file that is open for lines.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    identity: Identity,
    /// The size after the last line; another one means that somebody else has changed the file.
    size: u64,
    /// Whether the last byte, at that size, is known to be a line's end.
    is_line_whole: bool,
    /// When its first line was written. None while it is empty.
    begun: Option<SystemTime>,
    /// The line with what it needs before it.
    record: Vec<u8>,
    pub(super) calls: Calls,
}

/// Calls of the system that seldom fail. Tests replace them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub(super) length: fn(&File) -> io::Result<u64>,
    pub(super) sync: fn(&File) -> io::Result<()>,
}

impl Calls {
    const SYSTEM: Self = Self {
        length: |file| Ok(file.metadata()?.len()),
        sync: |file| Ok(retry_on_intr(|| rustix::fs::fdatasync(file.as_fd()))?),
    };
}

/// A file as such, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl OpenFile {
    /// Opens a file, or creates it. Its content stays as it is.
    pub(super) fn open(path: &Path) -> Result<Self, SinkError> {
        // Before it is opened: that alone may do something to a device.
        if let Ok(metadata) = path.symlink_metadata() {
            check_kind(path, metadata.file_type())?;
        }
        let failed = |error: io::Error| failed("failed to open", path, &error);
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | FLAGS;
        let file = retry_on_intr(|| openat(CWD, path, flags, MODE)).map_err(|error| failed(error.into()))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(failed)?;
        check_kind(path, metadata.file_type())?;
        let size = metadata.len();
        // The time at which it was made is not known to every file system. The last line was written no later.
        let begun = if size == 0 { None } else { metadata.created().into_iter().chain(metadata.modified()).min() };
        let identity = Identity::new(&metadata);
        Ok(Self { file, identity, size, is_line_whole: false, begun, record: Vec::new(), calls: Calls::SYSTEM })
    }

    /// Whether the file at its path is this one. It stays where the path cannot be examined.
    pub(super) fn is_in_place(&self, path: &Path) -> bool {
        match path.symlink_metadata() {
            Ok(metadata) => Identity::new(&metadata) == self.identity,
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }

    /// Notices what others have done to the file: one that has shrunk was emptied, and begins anew. Comes before each line.
    pub(super) fn examine(&mut self, now: SystemTime) -> io::Result<()> {
        let size = (self.calls.length)(&self.file)?;
        if size < self.size {
            self.begun = None;
        }
        if size != self.size {
            self.is_line_whole = false;
        }
        self.size = size;
        // The clock may have been set back.
        self.begun = if size == 0 { None } else { Some(self.begun.unwrap_or(now).min(now)) };
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How long ago the first line was written.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        self.begun.and_then(|begun| now.duration_since(begun).ok()).unwrap_or_default()
    }

    /// Appends a line, which ends with a newline, with one write. Where the file's last byte is not a line's end, one is added
    /// first, with the same write: it is the part of a line that somebody was killed at, or that had no space.
    pub(super) fn append(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        self.record.clear();
        if self.size > 0 && !self.is_line_whole && self.last_byte()? != Some(b'\n') {
            self.record.push(b'\n');
        }
        self.record.extend_from_slice(line);
        self.begun = self.begun.or(Some(now));
        self.is_line_whole = false;
        let mut written = 0;
        let result = write_record(|bytes| (&self.file).write(bytes), &self.record, &mut written);
        self.size += written as u64;
        self.is_line_whole = result.is_ok();
        result
    }

    /// Ends the part of a line that the file may end with.
    pub(super) fn end_line(&mut self, now: SystemTime) -> io::Result<()> {
        if self.size > 0 && !self.is_line_whole && self.last_byte()? != Some(b'\n') {
            self.append(b"", now)?;
        }
        Ok(())
    }

    /// Waits until all lines are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        (self.calls.sync)(&self.file)
    }

    /// None for a file that was emptied a moment ago.
    fn last_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let length = self.file.read_at(&mut byte, self.size - 1)?;
        Ok(byte.first().copied().filter(|_| length == 1))
    }
}

/// Writes a record with one call. Only the rest of one that was cut short has others: a full disk shows its error that way, and
/// a signal may have cut it. Counts the written bytes.
///
/// A part that stays is not taken back: a reader that follows may have it, and takes a file that becomes shorter for a new one.
fn write_record(
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    record: &[u8],
    written: &mut usize,
) -> io::Result<()> {
    while *written < record.len() {
        match write(&record[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => *written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lines go to regular files only.
pub(super) fn check_kind(path: &Path, kind: FileType) -> Result<(), SinkError> {
    const OTHER: &str = "name another path, of a regular file";
    let (kind, remedy) = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        ("a directory", "name a file in it, such as samples.ndjson")
    } else if kind.is_symlink() {
        ("a symbolic link", "name the file that it leads to; links in place of directories are followed")
    } else if kind.is_fifo() {
        ("a pipe", "name another path; for a pipe redirect the agent's output, with a sink of kind \"stdout\"")
    } else if kind.is_socket() {
        ("a socket", OTHER)
    } else {
        ("a device", OTHER)
    };
    Err(not_a_file(path, kind, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a record where each call has this result, and returns what was written in how many calls.
    fn written(results: &[io::Result<usize>], record: &[u8]) -> (Result<(), Option<i32>>, usize, usize) {
        let (mut calls, mut written) = (0, 0);
        let write = |bytes: &[u8]| {
            calls += 1;
            match &results[calls - 1] {
                Ok(count) => Ok(bytes.len().min(*count)),
                Err(error) => {
                    Err(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
                }
            }
        };
        let result = write_record(write, record, &mut written);
        (result.map_err(|error| error.raw_os_error()), written, calls)
    }

    #[test]
    fn a_line_is_one_write() {
        assert_eq!(written(&[Ok(100)], b"line\n"), (Ok(()), 5, 1));
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        assert_eq!(written(&[interrupted(), Ok(100)], b"line\n"), (Ok(()), 5, 2));
    }

    #[test]
    fn rest_of_a_short_write_is_tried() {
        let full = || Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        assert_eq!(written(&[Ok(2), Ok(100)], b"line\n"), (Ok(()), 5, 2));
        assert_eq!(written(&[Ok(2), full()], b"line\n").0, Err(Some(28)));
        assert_eq!(written(&[Ok(2), full()], b"line\n").1, 2);
        assert_eq!(written(&[Ok(0)], b"line\n"), (Err(None), 0, 1));
    }

    #[test]
    fn partial_line_is_ended_before_the_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let (mut file, now) = (OpenFile::open(&path).expect("opened"), SystemTime::now());
        let append = |file: &mut OpenFile, line: &[u8]| {
            file.examine(now).expect("examined");
            file.append(line, now).expect("written");
        };
        append(&mut file, b"1\n");
        // As after a write that was cut short.
        append(&mut file, b"par");
        file.is_line_whole = false;
        append(&mut file, b"2\n");
        // Somebody else's.
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut other| other.write_all(b"x"))
            .expect("written");
        append(&mut file, b"3\n");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "1\npar\n2\nx\n3\n");
    }
}
