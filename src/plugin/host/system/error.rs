//! Errors of queries.

use rustix::io::Errno;

use crate::plugin::guest::bindings::gauged::plugin::system::Error;
use crate::plugin::host::os_error::{os_error, permission_error, text, without_code};

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum QueryError {
    /// The kernel does not have it, or the measured host is another one; the text has the cause.
    NotSupported(String),
    /// With the remedy.
    NotPermitted(Errno, &'static str),
    NotFound,
    Timeout,
    System(Errno),
    Other(String),
}

impl QueryError {
    /// The error of a system call, with the remedy where it is not permitted.
    pub(super) fn new(errno: Errno, remedy: &'static str) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::NotPermitted(errno, remedy),
            errno => Self::System(errno),
        }
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::NotSupported(why) => Self::NotSupported(why),
            QueryError::NotPermitted(errno, remedy) => Self::NotPermitted(permission_error(errno, remedy)),
            QueryError::NotFound => Self::NotFound,
            QueryError::Timeout => Self::Timeout,
            QueryError::System(errno) => Self::Io(os_error(errno)),
            QueryError::Other(why) => Self::Io(without_code(why)),
        }
    }
}

/// The error of a kernel, driver or sandbox that has no answer.
pub(super) fn unsupported(what: &str, errno: Errno) -> QueryError {
    QueryError::NotSupported(format!("{what}: {}", text(errno)))
}
