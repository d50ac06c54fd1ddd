//! The directory of a spool: which segments are in it. Files that are not the spool's are left alone. Nobody but the agent's user
//! may read what is made here.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::record::{HEADER_BYTES, MAX_BODY_BYTES};
use super::segment::{MAX_HEADER_BYTES, NamedFile, parse_name};

/// The longest segment: it has one request, which is as long as possible. Behind that, nothing is looked for.
const MAX_SEGMENT_BYTES: u64 = (MAX_HEADER_BYTES + HEADER_BYTES + MAX_BODY_BYTES) as u64;

/// A segment in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListedSegment {
    /// The sequence of its first record.
    pub(super) first: u64,
    pub(super) bytes: u64,
}

/// The files of a spool.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In the order of their sequences.
    pub(super) segments: VecDeque<ListedSegment>,
    /// The files that were moved aside.
    pub(super) aside: Vec<PathBuf>,
}

/// Lists a directory. One that is not there is empty.
pub(super) fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        match parse_name(&entry.file_name()) {
            Some(NamedFile::Segment(first)) => {
                let metadata = entry.metadata()?;
                if metadata.is_file() {
                    segments.push(ListedSegment { first, bytes: metadata.len().min(MAX_SEGMENT_BYTES) });
                }
            }
            Some(NamedFile::Aside(_)) => listing.aside.push(entry.path()),
            None => {}
        }
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    listing.segments = segments.into();
    Ok(listing)
}

/// Makes the directory, and all above it that are missing.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Opens a file to write in it. One that is not there is created.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Creates a file that is not there.
pub(super) fn create_new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Removes a file, which may be gone already.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Waits until a directory's entries are on the disk.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The first bytes of a segment, up to the longest header.
pub(super) fn read_beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MAX_HEADER_BYTES];
    let length = read_at_most(file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Reads a part of a file. Returns how much of it there is.
pub(super) fn read_at_most(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;

    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(read as u64)) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
