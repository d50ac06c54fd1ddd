//! The decision about a series, made once.

use std::time::Duration;

use crate::naming::Scale;

/// The finest difference of times that all receivers know.
const FINEST_TIME: Duration = Duration::from_millis(1);

/// The decision about a series.
#[derive(Debug)]
pub(super) enum Decision<T> {
    Sent(Box<Entry<T>>),
    /// Another series has its name and labels. It gets them when that one goes.
    Collided(Collision),
    /// The naming leaves it out.
    LeftOut,
    /// It is not selected, or there are too many.
    Excluded,
}

/// A series that is sent.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) rendered: T,
    /// The hash of its name and labels.
    pub(super) identity: u64,
    pub(super) scale: Scale,
    /// The interval of its module.
    pub(super) step: Duration,
    /// The time of its last point, if it has had one.
    pub(super) last: Option<Duration>,
}

impl<T> Entry<T> {
    /// The time of its end that is found at a tick: just before its next point was due. Results may come late, and receivers refuse a
    /// point that is older than the end.
    pub(super) fn end(&self, tick: Duration) -> Duration {
        let due = self.last.map_or(tick, |last| last.saturating_add(self.step));
        due.saturating_sub(FINEST_TIME).min(tick)
    }
}

/// The loss by a series whose name another one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collision {
    /// Nothing: the other one measures the same.
    Alternative,
    /// The series.
    Loss,
}
