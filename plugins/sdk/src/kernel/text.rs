//! Text with bytes that are not UTF-8: the kernel passes on whatever a file system, device or interface was named.

/// Replaces each byte that is not UTF-8 by `\u{fffd}` and its two hexadecimal digits. Unlike the replacement character alone,
/// this keeps two names apart.
pub(super) fn replaced(bytes: Vec<u8>) -> String {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return text,
        Err(error) => error.into_bytes(),
    };
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.extend([char::REPLACEMENT_CHARACTER, digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_utf_8_stay_apart() {
        assert_eq!(replaced(b"/mnt/cass\xe9 rw".to_vec()), "/mnt/cass\u{fffd}e9 rw");
        assert_ne!(replaced(b"cass\xe9".to_vec()), replaced(b"cass\xe8".to_vec()));
        assert_eq!(replaced("caf\u{e9}".as_bytes().to_vec()), "caf\u{e9}");
        assert_eq!(replaced(b"\xff\xc3".to_vec()), "\u{fffd}ff\u{fffd}c3");
    }
}
