//! The files of the cache: a private directory of this user with one file per artifact, named by its key. An entry is
//! returned only when it is a regular file of this user with exactly the bytes that were stored under its key. This module
//! does not know the meaning of artifacts and keys. Several agents may share a directory.

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

use crate::plugin::build::budget::ARTIFACT_BYTES;
use crate::plugin::build::sealed::Sealed;

/// The most bytes of all entries: a thousand plugins as cargo builds them take 150 MB, one Python guest 31 MB.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// How long an entry is kept after it was last loaded: longer than most agents run without a restart.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// How old an unfinished file may become: its agent has ended.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);

/// The first bytes of an entry: the file format.
const MAGIC: [u8; 16] = *b"gauged artifact\n";

/// The header before the artifact: the magic, the key, the artifact's hash.
const HEADER_BYTES: usize = MAGIC.len() + 32 + 32;

/// The suffix of a file that is not complete yet.
const TEMPORARY_SUFFIX: &str = ".new";

/// The key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheKey(pub(crate) [u8; 32]);

impl CacheKey {
    fn name(self) -> String {
        self.0.iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    }
}

/// Why an entry cannot be used.
#[derive(Debug)]
pub(crate) enum EntryError {
    /// It cannot be trusted. The end of a sentence that begins with the entry.
    Invalid(&'static str),
    /// It could not be read.
    Unreadable(io::Error),
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The cache's directory, opened and private.
#[derive(Debug)]
pub(crate) struct Entries {
    directory: OwnedFd,
}

impl Entries {
    /// Opens the directory, and creates it when it is missing.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, with the remedy: the end of a sentence that begins with the directory.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        // With a slash at the end a link would be followed.
        let path: PathBuf = path.components().collect();
        // The error for a dangling link is unclear; the next check is clear.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        if path.is_symlink() {
            return Err("is a symbolic link; name the directory that it leads to".to_owned());
        }
        created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => "is not a directory; remove the file that is there".to_owned(),
            _ => format!("cannot be created: {error}; create it for the agent's user, with mode 700"),
        })?;
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

    /// Whether the path still leads to this directory: it may have been removed or replaced.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let opened = fstat(&self.directory).map(|stat| (stat.st_dev, stat.st_ino));
        let current = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino));
        opened.is_ok() && opened == current
    }

    /// The artifact that is stored under a key; none when there is none.
    ///
    /// # Errors
    ///
    /// When the entry cannot be trusted or read.
    pub(crate) fn get(&self, key: CacheKey) -> Result<Option<Sealed>, EntryError> {
        // The opening of a named pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match openat(&self.directory, key.name(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(EntryError::Invalid("is a symbolic link")),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        check_owner(&file.metadata()?).map_err(EntryError::Invalid)?;
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
        // The age counts from the last use. Where this fails, files cannot be removed for their age either.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(artifact))
    }

    /// Stores an artifact, atomically.
    pub(crate) fn put(&self, key: CacheKey, artifact: &Sealed) -> io::Result<()> {
        // A process id would not do: agents in two containers may have the same.
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

    /// Removes an entry. An invalid entry that cannot be removed is rejected again the next time.
    pub(crate) fn remove(&self, key: CacheKey) {
        let _ = unlinkat(&self.directory, key.name(), AtFlags::empty());
    }

    /// Removes entries older than `max_age`, then the oldest until the rest fits `max_bytes`, and stale unfinished files.
    /// Files that another agent may still be writing stay, as do files that are not the cache's.
    pub(crate) fn prune(&self, max_bytes: u64, max_age: Duration, now: SystemTime) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(kind) = entry_kind(name) else { continue };
            // Another agent may have removed it by now.
            let Ok(stat) = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                continue;
            }
            let max_age = if kind == EntryKind::Complete { max_age } else { STALE_AFTER };
            let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
            if now.duration_since(modified).is_ok_and(|age| age > max_age) {
                let _ = unlinkat(&self.directory, name, AtFlags::empty());
            } else if kind == EntryKind::Complete {
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

/// The kind of a file in the directory, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Complete,
    Temporary,
}

/// None for a file that is not the cache's.
fn entry_kind(name: &CStr) -> Option<EntryKind> {
    let name = name.to_str().ok()?;
    let (key, rest) = name.split_at_checked(64)?;
    let is_key = key.bytes().all(|byte| byte.is_ascii_hexdigit());
    match rest {
        _ if !is_key => None,
        "" => Some(EntryKind::Complete),
        _ => rest.ends_with(TEMPORARY_SUFFIX).then_some(EntryKind::Temporary),
    }
}

/// Checks that only this user can have written a file.
fn check_owner(metadata: &Metadata) -> Result<(), &'static str> {
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
    let (key_bytes, hash) = rest.split_at_mut(key.0.len());
    magic.copy_from_slice(&MAGIC);
    key_bytes.copy_from_slice(&key.0);
    hash.copy_from_slice(&artifact.hash().0);
    header
}

#[cfg(test)]
mod tests;
