//! Signatures: texts that name types, such as `a(su)` for an array of pairs. Pure.

/// The deepest nesting of arrays, structures and variants together, as in the specification.
pub(crate) const MAX_DEPTH: u32 = 64;

/// The first complete type of a signature, and the rest; none where a type is unknown, cut or too deep.
pub(crate) fn split(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    signature.split_at_checked(length(signature, MAX_DEPTH)?)
}

/// The length of the first complete type.
fn length(signature: &[u8], depth: u32) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    match signature.split_first()? {
        (b'a', rest) => match rest.first()? {
            b'{' => Some(1 + entry_length(rest, depth)?),
            _ => Some(1 + length(rest, depth)?),
        },
        (b'(', fields) => {
            let mut at = 0;
            loop {
                let rest = fields.get(at..)?;
                if at > 0 && rest.first() == Some(&b')') {
                    return Some(at + 2);
                }
                at += length(rest, depth)?;
            }
        }
        (code, _) => (is_basic(*code) || *code == b'v').then_some(1),
    }
}

/// The length of an entry of a dictionary, `{sv}`.
fn entry_length(entry: &[u8], depth: u32) -> Option<usize> {
    let has_key = entry.get(1).is_some_and(|&key| is_basic(key));
    let value = length(entry.get(2..)?, depth)?;
    (has_key && entry.get(2 + value) == Some(&b'}')).then_some(3 + value)
}

/// Whether a type has no others in it.
fn is_basic(code: u8) -> bool {
    b"ybnqiuxtdhsog".contains(&code)
}

/// The alignment of values of a type, by its first letter.
pub(crate) fn alignment(code: u8) -> usize {
    match code {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b'h' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        // `y`, `g` and `v`.
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_split_off() {
        for (signature, first, rest) in [
            ("s", "s", ""),
            ("su", "s", "u"),
            ("asu", "as", "u"),
            ("aasu", "aas", "u"),
            ("a(ssssssouso)", "a(ssssssouso)", ""),
            ("a{sv}v", "a{sv}", "v"),
            ("((y)a{s(vv)})x", "((y)a{s(vv)})", "x"),
        ] {
            assert_eq!(split(signature.as_bytes()), Some((first.as_bytes(), rest.as_bytes())), "{signature}");
        }
        for bad in ["", "z", "a", "(", "()", "(s", "a{", "a{vs}", "a{s}", "a{sv", "{sv}", "a{(s)s}", ")", "a{sss}"] {
            assert_eq!(split(bad.as_bytes()), None, "{bad}");
        }
        assert!(split(&[[b'a'; 63].as_slice(), b"s"].concat()).is_some());
        assert_eq!(split(&[[b'a'; 64].as_slice(), b"s"].concat()), None, "too deep");
        assert_eq!(split(&[b'('; 1000]), None);
    }
}
