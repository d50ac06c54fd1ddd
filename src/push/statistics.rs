//! The numbers of pushed points. The delivery thread and the tick thread count, the tick thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sample::{Labels, Values};

/// Why a point was rejected: its sender got the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It is no object, or not written as one.
    Form,
    Metric,
    Endpoint,
    Tags,
    CounterType,
    Value,
    Step,
    Timestamp,
    /// There are too many series.
    Series,
}

impl Rejection {
    /// The reasons in the order of the metrics.
    const ALL: [Self; 9] = [
        Self::Form,
        Self::Metric,
        Self::Endpoint,
        Self::Tags,
        Self::CounterType,
        Self::Value,
        Self::Step,
        Self::Timestamp,
        Self::Series,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Metric => "metric",
            Self::Endpoint => "endpoint",
            Self::Tags => "tags",
            Self::CounterType => "counter_type",
            Self::Value => "value",
            Self::Step => "step",
            Self::Timestamp => "timestamp",
            Self::Series => "series",
        }
    }
}

/// Why a good point is in no sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The queue had no room for its request, whose sender was told to come again.
    QueueFull,
    /// A later point of its series has the same time.
    Duplicate,
    /// A point of its series that is as new, or newer, is in an earlier sample.
    OutOfOrder,
    /// There were too many steps, times or series.
    Limit,
    /// Points were turned off meanwhile.
    TurnedOff,
}

impl Loss {
    /// The reasons in the order of the metrics.
    const ALL: [Self; 5] = [Self::QueueFull, Self::Duplicate, Self::OutOfOrder, Self::Limit, Self::TurnedOff];

    fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out_of_order",
            Self::Limit => "limit",
            Self::TurnedOff => "turned_off",
        }
    }
}

/// The numbers.
#[derive(Debug)]
pub(crate) struct Statistics {
    accepted: AtomicU64,
    retimed: AtomicU64,
    /// By reason, in their order.
    rejected: Box<[(Labels, AtomicU64)]>,
    dropped: Box<[(Labels, AtomicU64)]>,
}

impl Default for Statistics {
    fn default() -> Self {
        let counter = |reason| ([("reason", reason)].into(), AtomicU64::default());
        Self {
            accepted: AtomicU64::default(),
            retimed: AtomicU64::default(),
            rejected: Rejection::ALL.iter().map(|reason| counter(reason.label())).collect(),
            dropped: Loss::ALL.iter().map(|reason| counter(reason.label())).collect(),
        }
    }
}

impl Statistics {
    pub(super) fn accept(&self, points: usize) {
        self.accepted.fetch_add(points as u64, Ordering::Relaxed);
    }

    pub(super) fn retime(&self) {
        self.retimed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reject(&self, reason: Rejection) {
        self.rejected[reason as usize].1.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lose(&self, reason: Loss, points: usize) {
        self.dropped[reason as usize].1.fetch_add(points as u64, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn lost(&self, reason: Loss) -> u64 {
        self.dropped[reason as usize].1.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn retimed(&self) -> u64 {
        self.retimed.load(Ordering::Relaxed)
    }

    /// Appends the metrics.
    pub(crate) fn append_metrics(&self, to: &mut Values<'_>) {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        to.push("push_accepted_points_total", number(&self.accepted));
        to.push("push_retimed_points_total", number(&self.retimed));
        for (labels, count) in &self.rejected {
            to.push_labelled("push_rejected_points_total", labels, number(count));
        }
        for (labels, count) in &self.dropped {
            to.push_labelled("push_dropped_points_total", labels, number(count));
        }
    }
}
