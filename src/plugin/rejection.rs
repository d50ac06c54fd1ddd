//! Why a file may not serve, for the log, and when it is loaded again.

use std::io;

use rustix::io::Errno;

use crate::escape::printable;
use crate::plugin::guest::fault::{CallError, CallErrorKind, Disabled, DisabledCause, Failure, Fault, FaultKind};
use crate::plugin::offload::pool::OffloadError;
use crate::plugin::shortage::{ExplainedShortage, SHORTAGE_REMEDY, Shortage, explain};

/// Why a file may not serve.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// The plugin's version; none when it failed before it was described.
    pub(crate) version: Option<String>,
    /// The end of a sentence that begins with the file, on one line.
    pub(crate) reason: String,
    /// The action for the operator.
    pub(crate) remedy: String,
    /// Whether it counts as a fault. A host with nothing to measure is none.
    pub(crate) is_fault: bool,
    /// The cause, when the plugin itself returned that it cannot work.
    pub(crate) disabled: Option<DisabledCause>,
    pub(crate) retry: RetryPolicy,
}

/// When a rejected file is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryPolicy {
    /// Never with this content, which is wrong.
    Never,
    /// When the file is written again, even with the same content: it does not fit this host or configuration.
    OnChange,
    /// After a pause: the cause may pass, such as a busy host or a service that is not running.
    Backoff,
    /// After a second: the host was short of something, and the attempt has cost next to nothing.
    Soon,
}

impl RetryPolicy {
    /// A remedy that also says whether the agent retries by itself.
    pub(crate) fn full_remedy(self, remedy: &str) -> String {
        let retried = if matches!(self, Self::Backoff | Self::Soon) { "; it is retried" } else { "" };
        format!("{remedy}{retried}")
    }
}

impl Rejection {
    /// A file that the engine does not take: a shortage of the host, which may pass, or the text for the engine's error.
    pub(crate) fn unloadable(error: &wasmtime::Error, text: impl FnOnce(&str) -> String) -> Self {
        match ExplainedShortage::behind(error) {
            Some(ExplainedShortage { reason, remedy }) => {
                Self { retry: RetryPolicy::Soon, ..Self::from(format!("cannot be loaded now: {reason}; {remedy}")) }
            }
            None => text(&printable(&format!("{error:#}"))).into(),
        }
    }

    /// The same with the plugin's version.
    pub(crate) fn with_version(self, version: &str) -> Self {
        Self { version: Some(version.to_owned()), ..self }
    }

    /// The same, with another attempt after a pause.
    pub(crate) fn retryable(self) -> Self {
        Self { retry: RetryPolicy::Backoff, ..self }
    }

    /// The rejection for a step that failed. Another attempt follows, soon where the host was short
    /// of something; that has a remedy of its own.
    pub(crate) fn transient(reason: &str, error: &io::Error, remedy: &'static str) -> Self {
        // The latter is the error of a process that could not be started.
        let is_short = Shortage::classify(error).is_some() || Errno::from_io_error(error) == Some(Errno::AGAIN);
        let retry = if is_short { RetryPolicy::Soon } else { RetryPolicy::Backoff };
        let (error, remedy) = explain(error, remedy);
        Self { retry, ..Self::from(format!("{reason}: {error}; {remedy}")) }
    }

    /// The remedy, and whether the agent retries by itself.
    pub(crate) fn full_remedy(&self) -> String {
        self.retry.full_remedy(&self.remedy)
    }

    /// Whether its cause may pass.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.retry, RetryPolicy::Backoff | RetryPolicy::Soon)
    }

    /// Reason and remedy as one text.
    pub(crate) fn text(&self) -> String {
        format!("{}; {}", self.reason, self.remedy)
    }
}

/// From the form of all texts about files, `reason; remedy`: split at the last semicolon.
impl From<String> for Rejection {
    fn from(text: String) -> Self {
        let (reason, remedy) = text.rsplit_once("; ").unwrap_or((&text, "replace the file to retry"));
        let (reason, remedy) = (printable(reason), printable(remedy));
        Self { version: None, reason, remedy, is_fault: true, disabled: None, retry: RetryPolicy::Never }
    }
}

/// A step of a load that has no result.
impl From<OffloadError> for Rejection {
    fn from(error: OffloadError) -> Self {
        match error {
            OffloadError::NoThread => {
                let text = "cannot be loaded now: no thread is free for it; leave the agent more threads";
                Self { retry: RetryPolicy::Soon, ..Self::from(text.to_owned()) }
            }
            OffloadError::Panicked(why) => format!("cannot be loaded: {why}; report this").into(),
        }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        let retry = match &failure {
            Failure::Fault(Fault { kind: FaultKind::Timeout | FaultKind::Shortage | FaultKind::Capacity, .. })
            | Failure::Error(_) => RetryPolicy::Backoff,
            // With another limit, or another configuration, it may work.
            Failure::Fault(Fault { kind: FaultKind::Memory, .. }) | Failure::Disabled(_) => RetryPolicy::OnChange,
            Failure::Fault(_) => RetryPolicy::Never,
        };
        let is_fault = matches!(failure, Failure::Fault(_));
        let (reason, remedy, disabled) = match failure {
            Failure::Fault(fault) if fault.kind == FaultKind::Shortage => {
                let (reason, remedy) = fault.reason_and_remedy();
                let reason = format!("cannot run now: {reason} ({})", fault.kind.name());
                (reason, remedy.unwrap_or(SHORTAGE_REMEDY).to_owned(), None)
            }
            Failure::Fault(fault) if fault.kind == FaultKind::Capacity => {
                (format!("cannot run now: {fault}"), "raise memory under [limits], or remove plugins".to_owned(), None)
            }
            Failure::Fault(fault) if fault.kind == FaultKind::Memory => {
                (format!("fails: {fault}"), "make it smaller, or raise its limit and reload the agent".to_owned(), None)
            }
            Failure::Fault(fault) => (format!("fails: {fault}"), "fix the plugin".to_owned(), None),
            Failure::Error(CallError { kind: CallErrorKind::Unavailable, reason }) => {
                (format!("has nothing to measure: {reason}"), "start what it measures, or remove it".to_owned(), None)
            }
            Failure::Error(CallError { kind: CallErrorKind::Failed, reason }) => {
                (format!("fails: {reason}"), "fix what it measures, or the plugin".to_owned(), None)
            }
            Failure::Disabled(Disabled { cause, reason, remedy, .. }) => (reason, remedy, Some(cause)),
        };
        Self { version: None, reason: printable(&reason), remedy: printable(&remedy), is_fault, disabled, retry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_a_single_short_line() {
        let rejection = Rejection::from("exports a\n2026 ERROR plugin redis: forged; fix it".to_owned());
        assert_eq!((&*rejection.reason, &*rejection.remedy), (r"exports a\n2026 ERROR plugin redis: forged", "fix it"));
        assert!(Rejection::from("x".repeat(1 << 20)).reason.len() < 2048);
    }

    #[test]
    fn transient_errors_have_fitting_retries() {
        let rejection = |errno: Errno| Rejection::transient("cannot be compiled now", &errno.into(), "leave it room");
        let short = rejection(Errno::MFILE);
        assert!(short.retry == RetryPolicy::Soon && short.remedy.contains("LimitNOFILE"), "{short:?}");
        let no_process = rejection(Errno::AGAIN);
        assert_eq!((no_process.retry, &*no_process.remedy), (RetryPolicy::Soon, "leave it room"));
        assert_eq!(rejection(Errno::IO).retry, RetryPolicy::Backoff);
    }

    #[test]
    fn load_without_a_thread_is_retried() {
        let rejection = Rejection::from(OffloadError::NoThread);
        assert_eq!(rejection.retry, RetryPolicy::Soon);
        assert_eq!(rejection.text(), "cannot be loaded now: no thread is free for it; leave the agent more threads");
        assert_eq!(Rejection::from(OffloadError::Panicked("on purpose".to_owned())).retry, RetryPolicy::Never);
    }
}
