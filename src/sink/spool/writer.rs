//! The segment that is written: records are appended whole or not at all.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::calls::{cut, write_all_at};
use super::directory::{create, create_new_file, remove_file};
use super::segment::{self, SegmentHeader};

/// A segment that is open for records.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    header: SegmentHeader,
    /// How long it is. Behind that there may be a part of a record that failed.
    length: u64,
    /// Whether there may be.
    is_torn: bool,
}

impl Writer {
    /// Makes a segment with its header and some records, and the directory where it is missing.
    pub(super) fn create(directory: &Path, header: SegmentHeader, records: &[u8]) -> io::Result<Self> {
        let path = directory.join(segment::name(header.mark.sequence));
        let file = match create_new_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(directory)?;
                create_new_file(&path)
            }
            // The rest of one that failed, and could not be removed then.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_file(&path)?;
                create_new_file(&path)
            }
            created => created,
        }?;
        let mut bytes = header.to_bytes();
        bytes.extend_from_slice(records);
        if let Err(error) = write_all_at(&file, &bytes, 0) {
            // Where that fails, the next attempt does it.
            let _ = remove_file(&path);
            return Err(error);
        }
        Ok(Self { file, path, header, length: bytes.len() as u64, is_torn: false })
    }

    /// Opens a segment again, which is so long, and cuts off what is behind that.
    pub(super) fn resume(directory: &Path, header: SegmentHeader, length: u64) -> io::Result<Self> {
        let path = directory.join(segment::name(header.mark.sequence));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        cut(&file, length)?;
        Ok(Self { file, path, header, length, is_torn: false })
    }

    pub(super) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether records can be appended: nothing is behind the last one.
    pub(super) fn is_whole(&mut self) -> bool {
        if self.is_torn && cut(&self.file, self.length).is_ok() {
            self.is_torn = false;
        }
        !self.is_torn
    }

    /// Whether it is still the file at its path.
    pub(super) fn is_in_place(&self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let own = self.file.metadata().map(identity).ok();
        own.is_some() && self.path.symlink_metadata().map(identity).ok() == own
    }

    /// Appends records.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if let Err(error) = write_all_at(&self.file, records, self.length) {
            self.is_torn = cut(&self.file, self.length).is_err();
            return Err(error);
        }
        self.length += records.len() as u64;
        Ok(())
    }

    /// Takes records back: it is so long again.
    pub(super) fn shorten(&mut self, length: u64) {
        self.is_torn |= cut(&self.file, length).is_err();
        self.length = length;
    }

    /// Waits until the records are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The file, of a segment that is complete.
    pub(super) fn into_file(self) -> File {
        self.file
    }
}
