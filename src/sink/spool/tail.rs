//! The end of a spool, where requests are appended: whole or not at all, also when they need several segments.

use std::fs::File;
use std::io;
use std::time::Duration;

use super::bounds::SpoolBounds;
use super::counts::Mark;
use super::directory;
use super::record::{push_record, record_bytes};
use super::segment::{SegmentHeader, SpoolIdentity};
use super::segments::Segments;
use super::writer::Writer;
use crate::sink::request::Request;

/// The end of a spool.
#[derive(Debug)]
pub(super) struct Tail {
    /// The place behind the last request.
    end: Mark,
    /// The time of the last request.
    newest: Duration,
    /// The last segment. None if there is none, or it cannot be written.
    writer: Option<Writer>,
    /// The header of the last segment as it was found, behind whose end can be written.
    found: Option<SegmentHeader>,
    /// Complete segments that are not synced.
    unsynced: Vec<File>,
}

/// The identity of appended requests, and how much of them is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) identity: SpoolIdentity,
    pub(super) bounds: SpoolBounds,
}

/// The state before an append.
struct Before {
    end: Mark,
    newest: Duration,
    /// The length of the segment that was written; none if there was none.
    length: Option<u64>,
    /// The segments that are complete since.
    complete: Vec<Writer>,
}

impl Tail {
    pub(super) fn new(end: Mark, newest: Duration, found: Option<SegmentHeader>) -> Self {
        Self { end, newest, writer: None, found, unsynced: Vec::new() }
    }

    pub(super) fn end(&self) -> Mark {
        self.end
    }

    pub(super) fn newest(&self) -> Duration {
        self.newest
    }

    /// The segment that is written is removed, or was.
    pub(super) fn leave_segment(&mut self) {
        (self.writer, self.found) = (None, None);
    }

    /// All is acknowledged: the next request begins a spool. Returns the place before it.
    pub(super) fn leave_all(&mut self) -> Mark {
        self.leave_segment();
        self.unsynced.clear();
        self.end = Mark { sequence: self.end.sequence, ..Mark::BEGINNING };
        self.end
    }

    /// Makes sure that records can be appended to the segment that is written. Returns whether its file is still at its path.
    pub(super) fn prepare(&mut self, segments: &Segments) -> bool {
        if let Some(header) = self.found.take() {
            let length = segments.list().back().map_or(0, |last| last.bytes);
            self.writer = Writer::resume(segments.directory(), header, length).ok();
        }
        if self.writer.as_ref().is_some_and(|writer| !writer.is_in_place()) {
            self.writer = None;
            return false;
        }
        if self.writer.as_mut().is_some_and(|writer| !writer.is_whole()) {
            self.unsynced.extend(self.writer.take().map(Writer::into_file));
        }
        true
    }

    /// Appends requests, or none of them.
    pub(super) fn append(&mut self, segments: &mut Segments, kept: &Kept, requests: &[Request]) -> io::Result<()> {
        let length = self.writer.as_ref().map(Writer::length);
        let mut before = Before { end: self.end, newest: self.newest, length, complete: Vec::new() };
        let mut rest = requests;
        while !rest.is_empty() {
            match self.append_to_segment(segments, kept, rest, &mut before) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => {
                    self.take_back(segments, before);
                    return Err(error);
                }
            }
        }
        self.unsynced.extend(before.complete.into_iter().map(Writer::into_file));
        Ok(())
    }

    /// Appends as many of these requests as the segment has room for, or a new one. Returns how many.
    fn append_to_segment(
        &mut self,
        segments: &mut Segments,
        kept: &Kept,
        requests: &[Request],
        before: &mut Before,
    ) -> io::Result<usize> {
        let first = requests.first();
        if let Some(writer) = self.writer.take_if(|writer| first.is_some_and(|first| !kept.fits(writer, first))) {
            before.complete.push(writer);
        }
        let time = first.map(|request| request.time).unwrap_or_default();
        let header = match &self.writer {
            Some(writer) => writer.header().clone(),
            None => SegmentHeader::new(&kept.identity, kept.bounds.age, self.end, time),
        };
        let begin = self.writer.as_ref().map_or(header.length.into(), Writer::length);
        let (mut records, mut end, mut newest, mut count) = (Vec::new(), self.end, self.newest, 0);
        for request in requests {
            let length = begin + records.len() as u64 + record_bytes(request).unwrap_or(u64::MAX / 2);
            let is_late = request.time.saturating_sub(header.time) > kept.bounds.segment_age();
            if count > 0 && (length > kept.bounds.segment_bytes() || is_late) {
                break;
            }
            push_record(&mut records, end, request, header.salt);
            (end, newest, count) = (end.after_request(request), request.time, count + 1);
        }
        if let Some(writer) = &mut self.writer {
            writer.append(&records)?;
            segments.set_last_bytes(writer.length());
        } else {
            let writer = Writer::create(segments.directory(), header, &records)?;
            segments.push(writer.header(), writer.length());
            self.writer = Some(writer);
        }
        (self.end, self.newest) = (end, newest);
        Ok(count)
    }

    /// Undoes an append: removes the segments that it has made, and makes the one before so long as it was.
    fn take_back(&mut self, segments: &mut Segments, before: Before) {
        (self.end, self.newest) = (before.end, before.newest);
        let mut complete = before.complete.into_iter();
        let is_new = before.length.is_none();
        if let Some(written) = complete.next() {
            self.writer = Some(written);
        } else if is_new {
            self.writer = None;
        }
        while let Some(first) =
            segments.list().back().map(|last| last.first).filter(|first| *first >= self.end.sequence)
        {
            // One that stays has sequences that are given again: the segment with them replaces it.
            let _ = segments.remove(first);
            segments.forget(first);
        }
        if let (Some(writer), Some(length)) = (&mut self.writer, before.length) {
            writer.shorten(length);
            segments.set_last_bytes(length);
        }
    }

    /// Waits until the complete segments are on the disk.
    pub(super) fn sync_complete(&mut self, segments: &Segments) -> io::Result<()> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let synced = std::mem::take(&mut self.unsynced).iter().map(File::sync_data).fold(Ok(()), io::Result::and);
        synced.and_then(|()| directory::sync(segments.directory()))
    }

    /// Waits until the segment that is written is on the disk.
    pub(super) fn sync_written(&self) -> io::Result<()> {
        self.writer.as_ref().map_or(Ok(()), Writer::sync)
    }
}

impl Kept {
    /// Whether a segment takes one more request.
    fn fits(&self, writer: &Writer, request: &Request) -> bool {
        let Self { identity, bounds } = self;
        let header = writer.header();
        let length = writer.length().saturating_add(record_bytes(request).unwrap_or(u64::MAX));
        length <= bounds.segment_bytes()
            && request.time.saturating_sub(header.time) <= bounds.segment_age()
            && header.age.as_secs() == bounds.age.as_secs()
            && (&*header.kind, header.protocol, &*header.naming) == (identity.kind, identity.protocol, identity.naming)
    }
}
