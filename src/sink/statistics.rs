//! The state of a sink, as the tick thread, the sink's own thread and the status have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::error::{ErrorReason, SinkError};
use super::heartbeat_statistics::HeartbeatStatistics;
use super::sender::statistics::NetworkStatistics;
use crate::clock::schedule::wall_clock;
use crate::status::{Problem, ProblemKind, SinkProblem};

/// The state of a sink. Numbers are read at each tick, without a lock.
#[derive(Debug, Default)]
pub(super) struct SinkStatistics {
    /// Whether the last delivery failed.
    is_down: AtomicBool,
    delivered: AtomicU64,
    /// The samples that could not be delivered.
    failed: AtomicU64,
    /// By [`ErrorReason`].
    errors: [AtomicU64; ErrorReason::ALL.len()],
    /// When a sample was delivered last, in milliseconds since the Unix epoch; 0 if none was.
    last_success: AtomicU64,
    /// How long that took, in nanoseconds.
    duration: AtomicU64,
    /// The series that are left out since there are too many.
    left_out: AtomicU64,
    /// Why it is down, or what else is wrong with it.
    problem: Arc<SinkProblem>,
    /// The numbers of a sink that sends over the network.
    network: NetworkStatistics,
    /// Those of the heartbeats of a sink of kind `open_falcon`.
    heartbeat: Arc<HeartbeatStatistics>,
}

impl SinkStatistics {
    /// Records a sample that was delivered. Returns whether the sink was down before.
    pub(super) fn deliver(&self, duration: Duration, left_out: usize) -> bool {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.last_success.store(u64::try_from(wall_clock().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.duration.store(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.left_out.store(left_out as u64, Ordering::Relaxed);
        let was_down = self.is_down.load(Ordering::Relaxed) && self.is_down.swap(false, Ordering::Relaxed);
        if was_down {
            self.problem.set(None);
        }
        was_down
    }

    /// Records an error. Returns whether it is another one than the sink is down with.
    pub(super) fn fail(&self, error: &SinkError) -> bool {
        self.errors[error.reason as usize].fetch_add(1, Ordering::Relaxed);
        let was_down = self.is_down.swap(true, Ordering::Relaxed);
        let is_news = !was_down || !self.problem.is_set_to(Some(&error.text));
        if is_news {
            let problem = Problem::new(ProblemKind::Sink, &error.text, error.remedy).wrong_if(true);
            self.problem.set(Some(problem.since([], wall_clock())));
        }
        is_news
    }

    /// Counts errors that lose no sample.
    pub(super) fn count(&self, reason: ErrorReason, errors: u64) {
        self.errors[reason as usize].fetch_add(errors, Ordering::Relaxed);
    }

    /// Shows a problem of a sink that is up: it loses nothing yet.
    pub(super) fn note(&self, error: Option<SinkError>) {
        if self.is_up() && !self.problem.is_set_to(error.as_ref().map(|error| &*error.text)) {
            let problem = error.map(|SinkError { text, remedy, .. }| {
                Problem::new(ProblemKind::Sink, &text, remedy).wrong_if(true).since([], wall_clock())
            });
            self.problem.set(problem);
        }
    }

    /// Counts a sample that could not be delivered.
    pub(super) fn lose(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_up(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed)
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn errors(&self, reason: ErrorReason) -> u64 {
        self.errors[reason as usize].load(Ordering::Relaxed)
    }

    /// When a sample was delivered last, since the Unix epoch.
    pub(super) fn last_success(&self) -> Option<Duration> {
        let millis = self.last_success.load(Ordering::Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// How long the last delivery took.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration.load(Ordering::Relaxed))
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// The numbers of a sink that sends over the network.
    pub(super) fn network(&self) -> &NetworkStatistics {
        &self.network
    }

    /// The state of the heartbeats of a sink of kind `open_falcon`.
    pub(super) fn heartbeat(&self) -> &Arc<HeartbeatStatistics> {
        &self.heartbeat
    }

    /// The fault of the sink, for the status.
    pub(super) fn problem(&self) -> &Arc<SinkProblem> {
        &self.problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stall_does_not_make_a_known_error_new() {
        let statistics = SinkStatistics::default();
        let error = |text: &str| SinkError { reason: ErrorReason::Io, text: text.to_owned(), remedy: "wait" };
        assert!(statistics.fail(&error("broken")));
        statistics.problem().set_stalled(Some("check it"), Duration::ZERO);
        assert!(!statistics.fail(&error("broken")));
        assert!(statistics.fail(&error("lost")));
        statistics.problem().set_stalled(None, Duration::ZERO);
        assert_eq!(statistics.problem().get().map(|problem| problem.reason).as_deref(), Some("lost"));
    }
}
