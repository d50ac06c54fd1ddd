//! The request that is being made: its series in protobuf, then in snappy's block format.

use std::fmt;
use std::time::Duration;

use hyper::body::Bytes;

use super::super::request::Request;
use super::protobuf;

/// How many series a request has at most: as many samples as Prometheus itself sends in one.
const MAX_SERIES: usize = 2000;

/// How large a request may be before it is compressed, unless it has one series only. Proxies refuse larger bodies by default, and
/// Prometheus' own requests are below it.
const MAX_BYTES: usize = 1 << 20;

/// The bits of the number that ends a series: a NaN that no measurement gives.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A request that is being made.
pub(super) struct Batch {
    plain: Vec<u8>,
    series: usize,
    points: u32,
    newest: Duration,
    compressor: snap::raw::Encoder,
    /// The compressed body, used again.
    compressed: Vec<u8>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { series, points, newest, .. } = self;
        f.debug_struct("Batch").field("series", series).field("points", points).field("newest", newest).finish()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            series: 0,
            points: 0,
            newest: Duration::ZERO,
            compressor: snap::raw::Encoder::new(),
            compressed: Vec::new(),
        }
    }
}

impl Batch {
    /// Appends a point of a series.
    pub(super) fn push_point(&mut self, labels: &[u8], value: f64, time: i64, to: &mut Vec<Request>) {
        self.push(labels, value, time, to);
        self.points += 1;
    }

    /// Appends the end of a series. It is no point: nothing was measured.
    pub(super) fn push_end(&mut self, labels: &[u8], time: i64, to: &mut Vec<Request>) {
        self.push(labels, f64::from_bits(STALE), time, to);
    }

    fn push(&mut self, labels: &[u8], value: f64, time: i64, to: &mut Vec<Request>) {
        if self.series >= MAX_SERIES || self.plain.len() + labels.len() + protobuf::MAX_OVERHEAD > MAX_BYTES {
            self.finish(to);
        }
        protobuf::push_series(labels, value, time, &mut self.plain);
        self.series += 1;
        self.newest = self.newest.max(Duration::from_millis(time.try_into().unwrap_or_default()));
    }

    /// Ends the request, if it has anything.
    pub(super) fn finish(&mut self, to: &mut Vec<Request>) {
        if self.series == 0 {
            return;
        }
        self.compressed.resize(snap::raw::max_compress_len(self.plain.len()), 0);
        let length = self.compressor.compress(&self.plain, &mut self.compressed);
        // It fails for more than 4 GiB only.
        debug_assert!(length.is_ok(), "{length:?}");
        let body = Bytes::copy_from_slice(&self.compressed[..length.unwrap_or_default()]);
        to.push(Request { time: self.newest, points: self.points, is_last: false, body });
        self.plain.clear();
        (self.series, self.points, self.newest) = (0, 0, Duration::ZERO);
    }
}
