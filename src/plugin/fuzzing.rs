//! Fuzz targets of plugins: the probe of files, the grants of paths, the conversion of results, and the certificates of peers.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::limits::{Limit, Limits};
use crate::escape::printable;
use crate::fuzzing::checks::{Input, check_module, covers, is_plain};
use crate::hostpath::{Pattern, first_process_path};
use crate::plugin::build::probe;
use crate::plugin::grants::network::Network;
use crate::plugin::grants::{Basis, Grants, PathRefusal};
use crate::plugin::guest::bindings::gauged::plugin::metrics;
use crate::plugin::guest::description::Description;
use crate::plugin::guest::result::Converter;
use crate::plugin::guest::returned;
pub(crate) use crate::plugin::host::certificate::fuzz as certificate;
use crate::sample::{Column, Module, SeriesAccount, Value};

/// Probes a file: it is either rejected with a reason of one line, or becomes a component that the probe does not change.
pub(crate) fn probe(bytes: &[u8]) {
    match probe::to_component(bytes) {
        Ok(component) => {
            let again = probe::to_component(&component);
            assert!(matches!(again, Ok(Cow::Borrowed(same)) if same == &*component), "a component stays as it is");
        }
        Err(why) => {
            let shown = printable(&why);
            assert!(!shown.is_empty() && !shown.contains(char::is_control), "{shown:?}");
        }
    }
}

/// Compares grants with a model. The last line is the path; the others are grants to read, or of usage when they begin with
/// `u`. A path passes exactly when a grant covers it and it is not the agent's own.
pub(crate) fn grants(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // Of process 1, as the capability has them.
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(first_process_path).collect();
    let mut lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
    let path = lines.pop().unwrap_or_default();
    let (usage, read): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.starts_with('u'));
    let usage: Vec<&str> = usage.iter().map(|line| &line[1..]).collect();
    let patterns = |texts: &[&str]| texts.iter().filter_map(|text| Pattern::new(*text).ok()).collect::<Vec<_>>();
    // No /proc is below this root, so that no number is the agent's.
    let grants = Grants::new(Path::new("/var/empty/gauged"), &patterns(&read), &patterns(&usage), Network::default());

    let is_covered = |patterns: &[&str]| patterns.iter().any(|pattern| is_plain(pattern) && covers(pattern, path));
    let is_own = ["/proc/self", "/proc/thread-self"].iter().any(|own| Path::new(path).starts_with(own));
    match grants.read(path) {
        Ok(Basis::Configuration) => assert!(is_plain(path) && !is_own && is_covered(&read), "{path:?} is open"),
        Ok(Basis::Default) => assert!(is_kernel_wide(path) && !is_covered(&read), "{path:?} is open to all"),
        Err(PathRefusal::Malformed(_)) => assert!(!is_plain(path), "{path:?} is well-formed"),
        Err(PathRefusal::Own) => assert!(is_own, "{path:?} is not the agent's own"),
        Err(PathRefusal::Missing) => assert!(!is_covered(&read), "{path:?} is granted"),
    }
    assert_eq!(grants.usage(path).is_ok(), is_plain(path) && is_covered(&usage), "the usage of {path:?}");
    let list = grants.list(path);
    assert!(list.is_ok() || grants.read(path).is_err(), "{path:?} may be read but not listed");
    if list == Ok(Basis::Configuration) {
        let is_open = |pattern: &&str| {
            let parent = pattern.rsplit_once('/').map_or("", |(parent, _)| parent);
            covers(pattern, path) || opens(pattern, path) || covers(parent, path)
        };
        assert!(is_plain(path) && !is_own && read.iter().any(is_open), "{path:?} may be listed");
    }
    assert!(Grants::none().list(path).is_err() && Grants::none().usage(path).is_err(), "no grants allow nothing");
}

/// Whether a pattern has a wildcard directly below this directory.
fn opens(pattern: &str, directory: &str) -> bool {
    let ends = pattern.match_indices('/').map(|(at, _)| at);
    ends.filter(|&end| pattern[end..].split('/').nth(1).is_some_and(|next| next.contains('*')))
        .any(|end| covers(&pattern[..end], directory.trim_end_matches('/')))
}

/// The bounds of the default grants: files about the kernel, and of processes only the namespaces of PID 1.
fn is_kernel_wide(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments[..] {
        ["proc", "1", file, ..] => matches!(file, "net" | "mounts" | "mountinfo"),
        ["proc", first, ..] => !first.bytes().all(|byte| byte.is_ascii_digit()) && !first.ends_with("self"),
        ["sys", first, second, ..] => {
            let is_open = match first {
                "block" | "bus" | "class" | "devices" | "firmware" | "fs" | "hypervisor" | "module" | "power" => true,
                "kernel" => !matches!(second, "debug" | "security" | "tracing"),
                _ => false,
            };
            is_open && is_plain(path)
        }
        _ => false,
    }
}

/// Converts a result of any shape and size: kept metrics are usable, dropped ones are counted. The first byte selects the
/// default limits, which few inputs reach, or narrow ones.
pub(crate) fn result(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut limits = Limits::default();
    if input.byte() != u8::MAX {
        for (limit, most) in [(Limit::Modules, 5), (Limit::Metrics, 20), (Limit::Labels, 4), (Limit::Text, 40)] {
            limits.set(limit, most);
        }
    }
    let returned = make_modules(&mut input);
    let all: u64 = returned.iter().map(|module| module.metrics.len() as u64).sum();
    let empty = returned.iter().filter(|module| module.metrics.len() == 0).count() as u64;
    let names_in_order: Vec<String> = returned.iter().map(|module| module.name.clone()).collect();
    let (tick, step) = (Duration::from_secs(1_700_000_000), Duration::from_secs(10));
    let description = Description::unknown(&"fuzz".into());
    let mut converter = Converter::new(&description, SeriesAccount::standalone(), Arc::default(), Duration::ZERO, step);
    let collected = converter.convert(returned.clone(), &limits, tick);
    let again = converter.convert(returned, &limits, tick);
    assert_eq!(
        (&again.modules, again.dropped),
        (&collected.modules, collected.dropped),
        "a second result is as the first"
    );
    let is_in_order = |(first, again): (&Arc<Module>, &Arc<Module>)| first.time <= again.time && again.time <= tick;
    assert!(collected.modules.iter().zip(&again.modules).all(is_in_order), "times never fall");

    // A histogram or summary is one metric of several columns.
    let is_metric = |column| matches!(column, Column::Value | Column::Count);
    let columns = collected.modules.iter().flat_map(|module| module.schema().series()).map(|series| series.column());
    let (kept, metrics) = (columns.clone().count() as u64, columns.filter(|column| is_metric(*column)).count() as u64);
    assert!(
        (all..=all + empty).contains(&(metrics + collected.dropped)),
        "all are kept or counted, a module without metrics as one"
    );
    assert!(kept <= limits[Limit::Metrics], "the limits hold");
    assert!(collected.modules.len() as u64 <= limits[Limit::Modules], "the limits hold");
    let names: HashSet<&str> = collected.modules.iter().map(|module| &**module.name()).collect();
    assert_eq!(names.len(), collected.modules.len(), "a module is there twice");
    let mut order = names_in_order.iter();
    assert!(collected.modules.iter().all(|module| order.any(|name| **name == **module.name())), "the order changed");
    for module in &collected.modules {
        check_module(module);
        for metric in module.metrics() {
            let texts = metric.labels().iter().map(|label| label.value.len());
            let text = if let Value::Text(text) = metric.value { text.len() } else { 0 };
            let own = metric.labels().len() - usize::from(metric.series.column().label().is_some());
            assert!(own as u64 <= limits[Limit::Labels], "the limits hold for labels");
            assert!(texts.chain([text]).all(|length| length as u64 <= limits[Limit::Text]), "and for texts");
            let labels: HashSet<&str> = metric.labels().iter().map(|label| &*label.name).collect();
            assert_eq!(labels.len(), metric.labels().len(), "a label is there twice");
        }
    }
}

fn make_modules(input: &mut Input<'_>) -> Vec<returned::Module> {
    let mut modules = Vec::new();
    while !input.is_empty() {
        let name = input.text();
        let metrics: Vec<metrics::Metric> = (0..input.byte() % 8).flat_map(|_| make_metrics(input)).collect();
        let (verbatim, unix_ms) = (input.byte() % 4 == 1, (input.byte() % 4 == 1).then(|| input.number()));
        let kinds = [metrics::Kind::Gauge, metrics::Kind::Counter, metrics::Kind::Histogram, metrics::Kind::Summary];
        let descriptor = |name: &String, module: &str, kind| metrics::Descriptor {
            module: module.to_owned(),
            name: name.clone(),
            kind,
            counts_from: metrics::Origin::Plugin,
            unit: "s".to_owned(),
            description: String::new(),
            labels: Vec::new(),
        };
        let described: Vec<_> =
            metrics.iter().map(|metric| (&metric.name, kinds[usize::from(input.byte() % 4)])).collect();
        modules.extend(repetitions(input).map(|at| {
            let name = numbered(&name, at);
            let descriptors = described.iter().map(|&(metric, kind)| descriptor(metric, &name, kind)).collect();
            returned::Module { name, unix_ms, verbatim, metrics: metrics.iter().cloned().collect(), descriptors }
        }));
        if modules.iter().map(|module: &returned::Module| module.metrics.len()).sum::<usize>() > 11_000 {
            break;
        }
    }
    modules
}

fn make_metrics(input: &mut Input<'_>) -> Vec<metrics::Metric> {
    let name = input.text();
    let labels: Vec<metrics::Label> = (0..input.byte() % 20)
        .map(|at| metrics::Label { name: numbered(&input.text(), usize::from(at)), value: input.text() })
        .collect();
    let value = match input.byte() % 7 {
        0 => metrics::Value::Natural(input.number()),
        1 => metrics::Value::Integer(input.number().cast_signed()),
        2 => metrics::Value::Number(f64::from_bits(input.number())),
        3 => metrics::Value::Boolean(input.byte() % 2 == 1),
        4 => metrics::Value::Histogram(make_histogram(input)),
        5 => metrics::Value::Summary(make_summary(input)),
        _ => metrics::Value::Text(input.text()),
    };
    let metric = |at| metrics::Metric { name: numbered(&name, at), labels: labels.clone(), value: value.clone() };
    repetitions(input).map(metric).collect()
}

fn make_histogram(input: &mut Input<'_>) -> metrics::Histogram {
    let bounds = (0..input.byte() % 5).map(|_| f64::from(input.byte())).collect();
    let counts = (0..input.byte() % 6).map(|_| input.number()).collect();
    metrics::Histogram { bounds, counts, sum: (input.byte() % 2 == 1).then(|| f64::from_bits(input.number())) }
}

fn make_summary(input: &mut Input<'_>) -> metrics::Summary {
    let quantile = |share: u8, value: u8| metrics::Quantile {
        share: f64::from(share) / 200.0,
        value: (value % 2 == 1).then(|| f64::from(value)),
    };
    let quantiles = (0..input.byte() % 5).map(|_| quantile(input.byte(), input.byte())).collect();
    metrics::Summary { quantiles, sum: None, count: Some(input.number()) }
}

/// One, or at the greatest byte more than the limit of modules: a few such modules also exceed the limit of metrics.
fn repetitions(input: &mut Input<'_>) -> std::ops::Range<usize> {
    0..if input.byte() == u8::MAX { 101 } else { 1 }
}

/// A name, with the number in place of a `#` at its end.
fn numbered(name: &str, at: usize) -> String {
    name.strip_suffix('#').map_or_else(|| name.to_owned(), |name| format!("{name}{at}"))
}
