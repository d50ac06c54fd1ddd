//! Text with bytes that are not UTF-8: the kernel passes on whatever a file system, device or interface was named.

use std::str::Utf8Chunk;

/// Replaces each byte that is not UTF-8 by `\u{fffd}` and its two hexadecimal digits. Unlike the replacement character alone,
/// this keeps two names apart. Returns the whole lines within so many bytes of text, and whether others follow.
pub(super) fn replaced(bytes: Vec<u8>, most: usize) -> (String, bool) {
    let bytes = match String::from_utf8(bytes) {
        // Whatever is longer than that was cut when it was read.
        Ok(text) => return (text, false),
        Err(error) => error.into_bytes(),
    };
    let added: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len() * (REPLACED_BYTES - 1)).sum();
    // The size is known beforehand, because a text that grows is held twice.
    let mut text = String::with_capacity(most.min(bytes.len() + added));
    let is_cut = !bytes.utf8_chunks().all(|chunk| push(&mut text, &chunk, most));
    if is_cut {
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    }
    (text, is_cut)
}

/// The bytes of a replaced byte.
const REPLACED_BYTES: usize = char::REPLACEMENT_CHARACTER.len_utf8() + 2;

/// Appends a chunk as far as there is room. Returns whether that was all of it.
fn push(text: &mut String, chunk: &Utf8Chunk<'_>, most: usize) -> bool {
    let valid = chunk.valid();
    let room = most - text.len();
    if valid.len() > room {
        // The rest of its last line is cut, too.
        let end = (0..=room).rev().find(|&end| valid.is_char_boundary(end));
        text.push_str(valid.get(..end.unwrap_or(0)).unwrap_or_default());
        return false;
    }
    text.push_str(valid);
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    chunk.invalid().iter().all(|byte| {
        let has_room = most - text.len() >= REPLACED_BYTES;
        if has_room {
            text.extend([char::REPLACEMENT_CHARACTER, digit(byte >> 4), digit(byte & 0xf)]);
        }
        has_room
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_utf_8_stay_apart() {
        let replaced = |bytes| replaced(bytes, 100).0;
        assert_eq!(replaced(b"/mnt/cass\xe9 rw".to_vec()), "/mnt/cass\u{fffd}e9 rw");
        assert_ne!(replaced(b"cass\xe9".to_vec()), replaced(b"cass\xe8".to_vec()));
        assert_eq!(replaced("caf\u{e9}".as_bytes().to_vec()), "caf\u{e9}");
        assert_eq!(replaced(b"\xff\xc3".to_vec()), "\u{fffd}ff\u{fffd}c3");
    }

    #[test]
    fn long_text_ends_with_a_whole_line() {
        let text = "a\u{e9}\n\u{fffd}ff\u{fffd}fe\nb\n";
        for most in 0..=text.len() {
            let (shown, is_cut) = replaced(b"a\xc3\xa9\n\xff\xfe\nb\n".to_vec(), most);
            let whole = text.get(..most).map_or(0, |begin| begin.rfind('\n').map_or(0, |end| end + 1));
            assert!(text.starts_with(&shown) && shown.len() <= most && shown.capacity() <= most, "{most}");
            assert!(shown.len() >= whole && (shown.is_empty() || shown.ends_with('\n')), "{most}");
            assert_eq!(is_cut, most < text.len());
        }
    }
}
