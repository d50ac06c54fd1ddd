//! Tests of conversions.

use proptest::prelude::*;

use super::*;
use crate::plugin::guest::bindings::exports::gauged::plugin::collector as wit;
use crate::sample::{CounterOrigin, test_module};

const TICK: Duration = Duration::from_secs(1_700_000_000);

const STARTED: Duration = Duration::from_secs(1_600_000_000);

fn described(metrics: Vec<metrics::Descriptor>) -> Converter {
    let about = wit::About { version: "1".into(), description: String::new(), settings: Vec::new(), metrics };
    let (description, step) = (Description::told(&"test".into(), about), Duration::from_secs(10));
    Converter::new(&description, SeriesAccount::standalone(), Arc::default(), STARTED, step)
}

fn converter() -> Converter {
    described(Vec::new())
}

fn descriptor(name: &str, kind: metrics::Kind) -> metrics::Descriptor {
    metrics::Descriptor {
        module: "m".to_owned(),
        name: name.to_owned(),
        kind,
        counts_from: metrics::Origin::Plugin,
        unit: "s".to_owned(),
        description: "It.".to_owned(),
        labels: Vec::new(),
    }
}

fn convert(returned: Vec<returned::Module>, limits: &Limits) -> Collected {
    converter().convert(returned, limits, TICK)
}

fn metric(name: &str, labels: &[(&str, &str)], value: metrics::Value) -> metrics::Metric {
    let label = |&(name, value): &(&str, &str)| metrics::Label { name: name.to_owned(), value: value.to_owned() };
    metrics::Metric { name: name.to_owned(), labels: labels.iter().map(label).collect(), value }
}

fn module(name: &str, metrics: Vec<metrics::Metric>) -> returned::Module {
    let metrics = metrics.into_iter().collect();
    returned::Module { name: name.to_owned(), unix_ms: None, verbatim: false, metrics, descriptors: Vec::new() }
}

#[test]
fn unusable_metrics_are_dropped_and_counted() {
    use metrics::Value::{Natural, Number, Text};
    let limits = &Limits::default();
    let text = "x".repeat(usize::try_from(limits[Limit::Text]).expect("it fits") + 1);
    let collected = convert(
        vec![
            module(
                "disk",
                vec![
                    metric("reads_total", &[("device", "sda")], Natural(1)),
                    metric("reads_total", &[("device", "sda")], Natural(2)),
                    metric("reads_total", &[("device", "sdb")], Natural(3)),
                    metric("nan", &[], Number(f64::NAN)),
                    metric("infinite", &[], Number(f64::NEG_INFINITY)),
                    metric("bad name", &[], Natural(4)),
                    metric("bad_label", &[("0", "x")], Natural(5)),
                    metric("label_twice", &[("a", "x"), ("a", "y")], Natural(6)),
                    metric("long", &[], Text(text)),
                ],
            ),
            module("disk", vec![metric("again", &[], Natural(7))]),
            module("bad-name", vec![]),
        ],
        limits,
    );
    let expected = test_module("disk", |values| {
        values.push_labelled("reads_total", &[("device", "sda")].into(), 1);
        values.push_labelled("reads_total", &[("device", "sdb")].into(), 3);
    });
    let losses = [
        "the metric disk.reads_total: it is there twice: labels are a set, whatever their order",
        "the metric disk.nan: its value is not finite",
        "the metric disk.infinite: its value is not finite",
        "the metric disk.bad name: its name breaks the rules",
        "the metric disk.bad_label: the name of one of its labels breaks the rules",
        "the metric disk.label_twice: it has a label twice",
        "the metric disk.long: its text is longer than limits.text",
        "the module disk: it is there twice",
        "the module bad-name: its name breaks the rules",
    ];
    let losses = losses.map(str::to_owned).into();
    assert_eq!(collected, Collected { modules: vec![expected], dropped: 9, refused_times: 0, losses });
}

#[test]
fn a_flood_of_metrics_is_cut() {
    let mut limits = Limits::default();
    limits.set(Limit::Metrics, 20);
    let many = (0..25).map(|at| metric(&format!("m{at}"), &[], metrics::Value::Boolean(true))).collect();
    let collected = convert(vec![module("flood", many)], &limits);
    assert_eq!((collected.modules[0].len(), collected.dropped), (20, 5));
}

#[test]
fn a_flood_of_modules_is_cut() {
    let mut limits = Limits::default();
    limits.set(Limit::Modules, 10);
    let collected = convert((0..15).map(|at| module(&format!("m{at}"), vec![])).collect(), &limits);
    assert_eq!((collected.modules.len(), collected.dropped), (10, 5));
}

fn histogram(bounds: &[f64], counts: &[u64], sum: Option<f64>) -> metrics::Value {
    metrics::Value::Histogram(metrics::Histogram { bounds: bounds.to_vec(), counts: counts.to_vec(), sum })
}

fn summary(quantiles: &[(f64, Option<f64>)], sum: Option<f64>, count: Option<u64>) -> metrics::Value {
    let quantiles = quantiles.iter().map(|&(share, value)| metrics::Quantile { share, value }).collect();
    metrics::Value::Summary(metrics::Summary { quantiles, sum, count })
}

fn lines(module: &Module) -> Vec<String> {
    module.metrics().map(|metric| format!("{} {:?}", metric.key(), metric.value)).collect()
}

#[test]
fn histograms_and_summaries_become_columns() {
    let kinds = [("wait_seconds", metrics::Kind::Histogram), ("size_bytes", metrics::Kind::Summary)];
    let mut converter = described(kinds.map(|(name, kind)| descriptor(name, kind)).into());
    let mut convert = |metrics| converter.convert(vec![module("m", metrics)], &Limits::default(), TICK);
    for _ in 0..2 {
        let collected = convert(vec![
            metric("wait_seconds", &[("a", "x")], histogram(&[0.5, 1.0], &[1, 2, 3], Some(4.5))),
            metric("wait_seconds", &[("a", "y")], histogram(&[], &[7], None)),
            metric("size_bytes", &[], summary(&[(0.5, Some(2.0)), (0.9, None)], None, Some(3))),
        ]);
        assert_eq!(collected.losses, [""; 0]);
        assert_eq!(
            lines(&collected.modules[0]),
            [
                r#"wait_seconds_bucket{a="x",le="0.5"} Unsigned(1)"#,
                r#"wait_seconds_bucket{a="x",le="1"} Unsigned(3)"#,
                r#"wait_seconds_bucket{a="x",le="+Inf"} Unsigned(6)"#,
                r#"wait_seconds_sum{a="x"} Float(4.5)"#,
                r#"wait_seconds_count{a="x"} Unsigned(6)"#,
                r#"wait_seconds_bucket{a="y",le="+Inf"} Unsigned(7)"#,
                r#"wait_seconds_count{a="y"} Unsigned(7)"#,
                r#"size_bytes{quantile="0.5"} Float(2.0)"#,
                r#"size_bytes{quantile="0.9"} Null"#,
                "size_bytes_count Unsigned(3)",
            ]
        );
        let origin = collected.modules[0].schema().series()[0].descriptor().origin;
        assert_eq!(origin, CounterOrigin::Moment(STARTED));
    }
}

#[test]
fn unusable_distributions_are_dropped_and_counted() {
    let kinds = [("wait", metrics::Kind::Histogram), ("size", metrics::Kind::Summary), ("level", metrics::Kind::Gauge)];
    let kinds = kinds.map(|(name, kind)| descriptor(name, kind));
    let mut limits = Limits::default();
    limits.set(Limit::Metrics, 6);
    for (name, labels, value, why) in [
        ("wait", &[][..], histogram(&[1.0], &[1], None), "it has another number of buckets than of bounds"),
        ("wait", &[], histogram(&[1.0, 1.0], &[1, 1, 1], None), "its bounds are not finite, or do not rise"),
        ("wait", &[], histogram(&[f64::NAN], &[1, 1], None), "its bounds are not finite, or do not rise"),
        ("wait", &[], histogram(&[1.0], &[1, 1], Some(f64::NAN)), "its value is not finite"),
        ("wait", &[("le", "1")], histogram(&[1.0], &[1, 1], None), "a histogram or summary uses its name"),
        ("wait", &[("b a", "1")], histogram(&[1.0], &[1, 1], None), "the name of one of its labels breaks the rules"),
        ("wait", &[], histogram(&[1.0, 2.0, 3.0, 4.0], &[1; 5], None), TOO_MANY),
        ("wait", &[], metrics::Value::Natural(1), "it is described as a histogram or summary, and has another value"),
        ("wait", &[], summary(&[], None, None), "its value is a summary, and it is not described as one"),
        ("level", &[], histogram(&[], &[1], None), "its value is a histogram, and it is not described as one"),
        ("other", &[], histogram(&[], &[1], None), "its value is a histogram, and it is not described as one"),
        ("size", &[], summary(&[(2.0, None)], None, None), "its quantiles are not from 0 to 1, or do not rise"),
        ("size", &[], summary(&[(0.5, Some(f64::NAN))], None, None), "its value is not finite"),
    ] {
        let returned = vec![module("m", vec![metric(name, labels, value)])];
        let collected = described(kinds.to_vec()).convert(returned, &limits, TICK);
        assert_eq!((collected.modules[0].len(), collected.dropped), (0, 1), "{why}");
        assert!(collected.losses[0].starts_with(&format!("the metric m.{name}: {why}")), "{:?}", collected.losses);
    }
}

#[test]
fn verbatim_modules_keep_the_names_of_others() {
    let returned = |verbatim| {
        let metrics = vec![metric("node:load:avg", &[], metrics::Value::Natural(1))];
        vec![returned::Module { verbatim, ..module("m", metrics) }]
    };
    let mut converter = converter();
    for verbatim in [true, true, false, true] {
        let collected = converter.convert(returned(verbatim), &Limits::default(), TICK);
        assert_eq!((collected.modules[0].len() == 1, collected.dropped), (verbatim, u64::from(!verbatim)));
        assert_eq!(collected.modules[0].schema().source().is_verbatim, verbatim);
    }
}

#[test]
fn refused_times_are_counted_and_replaced() {
    let mut converter = converter();
    let mut time = |unix_ms: Option<u64>| {
        let returned = vec![returned::Module { unix_ms, ..module("m", vec![]) }];
        let collected = converter.convert(returned, &Limits::default(), TICK);
        (collected.modules[0].time, collected.refused_times, collected.losses)
    };
    let before = 1_700_000_000_000 - 1_800_500;
    assert_eq!(time(Some(before)), (Duration::from_millis(before), 0, vec![]));
    let late = "the time of the module m: it is more than an hour before the tick".to_owned();
    assert_eq!(time(Some(1_600_000_000_000)), (TICK, 1, vec![late]));
    let future = "the time of the module m: it is after the tick".to_owned();
    assert_eq!(time(Some(u64::MAX)), (TICK, 1, vec![future]));
    assert_eq!(time(None), (TICK, 0, vec![]));
}

#[test]
fn descriptors_of_a_result_hold_until_they_change() {
    let mut converter = described(vec![descriptor("a", metrics::Kind::Gauge)]);
    let mut unit = |descriptors: Vec<metrics::Descriptor>| {
        let metrics = vec![metric("a", &[], metrics::Value::Natural(1)), metric("b", &[], metrics::Value::Natural(2))];
        let returned = vec![returned::Module { descriptors, ..module("m", metrics) }];
        let collected = converter.convert(returned, &Limits::default(), TICK);
        let units = collected.modules[0].metrics().map(|metric| metric.series.descriptor().unit.to_string());
        (units.collect::<Vec<_>>().join(" "), Arc::clone(collected.modules[0].schema()), collected.losses)
    };
    assert_eq!(unit(vec![]).0, "s ");
    let of = |name: &str, unit: &str| metrics::Descriptor {
        unit: unit.to_owned(),
        ..descriptor(name, metrics::Kind::Gauge)
    };
    let (units, schema, _) = unit(vec![of("b", "By")]);
    assert_eq!(units, "s By");
    let (units, same, _) = unit(vec![of("b", "By")]);
    assert!(units == "s By" && Arc::ptr_eq(&schema, &same), "to repeat it costs nothing");
    assert!(Arc::ptr_eq(&schema, &unit(vec![]).1));
    assert_eq!(unit(vec![of("a", "1"), of("b", "%")]).0, "1 %");
    let elsewhere = metrics::Descriptor { module: "n".to_owned(), ..of("b", "1") };
    let (units, _, losses) = unit(vec![elsewhere, of("b c", "1")]);
    assert_eq!(units, "1 %");
    assert_eq!(
        losses,
        [
            "the module m describes the metric n.b in another module",
            "the module m describes the metric \"m.b c\", whose name breaks the rules",
        ]
    );
}

fn any_value() -> impl Strategy<Value = metrics::Value> {
    prop_oneof![
        any::<f64>().prop_map(metrics::Value::Number),
        any::<i64>().prop_map(metrics::Value::Integer),
        "[a-z]{0,3}".prop_map(metrics::Value::Text),
    ]
}

/// A result that is likely to overlap with another: few names, few labels, and some of each not usable.
fn any_result() -> impl Strategy<Value = Vec<returned::Module>> {
    let label = ("[ab0]", "[xy]{0,1}|long text");
    let metric = ("[abc ]", prop::collection::vec(label, 0..3), any_value());
    let metric = metric.prop_map(|(name, labels, value)| {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        self::tests::metric(&name, &labels, value)
    });
    prop::collection::vec(("[mn-]", prop::collection::vec(metric, 0..6)), 0..4)
        .prop_map(|modules| modules.into_iter().map(|(name, metrics)| module(&name, metrics)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Earlier results change neither the kept metrics, nor the dropped ones, nor the keys of values.
    #[test]
    fn results_do_not_depend_on_earlier_ones(
        results in prop::collection::vec(any_result(), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..10),
    ) {
        let mut limits = Limits::default();
        for (limit, most) in [(Limit::Modules, 2), (Limit::Metrics, 7), (Limit::Labels, 2), (Limit::Text, 3)] {
            limits.set(limit, most);
        }
        let mut converter = converter();
        // A slow sink may hold earlier samples, which must not change.
        let mut held = Vec::new();
        for at in order {
            let result = at.get(&results);
            let first = convert(result.clone(), &limits);
            held.push((converter.convert(result.clone(), &limits, TICK), first));
            for (collected, first) in &held {
                prop_assert_eq!(collected, first);
            }
        }
    }

    /// Names are valid, keys are unique, floats are finite, and every loss is counted.
    #[test]
    fn a_result_is_a_map_of_maps(
        modules in prop::collection::vec(
            ("[ab-]{1,2}", prop::collection::vec(("[ab ]{1,2}", any_value()), 0..8)),
            0..5,
        ),
    ) {
        let returned: Vec<_> = modules
            .iter()
            .map(|(name, metrics)| module(name, metrics.iter().map(|(name, value)| metric(name, &[], value.clone())).collect()))
            .collect();
        let all: usize = modules.iter().map(|(_, metrics)| metrics.len()).sum();
        let collected = convert(returned, &Limits::default());
        let names: HashSet<_> = collected.modules.iter().map(|module| module.name()).collect();
        prop_assert_eq!(names.len(), collected.modules.len());
        let mut kept = 0;
        for module in &collected.modules {
            prop_assert!(is_name(module.name()));
            let keys: HashSet<_> = module.metrics().map(|metric| metric.key().to_string()).collect();
            prop_assert_eq!(keys.len(), module.len());
            for metric in module.metrics() {
                prop_assert!(is_name(metric.name()));
                prop_assert!(!matches!(metric.value, Value::Float(value) if !value.is_finite()));
            }
            kept += module.len();
        }
        prop_assert!(kept as u64 + collected.dropped >= all as u64);
    }
}
