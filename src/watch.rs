//! "The directory may have changed": hints, from the system's notifications and from a clock. It knows nothing of what is
//! in the directory. Hints may come for nothing, and notifications may be lost (network and overlay file systems drop
//! them); who takes the hints looks for himself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
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
    let mut watched: Option<(Identity, RecommendedWatcher)> = None;
    let mut complained = false;
    loop {
        let found = Identity::find(directory);
        if found != watched.as_ref().map(|(identity, _)| *identity) {
            // The directory is another one than the one that is watched, or is there now: it begins anew.
            watched = found.and_then(|found| match start(directory, events.clone()) {
                Ok(running) => Some((found, running)),
                Err(error) => {
                    if !complained {
                        complained = true;
                        let (directory, every) = (directory.display(), RESCAN.as_secs());
                        tracing::warn!("failed to watch {directory}: {error}; changes are seen within {every} s");
                    }
                    None
                }
            });
            if hint(hints).is_err() {
                return;
            }
        }
        let patience = if found.is_some() { RESCAN } else { RETRY };
        match notified.recv_timeout(patience) {
            Ok(()) => {
                let until = Instant::now() + GATHER;
                while notified.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
            }
            Err(RecvTimeoutError::Timeout) if found.is_none() => {
                if hints.is_closed() {
                    return;
                }
                continue;
            }
            Err(_) => {}
        }
        if hint(hints).is_err() {
            return;
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

fn start(directory: &Path, events: mpsc::SyncSender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // What is only read has not changed; everything else, errors too, is worth a look. A full channel has one
        // waiting already.
        if !matches!(&event, Ok(event) if event.kind.is_access()) {
            let _ = events.try_send(());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
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

    /// Waits for a hint, well below the time after which one comes anyway.
    fn hinted(hints: &mut tokio::sync::mpsc::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let waiting = async { tokio::time::timeout(RESCAN / 2, hints.recv()).await };
        runtime.block_on(waiting).expect("a hint comes").expect("the watch goes on");
    }

    #[test]
    fn hints_follow_changes_and_a_directory_that_comes_late_or_is_replaced() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let directory = parent.path().join("plugins");
        let (sender, mut hints) = tokio::sync::mpsc::channel(1);
        watch(directory.clone(), sender).expect("started");
        fs::create_dir(&directory).expect("created");
        hinted(&mut hints);
        fs::write(directory.join("a"), "a").expect("written");
        hinted(&mut hints);
        fs::rename(&directory, parent.path().join("old")).expect("moved");
        fs::create_dir(&directory).expect("created anew");
        hinted(&mut hints);
    }
}
