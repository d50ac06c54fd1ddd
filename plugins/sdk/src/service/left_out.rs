//! Reports what a plugin leaves out of its sample, so that a missing metric has an explanation. Independent of the kind of
//! source.

use crate::{files, log};

/// Why the kernel does not permit to read files of processes, and the remedy.
pub const HIDDEN_PROCESSES: &str = "/proc is mounted with hidepid, or a security module denies it; run the agent as root, or in \
                                    the group of the mount option gid";

/// The host's texts for `EPERM` and `EACCES`.
const PERMISSION_ERRORS: [&str; 2] = ["(os error 1)", "(os error 13)"];

/// Whether a file is there, but the agent's user may not read it.
///
/// ```
/// use gauged_plugin::testing::Host;
/// use gauged_plugin::{files, service};
///
/// let mut host = Host::new();
/// host.file_fails("/proc/1/stat", files::Error::Io("Operation not permitted (os error 1)".to_owned()));
/// let is_not_permitted = |path| files::read(path).is_err_and(|failure| service::is_not_permitted(&failure));
/// assert!(host.run(|| is_not_permitted("/proc/1/stat") && !is_not_permitted("/proc/2/stat")));
/// ```
#[must_use]
pub fn is_not_permitted(failure: &files::Failure) -> bool {
    matches!(&failure.error, files::Error::Io(why) if PERMISSION_ERRORS.iter().any(|denied| why.ends_with(denied)))
}

/// The most subjects that are remembered. Subjects are metrics, fields and files of a plugin, of which there are fewer.
const MAX_SUBJECTS: usize = 256;

/// The longest value in a message.
const MAX_VALUE_CHARS: usize = 40;

/// What was left out so far: each subject is reported once.
///
/// ```
/// use gauged_plugin::service::LeftOut;
/// use gauged_plugin::testing::Host;
///
/// let mut host = Host::new();
/// let mut left_out = LeftOut::default();
/// host.run(|| {
///     left_out.report("memory", "the memory is not readable; run the agent as root");
///     left_out.report("memory", "the memory is not readable; run the agent as root");
///     left_out.report_fields("db:1", &[("clients", "many"), ("keys", "-5")]);
///     left_out.report_fields("db:1", &[("clients", "several")]);
/// });
/// assert_eq!(
///     host.messages(),
///     [
///         "WARN the memory is not readable; run the agent as root",
///         "WARN db:1 has values that are impossible or not understood; their metrics are left out: clients:many, keys:-5",
///     ]
/// );
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    reported: Vec<Box<str>>,
}

impl LeftOut {
    /// Reports that something is left out, with cause and remedy, unless the subject was reported before.
    pub fn report(&mut self, subject: &str, message: &str) {
        if self.is_new(subject) {
            log::warn(message);
        }
    }

    /// Reports fields of a response, as name and value, of which some were not reported before.
    pub fn report_fields(&mut self, source: &str, fields: &[(&str, &str)]) {
        let mut listed = String::new();
        for (name, value) in fields {
            if self.is_new(name) {
                listed.push_str(if listed.is_empty() { "" } else { ", " });
                listed.push_str(name);
                listed.push(':');
                listed.extend(value.trim().chars().filter(|shown| !shown.is_control()).take(MAX_VALUE_CHARS));
            }
        }
        if !listed.is_empty() {
            let why = " has values that are impossible or not understood; their metrics are left out: ";
            log::warn(&[source, why, &listed].concat());
        }
    }

    fn is_new(&mut self, subject: &str) -> bool {
        let is_new = self.reported.len() < MAX_SUBJECTS && self.reported.iter().all(|known| **known != *subject);
        if is_new {
            self.reported.push(subject.into());
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn subjects_are_reported_once_within_a_limit() {
        let (mut host, mut left_out) = (Host::new(), LeftOut::default());
        host.run(|| {
            for _ in 0..2 {
                for number in 0..2 * MAX_SUBJECTS {
                    left_out.report(&number.to_string(), "left out");
                }
            }
        });
        assert_eq!(host.messages().len(), MAX_SUBJECTS);
    }

    #[test]
    fn values_in_reports_are_short_and_printable() {
        let mut host = Host::new();
        let long = ["a\u{1b}[31m\nb", &"x".repeat(1000)].concat();
        host.run(|| LeftOut::default().report_fields("db", &[("field", &long)]));
        let message = &host.messages()[0];
        assert!(
            message.len() < 200 && !message.contains(char::is_control) && message.contains("field:a[31mb"),
            "{message}"
        );
    }
}
