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

use crate::files::{self, Failure};
use crate::kernel::{self, File};
use crate::{Error, Sample, log};

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The file, line or field is not there. Kernels and configurations differ, so this is often expected.
    Missing,
    /// The operating system or the configuration does not let the plugin read it.
    NotPermitted,
    /// It is not understood, or cannot be true.
    Malformed,
    /// It ends too early, or could not be read to its end.
    Truncated,
}

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
}

/// What a plugin has left out. Keep one in the plugin, and call [`finish`](Self::finish) at the end of each tick.
#[derive(Debug, Default)]
pub struct Skipped {
    reported: Vec<(String, Reason, String)>,
    /// The error of this tick if nothing else is measured.
    error: Option<Error>,
}

/// The most parts that one plugin reports. A file that is garbage from end to end has thousands, which say no more.
const MAX_REPORTED: usize = 64;

impl Skipped {
    /// Reads a file. `None` if that fails or the file is empty, which costs `lost`.
    pub fn read(&mut self, path: &str, lost: impl fmt::Display) -> Option<File> {
        let file = self.keep(File::read(path), &lost)?;
        if file.text().trim_ascii().is_empty() {
            self.keep(Err::<(), _>(file.truncated("is empty")), lost)?;
        }
        Some(file)
    }

    /// The value, or `None` and a report of its error. `lost` completes "without …": a metric, or what it is of.
    pub fn keep<T, E: Cause>(&mut self, result: Result<T, E>, lost: impl fmt::Display) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(&error.skip(), lost);
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

    /// Reports a part that was left out.
    pub fn add(&mut self, skip: &Skip, lost: impl fmt::Display) {
        let lost = lost.to_string();
        let is_same = |(path, reason, other): &(String, Reason, String)| {
            *path == skip.path && *reason == skip.reason && *other == lost
        };
        let is_new = self.reported.len() < MAX_REPORTED && !self.reported.iter().any(is_same);
        report(skip, &lost, is_new);
        if is_new {
            self.reported.push((skip.path.clone(), skip.reason, lost));
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

/// Reports a part to the operator. The only place that does.
fn report(skip: &Skip, lost: &str, is_new: bool) {
    if !is_new {
        return;
    }
    let Skip { path, line, reason, why, .. } = skip;
    let at = if *line > 0 { format!(" line {line}") } else { String::new() };
    let message = format!("without {lost}: {path}{at} {}: {why}", reason.text());
    match reason {
        Reason::Missing => log::debug(&message),
        _ => log::warn(&message),
    }
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "is missing",
            Self::NotPermitted => "is not permitted",
            Self::Malformed => "is malformed",
            Self::Truncated => "is truncated",
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
        }
    }
}

impl Cause for Failure {
    fn skip(&self) -> Skip {
        let (reason, why) = match &self.error {
            files::Error::NotFound => (Reason::Missing, "does not exist"),
            files::Error::WrongType => (Reason::Malformed, "has an unexpected file type"),
            files::Error::TooLarge(_) => (Reason::Truncated, "is too long"),
            files::Error::Timeout => (Reason::Truncated, "did not respond in time"),
            files::Error::Io(why) if is_permission(why) => (Reason::NotPermitted, why.as_str()),
            files::Error::Io(why) => (Reason::Malformed, why.as_str()),
            _ => (Reason::NotPermitted, "may not be read"),
        };
        Skip { path: self.path.clone(), line: 0, word: String::new(), reason, why: why.to_owned() }
    }
}

/// Whether the operating system's text is that of `EPERM` or `EACCES`.
fn is_permission(why: &str) -> bool {
    ["(os error 1)", "(os error 13)"].iter().any(|end| why.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

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
            (files::Error::Denied(String::new()), Reason::NotPermitted),
            (files::Error::Io("Permission denied (os error 13)".to_owned()), Reason::NotPermitted),
            (files::Error::Io("Operation not permitted (os error 1)".to_owned()), Reason::NotPermitted),
            (files::Error::Io("No such device (os error 19)".to_owned()), Reason::Malformed),
        ] {
            assert_eq!(failure(error.clone()).skip().reason, reason, "{error:?}");
        }
    }

    #[test]
    fn parts_are_reported_once_within_a_limit() {
        let mut host = Host::new();
        let mut skipped = Skipped::default();
        host.run(|| {
            for line in 0..3_u32 {
                for at in 0..1000 {
                    let file = File::new("/f", format!("{line}\n"));
                    skipped.keep(Err::<(), _>(file.error("is odd")), format_args!("metric {at}"));
                }
            }
            skipped.keep(Err::<(), _>(failure_of_missing()), "more");
        });
        assert_eq!(host.messages().len(), MAX_REPORTED);
        assert_eq!(host.messages()[0], "WARN without metric 0: /f is malformed: is odd");
    }

    fn failure_of_missing() -> Failure {
        files::read("/missing").expect_err("missing")
    }

    #[test]
    fn empty_sample_is_the_first_error() {
        let mut skipped = Skipped::default();
        let mut sample = Sample::default();
        let denied = failure(files::Error::Denied(String::new()));
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
