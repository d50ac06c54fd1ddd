//! Tests of calls to servers that behave in many ways.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use hyper::body::Bytes;
use tokio::sync::{oneshot, watch};

use super::super::rpc_server::{Behaviour, RpcServer};
use super::*;
use crate::address::{Endpoint, Host};
use crate::sample::Text;
use crate::sink::error::ErrorReason;
use crate::sink::heartbeat_statistics::HeartbeatStatistics;
use crate::sink::statistics::SinkStatistics;
use crate::sink::verdict::{Retry, Verdict};

/// A time that no test reaches.
const LONG: Duration = Duration::from_secs(60);

/// A time that a test waits for.
const SHORT: Duration = Duration::from_millis(200);

/// A body with one point.
fn body() -> Bytes {
    let settings = settings(&[]);
    let requests = encoded(&mut Encoder::new(Arc::clone(&settings)), &settings, &sample(seconds(10), Vec::new()));
    requests[0].body.clone()
}

fn transfers(servers: &[&RpcServer]) -> (Transfers, Arc<SinkStatistics>) {
    let endpoints: Vec<Endpoint> = servers.iter().map(|server| server.endpoint()).collect();
    let statistics = Arc::default();
    (Transfers::new(&Text::from("falcon"), "web-1", &endpoints, &statistics), statistics)
}

fn retry(verdict: Verdict) -> Retry {
    match verdict {
        Verdict::Retry(retry) => retry,
        verdict => panic!("{verdict:?}"),
    }
}

#[tokio::test]
async fn points_arrive_on_a_kept_connection() {
    for behaviour in [Behaviour::Correct, Behaviour::Bytewise] {
        let server = RpcServer::start(behaviour);
        let (mut transfers, _) = transfers(&[&server]);
        for _ in 0..3 {
            assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
        }
        assert_eq!((server.calls().len(), server.connections()), (3, 1));
        assert_eq!(server.calls()[0][0]["metric"], ALIVE);
    }
}

#[tokio::test]
async fn closed_connection_is_replaced() {
    let server = RpcServer::start(Behaviour::Closing);
    let (mut transfers, _) = transfers(&[&server]);
    for _ in 0..3 {
        assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
    }
    assert_eq!((server.calls().len(), server.connections()), (3, 3));
}

#[tokio::test]
async fn misbehaving_transfers_are_protocol_errors() {
    for (behaviour, expected) in [
        (Behaviour::OtherCall, "sends a response to the call 0, which is not under way"),
        (Behaviour::Garbage, "sends no JSON-RPC"),
        (Behaviour::Half, "closed the connection in the middle of its response"),
        (Behaviour::Refusing, "closed the connection without a response"),
        (Behaviour::Endless, "sends more than 65536 bytes"),
        (Behaviour::NoService, "responds \"rpc: can't find service X\""),
    ] {
        let server = RpcServer::start(behaviour);
        let (mut transfers, _) = transfers(&[&server]);
        let retry = retry(transfers.send(&body(), LONG).await);
        assert!(retry.text.starts_with(&format!("{} {expected}", server.endpoint())), "{}", retry.text);
        assert_eq!((retry.reason, retry.is_about_request), (ErrorReason::Protocol, false));
        // It works as soon as the transfer does.
        server.behave(Behaviour::Correct);
        assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
    }
}

#[tokio::test]
async fn second_response_belongs_to_no_other_call() {
    let server = RpcServer::start(Behaviour::Twice);
    let (mut transfers, _) = transfers(&[&server]);
    for _ in 0..3 {
        assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn hanging_transfer_times_out() {
    let server = RpcServer::start(Behaviour::Hanging);
    let (mut transfers, _) = transfers(&[&server]);
    let retry = retry(transfers.send(&body(), SHORT).await);
    assert_eq!(retry.reason, ErrorReason::Timeout);
    assert_eq!(retry.text, format!("{} does not respond within 200ms", server.endpoint()));
}

#[tokio::test]
async fn answers_about_points_are_verdicts() {
    let server = RpcServer::start(Behaviour::Lying(99));
    let (mut transfers, _) = transfers(&[&server]);
    let Verdict::Delivered { rejected: 1, text: Some(text) } = transfers.send(&body(), LONG).await else { panic!() };
    assert!(text.ends_with("finds 1 of 1 points invalid (): agent.alive"), "{text}");
    server.behave(Behaviour::Failing("json: cannot unmarshal"));
    assert!(matches!(transfers.send(&body(), LONG).await, Verdict::Rejected { .. }));
    server.behave(Behaviour::Failing("out of memory"));
    assert!(retry(transfers.send(&body(), LONG).await).is_about_request);
    // None of these costs the connection.
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn damaged_body_is_rejected() {
    let server = RpcServer::start(Behaviour::Correct);
    let (mut transfers, _) = transfers(&[&server]);
    assert!(matches!(transfers.send(&Bytes::from_static(b"[]"), LONG).await, Verdict::Rejected { .. }));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn failed_transfer_is_replaced_and_paused() {
    let servers = [Behaviour::Correct, Behaviour::Correct].map(RpcServer::start);
    let (mut transfers, statistics) = transfers(&[&servers[0], &servers[1]]);
    assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
    let (used, other) = if servers[0].connections() == 1 { (0, 1) } else { (1, 0) };
    servers[used].behave(Behaviour::Garbage);
    for _ in 0..3 {
        assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
    }
    // The failed one was called once more, and is then left alone.
    assert_eq!((servers[used].connections(), servers[used].calls().len()), (1, 1));
    assert_eq!((servers[other].connections(), servers[other].calls().len()), (1, 3));
    assert_eq!(statistics.errors(ErrorReason::Protocol), 1);
    // When the other one fails, too, it is tried all the same.
    servers[used].behave(Behaviour::Correct);
    servers[other].behave(Behaviour::Refusing);
    assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
    assert_eq!(servers[used].calls().len(), 2);
}

#[tokio::test]
async fn failure_of_all_transfers_has_one_text() {
    let closed = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let endpoints = [closed(), closed(), closed(), closed(), closed()];
    let endpoints = endpoints.map(|address| Endpoint { host: Host::Ip(address.ip()), port: address.port() });
    let mut transfers = Transfers::new(&Text::from("falcon"), "web-1", &endpoints, &Arc::default());
    let first = retry(transfers.send(&body(), LONG).await);
    assert_eq!(first.reason, ErrorReason::Connect);
    assert!(first.text.ends_with("; and 2 more"), "{}", first.text);
    assert_eq!(retry(transfers.send(&body(), LONG).await), first);
}

#[test]
fn hosts_prefer_different_transfers() {
    let endpoints: Vec<Endpoint> =
        (1..=4).map(|at| Endpoint { host: Host::Name(format!("transfer-{at}")), port: 8433 }).collect();
    let order = |host: &str| {
        let transfers = Transfers::new(&Text::from("falcon"), host, &endpoints, &Arc::default());
        format!("{transfers:?}").split("transfer-").skip(1).map(|rest| rest[..1].to_owned()).collect::<Vec<_>>()
    };
    let mut first = [0; 4];
    for at in 0..400 {
        let host = format!("web-{at}");
        assert_eq!(order(&host), order(&host));
        first[order(&host)[0].parse::<usize>().expect("a number") - 1] += 1;
    }
    assert!(first.iter().all(|hosts| (60..140).contains(hosts)), "{first:?}");
}

#[tokio::test]
async fn unknown_names_are_resolve_errors() {
    let endpoint = Endpoint { host: Host::Name("nothing.invalid".to_owned()), port: 8433 };
    let mut transfers = Transfers::new(&Text::from("falcon"), "web-1", &[endpoint], &Arc::default());
    assert_eq!(retry(transfers.send(&body(), LONG).await).reason, ErrorReason::Resolve);
    let server = RpcServer::start(Behaviour::Correct);
    let endpoint = Endpoint { host: Host::Name("localhost".to_owned()), port: server.address.port() };
    let mut transfers = Transfers::new(&Text::from("falcon"), "web-1", &[endpoint], &Arc::default());
    assert_eq!(transfers.send(&body(), LONG).await, Verdict::DELIVERED);
}

#[tokio::test]
async fn heartbeats_go_to_the_first_server_that_works() {
    let servers = [Behaviour::Garbage, Behaviour::Correct].map(RpcServer::start);
    let (name, host) = watch::channel(Text::from(""));
    let settings = HeartbeatSettings {
        sink: "falcon".into(),
        endpoints: servers.iter().map(RpcServer::endpoint).collect(),
        timeout: LONG,
        host,
    };
    let (end, ended) = oneshot::channel::<()>();
    let statistics = Arc::<HeartbeatStatistics>::default();
    let beats = heartbeat(settings, Arc::clone(&statistics), async { drop(ended.await) });
    let watch = async {
        let (begun, mut agent) = (Instant::now(), writer(AGENT, seconds(10)));
        let labels: Labels = [("sink", "falcon")].into();
        let mut is_up = || {
            let module = write(&mut agent, seconds(10), |values| statistics.append_metrics(values, &labels));
            let is_up = module.metrics().find(|metric| metric.name() == "sink_heartbeat_up").expect("there");
            *is_up.value == crate::sample::Value::Unsigned(1)
        };
        // Without a name there is none.
        tokio::task::yield_now().await;
        assert_eq!(servers.each_ref().map(RpcServer::connections), [0, 0]);
        name.send_replace("web-1".into());
        while !is_up() {
            assert!(begun.elapsed() < LONG, "no heartbeat");
            tokio::task::yield_now().await;
        }
        drop(end);
    };
    // It ends with its sink.
    tokio::join!(beats, watch);
    let status = &servers[1].calls()[0];
    assert_eq!((&status["Hostname"], &status["IP"]), (&"web-1".into(), &"127.0.0.1".into()));
}

/// The exchanges of Go's own server: the one of these tests responds the same, but for the words of its errors.
#[test]
fn test_server_responds_as_gos() {
    let server = RpcServer::start(Behaviour::Correct);
    let exchanges = include_str!("../../../../tests/fixtures/falcon_transfer/exchanges.txt");
    let lines: Vec<&str> = exchanges.lines().filter(|line| !line.starts_with('#')).collect();
    for exchange in lines.chunks(2) {
        let (call, expected) = (&exchange[0][2..], &exchange[1][2..]);
        let mut stream = TcpStream::connect(server.address).expect("it listens");
        stream.write_all(format!("{call}\n").as_bytes()).expect("sent");
        let mut response = String::new();
        BufReader::new(stream).read_line(&mut response).expect("received");
        let Ok(expected) = serde_json::from_str::<Value>(expected) else {
            assert_eq!((expected, &*response), ("closed", ""));
            continue;
        };
        let response: Value = serde_json::from_str(&response).expect("JSON");
        assert_eq!((&response["id"], &response["result"]), (&expected["id"], &expected["result"]), "{call}");
        let kind =
            |response: &Value| response["error"].as_str().map(|error| error.split(' ').next().map(str::to_owned));
        assert_eq!(kind(&response), kind(&expected), "{call}");
    }
}
