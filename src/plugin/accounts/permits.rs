//! The permits of one plugin for operations that may wait. An operation that is stuck in the kernel keeps its permit, and its
//! target is not asked again until it returns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many operations of one plugin may be under way: eight on the mounts of a dead server, another one, and one on a file of
/// the kernel.
pub(crate) const PERMITS: usize = 10;

/// How many of them are only for files of the kernel, so that a plugin can list its mounts or devices whatever else is stuck.
const KERNEL_PERMITS: usize = 1;

/// How many operations of all plugins may be under way: those of a dozen plugins, on a quarter of the runtime's threads.
static TOTAL_PERMITS: Semaphore = Semaphore::const_new(128);

/// The target of an operation. While one operation is stuck, another on the same target would be, too.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OffloadTarget {
    /// The file system at a path, as the guest wrote it.
    Path(String),
    /// The resolver, for a host name.
    Name(String),
    /// The files with the system's CA certificates.
    Certificates,
}

impl OffloadTarget {
    /// Whether it is a file of the kernel, not of a device or another machine.
    fn is_kernel_file(&self) -> bool {
        matches!(self, Self::Path(path) if path.starts_with("/proc/") || path.starts_with("/sys/"))
    }
}

/// The permits of one plugin, with its operations that are under way.
#[derive(Default)]
pub(crate) struct Permits {
    /// Behind a lock because an operation returns its permit on its own thread.
    /// An entry for each permit; empty before the first operation.
    operations: Mutex<Vec<Option<OffloadOperation>>>,
}

struct OffloadOperation {
    target: OffloadTarget,
    /// Held by the task that waits for the result.
    waiter: Weak<()>,
}

impl OffloadOperation {
    /// Whether no task waits for it any more.
    fn is_stuck(&self) -> bool {
        self.waiter.strong_count() == 0
    }
}

impl Permits {
    /// How many operations are stuck.
    pub(crate) fn stuck(&self) -> usize {
        self.lock().iter().flatten().filter(|operation| operation.is_stuck()).count()
    }

    /// Takes a permit for an operation. None when there is none, or when an operation on the same target is stuck.
    pub(crate) fn take(self: &Arc<Self>, target: OffloadTarget, waiter: &Arc<()>) -> Option<Permit> {
        let mut operations = self.lock();
        operations.resize_with(PERMITS, || None);
        if operations.iter().flatten().any(|other| other.is_stuck() && other.target == target) {
            return None;
        }
        let first = if target.is_kernel_file() { 0 } else { KERNEL_PERMITS };
        let index = (first..PERMITS).find(|index| operations[*index].is_none())?;
        let total = TOTAL_PERMITS.try_acquire().ok()?;
        operations[index] = Some(OffloadOperation { target, waiter: Arc::downgrade(waiter) });
        Some(Permit { permits: Arc::clone(self), index, _total: total })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<OffloadOperation>>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permit of an operation, held until it returns.
pub(crate) struct Permit {
    permits: Arc<Permits>,
    index: usize,
    _total: SemaphorePermit<'static>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.lock()[self.index] = None;
    }
}
