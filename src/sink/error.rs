//! Errors of sinks, by a closed set of reasons.

use std::io;

use rustix::io::Errno;

/// Why a sink failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorReason {
    /// The reader has closed its end.
    Closed,
    /// The disk or the quota is full.
    NoSpace,
    /// The agent's user may not.
    Permission,
    /// The directory or file is not there.
    NotFound,
    /// The file system is read-only.
    ReadOnly,
    /// The file would be larger than the process may make it.
    TooLarge,
    /// The target is no file that lines are appended to.
    NotAFile,
    /// The process or the host has as many open files as it may have.
    Descriptors,
    /// The lines are in the file, and may not be on the disk: no sample is lost.
    Sync,
    /// Another agent has the state directory.
    InUse,
    /// Any other error of the system.
    Io,
    /// The receiver's name has no address.
    Resolve,
    /// There is no connection to the receiver.
    Connect,
    /// The connection is not trusted, or not encrypted.
    Tls,
    /// The proxy does not connect.
    Proxy,
    /// The receiver did not respond in time.
    Timeout,
    /// The response is none of the protocol.
    Protocol,
    /// The receiver is overloaded, or refuses for a reason that may pass.
    Status,
    /// The receiver refuses the points.
    Rejected,
}

impl ErrorReason {
    /// All of them, in the order of the numbers that they are.
    pub(crate) const ALL: [Self; 19] = [
        Self::Closed,
        Self::NoSpace,
        Self::Permission,
        Self::NotFound,
        Self::ReadOnly,
        Self::TooLarge,
        Self::NotAFile,
        Self::Descriptors,
        Self::Sync,
        Self::InUse,
        Self::Io,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Proxy,
        Self::Timeout,
        Self::Protocol,
        Self::Status,
        Self::Rejected,
    ];

    /// The value of the label `reason`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NoSpace => "no_space",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::ReadOnly => "read_only",
            Self::TooLarge => "too_large",
            Self::NotAFile => "not_a_file",
            Self::Descriptors => "descriptors",
            Self::Sync => "sync",
            Self::InUse => "in_use",
            Self::Io => "io",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Rejected => "rejected",
        }
    }

    /// The reason behind an error of the system.
    pub(super) fn from_error(error: &io::Error) -> Self {
        if matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::MFILE | Errno::NFILE)) {
            return Self::Descriptors;
        }
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            io::ErrorKind::IsADirectory => Self::NotAFile,
            _ => Self::Io,
        }
    }
}

/// An error of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SinkError {
    pub(crate) reason: ErrorReason,
    /// The operation and its error, for the log and the status.
    pub(crate) text: String,
    /// The action for the operator.
    pub(crate) remedy: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_own_numbers_and_names() {
        for (number, reason) in ErrorReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(ErrorReason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
        assert_eq!(ErrorReason::from_error(&io::Error::from_raw_os_error(28)), ErrorReason::NoSpace);
        for error in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(ErrorReason::from_error(&error.into()), ErrorReason::Descriptors);
        }
        assert_eq!(ErrorReason::from_error(&io::Error::other("x")), ErrorReason::Io);
    }
}
