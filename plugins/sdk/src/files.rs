//! Files of the measured host, as far as they are granted. Most kernel-wide files under `/proc` and `/sys` are granted
//! from the start, and so are the sizes of what is mounted; whatever else a plugin reads belongs among its
//! [needs](crate::Plugin::needs). For the kernel's own formats see [`kernel`](crate::kernel).
//!
//! ```
//! use gauged_plugin::{Error, Sample, files, testing::Host};
//!
//! gauged_plugin::metrics! {
//!     module "queue";
//!     /// Messages that wait to be sent.
//!     WAITING: gauge "waiting" in "{message}";
//!     /// Space that is left for them.
//!     AVAILABLE: gauge "available_bytes" in "By";
//! }
//!
//! fn measure(sample: &mut Sample) -> Result<(), Error> {
//!     // Where there is no such directory, there is no mail server, and never will be.
//!     let Some(messages) = files::list_if_there("/var/spool/mail/new")? else {
//!         return Err(Error::Unsupported("there is no mail server".to_owned()));
//!     };
//!     sample.set(WAITING, messages.len());
//!     // What is done about one error only; `?` does what is right about the others.
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
use crate::host::files;
use crate::{Capability, Need};

/// Reads a whole file, at most 1 MiB.
///
/// # Errors
///
/// Those of the contract; `?` turns them into what the agent is to do about them.
pub fn read(path: &str) -> Result<Vec<u8>, Failure> {
    files::read(path).map_err(|error| Failure::new(path, error))
}

/// Reads a whole text file, at most 1 MiB. What is not UTF-8 in it is replaced.
///
/// # Errors
///
/// As [`read`].
pub fn read_text(path: &str) -> Result<String, Failure> {
    let bytes = read(path)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Reads a whole text file, if there is one: for what some kernels or some machines do not have.
///
/// # Errors
///
/// As [`read`], except that a file that is not there is none.
pub fn read_text_if_there(path: &str) -> Result<Option<String>, Failure> {
    if_there(read_text(path))
}

/// The names in a directory, sorted.
///
/// # Errors
///
/// As [`read`].
pub fn list(path: &str) -> Result<Vec<String>, Failure> {
    files::list(path).map_err(|error| Failure { counted: "names", ..Failure::new(path, error) })
}

/// The names in a directory, sorted, if there is one.
///
/// # Errors
///
/// As [`read`], except that a directory that is not there is none.
pub fn list_if_there(path: &str) -> Result<Option<Vec<String>>, Failure> {
    if_there(list(path))
}

fn if_there<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(there) => Ok(Some(there)),
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
    files::usage(path)
        .map_err(|error| Failure { capability: Capability::Usage(path.to_owned()), ..Failure::new(path, error) })
}

/// What went wrong, and with which path.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What it would have taken.
    pub capability: Capability,
    /// The path that was asked for.
    pub path: String,
    /// What the host answered.
    pub error: Error,
    /// What there is too much of, where that is the error.
    counted: &'static str,
}

impl Failure {
    fn new(path: &str, error: Error) -> Self {
        Self { capability: Capability::Read(path.to_owned()), path: path.to_owned(), error, counted: "bytes" }
    }
}

/// What the agent is to do: a missing grant puts the plugin aside and is reported, everything else may pass, and the
/// plugin is asked again.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let Failure { capability, path, error, counted } = failure;
        match error {
            Error::Denied(_) => Self::Denied(Need { capability, reason: String::new() }),
            Error::InvalidPath(why) => Self::Internal(why),
            Error::NotFound => Self::Unavailable(format!("{path} is not there")),
            Error::WrongType => Self::Unavailable(format!("{path} is not of the type that was expected")),
            Error::TooLarge(limit) => Self::Unavailable(format!("{path} has more than {limit} {counted}")),
            Error::Timeout => Self::Unavailable(format!("{path} did not answer in time")),
            Error::Io(why) => Self::Unavailable(format!("failed to read {path}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_the_agent_is_to_do() {
        let failure = |error| crate::Error::from(Failure::new("/x", error));
        assert!(matches!(failure(Error::Denied(String::new())), crate::Error::Denied(need)
            if need.capability == Capability::Read("/x".to_owned())));
        assert_eq!(failure(Error::NotFound), crate::Error::Unavailable("/x is not there".to_owned()));
        assert!(matches!(failure(Error::InvalidPath("x".to_owned())), crate::Error::Internal(_)));
    }

    #[test]
    fn what_is_too_large_is_told_in_its_unit() {
        let mut host = crate::testing::Host::new();
        host.file_fails("/x", Error::TooLarge(9));
        let said =
            host.run(|| [read("/x").map(drop), list("/x").map(drop)].map(|said| said.map_err(crate::Error::from)));
        let unavailable = |why: &str| Err(crate::Error::Unavailable(why.to_owned()));
        assert_eq!(said, [unavailable("/x has more than 9 bytes"), unavailable("/x has more than 9 names")]);
    }
}
