//! What is on its way to a thread that may be stuck in a write for any time: a bounded queue from which the oldest entry
//! is dropped, and counted, when the thread does not keep up. Who puts something in never waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Entries on their way from one thread to another.
#[derive(Debug)]
pub struct Queue<T> {
    capacity: usize,
    /// Behind a lock because two threads are the point of it; it is held only to move an entry.
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    entries: VecDeque<T>,
    dropped: u64,
    /// What was taken out last is still being dealt with.
    is_busy: bool,
    /// Nothing more is put in.
    is_ending: bool,
    /// Nothing more is taken out.
    has_ended: bool,
}

impl<T> Queue<T> {
    /// An empty queue for so many entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let state = State { entries: VecDeque::new(), dropped: 0, is_busy: false, is_ending: false, has_ended: false };
        Self { capacity, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Puts in an entry; when the queue is full the oldest one is dropped.
    pub fn put(&self, entry: T) {
        let mut state = self.lock();
        if state.entries.len() >= self.capacity {
            state.entries.pop_front();
            state.dropped += 1;
        }
        state.entries.push_back(entry);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether all that was put in so far has been taken out and dealt with.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && !state.is_busy && !state.has_ended
    }

    /// How many entries were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Counts an entry as dropped that was taken out in vain.
    pub fn lose(&self) {
        self.lock().dropped += 1;
    }

    /// Puts in no more, and waits so long for what is there to be taken out and dealt with. Answers whether it was.
    pub fn end(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        state.is_ending = true;
        self.changed.notify_all();
        while !state.has_ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Takes out the next entry, as soon as there is one; none when there will be no more. Whoever calls this has dealt
    /// with the entry before.
    pub fn take(&self) -> Option<T> {
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

    /// Takes out no more.
    pub fn close(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
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
    fn it_is_idle_when_what_was_taken_out_is_dealt_with() {
        let queue = Queue::new(3);
        assert!(queue.is_idle());
        queue.put(1);
        assert!(!queue.is_idle());
        queue.take();
        assert!(!queue.is_idle(), "it is being dealt with");
        queue.end(Duration::ZERO);
        assert_eq!(queue.take(), None);
        assert!(queue.is_idle());
        queue.close();
        assert!(!queue.is_idle(), "nobody would take out anything");
    }

    #[test]
    fn what_is_queued_at_the_end_is_still_taken_out() {
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
    fn the_end_does_not_wait_for_ever() {
        let queue = Queue::new(1);
        queue.put(1);
        assert!(!queue.end(Duration::from_millis(1)));
    }
}
