//! The state of the heartbeats of a sink, as the tick thread has it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sample::{Labels, Values};

/// The state of heartbeats, as the tick thread has it.
#[derive(Debug, Default)]
pub(super) struct HeartbeatStatistics {
    is_up: AtomicBool,
    errors: AtomicU64,
}

impl HeartbeatStatistics {
    /// Appends the metrics. `sink` is the label with its name.
    pub(super) fn append_metrics(&self, agent: &mut Values<'_>, sink: &Labels) {
        agent.push_labelled("sink_heartbeat_up", sink, u64::from(self.is_up.load(Ordering::Relaxed)));
        agent.push_labelled("sink_heartbeat_errors_total", sink, self.errors.load(Ordering::Relaxed));
    }

    /// Records a heartbeat. Returns whether that is news: the first failure, or the first success after one.
    pub(super) fn record(&self, is_up: bool) -> bool {
        let was_up = self.is_up.swap(is_up, Ordering::Relaxed);
        let errors = self.errors.fetch_add(u64::from(!is_up), Ordering::Relaxed);
        if is_up { !was_up && errors > 0 } else { was_up || errors == 0 }
    }
}
