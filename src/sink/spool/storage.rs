//! A spool: requests on the disk, in order, until they are acknowledged. Each call may block.
//!
//! - Requests are appended to segments, files of 1 MiB. An append happens whole or not at all, and is not synced: it survives the
//!   end of the process at any moment, and a loss of power once its segment is complete.
//! - An acknowledgement writes the position. A process that is killed sends again at most what was acknowledged after the last
//!   position that was written.
//! - Damage is skipped, up to the next record that can be trusted, and its requests, samples and points are counted. Nothing that is
//!   found in the directory keeps the spool from being used.
//! - The oldest segment is dropped first, for the bounds of bytes and age. All that it had and that was not acknowledged is counted.
//! - When all is acknowledged, nothing is left, neither files nor directory. So the next request comes into another directory, where
//!   no position of an earlier one can be found again after a loss of power. The sequence goes on as long as the process runs.

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::Duration;

use super::backlog::{DiskBacklog, SpoolLosses};
use super::bounds::SpoolBounds;
use super::counts::{Counts, Mark};
use super::directory;
use super::error::{failed, not_synced, too_large};
use super::position::{NAME, Position, StoredPosition, Turn};
use super::record;
use super::segment::{MAX_HEADER_BYTES, SpoolIdentity};
use super::segments::{LastSegment, NextRecord, Segment, Segments};
use super::tail::{Kept, Tail};
use crate::sink::error::SinkError;
use crate::sink::request::Request;

/// The requests of a sink that are on the disk.
#[derive(Debug)]
pub(crate) struct Spool {
    segments: Segments,
    kept: Kept,
    /// The first request that is not acknowledged.
    head: Position,
    /// Its time, once it was found there.
    head_time: Option<Duration>,
    tail: Tail,
    /// Where to go on reading.
    cursor: Option<Position>,
    losses: SpoolLosses,
    /// Where the next position is written.
    turn: Turn,
    /// Whether the position on the disk is an older one.
    is_position_old: bool,
    /// Whether there may be a file.
    has_files: bool,
}

impl Spool {
    /// Opens the spool in a directory, which need not be there.
    ///
    /// # Errors
    ///
    /// When the directory or the end of the last segment cannot be read. Another attempt may succeed; damage is no error.
    pub(crate) fn open(directory: &Path, identity: SpoolIdentity, bounds: SpoolBounds) -> Result<Self, SinkError> {
        let opened = Self::open_directory(directory, Kept { identity, bounds }, Some(identity));
        opened.map_err(|error| failed("failed to read the spool in", directory, &error))
    }

    /// Removes a spool whose sink is gone. Returns what it had that was not acknowledged, as far as known.
    ///
    /// # Errors
    ///
    /// When it cannot be read or removed.
    pub(crate) fn remove(directory: &Path) -> Result<Counts, SinkError> {
        let (identity, mut removed) = (SpoolIdentity { kind: "", protocol: 0, naming: "" }, Counts::default());
        let kept = Kept { identity, bounds: SpoolBounds { bytes: 0, age: Duration::ZERO } };
        let opened = Self::open_directory(directory, kept, None);
        let mut spool = opened.map_err(|error| failed("failed to read the spool in", directory, &error))?;
        while let Some(dropped) = spool.drop_oldest()? {
            removed.add(dropped);
        }
        spool.segments.aside().remove_all();
        spool.has_files = true;
        spool.remove_all()?;
        removed.add(spool.take_losses().damaged);
        Ok(removed)
    }

    /// Opens a directory for what can be sent, or for any requests where nothing is sent.
    fn open_directory(directory: &Path, kept: Kept, sent: Option<SpoolIdentity>) -> io::Result<Self> {
        let mut segments = Segments::load(directory, sent)?;
        let stored = Position::read(directory)?;
        let has_files = stored != StoredPosition::None || !segments.list().is_empty();
        let mut losses = SpoolLosses::default();
        let last = segments.find_last()?;
        let (mut end, newest) = last.as_ref().map_or((Mark::BEGINNING, Duration::ZERO), |last| (last.end, last.newest));
        if let StoredPosition::Known(position, _) = stored
            && position.mark.sequence > end.sequence
        {
            end = position.mark;
        }
        end.sequence = end.sequence.max(segments.aside().next_sequence());
        let mut found = None;
        if let Some(LastSegment { header, end: last_end, is_damaged, is_readable, .. }) = last {
            losses.damaged.requests += u64::from(is_damaged);
            if last_end == header.mark {
                // It has no record, and the next segment may have its name.
                segments.discard(header.mark.sequence);
            } else if is_readable && last_end == end {
                found = Some(header);
            }
        }
        let (head, turn) = match stored {
            StoredPosition::Known(position, turn) => (position, turn.next()),
            StoredPosition::None => (first_position(&mut segments, end), Turn::First),
            StoredPosition::Damaged => (first_known_position(&mut segments, end, &mut losses), Turn::First),
        };
        let mut spool = Self {
            segments,
            kept,
            head,
            head_time: None,
            tail: Tail::new(end, newest, found),
            cursor: None,
            losses,
            turn,
            is_position_old: false,
            has_files,
        };
        // Where that fails, the next call tries it again.
        let _ = spool.find_head();
        Ok(spool)
    }

    /// Drops the oldest segment, since there is no room for newer requests.
    ///
    /// # Errors
    ///
    /// When its file cannot be removed.
    pub(crate) fn drop_for_room(&mut self) -> Result<(), SinkError> {
        if let Some(dropped) = self.drop_oldest()? {
            self.losses.full.add(dropped);
        }
        Ok(())
    }

    /// Goes on with other bounds, and with requests of another naming or version.
    pub(crate) fn configure(&mut self, identity: SpoolIdentity, bounds: SpoolBounds) {
        self.segments.set_identity(identity);
        self.kept = Kept { identity, bounds };
    }

    /// Appends requests. Returns the sequence of the first one; each has the one after that of the request before it. The oldest
    /// segments are dropped to make room.
    ///
    /// # Errors
    ///
    /// When they cannot be written. Then none of them is in the spool.
    pub(crate) fn append(&mut self, requests: &[Request]) -> Result<u64, SinkError> {
        let most = self.kept.bounds.bytes.saturating_sub(MAX_HEADER_BYTES as u64);
        let length = |request: &Request| record::record_bytes(request).unwrap_or(u64::MAX);
        let bytes = requests.iter().map(length).fold(MAX_HEADER_BYTES as u64, u64::saturating_add);
        if let Some(long) = requests.iter().map(length).find(|length| *length > most) {
            return Err(too_large(long, most));
        }
        self.has_files = true;
        if !self.tail.prepare(&self.segments) {
            // Where the directory cannot be listed, what is missing is noticed when it is read.
            let _ = self.segments.forget_missing();
            self.head_time = None;
            let _ = self.find_head();
        }
        while self.segments.bytes().saturating_add(bytes) > self.kept.bounds.bytes
            && let Some(dropped) = self.drop_oldest()?
        {
            self.losses.full.add(dropped);
        }
        let first = self.tail.end().sequence;
        let appended = self.tail.append(&mut self.segments, &self.kept, requests);
        appended.map_err(|error| failed("failed to write to the spool in", self.segments.directory(), &error))?;
        if self.head_time.is_none() && first == self.head.mark.sequence {
            self.head_time = requests.first().map(|request| request.time);
        }
        Ok(first)
    }

    /// The next requests from a sequence on, each with its own: at least one, if there is one, and not many more bytes than
    /// `max_bytes`. Damaged ones are left out.
    ///
    /// # Errors
    ///
    /// When they cannot be read. Another attempt may succeed.
    pub(crate) fn read(&mut self, from: u64, max_bytes: usize) -> Result<Vec<(u64, Request)>, SinkError> {
        self.find_head()?;
        let mut position = match self.cursor {
            _ if from <= self.head.mark.sequence => self.head,
            Some(cursor) if cursor.mark.sequence == from => cursor,
            _ => self.position_of(from),
        };
        let (mut requests, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes || requests.is_empty() {
            let next = match self.segments.next(&position, self.tail.end().sequence) {
                Ok(Some(next)) => next,
                Err(error) if requests.is_empty() => return Err(self.unreadable(&error)),
                Ok(None) | Err(_) => break,
            };
            position = next.after;
            let NextRecord { record, at, .. } = next;
            if at.mark.sequence >= from {
                bytes += record.body.len();
                let (header, body) = (record.header, record.body);
                let request = Request { time: header.time, points: header.points, is_last: header.is_last, body };
                requests.push((at.mark.sequence, request));
            }
        }
        self.cursor = Some(position);
        if requests.is_empty() && from <= self.head.mark.sequence {
            // The requests there were damaged since.
            self.head_time = None;
            self.find_head()?;
        }
        Ok(requests)
    }

    /// The beginning of the segment that has a sequence, which is not acknowledged.
    fn position_of(&self, sequence: u64) -> Position {
        let list = self.segments.list();
        let after = list.partition_point(|segment| segment.first <= sequence);
        match list.get(after.wrapping_sub(1)).filter(|segment| segment.first > self.head.segment) {
            Some(&Segment { first, .. }) => {
                Position { mark: Mark { sequence: first, ..self.head.mark }, segment: first, offset: 0 }
            }
            None => self.head,
        }
    }

    /// Acknowledges all requests up to this sequence. When these are all, nothing is left on the disk.
    ///
    /// # Errors
    ///
    /// When that cannot be recorded on the disk: after the end of the process these requests are sent again.
    pub(crate) fn acknowledge(&mut self, through: u64) -> Result<(), SinkError> {
        while self.head.mark.sequence <= through && !self.is_empty() {
            match self.segments.next(&self.head, self.tail.end().sequence).map_err(|error| self.unreadable(&error))? {
                Some(next) if next.at.mark.sequence <= through => {
                    self.lose_until(next.at.mark);
                    self.move_head(next.after);
                }
                Some(_) => break,
                None => self.lose_rest(),
            }
        }
        self.find_head()?;
        self.store_progress()
    }

    /// Whether all is acknowledged.
    fn is_empty(&self) -> bool {
        self.head.mark.sequence >= self.tail.end().sequence
    }

    /// Makes sure that the first request that waits is one that can be read, and knows its time.
    fn find_head(&mut self) -> Result<(), SinkError> {
        if self.head_time.is_none() && !self.is_empty() {
            match self.segments.next(&self.head, self.tail.end().sequence).map_err(|error| self.unreadable(&error))? {
                Some(NextRecord { at, record, .. }) => {
                    self.lose_until(at.mark);
                    self.head = at;
                    self.head_time = Some(record.header.time);
                }
                None => self.lose_rest(),
            }
        }
        if self.is_empty() { self.remove_all() } else { Ok(()) }
    }

    /// Counts the requests from the head to a mark as damaged.
    fn lose_until(&mut self, mark: Mark) {
        self.losses.damaged.add(mark.before.since(self.head.mark.before));
    }

    /// None of the requests that wait can be read.
    fn lose_rest(&mut self) {
        self.lose_until(self.tail.end());
        self.move_head(Position { mark: self.tail.end(), ..self.head });
    }

    fn move_head(&mut self, position: Position) {
        self.head = position;
        self.head_time = None;
        self.is_position_old = true;
    }

    /// Writes the position, and then removes the segments that are acknowledged: a process that is killed in between knows that they
    /// are.
    fn store_progress(&mut self) -> Result<(), SinkError> {
        if self.is_empty() {
            return self.remove_all();
        }
        let written = self.write_position();
        let oldest = |segments: &Segments| segments.list().front().map(|segment| segment.first);
        while let Some(first) = oldest(&self.segments).filter(|first| *first < self.head.segment) {
            self.remove_segment(first)?;
        }
        // A full disk may have room now.
        written.or_else(|_| self.write_position())
    }

    /// Writes the position, if the one on the disk is an older one.
    fn write_position(&mut self) -> Result<(), SinkError> {
        if self.is_position_old {
            let directory = self.segments.directory();
            let written = self.head.write(directory, self.turn);
            written.map_err(|error| failed("failed to write the position in", directory, &error))?;
            (self.turn, self.is_position_old) = (self.turn.next(), false);
        }
        Ok(())
    }

    /// Removes all files, the position last: until then it says that the others are acknowledged.
    fn remove_all(&mut self) -> Result<(), SinkError> {
        if !self.segments.list().is_empty() {
            // Where that fails, and the process is killed now, some are sent again.
            let _ = self.write_position();
        }
        let end = self.tail.leave_all();
        self.head = Position { mark: end, segment: end.sequence, offset: 0 };
        (self.head_time, self.cursor, self.is_position_old) = (None, None, false);
        if !self.has_files {
            return Ok(());
        }
        while let Some(first) = self.segments.list().front().map(|segment| segment.first) {
            self.remove_segment(first)?;
        }
        let position = self.segments.directory().join(NAME);
        directory::remove_file(&position).map_err(|error| failed("failed to remove", &position, &error))?;
        self.has_files = false;
        // Files that were moved aside stay in it.
        let _ = std::fs::remove_dir(self.segments.directory());
        Ok(())
    }

    fn remove_segment(&mut self, first: u64) -> Result<(), SinkError> {
        self.segments.remove(first).map_err(|error| failed("failed to remove", &self.segments.path(first), &error))
    }

    /// Drops the oldest segment. Returns what it had that was not acknowledged; none if there is no segment.
    ///
    /// # Errors
    ///
    /// When its file cannot be removed.
    pub(crate) fn drop_oldest(&mut self) -> Result<Option<Counts>, SinkError> {
        let Some(&Segment { first, .. }) = self.segments.list().front() else { return Ok(None) };
        let next = self.segments.list().get(1).map(|next| next.first);
        let mark = match next {
            // One whose beginning cannot be read is passed over, and what is dropped now is counted with it.
            Some(_) => self.segments.start(1).map_or(self.head.mark, |start| start.mark),
            None => self.tail.end(),
        };
        let is_acknowledged = self.head.segment > first;
        let (head, head_time) = (self.head, self.head_time);
        if !is_acknowledged {
            self.move_head(Position { mark, segment: next.unwrap_or(first), offset: 0 });
            // Before the segment is gone: what it had is not to be counted again after a kill.
            let _ = self.write_position();
        }
        if let Err(error) = self.remove_segment(first) {
            (self.head, self.head_time, self.is_position_old) = (head, head_time, true);
            return Err(error);
        }
        if next.is_none() {
            self.tail.leave_segment();
        }
        self.cursor = None;
        // Both are tried again by the next call.
        let _ = self.find_head().and_then(|()| self.store_progress());
        Ok(Some(if is_acknowledged { Counts::default() } else { mark.before.since(head.mark.before) }))
    }

    /// Drops the segments that are too old at this time, and those that exceed the bound of bytes.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub(crate) fn enforce(&mut self, now: Duration) -> Result<(), SinkError> {
        self.segments.aside().remove_old(now, self.kept.bounds.age);
        while self.segments.bytes() > self.kept.bounds.bytes
            && let Some(dropped) = self.drop_oldest()?
        {
            self.losses.full.add(dropped);
        }
        while self.is_oldest_expired(now)
            && let Some(dropped) = self.drop_oldest()?
        {
            self.losses.expired.add(dropped);
        }
        Ok(())
    }

    /// Whether all in the oldest segment is too old.
    fn is_oldest_expired(&mut self, now: Duration) -> bool {
        let following = (1..self.segments.list().len()).find_map(|index| self.segments.start(index));
        let newest = following.map_or(self.tail.newest(), |start| start.time);
        !self.segments.list().is_empty() && now.saturating_sub(newest) > self.kept.bounds.age
    }

    /// The requests that wait.
    pub(crate) fn backlog(&self) -> DiskBacklog {
        let end = self.tail.end();
        DiskBacklog {
            waiting: end.before.since(self.head.mark.before),
            bytes: self.segments.bytes(),
            oldest: self.head_time,
            first: self.head.mark.sequence,
            next: end.sequence,
        }
    }

    /// The losses since the last call.
    pub(crate) fn take_losses(&mut self) -> SpoolLosses {
        std::mem::take(&mut self.losses)
    }

    /// Waits until the complete segments are on the disk.
    ///
    /// # Errors
    ///
    /// When that fails. It is not tried again for them: the kernel has given them up.
    pub(crate) fn sync_complete(&mut self) -> Result<(), SinkError> {
        let synced = self.tail.sync_complete(&self.segments);
        synced.map_err(|error| not_synced(self.segments.directory(), &error))
    }

    /// Waits until all is on the disk, up to the entry of the directory in those above it.
    ///
    /// # Errors
    ///
    /// When that fails. All is written, and survives the end of the process.
    pub(crate) fn sync(&mut self) -> Result<(), SinkError> {
        let complete = self.sync_complete();
        if self.segments.list().is_empty() {
            return complete;
        }
        let path = self.segments.directory();
        // The directories of all spools, and the state directory, which may be new, too.
        let above = path.ancestors().skip(1).take(2);
        let synced = self.tail.sync_written().and_then(|()| Position::sync(path)).and_then(|()| directory::sync(path));
        let synced = synced.and_then(|()| above.map(directory::sync).fold(Ok(()), io::Result::and));
        complete.and(synced.map_err(|error| not_synced(path, &error)))
    }

    fn unreadable(&self, error: &io::Error) -> SinkError {
        failed("failed to read from the spool in", self.segments.directory(), error)
    }
}

/// The place before all segments of a spool in which nothing was ever acknowledged or dropped.
fn first_position(segments: &mut Segments, end: Mark) -> Position {
    let Some(first) = segments.list().front().map(|segment| segment.first) else {
        return Position { mark: end, segment: end.sequence, offset: 0 };
    };
    // Counts begin at 0 where a spool does.
    let beginning = Mark { sequence: first, ..Mark::BEGINNING };
    Position { mark: segments.start(0).map_or(beginning, |start| start.mark), segment: first, offset: 0 }
}

/// The first place with a mark, where it is not known what was acknowledged. Of what comes before it, only the sequences are known.
fn first_known_position(segments: &mut Segments, end: Mark, losses: &mut SpoolLosses) -> Position {
    let first = segments.list().front().map_or(end.sequence, |segment| segment.first);
    let start = (0..segments.list().len()).find_map(|index| segments.start(index));
    let mark = start.map_or(end, |start| start.mark);
    losses.damaged.requests += mark.sequence.saturating_sub(first);
    Position { mark, segment: mark.sequence, offset: 0 }
}
