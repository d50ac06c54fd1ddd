//! Receivers that hang, flood, lie and hang up: each costs its own sink some time, and is counted. What they did not take is delivered
//! once they behave.

use std::time::Duration;

use super::decode::Point;
use super::measured::assert_ordered;
use super::protocol::Protocol;
use super::receiver::{Arrival, Receiver, Reply};
use super::sender::{Sender, all_lost, metric, metric_by, wait_caught_up, wait_delivering, wait_ticks};
use crate::harness::Agent;

/// How much of a flood a connection takes at most: what the kernel holds on both sides, and what the agent reads of it.
const CONNECTION_BYTES: u64 = 16 << 20;

/// How much more memory all sinks of a test may have.
const MEMORY_KB: u64 = 32 << 10;

/// A way to behave: its name, the reply to each request, and the reason by which it is counted.
type Behaviour = (&'static str, Reply, &'static str);

fn raw(bytes: &str, is_closed: bool) -> Reply {
    Reply::Raw { bytes: bytes.as_bytes().to_vec(), is_closed }
}

fn flood(first: &str, again: &str) -> Reply {
    let times = (64 << 10) / again.len() + 1;
    Reply::Endless { first: first.to_owned(), again: again.repeat(times), pause: Duration::ZERO }
}

/// A byte each second.
fn trickle(first: &str) -> Reply {
    Reply::Endless { first: first.to_owned(), again: "x".to_owned(), pause: Duration::from_secs(1) }
}

fn http_behaviours() -> Vec<Behaviour> {
    vec![
        ("silent", Reply::Silent, "timeout"),
        ("slow_head", trickle("HTTP/1.1 204 No Content\r\nX-Slow: "), "timeout"),
        ("slow_body", trickle("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"), "timeout"),
        ("endless_body", flood("HTTP/1.1 200 OK\r\n\r\n", "x"), "protocol"),
        ("large_body", flood("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", "x"), "protocol"),
        ("endless_chunks", flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), "protocol"),
        ("endless_headers", flood("HTTP/1.1 204 No Content\r\n", "X-More: headers\r\n"), "protocol"),
        ("endless_header", flood("HTTP/1.1 204 No Content\r\nX-Long: ", "x"), "protocol"),
        ("endless_hints", flood("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "protocol"),
        ("no_response", raw("", true), "protocol"),
        ("cut_head", raw("HTTP/1.1 204 No Con", true), "protocol"),
        ("cut_body", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", true), "protocol"),
        ("long_length", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", false), "timeout"),
        ("two_lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", false), "protocol"),
        ("other_protocol", raw("220 mail.example.org ESMTP\r\n", false), "protocol"),
    ]
}

fn rpc_behaviours() -> Vec<Behaviour> {
    vec![
        ("silent", Reply::Silent, "timeout"),
        ("slow", trickle("{\"id\":0,\"result\":{\"Message\":\""), "timeout"),
        ("endless_text", flood("{\"id\":0,\"result\":{\"Message\":\"", "x"), "protocol"),
        ("endless_depth", flood("", "{\"id\":"), "protocol"),
        ("no_response", raw("", true), "protocol"),
        ("cut", raw("{\"id\":0,\"result\":{\"Mess", true), "protocol"),
        (
            "wrong_id",
            raw("{\"id\":77777,\"result\":{\"Message\":\"ok\",\"Total\":1,\"Invalid\":0},\"error\":null}\n", false),
            "protocol",
        ),
        ("no_result", raw("{\"id\":0,\"result\":null,\"error\":null}\n", false), "protocol"),
        ("other_protocol", raw("HTTP/1.1 400 Bad Request\r\n\r\n", false), "protocol"),
    ]
}

/// Has an agent send to a receiver for each behaviour, and to a good one.
fn check(protocol: Protocol, behaviours: &[Behaviour]) {
    let sender = Sender::new("200ms", 50).keys("queue_samples = 1000");
    let good = Receiver::start(protocol);
    let receivers: Vec<Receiver> = behaviours.iter().map(|_| Receiver::start(protocol)).collect();
    let mut sinks = vec![("good", protocol.keys(good.address))];
    for ((name, reply, _), receiver) in behaviours.iter().zip(&receivers) {
        let reply = reply.clone();
        receiver.reply(move |arrival| if arrival.is_question() { Reply::Take } else { reply.clone() });
        sinks.push((name, protocol.keys(receiver.address)));
    }
    let mut agent = sender.start_with(&sinks);
    wait_delivering(&mut agent, "good");
    let before_kb = peak_kb(&agent);
    for (name, _, reason) in behaviours {
        let sample = agent.wait(|sample| metric_by(sample, "sink_errors_total", name, reason) >= 3.0);
        assert_eq!(metric(&sample, "sink_delivered_points_total", name), 0.0, "{name}");
        // On a busy machine any response may be late.
        if *reason == "timeout" {
            assert_eq!(metric_by(&sample, "sink_errors_total", name, "protocol"), 0.0, "{name}\n{}", agent.log());
        }
    }
    let peak_kb = peak_kb(&agent);
    assert!(peak_kb <= before_kb + MEMORY_KB, "{peak_kb} kB, and {before_kb} kB before");
    for ((name, ..), receiver) in behaviours.iter().zip(&receivers) {
        let (bytes, connections) = (receiver.flooded_bytes(), receiver.connections() as u64);
        assert!(bytes <= connections * CONNECTION_BYTES, "{name}: {bytes} bytes on {connections} connections");
        receiver.take();
    }
    for (name, ..) in behaviours {
        let sample = wait_caught_up(&mut agent, name);
        assert_eq!(all_lost(&sample, name), 0.0, "{name}\n{}", agent.log());
    }
    wait_ticks(&mut agent, 3);
    agent.terminate();
    agent.assert_no_gaps();
    let measured = sender.measured();
    let all = receivers.iter().zip(behaviours.iter().map(|(name, ..)| *name));
    for (receiver, name) in all.chain([(&good, "good")]) {
        receiver.compare(&measured).assert_complete(name, &[]);
        // On a busy machine any response may be late: then its request comes again, the same and before any other.
        let mut requests: Vec<Vec<Point>> = receiver.taken().iter().map(Arrival::points).collect();
        requests.dedup();
        let values: Vec<Point> = requests.into_iter().flatten().filter(|point| !point.is_end).collect();
        assert_ordered(name, &values);
    }
}

fn peak_kb(agent: &Agent) -> u64 {
    agent.status("VmHWM").saturating_sub(agent.status("RssFile"))
}

#[test]
fn hostile_receivers_over_http_are_bounded() {
    check(Protocol::RemoteWrite, &http_behaviours());
}

#[test]
fn hostile_transfers_are_bounded() {
    check(Protocol::Transfer, &rpc_behaviours());
}

#[test]
fn surplus_of_a_response_is_no_response() {
    let protocol = Protocol::RemoteWrite;
    let (sender, receiver) = (Sender::new("100ms", 5), Receiver::start(protocol));
    // A second response, which nobody has asked for.
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad";
    receiver.always(raw(two, false));
    let mut agent = sender.start(&[&receiver]);
    receiver.wait_arrivals(10);
    let sample = agent.wait(|sample| metric(sample, "sink_requests_total", protocol.name()) >= 10.0);
    assert_eq!(all_lost(&sample, protocol.name()), 0.0, "{}", agent.log());
}
