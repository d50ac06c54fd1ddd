//! The time of a guest's call under way: its allowance, with the clocks. The guest, its host functions and the task that awaits
//! the call share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::plugin::guest::allowance::{Allowance, Verdict};

/// The time of one guest's call under way.
#[derive(Clone)]
pub(crate) struct CallTime {
    /// Behind a lock because wasmtime has the guest's state while its call is awaited. All who take it are on one thread.
    state: Arc<Mutex<State>>,
}

struct State {
    allowance: Allowance,
    /// Whether the guest has yielded and is able to run. Otherwise a call that is pending waits in a host function.
    is_runnable: bool,
}

/// A wait for a host function that has begun.
pub(crate) struct Wait {
    start: Instant,
    /// The thread's processor time at the start, where it is counted.
    processor: Option<Duration>,
    /// When the call ends.
    pub(crate) deadline: Instant,
}

impl CallTime {
    /// The time of a guest that was not called yet.
    pub(crate) fn new() -> Self {
        let allowance = Allowance::new(Duration::ZERO, Instant::now());
        Self { state: Arc::new(Mutex::new(State { allowance, is_runnable: false })) }
    }

    /// Begins a call with this time limit.
    pub(crate) fn begin(&self, timeout: Duration) {
        *self.lock() = State { allowance: Allowance::new(timeout, Instant::now()), is_runnable: false };
    }

    /// Records that the guest yields, and decides whether it may go on.
    pub(crate) fn record_yield(&self) -> Verdict {
        let mut state = self.lock();
        state.is_runnable = true;
        state.allowance.record_yield(Instant::now(), processor_time)
    }

    /// When a capability stops waiting for an operation that begins.
    pub(crate) fn patience(&self) -> Instant {
        self.lock().allowance.patience_from(Instant::now(), processor_time)
    }

    /// Begins a wait for a host function when a call is pending. None when the guest has only yielded.
    pub(crate) fn begin_wait(&self) -> Option<Wait> {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_runnable) {
            return None;
        }
        let allowance = &state.allowance;
        let processor = allowance.counts_processor().then(processor_time);
        Some(Wait { start: Instant::now(), processor, deadline: allowance.deadline() })
    }

    /// Ends a wait, before the guest goes on.
    pub(crate) fn end_wait(&self, wait: &Wait) {
        let processor = wait.processor.map_or(Duration::ZERO, |before| processor_time().saturating_sub(before));
        self.lock().allowance.record_wait(wait.start, Instant::now(), processor);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The processor time that this thread has used.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_call_waits_unless_it_has_yielded() {
        let time = CallTime::new();
        time.begin(Duration::from_secs(60));
        assert!(time.begin_wait().is_some());
        assert_eq!(time.record_yield(), Verdict::Continues);
        assert!(time.begin_wait().is_none());
        let wait = time.begin_wait().expect("it has not yielded again");
        time.end_wait(&wait);
        assert_eq!(time.record_yield(), Verdict::Continues);
        time.begin(Duration::from_secs(60));
        assert!(time.begin_wait().is_some(), "a new call has not yielded");
    }

    #[test]
    fn processor_time_grows_while_a_thread_runs() {
        let before = processor_time();
        let mut last = before;
        while last < before + Duration::from_millis(1) {
            let now = processor_time();
            assert!(now >= last, "it never falls");
            last = now;
        }
    }
}
