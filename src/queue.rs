//! A bounded queue to a thread that may block in a write. The sender never waits: when the queue is full, the oldest entry
//! is dropped and counted. It is bounded in entries, and in bytes where the sender gives them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many entries a put drops at most while there are too many. Below a new bound there may be thousands, and to free them takes
/// longer than a tick has; of entries as usual in size, one for each put is enough.
const MAX_DROPPED: usize = 8;

/// A bounded queue from one thread to another.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// Shared by two threads; the lock is held only to move an entry.
    state: Mutex<QueueState<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState<T> {
    /// Each with its size in bytes.
    entries: VecDeque<(T, u64)>,
    bytes: u64,
    capacity: usize,
    max_bytes: u64,
    dropped: u64,
    /// The receiver has something else to do.
    is_woken: bool,
    /// The receiver still processes the last entry that it took.
    is_busy: bool,
    end: QueueEnd,
}

/// How far the end of a queue has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueueEnd {
    Open,
    /// The sender has put in its last entry.
    Ending,
    /// The receiver takes no more entries.
    Ended,
}

/// The result of waiting for an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    Entry(T),
    /// The sender asks the receiver to look at something else, or it is time to.
    Woken,
    /// The queue has ended.
    End,
}

impl<T> QueueState<T> {
    fn pop(&mut self) -> Option<T> {
        let (entry, bytes) = self.entries.pop_front()?;
        self.bytes -= bytes;
        Some(entry)
    }

    /// Takes out the oldest entry if there are too many. The newest one always stays.
    fn pop_excess(&mut self) -> Option<T> {
        let is_over = self.entries.len() > self.capacity || self.bytes > self.max_bytes;
        let oldest = if is_over && self.entries.len() > 1 { self.pop() } else { None };
        self.dropped += u64::from(oldest.is_some());
        oldest
    }
}

impl<T> Queue<T> {
    /// An empty queue for `capacity` entries.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        let state = QueueState {
            entries: VecDeque::new(),
            bytes: 0,
            capacity,
            max_bytes: u64::MAX,
            dropped: 0,
            is_woken: false,
            is_busy: false,
            end: QueueEnd::Open,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Changes the bounds. The newest entry always has room. Entries above a lower bound are dropped by the next puts, a few by each.
    pub(crate) fn set_bounds(&self, capacity: usize, max_bytes: u64) {
        let mut state = self.lock();
        (state.capacity, state.max_bytes) = (capacity, max_bytes);
    }

    /// Puts in an entry. If the queue is full, the oldest entry is dropped.
    pub(crate) fn put(&self, entry: T) {
        self.put_sized(entry, 0);
    }

    /// Puts in an entry of this size. As long as the queue is too large, the oldest entries are dropped, a few by each put.
    pub(crate) fn put_sized(&self, entry: T, bytes: u64) {
        let mut state = self.lock();
        state.entries.push_back((entry, bytes));
        state.bytes += bytes;
        let mut excess = state.pop_excess();
        drop(state);
        self.changed.notify_all();
        for _ in 1..MAX_DROPPED {
            if excess.is_none() {
                return;
            }
            // Without the lock: it may be large.
            drop(excess);
            excess = self.lock().pop_excess();
        }
    }

    /// Asks the receiver to look at something else, if it waits in [`take_until`](Self::take_until), now or the next time.
    pub(crate) fn wake(&self) {
        self.lock().is_woken = true;
        self.changed.notify_all();
    }

    /// The number of entries that wait, and their size.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        let state = self.lock();
        (state.entries.len(), state.bytes)
    }

    /// Whether the receiver has processed all entries and waits for more.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && !state.is_busy && state.end != QueueEnd::Ended
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
        let mut state = self.lock();
        if state.end == QueueEnd::Open {
            state.end = QueueEnd::Ending;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Ends the queue for the sender, and waits at most this long for the receiver to process the remaining entries. Returns
    /// whether it did.
    pub(crate) fn end(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        self.finish();
        let mut state = self.lock();
        while state.end != QueueEnd::Ended {
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
        loop {
            match self.take_until(None) {
                Taken::Entry(entry) => return Some(entry),
                Taken::Woken => {}
                Taken::End => return None,
            }
        }
    }

    /// As [`take`](Self::take), until the receiver is woken or this moment has come.
    pub(crate) fn take_until(&self, until: Option<Instant>) -> Taken<T> {
        let mut state = self.lock();
        state.is_busy = false;
        loop {
            if std::mem::take(&mut state.is_woken) {
                return Taken::Woken;
            }
            if let Some(entry) = state.pop() {
                state.is_busy = true;
                return Taken::Entry(entry);
            }
            if state.end != QueueEnd::Open {
                // Here, so that nobody takes the end back any more.
                state.end = QueueEnd::Ended;
                self.changed.notify_all();
                return Taken::End;
            }
            let Some(until) = until else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Woken;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes the next entry, if there is one. The receiver has then processed the previous entry.
    pub(crate) fn take_now(&self) -> Option<T> {
        let mut state = self.lock();
        let entry = state.pop();
        state.is_busy = entry.is_some();
        entry
    }

    /// Ends the queue for the receiver, if the sender has put in its last entry and the receiver has taken it. Nobody takes the end
    /// back any more then.
    #[must_use]
    pub(crate) fn close_if_finished(&self) -> bool {
        let mut state = self.lock();
        let is_closed = state.entries.is_empty() && state.end != QueueEnd::Open;
        if is_closed {
            state.end = QueueEnd::Ended;
            self.changed.notify_all();
        }
        is_closed
    }

    /// Whether the sender has put in its last entry, and the receiver has taken it.
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && state.end != QueueEnd::Open
    }

    /// Takes back the end, unless the receiver has ended. Returns whether it goes on.
    pub(crate) fn resume(&self) -> bool {
        let mut state = self.lock();
        if state.end == QueueEnd::Ending {
            state.end = QueueEnd::Open;
        }
        state.end == QueueEnd::Open
    }

    /// Whether the receiver has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end == QueueEnd::Ended
    }

    /// Drops all entries, and counts them.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let entries = std::mem::take(&mut state.entries);
        state.dropped += entries.len() as u64;
        state.bytes = 0;
        drop(state);
        // Without the lock: they may be large.
        drop(entries);
    }

    /// Ends the queue for the receiver.
    pub(crate) fn close(&self) {
        self.lock().end = QueueEnd::Ended;
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
    fn full_queue_drops_and_counts_the_oldest() {
        let queue = Queue::new(3);
        for entry in 0..5 {
            queue.put(entry);
        }
        assert_eq!((queue.dropped(), queue.take()), (2, Some(2)));
    }

    #[test]
    fn large_entries_drop_the_oldest_ones() {
        let queue = Queue::new(10);
        queue.set_bounds(10, 100);
        for entry in 0..5 {
            queue.put_sized(entry, 40);
        }
        assert_eq!((queue.waiting(), queue.dropped()), ((2, 80), 3));
        queue.put_sized(5, 1000);
        assert_eq!((queue.waiting(), queue.dropped()), ((1, 1000), 5), "the newest always has room");
        queue.set_bounds(1, u64::MAX);
        queue.put(6);
        assert_eq!((queue.waiting(), queue.take()), ((1, 0), Some(6)));
    }

    #[test]
    fn lower_bound_is_reached_in_several_puts() {
        let queue = Queue::new(1000);
        for entry in 0..1000 {
            queue.put_sized(entry, 1);
        }
        queue.set_bounds(10, 10);
        let mut waiting = 1000;
        while waiting > 10 {
            queue.put_sized(0, 1);
            let (now, bytes) = queue.waiting();
            assert!(now < waiting && waiting - now < MAX_DROPPED, "{waiting} -> {now}");
            assert_eq!(bytes, now as u64);
            waiting = now;
        }
        queue.put_sized(0, 1);
        assert_eq!(queue.waiting(), (10, 10));
    }

    #[test]
    fn woken_receiver_returns_without_an_entry() {
        let queue = Queue::new(3);
        queue.wake();
        queue.put(1);
        assert_eq!(queue.take_until(None), Taken::Woken);
        assert_eq!(queue.take_until(None), Taken::Entry(1));
        assert_eq!(queue.take_until(Some(Instant::now())), Taken::Woken);
        queue.finish();
        assert_eq!(queue.take_until(None), Taken::End);
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
    fn end_is_taken_back_unless_it_has_come() {
        let queue = Queue::new(3);
        queue.put(1);
        queue.finish();
        assert!(queue.resume() && !queue.has_ended());
        assert_eq!(queue.take_until(None), Taken::Entry(1));
        queue.put(2);
        queue.clear();
        assert_eq!((queue.waiting(), queue.dropped()), ((0, 0), 1));
        queue.close();
        assert!(!queue.resume() && queue.has_ended());
    }

    #[test]
    fn ending_waits_no_longer_than_its_limit() {
        let queue = Queue::new(1);
        queue.put(1);
        assert!(!queue.end(Duration::from_millis(1)));
    }
}
