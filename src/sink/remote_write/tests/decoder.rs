//! Reads requests: snappy's block format, and protobuf by its specification.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::super::fixture::Point;

/// A series of a request, with its only sample.
#[derive(Debug)]
pub(super) struct DecodedSeries {
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
    pub(super) timestamp: i64,
}

impl DecodedSeries {
    pub(super) fn point(&self) -> Point {
        let mut labels: BTreeMap<String, String> = self.labels.iter().cloned().collect();
        let name = labels.remove("__name__").expect("a name");
        let time = Duration::from_millis(self.timestamp.try_into().expect("after 1970"));
        Point { time, name, labels, value: self.value, is_certain: true }
    }
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Bits(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, with their numbers.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let value = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Bits(u64::from_le_bytes(taken(&mut message, 8).try_into().expect("eight"))),
            2 => {
                let length = varint(&mut message);
                Field::Bytes(taken(&mut message, length))
            }
            other => panic!("the wire type {other}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = taken(message, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
    }
    panic!("a number of more than ten bytes");
}

fn taken<'a>(message: &mut &'a [u8], length: u64) -> &'a [u8] {
    let (taken, rest) = message.split_at(length.try_into().expect("within memory"));
    *message = rest;
    taken
}

/// The series of a body.
pub(super) fn decode(body: &[u8]) -> Vec<DecodedSeries> {
    let plain = snap::raw::Decoder::new().decompress_vec(body).expect("snappy's block format");
    let series = fields(&plain).into_iter().map(|field| match field {
        (1, Field::Bytes(series)) => decode_series(series),
        (number, _) => panic!("the field {number} of a request"),
    });
    series.collect()
}

fn decode_series(message: &[u8]) -> DecodedSeries {
    let (mut labels, mut samples) = (Vec::new(), Vec::new());
    for field in fields(message) {
        match field {
            (1, Field::Bytes(label)) => {
                assert!(samples.is_empty(), "labels come first");
                let texts = fields(label).into_iter().map(|field| match field {
                    (number, Field::Bytes(text)) => (number, String::from_utf8(text.to_vec()).expect("UTF-8")),
                    (number, _) => panic!("the field {number} of a label"),
                });
                let texts: BTreeMap<u64, String> = texts.collect();
                assert_eq!(texts.len(), 2);
                labels.push((texts[&1].clone(), texts[&2].clone()));
            }
            (2, Field::Bytes(sample)) => samples.push(sample),
            (number, _) => panic!("the field {number} of a series"),
        }
    }
    assert_eq!(samples.len(), 1);
    let (mut value, mut timestamp) = (0.0, 0);
    for field in fields(samples[0]) {
        match field {
            (1, Field::Bits(bits)) => value = f64::from_bits(bits),
            (2, Field::Number(number)) => timestamp = number.cast_signed(),
            (number, _) => panic!("the field {number} of a sample"),
        }
    }
    DecodedSeries { labels, value, timestamp }
}
