//! Names and tags in a line.
//!
//! A comma, a space and an equals sign are escaped by a backslash. Any other backslash stands for itself, as in `by\x2duuid`, except
//! before one of these, or before another backslash: there it is doubled. `InfluxDB` 1 and 2 then store both, `VictoriaMetrics` one.
//! No tag can end with a backslash: `InfluxDB` would take the comma or space after it for a part of the tag, and refuse the line. It
//! gets a space at its end. A newline ends a line wherever it is; it becomes `\n`, two characters.

/// Appends a name, or the value of a tag.
pub(super) fn push_escaped(text: &str, to: &mut String) {
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ',' | ' ' | '=' => to.extend(['\\', letter]),
            '\n' => to.push_str("\\n"),
            '\\' => match letters.peek() {
                None => to.push_str("\\\\\\ "),
                Some(',' | ' ' | '=' | '\\' | '\n') => to.push_str("\\\\"),
                Some(_) => to.push('\\'),
            },
            _ => to.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        for (text, expected) in [
            ("plain", "plain"),
            ("ü 1,2=3", r"ü\ 1\,2\=3"),
            (r#""quoted""#, r#""quoted""#),
            (r"by\x2duuid", r"by\x2duuid"),
            (r"a\,b", r"a\\\,b"),
            (r"a\\b", r"a\\\b"),
            (r"C:\", r"C:\\\ "),
            (r"\\", r"\\\\\ "),
            ("a\nb", r"a\nb"),
            ("a\\\n", r"a\\\n"),
            ("a\r\tb", "a\r\tb"),
        ] {
            let mut escaped = String::new();
            push_escaped(text, &mut escaped);
            assert_eq!(escaped, expected, "{text:?}");
        }
    }
}
