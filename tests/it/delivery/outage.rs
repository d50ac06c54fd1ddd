//! The outage of a minute: the receivers refuse, hang and are overloaded, the agent is killed twice, and its disk is full for ten seconds.
//! Whatever was measured arrives, once and in order.

use std::path::PathBuf;

use super::MODULE;
use super::disk::{Disk, open_loopback};
use super::measured::{assert_ordered, assert_ordered_but};
use super::protocol::Protocol;
use super::receiver::{Receiver, Reply};
use super::sender::{
    Sender, all_lost, kill, metric, metric_by, plugin_as, wait_caught_up, wait_delivering, wait_ticks,
};
use crate::harness::{Agent, Sample};
use crate::namespaces::{Refused, run_in_namespaces};

/// The ticks of a second.
const SECOND: usize = 5;

/// How much more memory a sink may have during the outage.
const SINK_KB: u64 = 2 << 10;

/// The memory of the agent's own that it has had at most, in kB.
fn peak_kb(agent: &Agent) -> u64 {
    agent.status("VmHWM").saturating_sub(agent.status("RssFile"))
}

/// The samples of a run, which has ended or goes on: none is missing.
fn assert_all_ticks(agent: &Agent) {
    agent.assert_no_gaps();
    // The sender takes them, whatever its receiver does.
    assert!(!agent.log().contains("sink takes no samples"), "{}", agent.log());
    let last = agent.samples().last().expect("there are some");
    assert_eq!(last["agent"]["dropped_samples_total"], 0, "{}", agent.log());
}

fn outage(protocols: &[Protocol]) -> Result<(), Refused> {
    open_loopback()?;
    let series = format!("include = [\"{MODULE}.*\", \"load.*\", \"memory.*\"]");
    let sender = Sender::new("200ms", 300).keys("queue_samples = 300").keys(&series);
    let disk = Disk::mount(&sender.state)?;
    let receivers: Vec<Receiver> = protocols.iter().map(|protocol| Receiver::start(*protocol)).collect();
    let references: Vec<&Receiver> = receivers.iter().collect();
    let each = |change: &dyn Fn(&Receiver)| receivers.iter().for_each(change);

    let mut agent = sender.start(&references);
    for protocol in protocols {
        wait_delivering(&mut agent, protocol.name());
    }
    each(&|receiver| receiver.wait_taken(3));
    wait_ticks(&mut agent, 2 * SECOND);
    assert_eq!(sender.kept_files(), Vec::<PathBuf>::new(), "in good times nothing is on the disk");
    let before_kb = peak_kb(&agent);

    // It refuses for twenty seconds, and the agent is killed.
    each(&|receiver| receiver.leave());
    wait_ticks(&mut agent, 12 * SECOND);
    assert!(!sender.kept_files().is_empty(), "{}", agent.log());
    let sample = agent.next();
    for protocol in protocols {
        let behind = |what: &str| metric(&sample, &format!("sink_behind_{what}"), protocol.name());
        assert!(behind("seconds") >= 10.0 && behind("seconds") < 60.0, "{}", behind("seconds"));
        assert!(behind("samples") >= 10.0 && behind("bytes") > 1000.0, "{sample:?}");
        assert!(metric_by(&sample, "sink_errors_total", protocol.name(), "connect") >= 1.0);
    }
    let mut peaks_kb = vec![peak_kb(&agent)];
    let mut kills = vec![kill(&mut agent)];
    assert_all_ticks(&agent);
    let mut agent = sender.start(&references);
    let report = agent.wait_log_lines("unclean end of the last run", 1).remove(0);
    wait_ticks(&mut agent, 8 * SECOND);

    // It hangs for twenty seconds, for ten of which the disk is full.
    each(&|receiver| receiver.always(Reply::Silent));
    wait_ticks(&mut agent, 5 * SECOND);
    let filler = disk.fill();
    wait_ticks(&mut agent, 10 * SECOND);
    agent.wait_log_lines("spool not written", protocols.len());
    drop(filler);
    agent.wait_log_lines("spool written again", protocols.len());
    wait_ticks(&mut agent, 5 * SECOND);

    // It is overloaded for twenty seconds, and the agent is killed again.
    each(&|receiver| receiver.always(Reply::status(503, "busy")));
    wait_ticks(&mut agent, 10 * SECOND);
    peaks_kb.push(peak_kb(&agent));
    kills.push(kill(&mut agent));
    assert_all_ticks(&agent);
    let mut agent = sender.start(&references);
    wait_ticks(&mut agent, 10 * SECOND);

    each(&|receiver| receiver.take());
    for protocol in protocols {
        let sample = wait_caught_up(&mut agent, protocol.name());
        assert_eq!(all_lost(&sample, protocol.name()), 0.0, "{}: {}", protocol.name(), agent.log());
        assert_eq!(metric_by(&sample, "sink_dropped_samples_total", protocol.name(), "failed"), 0.0);
    }
    wait_ticks(&mut agent, 2 * SECOND);
    sender.wait_nothing_kept();
    peaks_kb.push(peak_kb(&agent));
    assert_all_ticks(&agent);
    let last = agent.next();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());

    let measured = sender.measured();
    for receiver in &receivers {
        let (name, points) = (receiver.protocol.name(), receiver.values());
        let comparison = receiver.compare_with(&points, &measured);
        comparison.assert_complete(name, &kills);
        let again = if receiver.protocol.has_whole_seconds() { &*kills } else { &[] };
        assert_ordered_but(name, &points, again);
        // Seen with --nocapture in namespaces, and when it fails.
        crate::skip::print(&format!(
            "outage {name}: {} requests, {} points, {} of {} samples as measured, {} gone with kills, {} points delivered by the last run",
            receiver.taken_count(),
            points.len(),
            comparison.equal,
            measured.len(),
            comparison.missing.len(),
            metric(&last, "sink_delivered_points_total", name),
        ));
    }
    crate::skip::print(&format!("outage: {before_kb} kB before, at most {peaks_kb:?} kB; {report}"));
    let most_kb = before_kb + SINK_KB * protocols.len() as u64;
    assert!(peaks_kb.iter().all(|&peak| peak <= most_kb), "{before_kb} kB, then {peaks_kb:?} kB");
    Ok(())
}

#[test]
fn outage_of_a_minute_loses_nothing() {
    run_in_namespaces("delivery::outage::outage_of_a_minute_loses_nothing", || outage(&Protocol::ALL));
}

#[test]
fn kill_soon_after_the_outage_begins_loses_little() {
    let (sender, receiver) = (Sender::new("100ms", 20), Receiver::start(Protocol::RemoteWrite));
    let mut kills = Vec::new();
    for reply in [None, Some(Reply::Silent), Some(Reply::status(503, "busy"))] {
        receiver.take();
        let mut agent = sender.start(&[&receiver]);
        wait_caught_up(&mut agent, receiver.protocol.name());
        wait_ticks(&mut agent, 10);
        match reply {
            None => receiver.leave(),
            Some(reply) => receiver.always(reply),
        }
        wait_ticks(&mut agent, 40);
        kills.push(kill(&mut agent));
    }
    receiver.take();
    let mut agent = sender.start(&[&receiver]);
    wait_caught_up(&mut agent, receiver.protocol.name());
    agent.terminate();
    receiver.compare(&sender.measured()).assert_complete(receiver.protocol.name(), &kills);
    assert_ordered(receiver.protocol.name(), &receiver.values());
}

/// An agent that is killed again and again while it sends what it has kept.
fn kills(sender: &Sender, receiver: &Receiver, rounds: u32) {
    let (protocol, mut kills) = (receiver.protocol, Vec::new());
    for round in 1..=rounds {
        receiver.leave();
        let mut agent = sender.start(&[receiver]);
        let kept = 10.0 * f64::from(round);
        agent.wait(|sample: &Sample| metric(sample, "sink_behind_samples", protocol.name()) >= kept);
        // It is killed in the middle of what it has kept.
        let taken = receiver.taken().len();
        receiver.take();
        receiver.wait_taken(taken + 3 * round as usize);
        kills.push(kill(&mut agent));
    }
    let mut agent = sender.start(&[receiver]);
    let last = wait_caught_up(&mut agent, protocol.name());
    assert_eq!(all_lost(&last, protocol.name()), 0.0);
    agent.terminate();
    sender.wait_nothing_kept();
    receiver.compare(&sender.measured()).assert_complete(protocol.name(), &kills);
    // Those that come again are what a dead agent had no time to note. All others are in order.
    let (mut first_ones, mut points) = (Vec::new(), Vec::new());
    let taken = receiver.taken();
    for arrival in &taken {
        if !first_ones.contains(&&arrival.body) {
            first_ones.push(&arrival.body);
            points.extend(arrival.points().into_iter().filter(|point| !point.is_end));
        }
    }
    assert_ordered(protocol.name(), &points);
    let again = taken.len() - first_ones.len();
    assert!(again <= 2 * kills.len(), "{again} of {} requests came again", taken.len());
}

#[test]
fn requests_again_after_a_kill_are_equal() {
    kills(&Sender::new("100ms", 50), &Receiver::start(Protocol::RemoteWrite), 6);
}

#[test]
fn kills_between_requests_of_a_sample_lose_nothing() {
    // Each has more series than a request of remote write.
    let sender = Sender::new("500ms", 1200);
    (0..4).for_each(|number| {
        plugin_as(&format!("more{number}"), 1200).install(&sender.setup.plugin(&format!("more{number}.wasm")));
    });
    let receiver = Receiver::start(Protocol::RemoteWrite);
    kills(&sender, &receiver, 3);
    let ticks = sender.measured().len();
    assert!(receiver.taken_count() >= 3 * ticks, "{} requests of {ticks} samples", receiver.taken_count());
}
