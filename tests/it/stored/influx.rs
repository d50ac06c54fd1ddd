//! Influx line protocol to `VictoriaMetrics`, in an old and a new version, and to `InfluxDB` 1.

use gauged::naming::Naming;

use super::host::{CLOCKS, HOST, Host, Measured, TAG};
use super::influxdb::InfluxDb;
use super::points::{Labels, NAME, Points, Precision};
use super::receiver::{count, victoria_metrics_points};
use super::truth::Target;
use crate::harness::wait_until;
use crate::prometheus::server::{Server, VICTORIA_METRICS_PRECISION};
use crate::requirement;

/// The tags of each line.
const TARGET: Target<'_> = Target { own: &[("host", HOST)], tags: &[TAG] };

/// The points that a receiver is to have.
fn expected(measured: &Measured) -> Points {
    let mut points = measured.truth.points(Naming::Gauged, &TARGET);
    measured.add_pushed(&mut points, &TARGET, |name| name.replace('.', "_"));
    points.relabelled(lines_as_sent)
}

/// The texts that a line cannot have are sent as others. A name without an underscore has the field `value`.
fn lines_as_sent(labels: Labels) -> Labels {
    let sent = |(name, text): (String, String)| {
        let text = text.replace('\n', "\\n");
        let end = if text.ends_with('\\') { " " } else { "" };
        let field = if name == NAME && !text.contains('_') { "_value" } else { "" };
        (name, text + end + field)
    };
    labels.into_iter().map(sent).collect()
}

/// The same as `InfluxDB` 1 reads it: a backslash that could be taken for the beginning of an escape is there twice.
fn lines_as_influxdb_reads(labels: Labels) -> Labels {
    let read = |(name, text): (String, String)| {
        let mut all = String::new();
        for (at, letter) in text.char_indices() {
            let is_doubled = letter == '\\' && text[at + 1..].starts_with([',', ' ', '=', '\\']);
            all.extend(is_doubled.then_some(letter).into_iter().chain([letter]));
        }
        (name, all)
    };
    labels.into_iter().map(read).collect()
}

/// The value of each clock is its time.
fn check_clocks(stored: &Points) {
    for name in CLOCKS {
        let points = stored.only(&format!("gauged_{name}_value"));
        assert!(
            points.len() > 2 && points.iter().all(|(millis, value)| *value == *millis as f64),
            "{name}: {points:?}"
        );
    }
}

#[test]
fn victoria_metrics_stores_influx_lines() {
    let Some(versions) = requirement::old_and_new("victoria-metrics") else { return };
    let servers = versions.map(|version| Server::victoria_metrics_receiver(&version));
    let sink = |(at, server): (usize, &Server)| {
        format!("[sinks.receiver_{at}]\nkind = \"influx\"\nurl = \"{}\"\n", server.url("/write"))
    };
    let mut host = Host::start(&servers.iter().enumerate().map(sink).collect::<String>());
    host.measure();
    for server in &servers {
        wait_until("points are shown", || count(server, "pushed_other") == 1);
    }
    let measured = host.end();
    measured.assert_delivered();
    let expected = expected(&measured);
    for server in &servers {
        let stored = victoria_metrics_points(server, "{host!=\"\"}");
        assert!(stored.len() > 300, "{} series", stored.len());
        expected.assert_stored(&stored, Precision::Relative(VICTORIA_METRICS_PRECISION), |unknown| {
            measured.is_superseded(unknown)
        });
        check_clocks(&stored);
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
}

#[test]
fn influxdb_stores_lines() {
    let Some(program) = requirement::program("influxd") else { return };
    let server = InfluxDb::start(&program);
    let mut host = Host::start(&format!("[sinks.influxdb]\nkind = \"influx\"\nurl = \"{}\"\n", server.url()));
    host.measure();
    let measured = host.end();
    measured.assert_delivered();
    let stored = server.points();
    let expected = expected(&measured).relabelled(lines_as_influxdb_reads);
    expected.assert_stored(&stored, Precision::Exact, |unknown| measured.is_superseded(unknown));
    check_clocks(&stored);
}
