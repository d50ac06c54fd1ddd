//! Offloads operations that may wait to other threads, of which there are few. Only the guest that asked waits, and not beyond
//! its deadline. An operation that is stuck in the kernel keeps its thread and permit, and its target is not asked again until
//! it returns.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;

use crate::plugin::accounts::permits::OffloadTarget;
use crate::plugin::context::PluginContext;

/// Why an operation has no result.
#[derive(Debug)]
pub(crate) enum OffloadError {
    /// It did not return in time, or was not started: there was no permit, or its target is stuck.
    Late,
    /// The agent's own code panicked.
    Panicked(String),
}

/// Runs an operation that may wait on another thread.
pub(crate) async fn offload<T: Send + 'static>(
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

    use super::*;
    use crate::config::PluginConfig;
    use crate::plugin::accounts::permits::PERMITS;
    use crate::plugin::grants::Grants;

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
        let other = self::tests::plugin();
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
