//! The numbers of a sink that sends over the network, for the module `agent`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::loss::Loss;

/// The numbers. The sender writes them, and the tick thread reads them at each tick, without a lock.
#[derive(Debug, Default)]
pub(in crate::sink) struct NetworkStatistics {
    delivered_points: AtomicU64,
    /// By [`Loss`].
    lost_points: [AtomicU64; Loss::ALL.len()],
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    behind: BehindNumbers,
}

#[derive(Debug, Default)]
struct BehindNumbers {
    /// When the oldest sample that waits was taken, in milliseconds since the Unix epoch; 0 if none waits.
    since: AtomicU64,
    samples: AtomicU64,
    bytes: AtomicU64,
    spool_bytes: AtomicU64,
}

/// How far a sink is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sink) struct Behind {
    /// The time of the oldest sample that is not delivered.
    pub(in crate::sink) since: Option<Duration>,
    pub(in crate::sink) samples: u64,
    pub(in crate::sink) bytes: u64,
    /// How much of that is on the disk.
    pub(in crate::sink) spool_bytes: u64,
}

impl NetworkStatistics {
    pub(super) fn deliver(&self, points: u64) {
        self.delivered_points.fetch_add(points, Ordering::Relaxed);
    }

    pub(super) fn lose(&self, loss: Loss, points: u64) {
        self.lost_points[loss as usize].fetch_add(points, Ordering::Relaxed);
    }

    pub(super) fn send(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_behind(&self, behind: Behind) {
        let since = behind.since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        for (number, value) in [
            (&self.behind.since, since),
            (&self.behind.samples, behind.samples),
            (&self.behind.bytes, behind.bytes),
            (&self.behind.spool_bytes, behind.spool_bytes),
        ] {
            number.store(value, Ordering::Relaxed);
        }
    }

    pub(in crate::sink) fn delivered_points(&self) -> u64 {
        self.delivered_points.load(Ordering::Relaxed)
    }

    pub(in crate::sink) fn lost_points(&self, loss: Loss) -> u64 {
        self.lost_points[loss as usize].load(Ordering::Relaxed)
    }

    pub(in crate::sink) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(in crate::sink) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    pub(in crate::sink) fn behind(&self) -> Behind {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let since = number(&self.behind.since);
        Behind {
            since: (since > 0).then(|| Duration::from_millis(since)),
            samples: number(&self.behind.samples),
            bytes: number(&self.behind.bytes),
            spool_bytes: number(&self.behind.spool_bytes),
        }
    }
}
