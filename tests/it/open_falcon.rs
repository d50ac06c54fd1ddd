//! Open-Falcon's protocol beside Go's own server of it.

pub mod transfer; // the transfer in Go

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use gauged::naming::{Naming, Scale, open_falcon};
use gauged::sample::Label;
use serde_json::{Value, json};

use self::transfer::FalconTransfer;
use crate::exposition::machines::{self, read_key, value};
use crate::harness::{DEADLINE, Sample, Setup, repository, wait_until};
use crate::requirement;

/// The server of the unit tests responds the same.
#[test]
fn go_transfer_responds_as_recorded() {
    let Some(go) = requirement::go() else { return };
    let transfer = FalconTransfer::start(&go);
    let file = repository().join("tests/fixtures/falcon_transfer/exchanges.txt");
    let exchanges = std::fs::read_to_string(file).expect("there");
    let lines: Vec<&str> = exchanges.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!lines.is_empty());
    for exchange in lines.chunks(2) {
        let (call, expected) = (&exchange[0]["> ".len()..], &exchange[1]["< ".len()..]);
        let response = respond(&transfer, call);
        assert_eq!(if response.is_empty() { "closed" } else { response.trim_end() }, expected, "{call}");
    }
    let calls = transfer.wait("the second status", |calls| calls.iter().any(|call| call["status"]["Hostname"] == ""));
    let updates: Vec<&Value> = calls.iter().filter(|call| call["method"] == "Transfer.Update").collect();
    assert_eq!(updates[0]["points"][0]["timestamp"], json!(1_700_000_000));
}

/// An agent that sends to these transfers once a second, and prints the same samples.
fn setup(transfers: &[&FalconTransfer]) -> Setup {
    let addresses: Vec<String> =
        transfers.iter().map(|transfer| format!("{:?}", transfer.address().to_string())).collect();
    let addresses = addresses.join(", ");
    Setup::with_config(&format!(
        r#"
        interval = "1s"
        hostname = "web-1"
        tags = {{ dc = "fra1" }}
        [sinks.lines]
        kind = "stdout"
        [sinks.falcon]
        kind = "open_falcon"
        transfers = [{addresses}]
        heartbeat = [{addresses}]
        "#
    ))
}

/// The points of calls, in their order.
fn points(calls: &[Value]) -> Vec<&Value> {
    calls.iter().filter_map(|call| call["points"].as_array()).flatten().collect()
}

/// The seconds of `agent.alive`.
fn alive(calls: &[Value]) -> Vec<u64> {
    let alive = points(calls).into_iter().filter(|point| point["metric"] == "agent.alive");
    alive.map(|point| point["timestamp"].as_u64().expect("a whole number")).collect()
}

/// Waits until a transfer has got so many samples.
fn wait_alive(transfer: &FalconTransfer, samples: usize) {
    transfer.wait("samples with agent.alive", |calls| alive(calls).len() >= samples);
}

/// The second of a line, and its series as points have them: the values of each metric with its tags. Of two series with one name, one is
/// sent.
fn printed(sample: &Sample) -> (u64, BTreeMap<(String, String), Vec<f64>>) {
    let second = sample["agent"]["timestamp"].as_f64().expect("a number") as u64;
    let mut series: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for (name, metrics) in sample {
        let module = machines::module(name.clone(), |values| {
            for (key, number) in metrics {
                let (metric, labels) = read_key(key);
                values.push_labelled(metric, &labels, value(number));
            }
        });
        for (one, value) in module.schema().series().iter().zip(module.values()) {
            let named = Naming::OpenFalcon.name("gauged", module.schema().source(), one).expect("all have names");
            let Some(number) = Scale::new(named.factor).number(value) else { continue };
            let dc = Label { name: "dc".into(), value: "fra1".into() };
            let tags = open_falcon::tags(&named.name, named.labels.iter().chain([&dc])).expect("short");
            series.entry((named.name.to_string(), tags)).or_default().push(number.float());
        }
    }
    (second, series)
}

#[test]
fn transfer_gets_points_that_are_printed() {
    let Some(go) = requirement::go() else { return };
    let transfer = FalconTransfer::start(&go);
    let setup = setup(&[&transfer]);
    let mut agent = setup.start(&[]);
    wait_alive(&transfer, 4);
    transfer.wait("a heartbeat", |calls| calls.iter().any(|call| call["status"]["IP"] == "127.0.0.1"));
    let calls = transfer.calls();
    assert!(calls.iter().all(|call| call["invalid"].as_u64().unwrap_or_default() == 0));
    let status = calls.iter().find(|call| call["method"] == "Agent.ReportStatus").expect("a heartbeat");
    assert_eq!(status["status"]["Hostname"], "web-1");
    let seconds = alive(&calls);
    assert!(seconds.windows(2).all(|pair| pair[0] < pair[1]), "{seconds:?}");
    for second in &seconds {
        let line = agent.wait(|sample| printed(sample).0 == *second);
        let (_, mut expected) = printed(&line);
        for point in points(&calls).into_iter().filter(|point| point["timestamp"] == *second) {
            assert_eq!((&point["endpoint"], &point["step"]), (&json!("web-1"), &json!(1)), "{point}");
            if point["metric"] == "agent.alive" {
                assert_eq!((&point["tags"], &point["value"]), (&json!("dc=fra1"), &json!(1)));
                continue;
            }
            let text = |key: &str| point[key].as_str().expect("a text").to_owned();
            let values =
                expected.remove(&(text("metric"), text("tags"))).unwrap_or_else(|| panic!("not printed: {point}"));
            assert!(values.contains(&point["value"].as_f64().expect("a number")), "{point}: {values:?}");
        }
        assert_eq!(expected, BTreeMap::new(), "not sent at {second}");
    }
}

#[test]
fn stopped_transfer_is_replaced() {
    let Some(go) = requirement::go() else { return };
    let mut transfers = vec![FalconTransfer::start(&go), FalconTransfer::start(&go)];
    let setup = setup(&[&transfers[0], &transfers[1]]);
    let mut agent = setup.start(&[]);
    wait_until("samples at one of them", || transfers.iter().any(|transfer| alive(&transfer.calls()).len() >= 2));
    let used = transfers.iter().position(|transfer| !alive(&transfer.calls()).is_empty()).expect("one");
    let stopped = transfers.remove(used);
    let mut seconds = alive(&stopped.calls());
    drop(stopped);
    wait_alive(&transfers[0], 3);
    agent.wait_log("server of a sink failed");
    let others = alive(&transfers[0].calls());
    assert!(others.windows(2).all(|pair| pair[0] < pair[1]), "{others:?}");
    seconds.extend(others);
    // One that was sent while the first one was stopped may have arrived twice.
    seconds.dedup();
    // A busy machine may miss a tick; each sample that was printed has arrived.
    let last = seconds[seconds.len() - 1];
    agent.wait(|sample| printed(sample).0 >= last);
    for sample in agent.samples().iter().map(printed) {
        assert!(seconds.contains(&sample.0) || sample.0 > last, "{} of {seconds:?}", sample.0);
    }
}

/// Sends a call on a connection of its own, and returns the line of the response.
fn respond(transfer: &FalconTransfer, call: &str) -> String {
    let mut stream = TcpStream::connect(transfer.address()).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.write_all(format!("{call}\n").as_bytes()).expect("sent");
    let mut response = String::new();
    BufReader::new(stream).read_line(&mut response).expect("a response or the end");
    response
}
