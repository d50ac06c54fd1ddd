//! Histograms and summaries, by the encoders of the sinks.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gauged::naming::Naming;
use gauged::sample::{
    BucketBounds, CollectorVersion, Labels as SeriesLabels, MetricKind, ModuleSource, ModuleWriter, NativeMetric,
    Quantiles, Sample, SeriesAccount, Values,
};
use gauged::sink::benchmark::bodies;

use super::otlp::without_resource;
use super::points::{Labels, Points, Precision};
use super::receiver::{prometheus_points, victoria_metrics_points};
use super::truth::{self, Target};
use crate::http_server::peer::{Response, connect};
use crate::otlp;
use crate::prometheus::server::{Server, VICTORIA_METRICS_PRECISION};
use crate::requirement;

/// The labels of each series with the encoders' settings.
const TAG: (&str, &str) = ("dc", "fra1");
const HOST: &str = "web-1.example";

/// A sample of this second with histograms and summaries.
fn sample() -> Sample {
    const fn metric(kind: MetricKind, name: &'static str, unit: &'static str) -> NativeMetric {
        NativeMetric { kind, ..NativeMetric::gauge("app", name, unit, "The meaning.", "a test") }
    }
    static METRICS: [NativeMetric; 3] = [
        metric(MetricKind::Histogram, "wait_ms", "ms"),
        metric(MetricKind::Histogram, "size", "By"),
        metric(MetricKind::Summary, "offset", "s"),
    ];
    let source = ModuleSource {
        module: "app".into(),
        collector: CollectorVersion::native("app"),
        step: Duration::from_secs(1),
        is_verbatim: false,
    };
    let fill = |values: &mut Values<'_>| {
        for disk in ["sda", "sdb"] {
            let (labels, bounds) = (SeriesLabels::from([("disk", disk)]), [1.0, 5.0, 250.0]);
            let bounds = BucketBounds::new(&bounds).expect("rising");
            values.push_histogram("wait_ms", &labels, &bounds, &[3, 0, 7, 1], 12.5).expect("a histogram");
        }
        let bounds = BucketBounds::new(&[1e-3, 1e6]).expect("rising");
        values.push_histogram("size", &SeriesLabels::default(), &bounds, &[0, 1 << 60, 0], 1e18).expect("a histogram");
        let quantiles = Quantiles::new(&[0.0, 0.5, 0.99]).expect("rising");
        let measured = [Some(-0.25), Some(0.001), Some(3.0)];
        values.push_summary("offset", &SeriesLabels::default(), &quantiles, &measured, (5.5, 42)).expect("a summary");
    };
    let second = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let time = Duration::from_secs(second);
    let mut writer = ModuleWriter::new(source, &METRICS, &SeriesAccount::standalone());
    Sample { tick: time, modules: vec![writer.write(time, fill).0], ..Sample::default() }
}

/// The points of a sample in a naming.
fn expected(sample: &Sample, naming: Naming, own: &[(&str, &str)]) -> Points {
    let mut points = Points::default();
    truth::add(&sample.modules[0], naming, &Target { own, tags: &[TAG] }, &mut points);
    // Of the histograms with three and two bounds, and of the summary.
    assert_eq!(points.len(), 2 * (4 + 2) + (3 + 2) + (3 + 2));
    points
}

/// Sends the requests of a sample.
fn send(server: &Server, path: &str, protocol: &str, headers: &str, sample: &Sample) {
    for body in bodies(protocol, sample).expect("a protocol") {
        let mut stream = connect(server.address());
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n{headers}\r\n").expect("sent");
        stream.write_all(&body).expect("sent");
        let response = Response::read(&mut stream);
        assert!(matches!(response.status, 200 | 204), "{} {}", response.status, response.text());
    }
}

fn check(server: &Server, is_prometheus: bool, expected: &Points) {
    let (stored, precision) = if is_prometheus {
        (prometheus_points(server, "{__name__!=\"\"}"), Precision::Exact)
    } else {
        (victoria_metrics_points(server, "{__name__!=\"\"}"), Precision::Relative(VICTORIA_METRICS_PRECISION))
    };
    expected.assert_stored(&stored, precision, |_| false);
    assert_eq!(server.complaints(), Vec::<String>::new());
}

/// The labels of a series' own. In OTLP bounds and quantiles are numbers, and their texts are the receiver's.
fn own_labels(labels: Labels) -> Labels {
    let canonical = |(name, value): (String, String)| {
        let number = ["le", "quantile"].contains(&&*name).then(|| value.parse::<f64>().expect("a number"));
        (name, number.map_or(value, |number| number.to_string()))
    };
    without_resource(labels).into_iter().map(canonical).collect()
}

#[test]
fn histograms_and_summaries_are_stored() {
    let Some(prometheus) = requirement::old_and_new("prometheus") else { return };
    let Some(victoria_metrics) = requirement::old_and_new("victoria-metrics") else { return };
    let sample = sample();
    let protobuf = "Content-Type: application/x-protobuf\r\n";
    let snappy = format!("{protobuf}Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n");
    let written = expected(&sample, Naming::Gauged, &[("instance", HOST), ("job", "gauged")]);
    for version in &prometheus {
        let server = Server::prometheus_receiver(version);
        send(&server, "/api/v1/write", "remote_write", &snappy, &sample);
        check(&server, true, &written);
    }
    for version in &victoria_metrics {
        let server = Server::victoria_metrics_receiver(version);
        send(&server, "/api/v1/write", "remote_write", &snappy, &sample);
        check(&server, false, &written);
        let server = Server::victoria_metrics_receiver(version);
        send(&server, "/write", "influx", "Content-Encoding: gzip\r\n", &sample);
        check(&server, false, &expected(&sample, Naming::Gauged, &[("host", HOST)]));
    }
    let server = Server::victoria_metrics_receiver(&victoria_metrics[1]);
    let gzip = format!("{protobuf}Content-Encoding: gzip\r\n");
    send(&server, "/opentelemetry/v1/metrics", "otlp", &gzip, &sample);
    let stored = victoria_metrics_points(&server, "{__name__!=\"\"}").relabelled(own_labels);
    let expected = expected(&sample, Naming::Otel, &[]).relabelled(own_labels);
    expected.assert_stored(&stored, Precision::Relative(VICTORIA_METRICS_PRECISION), |_| false);
}

#[test]
fn python_reads_histograms_and_summaries() {
    let Some(python) = otlp::python() else { return };
    let bodies = bodies("otlp", &sample()).expect("a protocol");
    let decoded = otlp::decode(&python, bodies.iter().map(Vec::as_slice));
    let points = decoded[0]["points"].as_array().expect("points");
    let find = |name: &str| points.iter().find(|point| point["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    let wait = find("app.wait_ms");
    assert_eq!(
        (&wait["kind"], &wait["temporality"], &wait["unit"]),
        (&"histogram".into(), &"cumulative".into(), &"ms".into())
    );
    assert_eq!(wait["bounds"], serde_json::json!([1.0, 5.0, 250.0]));
    assert_eq!(wait["bucket_counts"], serde_json::json!([3, 0, 7, 1]));
    assert_eq!((&wait["count"], &wait["sum"]), (&11.into(), &12.5.into()));
    assert_eq!(find("app.size")["bucket_counts"], serde_json::json!([0, 1_u64 << 60, 0]));
    let offset = find("app.offset");
    assert_eq!(offset["quantiles"], serde_json::json!([[0.0, -0.25], [0.5, 0.001], [0.99, 3.0]]));
    assert_eq!((&offset["kind"], &offset["count"], &offset["sum"]), (&"summary".into(), &42.into(), &5.5.into()));
}
