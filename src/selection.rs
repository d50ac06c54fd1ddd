//! Selections: which series an output has. A pattern names a module, a metric and labels: `network.*{device="veth*"}`.

use std::fmt;

use crate::sample::{Series, is_label_name};

/// The longest pattern.
const MAX_PATTERN_BYTES: usize = 512;

/// Which series an output has: those that match a pattern of `include`, if there is one, and none of `exclude`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The patterns of which a series has to match one; empty for all series.
    pub include: Vec<SeriesPattern>,
    /// The patterns of which a series may match none.
    pub exclude: Vec<SeriesPattern>,
}

impl Selection {
    /// Whether a series of a module is selected.
    #[must_use]
    pub fn selects(&self, module: &str, series: &Series) -> bool {
        let is_included = self.include.is_empty() || is_matched(&self.include, module, series);
        is_included && !self.excludes(module, series)
    }

    /// Whether a series of a module is excluded.
    #[must_use]
    pub fn excludes(&self, module: &str, series: &Series) -> bool {
        is_matched(&self.exclude, module, series)
    }

    /// Whether each series is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }
}

fn is_matched(patterns: &[SeriesPattern], module: &str, series: &Series) -> bool {
    patterns.iter().any(|pattern| pattern.matches(module, series))
}

/// A pattern over series. `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesPattern {
    /// As it is written.
    text: String,
    module: Glob,
    metric: Glob,
    labels: Vec<(String, Glob)>,
}

impl SeriesPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Why it is none: the end of a sentence that begins with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it like network.receive_*{device=\"veth*\"}";
        if text.len() > MAX_PATTERN_BYTES {
            return Err(format!("is longer than {MAX_PATTERN_BYTES} bytes; shorten it"));
        }
        let (name, labels) = match text.split_once('{') {
            None => (text, ""),
            Some((name, rest)) => match rest.strip_suffix('}') {
                Some(labels) => (name, labels),
                None => return Err(format!("has no }} at its end; {FORM}")),
            },
        };
        let Some((module, metric)) = name.split_once('.') else {
            return Err(format!("has no dot between module and metric; write {name}.* for all metrics of a module"));
        };
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'*' | b':');
        // Names of pushed points have these, too.
        let is_valid_in_metric = |byte: u8| is_valid(byte) || matches!(byte, b'.' | b'-' | b'/');
        let is_metric = !metric.is_empty() && metric.bytes().all(is_valid_in_metric);
        for (part, is_part) in [("module", !module.is_empty() && module.bytes().all(is_valid)), ("metric", is_metric)] {
            if !is_part {
                return Err(format!("has no valid {part}; {FORM}"));
            }
        }
        let labels = parse_labels(labels).map_err(|why| format!("{why}; {FORM}"))?;
        Ok(Self { text: text.to_owned(), module: Glob::new(module), metric: Glob::new(metric), labels })
    }

    /// Whether a series of a module matches. A histogram or summary matches by its name without a column's suffix, and so as a whole.
    fn matches(&self, module: &str, series: &Series) -> bool {
        self.module.matches(module)
            && self.metric.matches(series.metric_name())
            && self.labels.iter().all(|(name, glob)| {
                let value = series.labels().iter().find(|label| *label.name == **name).map(|label| &*label.value);
                // As in Prometheus, an empty text stands for a label that is not there.
                value.map_or_else(|| glob.is_empty(), |value| glob.matches(value))
            })
    }
}

impl fmt::Display for SeriesPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses `label="pattern",…`, the part between the braces.
fn parse_labels(text: &str) -> Result<Vec<(String, Glob)>, String> {
    let (mut labels, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once("=\"").ok_or("has a label without =\"…\"")?;
        if !is_label_name(name) {
            return Err(format!("has the invalid label {name:?}"));
        }
        let (value, after) = unquote(quoted).ok_or("has a label whose value does not end with a quotation mark")?;
        labels.push((name.to_owned(), Glob::new(&value)));
        rest = match after.strip_prefix(',') {
            Some("") => return Err("ends with a comma".to_owned()),
            Some(rest) => rest,
            None if after.is_empty() => after,
            None => return Err("has no comma between two labels".to_owned()),
        };
    }
    Ok(labels)
}

/// The text up to the next quotation mark, with the escapes of the Prometheus text format resolved, and what follows the mark.
fn unquote(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// A text in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob {
    /// The texts between the stars.
    parts: Box<[Box<str>]>,
}

impl Glob {
    fn new(text: &str) -> Self {
        Self { parts: text.split('*').map(Into::into).collect() }
    }

    fn is_empty(&self) -> bool {
        matches!(&*self.parts, [only] if only.is_empty())
    }

    fn matches(&self, text: &str) -> bool {
        match &*self.parts {
            [] => text.is_empty(),
            [only] => **only == *text,
            [first, middle @ .., last] => {
                let Some(rest) = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last)) else {
                    return false;
                };
                // The first place of each part leaves the most for the others.
                let found = middle.iter().try_fold(rest, |rest, part| {
                    let at = rest.find(&**part)?;
                    Some(&rest[at + part.len()..])
                });
                found.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{Labels, test_module};

    fn matches(pattern: &str, module: &'static str, name: &str, labels: &Labels) -> bool {
        let pattern = SeriesPattern::parse(pattern).expect("a pattern");
        let module_of = test_module(module, |values| values.push_labelled(name, labels, 1_u64));
        pattern.matches(module, &module_of.schema().series()[0])
    }

    #[test]
    fn patterns_match_modules_metrics_and_labels() {
        let veth: Labels = [("device", "veth12"), ("address", "a\"b")].into();
        for (pattern, is_match) in [
            ("network.receive_bytes", true),
            ("network.*", true),
            ("*.receive_*", true),
            ("net*k.*_b*s", true),
            ("network.receive", false),
            ("net.*", false),
            (r#"network.*{device="veth*"}"#, true),
            (r#"network.*{device="eth*"}"#, false),
            (r#"network.*{device="*"}"#, true),
            (r#"network.*{other="*"}"#, false),
            (r#"network.*{other=""}"#, true),
            (r#"network.*{device="veth12",address="a\"b"}"#, true),
            (r#"network.*{device="veth12",address="b"}"#, false),
        ] {
            assert_eq!(matches(pattern, "network", "receive_bytes", &veth), is_match, "{pattern}");
        }
    }

    #[test]
    fn invalid_patterns_name_the_remedy() {
        for (text, why) in [
            ("cpu", "has no dot between module and metric; write cpu.* for all metrics of a module"),
            ("cpu.", "has no valid metric; "),
            (".user", "has no valid module; "),
            ("cpu.a b", "has no valid metric; "),
            ("cpu.user{", "has no } at its end; "),
            ("cpu.user{mode=x}", "has a label without =\"…\"; "),
            ("cpu.user{1=\"x\"}", "has the invalid label \"1\"; "),
            ("cpu.user{a=\"x}", "has a label whose value does not end with a quotation mark; "),
            ("cpu.user{a=\"x\"b=\"y\"}", "has no comma between two labels; "),
            ("cpu.user{a=\"x\",}", "ends with a comma; "),
        ] {
            let error = SeriesPattern::parse(text).expect_err(text);
            assert!(error.starts_with(why), "{text}: {error}");
        }
        let long = format!("a.{}", "b".repeat(MAX_PATTERN_BYTES));
        assert_eq!(SeriesPattern::parse(&long).expect_err("long"), "is longer than 512 bytes; shorten it");
    }

    #[test]
    fn exclusion_wins_over_inclusion() {
        let patterns = |texts: &[&str]| -> Vec<SeriesPattern> {
            texts.iter().map(|text| SeriesPattern::parse(text).expect("a pattern")).collect()
        };
        let module = test_module("m", |values| ["a", "b", "c"].iter().for_each(|name| values.push(name, 1_u64)));
        let selected = |selection: &Selection| -> String {
            module.schema().series().iter().filter(|series| selection.selects("m", series)).map(|s| s.name()).collect()
        };
        assert_eq!(selected(&Selection::default()), "abc");
        assert_eq!(selected(&Selection { exclude: patterns(&["m.b"]), ..Selection::default() }), "ac");
        assert_eq!(selected(&Selection { include: patterns(&["m.a", "m.b"]), exclude: patterns(&["*.b"]) }), "a");
        assert_eq!(selected(&Selection { include: patterns(&["x.*"]), ..Selection::default() }), "");
    }

    proptest! {
        #[test]
        fn globs_match_as_a_simple_matcher(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            fn simple(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) if simple(rest, text) => true,
                    (Some((b'*', _)), Some((_, after))) => simple(pattern, after),
                    (Some((wanted, rest)), Some((found, after))) => wanted == found && simple(rest, after),
                    _ => false,
                }
            }
            prop_assert_eq!(Glob::new(&pattern).matches(&text), simple(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn any_text_is_parsed_or_refused(
            text in prop_oneof![any::<String>(), "[ab*]{1,2}\\.?[ab*/]{0,2}(\\{(a=\"b?\",?){0,2}\\}?)?"],
        ) {
            if SeriesPattern::parse(&text).is_ok() {
                let name = text.split('{').next().unwrap_or_default();
                prop_assert!(name.contains('.') && name.bytes().all(|byte| byte.is_ascii_graphic()), "{}", name);
                prop_assert_eq!(text.contains('{'), text.ends_with('}'));
                prop_assert!(text.len() <= MAX_PATTERN_BYTES);
            }
        }
    }
}
