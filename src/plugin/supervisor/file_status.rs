//! The status of a plugin's file: its last rejection or read error, and when it is loaded again.

use std::io;
use std::time::{Duration, Instant};

use crate::plugin::build::sealed::Hash;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::backoff::Backoff;
use crate::plugin::guest::fault::DisabledCause;
use crate::plugin::rejection::{Rejection, RetryPolicy};
use crate::plugin::shortage::{SHORTAGE_PAUSE, Shortage};
use crate::plugin::supervisor::state::PluginState;

/// How long after a read error the file is read again: the error may pass unseen.
const READ_PAUSE: Duration = Duration::from_secs(30);

/// The problems of a plugin's file.
#[derive(Debug, Default)]
pub(crate) struct FileStatus {
    /// The content that was rejected last. Boxed, since most plugins have none.
    rejected: Option<Box<Rejected>>,
    /// The error of the last attempt to read the file.
    read_error: Option<ReadProblem>,
    /// When to load the file again, if the cause may pass.
    reload: Backoff,
    /// Whether a shortage of the host was reported since the file last had another outcome. Each attempt may fail in another
    /// step.
    is_short: bool,
}

/// Why a file cannot be read.
#[derive(Debug, Default)]
struct ReadProblem {
    /// The error, by which the same one is known again.
    error: String,
    reason: String,
    remedy: String,
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

    /// The state of the plugin when its file was rejected and no version serves.
    pub(crate) fn state(&self, plugin: &PluginContext) -> PluginState {
        let cause = self.rejected.as_ref().and_then(|rejected| rejected.disabled);
        cause.map_or(PluginState::Rejected, |cause| PluginState::disabled(cause, plugin))
    }

    /// Whether the current file was rejected or cannot be read.
    pub(crate) fn is_bad(&self) -> bool {
        self.rejected.is_some() || self.read_error.is_some()
    }

    /// When to load the file again.
    pub(crate) fn reload_at(&self) -> Option<Instant> {
        self.reload.at
    }

    /// Cancels the retry: the file is being loaded.
    pub(crate) fn cancel_reload(&mut self) {
        self.reload.at = None;
    }

    /// Records that the configuration has changed, which may have been the cause of any rejection.
    pub(crate) fn reconfigured(&mut self) {
        if let Some(rejected) = self.rejected.as_mut().filter(|rejected| rejected.retry == RetryPolicy::Never) {
            rejected.retry = RetryPolicy::OnChange;
        }
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
            self.is_short = false;
            return true;
        }
        self.clear();
        false
    }

    /// Records that the file was replaced by an entry that cannot be loaded. There is nothing to retry.
    pub(crate) fn set_unusable(&mut self, reason: &str) {
        self.cancel_reload();
        let (why, remedy) = reason.rsplit_once("; ").unwrap_or((reason, "remove it"));
        let (error, why, remedy) = (reason.to_owned(), why.to_owned(), remedy.to_owned());
        self.read_error = Some(ReadProblem { error, reason: why, remedy });
    }

    /// Describes the last read error for the operator.
    pub(crate) fn describe_read_error(&mut self, reason: &str, remedy: &str) {
        if let Some(problem) = &mut self.read_error {
            (problem.reason, problem.remedy) = (reason.to_owned(), remedy.to_owned());
        }
    }

    /// Reason and remedy of the problem that the file has: it cannot be read, or its content was rejected.
    pub(crate) fn problem(&self) -> Option<(&str, String)> {
        let read = self.read_error.as_ref().map(|problem| (&*problem.reason, problem.remedy.clone()));
        read.or_else(|| self.rejected().map(|rejected| (&*rejected.reason, rejected.full_remedy())))
    }

    /// Records a read error. Returns whether its reason is new.
    pub(crate) fn set_read_error(&mut self, error: &io::Error, now: Instant) -> bool {
        if Shortage::classify(error).is_some() {
            self.read_error = Some(ReadProblem { error: error.to_string(), ..ReadProblem::default() });
            return self.set_short(now);
        }
        self.is_short = false;
        // A permission changes the file, which the scan sees.
        self.reload.at = (error.kind() != io::ErrorKind::PermissionDenied).then(|| now + READ_PAUSE);
        let error = error.to_string();
        let is_new = self.read_error.as_ref().is_none_or(|known| known.error != error);
        self.read_error = Some(ReadProblem { error, ..ReadProblem::default() });
        is_new
    }

    /// Records a shortage of the host. Returns whether to report it.
    fn set_short(&mut self, now: Instant) -> bool {
        self.reload.at = Some(now + SHORTAGE_PAUSE);
        !std::mem::replace(&mut self.is_short, true)
    }

    /// Records a rejection. Returns whether to report it: a content that is retried is reported once.
    pub(crate) fn set_rejected(&mut self, hash: Hash, rejection: Rejection, now: Instant) -> bool {
        let Rejection { version, reason, remedy, disabled, retry, .. } = rejection;
        if self.rejected.as_ref().is_none_or(|rejected| rejected.hash != hash) {
            self.reload = Backoff::default();
        }
        let rejected = Some(Box::new(Rejected { hash, version, reason, remedy, disabled, retry }));
        let was_rejected_so = self.rejected == rejected;
        self.rejected = rejected;
        match retry {
            RetryPolicy::Soon => self.set_short(now),
            RetryPolicy::Backoff => {
                self.reload.record_failure(now);
                self.is_short = false;
                !was_rejected_so
            }
            RetryPolicy::OnChange | RetryPolicy::Never => {
                self.is_short = false;
                true
            }
        }
    }
}

impl Rejected {
    /// The remedy, and whether the agent retries by itself.
    pub(crate) fn full_remedy(&self) -> String {
        self.retry.full_remedy(&self.remedy)
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
        let now = Instant::now();
        let set = |status: &mut FileStatus, error| status.set_read_error(error, now);
        assert!(set(&mut status, &io) && !set(&mut status, &io) && set(&mut status, &stale));
        status.set_readable();
        assert!(set(&mut status, &stale), "it could be read meanwhile");
    }

    #[test]
    fn unreadable_file_is_read_again_after_30_s() {
        let (now, mut status) = (Instant::now(), FileStatus::default());
        status.set_read_error(&io::Error::from_raw_os_error(5), now);
        assert_eq!(status.reload_at(), Some(now + READ_PAUSE));
        status.cancel_reload();
        status.set_read_error(&io::ErrorKind::PermissionDenied.into(), now);
        assert_eq!(status.reload_at(), None, "its permissions have to change");
    }

    #[test]
    fn shortage_is_retried_soon_and_reported_once() {
        let (now, hash, mut status) = (Instant::now(), Hash([1; 32]), FileStatus::default());
        let short = || rejection("cannot be compiled now", RetryPolicy::Soon);
        let soon = Some(now + SHORTAGE_PAUSE);
        // Too many open files; out of memory.
        for errno in [24, 12] {
            assert_eq!(status.set_read_error(&io::Error::from_raw_os_error(errno), now), errno == 24);
            assert_eq!(status.reload_at(), soon);
            status.set_readable();
            assert!(!status.set_rejected(hash, short(), now), "in another step");
            assert_eq!(status.reload_at(), soon);
        }
        assert!(status.set_read_error(&io::Error::from_raw_os_error(5), now));
        assert!(status.set_rejected(hash, short(), now), "after another error");
        status.clear();
        assert!(status.set_rejected(hash, short(), now), "it served meanwhile");
    }

    #[test]
    fn final_rejection_ends_with_a_new_configuration() {
        let (hash, mut status) = (Hash([1; 32]), FileStatus::default());
        status.set_rejected(hash, rejection("needs more memory", RetryPolicy::Never), Instant::now());
        assert_eq!(status.final_hash(), Some(hash));
        status.reconfigured();
        assert!(status.final_hash().is_none() && status.is_bad());
    }

    #[test]
    fn serving_content_clears_the_rejection() {
        let mut status = FileStatus::default();
        status.set_rejected(Hash([1; 32]), rejection("is truncated", RetryPolicy::Never), Instant::now());
        assert!(status.set_known(Hash([1; 32])) && status.is_bad());
        assert!(!status.set_known(Hash([2; 32])) && !status.is_bad());
    }
}
