//! The fuzz targets: one function for each part that reads untrusted bytes. A target takes any bytes and panics when a
//! promise is broken, mostly by comparison with a second, simpler implementation. Built for the fuzzer and for tests only.
//! Targets that need private items are in the module that they test. `fuzz/` makes and keeps the inputs.

pub(crate) mod checks;

use std::collections::HashSet;
use std::path::Path;

use self::checks::{Input, covers, is_plain, read_key};
use crate::address::fetch_grant::FetchGrant;
use crate::address::{Address, ConnectGrant, Origin};
#[cfg(target_os = "linux")]
use crate::collector;
use crate::hostpath::{self, Pattern, below};
use crate::sample::{Label, Labels, Sample, Value, is_label_name, is_name, test_module};
use crate::sink::{self, Style};
use crate::{config, plugin, procfs, push, state_directory};

/// Takes any bytes, and panics when the code under test breaks a promise.
pub type Target = fn(&[u8]);

/// All targets, each with the name of its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("auxv", procfs::fuzz),
    ("certificate", plugin::fuzzing::certificate),
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
    #[cfg(target_os = "linux")]
    ("os_release", collector::fuzzing::os_release),
    ("path", path),
    ("probe", plugin::fuzzing::probe),
    ("push", push::fuzzing::push),
    ("result", plugin::fuzzing::result),
    ("sample", sample),
    ("spool", sink::fuzz_spool),
    #[cfg(target_os = "linux")]
    ("stat", collector::fuzzing::stat),
    ("state", state_directory::fuzz),
];

/// Addresses and origins: a parsed value prints as text that parses to the same value. A URL belongs to the origin that it
/// begins with, and its authority and path cannot name another host to the server.
fn address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(address) = Address::parse(&text) {
        assert_eq!(Address::parse(&address.to_string()), Ok(address));
    }
    if let Ok(grant) = ConnectGrant::parse(&text) {
        assert_eq!(ConnectGrant::parse(&grant.to_string()), Ok(grant));
    }
    if let Ok(grant) = FetchGrant::parse(&text) {
        assert_eq!(FetchGrant::parse(&grant.to_string()), Ok(grant));
    }
    if let Ok(origin) = Origin::parse(&text) {
        let (again, path) = Origin::from_url(&origin.to_string()).expect("an origin is a URL without a path");
        assert_eq!((again, path.as_str()), (origin, "/"));
    }
    if let Ok((origin, path)) = Origin::from_url(&text) {
        assert_eq!(Origin::parse(&origin.to_string()), Ok(origin.clone()));
        let authority = origin.authority();
        assert!(!authority.contains(['@', '/', '\\', '?', '#']) && !authority.contains(char::is_control), "{text:?}");
        let path = path.to_string();
        assert!(path.starts_with('/') && !path.contains(|character: char| character.is_ascii_control()), "{text:?}");
        let written = text.split_once("://").map(|(_, rest)| rest.to_ascii_lowercase()).unwrap_or_default();
        let host = written.split(['/', '?', '#']).next().unwrap_or_default();
        assert!(!host.contains('@'), "{text:?} has a user name");
    }
}

/// Paths and patterns. The input is three lines: a pattern, a path, a directory.
fn path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (pattern, path, directory) = (line(), line(), line());
    for path in [pattern, path, directory] {
        assert_eq!(hostpath::check(path).is_ok(), is_plain(path), "{path:?}");
        if is_plain(path) {
            let there = below(Path::new("/host"), path);
            let inside = there.strip_prefix("/host").expect("is below the root").to_str().expect("text");
            assert_eq!(format!("/{inside}"), path);
        }
    }
    let Ok(made) = Pattern::new(pattern) else { return assert!(!is_plain(pattern)) };
    assert_eq!(made.to_string(), pattern);
    assert!(made.matches(pattern), "a star matches a star");
    assert_eq!(made.matches(path), covers(pattern, path), "{pattern:?} for {path:?}");
    if is_plain(directory) {
        let depth = directory.split('/').skip(1).filter(|segment| !segment.is_empty()).count();
        let segments: Vec<&str> = pattern.split('/').skip(1).collect();
        let is_open = segments.get(depth).is_some_and(|next| next.contains('*'));
        let above = segments.iter().take(depth).fold(String::new(), |above, segment| above + "/" + segment);
        let is_covered = covers(&above, if directory == "/" { "" } else { directory });
        assert_eq!(made.opens(directory), is_covered && is_open, "{pattern:?} for the entries of {directory:?}");
    }
}

/// Samples: the JSON parses to the same values, and each key parses to the name and the labels.
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
            let read = read[&**module.name()].as_object().expect("an object");
            assert_eq!(read.len(), module.len(), "{text}");
            for metric in module.metrics() {
                check_value(metric.value, &read[&metric.key().to_string()]);
            }
        }
    }
    for metric in sample.modules.iter().flat_map(|module| module.metrics()) {
        let key = metric.key().to_string();
        let labels = metric.labels().iter().map(|label| (label.name.to_string(), label.value.to_string())).collect();
        assert_eq!(read_key(&key), Some((metric.name().to_owned(), labels)), "{key:?}");
        assert!(!key.contains('\n'), "{key:?}");
    }
}

fn make_sample(input: &mut Input<'_>) -> Sample {
    let mut sample = Sample::default();
    while !input.is_empty() {
        let name = input.text();
        if !is_name(&name) || sample.modules.iter().any(|module| **module.name() == *name) {
            continue;
        }
        let mut known = HashSet::new();
        let module = test_module(name, |values| {
            for _ in 0..input.byte() % 8 {
                let name = input.text();
                let labels =
                    (0..input.byte() % 4).map(|_| Label { name: input.text().into(), value: input.text().into() });
                let labels: Labels = labels.filter(|label| is_label_name(&label.name)).collect();
                let value = make_value(input);
                let mut set: Vec<_> =
                    labels.iter().map(|label| (label.name.to_string(), label.value.clone())).collect();
                set.sort_unstable();
                if is_name(&name) && known.insert((name.clone(), set)) {
                    values.push_labelled(&name, &labels, value);
                }
            }
        });
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
    assert!(is_same, "{value:?} is {read} in JSON");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// The corpus has the fuzzer's first inputs and those that it has found.
    #[test]
    fn corpus_passes_all_targets() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let names = |entries: fs::ReadDir| entries.map(|entry| entry.expect("readable").file_name());
        let folders: BTreeSet<_> = names(fs::read_dir(&corpus).expect("a corpus")).collect();
        assert_eq!(folders, TARGETS.iter().map(|(name, _)| (*name).into()).collect(), "a folder for each target");
        for (name, target) in TARGETS {
            let seeds: Vec<_> = names(fs::read_dir(corpus.join(name)).expect("a folder")).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in seeds {
                println!("{name}/{}", seed.display());
                let bytes = fs::read(corpus.join(name).join(seed)).expect("readable");
                target(&bytes);
                // The first half stands for a truncated file.
                target(&bytes[..bytes.len() / 2]);
            }
        }
    }
}
