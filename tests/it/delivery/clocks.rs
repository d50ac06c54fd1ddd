//! The receiver's clock: samples that are far ahead of it wait.

use super::protocol::Protocol;
use super::receiver::{Receiver, ReceiverClock, Reply};
use super::sender::{Sender, all_lost, metric, wait_caught_up, wait_delivering, wait_ticks};

const PROTOCOL: Protocol = Protocol::RemoteWrite;

/// More than five minutes.
const FAR: i64 = 10 * 60;

#[test]
fn samples_ahead_of_the_receivers_clock_wait() {
    let (sender, receiver) = (Sender::new("200ms", 5), Receiver::start(PROTOCOL));
    receiver.set_clock(ReceiverClock::Ahead(-FAR));
    let mut agent = sender.start(&[&receiver]);
    agent.wait(|sample| metric(sample, "sink_behind_samples", PROTOCOL.name()) >= 10.0);
    let lines = agent.wait_log_lines("ahead", 1);
    assert_eq!(receiver.arrivals().len(), 0, "not even the first request is sent: the clock is asked for before it");
    assert!(receiver.arrivals_and_questions().iter().any(super::receiver::Arrival::is_question));
    let clocks = lines[0].matches('T').count();
    assert!(clocks >= 2, "it names both clocks: {}", lines[0]);
    wait_ticks(&mut agent, 10);
    assert!(!sender.kept_files().is_empty(), "they wait on the disk");
    receiver.set_clock(ReceiverClock::Ahead(0));
    let last = wait_caught_up(&mut agent, PROTOCOL.name());
    assert_eq!(all_lost(&last, PROTOCOL.name()), 0.0);
    agent.terminate();
    assert_eq!(
        agent.log().lines().filter(|line| line.contains(" WARN ") && line.contains("ahead")).count(),
        1,
        "{}",
        agent.log()
    );
    receiver.compare(&sender.measured()).assert_complete(PROTOCOL.name(), &[]);
}

#[test]
fn clock_that_falls_behind_holds_samples() {
    let (sender, receiver) = (Sender::new("200ms", 5), Receiver::start(PROTOCOL));
    let mut agent = sender.start(&[&receiver]);
    wait_delivering(&mut agent, PROTOCOL.name());
    receiver.set_clock(ReceiverClock::Ahead(-FAR));
    agent.wait(|sample| metric(sample, "sink_behind_samples", PROTOCOL.name()) >= 10.0);
    let (arrivals, questions) = (receiver.arrivals().len(), receiver.arrivals_and_questions().len());
    agent.wait_log_lines("ahead", 1);
    wait_ticks(&mut agent, 10);
    assert_eq!(receiver.arrivals().len(), arrivals, "none is sent meanwhile");
    receiver.set_clock(ReceiverClock::Absent);
    let last = wait_caught_up(&mut agent, PROTOCOL.name());
    assert!(receiver.arrivals_and_questions().len() > questions);
    assert_eq!(all_lost(&last, PROTOCOL.name()), 0.0);
}

#[test]
fn receiver_without_a_clock_gets_all() {
    for clock in [ReceiverClock::Absent, ReceiverClock::Ahead(FAR)] {
        let (sender, receiver) = (Sender::new("200ms", 5), Receiver::start(PROTOCOL));
        receiver.set_clock(clock);
        let mut agent = sender.start(&[&receiver]);
        receiver.wait_taken(10);
        wait_caught_up(&mut agent, PROTOCOL.name());
        agent.terminate();
        assert!(!agent.log().contains("ahead"), "{}", agent.log());
        receiver.compare(&sender.measured()).assert_complete(PROTOCOL.name(), &[]);
    }
}

#[test]
fn samples_that_wait_outlast_a_restart() {
    let (sender, receiver) = (Sender::new("200ms", 5), Receiver::start(PROTOCOL));
    receiver.set_clock(ReceiverClock::Ahead(-FAR));
    for _ in 0..2 {
        let mut agent = sender.start(&[&receiver]);
        agent.wait_log_lines("ahead", 1);
        wait_ticks(&mut agent, 10);
        assert!(agent.terminate().0.success(), "{}", agent.log());
        assert!(!sender.kept_files().is_empty());
    }
    assert_eq!(receiver.arrivals().len(), 0, "the end sends none of them, either");
    receiver.set_clock(ReceiverClock::Ahead(0));
    let mut agent = sender.start(&[&receiver]);
    wait_caught_up(&mut agent, PROTOCOL.name());
    agent.terminate();
    receiver.compare(&sender.measured()).assert_complete(PROTOCOL.name(), &[]);
}

#[test]
fn unanswered_question_does_not_stop_delivery() {
    for reply in [Reply::Silent, Reply::Raw { bytes: Vec::new(), is_closed: true }] {
        let (sender, receiver) = (Sender::new("200ms", 5).keys("timeout = \"1s\""), Receiver::start(PROTOCOL));
        receiver.reply(move |arrival| if arrival.is_question() { reply.clone() } else { Reply::Take });
        let mut agent = sender.start(&[&receiver]);
        receiver.wait_taken(5);
        wait_caught_up(&mut agent, PROTOCOL.name());
        agent.terminate();
        receiver.compare(&sender.measured()).assert_complete(PROTOCOL.name(), &[]);
    }
}
