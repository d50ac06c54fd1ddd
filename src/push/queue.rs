//! The points on their way to the tick thread. A request's points are taken as a whole or not at all: its sender comes again.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::statistics::{Loss, Statistics};
use crate::sample::{Series, Value};

/// How many points wait for a tick at most: two of the largest requests. Each has the same size, so that this bounds their memory,
/// too; their series are in an account of their own.
pub(super) const QUEUED_POINTS: usize = 20_000;

/// How many requests wait for a tick at most: as many as a hundred programs send in ten seconds at one a second each.
const QUEUED_REQUESTS: usize = 1000;

/// The memory of the points is small beside that of their series.
const _: () = assert!(QUEUED_POINTS * size_of::<Point>() <= 2 << 20, "2 MiB at most");

/// A point whose series is known.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) series: Arc<Series>,
    /// The number of its name and labels.
    pub(super) identity: u64,
    pub(super) value: Value,
    pub(super) step_seconds: u32,
    /// Since the Unix epoch.
    pub(super) time: Duration,
}

/// Why points are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no room for them.
    Full,
    /// None are taken.
    Closed,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Behind a lock because two threads have it; it is held for the move of a vector, without an allocation, and not taken at a tick
    /// without points.
    waiting: Mutex<Waiting>,
    has_points: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    is_open: bool,
    /// Those of one request each.
    batches: Vec<Vec<Point>>,
    points: usize,
}

impl Queue {
    /// Takes the points of a request, or none of them.
    pub(super) fn put(&self, mut points: Vec<Point>) -> Result<(), Refused> {
        points.shrink_to_fit();
        let mut waiting = self.lock();
        if !waiting.is_open {
            return Err(Refused::Closed);
        }
        if waiting.points + points.len() > QUEUED_POINTS || waiting.batches.len() == QUEUED_REQUESTS {
            return Err(Refused::Full);
        }
        if !points.is_empty() {
            waiting.points += points.len();
            waiting.batches.push(points);
            self.has_points.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Takes the points that wait, by request, and leaves the memory of these, which are none.
    pub(super) fn take(&self, batches: &mut Vec<Vec<Point>>) {
        debug_assert!(batches.is_empty(), "they are in a sample");
        if !self.has_points.load(Ordering::Acquire) {
            return;
        }
        batches.reserve(QUEUED_REQUESTS);
        let mut waiting = self.lock();
        self.has_points.store(false, Ordering::Release);
        waiting.points = 0;
        mem::swap(&mut waiting.batches, batches);
    }

    /// Begins to take points.
    pub(super) fn open(&self) {
        let mut waiting = self.lock();
        waiting.batches.reserve(QUEUED_REQUESTS);
        waiting.is_open = true;
    }

    /// Takes no more points, and drops those that wait.
    pub(super) fn close(&self, statistics: &Statistics) {
        self.lock().is_open = false;
        let mut dropped = Vec::new();
        self.take(&mut dropped);
        statistics.lose(Loss::TurnedOff, dropped.iter().map(Vec::len).sum());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Labels, NativeMetric, SeriesAccount};

    fn points(count: usize) -> Vec<Point> {
        let descriptor = NativeMetric::gauge("m", "m", "", "", "").descriptor();
        let account = SeriesAccount::standalone();
        let (identity, series) = account.pushed(&Arc::new(descriptor), &Labels::default()).expect("a series");
        let point = |_| Point {
            series: Arc::clone(&series),
            identity,
            value: Value::Unsigned(1),
            step_seconds: 60,
            time: Duration::ZERO,
        };
        (0..count).map(point).collect()
    }

    #[test]
    fn full_queue_takes_all_or_nothing() {
        let (queue, statistics) = (Queue::default(), Statistics::default());
        assert_eq!(queue.put(points(1)), Err(Refused::Closed));
        queue.open();
        assert_eq!(queue.put(points(QUEUED_POINTS - 1)), Ok(()));
        assert_eq!((queue.put(points(2)), queue.put(points(1))), (Err(Refused::Full), Ok(())));
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [QUEUED_POINTS - 1, 1]);
        taken.clear();
        queue.take(&mut taken);
        assert!(taken.is_empty());
        for _ in 0..QUEUED_REQUESTS {
            assert_eq!(queue.put(points(1)), Ok(()));
        }
        assert_eq!(queue.put(points(1)), Err(Refused::Full));
        queue.take(&mut taken);
        assert_eq!(taken.len(), QUEUED_REQUESTS);
        taken.clear();
        assert_eq!(queue.put(points(3)), Ok(()));
        queue.close(&statistics);
        assert_eq!((queue.put(points(1)), statistics.lost(Loss::TurnedOff)), (Err(Refused::Closed), 3));
        queue.open();
        queue.take(&mut taken);
        assert!(taken.is_empty());
    }
}
