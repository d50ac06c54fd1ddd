//! Operations that may hang in a file system, and take as long as their files are large: abandoned when they make no progress.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::plugin::offload::pool::{OffloadError, OffloadPool};

/// How long a file system may take for one step: longer than a disk takes to spin up, shorter than the patience of `--once`.
pub(crate) const STALL: Duration = Duration::from_secs(5);

/// The progress of an operation: its thread reports it, and the waiting task watches it.
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

/// Why an operation has no result.
#[derive(Debug)]
pub(crate) enum ProgressError {
    /// It made no progress for too long.
    Stalled,
    /// It has failed without a stall.
    Failed(OffloadError),
}

/// As the error of an operation on files.
impl From<ProgressError> for io::Error {
    fn from(error: ProgressError) -> Self {
        match error {
            ProgressError::Stalled => Self::new(io::ErrorKind::TimedOut, "its file system does not respond"),
            ProgressError::Failed(OffloadError::NoThread) => {
                Self::new(io::ErrorKind::WouldBlock, "no thread is free for it")
            }
            ProgressError::Failed(OffloadError::Panicked(why)) => Self::other(why),
        }
    }
}

/// Abandons the operation when its result arrived, and when the caller stops waiting for it.
struct AbandonOnDrop(Progress);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.is_abandoned.store(true, Ordering::Relaxed);
    }
}

impl OffloadPool {
    /// Runs an operation until it is done, or has made no progress for `stall`. To wait for a thread is no stall.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and when it stalls.
    pub(crate) async fn run_with_progress<T: Send + 'static>(
        &self,
        stall: Duration,
        work: impl FnOnce(&Progress) -> T + Send + 'static,
    ) -> Result<T, ProgressError> {
        let progress = AbandonOnDrop(Progress::default());
        let reported = progress.0.clone();
        let mut working = pin!(self.run(move || {
            // It has begun.
            reported.advance();
            work(&reported)
        }));
        let (mut steps, mut since) = (0, Instant::now());
        loop {
            if let Ok(ended) = timeout(stall / 4, &mut working).await {
                return ended.map_err(ProgressError::Failed);
            }
            let latest = progress.0.steps.load(Ordering::Relaxed);
            if latest == 0 || latest != steps {
                (steps, since) = (latest, Instant::now());
            } else if since.elapsed() >= stall {
                return Err(ProgressError::Stalled);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn pool() -> OffloadPool {
        OffloadPool::start().expect("threads")
    }

    #[tokio::test]
    async fn work_without_progress_is_abandoned() {
        let (release, hang) = mpsc::sync_channel::<()>(0);
        let stalled = pool().run_with_progress(Duration::from_millis(40), move |_| hang.recv().is_ok()).await;
        assert!(matches!(stalled, Err(ProgressError::Stalled)));
        drop(release);
    }

    #[tokio::test]
    async fn work_with_progress_is_awaited() {
        let pool = pool();
        let done = pool.run_with_progress(Duration::from_secs(60), |progress| {
            for _ in 0..100 {
                progress.advance();
            }
            !progress.is_abandoned()
        });
        assert!(matches!(done.await, Ok(true)));
        let panicked = pool.run_with_progress(STALL, |_| panic!("on purpose")).await;
        assert!(matches!(panicked, Err::<(), _>(ProgressError::Failed(OffloadError::Panicked(_)))));
    }

    #[tokio::test]
    async fn work_without_waiter_is_abandoned() {
        let (report, reported) = mpsc::sync_channel(2);
        let pool = pool();
        let mut waiting = Box::pin(pool.run_with_progress(STALL, move |progress: &Progress| {
            let _ = report.send("begun");
            while !progress.is_abandoned() {
                std::thread::yield_now();
            }
            report.send("abandoned").is_ok()
        }));
        assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
        assert_eq!(reported.recv(), Ok("begun"));
        drop(waiting);
        assert_eq!(reported.recv(), Ok("abandoned"));
    }
}
