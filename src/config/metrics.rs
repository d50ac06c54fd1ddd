//! The table `[metrics]` and the key `tags`: what holds for all sinks and `/metrics`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::key::{DefaultValue, Key, PATTERNS, Reload, Values};
use super::problem_list::ProblemList;
use crate::sample::is_label_name;
use crate::selection::{Selection, SeriesPattern};

/// The default of `prefix`.
const DEFAULT_PREFIX: &str = "gauged";

/// The longest `prefix`.
const MAX_PREFIX_BYTES: usize = 64;

/// The most tags: each is repeated in every series.
const MAX_TAGS: usize = 32;

/// The longest value of a tag.
const MAX_TAG_BYTES: usize = 256;

/// Labels that a histogram, a summary or a receiver of a scrape has itself.
const RESERVED: [&str; 4] = ["le", "quantile", "job", "instance"];

/// The table `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The series that there are in any output.
    pub selection: Selection,
    /// The beginning of the names in the naming `gauged`.
    pub prefix: String,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { selection: Selection::default(), prefix: DEFAULT_PREFIX.to_owned() }
    }
}

impl MetricsConfig {
    /// Parses the table, which has these keys.
    pub(super) fn parse(problems: &mut ProblemList<'_>, value: Spanned<DeValue<'_>>, known_keys: &str) -> Self {
        let mut metrics = Self::default();
        for (name, value) in problems.table("metrics", value).unwrap_or_default() {
            let key = format!("metrics.{}", name.get_ref());
            match &**name.get_ref() {
                "include" => metrics.selection.include = problems.parsed_list(&key, value, SeriesPattern::parse),
                "exclude" => metrics.selection.exclude = problems.parsed_list(&key, value, SeriesPattern::parse),
                "prefix" => metrics.prefix = problems.parsed(&key, value, parse_prefix).unwrap_or(metrics.prefix),
                _ => problems.unknown(name.span(), &key, known_keys),
            }
        }
        metrics
    }
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let is_valid = is_label_name(text) && !text.ends_with('_') && text.len() <= MAX_PREFIX_BYTES;
    let refused = || {
        format!(
            "{text:?} is not a prefix; use letters, digits and inner _, at most {MAX_PREFIX_BYTES}, as in \"gauged\""
        )
    };
    if is_valid { Ok(text.to_owned()) } else { Err(refused()) }
}

/// Parses the table `tags`: labels of every series of numeric sinks and of `/metrics`.
pub(super) fn parse_tags(problems: &mut ProblemList<'_>, value: Spanned<DeValue<'_>>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for (name, value) in problems.table("tags", value).unwrap_or_default() {
        let (span, key) = (name.span(), format!("tags.{}", name.get_ref()));
        let name = name.get_ref();
        if !is_label_name(name) {
            let message = "not a label's name; use letters, digits and _, at most 128 of them, and no digit first";
            problems.add(span, &key, message.to_owned());
        } else if RESERVED.contains(&&**name) {
            problems.add(span, &key, format!("is a label that has a meaning of its own; use another name than {name}"));
        } else if tags.len() == MAX_TAGS {
            problems.add(span, &key, format!("is one tag too many; at most {MAX_TAGS} are allowed"));
        } else if let Some(text) = problems.parsed(&key, value, parse_tag) {
            tags.insert(name.to_string(), text);
        }
    }
    tags
}

fn parse_tag(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_TAG_BYTES {
        return Err(format!("{text:?} is not a tag's value; write 1 to {MAX_TAG_BYTES} bytes, or remove the tag"));
    }
    Ok(text.to_owned())
}

/// The rows of the table's keys in the table of all keys.
pub(super) fn keys() -> Vec<Key> {
    let key = |name, values, default, meaning| Key {
        table: "metrics",
        name,
        values,
        default,
        meaning,
        reload: Reload::Applied,
    };
    vec![
        key(
            "include",
            Values::List(PATTERNS),
            DefaultValue::EmptyList,
            "[series](#series) that there are in any output; all if it is empty",
        ),
        key("exclude", Values::List(PATTERNS), DefaultValue::EmptyList, "series that there are in no output"),
        key(
            "prefix",
            Values::Text("letters, digits and inner `_`"),
            DefaultValue::Word(DEFAULT_PREFIX),
            "beginning of the names in the naming `gauged`",
        ),
    ]
}
