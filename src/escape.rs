//! Text from outside (file names, plugins' messages, peers' words) as one line that can be shown: characters that a terminal
//! obeys, that end a line or that reorder what is around them are escaped.

use std::fmt::Write as _;

/// The longest text of a plugin or a peer that is shown.
const MAX_BYTES: usize = 1024;

/// Whether a character is shown as itself and changes nothing around it, on a terminal or in a file.
#[must_use]
pub(crate) fn is_plain(character: char) -> bool {
    let reorders =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !reorders
}

/// Appends a text, with every character escaped that is not plain.
pub(crate) fn push_escaped(line: &mut String, text: &str) {
    for character in text.chars() {
        if is_plain(character) {
            line.push(character);
        } else {
            // Writing to a string does not fail.
            let _ = write!(line, "{}", character.escape_default());
        }
    }
}

/// A text as one escaped line of bounded length.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_BYTES);
    let mut line = String::new();
    push_escaped(&mut line, &text[..end]);
    if end < text.len() || line.len() > MAX_BYTES {
        line.truncate(line.floor_char_boundary(MAX_BYTES));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\nb\u{1b}[31m\r\0"), r"a\nb\u{1b}[31m\r\u{0}");
        assert_eq!(printable("grün"), "grün");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(printable(&"x".repeat(MAX_BYTES)).len(), MAX_BYTES);
        assert_eq!(printable(&"ä".repeat(MAX_BYTES)), "ä".repeat(MAX_BYTES / 2) + "…");
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_short_line(text in any::<String>(), times in 1_usize..2000) {
            let line = printable(&text.repeat(times));
            prop_assert!(line.chars().all(is_plain));
            prop_assert!(line.len() <= MAX_BYTES + '…'.len_utf8());
        }
    }
}
