//! Offloads operations that may wait to other threads, of which there are few. Only the guest that asked waits, and not beyond
//! its deadline. An operation that is stuck in the kernel keeps its thread and permit, and its target is not asked again until
//! it returns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::super::context::PluginContext;

/// How many operations of one plugin may be under way: eight on the mounts of a dead server, another one, and one on a file of
/// the kernel.
const PERMITS: usize = 10;

/// How many of them are only for files of the kernel, so that a plugin can list its mounts or devices whatever else is stuck.
const KERNEL_PERMITS: usize = 1;

/// How many operations of all plugins may be under way: those of a dozen plugins, on a quarter of the runtime's threads.
static TOTAL_PERMITS: Semaphore = Semaphore::const_new(128);

/// Why an operation has no result.
#[derive(Debug)]
pub(super) enum OffloadError {
    /// It did not return in time, or was not started: there was no permit, or its target is stuck.
    Late,
    /// The agent's own code panicked.
    Panicked(String),
}

/// The target of an operation. While one operation is stuck, another on the same target would be, too.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OffloadTarget {
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
pub(in super::super) struct Permits {
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
    pub(in super::super) fn stuck(&self) -> usize {
        self.lock().iter().flatten().filter(|operation| operation.is_stuck()).count()
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

/// Runs an operation that may wait on another thread.
pub(super) async fn offload<T: Send + 'static>(
    plugin: &PluginContext,
    target: OffloadTarget,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OffloadError> {
    // Dropped when this returns, and when the caller stops waiting.
    let waiter = Arc::new(());
    let Some(permit) = plugin.permits.take(target, &waiter) else { return Err(OffloadError::Late) };
    let working = spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    match tokio::time::timeout_at(until.into(), working).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panicked)) => Err(OffloadError::Panicked(panicked.to_string())),
        Err(_elapsed) => Err(OffloadError::Late),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, SyncSender};
    use std::time::Duration;

    use super::super::super::grants::Grants;
    use super::*;
    use crate::config::PluginConfig;

    fn plugin() -> PluginContext {
        PluginContext::new("asking", Arc::new(PluginConfig::default()), Grants::none())
    }

    fn path(path: &str) -> OffloadTarget {
        OffloadTarget::Path(path.to_owned())
    }

    /// A deadline that no operation here reaches.
    fn far_deadline() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    /// Whether an operation gets a permit.
    async fn is_permitted(plugin: &PluginContext, target: OffloadTarget) -> bool {
        offload(plugin, target, far_deadline(), || ()).await.is_ok()
    }

    /// Starts an operation that is stuck until the returned sender is dropped.
    async fn get_stuck(plugin: &PluginContext, target: OffloadTarget) -> SyncSender<()> {
        let (sender, receiver) = mpsc::sync_channel::<()>(0);
        let result = offload(plugin, target, Instant::now(), move || receiver.recv().is_ok()).await;
        assert!(matches!(result, Err(OffloadError::Late)), "{result:?}");
        sender
    }

    /// Waits until nothing is stuck.
    async fn wait_until_none_is_stuck(plugin: &PluginContext) {
        let until = Instant::now() + Duration::from_secs(60);
        while plugin.permits.stuck() > 0 {
            assert!(Instant::now() < until, "an operation is still stuck");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn stuck_targets_are_not_asked_again() {
        let plugin = plugin();
        let server = get_stuck(&plugin, path("/mnt")).await;
        let never = || unreachable!("it was asked again");
        for _ in 0..2 * PERMITS {
            assert!(matches!(offload(&plugin, path("/mnt"), far_deadline(), never).await, Err(OffloadError::Late)));
        }
        assert_eq!(plugin.permits.stuck(), 1);
        assert!(
            is_permitted(&plugin, path("/mnt/other")).await
                && is_permitted(&plugin, OffloadTarget::Name("/mnt".into())).await
        );
        let other = self::plugin();
        assert!(is_permitted(&other, path("/mnt")).await, "another plugin has its own permits");
        drop(server);
        wait_until_none_is_stuck(&plugin).await;
        assert!(is_permitted(&plugin, path("/mnt")).await);
    }

    #[tokio::test]
    async fn the_last_permit_is_for_kernel_files() {
        let plugin = plugin();
        let mut servers = Vec::new();
        for number in 1..PERMITS {
            servers.push(get_stuck(&plugin, path(&format!("/mnt/{number}"))).await);
        }
        for other in [path("/mnt"), path("/processes"), OffloadTarget::Name("name".into()), OffloadTarget::Certificates]
        {
            assert!(!is_permitted(&plugin, other).await);
        }
        for file in ["/proc/1/mountinfo", "/sys/class/hwmon/hwmon0/temp1_input"] {
            assert!(is_permitted(&plugin, path(file)).await, "{file}");
        }
        assert_eq!(plugin.permits.stuck(), PERMITS - 1);
        servers.push(get_stuck(&plugin, path("/proc/1/cmdline")).await);
        assert!(!is_permitted(&plugin, path("/proc/1/mountinfo")).await, "no permit is left");
        drop(servers);
        wait_until_none_is_stuck(&plugin).await;
        assert!(is_permitted(&plugin, path("/mnt")).await);
    }

    #[tokio::test]
    async fn awaited_operations_are_not_stuck() {
        let plugin = plugin();
        let (sender, receiver) = mpsc::sync_channel::<()>(0);
        let mut waiting = Box::pin(offload(&plugin, path("/mnt"), far_deadline(), move || receiver.recv().is_ok()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
        // An old and a new version may ask the same at the same time.
        assert_eq!(plugin.permits.stuck(), 0);
        assert!(is_permitted(&plugin, path("/mnt")).await);
        // The whole call is abandoned.
        drop(waiting);
        assert_eq!(plugin.permits.stuck(), 1);
        assert!(!is_permitted(&plugin, path("/mnt")).await);
        drop(sender);
        wait_until_none_is_stuck(&plugin).await;
    }

    #[tokio::test]
    async fn a_panic_returns_the_permit() {
        let plugin = plugin();
        for _ in 0..2 * PERMITS {
            let result = offload(&plugin, path("/mnt"), far_deadline(), || panic!("on purpose")).await;
            assert!(matches!(result, Err::<(), _>(OffloadError::Panicked(_))), "{result:?}");
        }
        assert_eq!(plugin.permits.stuck(), 0);
    }
}
