//! The counters and durations of a plugin's calls.

use std::time::Duration;

use crate::plugin::guest::fault::{Counts, FaultKind};
use crate::sample::{Label, Labels, Values};

/// The statistics of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// How long the last call took; none before the first.
    duration: Option<Duration>,
    /// How long the longest call of this version took.
    longest: Duration,
    pub(crate) faults: Counts,
    /// The labels of the kinds that have occurred.
    fault_labels: Vec<(FaultKind, Labels)>,
    /// Calls skipped because the one before still ran.
    pub(crate) skipped: u64,
    /// Results that missed their sample.
    pub(crate) late: u64,
    /// Metrics that were dropped.
    pub(crate) dropped: u64,
}

impl Statistics {
    pub(crate) fn add_call(&mut self, took: Duration) {
        self.duration = Some(took);
        self.longest = self.longest.max(took);
    }

    pub(crate) fn add_fault(&mut self, kind: FaultKind) {
        self.faults.add(kind);
    }

    /// Begins a new version: durations count from here, counters go on.
    pub(crate) fn begin_version(&mut self) {
        self.duration = None;
        self.longest = Duration::ZERO;
    }

    /// The seconds that the last call took.
    pub(crate) fn duration(&self) -> Option<f64> {
        self.duration.map(|duration| duration.as_secs_f64())
    }

    /// The seconds that the longest call of this version took.
    pub(crate) fn longest(&self) -> Option<f64> {
        self.duration.map(|_| self.longest.as_secs_f64())
    }

    /// Appends the faults of each kind that has occurred.
    pub(crate) fn append_faults(&mut self, labels: &Labels, agent: &mut Values<'_>) {
        for (kind, count) in self.faults.nonzero() {
            let known = self.fault_labels.iter().position(|&(known, _)| known == kind);
            let at = known.unwrap_or_else(|| {
                let label = Label { name: "kind".into(), value: kind.name().into() };
                self.fault_labels.push((kind, labels.iter().cloned().chain([label]).collect()));
                self.fault_labels.len() - 1
            });
            agent.push_labelled("plugin_faults_total", &self.fault_labels[at].1, count);
        }
    }
}

/// The faults of all plugins by kind, those of removed plugins included.
#[derive(Debug)]
pub(crate) struct FaultTotals {
    removed: Counts,
    labels: [Labels; FaultKind::ALL.len()],
}

impl Default for FaultTotals {
    fn default() -> Self {
        Self { removed: Counts::default(), labels: FaultKind::ALL.map(|kind| [("kind", kind.name())].into()) }
    }
}

impl FaultTotals {
    /// Keeps the faults of a plugin that is being removed.
    pub(crate) fn keep(&mut self, removed: &Counts) {
        self.removed.add_all(removed);
    }

    /// Appends the sums, `present` being the faults of the plugins that there are.
    pub(crate) fn append<'a>(&self, present: impl Iterator<Item = &'a Counts>, agent: &mut Values<'_>) {
        let mut totals = self.removed;
        present.for_each(|faults| totals.add_all(faults));
        for (labels, kind) in self.labels.iter().zip(FaultKind::ALL) {
            agent.push_labelled("plugin_faults_total", labels, totals.get(kind));
        }
    }
}
