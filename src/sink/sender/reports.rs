//! The lines in the log about a sink that sends over the network: each problem is reported when it begins, when it becomes another one,
//! and when it ends. Texts of receivers may differ each time; the same problem has one line in ten minutes.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;

use super::loss::Loss;
use super::storage::SpoolAccess;
use crate::sample::Text;
use crate::sink::error::{ErrorReason, SinkError};
use crate::sink::statistics::SinkStatistics;
use crate::sink::verdict::Retry;

/// How often a problem whose text changes is reported.
const AGAIN: Duration = Duration::from_secs(600);

/// Reports what happens to a sink.
#[derive(Debug)]
pub(super) struct Reports {
    statistics: Arc<SinkStatistics>,
    /// The reason for which the sink is down, and when that was reported.
    down: Option<(ErrorReason, Instant)>,
    rejected: Option<Instant>,
    /// When a remark of the receiver was reported.
    remark: Option<Instant>,
    /// Whether the status shows that points were rejected.
    is_rejected: bool,
    /// Whether a loss was reported since the last delivery.
    losses: [bool; Loss::ALL.len()],
    is_ahead: bool,
    /// By [`SpoolAccess`].
    spool: [Option<(ErrorReason, Instant)>; 2],
}

fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= AGAIN)
}

fn time(since_epoch: Duration) -> String {
    UNIX_EPOCH.checked_add(since_epoch).map_or_else(|| "?".to_owned(), |at| format_rfc3339_seconds(at).to_string())
}

impl Reports {
    pub(super) fn new(statistics: &Arc<SinkStatistics>) -> Self {
        let statistics = Arc::clone(statistics);
        Self {
            statistics,
            down: None,
            rejected: None,
            is_rejected: false,
            remark: None,
            losses: Default::default(),
            is_ahead: false,
            spool: [None; 2],
        }
    }

    /// A request is sent again.
    pub(super) fn retry(&mut self, sink: &Text, retry: &Retry, now: Instant) {
        let Retry { reason, text, remedy, .. } = retry;
        self.statistics.fail(&SinkError { reason: *reason, text: text.clone(), remedy });
        if self.down.is_none_or(|(known, at)| known != *reason || is_due(Some(at), now)) {
            self.down = Some((*reason, now));
            let consequence = "samples are kept until they are delivered";
            tracing::warn!(%sink, reason = text, remedy, consequence, "receiver takes no samples");
        }
    }

    /// A sample was delivered, in this time.
    pub(super) fn deliver(&mut self, sink: &Text, duration: Duration, left_out: usize, waiting: u64) {
        self.losses = Default::default();
        if std::mem::take(&mut self.is_rejected) {
            self.statistics.note(None);
        }
        if self.statistics.deliver(duration, left_out) {
            self.down = None;
            tracing::info!(%sink, waiting, "receiver takes samples again");
        }
    }

    /// The receiver has refused points for good.
    pub(super) fn reject(&mut self, sink: &Text, points: u64, text: &str, now: Instant) {
        self.statistics.count(ErrorReason::Rejected, 1);
        let remedy = "see the receiver's limits, or exclude these series";
        let shown = format!("the receiver has rejected points: {text}");
        self.statistics.note(Some(SinkError { reason: ErrorReason::Rejected, text: shown, remedy }));
        self.is_rejected = true;
        if is_due(self.rejected, now) {
            self.rejected = Some(now);
            tracing::error!(%sink, points, reason = text, remedy, "samples lost: rejected by the receiver");
        }
    }

    /// The receiver has taken points, and has a remark.
    pub(super) fn warn(&mut self, sink: &Text, text: &str, now: Instant) {
        if is_due(self.remark, now) {
            self.remark = Some(now);
            let remedy = "see the receiver's documentation; check the URL";
            tracing::warn!(%sink, reason = text, remedy, "receiver has a remark");
        }
    }

    /// A request was given up.
    pub(super) fn give_up(sink: &Text, points: u64) {
        let reason = "it failed again and again while others passed";
        let remedy = "see the receiver's log for its cause";
        tracing::error!(%sink, points, reason, remedy, "samples lost: request given up");
    }

    /// Points were dropped at a bound.
    pub(super) fn lose(&mut self, sink: &Text, loss: Loss, points: u64) {
        if points == 0 || std::mem::replace(&mut self.losses[loss as usize], true) {
            return;
        }
        match loss {
            Loss::SpoolFull => {
                let remedy = "restore the receiver, make space on the disk, or raise spool_size";
                tracing::error!(%sink, points, remedy, "samples lost: spool full, its oldest dropped");
            }
            Loss::Expired => {
                let remedy = "restore the receiver, or raise spool_age";
                tracing::error!(%sink, points, remedy, "samples lost: older than spool_age");
            }
            Loss::QueueFull => {
                let remedy = "restore the receiver, or the spool; or raise queue_samples and queue_bytes";
                tracing::error!(%sink, points, remedy, "samples lost: too many in memory without a spool");
            }
            Loss::Ended => {
                let remedy = "have the spool written: another line says why it is not";
                tracing::error!(%sink, points, remedy, "samples lost: sink ended before they were delivered or kept");
            }
            // They have lines of their own.
            Loss::Rejected | Loss::GivenUp | Loss::Damaged => {}
        }
    }

    /// A sample of the first time is ahead of the receiver's clock, which shows the second one; or none is any more.
    pub(super) fn ahead(&mut self, sink: &Text, times: Option<(Duration, Duration)>) {
        let was_ahead = std::mem::replace(&mut self.is_ahead, times.is_some());
        match times {
            Some((sample, receiver)) if !was_ahead => {
                let (sample, receiver) = (time(sample), time(receiver));
                let remedy = "set the clock of this host, or that of the receiver";
                let text = format!("the sample of {sample} is ahead of the receiver's clock, {receiver}");
                tracing::warn!(%sink, sample, receiver, remedy, "sample kept: it is ahead of the receiver's clock");
                self.statistics.note(Some(SinkError { reason: ErrorReason::Status, text, remedy }));
            }
            None if was_ahead => {
                self.statistics.note(None);
                tracing::info!(%sink, "samples no more ahead of the receiver's clock");
            }
            _ => {}
        }
    }

    /// The spool cannot be read, or written.
    pub(super) fn spool_failed(&mut self, sink: &Text, access: SpoolAccess, error: &SinkError, now: Instant) {
        let SinkError { reason, text, remedy } = error;
        self.statistics.count(*reason, 1);
        let last = &mut self.spool[access as usize];
        if last.is_some_and(|(known, at)| known == *reason && !is_due(Some(at), now)) {
            return;
        }
        *last = Some((*reason, now));
        match access {
            SpoolAccess::Write => {
                let consequence = "samples wait in memory, and would be lost with the agent";
                tracing::warn!(%sink, reason = text, remedy, consequence, "spool not written");
            }
            SpoolAccess::Read => {
                let consequence = "samples wait on the disk";
                tracing::warn!(%sink, reason = text, remedy, consequence, "spool not read");
            }
        }
    }

    /// The spool can be read, or written.
    pub(super) fn spool_works(&mut self, sink: &Text, access: SpoolAccess) {
        if self.spool[access as usize].take().is_some() {
            match access {
                SpoolAccess::Write => tracing::info!(%sink, "spool written again"),
                SpoolAccess::Read => tracing::info!(%sink, "spool read again"),
            }
        }
    }
}
