//! One scan of the plugins directory: lists it and examines each entry, on other threads. Entries on a dead mount, or with a
//! link to one, are reported as unresponsive; the others are examined all the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config;
use crate::plugin::offload::busy::BusyFiles;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::offload::progress::{Progress, ProgressError, STALL};
use crate::plugin::shortage::{Shortage, ShortageError};
use crate::plugin::source::directory::{EntryState, Listing, Stamp};

/// How long a scan waits for an entry once another did not respond: `MAX_HUNG` of them take less than the 30 s of `--once`.
const NEXT_STALL: Duration = Duration::from_millis(500);

/// The directory and the entries that threads of scans are working on.
#[derive(Debug, Clone, Default)]
pub(crate) struct BusyEntries {
    /// Has an entry while a thread lists the directory. Not in the other set, whose limit must not stop the listing.
    directory: BusyFiles,
    entries: BusyFiles,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The entries that were examined.
    pub(crate) listing: Listing,
    /// The entries whose file system does not respond.
    pub(crate) unresponsive: BTreeSet<String>,
    /// The entries that could not be examined for a shortage of the host, each with the error.
    pub(crate) unexamined: BTreeMap<String, ShortageError>,
}

/// The entries that a thread has examined, shared with it.
#[derive(Debug, Default)]
struct Examined {
    scan: Scan,
    /// How many entries of the thread's list are done: it is at the next one.
    done: usize,
}

/// Scans a directory. Where it has not been examined, it is read only if no others can write to it.
///
/// # Errors
///
/// When the directory cannot be read, does not respond (`TimedOut`), others can write to it (`InvalidData`), or no thread is
/// free for the scan (`WouldBlock`).
pub(crate) async fn scan(
    pool: OffloadPool,
    directory: PathBuf,
    busy: BusyEntries,
    is_unexamined: bool,
) -> io::Result<Scan> {
    let Names { valid, invalid } = list_names(&pool, directory.clone(), &busy.directory, is_unexamined).await?;
    let mut remaining: VecDeque<String> = valid.into_iter().collect();
    let (mut all, mut stall) = (Scan::default(), STALL);
    let why = "has a name that is not UTF-8; use letters, digits, - and _";
    all.listing.extend(invalid.into_iter().map(|name| (name, EntryState::Unusable(why.to_owned()))));
    while !remaining.is_empty() {
        let names: Vec<String> = remaining.iter().cloned().collect();
        let examined: Arc<Mutex<Examined>> = Arc::default();
        let (path, busy, results) = (directory.clone(), busy.entries.clone(), Arc::clone(&examined));
        let work = move |progress: &Progress| examine(&path, &names, &busy, &results, progress);
        let ended = pool.run_with_progress(stall, work).await;
        let Examined { scan, done } = std::mem::take(&mut *lock(&examined));
        all.listing.extend(scan.listing);
        all.unresponsive.extend(scan.unresponsive);
        all.unexamined.extend(scan.unexamined);
        match ended {
            Ok(()) => break,
            Err(ProgressError::Stalled) => {
                remaining.drain(..done);
                all.unresponsive.extend(remaining.pop_front());
                stall = NEXT_STALL;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

fn lock(examined: &Mutex<Examined>) -> MutexGuard<'_, Examined> {
    examined.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of the `*.wasm` files.
#[derive(Debug, Default)]
struct Names {
    valid: BTreeSet<String>,
    /// Those that are not UTF-8, as [`spelling`] has them.
    invalid: BTreeSet<String>,
}

impl Names {
    /// Adds a name unless it is that of another kind of file. Hidden files are temporary files of other programs.
    fn add(&mut self, name: &OsStr) {
        let is_wasm = Path::new(name).extension().is_some_and(|extension| extension == "wasm");
        if !is_wasm || name.as_encoded_bytes().starts_with(b".") {
            return;
        }
        match name.to_str() {
            Some(name) => self.valid.insert(name.to_owned()),
            None => self.invalid.insert(spelling(name)),
        };
    }
}

/// A name that is not UTF-8 as text: no two names have the same, and the path before it makes it differ from all names that are
/// UTF-8, of which one may have the same characters.
fn spelling(name: &OsStr) -> String {
    let mut text = "./".to_owned();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', r"\\"));
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    text
}

/// Reads the directory.
async fn list_names(
    pool: &OffloadPool,
    directory: PathBuf,
    busy: &BusyFiles,
    is_unexamined: bool,
) -> io::Result<Names> {
    let busy = busy.enter("").ok_or(ProgressError::Stalled)?;
    let listed = pool.run_with_progress(STALL, move |progress| {
        let _busy = busy;
        if is_unexamined {
            config::examine(&directory).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        }
        let mut names = Names::default();
        for entry in fs::read_dir(&directory)? {
            names.add(&entry?.file_name());
            progress.advance();
        }
        Ok(names)
    });
    listed.await?
}

/// Examines entries one after the other, until the scan stops waiting. An entry that an earlier thread hangs in is
/// unresponsive.
fn examine(directory: &Path, names: &[String], busy: &BusyFiles, results: &Mutex<Examined>, progress: &Progress) {
    for name in names {
        // The scan goes on with another thread, which must find the entry free.
        if progress.is_abandoned() {
            return;
        }
        let entered = busy.enter(name);
        let state = entered.as_ref().map(|_| entry_state(&directory.join(name)));
        if progress.is_abandoned() {
            return;
        }
        let mut examined = lock(results);
        match state {
            Some(Ok(Some(state))) => {
                examined.scan.listing.insert(name.clone(), state);
            }
            Some(Ok(None)) => {}
            Some(Err(shortage)) => {
                examined.scan.unexamined.insert(name.clone(), shortage);
            }
            None => {
                examined.scan.unresponsive.insert(name.clone());
            }
        }
        examined.done += 1;
        drop(examined);
        progress.advance();
    }
}

/// The state of an entry. None when it was removed since the directory was read.
///
/// # Errors
///
/// When the host is short of something: the entry is as it was.
fn entry_state(path: &Path) -> Result<Option<EntryState>, ShortageError> {
    state_by(fs::metadata(path), path)
}

fn state_by(metadata: io::Result<fs::Metadata>, path: &Path) -> Result<Option<EntryState>, ShortageError> {
    Ok(Some(match metadata {
        Ok(metadata) if metadata.is_file() => EntryState::File(Stamp::new(&metadata)),
        Ok(metadata) if metadata.is_dir() => EntryState::Unusable("is a directory; put a .wasm file there".to_owned()),
        Ok(_) => EntryState::Unusable("is not a regular file; put a .wasm file there".to_owned()),
        Err(error) if let Some(shortage) = Shortage::classify(&error) => return Err(ShortageError { shortage, error }),
        Err(error) if path.is_symlink() => {
            EntryState::Unusable(format!("is a link to nothing that is readable: {error}; link it to a .wasm file"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => EntryState::Unusable(format!("is not readable: {error}; allow the agent to read it")),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use proptest::prelude::*;
    use rustix::io::Errno;

    use super::*;

    fn pool() -> OffloadPool {
        OffloadPool::start().expect("threads")
    }

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
        let Scan { listing, unresponsive, .. } =
            scan(pool(), directory.path().to_owned(), BusyEntries::default(), false).await.expect("readable");
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["a.wasm", "d.wasm", "link.wasm", "lost.wasm"]);
        assert!(unresponsive.is_empty());
        assert_eq!(listing["a.wasm"], listing["link.wasm"]);
        assert!(matches!(&listing["d.wasm"], EntryState::Unusable(why) if why.starts_with("is a directory")));
        assert!(matches!(&listing["lost.wasm"], EntryState::Unusable(why) if why.starts_with("is a link to nothing")));
        assert!(scan(pool(), path("none"), BusyEntries::default(), false).await.is_err());
    }

    #[tokio::test]
    async fn names_that_are_not_utf8_are_unusable() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The last two and the first have the same characters in one or another spelling.
        let names =
            [b"a\xff.wasm".as_slice(), b"a\xfe.wasm", b".\xff.wasm", b"\xff.txt", br"a\xff.wasm", b"\\xff\xff.wasm"];
        for name in names {
            fs::write(directory.path().join(OsStr::from_bytes(name)), "x").expect("written");
        }
        let Scan { listing, .. } =
            scan(pool(), directory.path().to_owned(), BusyEntries::default(), false).await.expect("readable");
        let unusable = [r"./\\xff\xff.wasm", r"./a\xfe.wasm", r"./a\xff.wasm"];
        assert_eq!(listing.keys().collect::<Vec<_>>(), [&unusable[..], &[r"a\xff.wasm"]].concat());
        assert!(matches!(listing[r"a\xff.wasm"], EntryState::File(_)), "it is UTF-8");
        for name in unusable {
            assert!(matches!(&listing[name], EntryState::Unusable(why) if why.contains("not UTF-8")), "{name}");
        }
    }

    #[test]
    fn shortage_says_nothing_about_an_entry() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (directory.path().join("a.wasm"), directory.path().join("b.wasm"));
        symlink("a.wasm", &link).expect("linked");
        for path in [&file, &link] {
            for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
                assert!(state_by(Err(errno.into()), path).is_err(), "{errno}");
            }
            assert!(state_by(Err(Errno::IO.into()), path).is_ok());
        }
    }

    proptest! {
        /// Names with invalid bytes, backslashes and digits, which imitate the spelling of others.
        #[test]
        fn different_names_have_different_spellings(
            names in prop::collection::btree_set(prop::collection::vec(
                prop::sample::select(&[0xff, 0xfe, b'\\', b'x', b'f', b'.', 0xc3, 0xa4][..]), 1..6), 2..20),
        ) {
            let mut all = Names::default();
            let wasm = names.iter().map(|name| [name, &b".wasm"[..]].concat());
            let (hidden, listed): (Vec<_>, Vec<_>) = wasm.partition(|name| name[0] == b'.');
            listed.iter().chain(&hidden).for_each(|name| all.add(OsStr::from_bytes(name)));
            prop_assert_eq!(all.valid.len() + all.invalid.len(), listed.len());
            prop_assert!(all.valid.is_disjoint(&all.invalid));
        }
    }

    #[tokio::test]
    async fn unexamined_directory_must_be_private() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let directory = parent.path().join("plugins");
        fs::create_dir(&directory).expect("created");
        let is_read = || async { scan(pool(), directory.clone(), BusyEntries::default(), true).await.is_ok() };
        assert!(is_read().await);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("set");
        assert!(!is_read().await);
    }

    #[tokio::test]
    async fn hung_entry_is_unresponsive_and_others_are_listed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["a.wasm", "b.wasm", "c.wasm"] {
            fs::write(directory.path().join(name), "x").expect("written");
        }
        let busy = BusyEntries::default();
        let hanging = busy.entries.enter("b.wasm").expect("no thread works on it");
        let scanned = scan(pool(), directory.path().to_owned(), busy.clone(), false).await.expect("readable");
        assert_eq!(scanned.listing.keys().collect::<Vec<_>>(), ["a.wasm", "c.wasm"]);
        assert_eq!(scanned.unresponsive.iter().collect::<Vec<_>>(), ["b.wasm"]);
        drop(hanging);
        let scanned = scan(pool(), directory.path().to_owned(), busy.clone(), false).await.expect("readable");
        assert_eq!((scanned.listing.len(), scanned.unresponsive.len()), (3, 0));

        let _hanging: Vec<_> = (0..1000).map_while(|number| busy.entries.enter(&number.to_string())).collect();
        let scanned =
            scan(pool(), directory.path().to_owned(), busy, false).await.expect("the directory is listed all the same");
        assert_eq!((scanned.listing.len(), scanned.unresponsive.len()), (0, 3));
    }
}
