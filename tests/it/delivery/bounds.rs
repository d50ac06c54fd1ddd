//! The bounds of what is kept: in bytes, in age, and in memory where nothing can be kept on the disk. The oldest goes first, and each
//! lost point is counted.

use std::fs;

use super::MODULE;
use super::measured::{Measured, Values, stored_results};
use super::protocol::Protocol;
use super::receiver::{Receiver, Reply};
use super::sender::{Sender, all_lost, kill, metric, metric_by, wait_caught_up, wait_delivering, wait_ticks};
use crate::harness::{Agent, Sample};

const PROTOCOL: Protocol = Protocol::RemoteWrite;

/// Asserts that exactly so many points of the plugin were not stored of its calls until this time, and that what was lost is older than
/// what was stored since `since_ms`.
fn assert_oldest_lost(receiver: &Receiver, measured: &[Measured], until_ms: u64, since_ms: u64, lost_points: f64) {
    let stored = stored_results(&receiver.points());
    let last = measured.iter().rev().find(|sample| sample.time_ms <= until_ms).expect("there are some");
    // Also of results that are not in the file, since they were late, and newer ones are there. The first call was a trial.
    let call = |values: &Values| values.get(&0).map(|bits| f64::from_bits(*bits));
    let first = measured
        .iter()
        .map(|sample| &sample.values)
        .chain(stored.values())
        .filter_map(call)
        .fold(f64::INFINITY, f64::min);
    let calls = f64::from_bits(last.values[&0]) - first + 1.0;
    let points: usize = stored.range(..=until_ms).map(|(_, values)| values.len()).sum();
    assert_eq!(calls * last.values.len() as f64 - points as f64, lost_points, "points");
    let is_lost = |sample: &&Measured| !stored.values().any(|values| *values == sample.values);
    let dropped: Vec<f64> = measured
        .iter()
        .filter(|sample| sample.time_ms <= until_ms)
        .filter(is_lost)
        .filter_map(|sample| call(&sample.values))
        .collect();
    let newest = *dropped.last().expect("there are some");
    // The request that was being sent when the receiver came back may have passed.
    let kept = stored.range(since_ms + 1..).filter_map(|(_, values)| call(values));
    let survivors: Vec<f64> = kept.filter(|call| *call < newest).collect();
    assert!(survivors.len() <= 1, "the calls {survivors:?} are older than what was lost: {dropped:?}");
}

/// The time of the last sample that the receiver has.
fn last_stored(receiver: &Receiver) -> u64 {
    stored_results(&receiver.points()).into_keys().next_back().expect("there are some")
}

/// Has a receiver go or hang until points are lost for a reason, and come back with the first of these texts of the keys replaced by the
/// second, which raises the bound.
fn check(sender: &mut Sender, reply: Option<Reply>, reason: &str, points: f64, bounds: [&str; 2]) -> String {
    let receiver = Receiver::start(PROTOCOL);
    let mut agent = sender.start(&[&receiver]);
    wait_delivering(&mut agent, PROTOCOL.name());
    receiver.wait_taken(3);
    match reply {
        None => receiver.leave(),
        Some(reply) => receiver.always(reply),
    }
    let since = last_stored(&receiver);
    agent.wait(|sample: &Sample| metric_by(sample, "sink_dropped_points_total", PROTOCOL.name(), reason) >= points);
    assert_exact(sender, &receiver, agent, reason, since, bounds)
}

/// Has a receiver come back: exactly what was counted for this reason does not arrive, and it was the oldest since this time. Returns
/// the log. The bound is raised before, so that nothing more is dropped between what is delivered.
fn assert_exact(
    sender: &mut Sender,
    receiver: &Receiver,
    mut agent: Agent,
    reason: &str,
    since: u64,
    [bound, raised]: [&str; 2],
) -> String {
    sender.replace_key(bound, raised);
    sender.reload(&mut agent, &[receiver]);
    wait_ticks(&mut agent, 3);
    receiver.take();
    let last = wait_caught_up(&mut agent, PROTOCOL.name());
    let dropped = metric_by(&last, "sink_dropped_points_total", PROTOCOL.name(), reason);
    assert_eq!(all_lost(&last, PROTOCOL.name()), dropped, "for this reason only");
    let until = super::measured::time_ms(&last) - 1;
    agent.terminate();
    agent.assert_no_gaps();
    assert_oldest_lost(receiver, &sender.measured(), until, since, dropped);
    sender.wait_nothing_kept();
    agent.log()
}

/// Only the plugin's series, so that each sample has as many points.
fn keys(more: &str) -> String {
    format!("include = [\"{MODULE}.*\"]\n{more}")
}

#[test]
fn full_spool_drops_the_oldest_exactly() {
    let mut sender = Sender::new("100ms", 1000).keys(&keys("spool_size = \"1MiB\""));
    let log = check(&mut sender, None, "spool_full", 20_000.0, ["1MiB", "64MiB"]);
    assert_eq!(log.matches("samples lost: spool full").count(), 1, "{log}");
}

#[test]
fn request_that_hangs_is_dropped_exactly() {
    let mut sender = Sender::new("100ms", 1000).keys(&keys("spool_size = \"1MiB\""));
    check(&mut sender, Some(Reply::Silent), "spool_full", 20_000.0, ["1MiB", "64MiB"]);
}

#[test]
fn smaller_spool_drops_the_oldest_exactly() {
    let mut sender = Sender::new("100ms", 1000).keys(&keys("spool_size = \"4MiB\""));
    let receiver = Receiver::start(PROTOCOL);
    let mut agent = sender.start(&[&receiver]);
    wait_delivering(&mut agent, PROTOCOL.name());
    receiver.leave();
    let since = last_stored(&receiver);
    agent.wait(|sample: &Sample| metric(sample, "sink_spool_bytes", PROTOCOL.name()) >= f64::from(3 << 20));
    sender.replace_key("4MiB", "1MiB");
    sender.reload(&mut agent, &[&receiver]);
    agent.wait(|sample: &Sample| metric_by(sample, "sink_dropped_points_total", PROTOCOL.name(), "spool_full") > 0.0);
    assert_exact(&mut sender, &receiver, agent, "spool_full", since, ["1MiB", "64MiB"]);
}

#[test]
fn old_samples_are_dropped_exactly() {
    let mut sender = Sender::new("500ms", 200).keys(&keys("spool_age = \"1m\""));
    let log = check(&mut sender, None, "expired", 1.0, ["1m", "1h"]);
    assert_eq!(log.matches("samples lost: older than spool_age").count(), 1, "{log}");
}

#[test]
fn memory_drops_the_oldest_without_a_spool() {
    for reply in [None, Some(Reply::Silent)] {
        let mut sender = Sender::new("100ms", 100).keys(&keys("queue_samples = 20"));
        fs::write(&sender.state, "no directory").expect("written");
        let log = check(&mut sender, reply, "queue_full", 1000.0, ["queue_samples = 20", "queue_samples = 2000"]);
        assert_eq!(log.matches("state directory not usable").count(), 1, "{log}");
        assert_eq!(log.matches("samples lost: too many in memory").count(), 1, "{log}");
        assert_eq!(fs::read_to_string(&sender.state).expect("text"), "no directory");
    }
}

#[test]
fn state_directory_is_used_once_it_can_be() {
    let (sender, receiver) = (Sender::new("200ms", 20), Receiver::start(PROTOCOL));
    fs::write(&sender.state, "no directory").expect("written");
    receiver.leave();
    let mut agent = sender.start(&[&receiver]);
    agent.wait_log("state directory not usable");
    wait_ticks(&mut agent, 10);
    fs::remove_file(&sender.state).expect("removed");
    agent.wait(|sample: &Sample| metric(sample, "sink_spool_bytes", PROTOCOL.name()) > 0.0);
    // All that waited in memory is on the disk within a second.
    wait_ticks(&mut agent, 10);
    let kill = kill(&mut agent);
    receiver.take();
    let mut agent = sender.start(&[&receiver]);
    wait_caught_up(&mut agent, PROTOCOL.name());
    agent.terminate();
    receiver.compare(&sender.measured()).assert_complete(PROTOCOL.name(), &[kill]);
}

#[test]
fn damaged_spool_loses_what_is_damaged() {
    let (sender, receiver) = (Sender::new("200ms", 20).keys(&keys("")), Receiver::start(PROTOCOL));
    receiver.leave();
    let mut agent = sender.start(&[&receiver]);
    agent.wait(|sample: &Sample| metric(sample, "sink_behind_samples", PROTOCOL.name()) >= 30.0);
    assert!(agent.terminate().0.success(), "{}", agent.log());
    let path = sender.kept_files().remove(0);
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, bytes).expect("written");
    receiver.take();
    let mut agent = sender.start(&[&receiver]);
    let last = wait_caught_up(&mut agent, PROTOCOL.name());
    let until = super::measured::time_ms(&last);
    agent.terminate();
    let missing: Vec<Measured> = receiver.compare(&sender.measured()).missing;
    let missing: usize = missing.iter().filter(|sample| sample.time_ms < until).map(|sample| sample.values.len()).sum();
    assert_eq!(missing, 20, "one request");
    assert_eq!(metric_by(&last, "sink_dropped_points_total", PROTOCOL.name(), "damaged"), 20.0);
    assert_eq!(all_lost(&last, PROTOCOL.name()), 20.0);
    sender.wait_nothing_kept();
}
