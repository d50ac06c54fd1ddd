//! Tests of requests, which are read as messages.

mod reader;
mod distributions;
mod fields;

use std::fmt::Write as _;

use expect_test::{expect, expect_file};
use proptest::prelude::*;

use self::reader::{all_points, outline, plain, points, read, requests};
use super::messages::KeyValue;
use super::metric_messages::*;
use super::*;
use crate::sample::{
    BucketBounds, CollectorVersion, Label, Labels, Module, ModuleSource, ModuleWriter, NativeMetric, Quantiles,
    SeriesAccount, Values,
};
use crate::selection::{Selection, SeriesPattern};
use crate::sink::SeriesSettings;

/// A metric of the module `app`, or of any other.
const fn metric(name: &'static str, kind: MetricKind, unit: &'static str) -> NativeMetric {
    let origin = CounterOrigin::Unknown;
    NativeMetric { kind, origin, ..NativeMetric::gauge("app", name, unit, "A description.", "a source") }
}

static APP: [NativeMetric; 5] = [
    metric("queue_length", MetricKind::Gauge, "{task}"),
    metric("requests", MetricKind::Counter, "{request}"),
    metric("wait_ms", MetricKind::Histogram, "ms"),
    metric("size_bytes", MetricKind::Summary, "By"),
    metric("temperature", MetricKind::Gauge, "Cel"),
];

const KERNEL: [NativeMetric; 1] = [NativeMetric {
    kind: MetricKind::Counter,
    ..NativeMetric::gauge("kernel", "forks", "{process}", "Forks since boot.", "a source")
}];

const OWN: [NativeMetric; 1] = [NativeMetric {
    kind: MetricKind::Counter,
    ..NativeMetric::gauge(AGENT, "ticks_total", "{tick}", "Ticks.", "a source")
}];

fn settings() -> NumericSettings {
    let tags = [("dc", "fra1"), ("empty", "")].map(|(name, value)| Label { name: name.into(), value: value.into() });
    NumericSettings {
        series: Arc::default(),
        naming: Naming::Gauged,
        prefix: "gauged".into(),
        tags: tags.into(),
        host: "web-1".into(),
    }
}

fn encoder() -> Encoder {
    let (id, boot) = ("0123456789abcdef0123456789abcdef".to_owned(), Duration::from_secs(5));
    Encoder::new(Arc::new(settings()), HostFacts { id: Some(id), boot: Some(boot) })
}

/// Writes the modules of a collector of this version.
fn writer_of(module: &'static str, version: &'static str, metrics: &'static [NativeMetric]) -> ModuleWriter {
    let collector = Arc::new(CollectorVersion { name: module.into(), version: version.into() });
    let source = ModuleSource { module: module.into(), collector, step: Duration::from_secs(10), is_verbatim: false };
    ModuleWriter::new(source, metrics, &SeriesAccount::standalone())
}

fn writer() -> ModuleWriter {
    writer_of("app", "1.2.0", &APP)
}

fn module(writer: &mut ModuleWriter, seconds: u64, fill: impl FnOnce(&mut Values<'_>)) -> Arc<Module> {
    writer.write(Duration::from_secs(seconds), fill).0
}

fn sample(seconds: u64, modules: &[&Arc<Module>]) -> Sample {
    let modules = modules.iter().copied().cloned().collect();
    Sample { tick: Duration::from_secs(seconds), modules, ..Sample::default() }
}

/// A sample with all kinds of metrics, in several modules.
fn whole_sample() -> Sample {
    let app = module(&mut writer(), 100, |values| {
        let (sda, sdb): (Labels, Labels) = ([("disk", "sda"), ("bus", "")].into(), [("disk", "sdb")].into());
        values.push_labelled("queue_length", &sda, 3_u64);
        values.push_labelled("requests", &sda, u64::MAX);
        values.push_labelled("queue_length", &sdb, 2.5);
        values.push_labelled("requests", &sdb, 7_u64);
        let bounds = BucketBounds::new(&[5.0, 10.0, 250.0]).expect("rising");
        values.push_histogram("wait_ms", &sda, &bounds, &[2, 0, 5, 1], 1200.0).expect("a histogram");
        let quantiles = Quantiles::new(&[0.5, 0.99]).expect("rising");
        values.push_summary("size_bytes", &sda, &quantiles, &[Some(10.0), None], (99.0, 4)).expect("a summary");
        values.push("temperature", Value::Signed(-3));
        values.push("undescribed", Value::Boolean(true));
        values.push("absent", None::<u64>);
        values.push("state", "up");
    });
    let mut kernel = writer_of("kernel", "0.1.0", &KERNEL);
    let mut own = writer_of(AGENT, "0.1.0", &OWN);
    let kernel = module(&mut kernel, 100, |values| values.push("forks", 12_u64));
    let own = module(&mut own, 100, |values| {
        values.push("start_time_seconds", 60.0);
        values.push("ticks_total", 4_u64);
        values.push("hostname", "web-1");
    });
    sample(100, &[&app, &kernel, &own])
}

#[test]
fn request_has_each_kind_of_metric() {
    let mut encoder = encoder();
    let mut attributes = resource(&encoder.facts, "web-1", &encoder.settings.tags);
    // A release does not change what is expected.
    attributes.attributes[1] = KeyValue::text("service.version", "0.1.0");
    encoder.resource = EncodedResource::new(&attributes);
    let requests = requests(&mut encoder, &whole_sample());
    let [(request, message)] = &requests[..] else { panic!("one request") };
    assert_eq!((request.time, request.points, request.is_last), (Duration::from_secs(100), 11, true));
    expect![[r"
        service.name=gauged,service.version=0.1.0,service.instance.id=2f1423a8-dc20-5c0e-839d-70474f2dc393,host.name=web-1,host.id=0123456789abcdef0123456789abcdef,os.type=linux,dc=fra1 https://opentelemetry.io/schemas/1.44.0
          app 1.2.0 ()
            gauged_app_queue_length [{task}] gauge: A description.
            gauged_app_requests_total [{request}] sum 2 true: A description.
            gauged_app_wait_seconds [s] histogram 2: A description. Measured in ms, exposed in seconds.
            gauged_app_size_bytes [By] summary: A description.
            gauged_app_temperature_celsius [Cel] gauge: A description.
            gauged_app_undescribed [] gauge: The metric undescribed of the module app, which its collector does not describe.
          kernel 0.1.0 ()
            gauged_kernel_forks_total [{process}] sum 2 true: Forks since boot.
          agent 0.1.0 ()
            gauged_agent_start_time_seconds [] gauge: The metric start_time_seconds of the module agent, which its collector does not describe.
            gauged_agent_ticks_total [{tick}] sum 2 true: Ticks.
    "]].assert_eq(&outline(message));
    expect![[r"
        gauged_app_queue_length{disk=sda} 100 3
        gauged_app_queue_length{disk=sdb} 100 2.5
        gauged_app_requests_total{disk=sda} 100 1.8446744073709552e19
        gauged_app_requests_total{disk=sdb} 100 7
        gauged_app_wait_seconds{disk=sda} 100 8 sum Some(1.2) [2, 0, 5, 1] [0.005, 0.01, 0.25]
        gauged_app_size_bytes{disk=sda} 100 4 sum 99 [(0.5, 10.0)]
        gauged_app_temperature_celsius{} 100 -3
        gauged_app_undescribed{} 100 1
        gauged_kernel_forks_total{} 5..100 12
        gauged_agent_start_time_seconds{} 100 60.0
        gauged_agent_ticks_total{} 60..100 4"]]
    .assert_eq(&points(message).join("\n"));
    // The test `otlp` lets Python read this file.
    let mut lines = String::new();
    for line in plain(request).chunks(60) {
        line.iter().try_for_each(|byte| write!(lines, "{byte:02x}")).expect("a string grows");
        lines.push('\n');
    }
    expect_file!["../../../tests/fixtures/otlp/request.hex"].assert_eq(&lines);
}

#[test]
fn headers_are_those_of_otlp() {
    let headers = headers();
    assert_eq!(headers.len(), 2);
    assert_eq!(headers[CONTENT_TYPE], "application/x-protobuf");
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
}

#[test]
fn conventional_names_have_their_schema() {
    let named = NumericSettings { naming: Naming::Otel, ..settings() };
    let mut encoder = Encoder::new(Arc::new(named), HostFacts::default());
    let (_, message) = &requests(&mut encoder, &whole_sample())[0];
    let schemas: Vec<&str> = message.resource_metrics[0].scope_metrics.iter().map(|scope| &*scope.schema_url).collect();
    assert_eq!(schemas, ["https://opentelemetry.io/schemas/1.44.0"; 3]);
}

#[test]
fn requests_are_grouped_by_time() {
    let (mut late, mut other) = (writer(), writer_of("other", "1", &[]));
    let old = module(&mut late, 90, |values| values.push("queue_length", 1_u64));
    let new = module(&mut late, 100, |values| values.push("queue_length", 2_u64));
    let other = module(&mut other, 100, |values| values.push("level", 3_u64));
    let sample = Sample { superseded: vec![old], ..sample(100, &[&new, &other]) };
    let requests = requests(&mut encoder(), &sample);
    let times: Vec<_> = requests.iter().map(|(request, _)| (request.time.as_secs(), request.is_last)).collect();
    assert_eq!(times, [(90, false), (100, true)]);
    assert_eq!(
        all_points(&requests),
        ["gauged_app_queue_length{} 90 1", "gauged_app_queue_length{} 100 2", "gauged_other_level{} 100 3"]
    );
}

#[test]
fn empty_sample_has_no_request() {
    assert_eq!(requests(&mut encoder(), &sample(100, &[])), []);
    let null = module(&mut writer(), 100, |values| values.push("queue_length", None::<u64>));
    assert_eq!(requests(&mut encoder(), &sample(100, &[&null])), []);
    let mut ends = Vec::new();
    encoder().end(Duration::from_secs(100), &mut ends);
    assert_eq!(ends, []);
}

#[test]
fn ended_series_have_the_flag() {
    let (mut encoder, mut writer) = (encoder(), writer());
    let both = module(&mut writer, 100, |values| {
        values.push("queue_length", 1_u64);
        values.push("requests", 2_u64);
    });
    requests(&mut encoder, &sample(100, &[&both]));
    let one = module(&mut writer, 110, |values| values.push("requests", 3_u64));
    let next = requests(&mut encoder, &sample(110, &[&one]));
    assert_eq!(all_points(&next), ["gauged_app_queue_length{} 109 flags 1", "gauged_app_requests_total{} 110 3"]);
    let mut ends = Vec::new();
    encoder.end(Duration::from_secs(111), &mut ends);
    let ends = read(ends);
    assert_eq!(all_points(&ends), ["gauged_app_requests_total{} 111 flags 1"]);
    assert!(ends[0].0.is_last && ends[0].0.time == Duration::from_secs(111));
    assert_eq!(encoder.writer.batch.lengths(), (0, 0), "nothing is kept for series that are gone");
}

#[test]
fn end_follows_the_last_point() {
    let (mut encoder, mut writer) = (encoder(), writer());
    let app = module(&mut writer, 100, |values| values.push("queue_length", 1_u64));
    requests(&mut encoder, &sample(100, &[&app]));
    let mut ends = Vec::new();
    // As after the clock was set back.
    encoder.end(Duration::from_secs(90), &mut ends);
    let (_, message) = &read(ends)[0];
    let Some(Data::Gauge(Gauge { data_points })) = &message.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("a gauge")
    };
    assert_eq!((data_points[0].time_unix_nano, data_points[0].flags), (100_001_000_000, 1));
}

#[test]
fn changed_host_name_ends_all_series() {
    let (mut encoder, mut writer, mut own) = (encoder(), writer(), writer_of(AGENT, "1", &[]));
    let mut at = |seconds, host: &'static str| {
        let app = module(&mut writer, seconds, |values| values.push("queue_length", seconds));
        let own = module(&mut own, seconds, |values| values.push("hostname", host));
        requests(&mut encoder, &sample(seconds, &[&app, &own]))
    };
    assert_eq!(at(100, "web-1").len(), 1);
    let changed = at(110, "web-2");
    assert_eq!(all_points(&changed), ["gauged_app_queue_length{} 110 flags 1", "gauged_app_queue_length{} 110 110"]);
    let hosts: Vec<bool> = changed.iter().map(|(_, message)| outline(message).contains("host.name=web-2")).collect();
    assert_eq!(hosts, [false, true]);
    assert_eq!(changed.iter().map(|(request, _)| request.is_last).collect::<Vec<_>>(), [false, true]);
    assert_eq!(at(120, "web-2").len(), 1);
}

#[test]
fn changed_selection_ends_excluded_series() {
    let (mut encoder, mut writer) = (encoder(), writer());
    let mut at = |seconds| {
        module(&mut writer, seconds, |values| {
            values.push("queue_length", 1_u64);
            values.push("requests", 2_u64);
        })
    };
    requests(&mut encoder, &sample(100, &[&at(100)]));
    let exclude = vec![SeriesPattern::parse("app.queue_length").expect("a pattern")];
    let selected = SeriesSettings { own: Selection { exclude, ..Selection::default() }, ..SeriesSettings::default() };
    let settings = Arc::new(NumericSettings { series: Arc::new(selected), ..settings() });
    let mut next = Vec::new();
    encoder.encode(&sample(110, &[&at(110)]), &settings, &mut next);
    assert_eq!(all_points(&read(next)), ["gauged_app_queue_length{} 109 flags 1", "gauged_app_requests_total{} 110 2"]);
}

#[test]
fn new_plugin_version_ends_the_former_scope() {
    let mut encoder = encoder();
    let account = SeriesAccount::standalone();
    let bounds = BucketBounds::new(&[5.0]).expect("one");
    let mut at = |seconds, version: &'static str| {
        let collector = Arc::new(CollectorVersion { name: "app".into(), version: version.into() });
        let source =
            ModuleSource { module: "app".into(), collector, step: Duration::from_secs(10), is_verbatim: false };
        let app = module(&mut ModuleWriter::new(source, &APP, &account), seconds, |values| {
            values.push("queue_length", seconds);
            values.push_histogram("wait_ms", &Labels::default(), &bounds, &[1, 2], 3.0).expect("a histogram");
        });
        requests(&mut encoder, &sample(seconds, &[&app])).remove(0).1
    };
    at(100, "1.2.0");
    let next = at(110, "1.3.0");
    let scopes: Vec<String> = next.resource_metrics[0]
        .scope_metrics
        .iter()
        .map(|scope| scope.scope.as_ref().expect("a scope").version.clone())
        .collect();
    assert_eq!(scopes, ["1.2.0", "1.3.0"]);
    assert_eq!(
        points(&next),
        [
            "gauged_app_queue_length{} 110 flags 1",
            "gauged_app_wait_seconds{} 110 0 sum None [0, 0] [0.005] flags 1",
            "gauged_app_queue_length{} 110 110",
            "gauged_app_wait_seconds{} 110 3 sum Some(0.003) [1, 2] [0.005]",
        ]
    );
    assert_eq!(points(&at(120, "1.3.0")).len(), 2);
}

#[test]
fn large_sample_has_several_requests() {
    let long = "x".repeat(1000);
    let labels: Vec<Labels> =
        (0..1200).map(|number| Labels::from([("number", &*number.to_string()), ("long", &*long)])).collect();
    let app = module(&mut writer(), 100, |values| {
        for labels in &labels {
            values.push_labelled("queue_length", labels, 1_u64);
        }
    });
    let requests = requests(&mut encoder(), &sample(100, &[&app]));
    let last: Vec<bool> = requests.iter().map(|(request, _)| request.is_last).collect();
    assert_eq!(last, [false, false, true]);
    let (mut points, count) = (all_points(&requests), labels.len());
    points.sort_unstable();
    points.dedup();
    assert_eq!(points.len(), count);
}

#[test]
fn start_after_the_point_is_left_out() {
    let mut kernel = writer_of("kernel", "1", &KERNEL);
    let mut encoder = encoder();
    let mut at = |seconds| {
        let kernel = module(&mut kernel, seconds, |values| values.push("forks", 1_u64));
        all_points(&requests(&mut encoder, &sample(seconds, &[&kernel])))
    };
    assert_eq!(at(100), ["gauged_kernel_forks_total{} 5..100 1"]);
    assert_eq!(at(4), ["gauged_kernel_forks_total{} 4 1"], "the clock was set back");
}

proptest! {
    /// Requests decode to the values that were measured.
    #[test]
    fn requests_decode_to_their_values(
        values in prop::collection::btree_map(
            ("(one|two|three)", "[x-z]?|ä|\"\n"),
            prop_oneof![any::<u64>().prop_map(Value::Unsigned), any::<i64>().prop_map(Value::Signed),
                any::<f64>().prop_map(Value::Float), Just(Value::Null)],
            0..20,
        ),
    ) {
        let app = module(&mut writer_of("app", "1", &[]), 100, |written| {
            for ((name, label), value) in &values {
                written.push_labelled(&format!("level_{name}"), &[("label", &**label)].into(), value.clone());
            }
        });
        let mut expected: Vec<String> = values.iter().filter_map(|((name, label), value)| {
            let number = match value {
                Value::Unsigned(number) if i64::try_from(*number).is_err() => format!("{:?}", *number as f64),
                Value::Unsigned(number) => number.to_string(),
                Value::Signed(number) => number.to_string(),
                Value::Float(number) if number.is_finite() => format!("{number:?}"),
                _ => return None,
            };
            let label = if label.is_empty() { String::new() } else { format!("label={label}") };
            Some(format!("gauged_app_level_{name}{{{label}}} 100 {number}"))
        }).collect();
        let mut decoded = all_points(&requests(&mut encoder(), &sample(100, &[&app])));
        expected.sort_unstable();
        decoded.sort_unstable();
        prop_assert_eq!(decoded, expected);
    }
}
