//! OTLP to `VictoriaMetrics`, and to a server whose requests `OpenTelemetry`'s own messages read in Python.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use gauged::naming::Naming;
use gauged::naming::otel::SCHEMA_URL;
use serde_json::{Value, json};

use super::host::{CLOCKS, HOST, Host, Measured, TAG};
use super::points::{Labels, NAME, Points, Precision};
use super::receiver::{count, victoria_metrics_points};
use super::truth::Target;
use crate::harness::wait_until;
use crate::otlp;
use crate::prometheus::server::{Server, VICTORIA_METRICS_PRECISION};
use crate::requirement;
use crate::server::Server as Peer;

/// Tags and the host name are attributes of the resource.
const TARGET: Target<'_> = Target { own: &[], tags: &[] };

/// The flag of a point without a value, by which a series ends.
const NO_RECORDED_VALUE: u64 = 1;

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// The bodies of all requests to a server, which takes them.
type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that takes each request, on connections that are kept.
fn receiver() -> (Peer, Bodies) {
    let bodies = Bodies::default();
    let received = Arc::clone(&bodies);
    let peer = Peer::start(move |mut stream| {
        while let Some((head, body)) = read_request(&mut stream) {
            if head.starts_with("POST ") {
                assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
                for header in ["content-type: application/x-protobuf", "content-encoding: gzip"] {
                    assert!(head.to_lowercase().contains(header), "{head}");
                }
                received.lock().expect("not poisoned").push(body);
            }
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    });
    (peer, bodies)
}

/// The head and the body of the next request on a connection; none at its end.
fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The labels of a decoded point, and its time.
fn identity(point: &Value) -> (Labels, i64) {
    let attributes = point["attributes"].as_object().expect("attributes");
    let mut labels: Labels = attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    labels.insert(NAME.to_owned(), text(&point["name"]));
    let nanoseconds = point["time"].as_u64().expect("a time");
    // The end of all series is when the agent ended.
    assert!(nanoseconds.is_multiple_of(NANOSECONDS_PER_MILLISECOND) || point["flags"] == NO_RECORDED_VALUE, "{point}");
    (labels, (nanoseconds / NANOSECONDS_PER_MILLISECOND).cast_signed())
}

/// The points of requests, and the last end of each series.
fn decoded_points(requests: &[Value]) -> (Points, BTreeMap<Labels, i64>) {
    let (mut points, mut ends) = (Points::default(), BTreeMap::<Labels, i64>::new());
    for point in requests.iter().flat_map(|request| request["points"].as_array().expect("points")) {
        let (labels, millis) = identity(point);
        let number = ["as_int", "as_double"].iter().find_map(|field| point[field].as_f64());
        match (point["flags"].as_u64(), number) {
            (Some(0), Some(number)) => points.add(&labels, millis, number),
            (Some(NO_RECORDED_VALUE), None) => {
                let before = ends.insert(labels, millis);
                assert!(before.is_none_or(|before| before < millis), "{point} ended at {before:?}");
            }
            _ => panic!("{point}"),
        }
    }
    (points, ends)
}

/// The value of each clock is its time.
fn check_clocks(stored: &Points) {
    for name in CLOCKS {
        let points = stored.only(&format!("{name}.value"));
        assert!(
            points.len() > 2 && points.iter().all(|(millis, value)| *value == *millis as f64),
            "{name}: {points:?}"
        );
    }
}

/// The points that a receiver is to have.
fn expected(measured: &Measured) -> Points {
    let mut points = measured.truth.points(Naming::Otel, &TARGET);
    measured.add_pushed(&mut points, &TARGET, str::to_owned);
    points
}

/// The attributes of the resource are those of docs/otlp.md, and the same in each request.
fn check_resources(requests: &[Value]) {
    let resources: BTreeSet<String> = requests.iter().map(|request| request["resources"].to_string()).collect();
    assert_eq!(resources.len(), 1, "{resources:?}");
    let resource = &requests[0]["resources"][0];
    let names: BTreeSet<&str> = resource.as_object().expect("attributes").keys().map(String::as_str).collect();
    let optional = fs::read_to_string("/etc/machine-id").is_ok_and(|id| !id.trim().is_empty()).then_some("host.id");
    let all = ["service.name", "service.version", "service.instance.id", "host.name", "os.type", TAG.0];
    assert_eq!(names, all.into_iter().chain(optional).collect());
    for (name, value) in
        [("service.name", "gauged"), ("service.version", env!("CARGO_PKG_VERSION")), ("host.name", HOST), TAG]
    {
        assert_eq!(resource[name], value, "{resource}");
    }
}

/// Kinds, units, scopes and start times.
fn check_metrics(requests: &[Value], measured: &Measured) {
    let points: Vec<&Value> =
        requests.iter().flat_map(|request| request["points"].as_array().expect("points")).collect();
    let point = |name: &str| {
        let found = points.iter().rfind(|point| point["name"] == name && point["flags"] == 0);
        *found.unwrap_or_else(|| panic!("no {name}"))
    };
    let kernel = fs::read_to_string("/proc/stat").expect("readable");
    let boot = kernel.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<u64>().ok()).expect("a time");
    let (boot, start) = (boot * 1_000_000_000, measured.truth.start_nanoseconds());
    for (name, kind, unit, scope, starts) in [
        ("system.cpu.time", "counter", "s", "cpu", boot),
        ("system.memory.usage", "up_down_counter", "By", "memory", 0),
        ("cpu.percent", "gauge", "%", "cpu", 0),
        ("numbers.read_total", "counter", "By", "numbers", 0),
        ("numbers.used", "gauge", "By", "numbers", 0),
        ("numbers.tenth", "gauge", "", "numbers", 0),
        ("agent.missed_ticks_total", "counter", "{tick}", "agent", start),
        ("pushed.past", "gauge", "", "push", 0),
        ("pushed_total", "counter", "", "push", 0),
    ] {
        let found = point(name);
        let is = match (found["kind"].as_str(), found["monotonic"].as_bool()) {
            (Some("gauge"), None) => "gauge",
            (Some("sum"), Some(true)) => "counter",
            (Some("sum"), Some(false)) => "up_down_counter",
            other => panic!("{other:?} in {found}"),
        };
        assert_eq!((is, &found["unit"], &found["scope"]), (kind, &json!(unit), &json!(scope)), "{found}");
        assert!(is == "gauge" || found["temporality"] == "cumulative", "{found}");
        let since = found["start"].as_u64().expect("a time");
        assert!(since.abs_diff(starts) <= 1_000_000_000 && (since == 0) == (starts == 0), "{starts}: {found}");
    }
    let version = |name: &str| point(name)["version"].clone();
    assert_eq!((version("numbers.used"), version("cpu.percent")), (json!("1.0.0"), json!(env!("CARGO_PKG_VERSION"))));
    assert!(points.iter().all(|point| !text(&point["description"]).is_empty() && point["schema"] == SCHEMA_URL));
    let integer = |device: &str| {
        let is_it = |point: &&&Value| point["name"] == "numbers.read_total" && point["attributes"]["device"] == device;
        points.iter().find(is_it).map(|point| (point["as_int"].as_i64(), point["as_double"].as_f64()))
    };
    assert_eq!(integer("a"), Some((Some((1 << 53) + 1), None)), "whole numbers stay whole");
    assert_eq!(integer("b"), Some((None, Some(u64::MAX as f64))), "above those that the protocol has");
    let names: BTreeSet<String> = points.iter().map(|point| text(&point["name"])).collect();
    assert!(!names.contains("numbers.text") && !names.contains("agent.hostname"));
}

/// The labels without those that `VictoriaMetrics` makes of the resource and the scope. A metric's own one wins.
pub fn without_resource(labels: Labels) -> Labels {
    let is_of_resource = |(name, value): &(String, String)| {
        let is_attribute = ["service.", "host.", "os.", "scope."].iter().any(|start| name.starts_with(start));
        is_attribute || (&**name, &**value) == TAG
    };
    labels.into_iter().filter(|label| !is_of_resource(label)).collect()
}

#[test]
fn python_reads_each_point_of_otlp() {
    let Some(python) = otlp::python() else { return };
    let (peer, bodies) = receiver();
    let url = format!("http://{}/v1/metrics", peer.address);
    let mut host = Host::start(&format!("[sinks.collector]\nkind = \"otlp\"\nurl = \"{url}\"\n"));
    host.measure();
    host.remove_plugin();
    let measured = host.end();
    measured.assert_delivered();
    let bodies = std::mem::take(&mut *bodies.lock().expect("not poisoned"));
    let requests = otlp::decode(&python, bodies.iter().map(Vec::as_slice));
    let (stored, ends) = decoded_points(&requests);
    expected(&measured).assert_stored(&stored, Precision::Exact, |unknown| measured.is_superseded(unknown));
    check_clocks(&stored);
    check_resources(&requests);
    check_metrics(&requests, &measured);
    for (labels, points) in stored.all() {
        let last = *points.last_key_value().expect("a point").0;
        assert!(ends.get(labels).is_some_and(|end| *end > last), "{labels:?} has its last point at {last}, and no end");
    }
}

#[test]
fn victoria_metrics_stores_otlp() {
    let Some([_, version]) = requirement::old_and_new("victoria-metrics") else { return };
    let server = Server::victoria_metrics_receiver(&version);
    let url = server.url("/opentelemetry/v1/metrics");
    let mut host = Host::start(&format!("[sinks.vm]\nkind = \"otlp\"\nurl = \"{url}\"\n"));
    host.measure();
    wait_until("points are shown", || count(&server, "{__name__=\"pushed.other\"}") == 1);
    let gone = "{__name__=\"gone.value\"}";
    assert_eq!(count(&server, gone), 1);
    host.remove_plugin();
    wait_until("the series of the plugin has ended", || count(&server, gone) == 0);
    let measured = host.end();
    measured.assert_delivered();
    wait_until("all series have ended", || count(&server, "{__name__!=\"\"}") == 0);
    let stored = victoria_metrics_points(&server, "{__name__!=\"\"}");
    let expected = expected(&measured);
    let precision = Precision::Relative(VICTORIA_METRICS_PRECISION);
    let own = stored.relabelled(without_resource);
    expected.assert_stored(&own, precision, |unknown| measured.is_superseded(unknown));
    check_clocks(&own);
    assert_eq!(server.complaints(), Vec::<String>::new());
}
