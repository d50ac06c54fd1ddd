//! Parts of the measured data that a plugin leaves out: a file that is missing or refused, a line or a number that it does
//! not understand. They cost their own metrics only. [`Skipped`] reports them to the operator, and decides whether a
//! tick has measured anything at all.
//!
//! ```
//! use gauged_plugin::skipped::Skipped;
//! use gauged_plugin::testing::Host;
//! use gauged_plugin::{Error, Sample};
//!
//! gauged_plugin::metrics! {
//!     module "stat";
//!     /// Context switches.
//!     SWITCHES: counter "context_switches_total" in "{switch}";
//!     /// Forks.
//!     FORKS: counter "forks_total" in "{process}";
//! }
//!
//! fn measure(skipped: &mut Skipped, sample: &mut Sample) -> Result<(), Error> {
//!     if let Some(file) = skipped.read("/proc/stat", "all counters") {
//!         for line in file.lines() {
//!             let (key, mut values) = line.key_values();
//!             let metric = match key {
//!                 "ctxt" => SWITCHES,
//!                 "processes" => FORKS,
//!                 _ => continue,
//!             };
//!             sample.set(metric, skipped.keep(values.number::<u64>(key), metric.name));
//!         }
//!     }
//!     skipped.finish(sample)
//! }
//!
//! let mut host = Host::new();
//! host.file("/proc/stat", "ctxt 7\nprocesses -2049562273\n");
//! let (mut skipped, mut sample) = (Skipped::default(), Sample::default());
//! host.run(|| measure(&mut skipped, &mut sample))?;
//! assert_eq!(sample.len(), 1, "the context switches");
//! assert_eq!(
//!     host.messages(),
//!     ["WARN without forks_total: /proc/stat line 2 is malformed: -2049562273 is not a number (processes)"]
//! );
//!
//! // Nothing at all is an error.
//! let mut empty = Sample::default();
//! let missing = Host::new().run(|| measure(&mut skipped, &mut empty));
//! assert_eq!(missing, Err(Error::Unavailable("/proc/stat does not exist".to_owned())));
//! # Ok::<(), Error>(())
//! ```

use std::fmt;

pub use crate::bindings::gauged::plugin::log::SkipReason as Reason;
use crate::bindings::gauged::plugin::log::Skipped as Report;
use crate::files::{self, Failure};
use crate::host::log;
use crate::kernel::{self, File};
use crate::{Error, Sample};

/// A part that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The file, or the address of a server.
    pub path: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// The word that was not understood; may be empty.
    pub word: String,
    /// Why.
    pub reason: Reason,
    /// The cause in words.
    pub why: String,
    /// What the operator can do about it; may be empty.
    pub remedy: String,
}

impl Skip {
    /// A value that is not understood or cannot be true, of a source other than a file of the kernel.
    #[must_use]
    pub fn malformed(source: &str, word: &str, why: impl Into<String>) -> Self {
        let (path, word) = (source.to_owned(), word.to_owned());
        Self { path, line: 0, word, reason: Reason::Malformed, why: why.into(), remedy: String::new() }
    }

    /// A part that the operating system does not permit to read, with the cause and the remedy.
    ///
    /// ```
    /// use gauged_plugin::skipped::Skip;
    ///
    /// let skip = Skip::not_permitted("/proc/1/stat", "/proc is mounted with hidepid", "run the agent as root");
    /// assert_eq!((&*skip.why, &*skip.remedy), ("/proc is mounted with hidepid", "run the agent as root"));
    /// ```
    #[must_use]
    pub fn not_permitted(source: &str, why: &str, remedy: &str) -> Self {
        Self { reason: Reason::NotPermitted, ..Self::malformed(source, "", why) }.with_remedy(remedy)
    }

    /// The part with what the operator can do about it.
    ///
    /// ```
    /// use gauged_plugin::skipped::Skip;
    ///
    /// let skip = Skip::malformed("/proc", "", "there are too many processes").with_remedy("raise `timeout`");
    /// assert_eq!(skip.remedy, "raise `timeout`");
    /// ```
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// Reports the part to the operator, at each tick at which it is left out. `lost` completes "without …".
    pub fn report(self, lost: impl fmt::Display) {
        let Self { path, line, word, reason, why, remedy } = self;
        log::skip(&Report { source: path, line, word, reason, message: why, remedy, left_out: lost.to_string() });
    }
}

/// What a plugin leaves out at a tick. Call [`finish`](Self::finish) at its end. The agent reports each kind once.
#[derive(Debug, Default)]
pub struct Skipped {
    /// The error of this tick if nothing else is measured.
    error: Option<Error>,
}

impl Skipped {
    /// Reads a file. `None` if that fails or the file is empty, which costs `lost`. The lines that a file has beyond
    /// [`MAX_BYTES`](kernel::MAX_BYTES) cost their metrics.
    pub fn read(&mut self, path: &str, lost: impl fmt::Display) -> Option<File> {
        let file = self.keep(File::read(path), &lost)?;
        if file.text().trim_ascii().is_empty() {
            self.lose(file.truncated("is empty"), lost);
            return None;
        } else if file.is_cut() {
            let limit = kernel::MAX_BYTES >> 20;
            file.truncated(format_args!("is longer than the {limit} MiB that are read"))
                .skip()
                .report("its other lines");
        }
        Some(file)
    }

    /// The value, or `None` and a report of its error. `lost` completes "without …": a metric, or what it is of.
    pub fn keep<T, E: Cause>(&mut self, result: Result<T, E>, lost: impl fmt::Display) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                error.skip().report(lost);
                let is_denied = matches!(self.error, Some(Error::Denied(_)));
                let error = error.into();
                // A missing grant is what an operator can add.
                if self.error.is_none() || (!is_denied && matches!(error, Error::Denied(_))) {
                    self.error = Some(error);
                }
                None
            }
        }
    }

    /// Reports an error, as [`keep`](Self::keep) does.
    pub fn lose(&mut self, error: impl Cause, lost: impl fmt::Display) {
        self.keep(Err::<(), _>(error), lost);
    }

    /// The value, or `None`, for what not every machine has: only a file that the agent's user may not read is reported. It is
    /// not the error of the tick.
    ///
    /// ```
    /// use gauged_plugin::OsError;
    /// use gauged_plugin::files::{self, Error};
    /// use gauged_plugin::skipped::Skipped;
    /// use gauged_plugin::testing::{Host, not_permitted};
    ///
    /// let mut host = Host::new();
    /// host.file_fails("/sys/class/net/eth0/speed", Error::Io(OsError::new("EINVAL", "Invalid argument")));
    /// host.file_fails("/sys/class/net/eth0/mtu", not_permitted());
    /// let mut skipped = Skipped::default();
    /// host.run(|| {
    ///     for attribute in ["speed", "mtu", "missing"] {
    ///         let read = files::read_text(&format!("/sys/class/net/eth0/{attribute}"));
    ///         assert_eq!(skipped.optional(read, attribute), None);
    ///     }
    /// });
    /// let why = "WARN without mtu: /sys/class/net/eth0/mtu is not permitted: Permission denied; run it as root";
    /// assert_eq!(host.messages(), [why]);
    /// ```
    pub fn optional<T>(&mut self, read: Result<T, Failure>, lost: impl fmt::Display) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(failure) => {
                // The agent reports a missing grant itself.
                let is_denied = matches!(failure.error, files::Error::Denied(_) | files::Error::Forbidden(_));
                let skip = failure.skip();
                if skip.reason == Reason::NotPermitted && !is_denied {
                    skip.report(lost);
                }
                None
            }
        }
    }

    /// Ends a tick.
    ///
    /// # Errors
    ///
    /// The sample is empty: the first reason why, or the first missing grant.
    pub fn finish(&mut self, sample: &Sample) -> Result<(), Error> {
        match self.error.take() {
            Some(error) if sample.is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

/// An error that costs a part of a sample.
pub trait Cause: Into<Error> {
    /// The part.
    fn skip(&self) -> Skip;
}

impl Cause for kernel::Error {
    fn skip(&self) -> Skip {
        Skip {
            path: self.path.clone(),
            line: self.line,
            word: self.word.clone(),
            reason: self.reason,
            why: self.message.clone(),
            remedy: String::new(),
        }
    }
}

impl Cause for Failure {
    fn skip(&self) -> Skip {
        let (reason, why) = match &self.error {
            files::Error::NotFound => (Reason::Missing, "does not exist".to_owned()),
            files::Error::WrongType => (Reason::Malformed, "has an unexpected file type".to_owned()),
            files::Error::TooLarge(limit) => (Reason::Truncated, format!("has more than {limit} {}", self.limit_unit)),
            files::Error::Timeout => (Reason::Truncated, "did not respond in time".to_owned()),
            files::Error::NotPermitted(error) => return Skip::not_permitted(&self.path, &error.text, &error.remedy),
            files::Error::NotSupported(why) => (Reason::Missing, why.clone()),
            files::Error::Io(error) => (Reason::Malformed, error.to_string()),
            files::Error::Forbidden(why) => (Reason::NotPermitted, why.clone()),
            files::Error::Denied(_) | files::Error::InvalidPath(_) => {
                (Reason::NotPermitted, "may not be read".to_owned())
            }
        };
        Skip { reason, ..Skip::malformed(&self.path, "", why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Host, not_permitted};
    use crate::{Capability, OsError};

    crate::metrics! {
        module "m";
        /// A level.
        LEVEL: gauge "level" in "1";
    }

    fn failure(error: files::Error) -> Failure {
        let mut host = Host::new();
        host.file_fails("/x", error);
        host.run(|| files::read("/x")).expect_err("it fails")
    }

    #[test]
    fn failures_have_a_reason() {
        for (error, reason) in [
            (files::Error::NotFound, Reason::Missing),
            (files::Error::WrongType, Reason::Malformed),
            (files::Error::TooLarge(1), Reason::Truncated),
            (files::Error::Timeout, Reason::Truncated),
            (files::Error::Denied(Capability::read("/x")), Reason::NotPermitted),
            (files::Error::Forbidden("the agent's own".to_owned()), Reason::NotPermitted),
            (not_permitted(), Reason::NotPermitted),
            (files::Error::NotSupported("accounting is off".to_owned()), Reason::Missing),
            (files::Error::Io(OsError::new("ENODEV", "No such device")), Reason::Malformed),
        ] {
            assert_eq!(failure(error.clone()).skip().reason, reason, "{error:?}");
        }
    }

    fn failure_of_missing() -> Failure {
        files::read("/missing").expect_err("missing")
    }

    #[test]
    fn empty_sample_is_the_first_error() {
        let mut skipped = Skipped::default();
        let mut sample = Sample::default();
        let denied = failure(files::Error::Denied(Capability::read("/x")));
        Host::new().run(|| {
            assert_eq!(skipped.finish(&sample), Ok(()), "nothing to measure is no error");
            skipped.keep(Err::<(), _>(failure_of_missing()), "a");
            skipped.keep(Err::<(), _>(denied), "b");
            assert!(matches!(skipped.finish(&sample), Err(Error::Denied(_))));
            skipped.keep(Err::<(), _>(failure_of_missing()), "a");
            sample.set(LEVEL, 1_u64);
            assert_eq!(skipped.finish(&sample), Ok(()));
            assert_eq!(skipped.read("/missing", "c"), None);
        });
    }
}
