//! The text of a series' tags, as Open-Falcon takes it: `k=v,k=v`, without spaces, and with its metric at most 510 bytes long. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::sample::Label;

/// The most bytes of a metric and its tags together; Transfer refuses more.
const SERIES_BYTES: usize = 510;

/// The bytes that a value keeps when there is no room for all tags: it ends with [`DIGEST_BYTES`] that stand for the whole.
const SHORT_BYTES: usize = 40;

/// The bytes of a digest: 64 bits in hexadecimal digits, by which two series of a host are mistaken for one in one of 10^13 hosts that
/// have a thousand such series each.
const DIGEST_BYTES: usize = 16;

/// The tag that stands for all tags where even their names are too long.
const DIGEST_TAG: &str = "series";

/// A metric's name, or a tag's name or value, with an underscore in the place of each character that Open-Falcon does not take: commas and
/// equals signs separate tags, transfers remove white space from them, and graphs drop a series with control characters, quotation
/// marks or `>` without a word.
#[must_use]
pub fn valid_text(text: &str) -> Cow<'_, str> {
    let is_invalid =
        |letter: char| matches!(letter, ',' | '=' | '"' | '\'' | '>') || letter.is_whitespace() || letter.is_control();
    if text.contains(is_invalid) { text.replace(is_invalid, "_").into() } else { text.into() }
}

/// The tags of a metric, sorted by name; labels without a value are none. Too long ones are cut: the longest values first, each ending in
/// `~` and a digest of the whole, so that different series stay apart and one has the same tags always. None if the metric leaves no
/// room even for a digest of its tags.
#[must_use]
pub fn tags<'a>(metric: &str, labels: impl IntoIterator<Item = &'a Label>) -> Option<String> {
    let labels = labels.into_iter().filter(|label| !label.value.is_empty());
    let mut tags: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        labels.map(|label| (valid_text(&label.name), valid_text(&label.value))).collect();
    tags.sort_unstable();
    let room = SERIES_BYTES.checked_sub(metric.len())?;
    let mut text = joined(&tags);
    if text.len() <= room {
        return Some(text);
    }
    let whole = format!("{DIGEST_TAG}={}", digest(&text));
    while text.len() > room {
        let longest = tags.iter_mut().map(|(_, value)| value).max_by_key(|value| value.len());
        let Some(longest) = longest.filter(|value| value.len() > SHORT_BYTES) else {
            return Some(whole).filter(|whole| whole.len() <= room);
        };
        *longest = cut(longest).into();
        text = joined(&tags);
    }
    Some(text)
}

fn joined(tags: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
    let mut text = String::new();
    for (name, value) in tags {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}={value}");
    }
    text
}

/// The beginning of a value, and a digest of it.
fn cut(value: &str) -> String {
    let end = value.floor_char_boundary(SHORT_BYTES - DIGEST_BYTES - 1);
    format!("{}~{}", &value[..end], digest(value))
}

/// A number that a text always has, in hexadecimal: FNV-1a of 64 bits.
fn digest(text: &str) -> String {
    let (basis, prime) = (0xcbf2_9ce4_8422_2325_u64, 0x0000_0100_0000_01b3);
    let hash = text.bytes().fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(prime));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(name: &str, value: &str) -> Label {
        Label { name: name.to_owned().into(), value: value.into() }
    }

    #[test]
    fn tags_are_sorted_and_valid() {
        let labels = [label("url", "http://a/?q=1, 2"), label("empty", ""), label("b c", "/srv/\"a' >\t")];
        assert_eq!(tags("m", &labels).as_deref(), Some("b_c=/srv/_a____,url=http://a/?q_1__2"));
        assert_eq!(tags("m", &[]).as_deref(), Some(""));
    }

    #[test]
    fn longest_values_are_cut() {
        let path = format!("/{}", "x".repeat(499));
        let labels = [label("path", &path), label("device", "sda")];
        let expected = "device=sda,path=/xxxxxxxxxxxxxxxxxxxxxx~1654dcb5796b3ff2";
        assert_eq!(tags("df.bytes.total", &labels).as_deref(), Some(expected));
        let whole = [label("path", &path[..485])];
        assert_eq!(tags("df.bytes.total", &whole).map(|tags| tags.len()), Some(490), "what fits is whole");
    }

    #[test]
    fn long_names_leave_a_digest() {
        let labels: Vec<Label> = (0..10).map(|at| label(&format!("{at}{}", "n".repeat(60)), "v")).collect();
        assert_eq!(tags("m", &labels).map(|tags| tags.len()), Some("series=".len() + DIGEST_BYTES));
        assert_eq!(tags(&"m".repeat(SERIES_BYTES - 3), &labels), None);
        assert_eq!(tags(&"m".repeat(SERIES_BYTES + 1), &[]), None);
    }

    proptest! {
        /// Tags are valid, in the limit, and those of different series differ.
        #[test]
        fn tags_are_valid_and_distinct(
            metric in "[a-z.]{1,300}",
            value in "[a-z/é🦀]{0,400}",
            others in prop::collection::btree_map("[a-z ,=]{1,100}", "[a-zé ,=\n]{0,200}", 0..8),
        ) {
            let mut labels: Vec<Label> = others.iter().map(|(name, value)| label(name, value)).collect();
            labels.push(label("X", &format!("a{value}")));
            let text = tags(&metric, &labels).expect("there is room for a digest");
            prop_assert!(metric.len() + text.len() <= SERIES_BYTES);
            prop_assert!(!text.contains([' ', '\n']));
            prop_assert!(text.split(',').all(|tag| tag.matches('=').count() == 1), "{}", text);
            let last = labels.len() - 1;
            labels[last] = label("X", &format!("b{value}"));
            prop_assert_ne!(tags(&metric, &labels).expect("the same room"), text);
        }
    }
}
