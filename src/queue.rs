//! A bounded queue to a thread that may block in a write. The sender never waits: when the queue is full, the oldest entry
//! is dropped and counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A bounded queue from one thread to another.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    capacity: usize,
    /// Shared by two threads; the lock is held only to move an entry.
    state: Mutex<QueueState<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState<T> {
    entries: VecDeque<T>,
    dropped: u64,
    /// The receiver still processes the last entry that it took.
    is_busy: bool,
    /// The sender has put in its last entry.
    is_ending: bool,
    /// The receiver takes no more entries.
    has_ended: bool,
}

impl<T> Queue<T> {
    /// An empty queue for `capacity` entries.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        let state =
            QueueState { entries: VecDeque::new(), dropped: 0, is_busy: false, is_ending: false, has_ended: false };
        Self { capacity, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Puts in an entry. If the queue is full, the oldest entry is dropped.
    pub(crate) fn put(&self, entry: T) {
        let mut state = self.lock();
        let oldest = if state.entries.len() >= self.capacity { state.entries.pop_front() } else { None };
        state.dropped += u64::from(oldest.is_some());
        state.entries.push_back(entry);
        drop(state);
        self.changed.notify_all();
        // Without the lock: it may be large.
        drop(oldest);
    }

    /// Whether the receiver has processed all entries and waits for more.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && !state.is_busy && !state.has_ended
    }

    /// The number of entries that were dropped so far.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Counts an entry as dropped that the receiver could not process.
    pub(crate) fn lose(&self) {
        self.lock().dropped += 1;
    }

    /// Ends the queue for the sender. The receiver processes the remaining entries.
    pub(crate) fn finish(&self) {
        self.lock().is_ending = true;
        self.changed.notify_all();
    }

    /// Ends the queue for the sender, and waits at most this long for the receiver to process the remaining entries. Returns
    /// whether it did.
    pub(crate) fn end(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        self.finish();
        let mut state = self.lock();
        while !state.has_ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for the next entry and takes it; none at the end of the queue. The receiver has then processed the previous
    /// entry.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        state.is_busy = false;
        loop {
            if let Some(entry) = state.entries.pop_front() {
                state.is_busy = true;
                return Some(entry);
            }
            if state.is_ending {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the next entry, if there is one. The receiver has then processed the previous entry.
    pub(crate) fn take_now(&self) -> Option<T> {
        let mut state = self.lock();
        let entry = state.entries.pop_front();
        state.is_busy = entry.is_some();
        entry
    }

    /// Ends the queue for the receiver.
    pub(crate) fn close(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = Queue::new(3);
        for entry in 0..5 {
            queue.put(entry);
        }
        assert_eq!((queue.dropped(), queue.take()), (2, Some(2)));
    }

    #[test]
    fn queue_is_idle_when_all_entries_are_processed() {
        let queue = Queue::new(3);
        assert!(queue.is_idle());
        queue.put(1);
        assert!(!queue.is_idle());
        queue.take();
        assert!(!queue.is_idle(), "the entry is being processed");
        queue.end(Duration::ZERO);
        assert_eq!(queue.take(), None);
        assert!(queue.is_idle());
        queue.close();
        assert!(!queue.is_idle(), "no receiver");
    }

    #[test]
    fn an_empty_queue_has_no_entry_now() {
        let queue = Queue::new(3);
        queue.put(1);
        assert_eq!(queue.take_now(), Some(1));
        assert!(!queue.is_idle(), "the entry is being processed");
        assert_eq!(queue.take_now(), None);
        assert!(queue.is_idle());
    }

    #[test]
    fn remaining_entries_are_taken_after_the_end() {
        let queue = Queue::new(3);
        queue.put(1);
        let taken = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let taken: Vec<i32> = std::iter::from_fn(|| queue.take()).collect();
                queue.close();
                taken
            });
            assert!(queue.end(Duration::from_secs(60)));
            thread.join().expect("no panic")
        });
        assert_eq!(taken, [1]);
    }

    #[test]
    fn ending_waits_no_longer_than_its_limit() {
        let queue = Queue::new(1);
        queue.put(1);
        assert!(!queue.end(Duration::from_millis(1)));
    }
}
