//! Watches the sources of a project. Notifications of the system are hints that something may have changed; the state of the
//! sources decides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, timeout, timeout_at};

use crate::cli::error::print_errors;
use crate::cli::plugin::source_tree::SourceState;

/// How long nothing may happen before a burst of saves is over: an editor that saves all files, or a checkout, is one change.
const QUIET: Duration = Duration::from_millis(100);

/// How long a burst may last: a program that writes all the time is not waited for.
const LONGEST_BURST: Duration = Duration::from_secs(2);

/// How often the sources are compared without a hint: notifications are lost by network file systems and shared folders.
const COMPARE: Duration = Duration::from_secs(30);

/// How often that is done where there are no notifications at all.
const COMPARE_UNWATCHED: Duration = Duration::from_secs(1);

/// How often directories that appear during a scan lead to another one at once; later ones lead to another hint.
const MOST_SCANS: usize = 10;

/// The watched sources of a project.
pub(super) struct Sources {
    directory: PathBuf,
    /// The state that is built, or was built last.
    state: SourceState,
    /// None where the system gives no notifications.
    watcher: Option<RecommendedWatcher>,
    hints: Receiver<()>,
}

impl Sources {
    /// Watches the sources of a directory from now on.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read, or has too many files.
    pub(super) fn watch(directory: &Path) -> anyhow::Result<Self> {
        // A full channel has a hint waiting already.
        let (sender, hints) = channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading changes nothing. Everything else is a hint, errors too.
            if !event.as_ref().is_ok_and(|event| event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        });
        let mut sources = Self { directory: directory.to_owned(), state: SourceState::default(), watcher: None, hints };
        match watcher {
            Ok(watcher) => sources.watcher = Some(watcher),
            Err(error) => sources.report_unwatched(&error),
        }
        sources.state = sources.scan()?;
        Ok(sources)
    }

    /// How many files are watched.
    pub(super) fn len(&self) -> usize {
        self.state.len()
    }

    /// Waits until sources differ from the last state that this has returned for. Returns their paths. Cancellation safe.
    ///
    /// # Errors
    ///
    /// As [`Self::watch`].
    pub(super) async fn changed(&mut self) -> anyhow::Result<Vec<PathBuf>> {
        loop {
            let pause = if self.watcher.is_some() { COMPARE } else { COMPARE_UNWATCHED };
            if timeout(pause, self.hint()).await.is_ok() {
                let until = Instant::now() + LONGEST_BURST;
                while timeout_at(until.min(Instant::now() + QUIET), self.hint()).await.is_ok() {}
            }
            let state = self.scan()?;
            let changed = state.difference(&self.state);
            self.state = state;
            if !changed.is_empty() {
                return Ok(changed);
            }
        }
    }

    async fn hint(&mut self) {
        if self.hints.recv().await.is_none() {
            // There is no watcher to send one.
            std::future::pending::<()>().await;
        }
    }

    /// Reads the state, with all its directories watched before that.
    fn scan(&mut self) -> anyhow::Result<SourceState> {
        let mut state = self.state.clone();
        let mut watched = BTreeSet::new();
        for _ in 0..MOST_SCANS {
            // Also those that are watched: another directory may be at their path.
            for below in state.directories.difference(&watched) {
                self.watch_directory(below);
            }
            watched.append(&mut state.directories.clone());
            state = SourceState::scan(&self.directory, &state)?;
            if state.directories.is_subset(&watched) {
                break;
            }
        }
        Ok(state)
    }

    fn watch_directory(&mut self, below: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        if let Err(error) = watcher.watch(&self.directory.join(below), RecursiveMode::NonRecursive)
            && !is_gone(&error)
        {
            self.watcher = None;
            self.report_unwatched(&error);
        }
    }

    fn report_unwatched(&self, error: &notify::Error) {
        print_errors(&[format!(
            "{} cannot be watched: {error}; raise fs.inotify.max_user_watches or max_user_instances. Until then its files are \
             compared once a second",
            self.directory.display()
        )]);
    }
}

/// Whether a directory is not there any more. The directory above it gives the hint.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn expect_changes(sources: &mut Sources, expected: &[&str]) {
        let changed = timeout(Duration::from_secs(120), sources.changed()).await.expect("a change").expect("readable");
        assert_eq!(changed, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    fn write(directory: &Path, name: &str, text: &str) {
        let file = directory.join(name);
        fs::create_dir_all(file.parent().expect("below it")).expect("created");
        fs::write(file, text).expect("written");
    }

    #[tokio::test]
    async fn saves_are_noticed_in_new_and_replaced_directories() {
        let project = tempfile::tempdir().expect("a temporary directory");
        let path = project.path();
        write(path, "a", "1");
        let mut sources = Sources::watch(path).expect("watched");
        assert!(sources.watcher.is_some());
        write(path, "a", "2");
        expect_changes(&mut sources, &["a"]).await;
        write(path, "src/deep/b", "1");
        expect_changes(&mut sources, &["src/deep/b"]).await;
        write(path, "src/deep/.b.new", "2");
        fs::rename(path.join("src/deep/.b.new"), path.join("src/deep/b")).expect("renamed");
        expect_changes(&mut sources, &["src/deep/b"]).await;
        fs::rename(path.join("src"), path.join(".old")).expect("moved");
        write(path, "src/deep/b", "3");
        expect_changes(&mut sources, &["src/deep/b"]).await;
        // The new directory is watched, and not the one that was there before.
        write(path, "src/deep/b", "4");
        expect_changes(&mut sources, &["src/deep/b"]).await;
    }

    #[tokio::test]
    async fn unwatched_sources_are_compared() {
        let project = tempfile::tempdir().expect("a temporary directory");
        write(project.path(), "a", "1");
        let mut sources = Sources::watch(project.path()).expect("watched");
        sources.watcher = None;
        write(project.path(), "a", "2");
        expect_changes(&mut sources, &["a"]).await;
    }
}
