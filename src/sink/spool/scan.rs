//! Finds the records of a segment, one after the other. All bytes are untrusted: a record is one whose header has the right checksum
//! and a sequence that may come next. Behind damage the next such header is looked for. Memory is bounded: the body of a record
//! is read when its header is known to be right, and all else in pieces.

use std::fs::File;
use std::io;

use hyper::body::Bytes;
use memchr::memmem;

use super::directory::read_at_most;
use super::record::{HEADER_BYTES, MAGIC, RecordHeader};

/// How much is searched for a header at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A record that can be trusted.
#[derive(Debug)]
pub(super) struct FoundRecord {
    pub(super) header: RecordHeader,
    pub(super) body: Bytes,
    /// Where it ends.
    pub(super) end: u64,
}

/// The next record in a segment.
#[derive(Debug)]
pub(super) enum Found {
    Record(FoundRecord),
    /// A record whose header is right and whose body is not.
    DamagedBody {
        header: RecordHeader,
        end: u64,
    },
    /// There is none. The rest of the segment, from this offset on, has no header.
    End {
        is_torn: bool,
    },
}

/// Where and what to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    pub(super) salt: u32,
    /// The least sequence that the next record may have …
    pub(super) sequence: u64,
    /// … and the one below which it is: that of the next segment.
    pub(super) limit: u64,
    /// Where to begin.
    pub(super) offset: u64,
    /// The length of the segment.
    pub(super) length: u64,
}

impl Search {
    /// Finds the next record.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(super) fn find(&self, file: &File) -> io::Result<Found> {
        match self.header_at(file, self.offset)? {
            Candidate::Header(header) => return self.record(file, header, self.offset),
            Candidate::Torn => return Ok(Found::End { is_torn: true }),
            Candidate::None => {}
        }
        if self.length.saturating_sub(self.offset) < HEADER_BYTES as u64 {
            return Ok(Found::End { is_torn: true });
        }
        self.find_behind_damage(file)
    }

    fn find_behind_damage(&self, file: &File) -> io::Result<Found> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = self.offset + 1;
        while offset < self.length {
            let wanted = usize::try_from(self.length - offset).map_or(PIECE_BYTES, |rest| rest.min(PIECE_BYTES));
            let bytes = piece.get_mut(..wanted).unwrap_or_default();
            let read = read_at_most(file, bytes, offset)?;
            for at in memmem::find_iter(bytes.get(..read).unwrap_or_default(), &MAGIC) {
                let at = offset + at as u64;
                match self.header_at(file, at)? {
                    Candidate::Header(header) => return self.record(file, header, at),
                    Candidate::Torn | Candidate::None => {}
                }
            }
            if read < wanted {
                break;
            }
            // The magic may be on the edge of two pieces.
            offset += (read - (MAGIC.len() - 1).min(read - 1)) as u64;
        }
        Ok(Found::End { is_torn: false })
    }

    fn header_at(&self, file: &File, offset: u64) -> io::Result<Candidate> {
        let mut bytes = [0; HEADER_BYTES];
        if offset.saturating_add(HEADER_BYTES as u64) > self.length
            || read_at_most(file, &mut bytes, offset)? < HEADER_BYTES
        {
            return Ok(Candidate::None);
        }
        let header = RecordHeader::parse(&bytes, self.salt);
        let header = header.filter(|header| (self.sequence..self.limit).contains(&header.mark.sequence));
        Ok(match header {
            Some(header) if offset + header.record_bytes() <= self.length => Candidate::Header(header),
            Some(_) => Candidate::Torn,
            None => Candidate::None,
        })
    }

    fn record(&self, file: &File, header: RecordHeader, offset: u64) -> io::Result<Found> {
        let mut body = vec![0; header.body_bytes as usize];
        let read = read_at_most(file, &mut body, offset + HEADER_BYTES as u64)?;
        body.truncate(read);
        let end = offset + header.record_bytes();
        if header.has_body(&body, self.salt) {
            Ok(Found::Record(FoundRecord { header, body: body.into(), end }))
        } else {
            Ok(Found::DamagedBody { header, end })
        }
    }
}

/// A header at an offset.
enum Candidate {
    Header(RecordHeader),
    /// A header whose record is longer than the segment.
    Torn,
    None,
}
