//! Reads a plugin file into sealed memory. The file may be replaced or truncated at any moment, and its file system may hang.

use std::io::{self, Read};
use std::path::Path;

use crate::plugin::build::sealed::Sealed;
use crate::plugin::offload::progress::Progress;

/// The largest file that is read: twice a Python guest.
pub(crate) const FILE_BYTES: u64 = 32 << 20;

/// Reads a file that may be replaced or truncated at any moment.
pub(crate) fn read(path: &Path, progress: &Progress) -> io::Result<Sealed> {
    use rustix::fs::{Mode, OFlags, open};
    // The opening of a named pipe would wait for its writer.
    let file = std::fs::File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Sealed::copy(ProgressReader { file: file.take(FILE_BYTES + 1), progress })
}

/// A reader that reports progress with each piece.
struct ProgressReader<'a, R> {
    file: R,
    progress: &'a Progress,
}

impl<R: Read> Read for ProgressReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.is_abandoned() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.progress.advance();
        self.file.read(buffer)
    }
}
