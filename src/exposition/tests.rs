//! Tests of expositions.

mod limit;

use std::sync::Mutex;
use std::time::Duration;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::naming::Naming;
use crate::sample::{
    BucketBounds, CollectorVersion, Label, Labels, ModuleSource, ModuleWriter, NativeMetric, Quantiles, SeriesAccount,
    Value, Values, test_module,
};

const TICK: Duration = Duration::from_secs(1_700_000_000);

fn settings() -> ExpositionSettings {
    ExpositionSettings {
        naming: Naming::Gauged,
        prefix: "gauged".into(),
        tags: Vec::new(),
        is_selected: Box::new(|_, _| true),
        max_series: usize::MAX,
    }
}

fn label(name: &'static str, value: &str) -> Label {
    Label { name: name.into(), value: value.into() }
}

/// Writes a module whose metrics are described, tick after tick.
fn writer(module: &'static str, is_verbatim: bool, metrics: &'static [NativeMetric]) -> ModuleWriter {
    let collector = CollectorVersion::native("test");
    let source = ModuleSource { module: module.into(), collector, step: Duration::ZERO, is_verbatim };
    ModuleWriter::new(source, metrics, &SeriesAccount::standalone())
}

fn module(module: &'static str, metrics: &'static [NativeMetric], fill: impl FnOnce(&mut Values<'_>)) -> Arc<Module> {
    writer(module, false, metrics).write(TICK, fill).0
}

fn sample(modules: impl IntoIterator<Item = Arc<Module>>) -> Sample {
    Sample { modules: modules.into_iter().collect(), ..Sample::default() }
}

fn rendered(exposition: &mut Exposition, sample: &Sample, format: Format) -> String {
    let mut bytes = Vec::new();
    exposition.render(sample, format, None, &mut bytes);
    String::from_utf8(bytes).expect("text")
}

/// The lines of series in the text format.
fn lines(exposition: &mut Exposition, sample: &Sample) -> Vec<String> {
    let text = rendered(exposition, sample, Format::Text);
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

static METRICS: [NativeMetric; 7] = [
    NativeMetric::gauge("app", "used", "By", "Memory \\ in \"use\".\nOf all.", ""),
    NativeMetric::gauge("app", "used_percent", "%", "Share.", ""),
    NativeMetric::counter("app", "requests", "{request}", "Requests.", ""),
    NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("app", "wait_ms", "ms", "Waits.", "") },
    NativeMetric { kind: MetricKind::Summary, ..NativeMetric::gauge("app", "size", "KiBy", "Sizes.", "") },
    NativeMetric::gauge("app", "state", "", "A state.", ""),
    NativeMetric::gauge("app", "up", "1", "Whether it is up.", ""),
];

fn all_kinds(values: &mut Values<'_>) {
    let labels = [("path", "C:\\\"x\"\n"), ("empty", "")];
    values.push_labelled("used", &labels.into(), 1024);
    values.push("used_percent", 57.0);
    values.push("requests", u64::MAX);
    let bounds = BucketBounds::new(&[1.0, 5.0]).expect("rising");
    for queue in ["a", "b"] {
        values.push_histogram("wait_ms", &[("queue", queue)].into(), &bounds, &[1, 2, 3], 77.0).expect("a histogram");
    }
    let quantiles = Quantiles::new(&[0.5, 1.0]).expect("rising");
    values.push_summary("size", &Labels::default(), &quantiles, &[Some(2.0), None], (3.0, 2)).expect("a summary");
    values.push("state", Value::from("idle"));
    values.push("up", Value::Boolean(true));
    values.push("undescribed", -1.5);
    values.push("gone", Value::Null);
}

#[test]
fn metrics_are_written_by_kind() {
    let mut exposition = Exposition::new(settings());
    let sample = sample([module("app", &METRICS, all_kinds)]);
    expect![[r#"
        # HELP gauged_app_requests_total Requests.
        # TYPE gauged_app_requests_total counter
        gauged_app_requests_total 18446744073709551615
        # HELP gauged_app_size_bytes Sizes. Measured in KiBy, exposed in bytes.
        # TYPE gauged_app_size_bytes summary
        gauged_app_size_bytes{quantile="0.5"} 2048
        gauged_app_size_bytes_sum 3072
        gauged_app_size_bytes_count 2
        # HELP gauged_app_undescribed The metric undescribed of the module app, which its collector does not describe.
        # TYPE gauged_app_undescribed gauge
        gauged_app_undescribed -1.5
        # HELP gauged_app_up Whether it is up.
        # TYPE gauged_app_up gauge
        gauged_app_up 1
        # HELP gauged_app_used_bytes Memory \\ in "use". Of all.
        # TYPE gauged_app_used_bytes gauge
        gauged_app_used_bytes{path="C:\\\"x\"\n"} 1024
        # HELP gauged_app_used_ratio Share. Measured in %, exposed as a ratio.
        # TYPE gauged_app_used_ratio gauge
        gauged_app_used_ratio 0.57
        # HELP gauged_app_wait_seconds Waits. Measured in ms, exposed in seconds.
        # TYPE gauged_app_wait_seconds histogram
        gauged_app_wait_seconds_bucket{queue="a",le="0.001"} 1
        gauged_app_wait_seconds_bucket{queue="a",le="0.005"} 3
        gauged_app_wait_seconds_bucket{queue="a",le="+Inf"} 6
        gauged_app_wait_seconds_sum{queue="a"} 0.077
        gauged_app_wait_seconds_count{queue="a"} 6
        gauged_app_wait_seconds_bucket{queue="b",le="0.001"} 1
        gauged_app_wait_seconds_bucket{queue="b",le="0.005"} 3
        gauged_app_wait_seconds_bucket{queue="b",le="+Inf"} 6
        gauged_app_wait_seconds_sum{queue="b"} 0.077
        gauged_app_wait_seconds_count{queue="b"} 6
    "#]]
    .assert_eq(&rendered(&mut exposition, &sample, Format::Text));
    expect![[r#"
        # TYPE gauged_app_requests counter
        # HELP gauged_app_requests Requests.
        gauged_app_requests_total 18446744073709551615
        # TYPE gauged_app_size_bytes summary
        # UNIT gauged_app_size_bytes bytes
        # HELP gauged_app_size_bytes Sizes. Measured in KiBy, exposed in bytes.
        gauged_app_size_bytes{quantile="0.5"} 2048
        gauged_app_size_bytes_sum 3072
        gauged_app_size_bytes_count 2
        # TYPE gauged_app_undescribed gauge
        # HELP gauged_app_undescribed The metric undescribed of the module app, which its collector does not describe.
        gauged_app_undescribed -1.5
        # TYPE gauged_app_up gauge
        # HELP gauged_app_up Whether it is up.
        gauged_app_up 1
        # TYPE gauged_app_used_bytes gauge
        # UNIT gauged_app_used_bytes bytes
        # HELP gauged_app_used_bytes Memory \\ in \"use\". Of all.
        gauged_app_used_bytes{path="C:\\\"x\"\n"} 1024
        # TYPE gauged_app_used_ratio gauge
        # UNIT gauged_app_used_ratio ratio
        # HELP gauged_app_used_ratio Share. Measured in %, exposed as a ratio.
        gauged_app_used_ratio 0.57
        # TYPE gauged_app_wait_seconds histogram
        # UNIT gauged_app_wait_seconds seconds
        # HELP gauged_app_wait_seconds Waits. Measured in ms, exposed in seconds.
        gauged_app_wait_seconds_bucket{queue="a",le="0.001"} 1
        gauged_app_wait_seconds_bucket{queue="a",le="0.005"} 3
        gauged_app_wait_seconds_bucket{queue="a",le="+Inf"} 6
        gauged_app_wait_seconds_sum{queue="a"} 0.077
        gauged_app_wait_seconds_count{queue="a"} 6
        gauged_app_wait_seconds_bucket{queue="b",le="0.001"} 1
        gauged_app_wait_seconds_bucket{queue="b",le="0.005"} 3
        gauged_app_wait_seconds_bucket{queue="b",le="+Inf"} 6
        gauged_app_wait_seconds_sum{queue="b"} 0.077
        gauged_app_wait_seconds_count{queue="b"} 6
        # EOF
    "#]]
    .assert_eq(&rendered(&mut exposition, &sample, Format::OpenMetrics));
    assert_eq!(exposition.counts(), ExpositionCounts { series: 20, left_out: 0, collisions: 0 });
}

#[test]
fn metrics_of_several_modules_are_contiguous() {
    let verbatim = |name: &'static str, metrics: [&'static str; 2]| {
        let fill = |values: &mut Values<'_>| {
            for metric in metrics {
                values.push_labelled(metric, &[("from", name)].into(), 1);
            }
        };
        writer(name, true, &[]).write(TICK, fill).0
    };
    let sample = sample([verbatim("b", ["x", "z"]), verbatim("a", ["z", "x"]), verbatim("c", ["y", "x"])]);
    let lines = lines(&mut Exposition::new(settings()), &sample);
    assert_eq!(
        lines,
        [
            r#"x{from="a"} 1"#,
            r#"x{from="b"} 1"#,
            r#"x{from="c"} 1"#,
            r#"y{from="c"} 1"#,
            r#"z{from="a"} 1"#,
            r#"z{from="b"} 1"#
        ]
    );
}

#[test]
fn tags_yield_to_labels() {
    let tags = vec![label("dc", "fra1"), label("mount", "all"), label("le", "1"), label("none", "")];
    let mut exposition = Exposition::new(ExpositionSettings { tags, ..settings() });
    let module = module("app", &METRICS, |values| {
        values.push_labelled("used", &[("mount", "/")].into(), 1);
        let bounds = BucketBounds::new(&[]).expect("none");
        values.push_histogram("wait_ms", &Labels::default(), &bounds, &[2], 3.0).expect("a histogram");
    });
    expect![[r#"
        gauged_app_used_bytes{dc="fra1",le="1",mount="/"} 1
        gauged_app_wait_seconds_bucket{dc="fra1",mount="all",le="+Inf"} 2
        gauged_app_wait_seconds_sum{dc="fra1",mount="all"} 0.003
        gauged_app_wait_seconds_count{dc="fra1",mount="all"} 2"#]]
    .assert_eq(&lines(&mut exposition, &sample([module])).join("\n"));
    assert_eq!(exposition.reports.tag_names(), ["mount"]);
}

#[test]
fn selection_and_filter_choose_series() {
    let is_selected = Box::new(|module: &str, series: &Series| module == "a" || series.name() == "x");
    let mut exposition = Exposition::new(ExpositionSettings { is_selected, ..settings() });
    let module =
        |name: &'static str| test_module(name, |values| ["x", "y"].iter().for_each(|metric| values.push(metric, 1)));
    let sample = sample([module("a"), module("c")]);
    assert_eq!(lines(&mut exposition, &sample), ["gauged_a_x 1", "gauged_a_y 1", "gauged_c_x 1"]);
    let mut filtered = Vec::new();
    exposition.render(&sample, Format::OpenMetrics, Some(&["c", "d"]), &mut filtered);
    expect![[r"
        # TYPE gauged_c_x gauge
        # HELP gauged_c_x The metric x of the module c, which its collector does not describe.
        gauged_c_x 1
        # EOF
    "]]
    .assert_eq(&String::from_utf8(filtered).expect("text"));
    assert_eq!(exposition.counts().series, 3);
}

#[test]
fn colliding_series_come_back() {
    let named = |name: &'static str, metric: &'static str| test_module(name, |values| values.push(metric, 1));
    // Both are called gauged_app_db_size.
    let (first, second) = (named("app", "db_size"), named("app_db", "size"));
    let mut exposition = Exposition::new(settings());
    let mut counts = |modules: &[&Arc<Module>]| {
        let lines = lines(&mut exposition, &sample(modules.iter().copied().cloned()));
        (lines.len(), exposition.counts().collisions, exposition.reports.collisions())
    };
    assert_eq!(counts(&[&second]), (1, 0, 0));
    assert_eq!(counts(&[&first, &second]), (1, 1, 1));
    assert_eq!(exposition_module(&exposition), ["app_db"], "the earlier one stays");
    let mut counts = |modules: &[&Arc<Module>]| {
        let lines = lines(&mut exposition, &sample(modules.iter().copied().cloned()));
        (lines.len(), exposition.counts().collisions, exposition.reports.collisions())
    };
    assert_eq!(counts(&[&first]), (1, 0, 1));
    assert_eq!(counts(&[&first, &second]), (1, 1, 1), "reported once");
    assert_eq!(exposition_module(&exposition), ["app"]);
}

/// The modules of the series that an exposition has.
fn exposition_module(exposition: &Exposition) -> Vec<&str> {
    exposition.layout.rows.iter().map(|row| &**exposition.modules[row.module].name()).collect()
}

#[test]
fn names_of_other_kinds_are_not_shared() {
    static OTHERS: [NativeMetric; 5] = [
        // Called as the family of a counter in OpenMetrics, which is untyped there.
        NativeMetric::gauge("scraped", "gauged_app_requests", "", "A gauge.", ""),
        // Another kind.
        NativeMetric::gauge("scraped", "gauged_app_requests_total", "", "A gauge.", ""),
        // A column of a histogram.
        NativeMetric::gauge("scraped", "gauged_app_wait_seconds_count", "", "A gauge.", ""),
        // The same kind and another description.
        NativeMetric::gauge("scraped", "gauged_app_used_bytes", "", "Another description.", ""),
        // A counter that is none in OpenMetrics.
        NativeMetric::counter("scraped", "errors", "", "A counter.", ""),
    ];
    let scraped = || {
        let fill = |values: &mut Values<'_>| OTHERS.iter().for_each(|metric| values.push(metric.name, 7));
        writer("scraped", true, &OTHERS).write(TICK, fill).0
    };
    let own = || {
        module("app", &METRICS, |values| {
            values.push_labelled("used", &[("mount", "/")].into(), 1);
            values.push("requests", 1);
            let bounds = BucketBounds::new(&[]).expect("none");
            values.push_histogram("wait_ms", &Labels::default(), &bounds, &[2], 3.0).expect("a histogram");
        })
    };
    let mut exposition = Exposition::new(settings());
    expect![[r#"
        # TYPE errors unknown
        # HELP errors A counter.
        errors 7
        # TYPE gauged_app_requests gauge
        # HELP gauged_app_requests A gauge.
        gauged_app_requests 7
        # TYPE gauged_app_requests_total unknown
        # HELP gauged_app_requests_total Requests.
        gauged_app_requests_total 1
        # TYPE gauged_app_used_bytes gauge
        # UNIT gauged_app_used_bytes bytes
        # HELP gauged_app_used_bytes Memory \\ in \"use\". Of all.
        gauged_app_used_bytes{mount="/"} 1
        gauged_app_used_bytes 7
        # TYPE gauged_app_wait_seconds histogram
        # UNIT gauged_app_wait_seconds seconds
        # HELP gauged_app_wait_seconds Waits. Measured in ms, exposed in seconds.
        gauged_app_wait_seconds_bucket{le="+Inf"} 2
        gauged_app_wait_seconds_sum 0.003
        gauged_app_wait_seconds_count 2
        # EOF
    "#]]
    .assert_eq(&rendered(&mut exposition, &sample([own(), scraped()]), Format::OpenMetrics));
    assert_eq!(exposition.counts().collisions, 2);
    let text = rendered(&mut exposition, &sample([own(), scraped()]), Format::Text);
    assert!(
        text.contains("# TYPE gauged_app_requests gauge\n")
            && text.contains("# TYPE gauged_app_requests_total counter\n")
    );
}

#[test]
fn alternatives_and_open_types_are_no_collisions() {
    let module = test_module("app", |values| ["x_y", "x__y"].iter().for_each(|metric| values.push(metric, 1)));
    let series = module.schema().series();
    let line = |at: usize, is_alternative| {
        let line = Line::new(&settings(), module.schema().source(), &series[at], |_| {}).and_then(Arc::into_inner);
        let mut line = line.expect("it is selected");
        line.is_alternative = is_alternative;
        line.metric.kind = None;
        Row { line: Arc::new(line), module: 0, at }
    };
    for alternatives in [[true, false], [false, true], [false, false]] {
        let candidate = |at: usize| Candidate { metric: series[at].metric_name(), row: line(at, alternatives[at]) };
        let mut reported = 0;
        let layout = Layout::new(&[0, 1].map(candidate), &Layout::default(), 9, |_, _| reported += 1);
        let collisions = usize::from(alternatives == [false, false]);
        assert_eq!((layout.rows.len(), layout.collisions, reported), (1, collisions, collisions));
        let types = [Format::Text, Format::OpenMetrics].map(|format| layout.families[0].comments(format));
        assert!(
            types[0].contains("TYPE gauged_app_x_y untyped\n") && types[1].contains("TYPE gauged_app_x_y unknown\n")
        );
    }
}

#[test]
fn impossible_numbers_are_omitted() {
    static METRICS: [NativeMetric; 4] = [
        NativeMetric::counter("app", "events", "", "Events.", ""),
        NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("app", "change", "", "Changes.", "") },
        NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("app", "growth", "", "Growth.", "") },
        NativeMetric { kind: MetricKind::Summary, ..NativeMetric::gauge("app", "offset", "", "Offsets.", "") },
    ];
    let sample = sample([module("app", &METRICS, |values| {
        let none = Labels::default();
        values.push("events", Value::Signed(-1));
        let bounds = BucketBounds::new(&[-5.0, 5.0]).expect("rising");
        values.push_histogram("change", &none, &bounds, &[1, 0, 1], 7.0).expect("a histogram");
        let bounds = BucketBounds::new(&[5.0]).expect("one");
        values.push_histogram("growth", &none, &bounds, &[1, 0], -7.0).expect("a histogram");
        let quantiles = Quantiles::new(&[0.5]).expect("one");
        values.push_summary("offset", &none, &quantiles, &[Some(-2.0)], (f64::NAN, 2)).expect("a summary");
    })]);
    let mut exposition = Exposition::new(settings());
    expect![[r#"
        gauged_app_change_bucket{le="-5.0"} 1
        gauged_app_change_bucket{le="5.0"} 1
        gauged_app_change_bucket{le="+Inf"} 2
        gauged_app_change_sum 7
        gauged_app_change_count 2
        gauged_app_growth_bucket{le="5.0"} 1
        gauged_app_growth_bucket{le="+Inf"} 1
        gauged_app_growth_sum -7
        gauged_app_growth_count 1
        gauged_app_offset{quantile="0.5"} -2
        gauged_app_offset_count 2"#]]
    .assert_eq(&lines(&mut exposition, &sample).join("\n"));
    expect![[r#"
        # TYPE gauged_app_change histogram
        # HELP gauged_app_change Changes.
        gauged_app_change_bucket{le="-5.0"} 1
        gauged_app_change_bucket{le="5.0"} 1
        gauged_app_change_bucket{le="+Inf"} 2
        # TYPE gauged_app_growth histogram
        # HELP gauged_app_growth Growth.
        gauged_app_growth_bucket{le="5.0"} 1
        gauged_app_growth_bucket{le="+Inf"} 1
        # EOF
    "#]]
    .assert_eq(&rendered(&mut exposition, &sample, Format::OpenMetrics));
}

#[test]
fn latest_results_of_all_modules_are_exposed() {
    let named = |name: &'static str| test_module(name, |values| values.push("x", 1));
    let mut exposition = Exposition::new(settings());
    let (fresh, failed, retained) = (named("fresh"), named("failed"), named("retained"));
    let both = Sample {
        modules: vec![Arc::clone(&fresh), failed],
        retained: vec![Arc::clone(&retained)],
        stale: vec!["failed".into()],
        ..Sample::default()
    };
    assert_eq!(lines(&mut exposition, &both), ["gauged_fresh_x 1", "gauged_retained_x 1"]);
    // The same modules in another order, and a second one of a name.
    let other = named("fresh");
    let turned = Sample { modules: vec![retained], retained: vec![fresh, other], ..Sample::default() };
    assert_eq!(lines(&mut exposition, &turned), ["gauged_fresh_x 1", "gauged_retained_x 1"]);
}

proptest! {
    /// Whatever series there are, each is written once, those of a metric follow one another, and every line is one line.
    #[test]
    fn expositions_are_well_formed(
        modules in prop::collection::btree_map(
            "[ab](_[ab])?",
            prop::collection::vec(("[ab](_[ab]){0,2}|x.y|x y", prop::collection::vec(("[pq]", any::<String>()), 0..3), 0..3_usize), 0..6),
            0..4,
        ),
        is_verbatim in any::<bool>(),
        max_series in 0..12_usize,
    ) {
        let written = Mutex::new(Vec::new());
        let modules = modules.into_iter().map(|(name, metrics)| {
            let collector = CollectorVersion::native("test");
            let source = ModuleSource { module: name.into(), collector, step: Duration::ZERO, is_verbatim };
            let fill = |values: &mut Values<'_>| for (metric, labels, value) in &metrics {
                let labels: Labels = labels.iter().map(|(name, value)| Label { name: name.clone().into(), value: (**value).into() }).collect();
                values.push_labelled(metric, &labels, *value as u64);
                written.lock().expect("one thread").push(metric.clone());
            };
            ModuleWriter::new(source, [], &SeriesAccount::standalone()).write(TICK, fill).0
        }).collect();
        let sample = Sample { modules, ..Sample::default() };
        let mut exposition = Exposition::new(ExpositionSettings { max_series, ..settings() });
        let text = rendered(&mut exposition, &sample, Format::Text);
        let count = sample.modules.iter().map(|module| module.len()).sum::<usize>();
        let ExpositionCounts { series, left_out, collisions } = exposition.counts();
        prop_assert_eq!(series + left_out + collisions, count);
        prop_assert!(series <= max_series);
        let (mut names, mut seen) = (Vec::new(), std::collections::HashSet::new());
        for line in text.split_terminator('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                names.push(help.split(' ').next().expect("a name").to_owned());
            } else if !line.starts_with("# TYPE ") {
                let series = line.rsplit_once(' ').expect("a value").0;
                prop_assert!(seen.insert(series.to_owned()), "{} is there twice", series);
                prop_assert_eq!(series.split('{').next(), names.last().map(String::as_str));
            }
        }
        prop_assert_eq!(seen.len(), series);
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(names, sorted);
        // A second rendering is the same.
        prop_assert_eq!(rendered(&mut exposition, &sample, Format::Text), text);
    }
}
