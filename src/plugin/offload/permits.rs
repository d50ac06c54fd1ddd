//! The operations of one plugin that may wait, of which there are few. Only the guest that asked waits, and not beyond its
//! deadline. An operation that is stuck in the kernel keeps its thread and permit, and its target is not asked again until it
//! returns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use crate::plugin::offload::pool::{OffloadError, OffloadPool};

/// How many operations of one plugin may be under way: eight on the mounts of a dead server, another one, and one on a file of
/// the kernel.
const PERMITS: usize = 10;

/// How many of them are only for files of the kernel, so that a plugin can list its mounts or devices whatever else is stuck.
const KERNEL_PERMITS: usize = 1;

/// How many operations of all plugins may be under way: those of a dozen plugins, on half of the pool's threads.
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

/// Why an operation has no result.
#[derive(Debug)]
pub(crate) enum PermitError {
    /// It did not return in time, or was not begun: there was no permit or no thread, or its target is stuck.
    Late,
    /// The agent's own code panicked.
    Panicked(String),
}

/// The permits of one plugin, with its operations that are under way.
pub(crate) struct Permits {
    pool: OffloadPool,
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
    pub(crate) fn new(pool: OffloadPool) -> Self {
        Self { pool, operations: Mutex::default() }
    }

    /// How many operations are stuck.
    pub(crate) fn stuck(&self) -> usize {
        self.lock().iter().flatten().filter(|operation| operation.is_stuck()).count()
    }

    /// Runs an operation on another thread. Returns at `until` at the latest.
    ///
    /// # Errors
    ///
    /// When it panicked, or has no result in time.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        target: OffloadTarget,
        until: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PermitError> {
        // Dropped when this returns, and when the caller stops waiting.
        let waiter = Arc::new(());
        let Some(permit) = self.take(target, &waiter) else { return Err(PermitError::Late) };
        let working = self.pool.run(move || {
            let done = work();
            drop(permit);
            done
        });
        match timeout_at(until.into(), working).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(OffloadError::Panicked(why))) => Err(PermitError::Panicked(why)),
            Ok(Err(OffloadError::NoThread)) | Err(_) => Err(PermitError::Late),
        }
    }

    /// Takes a permit for an operation. None when there is none, or when an operation on the same target is stuck.
    fn take(self: &Arc<Self>, target: OffloadTarget, waiter: &Arc<()>) -> Option<Permit> {
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
struct Permit {
    permits: Arc<Permits>,
    index: usize,
    _total: SemaphorePermit<'static>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.lock()[self.index] = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, SyncSender};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn permits() -> Arc<Permits> {
        Arc::new(Permits::new(OffloadPool::start().expect("threads")))
    }

    fn path(path: &str) -> OffloadTarget {
        OffloadTarget::Path(path.to_owned())
    }

    /// A deadline that no operation here reaches.
    fn far_deadline() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    /// Whether an operation gets a permit.
    async fn is_permitted(permits: &Arc<Permits>, target: OffloadTarget) -> bool {
        permits.run(target, far_deadline(), || ()).await.is_ok()
    }

    /// Begins an operation that hangs until the returned sender is dropped.
    async fn begin(permits: &Arc<Permits>, target: OffloadTarget) -> (impl Future<Output = ()>, SyncSender<()>) {
        let ((sender, begun), (release, hanging)) = (mpsc::sync_channel(1), mpsc::sync_channel::<()>(0));
        let permits = Arc::clone(permits);
        let mut waiting = Box::pin(async move {
            let work = move || {
                let _ = sender.send(());
                let _ = hanging.recv();
            };
            permits.run(target, far_deadline(), work).await.expect("a result");
        });
        assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
        begun.recv().expect("it has begun");
        (waiting, release)
    }

    /// Begins an operation that is stuck until the returned sender is dropped.
    async fn get_stuck(permits: &Arc<Permits>, target: OffloadTarget) -> SyncSender<()> {
        begin(permits, target).await.1
    }

    /// Waits until nothing is stuck.
    async fn wait_until_none_is_stuck(permits: &Arc<Permits>) {
        let until = Instant::now() + Duration::from_secs(60);
        while permits.stuck() > 0 {
            assert!(Instant::now() < until, "an operation is still stuck");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn stuck_targets_are_not_asked_again() {
        let permits = permits();
        let server = get_stuck(&permits, path("/mnt")).await;
        let never = || unreachable!("it was asked again");
        for _ in 0..2 * PERMITS {
            assert!(matches!(permits.run(path("/mnt"), far_deadline(), never).await, Err(PermitError::Late)));
        }
        assert_eq!(permits.stuck(), 1);
        assert!(
            is_permitted(&permits, path("/mnt/other")).await
                && is_permitted(&permits, OffloadTarget::Name("/mnt".into())).await
        );
        let other = self::tests::permits();
        assert!(is_permitted(&other, path("/mnt")).await, "another plugin has its own permits");
        drop(server);
        wait_until_none_is_stuck(&permits).await;
        assert!(is_permitted(&permits, path("/mnt")).await);
    }

    #[tokio::test]
    async fn the_last_permit_is_for_kernel_files() {
        let permits = permits();
        let mut servers = Vec::new();
        for number in 1..PERMITS {
            servers.push(get_stuck(&permits, path(&format!("/mnt/{number}"))).await);
        }
        for other in [path("/mnt"), path("/processes"), OffloadTarget::Name("name".into()), OffloadTarget::Certificates]
        {
            assert!(!is_permitted(&permits, other).await);
        }
        for file in ["/proc/1/mountinfo", "/sys/class/hwmon/hwmon0/temp1_input"] {
            assert!(is_permitted(&permits, path(file)).await, "{file}");
        }
        assert_eq!(permits.stuck(), PERMITS - 1);
        servers.push(get_stuck(&permits, path("/proc/1/cmdline")).await);
        assert!(!is_permitted(&permits, path("/proc/1/mountinfo")).await, "no permit is left");
        drop(servers);
        wait_until_none_is_stuck(&permits).await;
        assert!(is_permitted(&permits, path("/mnt")).await);
    }

    #[tokio::test]
    async fn awaited_operations_are_not_stuck() {
        let permits = permits();
        let (waiting, server) = begin(&permits, path("/mnt")).await;
        // An old and a new version may ask the same at the same time.
        assert_eq!(permits.stuck(), 0);
        assert!(is_permitted(&permits, path("/mnt")).await);
        // The whole call is abandoned.
        drop(waiting);
        assert_eq!(permits.stuck(), 1);
        assert!(!is_permitted(&permits, path("/mnt")).await);
        drop(server);
        wait_until_none_is_stuck(&permits).await;
    }

    #[tokio::test]
    async fn operation_ends_at_its_deadline() {
        let (release, hanging) = mpsc::sync_channel::<()>(0);
        let late = permits().run(path("/mnt"), Instant::now(), move || hanging.recv().is_ok()).await;
        assert!(matches!(late, Err(PermitError::Late)));
        drop(release);
    }

    #[tokio::test]
    async fn a_panic_returns_the_permit() {
        let permits = permits();
        for _ in 0..2 * PERMITS {
            let result = permits.run(path("/mnt"), far_deadline(), || panic!("on purpose")).await;
            assert!(matches!(result, Err::<(), _>(PermitError::Panicked(_))), "{result:?}");
        }
        assert_eq!(permits.stuck(), 0);
    }
}
