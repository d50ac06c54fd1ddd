//! Hints that the plugins directory may have changed, from the system's notifications. The content of the directory is
//! not read here. A hint may come without a change, and notifications may be lost (network and overlay file systems drop
//! them, and this thread may hang in a dead mount): the receiver compares the directory itself, and from time to time
//! without a hint.

use std::fs;
use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::Sender;

use crate::plugin::shortage::Shortage;
use crate::thread;

/// How often the path is checked: another directory or file system may have taken its place without a notification.
const CHECK: Duration = Duration::from_secs(30);

/// How often a directory that is missing or cannot be watched is checked.
const RETRY: Duration = Duration::from_secs(1);

/// How long notifications are gathered before they become one hint: a hundred writes are one change.
const GATHER: Duration = Duration::from_millis(50);

/// How long the kernel may still count a thread that has ended.
const THREAD_END: Duration = Duration::from_millis(10);

/// Sends hints until the receiver is gone. While a hint waits to be received, another one adds nothing.
///
/// # Errors
///
/// When the thread cannot be started.
pub(crate) fn watch(directory: PathBuf, hints: Sender<()>) -> std::io::Result<()> {
    thread::start("watch", move || run(&directory, &hints, CHECK, start_watcher))
}

/// Why there are no notifications.
#[derive(Debug)]
struct Unwatched {
    reason: String,
    remedy: &'static str,
}

impl From<notify::Error> for Unwatched {
    fn from(error: notify::Error) -> Self {
        let shortage = match &error.kind {
            notify::ErrorKind::Io(error) => Shortage::classify(error),
            _ => None,
        };
        let remedy = match shortage {
            // The kernel has one error for both limits.
            Some(Shortage::OpenFiles) => "raise fs.inotify.max_user_instances, or LimitNOFILE of the unit",
            Some(shortage) => shortage.remedy(),
            None => "raise fs.inotify.max_user_instances or max_user_watches",
        };
        Self { reason: error.to_string(), remedy }
    }
}

/// The loop of the thread. `start` creates a watcher, which sends to the channel and sets the flag when the directory
/// itself is gone.
fn run<W>(
    directory: &Path,
    hints: &Sender<()>,
    check: Duration,
    mut start: impl FnMut(&Path, mpsc::SyncSender<()>, Arc<AtomicBool>) -> Result<W, Unwatched>,
) {
    let (events, notifications) = mpsc::sync_channel(1);
    let is_gone = Arc::new(AtomicBool::new(false));
    let mut watched: Option<(DirectoryId, W)> = None;
    let mut has_reported = false;
    let mut was_present = false;
    loop {
        let found = DirectoryId::find(directory);
        let is_stale = is_gone.swap(false, Ordering::AcqRel);
        if is_stale || found != watched.as_ref().map(|(identity, _)| *identity) {
            // Another directory is at the path than the one that is watched, possibly with the same inode number.
            watched = found.and_then(|found| match start(directory, events.clone(), Arc::clone(&is_gone)) {
                Ok(started) => Some((found, started)),
                Err(Unwatched { reason, remedy }) => {
                    if !std::mem::replace(&mut has_reported, true) {
                        tracing::warn!(
                            directory = %directory.display(),
                            reason,
                            remedy = format!("{remedy}; until then changes are found once a second"),
                            "plugins directory not watched"
                        );
                    }
                    None
                }
            });
            if watched.is_some() && DirectoryId::find(directory) != found {
                // It was replaced a moment ago: either one may be watched.
                is_gone.store(true, Ordering::Release);
                continue;
            }
        }
        // A directory that is still missing is no news.
        let is_news = found.is_some() || was_present;
        was_present = found.is_some();
        if (is_news && send(hints).is_err()) || hints.is_closed() {
            return;
        }
        if notifications.recv_timeout(if watched.is_some() { check } else { RETRY }).is_ok() {
            let until = Instant::now() + GATHER;
            while notifications.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
        }
    }
}

/// Sends a hint; an error when the receiver is gone.
fn send(hints: &Sender<()>) -> Result<(), ()> {
    match hints.try_send(()) {
        Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => Err(()),
        _ => Ok(()),
    }
}

fn start_watcher(
    directory: &Path,
    events: mpsc::SyncSender<()>,
    is_gone: Arc<AtomicBool>,
) -> Result<RecommendedWatcher, Unwatched> {
    // The watcher needs a thread of its own, and panics without it.
    thread::start("watch-probe", || {})
        .map_err(|error| Unwatched { reason: error.to_string(), remedy: thread::remedy(&error) })?;
    std::thread::sleep(THREAD_END);
    // Events name the paths that were watched, made absolute.
    let directory = std::path::absolute(directory).map_err(notify::Error::io)?;
    let itself = directory.clone();
    let mut watcher = ManuallyDrop::new(notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading changes nothing. Everything else is a hint, errors too.
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
    })?);
    // The place of that thread may be taken again. This asks the watcher's thread, and is the only call that does not panic
    // without it: then the watcher is left as it is, since its drop would panic, too.
    watcher.configure(notify::Config::default()).map_err(|_| Unwatched {
        reason: "the thread of the watcher did not start".to_owned(),
        remedy: "raise the limit of threads",
    })?;
    let mut watcher = ManuallyDrop::into_inner(watcher);
    watch_directory(&mut watcher, &directory)?;
    Ok(watcher)
}

fn watch_directory(watcher: &mut RecommendedWatcher, directory: &Path) -> notify::Result<()> {
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    if directory.is_symlink()
        && let Some(parent) = directory.parent()
    {
        // A link is replaced in the directory that holds it.
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok(())
}

/// The identity of a directory: the same under every path, another one after a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DirectoryId {
    device: u64,
    inode: u64,
}

impl DirectoryId {
    fn find(directory: &Path) -> Option<Self> {
        let metadata = fs::metadata(directory).ok().filter(fs::Metadata::is_dir)?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_remedy_names_the_limit() {
        let remedy = |error: i32| Unwatched::from(notify::Error::io(std::io::Error::from_raw_os_error(error))).remedy;
        assert!(remedy(24).contains("max_user_instances") && remedy(24).contains("LimitNOFILE"));
        assert!(remedy(23).contains("fs.file-max") && remedy(12).contains("memory"));
        let watches = Unwatched::from(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        assert!(watches.remedy.contains("max_user_watches"));
    }

    /// Waits for a hint, and until no more come.
    fn expect_hint(hints: &mut tokio::sync::mpsc::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let first = tokio::time::timeout(CHECK / 2, hints.recv()).await;
            first.expect("a hint comes").expect("the watch goes on");
            while tokio::time::timeout(4 * GATHER, hints.recv()).await.is_ok() {}
        });
    }

    fn start_watch(directory: &Path) -> tokio::sync::mpsc::Receiver<()> {
        let (sender, hints) = tokio::sync::mpsc::channel(1);
        watch(directory.to_owned(), sender).expect("started");
        hints
    }

    #[test]
    fn late_and_replaced_directories_give_hints() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let directory = parent.path().join("plugins");
        let mut hints = start_watch(&directory);
        fs::create_dir(&directory).expect("created");
        expect_hint(&mut hints);
        fs::write(directory.join("a"), "a").expect("written");
        expect_hint(&mut hints);
        fs::rename(&directory, parent.path().join("old")).expect("moved");
        fs::create_dir(&directory).expect("created anew");
        expect_hint(&mut hints);
        for round in 0..3 {
            // The new directory may well get the number of the old one.
            fs::remove_dir_all(&directory).expect("removed");
            fs::create_dir(&directory).expect("created again");
            expect_hint(&mut hints);
            fs::write(directory.join("b"), format!("{round}")).expect("written");
            expect_hint(&mut hints);
        }
    }

    #[test]
    fn a_swapped_link_is_a_change() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let swap = |to: &str| {
            fs::create_dir_all(parent.path().join(to)).expect("created");
            std::os::unix::fs::symlink(to, parent.path().join("next")).expect("linked");
            fs::rename(parent.path().join("next"), parent.path().join("plugins")).expect("swapped");
        };
        swap("1");
        let mut hints = start_watch(&parent.path().join("plugins"));
        expect_hint(&mut hints);
        swap("2");
        expect_hint(&mut hints);
        fs::write(parent.path().join("2/a"), "a").expect("written");
        expect_hint(&mut hints);
    }

    #[test]
    fn repeated_checks_keep_the_watcher() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (sender, mut hints) = tokio::sync::mpsc::channel(1);
        let starts = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (path, counted) = (directory.path().to_owned(), Arc::clone(&starts));
        let thread = std::thread::spawn(move || {
            run(&path, &sender, Duration::from_millis(1), |_, _, _| {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        });
        for _ in 0..10 {
            hints.blocking_recv().expect("each check is a hint");
        }
        drop(hints);
        thread.join().expect("it ends with its receiver");
        assert_eq!(starts.load(Ordering::Relaxed), 1);
    }
}
