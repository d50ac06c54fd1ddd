//! Data points as they are written. The parts that are the same in each point of a series are made once.

use std::cell::Cell;
use std::time::Duration;

use prost::Message as _;

use super::messages::KeyValue;
use super::wire::{FIXED64_BYTES, Wire, key, put_fixed64, put_head};
use crate::naming::Number;
use crate::sample::Label;

/// The field `data_points` of all metrics.
pub(super) const DATA_POINTS: u8 = 1;

const START_TIME_UNIX_NANO: u8 = 2;
const TIME_UNIX_NANO: u8 = 3;
const AS_DOUBLE: u8 = 4;
const AS_INT: u8 = 6;

/// The fields `attributes` and `flags` of points, which have other numbers in histograms.
#[derive(Debug, Clone, Copy)]
pub(super) struct PointFields {
    pub(super) attributes: u8,
    pub(super) flags: u8,
}

impl PointFields {
    pub(super) const NUMBER: Self = Self { attributes: 7, flags: 8 };
    pub(super) const HISTOGRAM: Self = Self { attributes: 9, flags: 10 };
    pub(super) const SUMMARY: Self = Self { attributes: 7, flags: 8 };

    /// The field `flags` of a point without a value, which ends its series.
    pub(super) fn no_recorded_value(self) -> [u8; 2] {
        [key(self.flags, Wire::Varint), 1]
    }
}

/// The least time between the last point of a series and its end: receivers have milliseconds.
const END_NANOS: u64 = 1_000_000;

/// The parts of a point that are the same each time.
#[derive(Debug)]
pub(super) struct FixedParts {
    /// The moment from which counts are, in nanoseconds since the Unix epoch.
    start: Option<u64>,
    /// The field `attributes` for each label.
    pub(super) attributes: Box<[u8]>,
    /// The time of the newest point; 0 without any.
    newest: Cell<u64>,
    /// The version of the scope that the newest point was of.
    scope: Cell<ScopeVersion>,
}

/// The version of a scope, counted from its first one.
pub(super) type ScopeVersion = u32;

impl FixedParts {
    pub(super) fn new(fields: PointFields, start: Option<u64>, labels: &[Label]) -> Self {
        let mut attributes = Vec::new();
        for label in labels {
            let attribute = KeyValue::from(label);
            put_head(&mut attributes, fields.attributes, attribute.encoded_len());
            // A vector grows.
            let _ = attribute.encode(&mut attributes);
        }
        Self { start, attributes: attributes.into(), newest: Cell::new(0), scope: Cell::new(0) }
    }

    /// Follows the version of the scope. Returns whether points of another one were sent: to a receiver that is another series.
    pub(super) fn follow(&self, scope: ScopeVersion) -> bool {
        self.scope.replace(scope) != scope && self.newest.get() > 0
    }

    /// The start, unless the clock was set back before it: no counting takes a negative time.
    fn start(&self, time: u64) -> Option<u64> {
        self.start.filter(|start| *start <= time)
    }

    /// How many bytes the times and attributes of a point have.
    pub(super) fn bytes(&self, time: u64) -> usize {
        let times = FIXED64_BYTES * (1 + usize::from(self.start(time).is_some()));
        times + self.attributes.len()
    }

    /// Appends the times of a point.
    pub(super) fn put_times(&self, time: u64, to: &mut Vec<u8>) {
        self.newest.set(self.newest.get().max(time));
        if let Some(start) = self.start(time) {
            put_fixed64(to, START_TIME_UNIX_NANO, start.to_le_bytes());
        }
        put_fixed64(to, TIME_UNIX_NANO, time.to_le_bytes());
    }

    /// Appends a point of a gauge or sum.
    pub(super) fn put_number(&self, time: u64, number: Number, to: &mut Vec<u8>) {
        put_head(to, DATA_POINTS, self.bytes(time) + FIXED64_BYTES);
        self.put_times(time, to);
        let whole = match number {
            Number::Unsigned(number) => i64::try_from(number).ok(),
            Number::Signed(number) => Some(number),
            Number::Float(_) => None,
        };
        match whole {
            Some(number) => put_fixed64(to, AS_INT, number.to_le_bytes()),
            None => put_fixed64(to, AS_DOUBLE, number.float().to_le_bytes()),
        }
        to.extend_from_slice(&self.attributes);
    }

    /// Appends the point that ends a series: after its newest one, also when the clock was set back. `fields` are those of its kind, and `rest` is what else a receiver knows it by.
    pub(super) fn put_end(&self, time: u64, fields: PointFields, rest: &[u8], to: &mut Vec<u8>) {
        let flags = fields.no_recorded_value();
        let time = time.max(self.newest.get().saturating_add(END_NANOS));
        put_head(to, DATA_POINTS, self.bytes(time) + rest.len() + flags.len());
        self.put_times(time, to);
        to.extend_from_slice(rest);
        to.extend_from_slice(&self.attributes);
        to.extend_from_slice(&flags);
    }
}

/// A time in nanoseconds since the Unix epoch; they last until 2554.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
