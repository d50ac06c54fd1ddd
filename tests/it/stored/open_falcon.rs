//! Open-Falcon's protocol to Go's own server of it.

use std::collections::BTreeMap;

use gauged::naming::Naming;
use serde_json::Value;

use super::host::{CLOCKS, HOST, Host, TAG};
use super::points::{Labels, NAME, Points, Precision};
use super::truth::Target;
use crate::open_falcon::transfer::FalconTransfer;
use crate::requirement;

/// Points have the name of the host as their endpoint.
const TARGET: Target<'_> = Target { own: &[], tags: &[TAG] };

/// The metric of each sample that the agent does not measure.
const ALIVE: &str = "agent.alive";

/// The points of all calls, each as the JSON that the server has decoded.
fn received(calls: &[Value]) -> impl Iterator<Item = &Value> {
    let updates = calls.iter().filter(|call| call["method"] == "Transfer.Update");
    updates.flat_map(|call| {
        assert_eq!(call["invalid"], 0, "{call}");
        call["points"].as_array().expect("a list")
    })
}

fn labels(point: &Value) -> Labels {
    let text = |key: &str| point[key].as_str().unwrap_or_else(|| panic!("{key} in {point}"));
    assert_eq!(text("endpoint"), HOST, "{point}");
    let tags = text("tags").split(',').filter(|tag| !tag.is_empty());
    let pairs = tags.map(|tag| tag.split_once('=').unwrap_or_else(|| panic!("{tag} in {point}")));
    let named = pairs.chain([(NAME, text("metric"))]);
    named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn go_receives_open_falcons_points() {
    let Some(go) = requirement::go() else { return };
    let transfer = FalconTransfer::start(&go);
    let mut host = Host::start(&format!(
        "[sinks.falcon]\nkind = \"open_falcon\"\ntransfers = [\"{address}\"]\nheartbeat = [\"{address}\"]\n",
        address = transfer.address(),
    ));
    host.measure();
    let status = |calls: &[Value]| calls.iter().find(|call| call["method"] == "Agent.ReportStatus").cloned();
    let calls = transfer.wait("a heartbeat", |calls| status(calls).is_some());
    let status = status(&calls).expect("waited for")["status"].clone();
    assert_eq!((&status["Hostname"], &status["IP"]), (&HOST.into(), &"127.0.0.1".into()));
    let measured = host.end();
    measured.assert_delivered();
    let samples = measured.truth.samples;
    let alive = |calls: &[Value]| received(calls).filter(|point| point["metric"] == ALIVE).count();
    let calls = transfer.wait("the last sample", |calls| alive(calls) >= samples);
    let (mut stored, mut kinds) = (Points::default(), BTreeMap::new());
    for point in received(&calls) {
        let second = point["timestamp"].as_i64().expect("whole seconds");
        stored.add(&labels(point), second * 1000, point["value"].as_f64().expect("a number"));
        kinds.insert(point["metric"].as_str().expect("text"), (point["counterType"].clone(), point["step"].clone()));
    }
    let mut expected = measured.truth.points(Naming::OpenFalcon, &TARGET);
    measured.add_pushed(&mut expected, &TARGET, str::to_owned);
    expected.assert_stored(&stored, Precision::Exact, |unknown| {
        measured.is_superseded(unknown) || unknown.labels[NAME] == ALIVE && unknown.value == 1.0
    });
    assert_eq!(stored.only(ALIVE).len(), samples);
    for name in CLOCKS {
        let points = stored.only(&format!("{name}.value"));
        assert!(
            points.len() > 2 && points.iter().all(|(millis, value)| *value == *millis as f64),
            "{name}: {points:?}"
        );
    }
    for (metric, kind, step) in [
        ("seldom.value", "GAUGE", 3),
        ("late.value", "GAUGE", 1),
        ("numbers.read_total", "COUNTER", 1),
        ("numbers.up", "GAUGE", 1),
        ("pushed.past", "GAUGE", 60),
        ("pushed_total", "COUNTER", 60),
        ("load.1min", "GAUGE", 1),
        ("cpu.switches", "COUNTER", 1),
        ("mem.memtotal", "GAUGE", 1),
        (ALIVE, "GAUGE", 1),
    ] {
        assert_eq!(kinds.get(metric), Some(&(kind.into(), step.into())), "{metric}");
    }
    assert!(!kinds.contains_key("numbers.text"));
}
