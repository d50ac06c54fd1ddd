//! Tests of the requests, which a reader of protobuf reads that knows nothing of the encoder, and of verdicts.

mod decoder;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::decoder::{DecodedSeries, decode};
use super::super::fixture::{self, Machine, sample, settings, tags, time};
use super::super::verdict::Retry;
use super::*;
use crate::sample::{BucketBounds, Labels, MetricKind, NativeMetric};

/// The bits of a staleness marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;

fn encoder(settings: &Arc<NumericSettings>) -> Encoder {
    Encoder::new(Arc::clone(settings), RemoteWriteSettings::default())
}

fn encoded(encoder: &mut Encoder, sample: &Sample) -> Vec<Request> {
    let (settings, mut requests) = (Arc::clone(encoder.series.settings()), Vec::new());
    encoder.encode(sample, &settings, &mut requests);
    requests
}

/// The series of requests, one a line: name, labels, value, and milliseconds after the start. An end has the value `stale`.
fn lines(requests: &[Request]) -> String {
    let line = |series: &DecodedSeries| {
        let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let value = if series.value.to_bits() == STALE { "stale".to_owned() } else { series.value.to_string() };
        let millis = series.timestamp - millis(time(0));
        format!("{} {value} {millis}\n", labels.join(" "))
    };
    requests.iter().flat_map(|request| decode(&request.body)).map(|series| line(&series)).collect::<Vec<_>>().concat()
}

#[test]
fn request_has_its_golden_bytes() {
    let settings = Arc::new(NumericSettings { tags: tags([("Zone", "é")]), ..settings() });
    let module = Machine::default().module("disk", 0, |values| {
        values.push_labelled("busy_ratio", &[("device", "sda")].into(), 0.5);
        values.push("reads", 0_u64);
    });
    let requests = encoded(&mut encoder(&settings), &sample(0, &[module]));
    let Request { time, points, is_last, body } = &requests[0];
    assert_eq!((requests.len(), *time, *points, *is_last), (1, fixture::time(0), 2, true));
    let plain = snap::raw::Decoder::new().decompress_vec(body).expect("snappy's block format");
    let hex = plain.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    // Made by Python's protobuf of the published definition. Labels are sorted by their bytes: `Zone` is before `__name__`.
    let expected = concat!(
        "0a730a0a0a045a6f6e651202c3a90a220a085f5f6e616d655f5f12166761756765645f6469736b5f627573795f726174696f0a0d",
        "0a0664657669636512037364610a110a08696e7374616e636512057765622d310a0d0a036a6f6212066761756765641210090000",
        "00000000e03f1080bcd9f29e340a560a0a0a045a6f6e651202c3a90a1d0a085f5f6e616d655f5f12116761756765645f6469736b",
        "5f72656164730a110a08696e7374616e636512057765622d310a0d0a036a6f62120667617567656412071080bcd9f29e34",
    );
    assert_eq!(hex, expected);
}

#[test]
fn series_end_with_a_marker() {
    let (mut machine, settings) = (Machine::default(), Arc::new(settings()));
    let mut encoder = encoder(&settings);
    encoded(
        &mut encoder,
        &sample(0, &[machine.plain_module("disk", 0, &["a", "c"]), machine.plain_module("net", 0, &["e"])]),
    );
    let requests = encoded(
        &mut encoder,
        &sample(10_000, &[machine.plain_module("disk", 10_000, &["a"]), machine.plain_module("net", 10_000, &["e"])]),
    );
    assert_eq!(
        lines(&requests),
        "__name__=gauged_disk_a instance=web-1 job=gauged 1 10000\n\
         __name__=gauged_net_e instance=web-1 job=gauged 1 10000\n\
         __name__=gauged_disk_c instance=web-1 job=gauged stale 9999\n"
    );
    assert_eq!((requests[0].points, requests[0].time), (2, time(10_000)), "an end is no point");
    // The clock is set back.
    let modules = [machine.plain_module("disk", 5000, &[]), machine.plain_module("net", 5000, &["e"])];
    let requests = encoded(&mut encoder, &sample(5000, &modules));
    assert_eq!(
        lines(&requests),
        "__name__=gauged_net_e instance=web-1 job=gauged 1 5000\n\
         __name__=gauged_disk_a instance=web-1 job=gauged stale 10001\n"
    );
    assert_eq!((requests[0].points, requests[0].time, requests[0].is_last), (1, time(10_001), true));
    let mut requests = Vec::new();
    encoder.end(time(10_000), &mut requests);
    assert_eq!(lines(&requests), "__name__=gauged_net_e instance=web-1 job=gauged stale 10001\n");
    assert!(requests[0].is_last);
    encoder.end(time(20_000), &mut requests);
    assert_eq!(requests.len(), 1, "they have ended");
}

#[test]
fn late_results_are_sent_first() {
    let (mut machine, settings) = (Machine::default(), Arc::new(settings()));
    let [first, second, other] =
        [("a", 0), ("a", 10_000), ("c", 10_000)].map(|(name, at)| machine.plain_module(name, at, &["y"]));
    let sample = Sample { superseded: vec![first], ..sample(10_000, &[second, other]) };
    let requests = encoded(&mut encoder(&settings), &sample);
    assert_eq!(
        requests.iter().map(|request| (request.time, request.points, request.is_last)).collect::<Vec<_>>(),
        [(time(0), 1, false), (time(10_000), 2, true)]
    );
    let empty = fixture::sample(20_000, &[machine.module("text", 20_000, |values| values.push("release", "6.1"))]);
    assert_eq!(encoded(&mut encoder(&settings), &empty), [], "no numbers, no request");
}

#[test]
fn large_samples_are_split_by_series() {
    let count = |metrics: usize, label_bytes: usize| {
        let labels: Labels = [("path", &*"x".repeat(label_bytes))].into();
        let module = Machine::default().module("disk", 0, |values| {
            (0..metrics).for_each(|number| values.push_labelled(&format!("m{number}"), &labels, 1_u64));
        });
        let requests = encoded(&mut encoder(&Arc::new(settings())), &sample(0, &[module]));
        assert!(
            requests.iter().rev().skip(1).all(|request| !request.is_last)
                && requests.last().is_some_and(|last| last.is_last)
        );
        let decoded: Vec<usize> = requests.iter().map(|request| decode(&request.body).len()).collect();
        assert!(decoded.iter().zip(&requests).all(|(series, request)| *series == request.points as usize));
        decoded
    };
    assert_eq!(count(2000, 1), [2000]);
    assert_eq!(count(4001, 1), [2000, 2000, 1]);
    assert_eq!(count(3, 400_000), [2, 1], "by their bytes");
    assert_eq!(count(2, 2_000_000), [1, 1], "one series may be larger");
}

#[test]
fn job_and_instance_are_labels_of_every_series() {
    let module = Machine::default().module("disk", 0, |values| {
        let labels: Labels = [("job", "nightly"), ("instance", "3"), ("exported_job", "x")].into();
        values.push_labelled("a", &labels, 1_u64);
    });
    let labels = |settings: NumericSettings, own: RemoteWriteSettings| {
        let requests = encoded(&mut Encoder::new(Arc::new(settings), own), &sample(0, &[Arc::clone(&module)]));
        lines(&requests).trim_end_matches(" 1 0\n").to_owned()
    };
    let of_series = "exported_exported_job=nightly exported_instance=3 exported_job=x";
    assert_eq!(
        labels(settings(), RemoteWriteSettings::default()),
        format!("__name__=gauged_disk_a {of_series} instance=web-1 job=gauged")
    );
    let node_exporter = NumericSettings { naming: Naming::NodeExporter, ..settings() };
    assert_eq!(
        labels(
            node_exporter,
            RemoteWriteSettings { instance: Some("a:9100".to_owned()), ..RemoteWriteSettings::default() }
        ),
        format!("__name__=gauged_disk_a {of_series} instance=a:9100 job=node")
    );
    let tagged = || NumericSettings { tags: tags([("dc", "fra1"), ("job", "fleet")]), ..settings() };
    assert_eq!(
        labels(tagged(), RemoteWriteSettings::default()),
        format!("__name__=gauged_disk_a dc=fra1 {of_series} instance=web-1 job=fleet")
    );
    let own = RemoteWriteSettings { job: Some("hosts".to_owned()), instance: Some(String::new()) };
    assert_eq!(labels(tagged(), own), format!("__name__=gauged_disk_a dc=fra1 {of_series} job=hosts"));
}

#[test]
fn changed_host_name_ends_all_series() {
    let (mut machine, first) = (Machine::default(), Arc::new(settings()));
    let mut encoder = encoder(&first);
    encoded(&mut encoder, &sample(0, &[machine.plain_module("disk", 0, &["a"])]));
    let mut requests = Vec::new();
    let second = Arc::new(NumericSettings { host: "web-2".into(), ..settings() });
    encoder.encode(&sample(10_000, &[machine.plain_module("disk", 10_000, &["a"])]), &second, &mut requests);
    assert_eq!(
        lines(&requests),
        "__name__=gauged_disk_a instance=web-2 job=gauged 1 10000\n\
         __name__=gauged_disk_a instance=web-1 job=gauged stale 10000\n"
    );
    // A series with a label of a tag's name is the same one with or without the tag.
    let tagged = Arc::new(NumericSettings { tags: tags([("dc", "fra1")]), host: "web-2".into(), ..settings() });
    requests.clear();
    encoder.encode(&sample(20_000, &[machine.plain_module("disk", 20_000, &["a"])]), &tagged, &mut requests);
    assert_eq!(
        lines(&requests),
        "__name__=gauged_disk_a dc=fra1 instance=web-2 job=gauged 1 20000\n\
         __name__=gauged_disk_a instance=web-2 job=gauged stale 19999\n"
    );
}

#[test]
fn histograms_are_flat_series() {
    static METRICS: [NativeMetric; 1] = [NativeMetric {
        kind: MetricKind::Histogram,
        ..NativeMetric::gauge("app", "wait_ms", "ms", "A duration.", "a source")
    }];
    let bounds = BucketBounds::new(&[5.0]).expect("one");
    let module = Machine::with_metrics(&METRICS).module("app", 0, |values| {
        values.push_histogram("wait_ms", &[("queue", "a")].into(), &bounds, &[3, 1], 40.0).expect("a histogram");
    });
    assert_eq!(
        lines(&encoded(&mut encoder(&Arc::new(settings())), &sample(0, &[module]))),
        "__name__=gauged_app_wait_seconds_bucket instance=web-1 job=gauged le=0.005 queue=a 3 0\n\
         __name__=gauged_app_wait_seconds_bucket instance=web-1 job=gauged le=+Inf queue=a 4 0\n\
         __name__=gauged_app_wait_seconds_sum instance=web-1 job=gauged queue=a 0.04 0\n\
         __name__=gauged_app_wait_seconds_count instance=web-1 job=gauged queue=a 4 0\n"
    );
}

#[test]
fn statuses_have_their_verdicts() {
    for (status, expected) in [
        (200, "delivered"),
        (204, "delivered"),
        (302, "retry"),
        (400, "rejected"),
        (401, "retry"),
        (403, "retry"),
        (404, "retry"),
        (405, "retry"),
        (408, "retry"),
        (409, "rejected"),
        (413, "rejected"),
        (415, "retry"),
        (422, "rejected"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        let (verdict, text) = match verdict(status, &HeaderMap::new(), b"out of order sample\n") {
            Verdict::Delivered { rejected: 0, text } => ("delivered", text.unwrap_or_default()),
            Verdict::Delivered { .. } => ("partial", String::new()),
            Verdict::Rejected { text } => ("rejected", text),
            Verdict::Retry(Retry { text, .. }) => ("retry", text),
        };
        assert_eq!(verdict, expected, "{status}");
        assert!(text.ends_with(": out of order sample") || verdict == "delivered", "{text}");
    }
}

#[test]
fn headers_name_snappy_and_version() {
    let headers = headers();
    assert_eq!(headers[CONTENT_ENCODING], "snappy");
    assert_eq!(headers[CONTENT_TYPE], "application/x-protobuf");
    assert_eq!(headers["x-prometheus-remote-write-version"], "0.1.0");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// With any names, labels and values, each point is in the requests once, at its time, in order, under sorted labels.
    #[test]
    fn decoded_requests_are_the_points(modules in fixture::results()) {
        let settings = Arc::new(settings());
        let requests = encoded(&mut encoder(&settings), &sample(2000, &modules));
        let decoded: Vec<DecodedSeries> = requests.iter().flat_map(|request| decode(&request.body)).collect();
        let mut last: BTreeMap<_, (i64, bool)> = BTreeMap::new();
        for series in &decoded {
            prop_assert!(series.labels.is_sorted_by(|(name, _), (other, _)| name < other), "{series:?}");
            prop_assert!(series.labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{series:?}");
            let is_end = series.value.to_bits() == STALE;
            let before = last.insert(&series.labels, (series.timestamp, is_end));
            prop_assert!(before.is_none_or(|(time, is_end)| time < series.timestamp && !is_end), "{series:?}");
            prop_assert!(before.is_some() || !is_end, "{series:?}");
        }
        let points: Vec<fixture::Point> = (decoded.iter().filter(|series| series.value.to_bits() != STALE))
            .map(DecodedSeries::point)
            .collect();
        let target = [("instance", "web-1"), ("job", "gauged")];
        fixture::check(&points, &fixture::points(&modules, &settings, &target, &["instance", "job"]));
        prop_assert_eq!(requests.iter().map(|request| request.points as usize).sum::<usize>(), points.len());
        prop_assert_eq!(requests.iter().rposition(|request| !request.is_last), requests.len().checked_sub(2));
        prop_assert!(requests.is_sorted_by_key(|request| request.time));
    }
}
