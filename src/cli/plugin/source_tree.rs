//! The state of a project's sources: the content of each file, as a hash. Two states are equal when no file differs, whatever
//! was written meanwhile: a build that writes the same file again is no change.

mod ignored;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use self::ignored::Ignored;

/// The most files and directories of a project: more are output of a build, or a directory that is no project.
const MOST_FILES: usize = 10_000;

/// How much of a file is compared by its content: more is no source. The rest counts by its length and time.
const HASHED_BYTES: u64 = 16 << 20;

/// How old a change must be for the file's times to prove that there was no other since: some file systems count whole seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// The sources of a project at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct SourceState {
    files: BTreeMap<PathBuf, FileState>,
    /// The directories that the sources are in, with that of the project, whose path here is empty.
    pub(super) directories: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone)]
struct FileState {
    identity: Identity,
    /// Whether a change since then shows in the identity.
    is_settled: bool,
    hash: [u8; 32],
}

/// What changes with the content of a file, unless its clock is too coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn new(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self) -> bool {
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or_default());
        SystemTime::now().duration_since(UNIX_EPOCH + changed).is_ok_and(|age| age > SETTLED)
    }
}

impl SourceState {
    /// Reads the state of a directory. A file that has not changed since an earlier state is not read again.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read, or has too many files.
    pub(super) fn scan(directory: &Path, before: &Self) -> anyhow::Result<Self> {
        let shown = directory.display();
        // Without one, and where it cannot be read, the usual names are ignored.
        let ignored = Ignored::new(&fs::read_to_string(directory.join(".gitignore")).unwrap_or_default());
        let mut state = Self::default();
        let mut open = vec![PathBuf::new()];
        while let Some(below) = open.pop() {
            let entries = match fs::read_dir(directory.join(&below)) {
                Ok(entries) => entries,
                Err(error) if below.as_os_str().is_empty() => {
                    return Err(error).with_context(|| format!("failed to read {shown}"));
                }
                // It is being removed, or nobody may read it.
                Err(_) => continue,
            };
            for name in entries.filter_map(|entry| Some(entry.ok()?.file_name())) {
                let path = below.join(name);
                let whole = directory.join(&path);
                // A link to a directory is not followed: it may lead anywhere.
                let is_directory = fs::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_dir());
                let segments: Vec<String> = path.iter().map(|segment| segment.to_string_lossy().into_owned()).collect();
                if ignored.contains(&segments, is_directory) {
                    continue;
                }
                if is_directory {
                    open.push(path);
                } else if let Ok(metadata) = fs::metadata(&whole)
                    && metadata.is_file()
                {
                    let file = FileState::read(&whole, &metadata, before.files.get(&path));
                    state.files.insert(path, file);
                }
                if state.files.len() + state.directories.len() + open.len() > MOST_FILES {
                    bail!("{shown} has more than {MOST_FILES} files; name the output of builds in its .gitignore");
                }
            }
            state.directories.insert(below);
        }
        Ok(state)
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Their paths in the project.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The files that differ, or are in one of the states only.
    pub(super) fn difference(&self, other: &Self) -> Vec<PathBuf> {
        let names: BTreeSet<&PathBuf> = self.files.keys().chain(other.files.keys()).collect();
        let hash = |state: &Self, name: &Path| state.files.get(name).map(|file| file.hash);
        names.into_iter().filter(|name| hash(self, name) != hash(other, name)).cloned().collect()
    }
}

impl FileState {
    fn read(path: &Path, metadata: &Metadata, before: Option<&Self>) -> Self {
        let identity = Identity::new(metadata);
        // By the clock before the content is read: a change after that is recent then.
        let is_settled = identity.is_settled();
        let unchanged = before.filter(|before| before.is_settled && before.identity == identity);
        let hash = unchanged.map_or_else(|| hash(path, metadata, identity), |before| before.hash);
        Self { identity, is_settled, hash }
    }
}

/// A hash of a file's content, and of whether it can be run. That of a large or unreadable file is of its length and time.
fn hash(path: &Path, metadata: &Metadata, identity: Identity) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([u8::from(metadata.permissions().mode() & 0o111 != 0)]);
    if metadata.len() > HASHED_BYTES || add_content(&mut hash, path).is_err() {
        hash.update(format!("{identity:?}"));
    }
    hash.finalize().into()
}

fn add_content(hash: &mut Sha256, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?.take(HASHED_BYTES);
    let mut buffer = [0; 16 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            write(directory.path(), name, text);
        }
        directory
    }

    fn write(directory: &Path, name: &str, text: &str) {
        let file = directory.join(name);
        fs::create_dir_all(file.parent().expect("below it")).expect("created");
        fs::write(file, text).expect("written");
    }

    fn scan(directory: &Path, before: &SourceState) -> SourceState {
        SourceState::scan(directory, before).expect("readable")
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().expect("text")).collect()
    }

    #[test]
    fn changed_added_and_removed_sources_are_found() {
        let project = project(&[
            ("a", "1"),
            ("src/b", "1"),
            ("src/c", "1"),
            ("target/d", "1"),
            (".gitignore", "/out\n"),
            ("out/e", "1"),
        ]);
        let first = scan(project.path(), &SourceState::default());
        assert_eq!(names(&first.directories.iter().cloned().collect::<Vec<_>>()), ["", "src"]);
        assert_eq!((first.len(), names(&first.difference(&SourceState::default()))), (3, vec!["a", "src/b", "src/c"]));
        write(project.path(), "src/b", "2");
        write(project.path(), "new/f", "1");
        fs::remove_file(project.path().join("src/c")).expect("removed");
        write(project.path(), "target/d", "2");
        write(project.path(), "out/e", "2");
        let second = scan(project.path(), &first);
        assert_eq!(names(&second.difference(&first)), ["new/f", "src/b", "src/c"]);
        // A save that changes nothing, and one by a rename.
        write(project.path(), "a", "1");
        write(project.path(), ".a", "3");
        fs::rename(project.path().join(".a"), project.path().join("src/b")).expect("renamed");
        let third = scan(project.path(), &second);
        assert_eq!(names(&third.difference(&second)), ["src/b"]);
        fs::set_permissions(project.path().join("a"), fs::Permissions::from_mode(0o755)).expect("set");
        assert_eq!(names(&scan(project.path(), &third).difference(&third)), ["a"]);
    }

    #[test]
    fn change_within_one_clock_tick_is_found() {
        let project = project(&[("a", "1")]);
        let first = scan(project.path(), &SourceState::default());
        // With the same length and times, as after a save in the same moment.
        let mut state = first.clone();
        write(project.path(), "a", "2");
        let metadata = fs::metadata(project.path().join("a")).expect("there");
        for file in state.files.values_mut() {
            file.identity = Identity::new(&metadata);
        }
        assert_eq!(names(&scan(project.path(), &state).difference(&first)), ["a"]);
        // A settled file with the same identity is not read.
        for file in state.files.values_mut() {
            file.is_settled = true;
        }
        assert!(scan(project.path(), &state).difference(&first).is_empty());
    }

    #[test]
    fn links_and_odd_files_end_no_scan() {
        let project = project(&[("a", "1")]);
        let link = |from: &str, to: &str| std::os::unix::fs::symlink(to, project.path().join(from)).expect("linked");
        link("loop", ".");
        link("nowhere", "missing");
        link("linked", "a");
        let first = scan(project.path(), &SourceState::default());
        assert_eq!(names(&first.difference(&SourceState::default())), ["a", "linked"]);
        assert!(SourceState::scan(&project.path().join("missing"), &first).is_err());
    }
}
