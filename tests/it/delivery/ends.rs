//! Ends: of the agent, during an outage and without one, and of series, which remote write and OTLP mark.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::slice;

use super::MODULE;
use super::decode::Point;
use super::measured::{assert_ordered, assert_ordered_but, metric_number, now_ms, stored_results};
use super::protocol::Protocol;
use super::receiver::{Receiver, Reply};
use super::sender::{END, Sender, all_lost, kill, metric, wait_caught_up, wait_delivering, wait_ticks};
use crate::harness::wait_until;

const UNCLEAN: &str = "unclean end of the last run";

/// Asserts that each series ends with a marker, and has no other.
fn assert_ended(name: &str, points: &[Point]) {
    let mut ends = BTreeMap::<&str, Vec<bool>>::new();
    for point in points {
        ends.entry(&point.series).or_default().push(point.is_end);
    }
    for (series, ends) in &ends {
        let marks = ends.iter().filter(|is_end| **is_end).count();
        assert!(
            marks == 1 && ends.last() == Some(&true),
            "{name}: {series} has {marks} markers; {} points",
            ends.len()
        );
    }
    assert!(ends.len() > 50, "{name}: {} series", ends.len());
}

#[test]
fn clean_end_marks_all_series() {
    let receivers = [Receiver::start(Protocol::RemoteWrite), Receiver::start(Protocol::Otlp)];
    let sender = Sender::new("200ms", 50);
    let mut agent = sender.start(&receivers.each_ref());
    for receiver in &receivers {
        wait_delivering(&mut agent, receiver.protocol.name());
        receiver.wait_taken(5);
    }
    assert!(!sender.state.join("spool").exists(), "in good times nothing is kept");
    let (status, took) = agent.terminate();
    assert!(status.success() && took < END, "{status}, {took:?}\n{}", agent.log());
    for receiver in &receivers {
        let points = receiver.points();
        assert_ended(receiver.protocol.name(), &points);
        assert_ordered(receiver.protocol.name(), &points);
    }
    let left: Vec<_> = fs::read_dir(&sender.state).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let mut agent = sender.start(&receivers.each_ref());
    wait_delivering(&mut agent, Protocol::Otlp.name());
    assert!(!agent.log().contains(UNCLEAN), "{}", agent.log());
}

#[test]
fn samples_of_an_outage_are_delivered_after_restart() {
    for reply in [None, Some(Reply::Silent), Some(Reply::status(503, "busy"))] {
        let receivers = Protocol::ALL.map(Receiver::start);
        let sender = Sender::new("200ms", 50).keys("timeout = \"1m\"");
        let mut agent = sender.start(&receivers.each_ref());
        for receiver in &receivers {
            wait_delivering(&mut agent, receiver.protocol.name());
        }
        for receiver in &receivers {
            match &reply {
                None => receiver.leave(),
                Some(reply) => receiver.always(reply.clone()),
            }
        }
        wait_ticks(&mut agent, 10);
        let before = now_ms();
        let (status, took) = agent.terminate();
        assert!(status.success() && took < END, "{status}, {took:?}\n{}", agent.log());
        let kept = sender.kept_files();
        assert!(kept.len() >= receivers.len(), "{}", agent.log());
        for path in kept.iter().flat_map(|file| file.ancestors().take_while(|path| path.starts_with(&sender.state))) {
            let mode = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is for the agent's user only", path.display());
        }
        receivers.iter().for_each(Receiver::take);

        let mut agent = sender.start(&receivers.each_ref());
        agent.next();
        let restart = before..=now_ms();
        for receiver in &receivers {
            let last = wait_caught_up(&mut agent, receiver.protocol.name());
            assert_eq!(all_lost(&last, receiver.protocol.name()), 0.0);
        }
        sender.wait_nothing_kept();
        let (status, _) = agent.terminate();
        assert!(status.success(), "{status}\n{}", agent.log());
        assert!(!agent.log().contains(UNCLEAN), "{}", agent.log());
        for receiver in &receivers {
            receiver.compare(&sender.measured()).assert_complete(receiver.protocol.name(), &[]);
            let again = if receiver.protocol.has_whole_seconds() { slice::from_ref(&restart) } else { &[] };
            assert_ordered_but(receiver.protocol.name(), &receiver.points(), again);
        }
        // Both runs have ended.
        let points = receivers[0].points();
        let is_of_first = |point: &&Point| metric_number(&point.series) == Some(0) && point.is_end;
        assert_eq!(points.iter().filter(is_of_first).count(), 2, "{:?}", reply.is_some());
    }
}

#[test]
fn unclean_end_is_reported_by_the_next_start() {
    for is_gone in [true, false] {
        let receiver = Receiver::start(Protocol::RemoteWrite);
        let sender = Sender::new("200ms", 5);
        if is_gone {
            receiver.leave();
        }
        let mut agent = sender.start(&[&receiver]);
        if is_gone {
            wait_until("something is kept", || !sender.kept_files().is_empty());
        } else {
            wait_delivering(&mut agent, receiver.protocol.name());
        }
        wait_ticks(&mut agent, 3);
        assert_eq!(agent.next()["agent"]["unclean_end"], 0);
        assert!(!agent.log().contains(UNCLEAN));
        let kill = kill(&mut agent);
        let mut agent = sender.start(&[&receiver]);
        let line = agent.wait_log_lines(UNCLEAN, 1).remove(0);
        assert!(line.contains(" since=") && line.contains(" until="), "{line}");
        let sample = agent.wait(|sample| sample["agent"]["unclean_end"] == 1);
        let moment = |end: &str| {
            let seconds = sample["agent"][&format!("unclean_end_{end}_timestamp_seconds")].as_f64();
            seconds.expect("a time") * 1000.0
        };
        let span = moment("since")..=moment("until");
        assert!(*span.end() >= *kill.start() as f64, "{span:?}");
        receiver.take();
        wait_caught_up(&mut agent, receiver.protocol.name());
        sender.wait_nothing_kept();
        assert!(agent.terminate().0.success());
        assert_eq!(agent.log().matches(UNCLEAN).count(), 1);
        let mut agent = sender.start(&[&receiver]);
        wait_ticks(&mut agent, 10);
        agent.terminate();
        assert!(!agent.log().contains(UNCLEAN), "{}", agent.log());
        let comparison = receiver.compare(&sender.measured());
        comparison.assert_complete(receiver.protocol.name(), &[kill]);
        let missing = comparison.missing;
        assert!(missing.iter().all(|sample| span.contains(&(sample.time_ms as f64))), "{missing:?} not in {span:?}");
    }
}

#[test]
fn removed_plugin_ends_its_series() {
    let receivers = [Receiver::start(Protocol::RemoteWrite), Receiver::start(Protocol::Otlp)];
    let sender = Sender::new("200ms", 50);
    let mut agent = sender.start(&receivers.each_ref());
    for receiver in &receivers {
        agent.wait(|sample| metric(sample, "sink_delivered_points_total", receiver.protocol.name()) > 0.0);
        wait_until("the plugin's series come", || !stored_results(&receiver.points()).is_empty());
    }
    fs::remove_file(sender.setup.plugin("many.wasm")).expect("removed");
    for receiver in &receivers {
        let ended = || {
            let points = receiver.points();
            points.iter().filter(|point| point.is_end).map(|point| point.series.clone()).collect::<BTreeSet<_>>()
        };
        wait_until("its series end", || ended().iter().filter(|series| metric_number(series).is_some()).count() == 50);
        let others = ["cpu", "load", "memory", "swap"];
        let is_other = |series: &String| {
            let metric = series.split('{').next().expect("a name").trim_start_matches("gauged_");
            others.iter().any(|module| metric.starts_with(module) || metric.starts_with(&format!("system.{module}")))
        };
        assert_eq!(ended().into_iter().filter(is_other).collect::<Vec<_>>(), Vec::<String>::new(), "of {MODULE} only");
        let points: Vec<Point> =
            receiver.points().into_iter().filter(|point| metric_number(&point.series).is_some()).collect();
        assert_ordered(receiver.protocol.name(), &points);
    }
}
