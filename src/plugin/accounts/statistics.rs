//! The counters of one plugin, and the sums over all plugins. They are atomic, so that whoever supervises a plugin next
//! continues them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::plugin::guest::fault::FaultKind;
use crate::sample::{Labels, Values};

/// What one plugin has cost and lost so far. In this order, so that those which are read at each tick share a cache line.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Counters {
    /// Calls skipped because the one before still ran.
    pub(crate) skipped: Counter,
    /// Results that missed their sample.
    pub(crate) late: Counter,
    /// Metrics that were dropped.
    pub(crate) dropped: Counter,
    /// Times of modules that were refused.
    pub(crate) refused_times: Counter,
    /// Calls that returned an error that is no fault.
    pub(crate) errors: Counter,
    /// Lines and other parts of the measured data that its results left out.
    pub(crate) skipped_lines: Counter,
    /// The bytes of the linear memories of all its instances, those of a thread that hangs included.
    pub(crate) memory_bytes: AtomicU64,
    pub(crate) faults: FaultCounters,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The number of faults of each kind.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct FaultCounters {
    /// The sum. Most plugins have none, and nothing else of their counters is read.
    total: Counter,
    kinds: [Counter; FaultKind::ALL.len()],
}

impl FaultCounters {
    pub(crate) fn add(&self, kind: FaultKind) {
        self.add_many(kind, 1);
    }

    fn add_many(&self, kind: FaultKind, count: u64) {
        self.kinds[kind as usize].add(count);
        self.total.add(count);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// The kinds that have occurred, with their numbers.
    pub(crate) fn nonzero(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        let kinds = if self.total() == 0 { &[][..] } else { &FaultKind::ALL };
        kinds.iter().map(|&kind| (kind, self.kinds[kind as usize].get())).filter(|&(_, count)| count > 0)
    }
}

/// The faults of all plugins by kind, those of removed plugins included.
#[derive(Debug)]
pub(crate) struct FaultTotals {
    removed: FaultCounters,
    labels: [Labels; FaultKind::ALL.len()],
}

impl Default for FaultTotals {
    fn default() -> Self {
        Self { removed: FaultCounters::default(), labels: FaultKind::ALL.map(|kind| [("kind", kind.name())].into()) }
    }
}

impl FaultTotals {
    /// Keeps the faults of a plugin that is being removed.
    pub(crate) fn keep(&self, removed: &FaultCounters) {
        removed.nonzero().for_each(|(kind, count)| self.removed.add_many(kind, count));
    }

    /// Appends the sums, `present` being the faults of the plugins that there are.
    pub(crate) fn append<'a>(&self, present: impl Iterator<Item = &'a FaultCounters>, agent: &mut Values<'_>) {
        let mut totals = [0; FaultKind::ALL.len()];
        let mut add =
            |faults: &FaultCounters| faults.nonzero().for_each(|(kind, count)| totals[kind as usize] += count);
        add(&self.removed);
        present.for_each(add);
        for (labels, total) in self.labels.iter().zip(totals) {
            agent.push_labelled("plugin_faults_total", labels, total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_kind() {
        let faults = FaultCounters::default();
        assert_eq!((faults.total(), faults.nonzero().count()), (0, 0));
        faults.add(FaultKind::Stack);
        faults.add(FaultKind::Load);
        faults.add(FaultKind::Stack);
        assert_eq!(faults.nonzero().collect::<Vec<_>>(), [(FaultKind::Stack, 2), (FaultKind::Load, 1)]);
        let totals = FaultTotals::default();
        totals.keep(&faults);
        totals.keep(&faults);
        assert_eq!(totals.removed.nonzero().collect::<Vec<_>>(), [(FaultKind::Stack, 4), (FaultKind::Load, 2)]);
        assert_eq!(totals.removed.total(), 6);
    }
}
