//! Shortages of the host: errors that say nothing about a file, and that may pass at any moment without a notification. An operation
//! that failed for one is tried again soon. An error is explained here, by the limit that it is due to, if there is one.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::escape::printable;
use crate::plugin::inherited_limit::InheritedLimit;
use crate::thread;

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
            _ => Self::from_errno(Errno::from_io_error(error)?),
        }
    }

    /// The shortage that an error of a system call is; none when it is another error.
    fn from_errno(errno: Errno) -> Option<Self> {
        match errno {
            Errno::MFILE => Some(Self::OpenFiles),
            Errno::NFILE => Some(Self::HostFiles),
            Errno::NOMEM | Errno::NOBUFS => Some(Self::Memory),
            _ => None,
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

/// The remedy for a shortage of an unknown resource.
pub(crate) const SHORTAGE_REMEDY: &str = "leave the agent more memory or processor time";

/// An error of the engine for which the host, and not the plugin, is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExplainedShortage {
    /// The error, and the limit that was reached where there is one.
    pub(crate) reason: String,
    /// The action for the operator.
    pub(crate) remedy: &'static str,
}

impl ExplainedShortage {
    /// The shortage that an error is due to; none if it has another cause.
    pub(crate) fn behind(error: &wasmtime::Error) -> Option<Self> {
        // The second is that of a thread or mapping that the host refuses.
        let is_scarce = |errno: &Errno| Shortage::from_errno(*errno).is_some() || *errno == Errno::AGAIN;
        let errno = error.chain().find_map(|cause| {
            let errno = cause.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
            errno.or_else(|| cause.downcast_ref::<Errno>().copied()).filter(is_scarce)
        });
        let errno = errno.or_else(|| error.is::<wasmtime::OutOfMemory>().then_some(Errno::NOMEM))?;
        let text = printable(&format!("{error:#}"));
        Some(match InheritedLimit::behind(errno) {
            Some(limit) => Self { reason: format!("{text}: reached {limit}"), remedy: limit.remedy() },
            None => {
                Self { reason: text, remedy: Shortage::from_errno(errno).map_or(SHORTAGE_REMEDY, Shortage::remedy) }
            }
        })
    }
}

/// An error of the system in words, with the limit that it is due to; and the remedy for that limit, or for the shortage, or else
/// this one.
pub(crate) fn explain<'a>(error: &io::Error, remedy: &'a str) -> (String, &'a str) {
    if let Some(limit) = Errno::from_io_error(error).and_then(InheritedLimit::behind) {
        return (format!("{error}: reached {limit}"), limit.remedy());
    }
    let shortage = || Shortage::classify(error).map(Shortage::remedy);
    (error.to_string(), thread::known_remedy(error).or_else(shortage).unwrap_or(remedy))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

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

    #[test]
    fn remedies_fit_the_error() {
        let remedy = |errno: Errno| explain(&errno.into(), "check the disk").1.to_owned();
        assert_eq!(explain(&Errno::IO.into(), "check the disk").0, io::Error::from(Errno::IO).to_string());
        assert_eq!(remedy(Errno::IO), "check the disk");
        assert!(remedy(Errno::NFILE).contains("fs.file-max") && remedy(Errno::MFILE).contains("LimitNOFILE"));
        let is_limited = getrlimit(Resource::Nofile).current.is_some();
        assert_eq!(explain(&Errno::MFILE.into(), "").0.contains("(RLIMIT_NOFILE)"), is_limited);
        assert!(Shortage::from_errno(Errno::NOMEM).is_some_and(|shortage| shortage.remedy().contains("memory")));
        let no_thread = io::Error::new(io::ErrorKind::WouldBlock, "no thread");
        assert_eq!(explain(&no_thread, "").1, "leave the agent more threads");
    }
}
