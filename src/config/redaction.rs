//! Takes secrets out of a text. Knows the forms in which the agent or a plugin writes one down, and no secrets.

use std::borrow::Cow;
use std::ops::Range;

use crate::escape::push_escaped;

/// Text in place of a secret.
pub(super) const HIDDEN: &str = "…";

/// The fewest characters of a line that is hidden without the others: shorter ones are in many texts.
const MIN_LINE_CHARACTERS: usize = 8;

/// The forms of a secret in a text: as it is, escaped, in lower case as hosts are, and each line of one that has several.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let lines = secret.lines().map(str::trim).filter(|line| line.chars().count() >= MIN_LINE_CHARACTERS);
    let mut forms: Vec<String> = std::iter::once(secret).chain(lines).flat_map(written).collect();
    forms.retain(|form| !form.is_empty());
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// The forms of a text that is written as a whole.
fn written(text: &str) -> [String; 6] {
    let inner = |quoted: String| quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let mut printable = String::new();
    push_escaped(&mut printable, text);
    [
        text.to_owned(),
        text.to_ascii_lowercase(),
        printable,
        inner(serde_json::Value::from(text).to_string()),
        inner(format!("{text:?}")),
        text.escape_default().to_string(),
    ]
}

/// A text with a mark in place of each of these forms. Those that overlap, or are within each other, are one mark.
pub(super) fn redact<'t, 's>(text: &'t str, forms: impl Iterator<Item = &'s str>) -> Cow<'t, str> {
    let found = forms.flat_map(|form| text.match_indices(form).map(|(at, form)| at..at + form.len()));
    let mut hidden: Vec<Range<usize>> = found.collect();
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    hidden.sort_unstable_by_key(|range| range.start);
    let (mut redacted, mut end) = (String::new(), 0);
    for range in hidden {
        if range.start >= end {
            redacted += text.get(end..range.start).unwrap_or_default();
            redacted += HIDDEN;
        }
        end = end.max(range.end);
    }
    redacted += text.get(end..).unwrap_or_default();
    Cow::Owned(redacted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(secrets: &[&str], text: &str) -> String {
        let forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        redact(text, forms.iter().map(String::as_str)).into_owned()
    }

    #[test]
    fn secrets_within_each_other_are_hidden_whole() {
        for secrets in [["abc", "abc-LONG"], ["abc-LONG", "abc"]] {
            assert_eq!(redacted(&secrets, "wrong: abc-LONG, abc"), "wrong: …, …");
        }
        assert_eq!(redacted(&["abcd", "cdef"], "<abcdef>"), "<…>", "they overlap");
    }

    #[test]
    fn long_lines_of_a_secret_are_hidden() {
        let key = "-----BEGIN KEY-----\nMIIEpAIBAAKC\r\n  Zm9vYmFy\"zzz\nend\n";
        assert_eq!(redacted(&[key], "no key: MIIEpAIBAAKC"), "no key: …");
        assert_eq!(redacted(&[key], r#"no key: Zm9vYmFy\"zzz at the end"#), "no key: … at the end");
    }

    #[test]
    fn escaped_and_lower_case_forms_are_hidden() {
        for shown in ["p\"w\nd", r#"p\"w\nd"#, r#"p"w\nd"#] {
            assert_eq!(redacted(&["p\"w\nd"], &format!("password {shown} is wrong")), "password … is wrong");
        }
        assert_eq!(redacted(&["Db.Local:1"], "connect = [\"db.local:1\"]"), "connect = [\"…\"]");
    }

    proptest! {
        #[test]
        fn no_secret_is_left_in_any_text(
            secrets in proptest::collection::vec("[ab\"\n]{1,4}", 1..4),
            text in "[ab\"\n]{0,20}",
        ) {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let shown = redacted(&secrets, &text);
            let left: Vec<&str> = secrets.iter().copied().filter(|secret| shown.contains(secret)).collect();
            // A text that repeats itself may have a part of the secret once more.
            let repeats = |secret: &&str| (1..secret.len()).any(|by| secret.ends_with(&secret[..secret.len() - by]));
            prop_assert!(left.iter().all(repeats), "{left:?} in {shown:?}");
        }
    }
}
