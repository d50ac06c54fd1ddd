//! Points that local programs push over HTTP: into samples and scrapes, and what becomes of bad ones, floods and attacks.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::guest::Guest;
use crate::harness::{Sample, Setup, wait_until};
use crate::http_server::peer::{EndAtDrop, HttpAgent, Response, connect, own_address, read_all};

/// How much memory a request may cost: bodies that are being read, their points and series, and what the allocator keeps of them.
const PUSH_KB: u64 = 96 << 10;

const MIB: usize = 1 << 20;

fn agent() -> HttpAgent {
    HttpAgent::start("push = true")
}

/// The head of a request with a body of this length.
fn head(length: usize) -> String {
    format!(
        "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Pushes a body.
fn push(server: &HttpAgent, body: &[u8]) -> Response {
    push_to(server.address, body)
}

fn push_to(address: SocketAddr, body: &[u8]) -> Response {
    let mut stream = connect(address);
    stream.write_all(head(body.len()).as_bytes()).expect("sent");
    // It may be refused before it was read.
    let _ = stream.write_all(body);
    Response::read(&mut stream)
}

fn push_points(server: &HttpAgent, points: &Value) -> Response {
    push(server, points.to_string().as_bytes())
}

/// A gauge of the step 600, which is latest for the whole test.
fn point(metric: &str, value: u64) -> Value {
    json!({"metric": metric, "step": 600, "value": value, "counterType": "GAUGE"})
}

fn count(sample: &Sample, metric: &str) -> u64 {
    sample["agent"][metric].as_u64().unwrap_or_else(|| panic!("no {metric} in {sample:?}"))
}

fn lost(sample: &Sample, reason: &str) -> u64 {
    count(sample, &format!("push_dropped_points_total{{reason=\"{reason}\"}}"))
}

#[test]
fn pushed_points_are_in_samples_and_scrapes() {
    let mut server = agent();
    let hostname = server.agent.next()["agent"]["hostname"].clone();
    let response = push_points(
        &server,
        &json!([
            {"endpoint": hostname, "metric": "net.if.in.bytes", "step": 600, "value": "12345678901234567890",
             "counterType": "COUNTER", "tags": "iface=eth0, zone=a"},
            {"endpoint": "db-1", "metric": "größe-%", "step": 600, "value": 1.5, "counterType": "GAUGE"},
        ]),
    );
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    assert_eq!(response.json(), json!({"accepted": 2, "rejected": [], "omitted": 0}));
    let sample = server.agent.wait(|sample| sample.contains_key("push_600"));
    let expected = json!({
        "net.if.in.bytes{iface=\"eth0\",zone=\"a\"}": 12_345_678_901_234_567_890_u64, "größe-%{endpoint=\"db-1\"}": 1.5,
    });
    assert_eq!(json!(sample["push_600"]), expected);
    // Also when the sample does not have them any more.
    server.agent.wait(|sample| !sample.contains_key("push_600"));
    for path in ["/metrics?module=push_600", "/metrics?module=push_600&naming=node_exporter"] {
        let text = server.get(path).text().to_owned();
        for line in [
            "# TYPE net_if_in_bytes counter",
            "net_if_in_bytes{iface=\"eth0\",zone=\"a\"} 12345678901234567890",
            "# TYPE gr__e__ gauge",
            "gr__e__{endpoint=\"db-1\"} 1.5",
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in {text}");
        }
    }
    assert_eq!(count(&server.agent.next(), "push_accepted_points_total"), 2);
}

#[test]
fn pushed_points_of_several_programs_are_scraped_together() {
    let mut server = agent();
    push_points(&server, &json!([point("first", 1)]));
    server.agent.wait(|sample| sample.contains_key("push_600"));
    push_points(&server, &json!([point("second", 2)]));
    let sample = server.agent.wait(|sample| sample.get("push_600").is_some_and(|points| points.contains_key("second")));
    assert_eq!(json!(sample["push_600"]), json!({"second": 2}));
    wait_until("both are scraped", || {
        let text = server.get("/metrics?module=push_600").text().to_owned();
        text.contains("\nfirst 1\n") && text.contains("\nsecond 2\n")
    });
}

#[test]
fn pushed_points_of_a_step_age_out() {
    let mut server = agent();
    push_points(&server, &json!([{"metric": "brief", "step": 1, "value": 1, "counterType": "GAUGE"}]));
    server.agent.wait(|sample| sample.contains_key("push_1"));
    wait_until("it is gone", || !server.get("/metrics").text().contains("\nbrief 1\n"));
}

#[test]
fn bad_points_are_reported_beside_good_ones() {
    let mut server = agent();
    let mut bad = point("late", 1);
    bad["counterType"] = json!("DERIVE");
    let response = push_points(&server, &json!([point("a", 1), bad, 5, point("b", 2), {"metric": "c"}]));
    assert_eq!(response.status, 200);
    let outcome = response.json();
    assert_eq!(outcome["accepted"], 2);
    let rejected = outcome["rejected"].as_array().expect("a list");
    let indices: Vec<&Value> = rejected.iter().map(|rejected| &rejected["index"]).collect();
    assert_eq!(indices, [1, 2, 4]);
    assert_eq!(rejected[0]["reason"], "counterType is \"DERIVE\"; write \"GAUGE\" or \"COUNTER\"");
    let sample = server.agent.wait(|sample| sample.contains_key("push_600"));
    assert_eq!(json!(sample["push_600"]), json!({"a": 1, "b": 2}));
    for (reason, number) in [("counter_type", 2), ("form", 1), ("value", 0)] {
        assert_eq!(count(&sample, &format!("push_rejected_points_total{{reason=\"{reason}\"}}")), number, "{reason}");
    }
    let all = push_points(&server, &json!(vec![0; 300]));
    let outcome = all.json();
    assert_eq!((all.status, &outcome["accepted"], &outcome["omitted"]), (400, &json!(0), &json!(200)));
}

#[test]
fn pushes_are_off_unless_configured() {
    let mut server = HttpAgent::start("");
    let response = push_points(&server, &json!([point("a", 1)]));
    assert_eq!(response.status, 403);
    assert_eq!(response.text(), "points are not taken; write push = true under [http], and reload the agent\n");
    let is_about_push = |sample: &Sample| sample["agent"].keys().any(|key| key.starts_with("push_"));
    assert!(!is_about_push(&server.agent.next()));
    let address = server.address;
    server.reload(address, "push = true");
    let sample = server.agent.wait(is_about_push);
    assert_eq!(sample["agent"].iter().filter(|(key, value)| key.starts_with("push_") && **value == 0).count(), 16);
    wait_until("points are taken", || push_points(&server, &json!([point("a", 1)])).status == 200);
    server.agent.wait(|sample| sample.contains_key("push_600"));
    server.reload(address, "push = false");
    server.agent.wait(|sample| !is_about_push(sample));
    assert!(!server.get("/metrics").text().contains("\na 1\n"), "the latest points are gone");
    assert_eq!(push_points(&server, &json!([point("a", 1)])).status, 403);
}

#[test]
fn invalid_requests_to_push_have_remedies() {
    let server = agent();
    let send = |request: &str| server.send(&format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let get = send("GET /v1/push HTTP/1.1");
    assert_eq!((get.status, get.header("allow")), (405, Some("post")));
    let plain = send("POST /v1/push HTTP/1.1\r\nContent-Length: 0");
    assert_eq!((plain.status, plain.text()), (415, "the body is to be JSON; send content-type: application/json\n"));
    for (body, status, text) in [
        (&b"{}"[..], 400, "no JSON array; send an array of points"),
        (b"", 400, "no JSON array"),
        (b"[1", 400, "the body is damaged: it ends too early, at byte 2"),
        (b"[\"\xff\"]", 400, "not UTF-8 from byte 2 on"),
        (format!("[{}0]", "0,".repeat(10_000)).as_bytes(), 413, "more than 10000 points"),
    ] {
        let response = push(&server, body);
        assert_eq!(response.status, status, "{}", response.text());
        assert!(response.text().contains(text), "{}", response.text());
    }
    let mut large = connect(server.address);
    large.write_all(head(5 << 20).as_bytes()).expect("sent");
    assert_eq!(Response::read(&mut large).status, 413, "before anything of the body is sent");
}

#[test]
fn full_queue_of_points_asks_to_come_again() {
    // Long enough for many requests.
    let (setup, address) = (Setup::new(), own_address());
    let text =
        format!("interval = \"4s\"\nsinks.stdout.kind = \"stdout\"\n[http]\nlisten = [\"{address}\"]\npush = true\n");
    std::fs::write(setup.path("gauged.toml"), text).expect("written");
    let agent = setup.start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.next();
    let points: Vec<Value> = (0..10_000).map(|number| point(&format!("flood.{number}"), 1)).collect();
    let body = json!(points).to_string();
    let mut accepted = 0;
    let refused = loop {
        let response = push(&server, body.as_bytes());
        if response.status != 200 {
            break response;
        }
        assert_eq!(response.json()["accepted"], 10_000);
        accepted += 10_000;
        assert!(accepted < 10_000_000, "no queue is that long");
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("4")));
    assert_eq!(
        refused.text(),
        "too many points wait for the next tick, and none of these was taken; push them again after it\n"
    );
    server.expect_scrapes();
    let sample = server.agent.wait(|sample| sample.get("push_600").is_some_and(|points| points.len() == 10_000));
    assert_eq!(count(&sample, "push_accepted_points_total"), accepted);
    assert_eq!(lost(&sample, "queue_full"), 10_000);

    let other = push_points(&server, &json!([point("flood.0", 2), point("one.more", 1)])).json();
    assert_eq!(other["accepted"], 1);
    assert!(other["rejected"][0]["reason"].as_str().expect("text").contains("too many different series"), "{other}");
    // Those of the agent and of plugins are not concerned.
    Guest::new("good").install(&server.setup.plugin("good.wasm"));
    server.agent.wait(|sample| sample.contains_key("good"));
    server.agent.assert_undisturbed(&[]);
}

#[test]
fn points_of_one_time_count_once() {
    let mut server = agent();
    push_points(&server, &json!([point("a", 1), point("a", 2), point("b", 3)]));
    let sample = server.agent.wait(|sample| sample.contains_key("push_600"));
    assert_eq!(json!(sample["push_600"]), json!({"a": 2, "b": 3}));
    assert_eq!(lost(&sample, "duplicate"), 1);
    let mut old = point("a", 4);
    old["timestamp"] = json!(1);
    push_points(&server, &json!([old]));
    server.agent.wait(|sample| count(sample, "push_retimed_points_total") == 1);
}

#[test]
fn plugins_cannot_have_modules_of_pushed_points() {
    let mut server = agent();
    Guest::new("push_600").install(&server.setup.plugin("thief.wasm"));
    Guest::new("push_er").install(&server.setup.plugin("honest.wasm"));
    let lines = server.agent.wait_log_lines("plugin=thief", 1);
    assert!(!lines.is_empty());
    let sample = server.agent.wait(|sample| sample.contains_key("push_er"));
    assert!(!sample.contains_key("push_600"));
    server.agent.wait_log("module=push_600");
    push_points(&server, &json!([point("a", 1)]));
    let sample = server.agent.wait(|sample| sample.contains_key("push_600"));
    assert_eq!(json!(sample["push_600"]), json!({"a": 1}));
}

#[test]
fn hostile_bodies_do_not_disturb() {
    let mut server = agent();
    server.expect_scrapes();
    let before_kb = server.peak_kb();
    let deep = format!("[{}{}]", "[".repeat(2 * MIB - 8), "]".repeat(2 * MIB - 8));
    let deep_point = format!("[{{\"tags\":{}1{}}}]", "[".repeat(MIB), "]".repeat(MIB));
    let long = format!("[{{\"metric\":\"{}\"}}]", "x".repeat(3 * MIB));
    let digits = format!("[{{\"value\":{}}}]", "9".repeat(3 * MIB));
    let commas = format!("[{}", ",".repeat(3 * MIB));
    let many = format!("[{}{{}}]", "{},".repeat(9_999));
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = EndAtDrop(&has_ended);
        for body in [&deep, &deep_point, &long, &digits, &commas, &many] {
            let (address, has_ended) = (server.address, &has_ended);
            scope.spawn(move || {
                while !has_ended.load(Ordering::Relaxed) {
                    let response = push_to(address, body.as_bytes());
                    assert!(matches!(response.status, 400 | 503), "{}", response.text());
                    assert!(response.body.len() < 40_000);
                }
            });
        }
        // Peers that send a body of the largest size and never its end.
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let mut peer = connect(server.address);
                peer.write_all(head(4 * MIB).as_bytes()).expect("sent");
                let _ = peer.write_all(&vec![b' '; 64 << 10]);
                peer
            })
            .collect();
        server.expect_scrapes();
        drop(slow);
    });
    for _ in 0..4 {
        server.agent.next();
    }
    server.agent.assert_undisturbed(&[]);
    let peak_kb = server.peak_kb();
    assert!(peak_kb <= before_kb + PUSH_KB, "{peak_kb} kB, and {before_kb} kB before");
}

#[test]
fn slow_body_is_cut_off_in_time() {
    let mut server = agent();
    let mut peer = connect(server.address);
    peer.write_all(head(1000).as_bytes()).expect("sent");
    peer.write_all(b"[").expect("sent");
    assert_eq!(read_all(&mut peer), b"");
    server.wait_rejected("timeout", 1);
}

#[test]
fn pushes_during_reloads_and_the_end_are_answered() {
    let mut server = agent();
    let (address, has_ended) = (server.address, AtomicBool::new(false));
    thread::scope(|scope| {
        let _end = EndAtDrop(&has_ended);
        for number in 0..3 {
            let has_ended = &has_ended;
            scope.spawn(move || {
                let body = json!([point(&format!("m{number}"), 1)]).to_string();
                while !has_ended.load(Ordering::Relaxed) {
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return };
                    let _ = stream.write_all((head(body.len()) + &body).as_bytes());
                    let answer = read_all(&mut stream);
                    if !answer.is_empty() {
                        assert!(matches!(Response::parse(&answer).status, 200 | 403 | 503));
                    }
                }
            });
        }
        for round in 0..4 {
            let is_on = round % 2 == 1;
            server.reload(address, if is_on { "push = true" } else { "push = false" });
            server.agent.wait(|sample| sample["agent"].contains_key("push_accepted_points_total") == is_on);
        }
        server.agent.wait(|sample| sample.contains_key("push_600"));
        let (status, _) = server.agent.terminate();
        assert!(status.success(), "{status}");
    });
}
