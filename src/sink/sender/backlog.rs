//! The requests of a sink that are not delivered, in order: those on the disk, of which the first ones were read, and behind them
//! those in memory. Says what is sent next, and knows neither disk nor network.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sink::request::Request;

/// How much of what is on the disk is held in memory, too: a few requests of a large host.
pub(super) const READY_BYTES: usize = 256 << 10;

/// How much is written to the disk at a time.
const APPEND_BYTES: u64 = 1 << 20;

/// The requests that wait.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The first ones on the disk.
    ready: VecDeque<Entry>,
    ready_bytes: u64,
    /// The first one on the disk that is not among them.
    unread: Option<u64>,
    /// Those that are not on the disk.
    memory: VecDeque<Entry>,
    memory_bytes: u64,
    memory_samples: usize,
    serial: u64,
}

/// A request in memory.
#[derive(Debug)]
struct Entry {
    /// Its own number here, whether or not it is on the disk.
    serial: u64,
    /// Its number on the disk.
    sequence: Option<u64>,
    /// When it may be sent.
    due: Option<Instant>,
    request: Request,
}

/// The request to send next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// It has to be read from the disk first, from this one on.
    Unread(u64),
    /// It is not due yet.
    Waits(Instant),
    /// This, with its own number.
    Request(u64, Request),
}

/// How much was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) samples: u64,
    pub(super) points: u64,
    /// Its number on the disk.
    pub(super) sequence: Option<u64>,
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.request.body.len() as u64
    }

    fn removed(&self) -> Removed {
        let Request { points, is_last, .. } = self.request;
        Removed { samples: is_last.into(), points: points.into(), sequence: self.sequence }
    }
}

impl Backlog {
    /// Appends a request that is due at this moment.
    pub(super) fn push(&mut self, request: Request, due: Instant) {
        self.memory_bytes += request.body.len() as u64;
        self.memory_samples += usize::from(request.is_last);
        let entry = self.entry(None, Some(due), request);
        self.memory.push_back(entry);
    }

    fn entry(&mut self, sequence: Option<u64>, due: Option<Instant>, request: Request) -> Entry {
        self.serial += 1;
        Entry { serial: self.serial, sequence, due, request }
    }

    /// The request at this place.
    pub(super) fn next(&self, place: usize, now: Instant) -> Next {
        let entry = match self.ready.get(place) {
            Some(entry) => Some(entry),
            None => match self.unread {
                Some(unread) => return Next::Unread(unread),
                None => self.memory.get(place - self.ready.len()),
            },
        };
        match entry {
            None => Next::Nothing,
            Some(Entry { due: Some(due), .. }) if *due > now => Next::Waits(*due),
            Some(Entry { serial, request, .. }) => Next::Request(*serial, request.clone()),
        }
    }

    /// Removes the one with this number; none if it is not in memory any more.
    pub(super) fn remove(&mut self, serial: u64) -> Option<Removed> {
        if let Some(at) = self.ready.iter().position(|entry| entry.serial == serial) {
            return self.ready.remove(at).map(|entry| self.forget_ready(&entry));
        }
        let at = self.memory.iter().position(|entry| entry.serial == serial)?;
        self.memory.remove(at).map(|entry| self.forget(&entry))
    }

    fn forget_ready(&mut self, entry: &Entry) -> Removed {
        self.ready_bytes -= entry.bytes();
        entry.removed()
    }

    fn forget(&mut self, entry: &Entry) -> Removed {
        self.memory_bytes -= entry.bytes();
        self.memory_samples -= usize::from(entry.request.is_last);
        entry.removed()
    }

    /// The number on the disk of the one with this number of its own.
    pub(super) fn sequence(&self, serial: u64) -> Option<u64> {
        self.ready.iter().find(|entry| entry.serial == serial)?.sequence
    }

    /// Takes requests that were read from the disk. `end` is the number after the last one on it.
    pub(super) fn take_read(&mut self, read: Vec<(u64, Request)>, end: u64) {
        let Some(from) = self.unread else { return };
        // Damaged ones are skipped.
        let next = read.last().map_or(end, |(sequence, _)| sequence + 1).max(from);
        for (sequence, request) in read.into_iter().filter(|(sequence, _)| *sequence >= from) {
            let entry = self.entry(Some(sequence), None, request);
            self.push_ready(entry);
        }
        self.unread = (next < end).then_some(next);
    }

    fn push_ready(&mut self, entry: Entry) {
        self.ready_bytes += entry.bytes();
        self.ready.push_back(entry);
    }

    /// The first number on the disk at the start.
    pub(super) fn open(&mut self, first: Option<u64>) {
        self.unread = first;
    }

    /// Since when the oldest one that is not on the disk is due.
    pub(super) fn unwritten_since(&self) -> Option<Instant> {
        self.memory.front()?.due
    }

    /// The oldest ones that are not on the disk, each with its own number.
    pub(super) fn unwritten(&self) -> (Vec<u64>, Vec<Request>) {
        let mut size = 0;
        let fits = |entry: &&Entry| {
            size += entry.bytes();
            size <= APPEND_BYTES || size == entry.bytes()
        };
        self.memory.iter().take_while(fits).map(|entry| (entry.serial, entry.request.clone())).unzip()
    }

    /// These are on the disk now, with numbers there from this one on. Some may have been delivered or dropped meanwhile. Returns the
    /// number up to which all have.
    pub(super) fn written(&mut self, first: u64, serials: &[u64]) -> Option<u64> {
        let is_only = !self.is_on_disk();
        let mut gone = None;
        for (sequence, serial) in (first..).zip(serials) {
            let Some(entry) = self.memory.pop_front_if(|entry| entry.serial == *serial) else {
                // One behind others is passed over when it is read, if that is not too late.
                gone = if is_only && !self.is_on_disk() { Some(sequence) } else { gone };
                continue;
            };
            let _ = self.forget(&entry);
            if self.unread.is_none() && (self.ready.is_empty() || self.ready_bytes < READY_BYTES as u64) {
                self.push_ready(Entry { sequence: Some(sequence), due: None, ..entry });
            } else {
                self.unread.get_or_insert(sequence);
            }
        }
        gone
    }

    /// Those before this number are not on the disk any more.
    pub(super) fn dropped_before(&mut self, first: u64) {
        while let Some(entry) = self.ready.pop_front_if(|entry| entry.sequence < Some(first)) {
            let _ = self.forget_ready(&entry);
        }
        self.unread = self.unread.map(|unread| unread.max(first));
    }

    /// Drops the oldest one in memory, but not the one with the number `sent`, which is under way to the receiver, not those up to
    /// `writing`, which are under way to the disk, and not the newest.
    pub(super) fn drop_oldest(&mut self, sent: Option<u64>, writing: Option<u64>) -> Option<Removed> {
        let is_free = |serial| Some(serial) != sent && Some(serial) > writing;
        let place = self.memory.iter().position(|entry| is_free(entry.serial))?;
        if place + 1 >= self.memory.len() {
            return None;
        }
        self.memory.remove(place).map(|entry| self.forget(&entry))
    }

    /// Takes out all that is in memory only. Returns how much that was.
    pub(super) fn clear_memory(&mut self) -> Removed {
        let samples = self.memory.iter().filter(|entry| entry.request.is_last).count() as u64;
        let points = self.memory.iter().map(|entry| u64::from(entry.request.points)).sum();
        self.memory.clear();
        (self.memory_bytes, self.memory_samples) = (0, 0);
        Removed { samples, points, sequence: None }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && !self.is_on_disk()
    }

    /// Whether anything is on the disk.
    pub(super) fn is_on_disk(&self) -> bool {
        !self.ready.is_empty() || self.unread.is_some()
    }

    /// The samples and bytes that are in memory only.
    pub(super) fn in_memory(&self) -> (usize, u64) {
        (self.memory_samples, self.memory_bytes)
    }

    /// The time of the oldest one, if it is in memory.
    pub(super) fn oldest(&self) -> Option<Duration> {
        // Unread ones are older than those in memory.
        let in_memory = if self.unread.is_none() { self.memory.front() } else { None };
        self.ready.front().or(in_memory).map(|entry| entry.request.time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn request(number: u64, length: usize) -> Request {
        let body = vec![0; length].into();
        Request { time: Duration::from_secs(number), points: 1, is_last: true, body }
    }

    /// A step of a sink that sends and keeps.
    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Deliver,
        BeginAppend,
        EndAppend,
        Read(usize),
        DropSegment(u64),
        DropInMemory,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_usize..200_000).prop_map(Step::Push),
            3 => Just(Step::Deliver),
            2 => Just(Step::BeginAppend),
            2 => Just(Step::EndAppend),
            2 => (1_usize..5).prop_map(Step::Read),
            1 => (1_u64..5).prop_map(Step::DropSegment),
            1 => Just(Step::DropInMemory),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever happens, the requests are sent in order, each once, but for those that are dropped; and none is forgotten.
        #[test]
        fn requests_keep_their_order(steps in steps()) {
            let (mut backlog, now) = (Backlog::default(), Instant::now());
            // The disk: numbers and requests.
            let (mut disk, mut end) = (VecDeque::<(u64, Request)>::new(), 0);
            let (mut pushed, mut gone) = (0, Vec::new());
            let mut appending: Option<(u64, Vec<u64>)> = None;
            for step in steps {
                match step {
                    // There is one command at a time.
                    Step::BeginAppend | Step::DropSegment(_) if appending.is_some() => {}
                    Step::Push(length) => {
                        backlog.push(request(pushed, length), now);
                        pushed += 1;
                    }
                    Step::Deliver => {
                        let Next::Request(serial, request) = backlog.next(0, now) else { continue };
                        prop_assert!(!gone.contains(&request.time.as_secs()), "{request:?} again");
                        gone.push(request.time.as_secs());
                        let sequence = backlog.sequence(serial);
                        let removed = backlog.remove(serial).expect("it is there");
                        prop_assert_eq!((removed.points, removed.sequence), (1, sequence));
                        disk.retain(|(stored, _)| Some(*stored) != sequence);
                    }
                    Step::BeginAppend => {
                        let (serials, requests) = backlog.unwritten();
                        let first = end;
                        disk.extend((first..).zip(requests));
                        end += serials.len() as u64;
                        appending = Some((first, serials));
                    }
                    Step::EndAppend => {
                        let Some((first, serials)) = appending.take() else { continue };
                        if let Some(gone) = backlog.written(first, &serials) {
                            disk.retain(|(stored, _)| *stored > gone);
                        }
                    }
                    Step::Read(count) => {
                        let Next::Unread(from) = backlog.next(0, now) else { continue };
                        if appending.is_some() {
                            // There is one command at a time.
                            continue;
                        }
                        let read = disk.iter().filter(|(sequence, _)| *sequence >= from).take(count).cloned().collect();
                        backlog.take_read(read, end);
                    }
                    Step::DropSegment(count) => {
                        let first = disk.front().map_or(end, |(sequence, _)| sequence + count).min(end);
                        gone.extend(disk.iter().filter(|(sequence, _)| *sequence < first).map(|(_, request)| request.time.as_secs()));
                        disk.retain(|(sequence, _)| *sequence >= first);
                        backlog.dropped_before(first);
                    }
                    Step::DropInMemory => {
                        let (samples, bytes) = backlog.in_memory();
                        let writing = appending.as_ref().and_then(|(_, serials)| serials.last().copied());
                        let free = backlog.memory.iter().find(|entry| Some(entry.serial) > writing);
                        let oldest = free.map(|entry| entry.request.time.as_secs());
                        if backlog.drop_oldest(None, writing).is_some() {
                            gone.extend(oldest);
                            prop_assert!(backlog.in_memory().0 == samples - 1 && backlog.in_memory().1 <= bytes);
                        }
                    }
                }
            }
            if let Some((first, serials)) = appending.take()
                && let Some(last) = backlog.written(first, &serials)
            {
                disk.retain(|(stored, _)| *stored > last);
            }
            let delivered_and_dropped = gone.len() as u64;
            let mut rest = Vec::new();
            loop {
                match backlog.next(0, now) {
                    Next::Nothing => break,
                    Next::Unread(from) => {
                        let read = disk.iter().filter(|(sequence, _)| *sequence >= from).cloned().collect();
                        backlog.take_read(read, end);
                    }
                    Next::Request(serial, request) => {
                        rest.push(request.time.as_secs());
                        backlog.remove(serial);
                    }
                    Next::Waits(_) => unreachable!("all are due"),
                }
            }
            prop_assert!(rest.is_sorted(), "{rest:?}");
            prop_assert_eq!(delivered_and_dropped + rest.len() as u64, pushed);
            prop_assert!(backlog.is_empty() && backlog.in_memory() == (0, 0) && backlog.ready_bytes == 0);
        }
    }

    #[test]
    fn request_waits_until_it_is_due() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let due = now + Duration::from_secs(1);
        backlog.push(request(1, 10), due);
        assert_eq!(backlog.next(0, now), Next::Waits(due));
        assert_eq!(backlog.next(0, due), Next::Request(1, request(1, 10)));
        assert_eq!(backlog.next(1, due), Next::Nothing);
        assert_eq!(backlog.unwritten_since(), Some(due));
    }

    #[test]
    fn request_that_is_sent_is_not_dropped() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        (0..3).for_each(|number| backlog.push(request(number, 10), now));
        let Next::Request(sent, first) = backlog.next(0, now) else { panic!("nothing to send") };
        assert_eq!(first, request(0, 10));
        assert_eq!(backlog.drop_oldest(Some(sent), None).map(|removed| removed.points), Some(1));
        assert_eq!(backlog.next(0, now), Next::Request(sent, request(0, 10)));
        assert!(matches!(backlog.next(1, now), Next::Request(_, last) if last == request(2, 10)));
        assert_eq!(backlog.drop_oldest(Some(sent), None), None, "the newest stays");
        assert_eq!(backlog.clear_memory(), Removed { samples: 2, points: 2, sequence: None });
        assert!(backlog.is_empty() && backlog.in_memory() == (0, 0));
    }

    #[test]
    fn request_is_found_after_it_was_written() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.push(request(0, 10), now);
        let Next::Request(sent, _) = backlog.next(0, now) else { panic!("nothing to send") };
        let (serials, _) = backlog.unwritten();
        assert_eq!(backlog.written(7, &serials), None);
        assert_eq!(backlog.remove(sent).and_then(|removed| removed.sequence), Some(7));
        assert!(backlog.remove(sent).is_none() && backlog.is_empty());
    }

    #[test]
    fn request_delivered_while_written_is_acknowledged() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        (0..3).for_each(|number| backlog.push(request(number, 10), now));
        let (serials, requests) = backlog.unwritten();
        assert_eq!(requests.len(), 3);
        for _ in 0..2 {
            let Next::Request(sent, _) = backlog.next(0, now) else { panic!("nothing to send") };
            backlog.remove(sent);
        }
        assert_eq!(backlog.written(7, &serials), Some(8));
        assert!(matches!(backlog.next(0, now), Next::Request(last, _) if backlog.sequence(last) == Some(9)));
    }
}
