//! Work that may hang in a file system, on other threads: abandoned when it makes no progress, and not started again while
//! its thread still hangs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long work may go on without progress: longer than a disk takes to spin up, shorter than the patience of `--once`.
pub(crate) const STALL: Duration = Duration::from_secs(5);

/// How many files of one set may hang at a time: each keeps a thread.
const MAX_HUNG: usize = 32;

/// The progress of work: its thread reports it, and the waiting task watches it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    steps: Arc<AtomicU64>,
    is_abandoned: Arc<AtomicBool>,
}

impl Progress {
    /// Reports one step, such as a file that was examined or a piece that was read.
    pub(crate) fn advance(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the result is not needed any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }
}

/// Why work has no result.
#[derive(Debug)]
pub(crate) enum BlockingError {
    /// It made no progress for too long.
    Stalled,
    /// The agent's own code panicked.
    Panicked(String),
}

/// Abandons the work when its result arrived, and when the caller stops waiting for it.
struct AbandonOnDrop(Progress);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.is_abandoned.store(true, Ordering::Relaxed);
    }
}

/// Runs work on another thread until it is done, or has made no progress for `stall`.
pub(crate) async fn run_blocking<T: Send + 'static>(
    stall: Duration,
    work: impl FnOnce(&Progress) -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let progress = AbandonOnDrop(Progress::default());
    let reported = progress.0.clone();
    let mut working = spawn_blocking(move || work(&reported));
    let (mut steps, mut since) = (0, Instant::now());
    loop {
        match timeout(stall / 4, &mut working).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(panicked)) => return Err(BlockingError::Panicked(panicked.to_string())),
            Err(_elapsed) => {}
        }
        let latest = progress.0.steps.load(Ordering::Relaxed);
        if latest != steps {
            (steps, since) = (latest, Instant::now());
        } else if since.elapsed() >= stall {
            return Err(BlockingError::Stalled);
        }
    }
}

/// The files that threads are working on, by name. A file that hangs stays in the set until its file system responds.
#[derive(Debug, Clone, Default)]
pub(crate) struct BusyFiles {
    /// Behind a lock because each thread removes its own file; it is held for one insertion or removal.
    names: Arc<Mutex<BTreeSet<String>>>,
}

/// The entry of a file in [`BusyFiles`], removed on drop.
#[derive(Debug)]
pub(crate) struct BusyFile {
    files: BusyFiles,
    name: String,
}

impl BusyFiles {
    /// Enters a file. None when a thread is working on it already, or when [`MAX_HUNG`] files are in the set.
    pub(crate) fn enter(&self, name: &str) -> Option<BusyFile> {
        let mut names = self.lock();
        (names.len() < MAX_HUNG && names.insert(name.to_owned()))
            .then(|| BusyFile { files: self.clone(), name: name.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BusyFile {
    fn drop(&mut self) {
        self.files.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_without_progress_is_abandoned() {
        let (release, hang) = mpsc::sync_channel::<()>(0);
        let stalled = run_blocking(Duration::from_millis(40), move |_| hang.recv().is_ok()).await;
        assert!(matches!(stalled, Err(BlockingError::Stalled)));
        drop(release);
    }

    #[tokio::test]
    async fn work_with_progress_is_awaited() {
        let done = run_blocking(Duration::from_secs(60), |progress| {
            for _ in 0..100 {
                progress.advance();
            }
            !progress.is_abandoned()
        });
        assert!(matches!(done.await, Ok(true)));
        let panicked = run_blocking(STALL, |_| panic!("on purpose")).await;
        assert!(matches!(panicked, Err::<(), _>(BlockingError::Panicked(_))));
    }

    #[tokio::test]
    async fn work_without_waiter_is_abandoned() {
        let (report, reported) = mpsc::sync_channel(1);
        let waiting = run_blocking(STALL, move |progress: &Progress| {
            while !progress.is_abandoned() {
                std::thread::yield_now();
            }
            report.send(()).is_ok()
        });
        assert!(timeout(Duration::ZERO, waiting).await.is_err());
        reported.recv().expect("the thread sees that nobody waits");
    }

    #[test]
    fn a_busy_file_is_entered_once() {
        let files = BusyFiles::default();
        let first = files.enter("a").expect("no thread works on it");
        assert!(files.enter("a").is_none());
        drop(first);
        let all: Vec<_> = (0..MAX_HUNG).map(|number| files.enter(&number.to_string())).collect();
        assert!(all.iter().all(Option::is_some) && files.enter("more").is_none());
    }
}
