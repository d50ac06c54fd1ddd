//! The files of the cache: a directory that belongs to this user alone, and in it a file an artifact, named by its key.
//! An entry is handed out when it is a plain file of this user's that holds, to the bit, what was stored under its key.
//! What an artifact is, and what a key stands for, is not known here. Several agents may use one directory at a time.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, Metadata};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::super::compile::ARTIFACT_BYTES;
use super::super::sealed::Sealed;

/// All entries together: a thousand plugins as cargo builds them take 150 MB, a Python guest 31.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// How long an entry is kept after it was last loaded: longer than most agents run without a restart.
pub(super) const MAX_AGE: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// How long a file may be in the making: an agent that needs longer to write one has gone.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);

/// How an entry begins: the form in which it is written.
const MAGIC: [u8; 16] = *b"gauged artifact\n";

/// What comes before the artifact: the magic, the key, the artifact's hash.
const HEADER_BYTES: usize = MAGIC.len() + 32 + 32;

/// How the name of a file ends that is not complete yet.
const TEMPORARY_SUFFIX: &str = ".new";

/// What an entry is stored under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheKey(pub(super) [u8; 32]);

impl CacheKey {
    fn name(self) -> String {
        self.0.iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    }
}

/// Why there is no entry to be had, beside that there is none.
#[derive(Debug)]
pub(super) enum EntryError {
    /// What there is cannot be trusted. The end of a sentence that begins with the entry.
    Invalid(&'static str),
    /// It could not be read.
    Unreadable(io::Error),
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The cache's directory, once it was found to be private.
#[derive(Debug)]
pub(super) struct Entries {
    directory: OwnedFd,
}

impl Entries {
    /// Opens the directory, and creates it where there is none.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, with the remedy: the end of a sentence that begins with the directory.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        // With a slash at its end a link would be followed.
        let path: PathBuf = path.components().collect();
        // A link that leads nowhere is "there" already; what it is comes out below.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        if path.is_symlink() {
            return Err("is a symbolic link; name the directory that it leads to".to_owned());
        }
        created
            .map_err(|error| format!("cannot be created: {error}; create it for the agent's user, with mode 700"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, &path, flags, Mode::empty()).map_err(io::Error::from).map(File::from);
        let opened = opened.and_then(|directory| Ok((directory.metadata()?, directory)));
        let (metadata, directory) = opened.map_err(|error| format!("cannot be read: {error}; allow the agent to"))?;
        let user = geteuid().as_raw();
        if metadata.uid() != user {
            return Err(format!("belongs to user {}; give it to user {user}, which the agent runs as", metadata.uid()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(format!("is open to others, with mode {:o}; chmod it to 700", metadata.mode() & 0o777));
        }
        Ok(Self { directory: directory.into() })
    }

    /// Whether the path still leads to this directory: it may have been removed, or replaced by another.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let here = fstat(&self.directory).map(|stat| (stat.st_dev, stat.st_ino));
        let there = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino));
        here.is_ok() && here == there
    }

    /// The artifact that is stored under a key; none when there is none.
    ///
    /// # Errors
    ///
    /// When what is stored there cannot be trusted, or not be read.
    pub(super) fn get(&self, key: CacheKey) -> Result<Option<Sealed>, EntryError> {
        // What was put in an entry's place must not keep the thread waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match openat(&self.directory, key.name(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(EntryError::Invalid("is a symbolic link")),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        is_own(&file.metadata()?).map_err(EntryError::Invalid)?;
        let mut header = [0; HEADER_BYTES];
        match file.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(EntryError::Invalid("is truncated"));
            }
            read => read?,
        }
        let artifact = Sealed::copy((&file).take(ARTIFACT_BYTES))?;
        if header != self::header(key, &artifact) {
            return Err(EntryError::Invalid("is damaged"));
        }
        // It was of use now. Where that cannot be written down, nothing is removed for its age either.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(artifact))
    }

    /// Stores an artifact. Whoever looks for it finds all of it or nothing.
    pub(super) fn put(&self, key: CacheKey, artifact: &Sealed) -> io::Result<()> {
        // Agents in two containers may have the same process id.
        let name = format!("{}.{:016x}{TEMPORARY_SUFFIX}", key.name(), RandomState::new().build_hasher().finish());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.directory, &*name, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file
            .write_all(&header(key, artifact))
            .and_then(|()| io::copy(&mut artifact.open()?, &mut file))
            .and_then(|_| Ok(renameat(&self.directory, &*name, &self.directory, key.name())?));
        if written.is_err() {
            let _ = unlinkat(&self.directory, &*name, AtFlags::empty());
        }
        written
    }

    /// Removes an entry. One that cannot be removed is refused again the next time.
    pub(super) fn remove(&self, key: CacheKey) {
        let _ = unlinkat(&self.directory, key.name(), AtFlags::empty());
    }

    /// Removes what has not been used for long, then what was used longest ago until the rest is small enough, and what
    /// was never finished. What another agent may still be writing stays, as do files that are none of the cache's.
    pub(super) fn prune(&self, max_bytes: u64, max_age: Duration, now: SystemTime) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(kind) = kind(name) else { continue };
            // Another agent may have removed it by now.
            let Ok(stat) = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                continue;
            }
            let max_age = if kind == EntryKind::Entry { max_age } else { STALE_AFTER };
            let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
            if now.duration_since(modified).is_ok_and(|age| age > max_age) {
                let _ = unlinkat(&self.directory, name, AtFlags::empty());
            } else if kind == EntryKind::Entry {
                kept.push((modified, u64::try_from(stat.st_size).unwrap_or_default(), name.to_owned()));
            }
        }
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        kept.sort_unstable();
        for (_, size, name) in kept {
            if bytes <= max_bytes {
                break;
            }
            if unlinkat(&self.directory, &*name, AtFlags::empty()).is_ok() {
                bytes -= size;
            }
        }
        Ok(())
    }
}

/// What a file in the directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Entry,
    Temporary,
}

fn kind(name: &CStr) -> Option<EntryKind> {
    let name = name.to_str().ok()?;
    let (key, rest) = name.split_at_checked(64)?;
    let is_key = key.bytes().all(|byte| byte.is_ascii_hexdigit());
    match rest {
        _ if !is_key => None,
        "" => Some(EntryKind::Entry),
        _ => rest.ends_with(TEMPORARY_SUFFIX).then_some(EntryKind::Temporary),
    }
}

/// Whether only this user can have written a file.
fn is_own(metadata: &Metadata) -> Result<(), &'static str> {
    if !metadata.is_file() {
        return Err("is not a regular file");
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err("belongs to another user");
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("can be written by others");
    }
    Ok(())
}

fn header(key: CacheKey, artifact: &Sealed) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (magic, rest) = header.split_at_mut(MAGIC.len());
    let (named, hash) = rest.split_at_mut(key.0.len());
    magic.copy_from_slice(&MAGIC);
    named.copy_from_slice(&key.0);
    hash.copy_from_slice(&artifact.hash().0);
    header
}

#[cfg(test)]
mod tests;
