//! Tests of the pool, with hosts that start few threads or none.

use std::collections::{BTreeSet, VecDeque};
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use proptest::prelude::*;
use proptest::sample::Index;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use std::thread;

use super::*;
use crate::plugin::offload::permits::{OffloadTarget, PermitError, Permits};
use crate::plugin::source::scan::{BusyEntries, scan};

/// The limits of pools here. Their threads never end, and their operations never stop waiting.
const SMALL: PoolLimits =
    PoolLimits { threads: 4, waiting: 3, idle: Duration::from_secs(600), patience: Duration::from_secs(600) };

type Running<T> = Pin<Box<dyn Future<Output = Result<T, OffloadError>> + Send>>;

/// How many threads the host can still start.
struct Host(Arc<AtomicUsize>);

impl Host {
    fn new(threads: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(threads)))
    }

    fn allow(&self, threads: usize) {
        self.0.store(threads, Ordering::SeqCst);
    }

    fn pool(&self, limits: PoolLimits) -> io::Result<OffloadPool> {
        let left = Arc::clone(&self.0);
        let starter = move |shared| {
            let take = |left: usize| left.checked_sub(1);
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
            start_thread(shared)
        };
        OffloadPool::start_with(limits, Box::new(starter))
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn poll<T>(running: &mut Running<T>) -> Poll<Result<T, OffloadError>> {
    running.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Enters an operation that hangs until the sender is dropped.
fn hang(pool: &OffloadPool) -> (Running<bool>, SyncSender<()>) {
    let (release, hanging) = sync_channel::<()>(0);
    (enter(pool, move || hanging.recv().is_ok()), release)
}

/// Enters an operation, without waiting for it.
fn enter<T: Send + 'static>(pool: &OffloadPool, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let pool = pool.clone();
    let mut running: Running<T> = Box::pin(async move { pool.run(work).await });
    assert!(poll(&mut running).is_pending());
    running
}

fn wait_until(mut is_met: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_met() {
        assert!(Instant::now() < until, "the condition is not met");
        thread::yield_now();
    }
}

#[tokio::test]
async fn operations_run_concurrently() {
    let pool = OffloadPool::start().expect("threads");
    let all = Arc::new(Barrier::new(20));
    let mut running = JoinSet::new();
    for number in 0..20 {
        let (pool, all) = (pool.clone(), Arc::clone(&all));
        running.spawn(async move {
            let work = move || {
                all.wait();
                number
            };
            pool.run(work).await.expect("a result")
        });
    }
    let results: BTreeSet<i32> = running.join_all().await.into_iter().collect();
    assert!(results.into_iter().eq(0..20));
}

#[test]
fn callers_of_several_runtimes_get_results() {
    let pool = OffloadPool::start().expect("threads");
    let caller = |number: usize| {
        let pool = pool.clone();
        thread::spawn(move || runtime().block_on(pool.run(move || number)))
    };
    let callers: Vec<_> = (0..4).map(caller).collect();
    for (number, caller) in callers.into_iter().enumerate() {
        assert_eq!(caller.join().expect("no panic"), Ok(number));
    }
}

#[tokio::test]
async fn hung_operations_hold_up_no_other() {
    let pool = OffloadPool::start().expect("threads");
    let hung: Vec<_> = (0..3 * CORE_THREADS).map(|_| hang(&pool)).collect();
    for number in 0..100 {
        assert_eq!(pool.run(move || number).await, Ok(number));
    }
    for (running, release) in hung {
        drop(release);
        assert_eq!(running.await, Ok(false));
    }
}

#[tokio::test]
async fn existing_threads_serve_all_when_none_starts() {
    let pool = Host::new(1).pool(PoolLimits { waiting: 100, ..SMALL }).expect("one thread");
    let (first, release) = hang(&pool);
    let waiting: Vec<_> = (0..99).map(|number| enter(&pool, move || number)).collect();
    assert_eq!(pool.shared().lock().threads, 1);
    drop(release);
    assert_eq!(first.await, Ok(false));
    for (number, running) in waiting.into_iter().enumerate() {
        assert_eq!(running.await, Ok(number));
    }
}

#[tokio::test]
async fn missing_threads_are_started_later() {
    let host = Host::new(0);
    assert!(host.pool(SMALL).is_err(), "there is no thread at all");
    host.allow(1);
    let pool = host.pool(SMALL).expect("one thread");
    assert_eq!(pool.start_missing().expect_err("no other").kind(), io::ErrorKind::WouldBlock);
    let _hung = hang(&pool);
    let both = Arc::new(Barrier::new(2));
    let waiting = [1, 2].map(|number| {
        let both = Arc::clone(&both);
        let work = move || {
            both.wait();
            number
        };
        (number, enter(&pool, work))
    });
    assert!(pool.start_missing().is_err());
    host.allow(usize::MAX);
    pool.start_missing().expect("threads");
    for (number, running) in waiting {
        assert_eq!(running.await, Ok(number));
    }
    assert_eq!(pool.shared().lock().threads, 3);
}

#[tokio::test]
async fn a_full_queue_refuses_operations() {
    let pool = Host::new(usize::MAX).pool(SMALL).expect("threads");
    let hung: Vec<_> = (0..SMALL.threads).map(|_| hang(&pool)).collect();
    let waiting: Vec<_> = (0..SMALL.waiting).map(|number| enter(&pool, move || number)).collect();
    assert_eq!(pool.run(|| unreachable!("it was begun")).await, Err::<(), _>(OffloadError::NoThread));
    drop(hung);
    for (number, running) in waiting.into_iter().enumerate() {
        assert_eq!(running.await, Ok(number));
    }
}

#[tokio::test]
async fn abandoned_operations_are_not_begun() {
    let pool = Host::new(1).pool(SMALL).expect("one thread");
    let (first, release) = hang(&pool);
    let permit = Arc::new(());
    let held = Arc::clone(&permit);
    let abandoned = enter(&pool, move || unreachable!("it was begun: {held:?}"));
    let last = enter(&pool, || 1);
    drop(abandoned);
    assert_eq!(Arc::strong_count(&permit), 1, "its captures are dropped at once");
    drop(release);
    assert_eq!((first.await, last.await), (Ok(false), Ok(1)));
}

#[tokio::test]
async fn operation_without_a_thread_gives_up() {
    let pool = Host::new(1).pool(PoolLimits { patience: Duration::from_millis(1), ..SMALL }).expect("one thread");
    let (first, release) = hang(&pool);
    wait_until(|| pool.shared().lock().waiting.is_empty());
    assert_eq!(pool.run(|| unreachable!("it was begun")).await, Err::<(), _>(OffloadError::NoThread));
    assert!(pool.shared().lock().waiting.is_empty());
    let patient = tokio::spawn(first);
    tokio::time::sleep(2 * Duration::from_millis(1)).await;
    drop(release);
    assert_eq!(patient.await.expect("no panic"), Ok(false), "it was begun, and is awaited as long as it takes");
}

#[tokio::test]
async fn waiting_for_a_thread_is_no_stall() {
    let pool = Host::new(1).pool(SMALL).expect("one thread");
    let (first, release) = hang(&pool);
    let stall = Duration::from_millis(1);
    let mut waiting = pin!(pool.run_with_progress(stall, |_| 1));
    assert!(timeout(100 * stall, &mut waiting).await.is_err(), "it waits");
    drop(release);
    assert!(matches!(waiting.await, Ok(1)));
    assert_eq!(first.await, Ok(false));
}

/// A pool whose only thread hangs until the sender is dropped, and whose operations do not wait long for another one.
fn hung_pool() -> (OffloadPool, SyncSender<()>) {
    let pool = Host::new(1).pool(PoolLimits { patience: Duration::from_millis(1), ..SMALL }).expect("one thread");
    let (_abandoned, release) = hang(&pool);
    wait_until(|| pool.shared().lock().waiting.is_empty());
    (pool, release)
}

#[tokio::test]
async fn missing_thread_is_late_for_a_guest() {
    let (pool, _release) = hung_pool();
    let permits = Arc::new(Permits::new(pool));
    let until = Instant::now() + Duration::from_secs(600);
    let late = permits.run(OffloadTarget::Certificates, until, || unreachable!("it was begun")).await;
    assert!(matches!(late, Err::<(), _>(PermitError::Late)));
    assert_eq!(permits.stuck(), 0);
}

#[tokio::test]
async fn missing_thread_fails_a_scan_for_now() {
    let (pool, _release) = hung_pool();
    let busy = BusyEntries::default();
    for _ in 0..2 {
        let scanned = scan(pool.clone(), "/".into(), busy.clone(), false).await;
        assert_eq!(scanned.expect_err("there is no thread").kind(), io::ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn a_panic_is_returned() {
    /// Panics when it is dropped.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let pool = Host::new(1).pool(SMALL).expect("one thread");
    let panicked = |text: &str| Err::<(), _>(OffloadError::Panicked(text.to_owned()));
    assert_eq!(pool.run(|| panic!("on purpose")).await, panicked("on purpose"));
    assert_eq!(pool.run(|| panic!("{} again", "on purpose")).await, panicked("on purpose again"));
    assert_eq!(pool.run(|| std::panic::panic_any(1)).await, panicked("without a message"));
    let (release, hanging) = sync_channel::<()>(0);
    let unheard = enter(&pool, move || {
        let _ = hanging.recv();
        Bomb
    });
    wait_until(|| pool.shared().lock().waiting.is_empty());
    drop(unheard);
    drop(release);
    assert_eq!(pool.run(|| 1).await, Ok(1), "the only thread is still there");
}

#[tokio::test]
async fn surplus_threads_end_when_idle() {
    let limits = PoolLimits { idle: Duration::from_millis(1), ..SMALL };
    let pool = Host::new(usize::MAX).pool(limits).expect("threads");
    let hung: Vec<_> = (0..SMALL.threads).map(|_| hang(&pool)).collect();
    assert_eq!(pool.shared().lock().threads, SMALL.threads);
    drop(hung);
    wait_until(|| pool.shared().lock().threads == CORE_THREADS);
    assert_eq!(pool.run(|| 1).await, Ok(1));
}

#[test]
fn dropping_the_pool_ends_idle_threads_only() {
    let runtime = runtime();
    let _context = runtime.enter();
    let pool = Host::new(usize::MAX).pool(SMALL).expect("threads");
    let shared = Arc::clone(pool.shared());
    let (running, release) = hang(&pool);
    wait_until(|| shared.lock().waiting.is_empty());
    drop((running, pool));
    wait_until(|| shared.lock().threads == 1);
    drop(release);
    wait_until(|| shared.lock().threads == 0);
}

#[derive(Debug, Clone)]
enum Step {
    Submit,
    Finish(Index),
    Abandon(Index),
    /// From now on the host starts so many threads.
    Allow(usize),
    StartMissing,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Submit),
        2 => any::<Index>().prop_map(Step::Finish),
        1 => any::<Index>().prop_map(Step::Abandon),
        1 => prop_oneof![Just(0), Just(1), Just(usize::MAX)].prop_map(Step::Allow),
        1 => Just(Step::StartMissing),
    ]
}

/// A pool in which everything happens at once.
#[derive(Debug, Default)]
struct Model {
    /// How many threads the host can still start.
    startable: usize,
    threads: usize,
    waiting: VecDeque<usize>,
    running: BTreeSet<usize>,
    begun: BTreeSet<usize>,
}

impl Model {
    /// Starts a thread if one is missing. Returns whether there was one to start, and it could be.
    fn start_thread(&mut self) -> Option<bool> {
        let is_missing = self.threads < CORE_THREADS || self.waiting.len() > self.threads - self.running.len();
        if !is_missing || self.threads == SMALL.threads {
            return None;
        }
        let is_started = self.startable > 0;
        self.startable -= usize::from(is_started);
        self.threads += usize::from(is_started);
        Some(is_started)
    }

    fn start_missing(&mut self) -> bool {
        loop {
            match self.start_thread() {
                Some(true) => {}
                Some(false) => return false,
                None => return true,
            }
        }
    }

    /// Begins operations on the idle threads.
    fn settle(&mut self) {
        while self.running.len() < self.threads
            && let Some(number) = self.waiting.pop_front()
        {
            self.running.insert(number);
            self.begun.insert(number);
        }
    }
}

/// An operation of the property test.
struct Submitted {
    /// Ends it when it is dropped.
    release: SyncSender<()>,
    /// None once it was abandoned.
    result: Option<Running<usize>>,
}

proptest! {
    #[test]
    fn no_operation_is_lost(startable in 1..4_usize, steps in prop::collection::vec(step(), 0..40)) {
        let (host, runtime) = (Host::new(startable), runtime());
        let _context = runtime.enter();
        let pool = host.pool(SMALL).expect("a thread");
        let mut model = Model { startable, ..Model::default() };
        model.start_missing();
        let begun = Arc::new(Mutex::new(BTreeSet::new()));
        let mut submitted: BTreeMap<usize, Submitted> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Submit => {
                    let (release, hanging) = sync_channel::<()>(0);
                    let (pool, begun) = (pool.clone(), Arc::clone(&begun));
                    let mut result: Running<usize> = Box::pin(async move {
                        let work = move || {
                            begun.lock().expect("no panic").insert(number);
                            let _ = hanging.recv();
                            number
                        };
                        pool.run(work).await
                    });
                    if model.waiting.len() == SMALL.waiting {
                        prop_assert_eq!(poll(&mut result), Poll::Ready(Err(OffloadError::NoThread)));
                    } else {
                        prop_assert!(poll(&mut result).is_pending());
                        submitted.insert(number, Submitted { release, result: Some(result) });
                        model.waiting.push_back(number);
                    }
                    model.start_thread();
                }
                Step::Finish(index) if !model.running.is_empty() => {
                    let finished = *model.running.iter().nth(index.index(model.running.len())).expect("one");
                    model.running.remove(&finished);
                    let Submitted { release, result } = submitted.remove(&finished).expect("submitted");
                    drop(release);
                    if let Some(result) = result {
                        prop_assert_eq!(runtime.block_on(result), Ok(finished));
                    }
                }
                Step::Abandon(index) if !submitted.is_empty() => {
                    let abandoned = *submitted.keys().nth(index.index(submitted.len())).expect("one");
                    model.waiting.retain(|waiting| *waiting != abandoned);
                    submitted.get_mut(&abandoned).expect("submitted").result = None;
                }
                Step::Allow(threads) => {
                    host.allow(threads);
                    model.startable = threads;
                }
                Step::StartMissing => prop_assert_eq!(pool.start_missing().is_ok(), model.start_missing()),
                Step::Finish(_) | Step::Abandon(_) => {}
            }
            model.settle();
            let expected = (model.threads, model.threads - model.running.len(), model.waiting.len());
            wait_until(|| {
                let state = pool.shared().lock();
                (state.threads, state.idle, state.waiting.len()) == expected
            });
            wait_until(|| *begun.lock().expect("no panic") == model.begun);
        }
        for (number, Submitted { release, result }) in submitted {
            drop(release);
            if let Some(result) = result {
                prop_assert_eq!(runtime.block_on(result), Ok(number));
            }
        }
    }
}
