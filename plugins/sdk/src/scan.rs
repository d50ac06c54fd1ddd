//! Search in texts and comparison of short ones, eight bytes at a time. In a guest each round of a loop has a check that ends a call
//! which takes too long, and the standard library compares byte by byte.

use std::cmp::Ordering;

/// A word with this byte in each place.
const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The place of the first byte that is one of these.
pub(crate) fn find<const N: usize>(text: &[u8], bytes: [u8; N]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        // Sets the highest bit of each byte that is searched for. Above the first one the subtraction may borrow from others, too.
        let borrows = |byte: u8| {
            let difference: u64 = word ^ repeated(byte);
            difference.wrapping_sub(repeated(1)) & !difference & repeated(0x80)
        };
        let found = bytes.iter().fold(0, |found, &byte| found | borrows(byte));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = text.get(at..)?;
    rest.iter().position(|byte| bytes.contains(byte)).map(|place| at + place)
}

/// Whether two texts are the same.
#[inline]
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && begins_with(one.as_bytes(), other.as_bytes())
}

/// Whether a text begins with another one.
#[inline]
pub(crate) fn begins_with(text: &[u8], beginning: &[u8]) -> bool {
    let Some(text) = text.get(..beginning.len()) else {
        return false;
    };
    let (mut words, mut other_words) = (text.chunks_exact(8), beginning.chunks_exact(8));
    words.by_ref().zip(other_words.by_ref()).all(|(word, other)| word.first_chunk::<8>() == other.first_chunk())
        && match (words.remainder(), other_words.remainder()) {
            // Two words that overlap.
            (rest @ [_, _, _, _, ..], other) => {
                rest.first_chunk::<4>() == other.first_chunk() && rest.last_chunk::<4>() == other.last_chunk()
            }
            (rest, other) => rest.iter().zip(other).all(|(byte, other)| byte == other),
        }
}

/// A name in an order that is quick to compare: by length, then by words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl Ord for Name<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        /// Eight bytes or the last ones.
        fn word(bytes: &[u8]) -> u64 {
            let part = || bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
            bytes.first_chunk().map_or_else(part, |word| u64::from_le_bytes(*word))
        }
        let (name, other) = (self.0.as_bytes(), other.0.as_bytes());
        name.len().cmp(&other.len()).then_with(|| name.chunks(8).map(word).cmp(other.chunks(8).map(word)))
    }
}

impl PartialOrd for Name<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn first_byte_is_found(text in "[ab\u{80}-\u{ff}]{0,40}", other in "[abc]{0,3}") {
            let text = [text.as_bytes(), other.as_bytes()].concat();
            for bytes in [*b"bc", *b"ab", *b"cc", [0x7f, 0x81]] {
                prop_assert_eq!(find(&text, bytes), text.iter().position(|byte| bytes.contains(byte)));
                prop_assert_eq!(find(&text, [bytes[0]]), text.iter().position(|&byte| byte == bytes[0]));
            }
        }

        #[test]
        fn comparison_equals_that_of_the_standard_library(text in "[ab]{0,40}", length in 0_usize..40, other in "[ab]{0,2}") {
            for other in [other.clone(), text.get(..length).unwrap_or_default().to_owned() + &other] {
                prop_assert_eq!(begins_with(text.as_bytes(), other.as_bytes()), text.starts_with(&other));
                prop_assert_eq!(is_same(&text, &other), text == other);
                let order = Name(&text).cmp(&Name(&other));
                prop_assert_eq!(order.is_eq(), text == other);
                prop_assert_eq!(order.reverse(), Name(&other).cmp(&Name(&text)));
            }
        }

        #[test]
        fn names_in_a_map_are_found(names in proptest::collection::btree_set("[ab]{1,20}", 0..50)) {
            let map: BTreeMap<_, _> = names.iter().map(|name| (Name(name), &**name)).collect();
            prop_assert_eq!(map.len(), names.len());
            prop_assert!(names.iter().all(|name| map.get(&Name(name)) == Some(&&**name)));
        }
    }
}
