//! The linter of Prometheus, `promtool check metrics`, as far as it is about names: `promlint/validations` of
//! `client_golang`. It is written down a second time, so that names that no fixture machine has are held against it, too.

use crate::naming::named::Named;
use crate::sample::MetricKind;

const UNITS: [(&str, &str); 24] = [
    ("amperes", "amperes"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "grams"),
    ("joules", "joules"),
    ("kelvin", "kelvin"),
    ("meters", "meters"),
    ("metres", "metres"),
    ("seconds", "seconds"),
    ("volts", "volts"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kelvins", "kelvin"),
    ("fahrenheit", "celsius"),
    ("rankine", "celsius"),
    ("inches", "meters"),
    ("yards", "meters"),
    ("miles", "meters"),
    ("bits", "bytes"),
    ("calories", "joules"),
    ("pounds", "grams"),
    ("ounces", "grams"),
];

const PREFIXES: [&str; 18] = [
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi", "giga", "gibi",
    "tera", "tebi", "peta", "pebi",
];

const ABBREVIATIONS: [&str; 14] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

fn is_camel_case(name: &str) -> bool {
    name.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

/// Its complaints of a metric.
pub(super) fn complaints(named: &Named) -> Vec<String> {
    let (name, kind) = (&*named.name, named.kind);
    let mut complaints = Vec::new();
    let mut complain = |is_wrong: bool, complaint: String| complaints.extend(is_wrong.then_some(complaint));
    for word in name.split('_') {
        let scaled = PREFIXES.iter().filter_map(|prefix| word.strip_prefix(prefix));
        for unit in scaled.chain([word]) {
            let base = UNITS.iter().find(|(other, _)| *other == unit).map(|(_, base)| *base);
            complain(base.is_some_and(|base| base != word), format!("use base unit {base:?} instead of {word}"));
        }
    }
    let contains = |word: &str| name.contains(&format!("_{word}_")) || name.ends_with(&format!("_{word}"));
    for unit in ABBREVIATIONS {
        complain(contains(unit), format!("abbreviated unit {unit}"));
    }
    // Older versions complain of every kind.
    for kind in ["counter", "gauge", "histogram", "summary"] {
        complain(contains(kind), format!("type {kind}"));
    }
    let (is_counter, is_histogram) = (kind == Some(MetricKind::Counter), kind == Some(MetricKind::Histogram));
    let has_count = is_histogram || kind == Some(MetricKind::Summary);
    complain(is_counter != name.ends_with("_total"), "_total".to_owned());
    complain(!is_histogram && name.ends_with("_bucket"), "_bucket".to_owned());
    complain(!has_count && (name.ends_with("_count") || name.ends_with("_sum")), "_count or _sum".to_owned());
    complain(name.contains(':'), "a colon".to_owned());
    complain(named.help.is_empty(), "no help text".to_owned());
    for label in [name].into_iter().chain(named.labels.iter().map(|label| &*label.name)) {
        complain(is_camel_case(label), format!("camelCase {label}"));
        complain(matches!(label, "le" | "quantile"), format!("label {label}"));
    }
    complaints
}
