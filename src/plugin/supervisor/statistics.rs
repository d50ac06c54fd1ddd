//! The counters and durations of a plugin's calls.

use std::time::Duration;

use super::super::fault::{Counts, FaultKind};
use crate::sample::{Labels, Module};

/// The statistics of one plugin.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// How long the last call took; none before the first.
    duration: Option<Duration>,
    /// How long the longest call of this version took.
    longest: Duration,
    faults: Counts,
    /// Calls skipped because the one before still ran.
    pub(super) skipped: u64,
    /// Results that missed their sample.
    pub(super) late: u64,
    /// Metrics that were dropped.
    pub(super) dropped: u64,
}

impl Statistics {
    pub(super) fn add_call(&mut self, took: Duration) {
        self.duration = Some(took);
        self.longest = self.longest.max(took);
    }

    pub(super) fn add_fault(&mut self, kind: FaultKind) {
        self.faults.add(kind);
    }

    /// Begins a new version: durations count from here, counters go on.
    pub(super) fn begin_version(&mut self) {
        self.duration = None;
        self.longest = Duration::ZERO;
    }

    pub(super) fn append_durations(&self, labels: &Labels, agent: &mut Module) {
        if let Some(duration) = self.duration {
            agent.push_labelled("plugin_duration_seconds", labels, duration.as_secs_f64());
            agent.push_labelled("plugin_duration_max_seconds", labels, self.longest.as_secs_f64());
        }
    }

    pub(super) fn append_counters(&self, labels: &Labels, agent: &mut Module) {
        agent.push_labelled("plugin_skipped_total", labels, self.skipped);
        agent.push_labelled("plugin_late_total", labels, self.late);
        agent.push_labelled("plugin_dropped_metrics_total", labels, self.dropped);
    }

    pub(super) fn append_faults(&self, plugin: &str, agent: &mut Module) {
        for (kind, count) in self.faults.nonzero() {
            let labels = [("plugin", plugin), ("kind", kind.name())].into();
            agent.push_labelled("plugin_faults_total", &labels, count);
        }
    }
}
