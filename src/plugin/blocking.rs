//! Work on another thread that may hang in a file system: given up when it makes no progress, and not started again while
//! the thread still hangs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long work may go on without progress: longer than a disk that spins up, shorter than an operator's patience with
/// `--once`.
const STALL: Duration = Duration::from_secs(5);

/// How many files may hang at a time: each keeps a thread.
const MAX_HUNG: usize = 32;

/// The progress of work, reported by its thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    steps: Arc<AtomicU64>,
    is_abandoned: Arc<AtomicBool>,
}

impl Progress {
    /// Reports one step, such as a file that was examined or a piece that was read.
    pub(super) fn advance(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether nobody waits for the work any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }
}

/// Why work has no result.
#[derive(Debug)]
pub(super) enum BlockingError {
    /// It made no progress for [`STALL`].
    Stalled,
    /// The agent's own code panicked.
    Panicked(String),
}

/// Does work on another thread, for as long as it makes progress.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce(&Progress) -> T + Send + 'static,
) -> Result<T, BlockingError> {
    run_with_stall(STALL, work).await
}

async fn run_with_stall<T: Send + 'static>(
    stall: Duration,
    work: impl FnOnce(&Progress) -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let progress = Progress::default();
    let reported = progress.clone();
    let mut working = spawn_blocking(move || work(&reported));
    let (mut steps, mut since) = (0, Instant::now());
    loop {
        match timeout(stall / 4, &mut working).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(panicked)) => return Err(BlockingError::Panicked(panicked.to_string())),
            Err(_elapsed) => {}
        }
        let now_at = progress.steps.load(Ordering::Relaxed);
        if now_at != steps {
            (steps, since) = (now_at, Instant::now());
        } else if since.elapsed() >= stall {
            progress.is_abandoned.store(true, Ordering::Relaxed);
            return Err(BlockingError::Stalled);
        }
    }
}

/// The files that a thread is working on at this moment, by name. A file that hangs stays here until the file system
/// responds.
#[derive(Debug, Clone, Default)]
pub(super) struct BusyFiles {
    /// Behind a lock because each thread takes its file out again; it is held to move a name.
    names: Arc<Mutex<BTreeSet<String>>>,
}

/// A file that a thread is working on, until this is dropped.
#[derive(Debug)]
pub(super) struct BusyFile {
    files: BusyFiles,
    name: String,
}

impl BusyFiles {
    /// Enters a file. None when a thread hangs in that file already, or when too many files hang.
    pub(super) fn enter(&self, name: &str) -> Option<BusyFile> {
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
    async fn work_without_progress_is_given_up() {
        let (release, hang) = mpsc::channel::<()>();
        let stalled = run_with_stall(Duration::from_millis(40), move |_| hang.recv().is_ok()).await;
        assert!(matches!(stalled, Err(BlockingError::Stalled)));
        drop(release);
    }

    #[tokio::test]
    async fn work_with_progress_is_awaited() {
        // Each step is waited for, however busy the host is; the first stall would end it.
        let done = run_with_stall(Duration::from_secs(60), |progress| {
            for _ in 0..100 {
                progress.advance();
            }
            !progress.is_abandoned()
        });
        assert!(matches!(done.await, Ok(true)));
        assert!(matches!(run_blocking(|_| panic!("on purpose")).await, Err::<(), _>(BlockingError::Panicked(_))));
    }

    #[test]
    fn a_busy_file_is_entered_once() {
        let files = BusyFiles::default();
        let first = files.enter("a").expect("nobody works on it");
        assert!(files.enter("a").is_none());
        drop(first);
        let all: Vec<_> = (0..MAX_HUNG).map(|number| files.enter(&number.to_string())).collect();
        assert!(all.iter().all(Option::is_some) && files.enter("more").is_none());
    }
}
