//! The segments that were moved aside, since this version cannot send what they have. They stay for as long as they say.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::directory::{read_beginning, remove_file};
use super::segment::{HeaderError, NamedFile, SegmentHeader, parse_name};

/// How far the next sequence is from that of such a file: farther than a file of any format has records.
const GAP: u64 = 1 << 32;

/// The files of a spool that were moved aside.
#[derive(Debug, Default)]
pub(super) struct Aside(Vec<PathBuf>);

impl Aside {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    pub(super) fn push(&mut self, path: PathBuf) {
        self.0.push(path);
    }

    /// The least sequence that none of them has.
    pub(super) fn next_sequence(&self) -> u64 {
        let sequences = self.0.iter().filter_map(|path| match parse_name(path.file_name()?)? {
            NamedFile::Aside(first) => Some(first.saturating_add(GAP)),
            NamedFile::Segment(_) => None,
        });
        sequences.max().unwrap_or_default()
    }

    /// Removes those that are too old. `age` is for how long those are kept that do not say it.
    pub(super) fn remove_old(&mut self, now: Duration, age: Duration) {
        self.0.retain(|path| match kept_until(path, age) {
            Ok(until) if now <= until => true,
            Ok(_) => {
                if remove_file(path).is_ok() {
                    tracing::warn!(path = %path.display(), "old spool file removed");
                }
                false
            }
            // One that cannot be read now is looked at again.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        });
    }

    /// Removes all.
    pub(super) fn remove_all(&mut self) {
        self.0.retain(|path| remove_file(path).is_err());
    }
}

/// Until when a file is kept. `age` is for how long one is kept that does not say it.
pub(super) fn kept_until(path: &Path, age: Duration) -> io::Result<Duration> {
    let file = File::open(path)?;
    let written = file.metadata()?.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = match SegmentHeader::parse(&read_beginning(&file)?) {
        Ok(header) => header.age,
        Err(HeaderError::Newer { age, .. }) => age,
        Err(HeaderError::Damaged) => age,
    };
    Ok(written.saturating_add(age))
}
