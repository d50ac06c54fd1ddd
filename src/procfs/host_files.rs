//! Files of a host that are read from time to time and not kept open: `/proc/cpuinfo` and the small files of `/sys`. One that is
//! missing is no oddity: kernels and machines differ.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kept_file::{REFUSED_REMEDY, is_missing, read_once};
use super::oddity::{Oddities, Oddity};
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

    /// Reads a file and parses it; the parser notes what it leaves out. None if it cannot be read, which is noted if its
    /// content may not be read or is no text of the kernel's. Other errors of a file that exists are the kernel's way to report
    /// that it has no value now.
    pub(crate) fn read<T>(
        &mut self,
        path: &Path,
        left_out: &'static str,
        parse: impl FnOnce(&[u8], &mut Oddities) -> T,
    ) -> Option<T> {
        let read = self.read_if_allowed(path, parse);
        if let Err(error) = &read
            && let Some(oddity) = unreadable(error, left_out)
        {
            self.oddities.note_missing(oddity);
            self.oddities.report(path, &[]);
        }
        read.ok()
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
        self.oddities.begin_text(&text);
        let parsed = parse(&text, &mut self.oddities);
        self.oddities.report(path, &text);
        Ok(parsed)
    }

    /// The entries of a directory whose names are this name and a number, with the number, in its order.
    #[must_use]
    pub(crate) fn numbered(&self, directory: &str, name: &str) -> Vec<(u32, PathBuf)> {
        let Ok(found) = fs::read_dir(self.path(directory)) else { return Vec::new() };
        let numbered = |path: PathBuf| {
            let digits = path.file_name()?.to_str()?.strip_prefix(name)?;
            let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
            Some((number, path))
        };
        let mut entries: Vec<_> = found.filter_map(|entry| numbered(entry.ok()?.path())).collect();
        entries.sort_unstable();
        entries
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

/// The result of a measurement of a host with these files, and how many oddities that had.
#[cfg(test)]
pub(crate) fn measure_files<T>(
    files: &[(impl AsRef<str>, &str)],
    measure: impl FnOnce(&mut HostFiles) -> T,
) -> (T, u64) {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files {
        let path = below(root.path(), path.as_ref());
        fs::create_dir_all(path.parent().expect("has one")).expect("created");
        fs::write(path, content).expect("written");
    }
    let mut files = HostFiles::new(root.path());
    (measure(&mut files), files.skipped_lines())
}
