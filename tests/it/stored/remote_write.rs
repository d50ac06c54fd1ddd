//! Remote write to Prometheus and `VictoriaMetrics`, each in an old and a new version.

use std::collections::BTreeSet;
use std::fs;

use gauged::naming::Naming;

use super::host::{CLOCKS, HOST, Host, Measured, TAG};
use super::points::{Labels, NAME, Points, Precision};
use super::receiver::{count, count_at, prometheus_points, victoria_metrics_points};
use super::truth::Target;
use crate::harness::{repository, wait_until};
use crate::prometheus::server::{Server, VICTORIA_METRICS_PRECISION};
use crate::requirement;

/// The labels of each series in the naming `gauged`.
const TARGET: Target<'_> = Target { own: &[("instance", HOST), ("job", "gauged")], tags: &[TAG] };

/// Those in the naming of `node_exporter`.
const NODE_TARGET: Target<'_> = Target { own: &[("instance", HOST), ("job", "node")], tags: &[TAG] };

/// A table of a sink of this kind.
fn sink(name: &str, server: &Server) -> String {
    format!("[sinks.{name}]\nkind = \"remote_write\"\nurl = \"{}\"\n", server.url("/api/v1/write"))
}

/// The points that a receiver is to have.
fn expected(measured: &Measured, naming: Naming, target: &Target<'_>) -> Points {
    let mut points = measured.truth.points(naming, target);
    measured.add_pushed(&mut points, target, |name| name.replace('.', "_"));
    points
}

/// The value of each clock is its time, and each has points.
fn check_clocks(stored: &Points) {
    for name in CLOCKS {
        let points = stored.only(&format!("gauged_{name}_value"));
        assert!(
            points.len() > 2 && points.iter().all(|(millis, value)| *value == *millis as f64),
            "{name}: {points:?}"
        );
    }
}

/// The names, labels and values that the document about remote write promises.
fn check_labels(stored: &Points) {
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        let all = [("instance", HOST), ("job", "gauged"), TAG];
        let mut labels: Labels = all.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        labels.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        labels
    };
    let value = |pairs: &[(&str, &str)]| {
        let labels = labels(pairs);
        let name = labels[NAME].clone();
        let found = stored.series(&name).find(|(own, _)| **own == labels);
        let (_, points) =
            found.unwrap_or_else(|| panic!("no {labels:?} among {:?}", stored.series(&name).collect::<Vec<_>>()));
        *points.first_key_value().expect("a point").1
    };
    assert_eq!(value(&[(NAME, "gauged_numbers_up")]), 1.0);
    assert_eq!(value(&[(NAME, "gauged_numbers_down")]), 0.0);
    assert_eq!(value(&[(NAME, "gauged_numbers_read_bytes_total"), ("device", "a")]), 9_007_199_254_740_992.0);
    assert_eq!(value(&[(NAME, "gauged_numbers_used_bytes")]), -5.0);
    assert_eq!(value(&[(NAME, "gauged_numbers_empty"), ("some", "x")]), 1.0);
    value(&[(NAME, "pushed_total"), ("exported_job", "batch"), ("exported_instance", "i-1")]);
    value(&[
        (NAME, "gauged_numbers_taken"),
        ("exported_job", "batch"),
        ("exported_instance", "i-1"),
        ("host", "h-1"),
        ("dc", "own"),
        ("exported_le", "1"),
    ]);
    let names: BTreeSet<&str> = stored.names().collect();
    for text in ["gauged_numbers_text", "gauged_numbers_digits", "gauged_agent_hostname"] {
        assert!(!names.contains(text), "{text} is a text");
    }
}

/// The series of the plugin that was removed has ended before its next point was due.
fn check_removed(server: &Server, stored: &Points) {
    let points = stored.only("gauged_gone_value");
    let last = *points.last_key_value().expect("a point").0;
    let shown = [0, 998, 1000, 2000].map(|after| count_at(server, "gauged_gone_value", last + after));
    assert_eq!(shown, [1, 1, 0, 0]);
}

/// What a new and an old version have stored is what was measured, and their queries show the ends of series.
fn check(servers: &[Server], points: impl Fn(&Server) -> Points, precision: Precision) {
    let sinks: String =
        servers.iter().enumerate().map(|(at, server)| sink(&format!("receiver_{at}"), server)).collect();
    let mut host = Host::start(&sinks);
    host.measure();
    for server in servers {
        // The points of another program have not ended these.
        wait_until("pushed points are shown", || count(server, "pushed_other") == 1);
        assert_eq!((count(server, "pushed_past"), count(server, "pushed_total")), (1, 1));
        assert_eq!(count(server, "gauged_gone_value"), 1);
    }
    host.remove_plugin();
    for server in servers {
        wait_until("the series of the plugin has ended", || count(server, "gauged_gone_value") == 0);
        assert!(count(server, "gauged_numbers_up") == 1);
    }
    let measured = host.end();
    measured.assert_delivered();
    for server in servers {
        // The clock by which VictoriaMetrics answers has whole seconds.
        wait_until("all series have ended", || count(server, "{job=\"gauged\"}") == 0);
        let stored = points(server);
        assert!(stored.len() > 300, "{} series", stored.len());
        expected(&measured, Naming::Gauged, &TARGET)
            .assert_stored(&stored, precision, |unknown| measured.is_superseded(unknown));
        check_clocks(&stored);
        check_labels(&stored);
        check_removed(server, &stored);
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
}

#[test]
fn prometheus_stores_remote_writes() {
    let Some(versions) = requirement::old_and_new("prometheus") else { return };
    let servers = versions.map(|version| Server::prometheus_receiver(&version));
    check(&servers, |server| prometheus_points(server, "{job=\"gauged\"}"), Precision::Exact);
}

#[test]
fn victoria_metrics_stores_remote_writes() {
    let Some(versions) = requirement::old_and_new("victoria-metrics") else { return };
    let servers = versions.map(|version| Server::victoria_metrics_receiver(&version));
    let precision = Precision::Relative(VICTORIA_METRICS_PRECISION);
    check(&servers, |server| victoria_metrics_points(server, "{job=\"gauged\"}"), precision);
}

#[test]
fn dashboard_of_node_exporter_has_its_names() {
    let Some([_, version]) = requirement::old_and_new("prometheus") else { return };
    let server = Server::prometheus_receiver(&version);
    let mut host = Host::start(&format!("{}naming = \"node_exporter\"\n", sink("node", &server)));
    host.measure();
    let list = fs::read_to_string(repository().join("src/naming/node_exporter/dashboard_1860.txt")).expect("readable");
    let wanted: BTreeSet<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let response = server.query("group by (__name__) ({job=\"node\"})");
    let results = response["data"]["result"].as_array().expect("a list").clone();
    let shown: BTreeSet<String> =
        results.iter().map(|result| result["metric"][NAME].as_str().expect("text").to_owned()).collect();
    let machine = format!("node_uname_info{{job=\"node\",instance=\"{HOST}\",nodename!=\"\"}}");
    assert_eq!(count(&server, &machine), 1);
    let measured = host.end();
    measured.assert_delivered();
    let expected = expected(&measured, Naming::NodeExporter, &NODE_TARGET);
    let stored = prometheus_points(&server, "{job=\"node\"}");
    expected.assert_stored(&stored, Precision::Exact, |unknown| measured.is_superseded(unknown));
    let measured: BTreeSet<&str> = expected.names().filter(|name| wanted.contains(name)).collect();
    assert!(measured.len() > 60, "{measured:?}");
    let missing: Vec<&&str> = measured.iter().filter(|name| !shown.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
