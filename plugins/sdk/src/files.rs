//! Files of the measured host. Kernel-wide, harmless files under `/proc` and `/sys`, and the sizes of mounted file systems, are
//! granted by default: `gauged plugin grants` prints the list, and the tests of a plugin know it. List anything else in
//! [`needs`](crate::Plugin::needs). `/proc/net` and `/proc/mounts` are those of process 1. For the kernel's file formats see
//! [`kernel`](crate::kernel).
//!
//! ```
//! use gauged_plugin::{Error, Sample, files, testing::Host};
//!
//! gauged_plugin::metrics! {
//!     module "queue";
//!     /// Messages waiting to be sent.
//!     WAITING: gauge "waiting" in "{message}";
//!     /// Space left for messages.
//!     AVAILABLE: gauge "available_bytes" in "By";
//! }
//!
//! fn measure(sample: &mut Sample) -> Result<(), Error> {
//!     // Without this directory the host has no mail server.
//!     let Some(messages) = files::list_if_exists("/var/spool/mail/new")? else {
//!         return Err(Error::Unsupported("there is no mail server".to_owned()));
//!     };
//!     sample.set(WAITING, messages.len());
//!     // Handle one error; `?` converts the others.
//!     match files::usage("/var/spool/mail") {
//!         Err(failure) if failure.error == files::Error::Timeout => {}
//!         usage => sample.set(AVAILABLE, usage?.available_bytes),
//!     }
//!     Ok(())
//! }
//!
//! let mut host = Host::new();
//! host.file("/var/spool/mail/new/1", "").file("/var/spool/mail/new/2", "");
//! host.usage_fails("/var/spool/mail", files::Error::Timeout);
//! let mut sample = Sample::default();
//! host.run(|| measure(&mut sample))?;
//! assert_eq!(sample.len(), 1);
//! assert!(matches!(Host::new().run(|| measure(&mut sample)), Err(Error::Unsupported(_))));
//! # Ok::<(), Error>(())
//! ```

pub use crate::bindings::gauged::plugin::files::{Error, FilesystemUsage};
use std::ops::ControlFlow;

use crate::host::files;
use crate::{Capability, Need};

/// Reads a whole file, at most 4 MiB.
///
/// # Errors
///
/// Those of the WIT; `?` converts them to [`crate::Error`].
pub fn read(path: &str) -> Result<Vec<u8>, Failure> {
    files::read(path).map_err(|error| Failure::new(path, error))
}

/// Reads a whole text file, at most 4 MiB. Invalid UTF-8 is replaced.
///
/// # Errors
///
/// As [`read`].
pub fn read_text(path: &str) -> Result<String, Failure> {
    let bytes = read(path)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Reads a whole text file that not every kernel or machine has. `None` if it does not exist.
///
/// # Errors
///
/// As [`read`], except `NotFound`.
pub fn read_text_if_exists(path: &str) -> Result<Option<String>, Failure> {
    if_exists(read_text(path))
}

/// The first piece of a file that is read in pieces: enough for most, and little to read in vain if the subject is found in it.
const FIRST_PIECE_BYTES: u32 = 64 << 10;

/// The largest piece, as large as the WIT permits.
const MAX_PIECE_BYTES: u32 = 4 << 20;

/// Reads a file in pieces, each longer than the one before, until `take` breaks or the file ends. Pieces end anywhere, also
/// within a line. A file that changes meanwhile may be torn between them.
///
/// # Errors
///
/// As [`read`], except `TooLarge`.
///
/// ```
/// use std::ops::ControlFlow;
/// use gauged_plugin::{files, testing::Host};
///
/// let mut host = Host::new();
/// host.file("/proc/net/tcp", vec![b'x'; 1 << 20]);
/// let mut read = 0;
/// host.run(|| files::read_pieces("/proc/net/tcp", |piece| {
///     read += piece.len();
///     if read > 1000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
/// }))?;
/// assert_eq!(read, 64 << 10);
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
pub fn read_pieces(path: &str, mut take: impl FnMut(&[u8]) -> ControlFlow<()>) -> Result<ControlFlow<()>, Failure> {
    let (mut offset, mut wanted) = (0_u64, FIRST_PIECE_BYTES);
    loop {
        let piece = files::read_at(path, offset, wanted).map_err(|error| Failure::new(path, error))?;
        if take(&piece).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        offset += piece.len() as u64;
        if piece.len() < wanted as usize {
            return Ok(ControlFlow::Continue(()));
        }
        wanted = (wanted * 4).min(MAX_PIECE_BYTES);
    }
}

/// The most names that the agent lists.
const MAX_NAMES: u64 = 100_000;

/// Lists the names in a directory, sorted: at most 100,000, and 4 MiB of them.
///
/// # Errors
///
/// As [`read`].
pub fn list(path: &str) -> Result<Vec<String>, Failure> {
    files::list(path).map_err(|error| {
        let is_of_bytes = matches!(error, Error::TooLarge(limit) if limit > MAX_NAMES);
        let limit_unit = if is_of_bytes { "bytes of names" } else { "names" };
        Failure { limit_unit, ..Failure::new(path, error) }
    })
}

/// Lists the names in a directory, sorted. `None` if it does not exist.
///
/// # Errors
///
/// As [`read`], except `NotFound`.
pub fn list_if_exists(path: &str) -> Result<Option<Vec<String>>, Failure> {
    if_exists(list(path))
}

fn if_exists<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.error == Error::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Sizes of the file system mounted at a path.
///
/// # Errors
///
/// As [`read`].
pub fn usage(path: &str) -> Result<FilesystemUsage, Failure> {
    files::usage(path).map_err(|error| Failure { capability: Capability::usage(path), ..Failure::new(path, error) })
}

/// A failed file operation, with its path.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The grant that the operation needs.
    pub capability: Capability,
    /// The requested path.
    pub path: String,
    /// The host's error.
    pub error: Error,
    /// The unit of the limit of `Error::TooLarge`.
    pub(crate) limit_unit: &'static str,
}

impl Failure {
    fn new(path: &str, error: Error) -> Self {
        Self { capability: Capability::read(path), path: path.to_owned(), error, limit_unit: "bytes" }
    }
}

/// A missing grant becomes `Denied`. A file that does not exist, or does not respond, may be there at the next tick and becomes
/// `Unavailable`. Everything else is a file that cannot be measured as it is, and becomes `Failed`.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let Failure { capability, path, error, limit_unit } = failure;
        match error {
            Error::Denied(_) => Self::Denied(Need { capability, reason: String::new() }),
            Error::InvalidPath(why) => Self::Failed(why),
            Error::NotFound => Self::Unavailable(format!("{path} does not exist")),
            Error::WrongType => Self::Failed(format!("{path} has an unexpected file type")),
            Error::NotPermitted(why) => Self::Failed(format!("{path} may not be read: {why}")),
            Error::TooLarge(limit) => Self::Failed(format!("{path} has more than {limit} {limit_unit}")),
            Error::Timeout => Self::Unavailable(format!("{path} did not respond in time")),
            Error::Io(why) => Self::Failed(format!("failed to read {path}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_map_to_plugin_errors() {
        let failure = |error| crate::Error::from(Failure::new("/x", error));
        assert!(matches!(failure(Error::Denied(String::new())), crate::Error::Denied(need)
            if need.capability == Capability::read("/x")));
        assert_eq!(failure(Error::NotFound), crate::Error::Unavailable("/x does not exist".to_owned()));
        let slow = crate::Error::Unavailable("/x did not respond in time".to_owned());
        assert_eq!(failure(Error::Timeout), slow);
        // Nobody can start these.
        for error in
            [Error::InvalidPath("x".to_owned()), Error::WrongType, Error::TooLarge(1), Error::Io("x".to_owned())]
        {
            assert!(matches!(failure(error.clone()), crate::Error::Failed(_)), "{error:?}");
        }
    }

    #[test]
    fn too_large_error_names_its_unit() {
        let mut host = crate::testing::Host::new();
        let mut errors = |limit| {
            host.file_fails("/x", Error::TooLarge(limit));
            let results = host.run(|| [read("/x").map(drop), list("/x").map(drop)]);
            results.map(|result| match result.map_err(crate::Error::from) {
                Err(crate::Error::Failed(why)) => why,
                result => panic!("{result:?}"),
            })
        };
        assert_eq!(errors(9), ["/x has more than 9 bytes", "/x has more than 9 names"]);
        assert_eq!(errors(100_000)[1], "/x has more than 100000 names");
        assert_eq!(errors(4 << 20)[1], "/x has more than 4194304 bytes of names");
    }
}
