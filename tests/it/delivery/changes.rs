//! Changes of the configuration while samples are kept: another receiver, a sink that goes and comes back, and a second agent with the
//! same state directory.

use std::fs;

use super::measured::{assert_ordered, stored_results};
use super::protocol::Protocol;
use super::receiver::{Receiver, Reply};
use super::sender::{Sender, all_lost, kill, metric, wait_caught_up, wait_ticks};
use crate::harness::Agent;

const PROTOCOL: Protocol = Protocol::RemoteWrite;

/// The warning about the spool of its sink.
const KEPT: &str = "spools without a sink kept spools=remote_write.remote_write ";

/// A sender whose receiver is gone, with some samples on the disk.
fn behind() -> (Sender, Receiver, Agent) {
    let (sender, receiver) = (Sender::new("200ms", 20), Receiver::start(PROTOCOL));
    receiver.leave();
    let mut agent = sender.start(&[&receiver]);
    agent.wait(|sample| metric(sample, "sink_spool_bytes", PROTOCOL.name()) > 0.0);
    wait_ticks(&mut agent, 5);
    (sender, receiver, agent)
}

fn assert_complete(sender: &Sender, receiver: &Receiver) {
    receiver.compare(&sender.measured()).assert_complete(PROTOCOL.name(), &[]);
}

#[test]
fn another_receiver_gets_what_is_kept() {
    let (sender, _gone, mut agent) = behind();
    let receiver = Receiver::start(PROTOCOL);
    sender.reload(&mut agent, &[&receiver]);
    let last = wait_caught_up(&mut agent, PROTOCOL.name());
    assert_eq!(all_lost(&last, PROTOCOL.name()), 0.0);
    sender.wait_nothing_kept();
    assert!(agent.terminate().0.success());
    assert_complete(&sender, &receiver);
}

#[test]
fn kept_samples_go_to_the_new_receiver() {
    let (sender, _gone, mut agent) = behind();
    let kill = kill(&mut agent);
    let receiver = Receiver::start(PROTOCOL);
    let mut agent = sender.start(&[&receiver]);
    wait_caught_up(&mut agent, PROTOCOL.name());
    agent.terminate();
    receiver.compare(&sender.measured()).assert_complete(PROTOCOL.name(), &[kill]);
}

#[test]
fn spool_of_a_removed_sink_stays() {
    let (sender, receiver, mut agent) = behind();
    receiver.take();
    receiver.leave();
    sender.reload(&mut agent, &[]);
    let line = agent.wait_log_lines(KEPT, 1).remove(0);
    assert!(line.contains(" WARN "), "{line}");
    wait_ticks(&mut agent, 3);
    assert!(!sender.kept_files().is_empty());
    assert!(agent.terminate().0.success());
    assert!(!sender.kept_files().is_empty());
    // Another start names it again.
    let mut agent = sender.start(&[]);
    agent.wait_log_lines(KEPT, 1);
    wait_ticks(&mut agent, 2);
    receiver.take();
    sender.reload(&mut agent, &[&receiver]);
    let last = wait_caught_up(&mut agent, PROTOCOL.name());
    assert_eq!(all_lost(&last, PROTOCOL.name()), 0.0);
    sender.wait_nothing_kept();
    agent.terminate();
    // What was measured without the sink is in the file, but not sent.
    let measured = sender.measured();
    let stored = stored_results(&receiver.points());
    let first = measured.first().expect("there are some").time_ms;
    assert!(stored.keys().next() <= Some(&first), "the oldest one that was kept");
    assert!(receiver.compare(&measured).unknown.is_empty());
}

#[test]
fn spool_of_a_sink_of_another_kind_stays() {
    let (sender, _gone, mut agent) = behind();
    kill(&mut agent);
    let other = Receiver::start(Protocol::Influx);
    let mut agent = sender.start_with(&[(PROTOCOL.name(), Protocol::Influx.keys(other.address))]);
    let line = agent.wait_log_lines(KEPT, 1).remove(0);
    assert!(line.contains(" WARN "), "{line}");
    wait_caught_up(&mut agent, PROTOCOL.name());
    assert!(!sender.kept_files().is_empty(), "the requests of the other protocol are still there");
    assert!(agent.terminate().0.success());
}

#[test]
fn second_agent_keeps_nothing() {
    let (first, receiver, mut agent) = behind();
    let mut second = Sender::new("200ms", 20);
    second.state.clone_from(&first.state);
    let other = Receiver::start(PROTOCOL);
    other.leave();
    let mut other_agent = second.start(&[&other]);
    let pid = agent.pid().to_string();
    let line = other_agent.wait_log_lines("state directory not usable", 1).remove(0);
    assert!(line.contains(" WARN ") && line.contains(&pid), "it names process {pid}: {line}");
    wait_ticks(&mut other_agent, 10);
    assert_eq!(other_agent.log().matches("state directory not usable").count(), 1);
    // It delivers from memory, and the first one all that it has kept.
    other.take();
    receiver.take();
    wait_caught_up(&mut other_agent, PROTOCOL.name());
    wait_caught_up(&mut agent, PROTOCOL.name());
    first.wait_nothing_kept();
    other_agent.terminate();
    agent.terminate();
    assert_complete(&first, &receiver);
    assert_complete(&second, &other);
}

#[test]
fn sink_that_comes_back_at_once_goes_on() {
    let (sender, receiver) = (Sender::new("200ms", 20), Receiver::start(PROTOCOL));
    receiver.always(Reply::Silent);
    let mut agent = sender.start(&[&receiver]);
    agent.wait(|sample| metric(sample, "sink_spool_bytes", PROTOCOL.name()) > 0.0);
    for _ in 0..3 {
        // The one that goes is still writing, or waits for its receiver.
        sender.reload(&mut agent, &[]);
        sender.reload(&mut agent, &[&receiver]);
    }
    wait_ticks(&mut agent, 5);
    receiver.take();
    let last = wait_caught_up(&mut agent, PROTOCOL.name());
    assert_eq!(all_lost(&last, PROTOCOL.name()), 0.0, "{}", agent.log());
    sender.wait_nothing_kept();
    assert!(agent.terminate().0.success());
    let comparison = receiver.compare(&sender.measured());
    // Between two reloads there may be a tick without the sink.
    assert!(comparison.missing.len() <= 6, "{:?}", comparison.missing);
    assert!(comparison.unknown.is_empty());
    assert_ordered(PROTOCOL.name(), &receiver.values());
}

#[test]
fn removed_sink_without_a_spool_reports_its_loss() {
    let (sender, receiver) = (Sender::new("200ms", 20), Receiver::start(PROTOCOL));
    fs::write(&sender.state, "no directory").expect("written");
    receiver.leave();
    let mut agent = sender.start(&[&receiver]);
    let before = agent.wait(|sample| metric(sample, "sink_behind_samples", PROTOCOL.name()) >= 5.0);
    let waiting = metric(&before, "sink_behind_samples", PROTOCOL.name());
    sender.reload(&mut agent, &[]);
    let line = agent.wait_log_lines("samples lost: sink ended before they were delivered or kept", 1).remove(0);
    assert!(line.contains(" ERROR ") && line.contains("sink=remote_write"), "{line}");
    agent.wait(|sample| sample["agent"]["dropped_samples_total"].as_f64() >= Some(waiting));
    assert!(agent.terminate().0.success());
    assert_eq!(agent.log().matches("samples lost").count(), 1, "{}", agent.log());
}

#[test]
fn commands_neither_send_nor_keep() {
    let (sender, receiver, mut agent) = behind();
    let kept = sender.kept_files();
    assert!(agent.terminate().0.success());
    receiver.take();
    for arguments in [&["--once"][..], &["check"], &["check", "--effective"]] {
        let output = sender.setup.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(receiver.arrivals_and_questions().len(), 0);
    assert_eq!(sender.kept_files(), kept);
}
