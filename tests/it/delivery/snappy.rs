//! A decompressor of snappy's block format, by its description `format_description.txt`.

use super::protobuf::varint;

/// What was compressed.
pub fn decompress(mut block: &[u8]) -> Vec<u8> {
    let length = varint(&mut block) as usize;
    let mut content: Vec<u8> = Vec::with_capacity(length);
    while let Some((&tag, rest)) = block.split_first() {
        block = rest;
        let upper = usize::from(tag >> 2);
        match tag & 3 {
            0 => {
                let count = if upper < 60 { upper } else { little_endian(&mut block, upper - 59) } + 1;
                let (literal, rest) = block.split_at(count);
                content.extend_from_slice(literal);
                block = rest;
            }
            1 => {
                let offset = usize::from(tag >> 5) << 8 | little_endian(&mut block, 1);
                copy(&mut content, offset, 4 + (upper & 7));
            }
            kind => {
                let offset = little_endian(&mut block, if kind == 2 { 2 } else { 4 });
                copy(&mut content, offset, upper + 1);
            }
        }
    }
    assert_eq!(content.len(), length, "the length is that of the head");
    content
}

fn little_endian(block: &mut &[u8], count: usize) -> usize {
    let (bytes, rest) = block.split_at(count);
    *block = rest;
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// The source may overlap with what it becomes.
fn copy(content: &mut Vec<u8>, offset: usize, count: usize) {
    for _ in 0..count {
        content.push(content[content.len() - offset]);
    }
}

#[test]
fn snappy_blocks_are_decompressed() {
    assert_eq!(decompress(b"\x05\x10hello"), b"hello");
    // A literal, a copy with one byte of offset that overlaps, one with two, one with four.
    assert_eq!(decompress(b"\x0e\x04ab\x0d\x02\x0a\x04\x00\x07\x01\x00\x00\x00"), b"ababababababbb");
}
