//! Names with dots, of the namings `otel` and `open_falcon`: on each fixture machine, and of everything that is described.

use std::collections::{BTreeMap, BTreeSet};

use gauged::naming::open_falcon::{CounterType, tags};
use gauged::naming::{Named, Naming};
use gauged::sample::{CounterOrigin, MetricKind, Module, Series};

use super::check_golden;
use super::machines::{described, odd, samples};

const NAMINGS: [Naming; 2] = [Naming::Otel, Naming::OpenFalcon];

/// The series of these modules that are numbers and that an output has, each with its name.
fn named<'a>(
    naming: Naming,
    per_core: bool,
    modules: impl IntoIterator<Item = &'a Module>,
) -> Vec<(&'a str, &'a Series, Named)> {
    let mut all = Vec::new();
    for module in modules {
        for series in module.schema().series() {
            // A text has no unit.
            let is_text = series.descriptor().unit.is_empty() && !series.descriptor().description.is_empty();
            if is_text || naming.hides(per_core, module.name(), series) {
                continue;
            }
            let named = naming.name("gauged", module.schema().source(), series).expect("nothing is left out");
            all.push((&**module.name(), &**series, named));
        }
    }
    all
}

/// The series as an output has it: its name with the column's suffix, and its labels with the column's.
fn identity(series: &Series, named: &Named) -> String {
    let mut labels: Vec<String> =
        named.labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
    let column = ["le", "quantile"].into_iter().filter(|name| !named.labels.iter().any(|label| &*label.name == *name));
    for name in column {
        let label = series.labels().iter().find(|label| &*label.name == name);
        labels.extend(label.map(|label| format!("{name}={:?}", label.value)));
    }
    labels.sort();
    format!("{}{}{{{}}}", named.name, series.column().suffix(), labels.join(","))
}

#[test]
fn dotted_names_are_unique() {
    let odd = odd();
    for naming in NAMINGS {
        for per_core in [true, false] {
            let machines = samples().iter().map(|(machine, sample)| (machine.as_str(), sample));
            for (machine, sample) in machines.chain([("odd", &odd)]) {
                let mut seen = BTreeSet::new();
                let series = named(naming, per_core, sample.modules.iter().map(|module| &**module));
                // An alternative serves where the other one is missing.
                for (module, series, named) in series.iter().filter(|(_, _, named)| !named.is_alternative) {
                    let identity = identity(series, named);
                    let is_new = seen.insert(identity.clone());
                    assert!(
                        is_new,
                        "{identity} of {module}.{series:?} is there twice on {machine}: {naming:?}, {per_core}"
                    );
                }
                assert!(machine == "odd" || seen.len() > 25, "{naming:?} has {} series on {machine}", seen.len());
            }
        }
    }
}

#[test]
fn tags_of_all_machines_fit() {
    for sample in samples().values() {
        let all = named(Naming::OpenFalcon, true, sample.modules.iter().map(|module| &**module));
        for (_, series, named) in all {
            let metric = format!("{}{}", named.name, series.column().suffix());
            let text = tags(&metric, &named.labels).expect("there is room");
            assert!(metric.len() + text.len() <= 510 && !text.contains('~'), "{metric}/{text}");
        }
    }
}

/// The names of labels; those that no label of ours has are there with their values.
fn labels(series: &Series, named: &Named) -> String {
    let text = named.labels.iter().map(|label| {
        let is_ours = series.labels().iter().any(|own| own.value.replace(' ', "_") == label.value.replace(' ', "_"));
        if is_ours { label.name.to_string() } else { format!("{}=\"{}\"", label.name, label.value) }
    });
    let text: Vec<String> = text.collect();
    if text.is_empty() { String::new() } else { format!("{{{}}}", text.join(",")) }
}

/// The kind of a series in a naming.
fn kind(naming: Naming, named: &Named) -> String {
    if naming == Naming::OpenFalcon {
        return CounterType::new(named.kind, gauged::sample::Column::Value).as_str().to_owned();
    }
    let origin = match named.origin {
        CounterOrigin::Boot => " since boot",
        CounterOrigin::Agent => " since the agent's start",
        CounterOrigin::Moment(_) => " since the plugin's start",
        CounterOrigin::Unknown => "",
    };
    let kind = match (named.kind, named.is_additive) {
        (Some(MetricKind::Counter), _) => format!("monotonic sum{origin}"),
        (Some(MetricKind::Gauge) | None, true) => "sum".to_owned(),
        (kind, _) => kind.map_or("untyped", MetricKind::name).to_owned(),
    };
    if named.ucum.is_empty() { kind } else { format!("{kind} in {}", named.ucum) }
}

#[test]
fn dotted_names_of_each_naming_are_kept() {
    for naming in NAMINGS {
        // A metric that no machine has is there without its labels.
        let mut lines: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let measured = samples().values().flat_map(|sample| &sample.modules);
        let (described, measured): (Vec<_>, Vec<_>) = (described(), measured.collect());
        let all = named(naming, false, measured.iter().map(|module| &***module));
        let single = named(naming, true, measured.iter().map(|module| &***module));
        let rest = named(naming, false, described.iter().map(|module| &**module));
        let counts = [all.len() + single.len(), rest.len()];
        for (at, (module, series, named)) in all.into_iter().chain(single).chain(rest).enumerate() {
            let ours = format!("{module}.{}", series.metric_name());
            let factor = named.factor.map_or(String::new(), |factor| format!(" × {factor}"));
            let line = format!("{}{} {}: {ours}{factor}", named.name, labels(series, &named), kind(naming, &named));
            if at < counts[0] || !lines.contains_key(&ours) {
                lines.entry(ours).or_default().insert(line);
            }
        }
        check_golden(naming.as_str(), &lines.into_values().flatten().collect());
    }
}
