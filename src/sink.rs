//! Where samples go: a closed set. Each sink has a thread of its own and a bounded queue in front of it, from which the
//! oldest sample is dropped, and counted, when the sink does not keep up: a dead sink never slows a tick.

mod json;
pub mod stdout;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::json::{Style, encode};
use crate::sample::Sample;

/// How many samples wait for a sink: at the default interval those of ten minutes.
const QUEUE: usize = 60;

/// How long the end of the agent waits for a sink to write what is queued.
const FLUSH: Duration = Duration::from_secs(1);

/// Samples on their way to a sink: the agent puts them in, the sink's thread takes them out.
#[derive(Debug, Default)]
pub struct Queue {
    /// Behind a lock because a sink may be stuck in a write for any time while the agent goes on; it is held only to
    /// move a pointer.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    samples: VecDeque<Arc<Sample>>,
    dropped: u64,
    /// The agent puts in no more.
    is_ending: bool,
    /// The sink takes out no more.
    has_ended: bool,
}

impl Queue {
    /// Puts in a sample; when the queue is full the oldest one is dropped.
    pub fn put(&self, sample: Arc<Sample>) {
        let mut state = self.lock();
        if state.samples.len() == QUEUE {
            state.samples.pop_front();
            state.dropped += 1;
        }
        state.samples.push_back(sample);
        self.changed.notify_all();
    }

    /// How many samples were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Puts in no more, and waits a little for the sink to write what is there. Answers whether it did.
    #[must_use]
    pub fn end(&self) -> bool {
        let until = Instant::now() + FLUSH;
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

    /// Takes out the next sample, as soon as there is one; none when there will be no more.
    fn take(&self) -> Option<Arc<Sample>> {
        let mut state = self.lock();
        loop {
            if let Some(sample) = state.samples.pop_front() {
                return Some(sample);
            }
            if state.is_ending {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes out no more.
    fn close(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = Queue::default();
        let samples: Vec<Arc<Sample>> = (0..QUEUE + 2).map(|_| Arc::new(Sample::default())).collect();
        for sample in &samples {
            queue.put(Arc::clone(sample));
        }
        assert_eq!(queue.dropped(), 2);
        assert!(Arc::ptr_eq(&queue.take().expect("full"), &samples[2]));
    }

    #[test]
    fn what_is_queued_at_the_end_is_still_taken_out() {
        let queue = Queue::default();
        queue.put(Arc::new(Sample::default()));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while queue.take().is_some() {}
                queue.close();
            });
            assert!(queue.end());
        });
        assert!(queue.lock().samples.is_empty());
    }
}
