//! Counts of requests, samples and points, and marks: how many come before a place in the spool. Each record and each segment has
//! its mark, so that the difference of two is an exact count of all that is between them, whether or not it can be read.

use crate::sink::request::Request;

/// Where sequences end, and counts that can be trusted: no spool comes near to that.
pub(super) const MAX_NUMBER: u64 = 1 << 60;

/// A number of requests, with their samples and points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    /// The samples whose last request is among them.
    pub(crate) samples: u64,
    pub(crate) points: u64,
}

impl Counts {
    pub(crate) fn is_zero(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.samples = self.samples.saturating_add(other.samples);
        self.points = self.points.saturating_add(other.points);
    }

    /// The difference: counts here that are not there.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            samples: self.samples.saturating_sub(earlier.samples),
            points: self.points.saturating_sub(earlier.points),
        }
    }
}

/// A place between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The least sequence that the next record may have.
    pub(crate) sequence: u64,
    /// All that was ever put before it.
    pub(crate) before: Counts,
}

impl Mark {
    /// The beginning of a spool that has never had a record.
    pub(crate) const BEGINNING: Self = Self { sequence: 1, before: Counts { requests: 0, samples: 0, points: 0 } };

    /// The place after a record at this one.
    pub(crate) fn after(self, points: u32, is_last: bool) -> Self {
        let mut before = self.before;
        before.add(Counts { requests: 1, samples: u64::from(is_last), points: u64::from(points) });
        Self { sequence: self.sequence.saturating_add(1), before }
    }

    /// Whether all its numbers are those of a spool.
    pub(super) fn is_plausible(self) -> bool {
        let Counts { requests, samples, points } = self.before;
        [self.sequence, requests, samples, points].into_iter().all(|number| number < MAX_NUMBER)
    }

    pub(crate) fn after_request(self, request: &Request) -> Self {
        self.after(request.points, request.is_last)
    }
}
