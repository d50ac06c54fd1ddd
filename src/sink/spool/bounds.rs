//! How much a spool holds, and how long its segments are by that.

use std::time::Duration;

use crate::config::NetworkSettings;

/// The length of a segment: what a loss of power may cost, and what is dropped at a time when the spool is full.
const SEGMENT_BYTES: u64 = 1 << 20;

/// How many segments a full spool has at least: a small one has shorter segments, or it would drop all that it has at a time.
const MIN_SEGMENTS: u64 = 8;

/// How many segments there are at least in the time for which requests are kept: they are dropped late by a sixteenth at most.
const SEGMENTS_PER_AGE: u32 = 16;

/// How much a spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpoolBounds {
    pub(crate) bytes: u64,
    /// For how long requests are kept, by their time.
    pub(crate) age: Duration,
}

impl SpoolBounds {
    /// Those of a sink.
    pub(crate) fn new(network: &NetworkSettings) -> Self {
        Self { bytes: network.spool_bytes, age: network.spool_age }
    }

    /// How long a segment becomes.
    pub(super) fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES.min(self.bytes / MIN_SEGMENTS)
    }

    /// How much newer than its first request the others of a segment are at most.
    pub(super) fn segment_age(&self) -> Duration {
        self.age / SEGMENTS_PER_AGE
    }
}
