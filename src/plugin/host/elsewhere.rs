//! Where what may wait is done: on other threads, of which there are few, so that only the guest waits that asked for it,
//! and not longer than it has time. What the system does not give back keeps its place and its thread, and is not asked
//! again until it is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::super::configured::Plugin;

/// How many operations of one plugin may wait for file systems and for names at a time: for eight mounts of a server that
/// is dead, for one more that is asked meanwhile, and for a file of the kernel's.
const PLACES: usize = 10;

/// Of those, how many are only for the kernel's own files: a plugin that finds its mounts or devices there finds them
/// whatever else is stuck.
const FOR_THE_KERNELS: usize = 1;

/// How many operations may wait at a time, those of all plugins together: all that a dozen plugins have, on a quarter of
/// the threads that the runtime starts at most.
static ALL_PLACES: Semaphore = Semaphore::const_new(128);

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Lost {
    /// It was not there in time, or it was not begun: there was no place, or what is asked has yet to answer what it was
    /// asked before.
    Late,
    /// The agent's own code panicked.
    Panicked(String),
}

/// What an operation asks. While one is stuck, all that ask the same would be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The file system at a path, as the guest wrote it.
    Path(String),
    /// Whoever knows what a name stands for.
    Name(String),
    /// The files in which the system says whom it trusts.
    Trust,
}

impl Subject {
    /// Whether it is a file that the kernel itself answers for, not a device or another machine.
    fn is_kernels(&self) -> bool {
        matches!(self, Self::Path(path) if path.starts_with("/proc/") || path.starts_with("/sys/"))
    }
}

/// The operations of one plugin that are not back.
#[derive(Default)]
pub(in super::super) struct Places {
    /// Behind a lock because an operation gives its place back on the thread that it was done on.
    taken: Mutex<[Option<Operation>; PLACES]>,
}

struct Operation {
    subject: Subject,
    /// Held by who waits for it.
    awaited: Weak<()>,
}

impl Operation {
    /// Whether nobody waits for it any more.
    fn is_stuck(&self) -> bool {
        self.awaited.strong_count() == 0
    }
}

impl Places {
    /// How many operations are stuck.
    pub(in super::super) fn stuck(&self) -> usize {
        self.lock().iter().flatten().filter(|operation| operation.is_stuck()).count()
    }

    /// Takes a place for an operation, unless one on the same subject is stuck.
    fn take(self: &Arc<Self>, subject: Subject, awaited: &Arc<()>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.iter().flatten().any(|other| other.is_stuck() && other.subject == subject) {
            return None;
        }
        let first = if subject.is_kernels() { 0 } else { FOR_THE_KERNELS };
        let index = (first..PLACES).find(|index| taken[*index].is_none())?;
        let of_all = ALL_PLACES.try_acquire().ok()?;
        taken[index] = Some(Operation { subject, awaited: Arc::downgrade(awaited) });
        Some(Place { places: Arc::clone(self), index, _of_all: of_all })
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Operation>; PLACES]> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that an operation has until it is back.
struct Place {
    places: Arc<Places>,
    index: usize,
    _of_all: SemaphorePermit<'static>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock()[self.index] = None;
    }
}

/// Does on another thread what may wait.
pub(super) async fn elsewhere<T: Send + 'static>(
    plugin: &Plugin,
    subject: Subject,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    // Gone when this returns, and when whoever called it gives up.
    let awaited = Arc::new(());
    let Some(place) = plugin.places.take(subject, &awaited) else { return Err(Lost::Late) };
    let working = spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    match tokio::time::timeout_at(until.into(), working).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panicked)) => Err(Lost::Panicked(panicked.to_string())),
        Err(_elapsed) => Err(Lost::Late),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, SyncSender};
    use std::time::Duration;

    use super::super::super::grants::Grants;
    use super::*;
    use crate::config::PluginConfig;

    fn plugin() -> Plugin {
        Plugin::new("asking", Arc::new(PluginConfig::default()), Grants::none())
    }

    fn path(path: &str) -> Subject {
        Subject::Path(path.to_owned())
    }

    /// A moment that no operation here needs to wait for.
    fn far() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    /// What is done at once, and has a place.
    async fn answers(plugin: &Plugin, subject: Subject) -> bool {
        elsewhere(plugin, subject, far(), || ()).await.is_ok()
    }

    /// Asks what does not answer until the sender is gone, and gives up at once.
    async fn get_stuck(plugin: &Plugin, subject: Subject) -> SyncSender<()> {
        let (sender, until_gone) = mpsc::sync_channel::<()>(0);
        let lost = elsewhere(plugin, subject, Instant::now(), move || until_gone.recv().is_ok()).await;
        assert!(matches!(lost, Err(Lost::Late)), "{lost:?}");
        sender
    }

    /// Waits until nothing is stuck.
    async fn all_back(plugin: &Plugin) {
        let until = Instant::now() + Duration::from_secs(60);
        while plugin.places.stuck() > 0 {
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
        for _ in 0..2 * PLACES {
            assert!(matches!(elsewhere(&plugin, path("/mnt"), far(), never).await, Err(Lost::Late)));
        }
        assert_eq!(plugin.places.stuck(), 1);
        assert!(answers(&plugin, path("/mnt/other")).await && answers(&plugin, Subject::Name("/mnt".into())).await);
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
        for number in 1..PLACES {
            servers.push(get_stuck(&plugin, path(&format!("/mnt/{number}"))).await);
        }
        for other in [path("/mnt"), path("/processes"), Subject::Name("name".into()), Subject::Trust] {
            assert!(!answers(&plugin, other).await);
        }
        for kernels in ["/proc/1/mountinfo", "/sys/class/hwmon/hwmon0/temp1_input"] {
            assert!(answers(&plugin, path(kernels)).await, "{kernels}");
        }
        assert_eq!(plugin.places.stuck(), PLACES - 1);
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
        let mut waiting = Box::pin(elsewhere(&plugin, path("/mnt"), far(), move || until_gone.recv().is_ok()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
        // A version and its successor ask the same at the same time.
        assert_eq!(plugin.places.stuck(), 0);
        assert!(answers(&plugin, path("/mnt")).await);
        // The whole call is given up, and this with it.
        drop(waiting);
        assert_eq!(plugin.places.stuck(), 1);
        assert!(!answers(&plugin, path("/mnt")).await);
        drop(sender);
        all_back(&plugin).await;
    }

    #[tokio::test]
    async fn a_panic_gives_the_place_back() {
        let plugin = plugin();
        for _ in 0..2 * PLACES {
            let lost = elsewhere(&plugin, path("/mnt"), far(), || panic!("on purpose")).await;
            assert!(matches!(lost, Err::<(), _>(Lost::Panicked(_))), "{lost:?}");
        }
        assert_eq!(plugin.places.stuck(), 0);
    }
}
