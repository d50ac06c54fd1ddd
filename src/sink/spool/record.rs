//! The record of a request: a header of 64 bytes and the body, each with its checksum. A header that is right says where the next
//! record begins also when the body is damaged. Both checksums are salted by segment: bytes of another file, or of a body that looks
//! like a record, are no record here.
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic |
//! | 4 | 4 | checksum of the bytes from 8 to 64 |
//! | 8 | 4 | length of the body |
//! | 12 | 4 | checksum of the body |
//! | 16 | 8 | sequence |
//! | 24 | 24 | requests, samples and points before it |
//! | 48 | 8 | time, in nanoseconds since the Unix epoch |
//! | 56 | 4 | points |
//! | 60 | 4 | 1 for the last request of its sample, otherwise 0 |

use std::time::Duration;

use super::counts::{Counts, Mark};
use super::fields::{Fields, checksum};
use crate::sink::request::Request;

/// The length of a record's header.
pub(super) const HEADER_BYTES: usize = 64;

/// The first bytes of a record.
pub(super) const MAGIC: [u8; 4] = [0xf5, b'r', b'e', 0xc1];

/// Where the bytes begin that the header's checksum covers.
const COVERED: usize = 8;

/// The longest body: far more than any receiver takes in one request.
pub(super) const MAX_BODY_BYTES: usize = 64 << 20;

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// The place of the record. Its sequence is the record's own.
    pub(super) mark: Mark,
    pub(super) time: Duration,
    pub(super) points: u32,
    pub(super) is_last: bool,
    pub(super) body_bytes: u32,
    body_checksum: u32,
}

impl RecordHeader {
    /// The header in these bytes, if they are one.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES], salt: u32) -> Option<Self> {
        let mut fields = Fields(bytes);
        let magic = fields.bytes(MAGIC.len())?;
        let own_checksum = fields.word()?;
        if magic != MAGIC || own_checksum != checksum(salt, bytes.get(COVERED..)?) {
            return None;
        }
        let (body_bytes, body_checksum) = (fields.word()?, fields.word()?);
        let sequence = fields.long()?;
        let before = Counts { requests: fields.long()?, samples: fields.long()?, points: fields.long()? };
        let time = Duration::from_nanos(fields.long()?);
        let (points, is_last) = (fields.word()?, fields.word()?);
        let mark = Mark { sequence, before };
        Some(Self { mark, time, points, is_last: is_last == 1, body_bytes, body_checksum })
            .filter(|header| is_last <= 1 && header.body_bytes as usize <= MAX_BODY_BYTES && mark.is_plausible())
    }

    /// Whether this is the body.
    pub(super) fn has_body(&self, body: &[u8], salt: u32) -> bool {
        body.len() == self.body_bytes as usize && checksum(salt, body) == self.body_checksum
    }

    /// The length of the record.
    pub(super) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// The place after the record.
    pub(super) fn end(&self) -> Mark {
        self.mark.after(self.points, self.is_last)
    }
}

/// The length of the record of a request; none for a request that is too long.
pub(super) fn record_bytes(request: &Request) -> Option<u64> {
    (request.body.len() <= MAX_BODY_BYTES).then(|| (HEADER_BYTES + request.body.len()) as u64)
}

/// Appends the record of a request at a place, which is not too long.
pub(super) fn push_record(bytes: &mut Vec<u8>, mark: Mark, request: &Request, salt: u32) {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(u32::try_from(request.body.len()).unwrap_or(u32::MAX).to_le_bytes());
    header.extend(checksum(salt, &request.body).to_le_bytes());
    let Counts { requests, samples, points } = mark.before;
    let time = u64::try_from(request.time.as_nanos()).unwrap_or(u64::MAX);
    for number in [mark.sequence, requests, samples, points, time] {
        header.extend(number.to_le_bytes());
    }
    header.extend(request.points.to_le_bytes());
    header.extend(u32::from(request.is_last).to_le_bytes());
    bytes.extend(MAGIC);
    bytes.extend(checksum(salt, &header).to_le_bytes());
    bytes.extend(header);
    bytes.extend_from_slice(&request.body);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::spool::counts::MAX_NUMBER;

    proptest! {
        #[test]
        fn record_is_read_as_it_was_written(
            sequence in 0..MAX_NUMBER, before in (0..MAX_NUMBER, 0..MAX_NUMBER, 0..MAX_NUMBER), time: u64, points: u32, is_last: bool, salt: u32,
            body in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let before = Counts { requests: before.0, samples: before.1, points: before.2 };
            let mark = Mark { sequence, before };
            let request = Request { time: Duration::from_nanos(time), points, is_last, body: body.into() };
            let mut bytes = Vec::new();
            push_record(&mut bytes, mark, &request, salt);
            prop_assert_eq!(record_bytes(&request), Some(bytes.len() as u64));
            let (header, body) = bytes.split_first_chunk().expect("a header");
            let read = RecordHeader::parse(header, salt).expect("right");
            prop_assert_eq!((read.mark, read.time, read.points, read.is_last), (mark, request.time, points, is_last));
            prop_assert!(read.has_body(body, salt));
            prop_assert_eq!(RecordHeader::parse(header, salt ^ 1), None);
            prop_assert!(!read.has_body(body, salt ^ 1));
        }

        #[test]
        fn any_flipped_bit_is_rejected(salt: u32, bit in 0..8 * (HEADER_BYTES + 3)) {
            let request = Request { time: Duration::from_secs(7), points: 3, is_last: true, body: "abc".into() };
            let mut bytes = Vec::new();
            push_record(&mut bytes, Mark::BEGINNING, &request, salt);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (header, body) = bytes.split_first_chunk().expect("a header");
            prop_assert!(RecordHeader::parse(header, salt).is_none_or(|header| !header.has_body(body, salt)));
        }
    }
}
