//! The status of a plugin's file: its last rejection or read error, and when it is loaded again.

use std::io;
use std::time::Instant;

use rustix::io::Errno;

use crate::plugin::build::sealed::Hash;
use crate::plugin::guest::backoff::Backoff;
use crate::plugin::guest::fault::DisabledCause;
use crate::plugin::rejection::{Rejection, RetryPolicy};

/// The problems of a plugin's file.
#[derive(Debug, Default)]
pub(crate) struct FileStatus {
    /// The content that was rejected last. Boxed, since most plugins have none.
    rejected: Option<Box<Rejected>>,
    /// The error of the last attempt to read the file.
    read_error: Option<String>,
    /// When to load the rejected content again, if the cause may pass.
    reload: Backoff,
}

/// A content that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) hash: Hash,
    pub(crate) version: Option<String>,
    pub(crate) reason: String,
    pub(crate) remedy: String,
    disabled: Option<DisabledCause>,
    retry: RetryPolicy,
}

impl FileStatus {
    /// The content that was rejected last.
    pub(crate) fn rejected(&self) -> Option<&Rejected> {
        self.rejected.as_deref()
    }

    /// The content that was rejected for good.
    pub(crate) fn final_hash(&self) -> Option<Hash> {
        self.rejected.as_ref().filter(|rejected| rejected.retry == RetryPolicy::Never).map(|rejected| rejected.hash)
    }

    /// The cause, when the plugin itself returned that it cannot work.
    pub(crate) fn disabled_cause(&self) -> Option<DisabledCause> {
        self.rejected.as_ref().and_then(|rejected| rejected.disabled)
    }

    /// Whether the current file was rejected or cannot be read.
    pub(crate) fn is_bad(&self) -> bool {
        self.rejected.is_some() || self.read_error.is_some()
    }

    /// When to load the rejected content again.
    pub(crate) fn reload_at(&self) -> Option<Instant> {
        self.reload.at
    }

    /// Cancels the retry: the file is being loaded.
    pub(crate) fn cancel_reload(&mut self) {
        self.reload.at = None;
    }

    /// Records that the file could be read.
    pub(crate) fn set_readable(&mut self) {
        self.read_error = None;
    }

    /// Forgets all problems: the file serves.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Records that the file has a known content. Returns whether that content is the rejected one.
    pub(crate) fn set_known(&mut self, hash: Hash) -> bool {
        if self.rejected.as_ref().is_some_and(|rejected| rejected.hash == hash) {
            return true;
        }
        self.clear();
        false
    }

    /// Records that the file was replaced by an entry that cannot be loaded. There is nothing to retry.
    pub(crate) fn set_unusable(&mut self, reason: &str) {
        self.cancel_reload();
        self.read_error = Some(reason.to_owned());
    }

    /// Records a read error. Returns whether its reason is new.
    pub(crate) fn set_read_error(&mut self, error: &io::Error) -> bool {
        let reason = error.to_string();
        let is_new = self.read_error.as_ref() != Some(&reason);
        self.read_error = Some(reason);
        is_new
    }

    /// Records a rejection. Returns whether to report it: a content that is retried is reported once.
    pub(crate) fn set_rejected(&mut self, hash: Hash, rejection: Rejection, now: Instant) -> bool {
        let Rejection { version, reason, remedy, disabled, retry, .. } = rejection;
        if self.rejected.as_ref().is_none_or(|rejected| rejected.hash != hash) {
            self.reload = Backoff::default();
        }
        let is_retried = retry == RetryPolicy::Backoff;
        if is_retried {
            self.reload.record_failure(now);
        }
        let rejected = Some(Box::new(Rejected { hash, version, reason, remedy, disabled, retry }));
        let is_known = is_retried && self.rejected == rejected;
        self.rejected = rejected;
        !is_known
    }
}

impl Rejected {
    /// The remedy, and whether the agent retries by itself.
    pub(crate) fn full_remedy(&self) -> String {
        let retried = if self.retry == RetryPolicy::Backoff { "; it is retried" } else { "" };
        format!("{}{retried}", self.remedy)
    }
}

/// The remedy for a file that cannot be read.
pub(crate) fn read_remedy(error: &io::Error) -> &'static str {
    if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) {
        return "raise the agent's limit of open files; the file is read again every 30 s";
    }
    match error.kind() {
        io::ErrorKind::NotFound => "none, if it was removed",
        // It is copied into memory, to which the limit applies, too.
        io::ErrorKind::FileTooLarge => "raise the agent's limit of file sizes; the file is read again every 30 s",
        io::ErrorKind::PermissionDenied => "allow the agent to read it",
        io::ErrorKind::TimedOut => "check the file system; the file is read again every 30 s",
        _ => "check the disk or the mount; the file is read again every 30 s",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(reason: &str, retry: RetryPolicy) -> Rejection {
        Rejection { retry, ..Rejection::from(format!("{reason}; fix it")) }
    }

    #[test]
    fn retried_rejection_is_reported_once() {
        let (now, hash) = (Instant::now(), Hash([1; 32]));
        let mut status = FileStatus::default();
        assert!(status.set_rejected(hash, rejection("is late", RetryPolicy::Backoff), now));
        assert!(!status.set_rejected(hash, rejection("is late", RetryPolicy::Backoff), now));
        assert!(status.set_rejected(hash, rejection("is truncated", RetryPolicy::Never), now));
        assert!(status.set_rejected(hash, rejection("is truncated", RetryPolicy::Never), now), "it was copied again");
        assert_eq!(status.final_hash(), Some(hash));
    }

    #[test]
    fn read_errors_are_reported_once_per_reason() {
        let mut status = FileStatus::default();
        let (io, stale) = (io::Error::from_raw_os_error(5), io::Error::from_raw_os_error(116));
        assert!(status.set_read_error(&io) && !status.set_read_error(&io) && status.set_read_error(&stale));
        status.set_readable();
        assert!(status.set_read_error(&stale), "it could be read meanwhile");
    }

    #[test]
    fn remedies_fit_the_read_error() {
        let remedy = |errno: Errno| read_remedy(&io::Error::from(errno));
        assert!(remedy(Errno::MFILE).contains("open files") && remedy(Errno::FBIG).contains("file sizes"));
        assert!(remedy(Errno::ACCESS).starts_with("allow") && remedy(Errno::IO).starts_with("check the disk"));
    }

    #[test]
    fn serving_content_clears_the_rejection() {
        let mut status = FileStatus::default();
        status.set_rejected(Hash([1; 32]), rejection("is truncated", RetryPolicy::Never), Instant::now());
        assert!(status.set_known(Hash([1; 32])) && status.is_bad());
        assert!(!status.set_known(Hash([2; 32])) && !status.is_bad());
    }
}
