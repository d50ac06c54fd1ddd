//! The turns of compressions: on each device one at a time, and in the whole process a bounded number of threads that compress or
//! wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many threads there may be: one for each sink. A reload may begin another one for a sink while a disk hangs.
pub(super) const MAX_ENTRIES: usize = 32;

/// The turns of a process.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The threads that there are.
    entries: AtomicUsize,
    /// The devices that somebody has the turn of. Held for a few instructions.
    taken: Mutex<BTreeSet<u64>>,
    returned: Condvar,
}

/// A place among the threads, until it is dropped.
#[derive(Debug)]
pub(super) struct Entry(&'static Turns);

/// The turn of a device, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: &'static Turns,
    device: u64,
}

impl Turns {
    pub(super) const fn new() -> Self {
        Self { entries: AtomicUsize::new(0), taken: Mutex::new(BTreeSet::new()), returned: Condvar::new() }
    }

    /// A place for one more thread, unless there are too many.
    pub(super) fn enter(&'static self) -> Option<Entry> {
        let entry = Entry(self);
        // Dropping it takes it back.
        (self.entries.fetch_add(1, Ordering::Relaxed) < MAX_ENTRIES).then_some(entry)
    }

    /// Waits for the turn of a device.
    pub(super) fn take(&'static self, device: u64) -> Turn {
        let is_taken = |taken: &mut BTreeSet<u64>| taken.contains(&device);
        let taken = self.returned.wait_while(self.lock(), is_taken);
        taken.unwrap_or_else(PoisonError::into_inner).insert(device);
        Turn { turns: self, device }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        // No code panics while it holds the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.entries.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.device);
        self.turns.returned.notify_all();
    }
}
