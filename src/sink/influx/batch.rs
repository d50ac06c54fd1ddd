//! The request that is being made: the lines of one time, which are filled side by side, and the whole ones.

use std::io::Write as _;
use std::time::Duration;

use super::super::gzip::Gzip;
use super::super::request::Request;
use super::line::{Field, Line};
use crate::naming::Number;

/// How large a request may be before it is compressed, unless it has one line only. Proxies refuse larger bodies by default.
const MAX_BYTES: usize = 1 << 20;

/// How long a line gets before another one with the same tags follows it. `VictoriaMetrics` skips lines above 256 KiB, `QuestDB` above 32.
const MAX_LINE_BYTES: usize = 16 << 10;

/// A request that is being made.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The lines that get fields; those from `used` on are memory for others.
    open: Vec<OpenLine>,
    used: usize,
    /// The time of these lines.
    time: Duration,
    body: Vec<u8>,
    points: u32,
    newest: Duration,
    /// The points of the sample that are left out, since the line has a field of that name.
    repeated: usize,
    gzip: Gzip,
}

/// A line that gets fields.
#[derive(Debug, Default)]
struct OpenLine {
    /// That of the line.
    id: u64,
    text: Vec<u8>,
    /// The length of the text before the first field.
    start: usize,
    points: u32,
    has_value: bool,
}

impl Batch {
    /// Begins a sample.
    pub(super) fn begin(&mut self) {
        self.repeated = 0;
    }

    /// How many points of the sample are left out.
    pub(super) fn repeated(&self) -> usize {
        self.repeated
    }

    /// Sets the time of the following points.
    pub(super) fn set_time(&mut self, time: Duration, to: &mut Vec<Request>) {
        if time != self.time {
            self.close(to);
            self.time = time;
        }
    }

    /// Appends a point.
    pub(super) fn push(&mut self, field: &Field, number: Number, to: &mut Vec<Request>) {
        let slot = self.slot(&field.line);
        let line = &mut self.open[slot];
        if field.is_value && std::mem::replace(&mut line.has_value, true) {
            self.repeated += 1;
            return;
        }
        if line.points > 0 && line.text.len() + field.key.len() > MAX_LINE_BYTES {
            self.write(slot, to);
        }
        let line = &mut self.open[slot];
        if line.points > 0 {
            line.text.push(b',');
        }
        line.text.extend_from_slice(field.key.as_bytes());
        number.push_to(&mut line.text);
        line.points += 1;
    }

    /// The place of a line among those that get fields.
    fn slot(&mut self, line: &Line) -> usize {
        let slot = line.slot();
        if slot < self.used && self.open[slot].id == line.id {
            return slot;
        }
        let slot = self.used;
        if slot == self.open.len() {
            self.open.push(OpenLine::default());
        }
        self.used += 1;
        line.set_slot(slot);
        let open = &mut self.open[slot];
        open.text.clear();
        open.text.extend_from_slice(line.start.as_bytes());
        (open.id, open.start, open.points, open.has_value) = (line.id, line.start.len(), 0, false);
        slot
    }

    /// Writes the fields of a line. It may get others afterwards.
    fn write(&mut self, slot: usize, to: &mut Vec<Request>) {
        // The digits of the time.
        const TIME_BYTES: usize = 24;
        if self.open[slot].points == 0 {
            return;
        }
        if !self.body.is_empty() && self.body.len() + self.open[slot].text.len() + TIME_BYTES > MAX_BYTES {
            self.send(to);
        }
        let line = &mut self.open[slot];
        self.body.extend_from_slice(&line.text);
        let written = writeln!(self.body, " {}", self.time.as_nanos());
        debug_assert!(written.is_ok(), "writing to memory does not fail");
        self.points += std::mem::take(&mut line.points);
        line.text.truncate(line.start);
        self.newest = self.newest.max(self.time);
    }

    /// Writes all lines.
    fn close(&mut self, to: &mut Vec<Request>) {
        for slot in 0..self.used {
            self.write(slot, to);
        }
        self.used = 0;
    }

    /// Ends the request, if it has anything.
    pub(super) fn finish(&mut self, to: &mut Vec<Request>) {
        self.close(to);
        if !self.body.is_empty() {
            self.send(to);
        }
    }

    fn send(&mut self, to: &mut Vec<Request>) {
        let body = self.gzip.compress(&self.body);
        to.push(Request { time: self.newest, points: self.points, is_last: false, body });
        self.body.clear();
        (self.points, self.newest) = (0, Duration::ZERO);
    }
}
