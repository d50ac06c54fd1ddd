//! Structured input from bytes, and checks that several fuzz targets share. The checks are written independently of the
//! code that they check.

use std::path::{Component, Path};

use crate::sample::{Module, Value, is_label_name, is_name, is_scraped_name};

/// Reads values from the fuzzer's bytes, one after the other. At the end of the bytes it reads zeros.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A text, preceded by its length in one byte. The length 255 repeats the text, so that it exceeds every limit.
    pub(crate) fn text(&mut self) -> String {
        let length = self.byte();
        let (text, rest) = self.0.split_at(usize::from(length).min(self.0.len()));
        self.0 = rest;
        let text = String::from_utf8_lossy(text);
        if length == u8::MAX { text.repeat(32) } else { text.into_owned() }
    }
}

/// Asserts the rules for every module in a sample: valid names, no duplicate key, finite floats.
pub(crate) fn check_module(module: &Module) {
    assert!(is_name(module.name()), "{:?} is not a name", module.name());
    let mut keys: Vec<String> = module.metrics().map(|metric| metric.key().to_string()).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "duplicate key in {}", module.name());
    for metric in module.metrics() {
        let is_verbatim = module.schema().source().is_verbatim;
        let is_valid = if is_verbatim { is_scraped_name(metric.name()) } else { is_name(metric.name()) };
        assert!(is_valid, "{:?} is not a name", metric.name());
        assert!(metric.labels().iter().all(|label| is_label_name(&label.name)), "{metric:?} has an invalid label name");
        assert!(!matches!(metric.value, Value::Float(value) if !value.is_finite()), "{metric:?} is not finite");
    }
}

/// Parses a [`Metric::key`](crate::sample::Metric::key) into the name and the labels.
pub(crate) fn read_key(key: &str) -> Option<(String, Vec<(String, String)>)> {
    let Some((name, rest)) = key.split_once('{') else { return Some((key.to_owned(), Vec::new())) };
    let mut rest = rest.strip_suffix('}')?;
    let mut labels = Vec::new();
    loop {
        let (label, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    escaped @ ('"' | '\\') => escaped,
                    _ => return None,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((label.to_owned(), value));
        match after[end + 1..].strip_prefix(',') {
            Some(more) => rest = more,
            None => return after[end + 1..].is_empty().then_some((name.to_owned(), labels)),
        }
    }
}

/// Whether a pattern matches a path, by definition: `*` is any text without a slash, every other byte is itself.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    // Entry n: the part of the pattern that was read matches the first n bytes of the path.
    let mut lengths = vec![false; path.len() + 1];
    lengths[0] = true;
    for &expected in pattern.as_bytes() {
        let mut next = vec![false; path.len() + 1];
        if expected == b'*' {
            next[0] = lengths[0];
        }
        for (at, &found) in path.as_bytes().iter().enumerate() {
            next[at + 1] = match expected {
                b'*' => lengths[at + 1] || next[at] && found != b'/',
                _ => lengths[at] && found == expected,
            };
        }
        lengths = next;
    }
    lengths[path.len()]
}

/// Whether std's path parser leaves the path as it is, so that it is the only spelling of the path.
pub(crate) fn is_plain(path: &str) -> bool {
    let components = Path::new(path).components().map(|component| match component {
        Component::RootDir => Some(String::new()),
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    });
    let plain: Option<Vec<String>> = components.collect();
    let plain = plain.map(|segments| segments.join("/"));
    path == "/" || path.len() < 4096 && path.starts_with('/') && !path.contains('\0') && plain.as_deref() == Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_and_path_checks_are_right() {
        for (pattern, path) in [("/a", "/a"), ("/*", "/"), ("/a*c", "/abcbc"), ("/*/b", "/a/b"), ("/**", "/x")] {
            assert!(covers(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("/a", "/ab"), ("/*", "/a/b"), ("/a*c", "/ab"), ("/ab*bc", "/abc"), ("/*/b", "//b/")] {
            assert!(!covers(pattern, path), "{pattern} {path}");
        }
        assert!(is_plain("/") && is_plain("/a/...") && is_plain("/*"));
        assert!(!is_plain("") && !is_plain("a") && !is_plain("/a/") && !is_plain("/a/../b") && !is_plain("/a//b"));
    }
}
