//! The position: the place up to which all requests are acknowledged. The file has two places for it, which are written by turns: a
//! loss of power can damage the one that is being written, and then the other one counts. It is written in place, since a full disk
//! has room for that, and since a file system flushes a file that replaces another one by a rename. Without one that can be read,
//! what was acknowledged in the segments that are left is sent again.
//!
//! Each place is at the beginning of a block of 4096 bytes:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, with the format |
//! | 8 | 4 | checksum of the bytes after it |
//! | 12 | 8 | sequence of the first request that is not acknowledged |
//! | 20 | 24 | requests, samples and points before it |
//! | 44 | 8 | sequence of the first record of its segment |
//! | 52 | 8 | where it is in this segment, in bytes |

use std::fs::File;
use std::io;
use std::path::Path;

use super::calls::write_all_at;
use super::counts::{Counts, Mark};
use super::directory::{open_file, read_at_most};
use super::fields::{Fields, checksum};

const MAGIC: &[u8; 8] = b"gauspos1";

/// The length of a position.
const BYTES: usize = 60;

/// The distance of the two places: they are in different blocks of the disk.
const BLOCK_BYTES: u64 = 4096;

/// The name of the file.
pub(super) const NAME: &str = "position";

/// A place in a spool, and where it is in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// All before it is accounted for.
    pub(super) mark: Mark,
    /// The segment, by the sequence of its first record.
    pub(super) segment: u64,
    /// Where the next record begins in it; 0 for the first one.
    pub(super) offset: u64,
}

/// One of the two places in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Second,
}

/// The position that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredPosition {
    /// There is none: nothing was acknowledged or dropped.
    None,
    /// There is one that cannot be read.
    Damaged,
    /// The newer one, and where it is.
    Known(Position, Turn),
}

impl Turn {
    pub(super) fn next(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => BLOCK_BYTES,
        }
    }
}

impl Position {
    fn to_bytes(self) -> Vec<u8> {
        let mut covered = Vec::new();
        let Counts { requests, samples, points } = self.mark.before;
        for number in [self.mark.sequence, requests, samples, points, self.segment, self.offset] {
            covered.extend(number.to_le_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(checksum(0, &covered).to_le_bytes());
        bytes.extend(covered);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let is_ours = fields.bytes(MAGIC.len())? == MAGIC;
        let is_whole = fields.word()? == checksum(0, fields.0);
        let sequence = fields.long()?;
        let before = Counts { requests: fields.long()?, samples: fields.long()?, points: fields.long()? };
        let (segment, offset) = (fields.long()?, fields.long()?);
        let mark = Mark { sequence, before };
        (is_ours && is_whole && mark.is_plausible()).then_some(Self { mark, segment, offset })
    }

    /// The position in a directory.
    pub(super) fn read(directory: &Path) -> io::Result<StoredPosition> {
        let file = match File::open(directory.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StoredPosition::None),
            Err(error) => return Err(error),
        };
        let mut newest = StoredPosition::Damaged;
        for turn in [Turn::First, Turn::Second] {
            let mut bytes = [0; BYTES];
            let length = read_at_most(&file, &mut bytes, turn.offset())?;
            let position = bytes.get(..length).and_then(Self::parse);
            let is_newer = |position: &Self| match newest {
                StoredPosition::Known(newest, _) => position.mark.sequence >= newest.mark.sequence,
                StoredPosition::None | StoredPosition::Damaged => true,
            };
            if let Some(position) = position.filter(is_newer) {
                newest = StoredPosition::Known(position, turn);
            }
        }
        Ok(newest)
    }

    /// Writes it into the file of a directory. A new file has it in both places: from then on the disk has room for both.
    pub(super) fn write(self, directory: &Path, turn: Turn) -> io::Result<()> {
        let (file, bytes) = (open_file(&directory.join(NAME))?, self.to_bytes());
        if file.metadata()?.len() < BLOCK_BYTES {
            write_all_at(&file, &bytes, turn.next().offset())?;
        }
        write_all_at(&file, &bytes, turn.offset())
    }

    /// Waits until the file is on the disk, if there is one.
    pub(super) fn sync(directory: &Path) -> io::Result<()> {
        match File::open(directory.join(NAME)) {
            Ok(file) => file.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POSITION: Position = Position {
        mark: Mark { sequence: 9, before: Counts { requests: 8, samples: 7, points: 6 } },
        segment: 5,
        offset: 4,
    };

    const OLDER: Position = Position { mark: Mark { sequence: 8, ..POSITION.mark }, ..POSITION };

    #[test]
    fn newer_position_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let read = || Position::read(directory.path()).expect("readable");
        assert_eq!(read(), StoredPosition::None);
        let mut turn = Turn::First;
        for sequence in 1..5 {
            let position = Position { mark: Mark { sequence, ..POSITION.mark }, ..POSITION };
            position.write(directory.path(), turn).expect("written");
            let read = read();
            assert!(matches!(read, StoredPosition::Known(read, _) if read == position), "{read:?}");
            turn = turn.next();
        }
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1);
        Position::sync(directory.path()).expect("synced");
    }

    #[test]
    fn damaged_position_leaves_the_other_one() {
        let directory = tempfile::tempdir().expect("a directory");
        OLDER.write(directory.path(), Turn::First).expect("written");
        let path = directory.path().join(NAME);
        assert_eq!(fs::metadata(&path).expect("there").len(), 4096 + BYTES as u64, "there is room for both");
        let only = &fs::read(&path).expect("readable")[..BYTES];
        POSITION.write(directory.path(), Turn::Second).expect("written");
        let both = fs::read(&path).expect("readable");
        let read = || Position::read(directory.path()).expect("readable");
        for at in 0..BYTES {
            let mut damaged = both.clone();
            damaged[at + 4096] ^= 1 << (at % 8);
            fs::write(&path, &damaged).expect("written");
            assert_eq!(read(), StoredPosition::Known(OLDER, Turn::First));
            fs::write(&path, &both[..at + 4096]).expect("written");
            assert_eq!(read(), StoredPosition::Known(OLDER, Turn::First));
            fs::write(&path, &only[..at]).expect("written");
            assert_eq!(read(), StoredPosition::Damaged);
        }
    }
}
