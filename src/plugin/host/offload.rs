//! Where what may wait is done: on other threads, of which there are few, so that only the guest waits that asked for it,
//! and not longer than it has time. What the system does not give back keeps its permit and its thread, and is not asked
//! again until it is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::super::context::PluginContext;

/// How many operations of one plugin may wait for file systems and for names at a time: for eight mounts of a server that
/// is dead, for one more that is asked meanwhile, and for a file of the kernel's.
const PERMITS: usize = 10;

/// Of those, how many are only for the kernel's own files: a plugin that finds its mounts or devices there finds them
/// whatever else is stuck.
const KERNEL_PERMITS: usize = 1;

/// How many operations may wait at a time, those of all plugins together: all that a dozen plugins have, on a quarter of
/// the threads that the runtime starts at most.
static TOTAL_PERMITS: Semaphore = Semaphore::const_new(128);

/// Why there is no result.
#[derive(Debug)]
pub(super) enum OffloadError {
    /// It was not there in time, or it was not begun: there was no permit, or what is asked has yet to answer what it was
    /// asked before.
    Late,
    /// The agent's own code panicked.
    Panicked(String),
}

/// What an operation asks. While one is stuck, all that ask the same would be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OffloadTarget {
    /// The file system at a path, as the guest wrote it.
    Path(String),
    /// Whoever knows what a name stands for.
    Name(String),
    /// The files in which the system says whom it trusts.
    Trust,
}

impl OffloadTarget {
    /// Whether it is a file that the kernel itself answers for, not a device or another machine.
    fn is_kernel_file(&self) -> bool {
        matches!(self, Self::Path(path) if path.starts_with("/proc/") || path.starts_with("/sys/"))
    }
}

/// The operations of one plugin that are not back.
#[derive(Default)]
pub(in super::super) struct Permits {
    /// Behind a lock because an operation gives its permit back on the thread that it was done on.
    taken: Mutex<[Option<Operation>; PERMITS]>,
}

struct Operation {
    target: OffloadTarget,
    /// Held by who waits for it.
    waiter: Weak<()>,
}

impl Operation {
    /// Whether nobody waits for it any more.
    fn is_stuck(&self) -> bool {
        self.waiter.strong_count() == 0
    }
}

impl Permits {
    /// How many operations are stuck.
    pub(in super::super) fn stuck(&self) -> usize {
        self.lock().iter().flatten().filter(|operation| operation.is_stuck()).count()
    }

    /// Takes a permit for an operation, unless one on the same target is stuck.
    fn take(self: &Arc<Self>, target: OffloadTarget, waiter: &Arc<()>) -> Option<Permit> {
        let mut taken = self.lock();
        if taken.iter().flatten().any(|other| other.is_stuck() && other.target == target) {
            return None;
        }
        let first = if target.is_kernel_file() { 0 } else { KERNEL_PERMITS };
        let index = (first..PERMITS).find(|index| taken[*index].is_none())?;
        let total = TOTAL_PERMITS.try_acquire().ok()?;
        taken[index] = Some(Operation { target, waiter: Arc::downgrade(waiter) });
        Some(Permit { permits: Arc::clone(self), index, _total: total })
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Operation>; PERMITS]> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit that an operation has until it is back.
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

/// Does on another thread what may wait.
pub(super) async fn offload<T: Send + 'static>(
    plugin: &PluginContext,
    target: OffloadTarget,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OffloadError> {
    // Gone when this returns, and when whoever called it gives up.
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

    /// A moment that no operation here needs to wait for.
    fn far() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    /// What is done at once, and has a permit.
    async fn answers(plugin: &PluginContext, target: OffloadTarget) -> bool {
        offload(plugin, target, far(), || ()).await.is_ok()
    }

    /// Asks what does not answer until the sender is gone, and gives up at once.
    async fn get_stuck(plugin: &PluginContext, target: OffloadTarget) -> SyncSender<()> {
        let (sender, until_gone) = mpsc::sync_channel::<()>(0);
        let lost = offload(plugin, target, Instant::now(), move || until_gone.recv().is_ok()).await;
        assert!(matches!(lost, Err(OffloadError::Late)), "{lost:?}");
        sender
    }

    /// Waits until nothing is stuck.
    async fn all_back(plugin: &PluginContext) {
        let until = Instant::now() + Duration::from_secs(60);
        while plugin.permits.stuck() > 0 {
            assert!(Instant::now() < until, "never back");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_is_stuck_is_not_asked_again_until_it_is_back() {
        let plugin = plugin();
        let server = get_stuck(&plugin, path("/mnt")).await;
        // One that began would wait until the test ends in failure.
        let never = || unreachable!("it was asked again");
        for _ in 0..2 * PERMITS {
            assert!(matches!(offload(&plugin, path("/mnt"), far(), never).await, Err(OffloadError::Late)));
        }
        assert_eq!(plugin.permits.stuck(), 1);
        assert!(
            answers(&plugin, path("/mnt/other")).await && answers(&plugin, OffloadTarget::Name("/mnt".into())).await
        );
        let other = self::plugin();
        assert!(answers(&other, path("/mnt")).await, "another plugin finds out for itself");
        drop(server);
        all_back(&plugin).await;
        assert!(answers(&plugin, path("/mnt")).await);
    }

    #[tokio::test]
    async fn the_last_place_is_for_the_kernels_own_files() {
        let plugin = plugin();
        let mut servers = Vec::new();
        for number in 1..PERMITS {
            servers.push(get_stuck(&plugin, path(&format!("/mnt/{number}"))).await);
        }
        for other in [path("/mnt"), path("/processes"), OffloadTarget::Name("name".into()), OffloadTarget::Trust] {
            assert!(!answers(&plugin, other).await);
        }
        for kernels in ["/proc/1/mountinfo", "/sys/class/hwmon/hwmon0/temp1_input"] {
            assert!(answers(&plugin, path(kernels)).await, "{kernels}");
        }
        assert_eq!(plugin.permits.stuck(), PERMITS - 1);
        servers.push(get_stuck(&plugin, path("/proc/1/cmdline")).await);
        assert!(!answers(&plugin, path("/proc/1/mountinfo")).await, "nothing is left");
        drop(servers);
        all_back(&plugin).await;
        assert!(answers(&plugin, path("/mnt")).await);
    }

    #[tokio::test]
    async fn only_what_nobody_waits_for_is_stuck() {
        let plugin = plugin();
        let (sender, until_gone) = mpsc::sync_channel::<()>(0);
        let mut waiting = Box::pin(offload(&plugin, path("/mnt"), far(), move || until_gone.recv().is_ok()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
        // A version and its successor ask the same at the same time.
        assert_eq!(plugin.permits.stuck(), 0);
        assert!(answers(&plugin, path("/mnt")).await);
        // The whole call is given up, and this with it.
        drop(waiting);
        assert_eq!(plugin.permits.stuck(), 1);
        assert!(!answers(&plugin, path("/mnt")).await);
        drop(sender);
        all_back(&plugin).await;
    }

    #[tokio::test]
    async fn a_panic_gives_the_place_back() {
        let plugin = plugin();
        for _ in 0..2 * PERMITS {
            let lost = offload(&plugin, path("/mnt"), far(), || panic!("on purpose")).await;
            assert!(matches!(lost, Err::<(), _>(OffloadError::Panicked(_))), "{lost:?}");
        }
        assert_eq!(plugin.permits.stuck(), 0);
    }
}
