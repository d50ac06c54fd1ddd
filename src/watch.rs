//! "The directory may have changed": hints, from the system's notifications and from a clock. It knows nothing of what is
//! in the directory. Hints may come for nothing, and notifications may be lost (network and overlay file systems drop
//! them); who takes the hints looks for himself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::Sender;

/// How long a change can stay unseen when its notification was lost.
const RESCAN: Duration = Duration::from_secs(30);

/// How soon a directory is noticed that was not there.
const RETRY: Duration = Duration::from_secs(1);

/// How long notifications are gathered before they become one hint: a hundred writes are one change.
const GATHER: Duration = Duration::from_millis(50);

/// Sends hints, until the receiver is gone. A hint that finds another one waiting is that one.
///
/// # Errors
///
/// When the thread cannot be started.
pub fn watch(directory: PathBuf, hints: Sender<()>) -> std::io::Result<()> {
    thread::Builder::new().name("watch".to_owned()).spawn(move || run(&directory, &hints)).map(drop)
}

fn run(directory: &Path, hints: &Sender<()>) {
    let (events, notified) = mpsc::sync_channel(1);
    let is_gone = Arc::new(AtomicBool::new(false));
    let mut watched: Option<(Identity, RecommendedWatcher)> = None;
    let mut complained = false;
    let mut was_there = false;
    loop {
        let found = Identity::find(directory);
        let is_stale = is_gone.swap(false, Ordering::AcqRel);
        if is_stale || found != watched.as_ref().map(|(identity, _)| *identity) {
            // The directory is another one than the one that is watched, even if it has the same number, or it is there
            // now: begin anew.
            watched = found.and_then(|found| match start(directory, events.clone(), Arc::clone(&is_gone)) {
                Ok(running) => Some((found, running)),
                Err(error) => {
                    if !complained {
                        complained = true;
                        let (directory, every) = (directory.display(), RETRY.as_secs());
                        tracing::warn!("failed to watch {directory}: {error}; it is looked at every {every} s instead");
                    }
                    None
                }
            });
            if watched.is_some() && Identity::find(directory) != found {
                // It was replaced just now: what is watched may be either.
                is_gone.store(true, Ordering::Release);
                continue;
            }
        }
        // That there is still nothing is no news.
        let is_news = found.is_some() || was_there;
        was_there = found.is_some();
        if (is_news && hint(hints).is_err()) || hints.is_closed() {
            return;
        }
        match notified.recv_timeout(if watched.is_some() { RESCAN } else { RETRY }) {
            Ok(()) => {
                let until = Instant::now() + GATHER;
                while notified.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
            }
            // What is watched may not be what is there: nothing tells of a file system that is mounted over it.
            Err(_) => watched = None,
        }
    }
}

/// Sends a hint; an error when nobody takes them any more.
fn hint(hints: &Sender<()>) -> Result<(), ()> {
    match hints.try_send(()) {
        Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => Err(()),
        _ => Ok(()),
    }
}

fn start(
    directory: &Path,
    events: mpsc::SyncSender<()>,
    is_gone: Arc<AtomicBool>,
) -> notify::Result<RecommendedWatcher> {
    // Events name the paths that were watched, made absolute.
    let directory = std::path::absolute(directory)?;
    let itself = directory.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // What is only read has not changed. Everything else is worth a look, errors too.
        if let Ok(event) = &event {
            let is_of_directory = event.paths.is_empty() || event.paths.iter().any(|path| path.starts_with(&itself));
            if event.kind.is_access() || !is_of_directory {
                return;
            }
            if event.paths.contains(&itself) {
                is_gone.store(true, Ordering::Release);
            }
        }
        // A full channel has a notification waiting already.
        let _ = events.try_send(());
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    if directory.is_symlink()
        && let Some(parent) = directory.parent()
    {
        // Where the link lies it is turned to another directory.
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Which directory it is, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn find(directory: &Path) -> Option<Self> {
        let metadata = fs::metadata(directory).ok().filter(fs::Metadata::is_dir)?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for a hint, well below the time after which one comes anyway, and until no more come.
    fn hinted(hints: &mut tokio::sync::mpsc::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let first = tokio::time::timeout(RESCAN / 2, hints.recv()).await;
            first.expect("a hint comes").expect("the watch goes on");
            while tokio::time::timeout(4 * GATHER, hints.recv()).await.is_ok() {}
        });
    }

    fn watched(directory: &Path) -> tokio::sync::mpsc::Receiver<()> {
        let (sender, hints) = tokio::sync::mpsc::channel(1);
        watch(directory.to_owned(), sender).expect("started");
        hints
    }

    #[test]
    fn hints_follow_changes_and_a_directory_that_comes_late_or_is_replaced() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let directory = parent.path().join("plugins");
        let mut hints = watched(&directory);
        fs::create_dir(&directory).expect("created");
        hinted(&mut hints);
        fs::write(directory.join("a"), "a").expect("written");
        hinted(&mut hints);
        fs::rename(&directory, parent.path().join("old")).expect("moved");
        fs::create_dir(&directory).expect("created anew");
        hinted(&mut hints);
        for round in 0..3 {
            // The new directory may well get the number of the old one.
            fs::remove_dir_all(&directory).expect("removed");
            fs::create_dir(&directory).expect("created again");
            hinted(&mut hints);
            fs::write(directory.join("b"), format!("{round}")).expect("written");
            hinted(&mut hints);
        }
    }

    #[test]
    fn a_link_that_is_turned_is_a_change() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let turn = |to: &str| {
            fs::create_dir_all(parent.path().join(to)).expect("created");
            std::os::unix::fs::symlink(to, parent.path().join("next")).expect("linked");
            fs::rename(parent.path().join("next"), parent.path().join("plugins")).expect("turned");
        };
        turn("1");
        let mut hints = watched(&parent.path().join("plugins"));
        hinted(&mut hints);
        turn("2");
        hinted(&mut hints);
        fs::write(parent.path().join("2/a"), "a").expect("written");
        hinted(&mut hints);
    }
}
