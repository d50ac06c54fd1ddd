//! The files of a scripted host: the host functions of [`crate::files`].

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::default_grants::first_process_path;
use super::scripted_host::{Host, with_current};
pub(crate) use crate::files::Error;
use crate::files::{Entry, FileStatus, FileType, FilesystemUsage};
use crate::{Capability, OsError, PermissionError};

/// The most bytes that the agent reads at a time: of a file, and of a batch.
const MAX_BYTES: usize = 4 << 20;

pub(crate) fn read(path: &str) -> Result<Vec<u8>, Error> {
    within(with_current(|host| host.read(path))?, MAX_BYTES)
}

pub(crate) fn read_at(path: &str, offset: u64, max_bytes: u32) -> Result<Vec<u8>, Error> {
    let content = with_current(|host| host.read(path))?;
    let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or_default();
    Ok(rest[..rest.len().min(max_bytes as usize)].to_vec())
}

pub(crate) fn read_many(paths: &[String], max_bytes: u32) -> Vec<Result<Vec<u8>, Error>> {
    let (mut results, mut bytes) = (Vec::new(), 0);
    for path in paths {
        let read = with_current(|host| host.read(path)).and_then(|content| within(content, max_bytes as usize));
        bytes += read.as_ref().map_or(0, Vec::len);
        if bytes > MAX_BYTES && !results.is_empty() {
            break;
        }
        results.push(read);
    }
    results
}

pub(crate) fn list(path: &str) -> Result<Vec<Entry>, Error> {
    with_current(|host| host.list(path))
}

pub(crate) fn stat(path: &str) -> Result<FileStatus, Error> {
    with_current(|host| host.stat(path))
}

pub(crate) fn read_link(path: &str) -> Result<String, Error> {
    with_current(|host| host.read_link(path))
}

pub(crate) fn usage(path: &str) -> Result<FilesystemUsage, Error> {
    with_current(|host| {
        host.access_path(path, Capability::usage, false)?;
        host.usages.get(path).cloned().unwrap_or(Err(Error::NotFound))
    })
}

fn within(content: Vec<u8>, most: usize) -> Result<Vec<u8>, Error> {
    if content.len() > most { Err(Error::TooLarge(most as u64)) } else { Ok(content) }
}

impl Host {
    fn access_path(&mut self, path: &str, capability: fn(String) -> Capability, is_list: bool) -> Result<(), Error> {
        let is_plain = path == "/" || path.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | ".."));
        if !path.starts_with('/') || !is_plain {
            return Err(Error::InvalidPath(format!("{path} is not an absolute path without ., .. and //")));
        }
        self.access(capability(path.to_owned()), is_list).map_err(Error::Denied)
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        let path = &*first_process_path(path);
        self.access_path(path, Capability::read, false)?;
        if let Some(scripted) = self.files.get(path) {
            return scripted.clone();
        }
        let file = self.fixture_path(path).ok_or(Error::NotFound)?;
        if file.is_dir() {
            return Err(Error::WrongType);
        }
        fs::read(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::NotFound,
            std::io::ErrorKind::PermissionDenied => Error::NotPermitted(PermissionError::new(
                "EACCES",
                "Permission denied",
                "let the tests read the fixture",
            )),
            _ => Error::Io(OsError::new("", error.to_string())),
        })
    }

    fn list(&mut self, path: &str) -> Result<Vec<Entry>, Error> {
        let path = &*first_process_path(path);
        self.access_path(path, Capability::read, true)?;
        if let Some(Err(error)) = self.files.get(path) {
            return Err(error.clone());
        }
        let (entries, is_directory) = self.entries(path);
        let is_file = self.files.contains_key(path) || self.fixture_path(path).is_some_and(|file| file.is_file());
        match (is_directory, is_file) {
            (true, _) => Ok(entries.into_iter().map(|(name, kind)| Entry { name, kind }).collect()),
            (false, true) => Err(Error::WrongType),
            (false, false) => Err(Error::NotFound),
        }
    }

    /// The names in a directory with their types, and whether it is one.
    fn entries(&self, path: &str) -> (BTreeMap<String, FileType>, bool) {
        let mut entries = BTreeMap::new();
        let directory = self.fixture_path(path);
        for entry in directory.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten() {
            let entry = entry.expect("readable");
            let kind = entry.file_type().map_or(FileType::Unknown, kind);
            entries.insert(entry.file_name().to_string_lossy().into_owned(), kind);
        }
        let prefix = if path == "/" { String::from("/") } else { format!("{path}/") };
        // What fails is a regular file, unless others are below it.
        let files =
            self.files.iter().map(|(file, content)| (file, FileType::Regular, *content == Err(Error::NotFound)));
        let links = self.links.keys().map(|link| (link, FileType::SymbolicLink, false));
        for (file, kind, is_removed) in files.chain(links) {
            let Some(rest) = file.strip_prefix(&prefix) else { continue };
            match rest.split_once('/') {
                Some((directory, _)) => {
                    entries.insert(directory.to_owned(), FileType::Directory);
                }
                None if is_removed => {
                    entries.remove(rest);
                }
                None => {
                    entries.entry(rest.to_owned()).or_insert(kind);
                }
            }
        }
        let is_directory = !entries.is_empty() || directory.is_some_and(|directory| directory.is_dir());
        (entries, is_directory)
    }

    fn stat(&mut self, path: &str) -> Result<FileStatus, Error> {
        let path = &*first_process_path(path);
        self.access_path(path, Capability::read, true)?;
        if let Some(scripted) = self.statuses.get(path) {
            return Ok(*scripted);
        }
        if let Some(Err(error)) = self.files.get(path) {
            return Err(error.clone());
        }
        let (entries, is_directory) = self.entries(path);
        let is_file = self.files.contains_key(path) || self.fixture_path(path).is_some_and(|file| file.is_file());
        let is_descriptors = path.starts_with("/proc/") && path.ends_with("/fd");
        match (is_directory, is_file) {
            (true, _) => Ok(FileStatus {
                kind: FileType::Directory,
                permissions: 0o755,
                size: if is_descriptors { entries.len() as u64 } else { 0 },
                ..FileStatus::PLAIN
            }),
            (false, true) => Ok(FileStatus { size: self.content(path).len() as u64, ..FileStatus::PLAIN }),
            (false, false) => Err(Error::NotFound),
        }
    }

    fn read_link(&mut self, path: &str) -> Result<String, Error> {
        let path = &*first_process_path(path);
        self.access_path(path, Capability::read, false)?;
        if let Some(target) = self.links.get(path) {
            return Ok(target.clone());
        }
        if let Some(Err(error)) = self.files.get(path) {
            return Err(error.clone());
        }
        let link = self.fixture_path(path).and_then(|link| fs::read_link(link).ok());
        match link.and_then(|target| target.to_str().map(str::to_owned)) {
            Some(target) => Ok(target),
            None if self.files.contains_key(path) || self.entries(path).1 => Err(Error::WrongType),
            None => Err(Error::NotFound),
        }
    }

    pub(super) fn fixture_path(&self, path: &str) -> Option<PathBuf> {
        Some(self.root.as_ref()?.join(path.trim_start_matches('/')))
    }
}

/// ```
/// use gauged_plugin::files::{self, FileStatus};
/// use gauged_plugin::testing::Host;
///
/// let mut host = Host::new();
/// host.status("/var/log/app.log", FileStatus { size: 12 << 30, inode: 7, ..FileStatus::PLAIN });
/// assert_eq!(host.run(|| files::stat("/var/log/app.log"))?.inode, 7);
/// # Ok::<(), gauged_plugin::files::Failure>(())
/// ```
impl FileStatus {
    /// An empty regular file of root that everybody may read, last changed at the Unix epoch.
    pub const PLAIN: Self = Self {
        kind: FileType::Regular,
        permissions: 0o644,
        user: 0,
        group: 0,
        size: 0,
        allocated_bytes: 0,
        modified_ns: 0,
        device: 1,
        inode: 1,
        links: 1,
    };
}

fn kind(found: fs::FileType) -> FileType {
    if found.is_file() {
        FileType::Regular
    } else if found.is_dir() {
        FileType::Directory
    } else if found.is_symlink() {
        FileType::SymbolicLink
    } else {
        FileType::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn entries_have_types() {
        let mut host = Host::new();
        host.file("/d/file", "x").file("/d/sub/file", "").link("/d/link", "file").file_fails("/d/odd", Error::Timeout);
        let found = host.run(|| files::entries("/d")).expect("a directory");
        let found: Vec<(&str, FileType)> = found.iter().map(|entry| (&*entry.name, entry.kind)).collect();
        let expected = [
            ("file", FileType::Regular),
            ("link", FileType::SymbolicLink),
            ("odd", FileType::Regular),
            ("sub", FileType::Directory),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn states_follow_the_content() {
        let mut host = Host::new();
        host.file("/d/file", "abc")
            .file("/proc/7/fd/0", "")
            .file("/proc/7/fd/1", "")
            .file_fails("/odd", Error::Timeout);
        host.run(|| {
            assert_eq!(files::stat("/d/file").map(|status| (status.kind, status.size)), Ok((FileType::Regular, 3)));
            assert_eq!(files::stat("/d").map(|status| status.kind), Ok(FileType::Directory));
            assert_eq!(files::stat("/proc/7/fd").map(|status| status.size), Ok(2));
            assert_eq!(files::stat("/none").expect_err("nothing").error, Error::NotFound);
            assert_eq!(files::stat("/odd").expect_err("it fails").error, Error::Timeout);
            assert_eq!(files::read_link("/d/file").expect_err("a file").error, Error::WrongType);
            assert_eq!(files::read_link("/d/none").expect_err("nothing").error, Error::NotFound);
        });
    }

    #[test]
    fn full_batch_is_continued() {
        let mut host = Host::new();
        let paths: Vec<String> = (0..5).map(|number| format!("/{number}")).collect();
        for path in &paths {
            host.file(path, vec![b'x'; 3 << 20]);
        }
        host.file("/2", "small").file_fails("/3", Error::Timeout);
        let read = host.run(|| files::read_many(&paths, u32::MAX));
        let sizes: Vec<_> =
            read.iter().map(|read| read.as_ref().map(Vec::len).map_err(|failure| &*failure.path)).collect();
        assert_eq!(sizes, [Ok(3 << 20), Ok(3 << 20), Ok(5), Err("/3"), Ok(3 << 20)]);
        let first = host.run(|| files::read_many(&paths[..1], 100)).remove(0);
        assert_eq!(first.expect_err("it is larger").error, Error::TooLarge(100));
    }
}
