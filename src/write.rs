//! Whole writes to a stream that may be non-blocking: another process that shares it may have set that.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

/// Writes all bytes, however long that takes, and counts the written ones.
pub(crate) fn write_whole(output: &mut (impl Write + AsFd), bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match output.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => *written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(output, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
