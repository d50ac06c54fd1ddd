//! Segments: the files of a spool, named by the sequence of their first record. The header names the format, and the kind, the
//! protocol version and the naming of the requests. Its first 20 bytes are the same in every format, so that an older agent knows
//! a segment that it cannot read, and for how long it is to be kept.
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 2 | format |
//! | 10 | 2 | length of the header |
//! | 12 | 4 | for how long the records are kept, in seconds |
//! | 16 | 4 | checksum of the bytes before it |
//! | 20 | 4 | checksum of the bytes after it |
//! | 24 | 8 | sequence of the first record |
//! | 32 | 24 | requests, samples and points before it |
//! | 56 | 8 | time of the first record, in nanoseconds since the Unix epoch |
//! | 64 | 4 | salt of the records' checksums |
//! | 68 | 2 | version of the protocol |
//! | 70 | 1, 1 | lengths of kind and naming |
//! | 72 | | kind, naming |

use std::ffi::OsStr;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use super::counts::{Counts, MAX_NUMBER, Mark};
use super::fields::{Fields, checksum};

/// The format that this version writes.
const FORMAT: u16 = 1;

const MAGIC: &[u8; 8] = b"gauspool";

/// Where the checksum of the part is that all formats share.
const PREFIX_BYTES: usize = 16;

/// Where the bytes begin that the other checksum covers.
const COVERED: usize = 24;

/// The longest header: kind and naming have at most 255 bytes.
pub(super) const MAX_HEADER_BYTES: usize = 72 + 2 * 255;

/// The end of a segment's name.
const SUFFIX: &str = ".seg";

/// The end of the name of a file that was moved aside.
const ASIDE_SUFFIX: &str = ".seg.aside";

/// The requests of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpoolIdentity {
    /// The kind of the sink.
    pub(crate) kind: &'static str,
    /// The version of the kind's protocol: this one and all before can be sent.
    pub(crate) protocol: u16,
    pub(crate) naming: &'static str,
}

/// The header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The place of the first record.
    pub(super) mark: Mark,
    /// The time of the first record.
    pub(super) time: Duration,
    /// For how long the records are kept.
    pub(super) age: Duration,
    pub(super) salt: u32,
    pub(super) kind: String,
    pub(super) protocol: u16,
    pub(super) naming: String,
    /// The length of the header.
    pub(super) length: u16,
}

/// Why a segment cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// It is no header, or not a whole one.
    Damaged,
    /// A newer version of the agent wrote it.
    Newer { format: u16, age: Duration },
}

impl SegmentHeader {
    /// The header of a new segment, which begins at this place.
    pub(super) fn new(identity: &SpoolIdentity, age: Duration, mark: Mark, time: Duration) -> Self {
        let salt = RandomState::new().build_hasher().finish();
        let bounded = |text: &str| text.chars().take(63).collect::<String>();
        let (kind, naming) = (bounded(identity.kind), bounded(identity.naming));
        let length = 72 + kind.len() + naming.len();
        Self {
            mark,
            time,
            // The two halves are the same good.
            salt: u32::try_from(salt & u64::from(u32::MAX)).unwrap_or_default(),
            age,
            kind,
            protocol: identity.protocol,
            naming,
            length: u16::try_from(length).unwrap_or_default(),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut covered = Vec::with_capacity(MAX_HEADER_BYTES);
        let Counts { requests, samples, points } = self.mark.before;
        let time = u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX);
        for number in [self.mark.sequence, requests, samples, points, time] {
            covered.extend(number.to_le_bytes());
        }
        covered.extend(self.salt.to_le_bytes());
        covered.extend(self.protocol.to_le_bytes());
        covered.extend([&self.kind, &self.naming].map(|text| u8::try_from(text.len()).unwrap_or_default()));
        covered.extend([&self.kind, &self.naming].into_iter().flat_map(|text| text.bytes()));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(u32::try_from(self.age.as_secs()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(checksum(0, &bytes).to_le_bytes());
        bytes.extend(checksum(0, &covered).to_le_bytes());
        bytes.extend(covered);
        bytes
    }

    /// The header at the beginning of a file, of which these are the first bytes: all, or [`MAX_HEADER_BYTES`].
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut fields = Fields(bytes);
        let prefix = parse_prefix(&mut fields).ok_or(HeaderError::Damaged)?;
        match prefix {
            Prefix { format, age, .. } if format > FORMAT => Err(HeaderError::Newer { format, age }),
            Prefix { length, age, .. } => parse_rest(bytes, length, age).ok_or(HeaderError::Damaged),
        }
    }
}

/// The part that all formats share.
struct Prefix {
    format: u16,
    length: u16,
    age: Duration,
}

fn parse_prefix(fields: &mut Fields<'_>) -> Option<Prefix> {
    let bytes = fields.bytes(PREFIX_BYTES)?;
    if fields.word()? != checksum(0, bytes) {
        return None;
    }
    let mut fields = Fields(bytes);
    let is_ours = fields.bytes(MAGIC.len())? == MAGIC;
    let (format, length, age) = (fields.short()?, fields.short()?, fields.word()?);
    is_ours.then(|| Prefix { format, length, age: Duration::from_secs(age.into()) })
}

fn parse_rest(bytes: &[u8], length: u16, age: Duration) -> Option<SegmentHeader> {
    let header = bytes.get(..usize::from(length))?;
    let expected = Fields(header.get(COVERED - 4..)?).word()?;
    let covered = header.get(COVERED..)?;
    if expected != checksum(0, covered) {
        return None;
    }
    let mut fields = Fields(covered);
    let sequence = fields.long()?;
    let before = Counts { requests: fields.long()?, samples: fields.long()?, points: fields.long()? };
    let time = Duration::from_nanos(fields.long()?);
    let (salt, protocol) = (fields.word()?, fields.short()?);
    let lengths = [fields.byte()?, fields.byte()?];
    let [kind, naming] = lengths.map(|length| fields.bytes(length.into()).map(String::from_utf8_lossy));
    let (kind, naming) = (kind?.into_owned(), naming?.into_owned());
    let mark = Mark { sequence, before };
    mark.is_plausible().then_some(SegmentHeader { mark, time, age, salt, kind, protocol, naming, length })
}

/// The name of the segment whose first record has this sequence.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The name of such a segment when it is moved aside.
pub(super) fn aside_name(first: u64) -> String {
    format!("{first:020}{ASIDE_SUFFIX}")
}

/// A file of a spool, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedFile {
    Segment(u64),
    /// A segment that was moved aside.
    Aside(u64),
}

/// None for other files.
pub(super) fn parse_name(name: &OsStr) -> Option<NamedFile> {
    let name = name.to_str()?;
    let first = |digits: &str| {
        let is_right = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|first| is_right && *first < MAX_NUMBER)
    };
    match name.strip_suffix(ASIDE_SUFFIX) {
        Some(digits) => first(digits).map(NamedFile::Aside),
        None => name.strip_suffix(SUFFIX).and_then(first).map(NamedFile::Segment),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> SegmentHeader {
        let identity = SpoolIdentity { kind: "remote_write", protocol: 3, naming: "gauged" };
        let mark = Mark { sequence: 7, before: Counts { requests: 6, samples: 5, points: 4 } };
        SegmentHeader::new(&identity, Duration::from_secs(60), mark, Duration::from_millis(1234))
    }

    #[test]
    fn header_is_read_as_it_was_written() {
        let (header, mut bytes) = (header(), header().to_bytes());
        assert_eq!(SegmentHeader::parse(&bytes).map(|read| SegmentHeader { salt: header.salt, ..read }), Ok(header));
        bytes.extend([7; 100]);
        assert!(SegmentHeader::parse(&bytes).is_ok());
        assert_ne!(self::header().salt, self::header().salt);
    }

    #[test]
    fn newer_format_has_its_age() {
        let mut bytes = header().to_bytes();
        bytes[8] = 9;
        assert_eq!(SegmentHeader::parse(&bytes), Err(HeaderError::Damaged));
        let prefix = checksum(0, &bytes[..PREFIX_BYTES]);
        bytes[PREFIX_BYTES..PREFIX_BYTES + 4].copy_from_slice(&prefix.to_le_bytes());
        bytes.truncate(30);
        assert_eq!(SegmentHeader::parse(&bytes), Err(HeaderError::Newer { format: 9, age: Duration::from_secs(60) }));
    }

    #[test]
    fn names_have_twenty_digits() {
        assert_eq!(name(7), "00000000000000000007.seg");
        for first in [0, 7, MAX_NUMBER - 1] {
            assert_eq!(parse_name(OsStr::new(&name(first))), Some(NamedFile::Segment(first)));
            assert_eq!(parse_name(OsStr::new(&aside_name(first))), Some(NamedFile::Aside(first)));
        }
        for other in [
            "7.seg",
            "position",
            "+0000000000000000007.seg",
            "99999999999999999999.seg",
            "18446744073709551615.seg",
            ".seg",
        ] {
            assert_eq!(parse_name(OsStr::new(other)), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn damaged_header_is_rejected(cut in 0_usize..100, bit in 0_usize..800) {
            let mut bytes = header().to_bytes();
            let cut = cut % bytes.len();
            prop_assert_eq!(SegmentHeader::parse(&bytes[..cut]), Err(HeaderError::Damaged));
            let bit = bit % (8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(SegmentHeader::parse(&bytes), Err(HeaderError::Damaged));
        }
    }
}
