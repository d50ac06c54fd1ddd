//! Files of a host that are read from time to time and not kept open: `/proc/cpuinfo` and the small files of `/sys`. One that is
//! missing is no oddity: kernels and machines differ.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kept_file::{REFUSED_REMEDY, ReadError, is_missing, read_once};
use super::oddity::{Oddities, Oddity};
use crate::hostfile::read_file;
use crate::hostpath::below;

/// The files below one root, and what was odd in them.
#[derive(Debug)]
pub(crate) struct HostFiles {
    root: PathBuf,
    oddities: Oddities,
}

impl HostFiles {
    /// The files of the host with this root.
    #[must_use]
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), oddities: Oddities::default() }
    }

    /// Begins a reading of several files.
    pub(crate) fn begin(&mut self) {
        self.oddities.begin();
    }

    /// The place of an absolute path of the host.
    #[must_use]
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        below(&self.root, path)
    }

    /// Reads a file and parses it; the parser notes what it leaves out. None if it cannot be read, as in
    /// [`read_if_exists`](Self::read_if_exists), or does not exist.
    pub(crate) fn read<T>(
        &mut self,
        path: &Path,
        left_out: &'static str,
        parse: impl FnOnce(&[u8], &mut Oddities) -> T,
    ) -> Option<T> {
        self.read_if_exists(path, left_out, parse).ok().flatten()
    }

    /// Reads and parses a file; none if it does not exist.
    ///
    /// # Errors
    ///
    /// When it cannot be read, which is noted if its content may not be read or is no text of the kernel's. Other errors of a file
    /// that exists are the kernel's way to report that it has no value now.
    pub(crate) fn read_if_exists<T>(
        &mut self,
        path: &Path,
        left_out: &'static str,
        parse: impl FnOnce(&[u8], &mut Oddities) -> T,
    ) -> Result<Option<T>, ReadError> {
        let read = self.read_if_allowed(path, parse);
        self.noting_unreadable(path, left_out, read)
    }

    /// Reads and parses a file outside of `/proc` and `/sys`, which may be a link within the host; none if it does not exist.
    ///
    /// # Errors
    ///
    /// As those of [`read_if_exists`](Self::read_if_exists).
    pub(crate) fn read_linked<T>(
        &mut self,
        path: &str,
        max_bytes: u64,
        left_out: &'static str,
        parse: impl FnOnce(&[u8], &mut Oddities) -> T,
    ) -> Result<Option<T>, ReadError> {
        let read = read_file(&self.root, path, max_bytes).map(|text| self.parse(&self.path(path), &text, parse));
        self.noting_unreadable(&self.path(path), left_out, read)
    }

    fn noting_unreadable<T>(
        &mut self,
        path: &Path,
        left_out: &'static str,
        read: io::Result<T>,
    ) -> Result<Option<T>, ReadError> {
        match read {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => {
                if let Some(oddity) = unreadable(&error, left_out) {
                    self.note(path, oddity);
                }
                Err(ReadError)
            }
        }
    }

    fn note(&mut self, path: &Path, oddity: Oddity) {
        self.oddities.note_missing(oddity);
        self.oddities.report(path, &[]);
    }

    /// Reads and parses a file that some may not read, which is no oddity.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn read_if_allowed<T>(
        &mut self,
        path: &Path,
        parse: impl FnOnce(&[u8], &mut Oddities) -> T,
    ) -> io::Result<T> {
        let text = read_once(path)?;
        Ok(self.parse(path, &text, parse))
    }

    fn parse<T>(&mut self, path: &Path, text: &[u8], parse: impl FnOnce(&[u8], &mut Oddities) -> T) -> T {
        self.oddities.begin_text(text);
        let parsed = parse(text, &mut self.oddities);
        self.oddities.report(path, text);
        parsed
    }

    /// The entries of a directory whose names are this name and a number, with the number, in its order. Without the directory
    /// there are none.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed, which is noted.
    pub(crate) fn numbered(
        &mut self,
        directory: &str,
        name: &str,
        left_out: &'static str,
    ) -> Result<Vec<(u32, PathBuf)>, ReadError> {
        let directory = self.path(directory);
        let list = || fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>();
        let found = match list() {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => {
                self.note(&directory, unlisted(&error, left_out));
                return Err(ReadError);
            }
        };
        let numbered = |path: PathBuf| {
            let digits = path.file_name()?.to_str()?.strip_prefix(name)?;
            let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
            Some((number, path))
        };
        let mut entries: Vec<_> = found.into_iter().filter_map(numbered).collect();
        entries.sort_unstable();
        Ok(entries)
    }

    /// Whether a directory exists.
    ///
    /// # Errors
    ///
    /// When that is not known, because a directory on the way is closed; that is noted.
    pub(crate) fn has_directory(&mut self, path: &Path, left_out: &'static str) -> Result<bool, ReadError> {
        match fs::metadata(path) {
            Ok(found) => Ok(found.is_dir()),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => {
                self.note(path, unlisted(&error, left_out));
                Err(ReadError)
            }
        }
    }

    /// The number of lines and values that were left out so far.
    #[must_use]
    pub(crate) fn skipped_lines(&self) -> u64 {
        self.oddities.count()
    }
}

/// The oddity of a file that cannot be read, if it is one.
fn unreadable(error: &io::Error, left_out: &'static str) -> Option<Oddity> {
    let (reason, remedy) = match error.kind() {
        _ if is_missing(error) => return None,
        io::ErrorKind::PermissionDenied => ("the agent's user may not read it", Some(REFUSED_REMEDY)),
        io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => ("not a regular file", None),
        io::ErrorKind::FileTooLarge => ("larger than 8 MiB", None),
        _ => return None,
    };
    Some(Oddity { reason, left_out, remedy })
}

/// The oddity of a directory that cannot be listed or reached.
fn unlisted(error: &io::Error, left_out: &'static str) -> Oddity {
    let refused = || Oddity::new("the system returns an error for this directory", left_out);
    unreadable(error, left_out).unwrap_or_else(refused)
}

/// The result of a measurement of a host with these files, and how many oddities that had.
#[cfg(test)]
pub(crate) fn measure_files<T>(
    files: &[(impl AsRef<str>, &str)],
    measure: impl FnOnce(&mut HostFiles) -> T,
) -> (T, u64) {
    measure_damaged_files(files, |_| (), measure)
}

/// The same of a host whose root `damage` gets first.
#[cfg(test)]
pub(crate) fn measure_damaged_files<T>(
    files: &[(impl AsRef<str>, &str)],
    damage: impl FnOnce(&Path),
    measure: impl FnOnce(&mut HostFiles) -> T,
) -> (T, u64) {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files {
        let path = below(root.path(), path.as_ref());
        fs::create_dir_all(path.parent().expect("has one")).expect("created");
        fs::write(path, content).expect("written");
    }
    damage(root.path());
    let mut files = HostFiles::new(root.path());
    (measure(&mut files), files.skipped_lines())
}
