//! The segments of a spool, and how their records are found: one after the other, across damage and missing files. A segment that
//! cannot be read by this version is moved aside; one without a header that can be read is removed. What is lost by that shows in
//! the marks of the records behind it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::aside::Aside;
use super::counts::Mark;
use super::directory::{self, ListedSegment, read_beginning, remove_file};
use super::position::Position;
use super::record::RecordHeader;
use super::scan::{Found, FoundRecord, Search};
use super::segment::{self, HeaderError, SegmentHeader, SpoolIdentity};

/// How often a part of a segment is read that the disk fails to read, before the rest of this segment is given up.
const READ_ATTEMPTS: u32 = 5;

/// The remedy for a segment whose requests this version cannot send.
const OTHER_VERSION: &str = "run the version that wrote it, and give the file its name back; or remove it";

/// A segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// The sequence of its first record.
    pub(super) first: u64,
    pub(super) bytes: u64,
    /// Where it begins, once that is known.
    pub(super) start: Option<Start>,
}

/// The beginning of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) mark: Mark,
    /// The time of the first record: all in the segments before it are no newer.
    pub(super) time: Duration,
}

/// The segments, oldest first.
#[derive(Debug)]
pub(super) struct Segments {
    directory: PathBuf,
    /// The requests that can be sent. None where nothing is sent, and any are read.
    identity: Option<SpoolIdentity>,
    list: VecDeque<Segment>,
    /// All of them together.
    bytes: u64,
    /// The files that were moved aside.
    aside: Aside,
    /// The segment that was read last.
    reader: Option<Reader>,
    /// How often the segment with this first sequence could not be read.
    failures: (u64, u32),
}

/// An open segment.
#[derive(Debug)]
struct Reader {
    first: u64,
    file: File,
    header: SegmentHeader,
}

/// A record, and where the next one is looked for.
#[derive(Debug)]
pub(super) struct NextRecord {
    pub(super) record: FoundRecord,
    /// Where the record is.
    pub(super) at: Position,
    pub(super) after: Position,
}

/// The last segment, as it was found.
#[derive(Debug)]
pub(super) struct LastSegment {
    pub(super) header: SegmentHeader,
    /// The place after its last record.
    pub(super) end: Mark,
    /// The time of this record.
    pub(super) newest: Duration,
    /// Whether there are bytes behind it that are no part of a record.
    pub(super) is_damaged: bool,
    /// Whether the disk can read all of it.
    pub(super) is_readable: bool,
}

/// The result of opening a segment.
enum Opened {
    Header(SegmentHeader, File),
    /// It is not there any more, or was taken out of the list.
    Gone,
}

impl Segments {
    /// Lists a directory.
    pub(super) fn load(directory: &Path, identity: Option<SpoolIdentity>) -> io::Result<Self> {
        let listing = directory::list(directory)?;
        let segment = |ListedSegment { first, bytes }| Segment { first, bytes, start: None };
        let list: VecDeque<Segment> = listing.segments.into_iter().map(segment).collect();
        Ok(Self {
            directory: directory.to_owned(),
            identity,
            bytes: list.iter().map(|segment| segment.bytes).sum(),
            list,
            aside: Aside::new(listing.aside),
            reader: None,
            failures: (0, 0),
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn set_identity(&mut self, identity: SpoolIdentity) {
        self.identity = Some(identity);
    }

    pub(super) fn list(&self) -> &VecDeque<Segment> {
        &self.list
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn aside(&mut self) -> &mut Aside {
        &mut self.aside
    }

    pub(super) fn path(&self, first: u64) -> PathBuf {
        self.directory.join(segment::name(first))
    }

    /// Adds a segment that was just made.
    pub(super) fn push(&mut self, header: &SegmentHeader, bytes: u64) {
        let start = Some(Start { mark: header.mark, time: header.time });
        self.list.push_back(Segment { first: header.mark.sequence, bytes, start });
        self.bytes += bytes;
    }

    /// The last segment is so long now.
    pub(super) fn set_last_bytes(&mut self, bytes: u64) {
        if let Some(last) = self.list.back_mut() {
            self.bytes = self.bytes - last.bytes + bytes;
            last.bytes = bytes;
        }
    }

    /// Takes a segment out of the list.
    pub(super) fn forget(&mut self, first: u64) {
        if self.reader.as_ref().is_some_and(|reader| reader.first == first) {
            self.reader = None;
        }
        if let Ok(at) = self.list.binary_search_by_key(&first, |segment| segment.first) {
            self.bytes -= self.list.remove(at).map_or(0, |segment| segment.bytes);
        }
    }

    /// Removes the file of a segment.
    pub(super) fn remove(&mut self, first: u64) -> io::Result<()> {
        remove_file(&self.path(first))?;
        self.forget(first);
        Ok(())
    }

    /// Forgets the segments that somebody else has removed.
    pub(super) fn forget_missing(&mut self) -> io::Result<()> {
        let there = directory::list(&self.directory)?.segments;
        let is_there = |first| there.binary_search_by_key(&first, |listed| listed.first).is_ok();
        let missing: Vec<u64> =
            self.list.iter().map(|segment| segment.first).filter(|first| !is_there(*first)).collect();
        for first in missing {
            self.forget(first);
        }
        Ok(())
    }

    /// Where a segment begins. None if that cannot be read.
    pub(super) fn start(&mut self, index: usize) -> Option<Start> {
        let segment = self.list.get(index)?;
        if segment.start.is_some() {
            return segment.start;
        }
        let file = File::open(self.path(segment.first)).ok()?;
        let header = SegmentHeader::parse(&read_beginning(&file).ok()?).ok()?;
        let start =
            Some(Start { mark: header.mark, time: header.time }).filter(|_| header.mark.sequence == segment.first);
        if let Some(segment) = self.list.get_mut(index) {
            segment.start = start;
        }
        start
    }

    /// Finds the last record of the last segment that can be read, and takes those out of the list that come after it. None where
    /// there is no such segment.
    pub(super) fn find_last(&mut self) -> io::Result<Option<LastSegment>> {
        while let Some(&Segment { first, bytes, .. }) = self.list.back() {
            let Opened::Header(header, file) = self.open(first)? else { continue };
            let (mut mark, mut newest) = (header.mark, header.time);
            let mut search = search_from(&header, &Position { mark, segment: first, offset: 0 }, bytes);
            let (is_damaged, is_readable) = loop {
                let (found, end) = match search.find(&file) {
                    Ok(Found::Record(FoundRecord { header, end, .. }) | Found::DamagedBody { header, end }) => {
                        (header, end)
                    }
                    Ok(Found::End { is_torn }) => break (search.offset < bytes && !is_torn, true),
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => break (true, false),
                    Err(error) => return Err(error),
                };
                (mark, newest) = (found.end(), found.time);
                search = Search { offset: end, sequence: mark.sequence, ..search };
            };
            if is_readable {
                self.set_last_bytes(search.offset);
            }
            return Ok(Some(LastSegment { header, end: mark, newest, is_damaged, is_readable }));
        }
        Ok(None)
    }

    /// The next record at a position or after it, before the sequence at which the spool ends. None where there is no more.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, and another attempt may succeed.
    pub(super) fn next(&mut self, position: &Position, end: u64) -> io::Result<Option<NextRecord>> {
        let mut position = *position;
        loop {
            let at = self.list.partition_point(|segment| segment.first < position.segment);
            let Some(&Segment { first, bytes, .. }) = self.list.get(at) else { return Ok(None) };
            if first != position.segment {
                position = Position { segment: first, offset: 0, ..position };
            }
            let limit = self.list.get(at + 1).map_or(end, |next| next.first);
            match self.next_in(&position, bytes, limit) {
                Ok(Some(next)) => {
                    self.failures = (0, 0);
                    return Ok(Some(next));
                }
                Ok(None) => {}
                Err(error) if self.is_given_up(first, &error) => {}
                Err(error) => return Err(error),
            }
            // One that is gone has left its place to the next.
            position = Position { segment: first.saturating_add(1), offset: 0, ..position };
        }
    }

    /// Whether a segment that cannot be read is given up: the disk has lost a part of it.
    fn is_given_up(&mut self, first: u64, error: &io::Error) -> bool {
        if Errno::from_io_error(error) != Some(Errno::IO) {
            return false;
        }
        let earlier = if self.failures.0 == first { self.failures.1 } else { 0 };
        self.failures = (first, earlier + 1);
        self.failures.1 >= READ_ATTEMPTS
    }

    /// The next record in a segment of this length, whose records have sequences below the limit.
    fn next_in(&mut self, position: &Position, bytes: u64, limit: u64) -> io::Result<Option<NextRecord>> {
        let first = position.segment;
        let reader = match self.reader.take().filter(|reader| reader.first == first) {
            Some(reader) => reader,
            None => match self.open(first)? {
                Opened::Header(header, file) => Reader { first, file, header },
                Opened::Gone => return Ok(None),
            },
        };
        let mut search = Search { limit, ..search_from(&reader.header, position, bytes) };
        let found = loop {
            match search.find(&reader.file) {
                Ok(Found::Record(record)) => break Ok(Some(record)),
                Ok(Found::DamagedBody { header, end }) => {
                    search = Search { offset: end, sequence: header.end().sequence, ..search };
                }
                Ok(Found::End { .. }) => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        self.reader = Some(reader);
        Ok(found?.map(|record| {
            let RecordHeader { mark, .. } = record.header;
            let begin = record.end - record.header.record_bytes();
            let at = Position { mark, segment: first, offset: begin };
            NextRecord { at, after: Position { mark: record.header.end(), segment: first, offset: record.end }, record }
        }))
    }

    /// Opens a segment and reads its header. One whose requests cannot be sent is taken out of the list.
    fn open(&mut self, first: u64) -> io::Result<Opened> {
        let path = self.path(first);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(first);
                return Ok(Opened::Gone);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // The requests behind it do not wait for somebody to permit that.
                let remedy = "let the agent's user read it, and give the file its name back; or remove it";
                self.move_aside(first, "the agent's user may not read it", remedy);
                return Ok(Opened::Gone);
            }
            Err(error) => return Err(error),
        };
        match SegmentHeader::parse(&read_beginning(&file)?) {
            Ok(header) if header.mark.sequence != first => self.discard(first),
            Ok(header) => match self.identity.and_then(|identity| unsendable(&header, &identity)) {
                Some(reason) => self.move_aside(first, reason, OTHER_VERSION),
                None => return Ok(Opened::Header(header, file)),
            },
            Err(HeaderError::Newer { .. }) => {
                self.move_aside(first, "a newer version of the agent wrote it, in a newer format", OTHER_VERSION);
            }
            Err(HeaderError::Damaged) => self.discard(first),
        }
        Ok(Opened::Gone)
    }

    /// Takes a segment out of the list that nobody can read, and removes its file if that is possible.
    pub(super) fn discard(&mut self, first: u64) {
        let _ = remove_file(&self.path(first));
        self.forget(first);
    }

    /// Takes a segment out of the list whose requests this version cannot send. The file stays in its place where it cannot be
    /// renamed.
    fn move_aside(&mut self, first: u64, reason: &str, remedy: &str) {
        let (path, aside) = (self.path(first), self.directory.join(segment::aside_name(first)));
        self.forget(first);
        let at = match fs::rename(&path, &aside) {
            Ok(()) => {
                self.aside.push(aside.clone());
                aside
            }
            Err(_) => path,
        };
        tracing::warn!(path = %at.display(), reason, remedy, "spool file moved aside");
    }
}

/// Why the requests of a segment cannot be sent by a sink; none if they can.
fn unsendable(header: &SegmentHeader, identity: &SpoolIdentity) -> Option<&'static str> {
    if header.kind != identity.kind {
        return Some("another kind of sink wrote it");
    }
    (header.protocol > identity.protocol).then_some("a newer version of the agent wrote it, for a newer protocol")
}

/// Looks for the next record at a position of a segment with this length.
fn search_from(header: &SegmentHeader, position: &Position, length: u64) -> Search {
    Search {
        salt: header.salt,
        sequence: position.mark.sequence.max(position.segment),
        limit: u64::MAX,
        offset: position.offset.max(header.length.into()),
        length,
    }
}
