//! Points in the requests of network sinks, read by the specifications of the protocols. Nothing here is shared with the encoders.

use std::io::Read as _;

use serde_json::Value;

use super::protobuf::{Field, Message};
use super::protocol::Protocol;
use super::receiver::Arrival;
use super::snappy;

/// The value of Prometheus' staleness marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// One value of a series at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Name and labels, in the order of their names.
    pub series: String,
    /// Since the Unix epoch.
    pub time_ms: u64,
    /// The value's, as a float.
    pub bits: u64,
    /// Whether it ends the series.
    pub is_end: bool,
}

/// The points of a request, in their order.
pub fn points(protocol: Protocol, arrival: &Arrival) -> Vec<Point> {
    let body = match arrival.header("content-encoding") {
        None => arrival.body.to_vec(),
        Some("gzip") => {
            let mut body = Vec::new();
            flate2::read::MultiGzDecoder::new(&*arrival.body).read_to_end(&mut body).expect("gzip");
            body
        }
        Some("snappy") => snappy::decompress(&arrival.body),
        Some(other) => panic!("content-encoding: {other}"),
    };
    match protocol {
        Protocol::RemoteWrite => {
            assert_eq!(arrival.header("content-type"), Some("application/x-protobuf"));
            assert_eq!(arrival.header("x-prometheus-remote-write-version"), Some("0.1.0"));
            remote_write(&Message(&body))
        }
        Protocol::Otlp => {
            assert_eq!(arrival.header("content-type"), Some("application/x-protobuf"));
            otlp(&Message(&body))
        }
        Protocol::Influx => {
            let text = str::from_utf8(&body).expect("UTF-8");
            let is_in_ms = arrival.line.contains("precision=ms");
            text.lines().flat_map(|line| influx_line(line, if is_in_ms { 1 } else { 1_000_000 })).collect()
        }
        Protocol::Transfer => {
            let call: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(call["method"], "Transfer.Update");
            let params = call["params"].as_array().expect("a list");
            // Go's server reads the first one only.
            assert_eq!(params.len(), 1);
            falcon(&params[0])
        }
        Protocol::Nightingale => {
            assert_eq!(arrival.header("content-type"), Some("application/json"));
            falcon(&serde_json::from_slice(&body).expect("JSON"))
        }
    }
}

/// A series as a text.
fn series(name: &str, mut labels: Vec<(String, String)>) -> String {
    labels.sort_unstable();
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// `prometheus.WriteRequest` of remote write 1.0.
fn remote_write(request: &Message<'_>) -> Vec<Point> {
    let mut points = Vec::new();
    for timeseries in request.messages(1) {
        let labels: Vec<(String, String)> =
            timeseries.messages(1).map(|label| (label.text(1), label.text(2))).collect();
        // As the specification demands.
        assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0), "{labels:?}");
        assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{labels:?}");
        let (name, labels): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(name, _)| name == "__name__");
        let series = series(&name[0].1, labels);
        points.extend(timeseries.messages(2).map(|sample| {
            let bits = sample.number(1).unwrap_or(0);
            Point { series: series.clone(), time_ms: sample.number(2).unwrap_or(0), bits, is_end: bits == STALE }
        }));
    }
    points
}

/// `ExportMetricsServiceRequest`.
fn otlp(request: &Message<'_>) -> Vec<Point> {
    let mut points = Vec::new();
    for resource_metrics in request.messages(1) {
        let resource: Vec<(String, String)> =
            resource_metrics.messages(1).flat_map(|resource| attributes(&resource, 1)).collect();
        for metric in resource_metrics.messages(2).flat_map(|scope| scope.messages(2).collect::<Vec<_>>()) {
            let name = metric.text(1);
            for (_, data) in metric.fields().filter(|(number, _)| matches!(number, 5 | 7 | 9 | 11)) {
                let Field::Bytes(data) = data else { panic!("no message: {name}") };
                points.extend(Message(data).messages(1).map(|point| otlp_point(&name, &resource, &point)));
            }
        }
    }
    points
}

/// A point of any kind. That of a histogram or a summary is its count.
fn otlp_point(name: &str, resource: &[(String, String)], point: &Message<'_>) -> Point {
    // Numbers have them in field 7, histograms in 9; numbers have the value in 4 or 6, the others their count in 4.
    let labels = attributes(point, 7).into_iter().chain(attributes(point, 9)).chain(resource.iter().cloned());
    let time_ns = point.number(3).expect("a time");
    let whole = point.number(6).map(|whole| (whole.cast_signed() as f64).to_bits());
    let bits = point.number(4).or(whole).unwrap_or(0);
    let is_end = point.number(8).unwrap_or(0) & 1 == 1;
    // Ticks are whole milliseconds; the end of a series may be at any time.
    assert!(is_end || time_ns.is_multiple_of(1_000_000), "{name} at {time_ns}");
    Point { series: series(name, labels.collect()), time_ms: time_ns / 1_000_000, bits, is_end }
}

fn attributes(of: &Message<'_>, number: u32) -> Vec<(String, String)> {
    let is_message = |(known, field): &(u32, Field<'_>)| *known == number && matches!(field, Field::Bytes(_));
    let messages = of.fields().filter(is_message).map(|(_, field)| match field {
        Field::Bytes(bytes) => Message(bytes),
        Field::Number(_) => unreachable!("filtered"),
    });
    messages.map(|pair| (pair.text(1), pair.messages(2).map(|value| value.text(1)).collect())).collect()
}

/// A line of the line protocol: each field is a series. A unit is so many of the line's times in a millisecond.
fn influx_line(line: &str, per_ms: u64) -> Vec<Point> {
    let [key, fields, time] = &split(line, ' ')[..] else { panic!("no line: {line}") };
    let mut key = split(key, ',').into_iter();
    let measurement = unescape(&key.next().expect("a measurement"));
    let labels: Vec<(String, String)> = key.map(|tag| pair(&tag)).collect();
    let time: u64 = time.parse().expect("a time");
    assert_eq!(time % per_ms, 0, "{line}");
    let field = |field: &String| {
        let (name, value) = pair(field);
        let value: f64 = value.trim_end_matches(['i', 'u']).parse().unwrap_or_else(|_| panic!("no number: {field}"));
        let series = series(&format!("{measurement}.{name}"), labels.clone());
        Point { series, time_ms: time / per_ms, bits: value.to_bits(), is_end: false }
    };
    split(fields, ',').iter().map(field).collect()
}

/// The parts between separators that are not escaped.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut is_escaped) = (vec![String::new()], false);
    for character in text.chars() {
        if character == separator && !is_escaped {
            parts.push(String::new());
        } else {
            parts.last_mut().expect("there is one").push(character);
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    parts
}

fn pair(text: &str) -> (String, String) {
    let [name, value] = &split(text, '=')[..] else { panic!("no pair: {text}") };
    (unescape(name), unescape(value))
}

fn unescape(text: &str) -> String {
    text.replace("\\ ", " ").replace("\\,", ",").replace("\\=", "=")
}

/// A list of Open-Falcon's points.
fn falcon(points: &Value) -> Vec<Point> {
    let point = |point: &Value| {
        let text = |key: &str| point[key].as_str().unwrap_or_else(|| panic!("no {key} in {point}")).to_owned();
        let whole = |key: &str| point[key].as_u64().unwrap_or_else(|| panic!("no whole {key} in {point}"));
        assert!(whole("step") > 0 && matches!(&*text("counterType"), "GAUGE" | "COUNTER"), "{point}");
        let tags = text("tags");
        let tags = tags.split(',').filter_map(|tag| tag.split_once('='));
        let labels = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let labels = labels.chain([("endpoint".to_owned(), text("endpoint"))]).collect();
        let bits = point["value"].as_f64().unwrap_or_else(|| panic!("no value in {point}")).to_bits();
        Point { series: series(&text("metric"), labels), time_ms: whole("timestamp") * 1000, bits, is_end: false }
    };
    points.as_array().expect("a list").iter().map(point).collect()
}

#[test]
fn influx_lines_are_read_by_their_escapes() {
    let points = influx_line(r"a\ b,host=x\,y,k\=1=v one=1.5,two=3i 1700000000123000000", 1_000_000);
    let expected = |series: &str, value: f64| Point {
        series: series.to_owned(),
        time_ms: 1_700_000_000_123,
        bits: value.to_bits(),
        is_end: false,
    };
    let labels = r#"{host="x,y",k=1="v"}"#;
    assert_eq!(points, [expected(&format!("a b.one{labels}"), 1.5), expected(&format!("a b.two{labels}"), 3.0)]);
}

#[test]
fn falcon_points_are_read() {
    let points = serde_json::json!([{"metric": "load.1min", "endpoint": "web-1", "tags": "b=2,a=1", "value": 0.5,
        "timestamp": 1_700_000_000, "step": 60, "counterType": "GAUGE"}]);
    let series = r#"load.1min{a="1",b="2",endpoint="web-1"}"#.to_owned();
    let expected = Point { series, time_ms: 1_700_000_000_000, bits: 0.5_f64.to_bits(), is_end: false };
    assert_eq!(falcon(&points), [expected]);
}
