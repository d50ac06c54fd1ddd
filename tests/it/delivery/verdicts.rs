//! Verdicts of receivers: overload, refused requests, a request that never passes, and points that are refused among others.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::measured::{Comparison, assert_ordered, metric_number};
use super::protocol::Protocol;
use super::receiver::{Arrival, Receiver, Reply, Response};
use super::sender::{Sender, all_lost, metric_by, wait_caught_up, wait_delivering, wait_ticks};
use crate::harness::wait_until;

/// The number of the plugin's call whose result is in a request.
fn call(arrival: &Arrival) -> Option<u64> {
    let points = arrival.points();
    let first = points.iter().find(|point| metric_number(&point.series) == Some(0))?;
    Some(f64::from_bits(first.bits) as u64)
}

/// Asserts that only the results in these requests are missing.
fn assert_only_missing(receiver: &Receiver, sender: &Sender, refused: &[Arrival]) {
    let Comparison { missing, unknown, equal } = receiver.compare(&sender.measured());
    let refused: Vec<u64> = refused.iter().filter_map(call).collect();
    let missing: Vec<u64> = missing.iter().map(|sample| f64::from_bits(sample.values[&0]) as u64).collect();
    assert!(missing.iter().all(|call| refused.contains(call)), "{missing:?}, but {refused:?} were refused");
    assert!(unknown.is_empty() && equal > 0, "{unknown:?}");
}

#[test]
fn overloaded_receiver_is_left_alone() {
    for (protocol, status) in [(Protocol::RemoteWrite, 429), (Protocol::Otlp, 503), (Protocol::Influx, 429)] {
        let (sender, receiver) = (Sender::new("100ms", 5), Receiver::start(protocol));
        let mut agent = sender.start(&[&receiver]);
        wait_delivering(&mut agent, protocol.name());
        let headers = "Retry-After: 3\r\n".to_owned();
        receiver.always(Reply::Refuse(Response { status, headers, body: b"slow down".to_vec() }));
        let refused = receiver.arrivals().len();
        receiver.wait_arrivals(refused + 3);
        receiver.take();
        let sample = wait_caught_up(&mut agent, protocol.name());
        assert_eq!(all_lost(&sample, protocol.name()), 0.0);
        assert!(metric_by(&sample, "sink_errors_total", protocol.name(), "status") >= 1.0);
        let arrivals = receiver.arrivals();
        let refused: Vec<_> = arrivals.iter().filter(|arrival| !arrival.is_taken).collect();
        for pair in refused.windows(2) {
            let pause = pair[1].at - pair[0].at;
            assert!(pause >= Duration::from_secs(3), "{pause:?}");
            assert_eq!(pair[0].body, pair[1].body, "the oldest one comes again");
        }
        assert_eq!(agent.log().matches("slow down").count(), 1, "{}", agent.log());
        agent.terminate();
        receiver.compare(&sender.measured()).assert_complete(protocol.name(), &[]);
    }
}

#[test]
fn refused_request_is_dropped_and_reported_once() {
    for protocol in [Protocol::RemoteWrite, Protocol::Otlp, Protocol::Influx] {
        let (sender, receiver) = (Sender::new("100ms", 5), Receiver::start(protocol));
        // Every third one.
        receiver.reply(|arrival| match call(arrival) {
            Some(call) if call % 3 == 0 => Reply::status(400, "out of order\n sample"),
            _ => Reply::Take,
        });
        let mut agent = sender.start(&[&receiver]);
        agent.wait(|sample| metric_by(sample, "sink_errors_total", protocol.name(), "rejected") >= 3.0);
        receiver.take();
        wait_ticks(&mut agent, 5);
        let last = wait_caught_up(&mut agent, protocol.name());
        agent.terminate();
        let refused: Vec<Arrival> = receiver.arrivals().into_iter().filter(|arrival| !arrival.is_taken).collect();
        let points: usize = refused.iter().map(|arrival| arrival.points().len()).sum();
        assert_eq!(metric_by(&last, "sink_dropped_points_total", protocol.name(), "rejected"), points as f64);
        assert_eq!(all_lost(&last, protocol.name()), points as f64);
        let log = agent.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("out of order sample")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        let bodies: HashSet<_> = refused.iter().map(|arrival| arrival.body.clone()).collect();
        assert_eq!(bodies.len(), refused.len(), "none was sent again");
        assert_only_missing(&receiver, &sender, &refused);
    }
}

#[test]
fn request_that_never_passes_is_given_up() {
    let protocol = Protocol::RemoteWrite;
    let (sender, receiver) = (Sender::new("1s", 5), Receiver::start(protocol));
    let mut agent = sender.start(&[&receiver]);
    wait_delivering(&mut agent, protocol.name());
    // One request, whichever is the next.
    let hated = Mutex::new(None);
    receiver.reply(move |arrival| {
        if arrival.is_question() {
            return Reply::Take;
        }
        let mut hated = hated.lock().expect("not poisoned");
        if **hated.get_or_insert_with(|| arrival.body.clone()) == *arrival.body {
            Reply::status(500, "a label twice")
        } else {
            Reply::Take
        }
    });
    let sample = agent.wait(|sample| all_lost(sample, protocol.name()) > 0.0);
    let refused: Vec<Arrival> = receiver.arrivals().into_iter().filter(|arrival| !arrival.is_taken).collect();
    assert!(refused.len() >= 5, "it had its chances: {}", refused.len());
    assert_eq!(
        metric_by(&sample, "sink_dropped_points_total", protocol.name(), "given_up"),
        refused[0].points().len() as f64
    );
    let last = wait_caught_up(&mut agent, protocol.name());
    assert_eq!(all_lost(&last, protocol.name()), refused[0].points().len() as f64, "no other is lost");
    agent.terminate();
    assert_ordered(protocol.name(), &receiver.values());
    assert_only_missing(&receiver, &sender, &refused);
}

#[test]
fn request_is_tried_again_after_others_pass() {
    let protocol = Protocol::RemoteWrite;
    // More than the agent holds in memory, too, waits behind the first.
    let (sender, receiver) = (Sender::new("200ms", 200), Receiver::start(protocol));
    let mut agent = sender.start(&[&receiver]);
    wait_delivering(&mut agent, protocol.name());
    // The receiver recovers with the first request that it is sent instead.
    let (hated, has_recovered) = (Mutex::new(None), AtomicBool::new(false));
    receiver.reply(move |arrival| {
        if arrival.is_question() {
            return Reply::Take;
        }
        let mut hated = hated.lock().expect("not poisoned");
        let is_hated = **hated.get_or_insert_with(|| arrival.body.clone()) == *arrival.body;
        if is_hated && !has_recovered.load(Ordering::Relaxed) {
            return Reply::status(500, "no memory");
        }
        has_recovered.store(true, Ordering::Relaxed);
        Reply::Take
    });
    wait_until("a request is refused", || receiver.arrivals().iter().any(|arrival| !arrival.is_taken));
    let last = wait_caught_up(&mut agent, protocol.name());
    assert_eq!(all_lost(&last, protocol.name()), 0.0);
    sender.wait_nothing_kept();
    agent.terminate();
    receiver.compare(&sender.measured()).assert_complete(protocol.name(), &[]);
    let mut taken = HashSet::new();
    for point in receiver.values() {
        assert!(taken.insert((point.series.clone(), point.time_ms)), "{} at {} twice", point.series, point.time_ms);
    }
}

#[test]
fn partially_refused_points_are_counted() {
    // `ExportMetricsPartialSuccess` with two rejected points and a message.
    let partial = [&[0x0a, 0x0b, 0x08, 0x02, 0x12, 0x07][..], b"too old"].concat();
    let protobuf = "Content-Type: application/x-protobuf\r\n";
    let json = "Content-Type: application/json\r\n";
    let nightingale = json!({"succ": 1, "fail": 2, "msg": "too old"}).to_string().into_bytes();
    let transfer = json!({"Message": "too old", "Total": 5, "Invalid": 2, "Latency": 0}).to_string().into_bytes();
    for (protocol, headers, body) in [
        (Protocol::Otlp, protobuf, partial),
        (Protocol::Nightingale, json, nightingale),
        (Protocol::Transfer, "", transfer),
    ] {
        let (sender, receiver) = (Sender::new("500ms", 5), Receiver::start(protocol));
        receiver.always(Reply::TakeWith(Response { status: 200, headers: headers.to_owned(), body }));
        let mut agent = sender.start(&[&receiver]);
        agent.wait(|sample| metric_by(sample, "sink_dropped_points_total", protocol.name(), "rejected") >= 6.0);
        receiver.take();
        let last = wait_caught_up(&mut agent, protocol.name());
        agent.terminate();
        assert_eq!(agent.log().matches("too old").count(), 1, "{}", agent.log());
        let all: usize = receiver.taken().iter().map(|arrival| arrival.points().len()).sum();
        let delivered = super::sender::metric(&last, "sink_delivered_points_total", protocol.name());
        assert!(delivered + all_lost(&last, protocol.name()) <= all as f64);
        receiver.compare(&sender.measured()).assert_complete(protocol.name(), &[]);
    }
}

#[test]
fn backlog_rate_is_at_most_tenfold() {
    let protocol = Protocol::RemoteWrite;
    let (sender, receiver) = (Sender::new("500ms", 5), Receiver::start(protocol));
    receiver.leave();
    let mut agent = sender.start(&[&receiver]);
    wait_ticks(&mut agent, 60);
    let rounds = AtomicU64::new(0);
    receiver.reply(move |_| {
        rounds.fetch_add(1, Ordering::Relaxed);
        Reply::Take
    });
    wait_caught_up(&mut agent, protocol.name());
    let times: Vec<_> = receiver.taken().iter().map(|arrival| arrival.at).collect();
    // In a second there are two samples, and so at most about twenty are sent, also on a machine that is busy at times.
    let most = (0..times.len())
        .map(|first| times[first..].iter().take_while(|time| **time - times[first] < Duration::from_secs(1)).count());
    let most = most.max().expect("there are some");
    assert!((8..=30).contains(&most), "{most} requests within a second");
}
