//! The calls of the system that put requests on the disk. Tests let them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Writes bytes at an offset of a file, all of them.
pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match write_at(file, rest, offset.saturating_add(written as u64)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(test))]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

/// Makes a file shorter.
#[cfg(not(test))]
pub(super) fn cut(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

#[cfg(test)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    match faults::next_write() {
        None => file.write_at(bytes, offset),
        Some(faults::WriteFault::Short(length)) => file.write_at(&bytes[..length.min(bytes.len())], offset),
        Some(faults::WriteFault::Error(error)) => Err(error.into()),
    }
}

#[cfg(test)]
pub(super) fn cut(file: &File, length: u64) -> io::Result<()> {
    if faults::are_cuts_refused() { Err(io::ErrorKind::PermissionDenied.into()) } else { file.set_len(length) }
}

/// Faults of this thread's calls.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use rustix::io::Errno;

    /// The effect of a write instead of its own.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::sink::spool) enum WriteFault {
        /// It writes no more than so many bytes.
        Short(usize),
        Error(Errno),
    }

    thread_local! {
        static WRITES: RefCell<VecDeque<WriteFault>> = const { RefCell::new(VecDeque::new()) };
        static CUTS: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn next_write() -> Option<WriteFault> {
        WRITES.with_borrow_mut(VecDeque::pop_front)
    }

    pub(super) fn are_cuts_refused() -> bool {
        CUTS.get()
    }

    /// The next writes have these faults, and as long as `refuses_cuts` no file becomes shorter.
    pub(in crate::sink::spool) fn set(writes: impl IntoIterator<Item = WriteFault>, refuses_cuts: bool) {
        WRITES.with_borrow_mut(|faults| *faults = writes.into_iter().collect());
        CUTS.set(refuses_cuts);
    }
}
