//! Shortages of the host: errors that say nothing about a file, and that may pass at any moment without a notification. What
//! failed for one is tried again soon.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// How long after a shortage the same is tried again: an operator who ends it sees the effect at once, and an attempt that fails
/// costs a few system calls.
pub(crate) const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

/// A resource that the host is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The limit of this process's open files.
    OpenFiles,
    /// The limit of all open files of the host.
    HostFiles,
    Memory,
    /// The offload pool has no free thread.
    Threads,
}

/// The error of an operation that failed for a shortage.
#[derive(Debug)]
pub(crate) struct ShortageError {
    pub(crate) shortage: Shortage,
    pub(crate) error: io::Error,
}

impl Shortage {
    /// The shortage that an error of an operation on files is; none when it is another error.
    pub(crate) fn classify(error: &io::Error) -> Option<Self> {
        match error.kind() {
            // The pool's own; a file system may return that error, too.
            io::ErrorKind::WouldBlock if error.raw_os_error().is_none() => Some(Self::Threads),
            io::ErrorKind::OutOfMemory => Some(Self::Memory),
            _ => match Errno::from_io_error(error)? {
                Errno::MFILE => Some(Self::OpenFiles),
                Errno::NFILE => Some(Self::HostFiles),
                Errno::NOMEM | Errno::NOBUFS => Some(Self::Memory),
                _ => None,
            },
        }
    }

    /// The action for the operator.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::OpenFiles => "raise LimitNOFILE of the unit, or ulimit -n",
            Self::HostFiles => "raise fs.file-max, or end other processes",
            Self::Memory => "free memory, or raise MemoryMax of the unit",
            Self::Threads => "leave the agent more threads",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortages_differ_from_other_errors() {
        let shortage = |errno: Errno| Shortage::classify(&io::Error::from(errno));
        assert_eq!(shortage(Errno::MFILE), Some(Shortage::OpenFiles));
        assert_eq!(shortage(Errno::NFILE), Some(Shortage::HostFiles));
        assert_eq!(shortage(Errno::NOMEM), Some(Shortage::Memory));
        assert_eq!(
            Shortage::classify(&io::Error::new(io::ErrorKind::WouldBlock, "no thread")),
            Some(Shortage::Threads)
        );
        for other in [Errno::ACCESS, Errno::AGAIN, Errno::NOENT, Errno::IO, Errno::STALE, Errno::NOTDIR, Errno::LOOP] {
            assert_eq!(shortage(other), None, "{other}");
        }
        assert_eq!(Shortage::classify(&io::Error::other("broken")), None);
    }
}
