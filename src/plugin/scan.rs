//! A scan of the plugins directory: lists it and examines each entry, on other threads, so that a dead mount, or a link to
//! one, costs the entries that hang and nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blocking::{BlockingError, BusyFiles, Progress, run_blocking};
use super::directory::{EntryState, Listing, Stamp};

/// Stands for the directory itself among the files that threads work on: no file has this name.
const DIRECTORY: &str = "";

/// The result of a scan.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The entries that were examined.
    pub(super) listing: Listing,
    /// The entries whose file system does not respond.
    pub(super) unresponsive: BTreeSet<String>,
}

/// The entries that a scan has dealt with, shared with its thread.
#[derive(Debug, Default)]
struct Examined {
    scan: Scan,
    /// How many entries of the thread's list are done: the next one is the one that hangs.
    done: usize,
}

/// Scans a directory.
///
/// # Errors
///
/// When the directory cannot be read, or does not respond (`TimedOut`).
pub(super) async fn scan(directory: PathBuf, busy: BusyFiles) -> io::Result<Scan> {
    let mut left: VecDeque<String> = list_names(directory.clone(), &busy).await?.into();
    let mut found = Scan::default();
    while !left.is_empty() {
        let names: Vec<String> = left.iter().cloned().collect();
        let examined: Arc<Mutex<Examined>> = Arc::default();
        let (path, busy, into) = (directory.clone(), busy.clone(), Arc::clone(&examined));
        let ended = run_blocking(move |progress| examine(&path, &names, &busy, &into, progress)).await;
        let Examined { scan, done } = std::mem::take(&mut *lock(&examined));
        found.listing.extend(scan.listing);
        found.unresponsive.extend(scan.unresponsive);
        match ended {
            Ok(()) => break,
            Err(BlockingError::Stalled) => {
                left.drain(..done);
                found.unresponsive.extend(left.pop_front());
            }
            Err(BlockingError::Panicked(why)) => return Err(io::Error::other(why)),
        }
    }
    Ok(found)
}

fn lock(examined: &Mutex<Examined>) -> MutexGuard<'_, Examined> {
    examined.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of the `*.wasm` files. Hidden files are other programs' temporary ones.
async fn list_names(directory: PathBuf, busy: &BusyFiles) -> io::Result<Vec<String>> {
    let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "its file system does not respond");
    let busy = busy.enter(DIRECTORY).ok_or_else(timed_out)?;
    let listed = run_blocking(move |progress| {
        let _busy = busy;
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".wasm") && !name.starts_with('.') {
                names.insert(name);
            }
            progress.advance();
        }
        Ok(names.into_iter().collect())
    });
    match listed.await {
        Ok(names) => names,
        Err(BlockingError::Stalled) => Err(timed_out()),
        Err(BlockingError::Panicked(why)) => Err(io::Error::other(why)),
    }
}

/// Examines entries one after the other, until the scan gives up waiting. Entries that an earlier thread hangs in do not
/// respond.
fn examine(directory: &Path, names: &[String], busy: &BusyFiles, into: &Mutex<Examined>, progress: &Progress) {
    for name in names {
        let entered = busy.enter(name);
        let state = entered.as_ref().map(|_| entry_state(&directory.join(name)));
        if progress.is_abandoned() {
            return;
        }
        let mut examined = lock(into);
        match state {
            Some(Some(state)) => {
                examined.scan.listing.insert(name.clone(), state);
            }
            Some(None) => {}
            None => {
                examined.scan.unresponsive.insert(name.clone());
            }
        }
        examined.done += 1;
        drop(examined);
        progress.advance();
    }
}

/// The state of an entry. None when it went away since the directory was read.
fn entry_state(path: &Path) -> Option<EntryState> {
    Some(match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => EntryState::File(Stamp::new(&metadata)),
        Ok(metadata) if metadata.is_dir() => EntryState::Unusable("is a directory; put a .wasm file there".to_owned()),
        Ok(_) => EntryState::Unusable("is not a regular file; put a .wasm file there".to_owned()),
        Err(error) if path.is_symlink() => {
            EntryState::Unusable(format!("is a link to nothing that is readable: {error}; link it to a .wasm file"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => EntryState::Unusable(format!("is not readable: {error}; allow the agent to read it")),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn wasm_files_are_listed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["a.wasm", ".hidden.wasm", "b.wasm.tmp", "c.cwasm"] {
            fs::write(path(name), "x").expect("written");
        }
        fs::create_dir(path("d.wasm")).expect("created");
        symlink("a.wasm", path("link.wasm")).expect("linked");
        symlink("nowhere", path("lost.wasm")).expect("linked");
        let Scan { listing, unresponsive } =
            scan(directory.path().to_owned(), BusyFiles::default()).await.expect("readable");
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["a.wasm", "d.wasm", "link.wasm", "lost.wasm"]);
        assert!(unresponsive.is_empty());
        assert_eq!(listing["a.wasm"], listing["link.wasm"]);
        assert!(matches!(&listing["d.wasm"], EntryState::Unusable(why) if why.starts_with("is a directory")));
        assert!(matches!(&listing["lost.wasm"], EntryState::Unusable(why) if why.starts_with("is a link to nothing")));
        assert!(scan(path("none"), BusyFiles::default()).await.is_err());
    }

    #[tokio::test]
    async fn an_entry_that_hangs_costs_only_itself() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["a.wasm", "b.wasm", "c.wasm"] {
            fs::write(directory.path().join(name), "x").expect("written");
        }
        let busy = BusyFiles::default();
        let hanging = busy.enter("b.wasm").expect("nobody works on it");
        let found = scan(directory.path().to_owned(), busy.clone()).await.expect("readable");
        assert_eq!(found.listing.keys().collect::<Vec<_>>(), ["a.wasm", "c.wasm"]);
        assert_eq!(found.unresponsive.iter().collect::<Vec<_>>(), ["b.wasm"]);
        drop(hanging);
        let found = scan(directory.path().to_owned(), busy).await.expect("readable");
        assert_eq!((found.listing.len(), found.unresponsive.len()), (3, 0));
    }
}
