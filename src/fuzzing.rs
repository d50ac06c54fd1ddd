//! What the fuzzer runs, built for it and for the tests only: one function for each thing that reads what the agent's
//! authors did not write. Each takes any bytes and panics when a promise is broken, mostly by answering the same question
//! in a second, simpler way. Those that need what a module keeps to itself are in that module; how inputs are made up and
//! kept is the business of `fuzz/`.

use std::path::{Component, Path};

use crate::address::{Address, ConnectGrant, Origin};
#[cfg(target_os = "linux")]
use crate::collector;
use crate::hostpath::{self, Pattern, below};
use crate::sample::{Label, Labels, Module, Sample, Value, is_label_name, is_name};
use crate::sink::{self, Style};
use crate::{config, plugin, procfs};

/// Takes any bytes, and panics when what reads them breaks a promise.
pub type Target = fn(&[u8]);

/// Everything that is fuzzed, by the name of its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("auxv", procfs::fuzz),
    ("config", config::fuzzing::config),
    #[cfg(target_os = "linux")]
    ("cpuinfo", collector::fuzzing::cpuinfo),
    ("grants", plugin::fuzzing::grants),
    #[cfg(target_os = "linux")]
    ("loadavg", collector::fuzzing::loadavg),
    #[cfg(target_os = "linux")]
    ("memory", collector::fuzzing::memory),
    #[cfg(target_os = "linux")]
    ("natives", collector::fuzzing::natives),
    ("path", path),
    ("probe", plugin::fuzzing::probe),
    ("result", plugin::fuzzing::result),
    ("sample", sample),
    #[cfg(target_os = "linux")]
    ("stat", collector::fuzzing::stat),
];

/// Addresses and origins: what is read has one spelling, and is read from that as the same. An address of a request is of
/// the origin that it begins with, and says no other to the server.
fn address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(address) = Address::parse(&text) {
        assert_eq!(Address::parse(&address.to_string()), Ok(address));
    }
    if let Ok(grant) = ConnectGrant::parse(&text) {
        assert_eq!(ConnectGrant::parse(&grant.to_string()), Ok(grant));
    }
    if let Ok(origin) = Origin::parse(&text) {
        let (again, path) = Origin::from_url(&origin.to_string()).expect("an origin is an address without a path");
        assert_eq!((again, path.as_str()), (origin, "/"));
    }
    if let Ok((origin, path)) = Origin::from_url(&text) {
        assert_eq!(Origin::parse(&origin.to_string()), Ok(origin.clone()));
        let authority = origin.authority();
        assert!(!authority.contains(['@', '/', '\\', '?', '#']) && !authority.contains(char::is_control), "{text:?}");
        let path = path.to_string();
        assert!(path.starts_with('/') && !path.contains(|it: char| it.is_ascii_control()), "{text:?}");
        let written = text.split_once("://").map(|(_, rest)| rest.to_ascii_lowercase()).unwrap_or_default();
        let host = written.split(['/', '?', '#']).next().unwrap_or_default();
        assert!(!host.contains('@'), "{text:?} names a user");
    }
}

/// Bytes from which structured values are made, one after the other. At the end there are only zeros.
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

    /// A text, its length before it. The greatest length stands for a text so long that it exceeds every limit.
    pub(crate) fn text(&mut self) -> String {
        let length = self.byte();
        let (text, rest) = self.0.split_at(usize::from(length).min(self.0.len()));
        self.0 = rest;
        let text = String::from_utf8_lossy(text);
        if length == u8::MAX { text.repeat(32) } else { text.into_owned() }
    }
}

/// Makes sure of what every module in a sample is: names that are names, no key twice, floats that are finite.
pub(crate) fn check_module(module: &Module) {
    assert!(is_name(&module.name), "{:?} is no name", module.name);
    let mut keys: Vec<String> = module.metrics().map(|metric| metric.key.to_owned()).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "a key of {} is there twice", module.name);
    for metric in module.metrics() {
        assert!(is_name(metric.name), "{:?} is no name", metric.name);
        assert!(metric.labels.iter().all(|label| is_label_name(&label.name)), "{metric:?} has a label without a name");
        assert!(!matches!(metric.value, Value::Float(value) if !value.is_finite()), "{metric:?} is not finite");
    }
}

/// The inverse of [`Metric::key`](crate::sample::Metric::key), written independently of it.
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

/// Whether a pattern stands for a path, by definition: `*` is any text without a slash, everything else is itself.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    // Which lengths of the path what was seen of the pattern can be.
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

/// Whether the system itself sees nothing in a path that it could leave out: and then it has one spelling.
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

/// Paths and patterns: a pattern, a path and a directory, a line each.
fn path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (pattern, path, directory) = (line(), line(), line());
    for path in [pattern, path, directory] {
        assert_eq!(hostpath::check(path).is_ok(), is_plain(path), "{path:?}");
        if is_plain(path) {
            let there = below(Path::new("/host"), path);
            let inside = there.strip_prefix("/host").expect("is below the root").to_str().expect("as it came");
            assert_eq!(format!("/{inside}"), path);
        }
    }
    let Ok(made) = Pattern::new(pattern) else { return assert!(!is_plain(pattern)) };
    assert_eq!(made.to_string(), pattern);
    assert!(made.matches(pattern), "a star stands for a star, too");
    assert_eq!(made.matches(path), covers(pattern, path), "{pattern:?} for {path:?}");
    if is_plain(directory) {
        // What the pattern says of the directory, and of what is in it.
        let depth = directory.split('/').skip(1).filter(|segment| !segment.is_empty()).count();
        let segments: Vec<&str> = pattern.split('/').skip(1).collect();
        let is_open = segments.get(depth).is_some_and(|next| next.contains('*'));
        let above = segments.iter().take(depth).fold(String::new(), |above, segment| above + "/" + segment);
        let is_it = covers(&above, if directory == "/" { "" } else { directory });
        assert_eq!(made.opens(directory), is_it && is_open, "{pattern:?} for the entries of {directory:?}");
    }
}

/// A sample as JSON, read back by a parser, and its keys read back as name and labels.
fn sample(bytes: &[u8]) {
    let sample = make_sample(&mut Input(bytes));
    for style in [Style::Line, Style::Pretty] {
        let mut encoded = Vec::new();
        sink::encode(&sample, style, &mut encoded);
        let text = str::from_utf8(&encoded).expect("JSON is text");
        assert!(style == Style::Pretty || text.find('\n') == Some(text.len() - 1), "a line is one line");
        let read: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let read = read.as_object().expect("an object");
        assert_eq!(read.len(), sample.modules.len(), "{text}");
        for module in &sample.modules {
            let read = read[&*module.name].as_object().expect("an object");
            assert_eq!(read.len(), module.len(), "{text}");
            for metric in module.metrics() {
                check_value(metric.value, &read[metric.key]);
            }
        }
    }
    for metric in sample.modules.iter().flat_map(Module::metrics) {
        let key = metric.key;
        let labels = metric.labels.iter().map(|label| (label.name.to_string(), label.value.clone())).collect();
        assert_eq!(read_key(key), Some((metric.name.to_string(), labels)), "{key:?}");
        assert!(!key.contains('\n'), "{key:?}");
    }
}

fn make_sample(input: &mut Input<'_>) -> Sample {
    let mut sample = Sample::default();
    while !input.is_empty() {
        let name = input.text();
        if !is_name(&name) || sample.modules.iter().any(|module| *module.name == *name) {
            continue;
        }
        let mut module = Module::new(name);
        for _ in 0..input.byte() % 8 {
            let name = input.text();
            let labels = (0..input.byte() % 4).map(|_| Label { name: input.text().into(), value: input.text() });
            let labels: Labels = labels.filter(|label| is_label_name(&label.name)).collect();
            let value = make_value(input);
            let is_twice = module.metrics().any(|other| other.name == name && *other.labels == *labels);
            if is_name(&name) && !is_twice {
                module.push_labelled(&name, &labels, value);
            }
        }
        sample.modules.push(module);
    }
    sample
}

fn make_value(input: &mut Input<'_>) -> Value {
    match input.byte() % 6 {
        0 => Value::Null,
        1 => Value::Unsigned(input.number()),
        2 => Value::Signed(input.number().cast_signed()),
        3 => Some(f64::from_bits(input.number())).filter(|value| value.is_finite()).into(),
        4 => Value::Boolean(input.byte() % 2 == 1),
        _ => Value::Text(input.text().into()),
    }
}

fn check_value(value: &Value, read: &serde_json::Value) {
    let is_same = match value {
        Value::Null => read.is_null(),
        Value::Unsigned(value) => read.as_u64() == Some(*value),
        Value::Signed(value) => read.as_i64() == Some(*value),
        Value::Float(value) => read.is_f64() && read.as_f64().map(f64::to_bits) == Some(value.to_bits()),
        Value::Boolean(value) => read.as_bool() == Some(*value),
        Value::Text(value) => read.as_str() == Some(&**value),
    };
    assert!(is_same, "{value:?} was read back as {read}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// What the fuzzer starts from, and what it has found: all of it holds at every run of the tests.
    #[test]
    fn every_seed_is_survived() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let names = |entries: fs::ReadDir| entries.map(|entry| entry.expect("readable").file_name());
        let folders: BTreeSet<_> = names(fs::read_dir(&corpus).expect("there is a corpus")).collect();
        assert_eq!(folders, TARGETS.iter().map(|(name, _)| (*name).into()).collect(), "a folder for each target");
        for (name, target) in TARGETS {
            let seeds: Vec<_> = names(fs::read_dir(corpus.join(name)).expect("a folder")).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in seeds {
                println!("{name}/{}", seed.display());
                let bytes = fs::read(corpus.join(name).join(seed)).expect("readable");
                target(&bytes);
                // Half of it is a file that was cut off.
                target(&bytes[..bytes.len() / 2]);
            }
        }
    }

    #[test]
    fn the_second_opinion_on_patterns_is_right() {
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
