//! Random expositions beside what they were made of.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::super::distribution::{BOUND, QUANTILE};
use super::super::line::{Names, sample};
use super::super::*;
use crate::Quantile;

/// A metric: its name, labels and value.
type Owned = (String, Vec<(String, String)>, Reading);

/// A family of a random exposition, and the metrics that it is read as.
#[derive(Debug, Clone)]
struct Made {
    lines: Vec<String>,
    metrics: Vec<Owned>,
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = prop_oneof![any::<String>(), "[a-z\\\\\"\n{},= #]{0,8}"];
    btree_map("[a-z_][a-z0-9_]{0,5}", value, 0..4)
        .prop_map(|labels| labels.into_iter().filter(|(name, _)| name != BOUND && name != QUANTILE).collect())
}

fn written(name: &str, labels: &[(String, String)], more: Option<(&str, String)>, value: f64) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    pairs.extend(more.map(|(name, value)| format!("{name}=\"{value}\"")));
    let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
    format!("{name}{labels} {value:?}")
}

fn whole(number: u64) -> f64 {
    u32::try_from(number).expect("small").into()
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), (-1e6..1e6_f64), (0..1000_i32).prop_map(f64::from)]
        .prop_filter("a number", |number| !number.is_nan())
}

fn histogram() -> impl Strategy<Value = (Vec<(f64, u64)>, u64, f64)> {
    (btree_map(0..1000_u32, 0..100_u64, 0..6), 0..100_u64, -1e6..1e6_f64).prop_map(|(parts, last, sum)| {
        (parts.into_iter().map(|(bound, count)| (f64::from(bound) / 8.0, count)).collect(), last, sum)
    })
}

/// A family with this name.
fn family(name: String) -> impl Strategy<Value = Made> {
    let scalars = vec((labels(), number()), 1..4);
    let histograms = vec((labels(), histogram()), 1..3);
    let summaries = vec((labels(), btree_set(0..100_u32, 0..4), number(), 0..1000_u64), 1..3);
    let (one, other, another) = (name.clone(), name.clone(), name);
    prop_oneof![
        scalars.prop_map(move |metrics| {
            let mut made = Made { lines: vec![format!("# TYPE {one} gauge")], metrics: Vec::new() };
            for (labels, number) in metrics {
                made.lines.push(written(&one, &labels, None, number));
                made.metrics.push((one.clone(), labels, Reading::Number(number)));
            }
            made
        }),
        histograms.prop_map(move |metrics| {
            let mut made = Made { lines: vec![format!("# TYPE {other} histogram")], metrics: Vec::new() };
            for (labels, (parts, last, sum)) in metrics {
                if made.metrics.iter().any(|(_, known, _)| *known == labels) {
                    continue;
                }
                let mut total = 0;
                for (bound, count) in &parts {
                    total += count;
                    let line =
                        written(&format!("{other}_bucket"), &labels, Some(("le", bound.to_string())), whole(total));
                    made.lines.push(line);
                }
                total += last;
                let end = written(&format!("{other}_bucket"), &labels, Some(("le", "+Inf".to_owned())), whole(total));
                made.lines.push(end);
                made.lines.push(written(&format!("{other}_sum"), &labels, None, sum));
                made.lines.push(written(&format!("{other}_count"), &labels, None, whole(total)));
                let (bounds, counts) = parts.into_iter().chain([(f64::INFINITY, last)]).unzip();
                let mut histogram = Histogram { bounds, counts, sum: Some(sum) };
                histogram.bounds.pop();
                made.metrics.push((other.clone(), labels, Reading::Histogram(histogram)));
            }
            made
        }),
        summaries.prop_map(move |metrics| {
            let mut made = Made { lines: vec![format!("# TYPE {another} summary")], metrics: Vec::new() };
            for (labels, shares, value, count) in metrics {
                if made.metrics.iter().any(|(_, known, _)| *known == labels) {
                    continue;
                }
                let shares: Vec<f64> = shares.into_iter().map(|share| f64::from(share) / 100.0).collect();
                for share in &shares {
                    made.lines.push(written(&another, &labels, Some(("quantile", share.to_string())), value));
                }
                made.lines.push(written(&format!("{another}_count"), &labels, None, whole(count)));
                let value = value.is_finite().then_some(value);
                let quantiles = shares.into_iter().map(|share| Quantile { share, value }).collect();
                made.metrics.push((
                    another.clone(),
                    labels,
                    Reading::Summary(Summary { quantiles, sum: None, count: Some(count) }),
                ));
            }
            made
        }),
    ]
}

fn families() -> impl Strategy<Value = Vec<Made>> {
    btree_set("[a-c]{1,3}", 0..5).prop_flat_map(|names| names.into_iter().map(family).collect::<Vec<_>>())
}

/// A line whose names are those of others, or nearly so, and which is mostly well-formed.
fn similar_line() -> impl Strategy<Value = String> {
    let blank = || prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\t ")];
    let label =
        (blank(), "a|b|ab|aaaaaaaa|aaaaaaaab", blank(), "=|=|=| ", "\"x\"|\"\"|\"a\\\\\"b\"|\"x|\"\\\\n\"|x", blank());
    let label =
        label.prop_map(|(one, name, two, equals, value, three)| [one, &name, two, &equals, &value, three].concat());
    let name = "a|ab|aaaaaaaa|aaaaaaaab|a_1|1a";
    (name, blank(), prop::option::of(vec(label, 0..4)), blank(), "1|2.5|\\+Inf|x", "| 1| # \\{\\} 1| y").prop_map(
        |(name, one, labels, two, value, rest)| {
            let labels = labels.map_or_else(|| " ".to_owned(), |labels| format!("{{{}}}", labels.join(",")));
            [&*name, one, &*labels, two, &*value, &*rest].concat()
        },
    )
}

/// The metrics as they were made.
fn metrics(exposition: &Exposition<'_>) -> Vec<Owned> {
    let own = |label: &Label<'_>| (label.name.to_owned(), label.value.clone().into_owned());
    let metric = |metric: Metric<'_, '_>| {
        (metric.name.to_owned(), metric.labels.iter().map(own).collect(), metric.reading.clone())
    };
    exposition.metrics().map(metric).collect()
}

/// Lines as a text.
fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

proptest! {
    #[test]
    fn any_exposition_is_read_as_it_was_made(families in families(), swaps in vec((0..100_usize, 0..100_usize), 0..4)) {
        let mut lines: Vec<&String> = families.iter().flat_map(|family| &family.lines).collect();
        let expected: Vec<_> = families.iter().flat_map(|family| family.metrics.clone()).collect();
        for format in [Format::Text, Format::OpenMetrics] {
            let text = joined(lines.iter().map(|line| line.as_str()).chain(["# EOF"]));
            let exposition = Exposition::read(text.as_bytes(), format, Limits::default());
            prop_assert_eq!(exposition.skipped(), &[][..], "{}", text);
            prop_assert_eq!(&metrics(&exposition), &expected, "{}", text);
        }
        // In any order, as long as types are declared before.
        lines.sort_by_key(|line| !line.starts_with('#'));
        let types = lines.iter().filter(|line| line.starts_with('#')).count();
        for (one, other) in swaps {
            let samples = lines.len() - types;
            if samples > 0 {
                lines.swap(types + one % samples, types + other % samples);
            }
        }
        let text = joined(lines.iter().map(|line| line.as_str()));
        let exposition = Exposition::read(text.as_bytes(), Format::Text, Limits::default());
        let sorted = |mut metrics: Vec<_>| {
            metrics.sort_by_key(|metric| format!("{metric:?}"));
            metrics
        };
        prop_assert_eq!(sorted(metrics(&exposition)), sorted(expected), "{}", text);
    }

    /// What is known of the lines before only saves time.
    #[test]
    fn line_is_read_alike_after_any_other(lines in vec(similar_line(), 1..6)) {
        for format in [Format::Text, Format::OpenMetrics] {
            let mut names = Names::default();
            for line in &lines {
                let (mut labels, mut alone) = (Vec::new(), Vec::new());
                let read = sample(line, format, 3, &mut names, &mut labels);
                prop_assert_eq!(&read, &sample(line, format, 3, &mut Names::default(), &mut alone), "{:?}", lines);
                prop_assert!(read.is_err() || labels == alone, "{:?}", lines);
            }
        }
    }

    #[test]
    fn damaged_line_costs_only_its_family(families in families(), at: usize, damage in "[ -~]{0,6}") {
        let lines: Vec<&String> = families.iter().flat_map(|family| &family.lines).collect();
        prop_assume!(!lines.is_empty());
        let at = at % lines.len();
        // A name that no family has.
        let damaged = format!("zz{damage}");
        let text = joined(lines.iter().enumerate().map(|(line, text)| if line == at { &*damaged } else { text }));
        let exposition = Exposition::read(text.as_bytes(), Format::Text, Limits::default());
        let read = metrics(&exposition);
        for family in families.iter().filter(|family| !family.lines.contains(lines[at])) {
            for metric in &family.metrics {
                prop_assert!(read.contains(metric), "{:?} in {}", metric, text);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_within_limits(bytes in vec(any::<u8>(), 0..400), words in vec("[a-c_{}\"=,# \\\\\n]{0,6}|TYPE|HELP|histogram|_bucket|le|1|\n", 0..60)) {
        let limits = Limits { line_bytes: 40, labels: 2, samples: 5, ..Limits::default() };
        for text in [bytes, words.concat().into_bytes()] {
            for format in [Format::Text, Format::OpenMetrics] {
                let exposition = Exposition::read(&text, format, limits);
                prop_assert!(exposition.metrics().count() <= 5 && exposition.families().len() <= 10);
                prop_assert!(exposition.metrics().all(|metric| metric.labels.len() <= 2));
                for Metric { reading, .. } in exposition.metrics() {
                    if let Reading::Histogram(Histogram { bounds, counts, .. }) = reading {
                        prop_assert!(counts.len() == bounds.len() + 1 && bounds.is_sorted());
                    }
                }
            }
        }
    }
}
