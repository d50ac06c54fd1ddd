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

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

pub use crate::bindings::gauged::plugin::files::{Entry, Error, FileStatus, FileType, FilesystemUsage};
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

/// The text of a file's bytes. Invalid UTF-8 is replaced. Where there is none, this is many times as fast as
/// [`String::from_utf8_lossy`], which looks at single bytes.
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
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

/// The lines of a file that is [read in pieces](read_pieces), which end anywhere.
///
/// ```
/// use gauged_plugin::files::PieceLines;
///
/// let (mut pieces, mut lines) = (PieceLines::default(), Vec::new());
/// for piece in ["one\ntw", "", "o\nthr", "ee"] {
///     pieces.take(piece.as_bytes(), |line| lines.push(String::from_utf8_lossy(line).into_owned()));
/// }
/// assert_eq!((lines, pieces.rest), (vec!["one".to_owned(), "two".to_owned()], b"three".to_vec()));
/// ```
#[derive(Debug, Default)]
pub struct PieceLines {
    /// What is after the last end of line.
    pub rest: Vec<u8>,
}

impl PieceLines {
    /// Calls `take_line` with each line that ends in the next piece.
    pub fn take(&mut self, piece: &[u8], mut take_line: impl FnMut(&[u8])) {
        let mut lines = piece.split(|&byte| byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            if self.rest.is_empty() {
                take_line(line);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                take_line(&whole);
            }
        }
        self.rest.extend_from_slice(last);
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
    Ok(entries(path)?.into_iter().map(|entry| entry.name).collect())
}

/// Lists a directory as [`list`] does, with the type of each file.
///
/// # Errors
///
/// As [`read`].
///
/// ```
/// use gauged_plugin::files::{FileType, entries};
/// use gauged_plugin::testing::Host;
///
/// let mut host = Host::new();
/// host.file("/srv/spool/in/1", "").file("/srv/spool/state", "");
/// let directories = |entries: Vec<gauged_plugin::files::Entry>| -> Vec<String> {
///     entries.into_iter().filter(|entry| entry.kind == FileType::Directory).map(|entry| entry.name).collect()
/// };
/// assert_eq!(host.run(|| entries("/srv/spool").map(directories))?, ["in"]);
/// # Ok::<(), gauged_plugin::files::Failure>(())
/// ```
pub fn entries(path: &str) -> Result<Vec<Entry>, Failure> {
    files::list(path).map_err(|error| {
        let is_of_bytes = matches!(error, Error::TooLarge(limit) if limit > MAX_NAMES);
        let limit_unit = if is_of_bytes { LimitUnit::NameBytes } else { LimitUnit::Names };
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

/// Reads many small files, each of at most `max_bytes`, at the price of few calls of the agent, where reading each by itself has
/// one. The results are in the order of the paths. All contents are in memory at a time: of very many files, read some hundreds.
///
/// ```
/// use gauged_plugin::{files, testing::Host};
///
/// let mut host = Host::new();
/// host.file("/proc/1/comm", "init\n").file("/proc/2/comm", "kthreadd\n");
/// let paths = ["/proc/1/comm", "/proc/2/comm", "/proc/3/comm"].map(str::to_owned);
/// let names = host.run(|| files::read_many(&paths, 4096));
/// assert_eq!(names[1].as_deref(), Ok(&b"kthreadd\n"[..]));
/// assert_eq!(names[2].as_ref().unwrap_err().error, files::Error::NotFound);
/// ```
#[must_use]
pub fn read_many(paths: &[String], max_bytes: u32) -> Vec<Result<Vec<u8>, Failure>> {
    let mut results = Vec::with_capacity(paths.len());
    while let Some(rest) = paths.get(results.len()..).filter(|rest| !rest.is_empty()) {
        let read = files::read_many(rest, max_bytes);
        // The agent promises at least one; without it this would not end.
        if read.is_empty() {
            let late = rest.iter().map(|path| Err(Failure::new(path, Error::Timeout)));
            results.extend(late);
            break;
        }
        results.extend(rest.iter().zip(read).map(|(path, read)| read.map_err(|error| Failure::new(path, error))));
    }
    results
}

/// The state of a file or directory, of what a symbolic link leads to.
///
/// ```
/// use gauged_plugin::files::{self, FileType};
/// use gauged_plugin::testing::Host;
///
/// let mut host = Host::new();
/// host.file("/var/backup/last.tar", "content");
/// let status = host.run(|| files::stat("/var/backup/last.tar"))?;
/// assert_eq!((status.kind, status.size), (FileType::Regular, 7));
/// # Ok::<(), gauged_plugin::files::Failure>(())
/// ```
///
/// # Errors
///
/// As [`read`].
pub fn stat(path: &str) -> Result<FileStatus, Failure> {
    files::stat(path).map_err(|error| Failure::new(path, error))
}

/// The path in a symbolic link, which may be relative.
///
/// ```
/// use gauged_plugin::{files, testing::Host};
///
/// let mut host = Host::new();
/// host.link("/proc/7/exe", "/usr/sbin/nginx");
/// assert_eq!(host.run(|| files::read_link("/proc/7/exe"))?, "/usr/sbin/nginx");
/// # Ok::<(), gauged_plugin::files::Failure>(())
/// ```
///
/// # Errors
///
/// As [`read`].
pub fn read_link(path: &str) -> Result<String, Failure> {
    files::read_link(path).map_err(|error| Failure::new(path, error))
}

/// Sizes of the file system mounted at a path.
///
/// # Errors
///
/// As [`read`].
pub fn usage(path: &str) -> Result<FilesystemUsage, Failure> {
    files::usage(path).map_err(|error| Failure { is_usage: true, ..Failure::new(path, error) })
}

/// A failed file operation, with its path.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The requested path.
    pub path: String,
    /// The host's error.
    pub error: Error,
    /// Whether the sizes of a file system were asked for.
    is_usage: bool,
    pub(crate) limit_unit: LimitUnit,
}

/// The unit of the limit of `Error::TooLarge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitUnit {
    Bytes,
    Names,
    NameBytes,
}

impl fmt::Display for LimitUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Names => "names",
            Self::NameBytes => "bytes of names",
        })
    }
}

impl Failure {
    fn new(path: &str, error: Error) -> Self {
        Self { path: path.to_owned(), error, is_usage: false, limit_unit: LimitUnit::Bytes }
    }

    /// The grant that the operation needs: the one that the agent reports as missing, otherwise the path.
    #[must_use]
    pub fn capability(&self) -> Capability {
        match &self.error {
            Error::Denied(missing) => missing.clone(),
            _ if self.is_usage => Capability::usage(&*self.path),
            _ => Capability::read(&*self.path),
        }
    }
}

/// A missing grant becomes `Denied`. A file that does not exist, or does not respond, may be there at the next tick and becomes
/// `Unavailable`. Everything else is a file that cannot be measured as it is, and becomes `Failed`.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let capability = failure.capability();
        let Failure { path, error, limit_unit, .. } = failure;
        match error {
            Error::Denied(_) => Self::Denied(Need { capability, reason: String::new() }),
            Error::Forbidden(why) | Error::InvalidPath(why) => Self::Failed(why),
            Error::NotFound => Self::Unavailable(format!("{path} does not exist")),
            Error::WrongType => Self::Failed(format!("{path} has an unexpected file type")),
            Error::NotPermitted(error) => Self::Failed(format!("{path} may not be read: {error}")),
            Error::NotSupported(why) => Self::Failed(format!("{path} is not supported: {why}")),
            Error::TooLarge(limit) => Self::Failed(format!("{path} has more than {limit} {limit_unit}")),
            Error::Timeout => Self::Unavailable(format!("{path} did not respond in time")),
            Error::Io(error) => Self::Failed(format!("failed to read {path}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsError;

    #[test]
    fn failures_map_to_plugin_errors() {
        let failure = |error| crate::Error::from(Failure::new("/x", error));
        let elsewhere = Capability::read("/y");
        assert_eq!(
            failure(Error::Denied(elsewhere.clone())),
            crate::Error::Denied(Need { capability: elsewhere, reason: String::new() })
        );
        assert_eq!(failure(Error::NotFound), crate::Error::Unavailable("/x does not exist".to_owned()));
        let slow = crate::Error::Unavailable("/x did not respond in time".to_owned());
        assert_eq!(failure(Error::Timeout), slow);
        // Nobody can start these.
        for error in [
            Error::Forbidden("x".to_owned()),
            Error::InvalidPath("x".to_owned()),
            Error::NotSupported("x".to_owned()),
            Error::WrongType,
            Error::TooLarge(1),
            Error::Io(OsError::new("EIO", "x")),
        ] {
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
