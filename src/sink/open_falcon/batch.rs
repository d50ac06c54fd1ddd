//! Requests in the making. The body of a request is a JSON array of points, compressed: it is the same for transfers and Nightingale, and
//! takes a tenth of the space in a spool.

use std::time::Duration;

use flate2::{Decompress, FlushDecompress, Status};
use hyper::body::Bytes;

use super::point::{PointSeries, tail};
use crate::naming::Number;
use crate::sink::gzip::Gzip;
use crate::sink::request::Request;

/// The most points of a request, which then has some 150 KB before it is compressed. The original agent sends all points of an interval in
/// one call, however many; this one bounds what a transfer holds for a call, and what a lost one costs.
pub(super) const MAX_POINTS: u32 = 1000;

/// The base-two logarithm of gzip's window.
const WINDOW_BITS: u8 = 15;

/// The most bytes of an array of points. One of [`MAX_POINTS`] points with the longest names has less.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// The part of its size that a compressed text has at most, usually.
const USUAL_RATIO: usize = 4;

/// The points of the request that is being made.
pub(super) struct Batch {
    text: Vec<u8>,
    points: u32,
    /// The newest time of its points.
    time: Duration,
    module: ModuleTime,
    gzip: Gzip,
}

/// The time of the points that follow.
struct ModuleTime {
    time: Duration,
    second: u64,
    /// The end of the points.
    tail: String,
}

impl Batch {
    pub(super) fn new() -> Self {
        let module = ModuleTime { time: Duration::ZERO, second: 0, tail: String::new() };
        Self { text: Vec::new(), points: 0, time: Duration::ZERO, module, gzip: Gzip::default() }
    }

    /// The points that follow are of this time, and come at this interval.
    pub(super) fn begin_module(&mut self, time: Duration, step: Duration) {
        let second = time.as_secs();
        // Shorter steps have a point a second; of a step with a fraction, a rounded up one would merge points.
        self.module = ModuleTime { time, second, tail: tail(step.as_secs().max(1), second) };
    }

    /// Appends the point of a series, unless it has one of this second already. A full request is finished before.
    pub(super) fn push(&mut self, series: &PointSeries, number: Number, to: &mut Vec<Request>) {
        let Some(head) = series.due(self.module.second) else { return };
        if self.points == MAX_POINTS {
            self.finish(to);
        }
        self.text.push(if self.points == 0 { b'[' } else { b',' });
        self.text.extend_from_slice(head);
        number.push_to(&mut self.text);
        self.text.extend_from_slice(self.module.tail.as_bytes());
        self.points += 1;
        self.time = self.time.max(self.module.time);
    }

    /// Whether the newest of its points are of this time.
    pub(super) fn is_of(&self, time: Duration) -> bool {
        self.time == time
    }

    /// Makes a request of the points, if there are any.
    pub(super) fn finish(&mut self, to: &mut Vec<Request>) {
        if self.points > 0 {
            self.text.push(b']');
            let body = self.gzip.compress(&self.text);
            to.push(Request { time: self.time, points: self.points, is_last: false, body });
        }
        self.text.clear();
        (self.points, self.time) = (0, Duration::ZERO);
    }
}

/// The array of points in a body; none if it has none, as it is damaged.
pub(super) fn unpack(body: &[u8]) -> Option<Bytes> {
    let mut decompress = Decompress::new_gzip(WINDOW_BITS);
    let mut text = Vec::with_capacity(body.len().saturating_mul(2 * USUAL_RATIO).min(MAX_TEXT_BYTES));
    loop {
        let rest = body.get(usize::try_from(decompress.total_in()).ok()?..)?;
        let before = (decompress.total_in(), decompress.total_out());
        match decompress.decompress_vec(rest, &mut text, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) => break,
            Ok(_) if text.len() == text.capacity() && text.len() < MAX_TEXT_BYTES => {
                text.reserve_exact(text.len().clamp(64, MAX_TEXT_BYTES - text.len()));
            }
            // The body ends too early, or is too large.
            Ok(_) if before == (decompress.total_in(), decompress.total_out()) || text.len() >= MAX_TEXT_BYTES => {
                return None;
            }
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::Label;

    fn packed(text: &[u8]) -> Bytes {
        Gzip::default().compress(text)
    }

    #[test]
    fn damaged_bodies_are_no_points() {
        let body = packed(b"[1,2,3]");
        assert_eq!(unpack(&body).as_deref(), Some(&b"[1,2,3]"[..]));
        for damaged in [&b""[..], b"[1]", &body[..body.len() - 1], &body[..5]] {
            assert_eq!(unpack(damaged), None);
        }
        let huge = vec![b' '; MAX_TEXT_BYTES + 1];
        assert_eq!(unpack(&packed(&huge)), None);
        assert_eq!(unpack(&packed(&huge[1..])).map(|text| text.len()), Some(MAX_TEXT_BYTES));
    }

    #[test]
    fn longest_points_fit() {
        let name = |letters: usize| "\\".repeat(letters);
        let tag = Label { name: "k".into(), value: name(253).into() };
        let longest = PointSeries::gauge(&name(253), &name(255), &[tag]);
        let mut text = longest.due(0).expect("a point").to_vec();
        Number::Float(-1.234_567_890_123_456_7e-300).push_to(&mut text);
        text.extend_from_slice(tail(u64::MAX, u64::MAX).as_bytes());
        assert!((text.len() + 1) * usize::try_from(MAX_POINTS).expect("small") < MAX_TEXT_BYTES, "{}", text.len());
    }

    proptest! {
        #[test]
        fn any_text_is_unpacked_as_it_was(text in prop::collection::vec(any::<u8>(), 0..3000), times in 1_usize..30) {
            let text = text.repeat(times);
            prop_assert_eq!(&*unpack(&packed(&text)).expect("it is whole"), &*text);
        }

        #[test]
        fn unpacked_bytes_have_the_checksum_of_gzip(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            kept in 0_usize..40,
        ) {
            for body in [bytes.clone(), [&packed(b"[1,2,3]")[..kept.min(20)], &*bytes].concat()] {
                if let Some(text) = unpack(&body) {
                    let mut crc = flate2::Crc::new();
                    crc.update(&text);
                    let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
                    prop_assert!(body.windows(trailer.len()).any(|part| part == trailer), "{:?}", text);
                }
            }
        }
    }
}
