//! Octal escapes, by which the kernel writes white space and backslashes in fields of `mountinfo`.

use std::borrow::Cow;

/// Decodes octal escapes.
///
/// ```
/// use gauged_plugin::kernel::unescape;
///
/// assert_eq!(unescape("/mnt/my\\040disk"), "/mnt/my disk");
/// assert_eq!(unescape("/mnt/plain"), "/mnt/plain");
/// ```
#[must_use]
pub fn unescape(field: &str) -> Cow<'_, str> {
    if !field.contains('\\') {
        return Cow::Borrowed(field);
    }
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = match bytes[at..] {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        plain.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 4 } else { 1 };
    }
    match String::from_utf8(plain) {
        Ok(plain) => Cow::Owned(plain),
        // Not UTF-8: keep the escapes.
        Err(_) => Cow::Borrowed(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_escapes_are_kept() {
        assert_eq!(unescape("a\\134b\\011"), "a\\b\t");
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("a\\480b\\400"), "a\\480b\\400");
        assert_eq!(unescape("\\303\\244"), "ä");
        assert_eq!(unescape("\\377"), "\\377");
    }
}
