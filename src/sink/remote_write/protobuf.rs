//! The messages of remote write 1.0 in protobuf, as far as a sender needs them:
//!
//! ```text
//! message WriteRequest { repeated TimeSeries timeseries = 1; }
//! message TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
//! message Label        { string name = 1; string value = 2; }
//! message Sample       { double value = 1; int64 timestamp = 2; }
//! ```
//!
//! Written by hand, since the labels of a series are encoded once and copied into each request, which no generated code does.

/// The keys of the fields: the number, and how the value is encoded.
const TIMESERIES: u8 = 1 << 3 | LENGTH;
const LABELS: u8 = 1 << 3 | LENGTH;
const SAMPLES: u8 = 2 << 3 | LENGTH;
const NAME: u8 = 1 << 3 | LENGTH;
const VALUE_OF_LABEL: u8 = 2 << 3 | LENGTH;
const VALUE: u8 = 1 << 3 | FIXED64;
const TIMESTAMP: u8 = 2 << 3 | VARINT;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

/// The most bytes of a number.
const MAX_VARINT: usize = 10;

/// The most bytes that a series with one sample has besides its labels.
pub(super) const MAX_OVERHEAD: usize = 1 + MAX_VARINT + 2 + 9 + 1 + MAX_VARINT;

/// Appends a label to the fields of a series.
pub(super) fn push_label(name: &str, value: &str, to: &mut Vec<u8>) {
    let length = |text: &str| 1 + varint_len(text.len() as u64) + text.len();
    to.push(LABELS);
    push_varint((length(name) + length(value)) as u64, to);
    for (key, text) in [(NAME, name), (VALUE_OF_LABEL, value)] {
        to.push(key);
        push_varint(text.len() as u64, to);
        to.extend_from_slice(text.as_bytes());
    }
}

/// Appends a series with one sample to the fields of a request.
pub(super) fn push_series(labels: &[u8], value: f64, timestamp: i64, to: &mut Vec<u8>) {
    let bits = value.to_bits();
    // A field of zero is not written.
    let (has_value, has_timestamp) = (bits != 0, timestamp != 0);
    let timestamp = timestamp.cast_unsigned();
    let sample =
        if has_value { 1 + size_of::<f64>() } else { 0 } + if has_timestamp { 1 + varint_len(timestamp) } else { 0 };
    to.push(TIMESERIES);
    // The length of a sample is one byte.
    push_varint((labels.len() + 2 + sample) as u64, to);
    to.extend_from_slice(labels);
    to.push(SAMPLES);
    push_varint(sample as u64, to);
    if has_value {
        to.push(VALUE);
        to.extend_from_slice(&bits.to_le_bytes());
    }
    if has_timestamp {
        to.push(TIMESTAMP);
        push_varint(timestamp, to);
    }
}

fn push_varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// The number of bytes of a number: seven bits in each.
fn varint_len(number: u64) -> usize {
    (1 + (number | 1).ilog2() / 7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_have_the_expected_length(number: u64, shift in 0_u32..64) {
            let (number, mut bytes) = (number >> shift, Vec::new());
            push_varint(number, &mut bytes);
            prop_assert_eq!(bytes.len(), varint_len(number));
            prop_assert!(bytes.len() <= MAX_VARINT);
            let decoded = bytes.iter().rev().fold(0, |high, byte| high << 7 | u64::from(byte & 0x7f));
            prop_assert_eq!(decoded, number);
        }
    }
}
