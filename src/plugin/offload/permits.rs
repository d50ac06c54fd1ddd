//! The operations of one plugin that may wait, of which there are few. Only the guest that asked waits, and not beyond its
//! deadline. An operation that is stuck in the kernel keeps its thread and permit, and its target is not asked again until it
//! returns.

use std::ops::ControlFlow;
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
    /// The plugin's state on the disk.
    State,
    /// The kernel's tables of sockets.
    Sockets,
    /// The driver of a network interface.
    Interface(String),
}

impl OffloadTarget {
    /// Whether it is a file of the kernel, not of a device or another machine.
    fn is_kernel_file(&self) -> bool {
        matches!(self, Self::Path(path) if is_kernel_file(path))
    }
}

fn is_kernel_file(path: &str) -> bool {
    path.starts_with("/proc/") || path.starts_with("/sys/")
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
    /// None for a batch that has not begun.
    target: Option<OffloadTarget>,
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
        let Some(permit) = self.take(target.is_kernel_file(), &waiter) else { return Err(PermitError::Late) };
        if !permit.enter(target) {
            return Err(PermitError::Late);
        }
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

    /// Runs an operation on each of these paths, in their order, on one other thread. Returns at `until` at the latest, with the
    /// results so far; the others are late. Fewer results than paths when `work` breaks.
    pub(crate) async fn run_paths<T: Send + 'static>(
        self: &Arc<Self>,
        paths: Arc<[String]>,
        until: Instant,
        mut work: impl FnMut(&str) -> ControlFlow<(), T> + Send + 'static,
    ) -> Vec<Result<T, PermitError>> {
        let waiter = Arc::new(());
        let batch = Arc::new(Batch::new());
        let mut error = PermitError::Late;
        if let Some(permit) = self.take(paths.iter().all(|path| is_kernel_file(path)), &waiter) {
            let (paths, batch) = (Arc::clone(&paths), Arc::clone(&batch));
            let working = self.pool.run(move || {
                for path in paths.iter().take_while(|_| permit.is_awaited()) {
                    let is_free = permit.enter(OffloadTarget::Path(path.clone()));
                    let done = if is_free {
                        work(path).map_continue(Ok)
                    } else {
                        ControlFlow::Continue(Err(PermitError::Late))
                    };
                    if batch.add(done).is_break() {
                        break;
                    }
                }
                drop(permit);
            });
            if let Ok(Err(OffloadError::Panicked(why))) = timeout_at(until.into(), working).await {
                error = PermitError::Panicked(why);
            }
        }
        let (mut results, is_broken) = batch.take();
        if !is_broken && results.len() < paths.len() {
            results.push(Err(error));
            results.resize_with(paths.len(), || Err(PermitError::Late));
        }
        results
    }

    /// Takes a permit for an operation. None when there is none.
    fn take(self: &Arc<Self>, is_kernel_file: bool, waiter: &Arc<()>) -> Option<Permit> {
        let mut operations = self.lock();
        operations.resize_with(PERMITS, || None);
        let first = if is_kernel_file { 0 } else { KERNEL_PERMITS };
        let index = (first..PERMITS).find(|index| operations[*index].is_none())?;
        let total = TOTAL_PERMITS.try_acquire().ok()?;
        operations[index] = Some(OffloadOperation { target: None, waiter: Arc::downgrade(waiter) });
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

impl Permit {
    /// Makes this the target of the operation. False when another operation on it is stuck.
    fn enter(&self, target: OffloadTarget) -> bool {
        let mut operations = self.permits.lock();
        let is_other = |(index, _): &(usize, _)| *index != self.index;
        let mut others = operations.iter().enumerate().filter(is_other).filter_map(|(_, other)| other.as_ref());
        if others.any(|other| other.is_stuck() && other.target.as_ref() == Some(&target)) {
            return false;
        }
        if let Some(operation) = &mut operations[self.index] {
            operation.target = Some(target);
        }
        true
    }

    /// Whether a task still waits for the operation.
    fn is_awaited(&self) -> bool {
        self.permits.lock()[self.index].as_ref().is_some_and(|operation| !operation.is_stuck())
    }
}

/// The results of an operation on several paths, as far as it has come.
struct Batch<T> {
    /// Behind a lock because the thread adds to them until nobody waits any more.
    results: Mutex<(Vec<Result<T, PermitError>>, bool)>,
}

impl<T> Batch<T> {
    fn new() -> Self {
        Self { results: Mutex::new((Vec::new(), false)) }
    }

    /// Adds a result, or the end.
    fn add(&self, done: ControlFlow<(), Result<T, PermitError>>) -> ControlFlow<()> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            ControlFlow::Continue(result) => results.0.push(result),
            ControlFlow::Break(()) => results.1 = true,
        }
        if results.1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The results, and whether they ended early.
    fn take(&self) -> (Vec<Result<T, PermitError>>, bool) {
        std::mem::take(&mut self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }
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

    fn paths(paths: &[&str]) -> Arc<[String]> {
        paths.iter().map(|&path| path.to_owned()).collect()
    }

    #[tokio::test]
    async fn stuck_path_of_a_batch_costs_only_itself() {
        let permits = permits();
        let all = paths(&["/a", "/mnt", "/b"]);
        let (sender, hanging) = mpsc::sync_channel::<()>(0);
        let stick = move |path: &str| {
            if path == "/mnt" {
                let _ = hanging.recv();
            }
            ControlFlow::Continue(path.to_owned())
        };
        let soon = Instant::now() + Duration::from_millis(50);
        let results = permits.run_paths(Arc::clone(&all), soon, stick).await;
        let returned = |results: &[Result<String, PermitError>]| -> Vec<Option<String>> {
            results.iter().map(|result| result.as_ref().ok().cloned()).collect()
        };
        let first = returned(&results);
        // A thread may have started too late for the first.
        assert!(first.len() == 3 && first[1..] == [None, None], "{first:?}");
        assert_eq!(permits.stuck(), 1);
        let echo = |path: &str| ControlFlow::Continue(path.to_owned());
        let results = permits.run_paths(Arc::clone(&all), far_deadline(), echo).await;
        assert_eq!(returned(&results), [Some("/a".to_owned()), None, Some("/b".to_owned())]);
        assert!(!is_permitted(&permits, path("/mnt")).await, "it is the target of the batch that hangs");
        assert!(is_permitted(&permits, path("/b")).await, "the batch ends with what hangs");
        drop(sender);
        wait_until_none_is_stuck(&permits).await;
        let results = permits.run_paths(all, far_deadline(), echo).await;
        assert!(results.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn batch_ends_early_or_with_a_panic() {
        let permits = permits();
        let all = paths(&["/a", "/b", "/c"]);
        let until_b = |path: &str| if path == "/b" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let results = permits.run_paths(Arc::clone(&all), far_deadline(), until_b).await;
        assert!(matches!(results[..], [Ok(())]), "{results:?}");
        let panics = |path: &str| if path == "/b" { panic!("on purpose") } else { ControlFlow::Continue(()) };
        let results = permits.run_paths(all, far_deadline(), panics).await;
        assert!(matches!(results[..], [Ok(()), Err(PermitError::Panicked(_)), Err(PermitError::Late)]), "{results:?}");
        assert_eq!(permits.stuck(), 0);
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
