//! The requests that wait in a spool, and those that were lost.

use std::time::Duration;

use super::counts::Counts;

/// The requests that wait in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskBacklog {
    /// The requests that are not acknowledged, with those that are damaged, as long as that is not known.
    pub(crate) waiting: Counts,
    /// The length of all segments.
    pub(crate) bytes: u64,
    /// The time of the oldest request. None if there is none.
    pub(crate) oldest: Option<Duration>,
    /// The sequence of the oldest request: all before it are acknowledged, dropped or lost.
    pub(crate) first: u64,
    /// The sequence that the next request will have.
    pub(crate) next: u64,
}

/// Lost requests, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpoolLosses {
    /// Dropped, because the spool was full.
    pub(crate) full: Counts,
    /// Dropped, because they were too old.
    pub(crate) expired: Counts,
    /// Damaged, or removed by somebody else: as far as known, since no mark is behind the last record.
    pub(crate) damaged: Counts,
}

impl SpoolLosses {
    pub(crate) fn add(&mut self, other: Self) {
        self.full.add(other.full);
        self.expired.add(other.expired);
        self.damaged.add(other.damaged);
    }
}
