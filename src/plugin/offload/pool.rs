//! Threads for operations that may wait: those on file systems, name resolution, hashing, linking, loading of artifacts.
//! The caller only awaits the result. A thread that hangs in the kernel is left behind; the other operations get others.
//!
//! Too few threads are no failure: where no further one can be started, an operation waits a while for one that exists. The
//! pool does not know its callers: they limit how many operations one plugin, directory or cache may have under way.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// How many threads are started at first, and stay when they are idle: while one operation takes long, the next one needs
/// no new thread, which the host may not have by then.
const CORE_THREADS: usize = 2;

/// The limits of the agent's pool.
const LIMITS: PoolLimits = PoolLimits {
    // More than the callers have under way together, hanging or not: 128 operations of guests, 34 of scans (32 entries, the
    // next one, the listing), 32 plugin files, 12 operations of the cache, and 10 other steps of loads.
    threads: 256,
    // All of these fit, too, on a host where no thread can be started.
    waiting: 256,
    // Threads stay from tick to tick at intervals of a few seconds. At longer ones a start at each tick costs less than the
    // memory of idle threads.
    idle: Duration::from_secs(10),
    // Longer than the steps of a few loads take one after the other on the two threads of a busy host; a third of the patience
    // of `--once`, whose loads then have time for another attempt.
    patience: Duration::from_secs(10),
};

/// What bounds a pool.
#[derive(Debug, Clone, Copy)]
struct PoolLimits {
    /// The most threads, hanging ones included.
    threads: usize,
    /// The most operations that wait while no thread is idle.
    waiting: usize,
    /// How long a thread beyond [`CORE_THREADS`] waits for work before it ends.
    idle: Duration,
    /// How long an operation waits for a thread.
    patience: Duration,
}

/// Why an operation has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OffloadError {
    /// No thread was free in time, or too many operations wait for one. This one was not begun.
    NoThread,
    /// The agent's own code panicked, with this message.
    Panicked(String),
}

/// A handle of a pool. With the last handle the idle threads end; a busy one ends after its operation.
#[derive(Clone)]
pub(crate) struct OffloadPool(Arc<Owner>);

/// Closes the pool on drop.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

/// Starts a thread that runs [`Shared::serve`], or fails.
type Starter = Box<dyn Fn(Arc<Shared>) -> io::Result<()> + Send + Sync>;

type Work = Box<dyn FnOnce() + Send>;

/// The part of a pool that its threads have, too.
struct Shared {
    limits: PoolLimits,
    starter: Starter,
    /// Behind a lock because callers and threads exchange operations; it is held only to move one.
    state: Mutex<PoolState>,
    /// Wakes idle threads.
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    /// The operations that wait for a thread, by number: the first is the oldest.
    waiting: BTreeMap<u64, Work>,
    /// The number of the next operation.
    next: u64,
    /// All threads: idle, working and hanging.
    threads: usize,
    /// The threads without work. One that is being started counts, so that no other is started for the same operation.
    idle: usize,
    /// There is no handle any more.
    is_closed: bool,
}

impl PoolState {
    /// Puts an operation into the queue. Returns its number; none when the queue is full.
    fn enter(&mut self, work: Work, limits: PoolLimits) -> Option<u64> {
        // The idle threads are about to take theirs.
        if self.waiting.len() >= limits.waiting + self.idle {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, work);
        Some(number)
    }

    /// Counts a further thread when one is missing: of the core, or for an operation that no idle thread will take.
    /// Returns whether it is to be started.
    fn reserve_thread(&mut self, limits: PoolLimits) -> bool {
        let is_missing = self.threads < CORE_THREADS || self.waiting.len() > self.idle;
        let is_reserved = is_missing && self.threads < limits.threads;
        if is_reserved {
            self.threads += 1;
            self.idle += 1;
        }
        is_reserved
    }

    /// Removes an idle thread from the counts.
    fn remove_thread(&mut self) {
        self.threads -= 1;
        self.idle -= 1;
    }
}

/// The place of an operation in the queue. Dropped before its turn, it takes the operation out.
struct Waiter<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Waiter<'_> {
    /// Takes the operation out. Returns whether it was still waiting.
    fn leave(&self) -> bool {
        // Its captures are dropped after the lock is released.
        let abandoned = self.shared.lock().waiting.remove(&self.number);
        abandoned.is_some()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl OffloadPool {
    /// A pool with its first threads.
    ///
    /// # Errors
    ///
    /// When not even one thread can be started. If some can, [`start_missing`](Self::start_missing) has the error.
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(LIMITS, Box::new(start_thread))
    }

    fn start_with(limits: PoolLimits, starter: Starter) -> io::Result<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let pool = Self(Arc::new(Owner(Arc::new(Shared { limits, starter, state, changed }))));
        match pool.start_missing() {
            Err(error) if pool.shared().lock().threads == 0 => Err(error),
            _ => Ok(pool),
        }
    }

    /// Starts the threads that could not be started before: those of the first that are missing, and one for each operation
    /// that waits.
    ///
    /// # Errors
    ///
    /// When one still cannot be started.
    pub(crate) fn start_missing(&self) -> io::Result<()> {
        while self.shared().lock().reserve_thread(self.shared().limits) {
            self.start_reserved()?;
        }
        Ok(())
    }

    /// Runs an operation on a thread of the pool, once this is awaited. When the caller stops waiting before the operation is
    /// begun, it is dropped on the caller's thread: its captures must not hang then. Later it goes on, and its result is dropped.
    ///
    /// # Errors
    ///
    /// When the operation panicked, or no thread was free in time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OffloadError> {
        let (sender, mut result) = oneshot::channel();
        let waiter = self.enter(Box::new(move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            // Fails when the caller has stopped waiting.
            let _ = sender.send(done.map_err(|panic| OffloadError::Panicked(panic_message(&*panic))));
        }))?;
        let done = match timeout(self.shared().limits.patience, &mut result).await {
            Ok(done) => done,
            Err(_elapsed) if waiter.leave() => return Err(OffloadError::NoThread),
            Err(_elapsed) => result.await,
        };
        // The work holds the sender until it has sent.
        done.unwrap_or_else(|_| Err(OffloadError::Panicked("it ended without a result".to_owned())))
    }

    /// Puts an operation into the queue, and starts a thread for it unless one is idle.
    fn enter(&self, work: Work) -> Result<Waiter<'_>, OffloadError> {
        let shared = self.shared();
        let mut state = shared.lock();
        let entered = state.enter(work, shared.limits).map(|number| Waiter { shared, number });
        let is_reserved = state.reserve_thread(shared.limits);
        drop(state);
        shared.changed.notify_one();
        if is_reserved {
            // On failure the operation waits for a thread that exists.
            let _ = self.start_reserved();
        }
        entered.ok_or(OffloadError::NoThread)
    }

    /// Starts a thread that is already counted.
    fn start_reserved(&self) -> io::Result<()> {
        let shared = self.shared();
        (shared.starter)(Arc::clone(shared)).inspect_err(|_| shared.lock().remove_thread())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl Shared {
    /// Runs operations until the thread is not needed any more.
    fn serve(&self) {
        while let Some(work) = self.next() {
            // A panic of the operation is its result; here, a result that nobody awaits may panic in its drop.
            let _ = catch_unwind(AssertUnwindSafe(work));
            self.lock().idle += 1;
        }
    }

    /// Waits for the next operation and takes it. None when the thread is to end, which then is not counted any more.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        let mut has_waited = false;
        loop {
            if let Some((_, work)) = state.waiting.pop_first() {
                state.idle -= 1;
                return Some(work);
            }
            // Of the idle ones: those of the first that hang are no use to the next operation.
            let is_surplus = state.idle > CORE_THREADS;
            if state.is_closed || (is_surplus && has_waited) {
                state.remove_thread();
                return None;
            }
            if is_surplus {
                let waited = self.changed.wait_timeout(state, self.limits.idle).unwrap_or_else(PoisonError::into_inner);
                (state, has_waited) = (waited.0, waited.1.timed_out());
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                has_waited = false;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_thread(shared: Arc<Shared>) -> io::Result<()> {
    crate::thread::start("offload", move || shared.serve())
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests;
