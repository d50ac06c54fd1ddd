//! The sender of a sink: a task that encodes samples and delivers their requests in order, until each is acknowledged, rejected, or
//! dropped at a bound. What is not acknowledged for a second is written to the disk, and so is everything behind it, while sending goes
//! on. Knows no protocol and no file.
//!
//! ```text
//!  queue of samples ─▶ encoder ─▶ backlog in memory ─▶ spool ─▶ backlog on the disk ─▶ receiver
//!                                         └──────────── in good times ────────────────▶
//! ```

mod backlog;
mod flight;
mod parts;
pub(super) mod loss;
mod pace;
mod receiver_clock;
mod reports;
pub(super) mod statistics;
mod storage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::backlog::{Backlog, Next, Removed};
use self::flight::{Flight, Sent};
use self::loss::Loss;
use self::pace::{MAX_SPREAD, Pace};
pub(super) use self::parts::SenderParts;
use self::receiver_clock::ReceiverClock;
use self::reports::Reports;
use self::statistics::Behind;
use self::storage::{Followed, Storage};
use super::numeric::NumericSettings;
use super::otlp::HostFacts;
use super::protocol::{Encoder, Heartbeats, JudgedResponse, Receiver, ResponseFacts};
use super::queued::{QueuedSample, SampleQueue};
use super::request::Request;
use super::retry::Attempts;
use super::settings::SinkSettings;
use super::spool::SpoolReply;
use super::statistics::SinkStatistics;
use super::verdict::{Retry, Verdict};
use crate::clock::schedule::wall_clock;
use crate::clock::sleep::sleep_until;
use crate::config::NetworkSettings;
use crate::sample::Text;

/// How long the end of a sink waits for acknowledgements before it writes what is left. The agent waits for its sinks three times as
/// long.
const END_SENDING: Duration = Duration::from_millis(500);

/// A sender, as the delivery thread has it.
pub(super) struct Sender {
    queue: Arc<SampleQueue>,
    statistics: Arc<SinkStatistics>,
    settings: Arc<SinkSettings>,
    network: Arc<NetworkSettings>,
    numeric: Arc<NumericSettings>,
    facts: HostFacts,
    /// Where heartbeats get the name of the host.
    host: watch::Sender<Text>,
    heartbeats: Option<Heartbeats>,
    /// Whether the receiver has the settings in effect. One that is under way gets them afterwards.
    is_followed: bool,
    encoder: Encoder,
    /// None while a request is under way, which has it.
    receiver: Option<Receiver>,
    flight: Option<Flight>,
    backlog: Backlog,
    storage: Storage,
    attempts: Attempts,
    pace: Pace,
    clock: ReceiverClock,
    reports: Reports,
    /// The time of the last sample.
    last_tick: Duration,
    /// When everything that is left is written, once the queue has ended.
    ending: Option<Instant>,
}

impl Sender {
    /// Sends until the queue has ended, and all is delivered or on the disk.
    pub(super) async fn run(parts: SenderParts) {
        let SenderParts { queue, woken, statistics, settings, network, facts, spool, end } = parts;
        let numeric = Arc::new(settings.numeric(&network, Text::from("")));
        let mut sender = Self {
            storage: Storage::new(spool, Instant::now()),
            encoder: Encoder::new(&network, &numeric, &facts),
            receiver: Some(Receiver::new(&network, &settings.name, facts.id().unwrap_or_default(), &statistics)),
            flight: None,
            backlog: Backlog::default(),
            attempts: Attempts::default(),
            pace: Pace::new("", settings.interval),
            clock: ReceiverClock::default(),
            reports: Reports::new(&statistics),
            last_tick: Duration::ZERO,
            ending: None,
            queue,
            statistics,
            settings,
            network,
            numeric,
            facts,
            host: watch::Sender::new(Text::from("")),
            heartbeats: None,
            is_followed: true,
        };
        sender.restart_heartbeats();
        loop {
            let wake_at = sender.advance(Instant::now());
            if sender.has_ended() {
                // A reload may just have taken back the end.
                if sender.queue.close_if_finished() {
                    break;
                }
                continue;
            }
            let Self { flight, storage, .. } = &mut sender;
            tokio::select! {
                biased;
                (flight, receiver, answer) = Flight::end(flight) => sender.land(&flight, receiver, answer, Instant::now()),
                done = storage.done() => sender.stored(done, Instant::now()),
                () = woken.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
        let left = sender.backlog.clear_memory();
        let is_kept = left == Removed::default();
        sender.lose(Loss::Ended, left);
        sender.publish();
        let closed = sender.storage.close().await;
        // The agent may not wait any more.
        let _ = end.send(is_kept && closed.is_ok());
    }

    /// Does everything that is possible now. Returns when there will be more to do.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        while let Some(queued) = self.queue.take_now() {
            self.encode(&queued, now);
        }
        self.follow_end(now);
        self.bound_memory();
        let is_over = self.ending.is_some_and(|at| at <= now);
        let wake_at = [self.send(now), self.storage.advance(&self.backlog, is_over, now), self.ending];
        self.publish();
        wake_at.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn encode(&mut self, QueuedSample { sample, settings }: &QueuedSample, now: Instant) {
        if !Arc::ptr_eq(settings, &self.settings) {
            self.follow(settings);
        }
        self.numeric = self.numeric.with_host(sample);
        if *self.host.borrow() != self.numeric.host {
            self.host.send_replace(self.numeric.host.clone());
        }
        self.pace.follow(&self.numeric.host, sample.interval);
        self.last_tick = sample.tick;
        let due = self.pace.due(sample.tick, wall_clock(), now);
        let mut requests = Vec::new();
        self.encoder.encode(sample, &self.numeric, &mut requests);
        self.push(requests, due);
    }

    fn push(&mut self, requests: Vec<Request>, due: Instant) {
        for request in requests {
            self.backlog.push(request, due);
        }
    }

    /// Goes on with other settings.
    fn follow(&mut self, settings: &Arc<SinkSettings>) {
        self.settings = Arc::clone(settings);
        let Some(network) = settings.network() else { return };
        self.numeric = Arc::new(settings.numeric(network, self.numeric.host.clone()));
        if self.network != *network {
            if !Encoder::is_for(&self.network, network) {
                self.end_series(Instant::now());
                self.encoder = Encoder::new(network, &self.numeric, &self.facts);
            }
            self.network = Arc::clone(network);
            self.storage.configure(network);
            self.is_followed = self.receiver.is_some();
            if let Some(receiver) = self.receiver.take() {
                self.receiver = Some(self.followed(receiver));
            }
            self.clock = ReceiverClock::default();
            self.restart_heartbeats();
            self.attempts.settle();
        }
    }

    /// Sends the heartbeats of the settings in effect.
    fn restart_heartbeats(&mut self) {
        self.heartbeats = None;
        self.heartbeats =
            Heartbeats::start(&self.network, &self.settings.name, self.host.subscribe(), &self.statistics);
    }

    /// A receiver with the settings in effect.
    fn followed(&self, mut receiver: Receiver) -> Receiver {
        if receiver.follow(&self.network) {
            return receiver;
        }
        let host = self.facts.id().unwrap_or_default();
        Receiver::new(&self.network, &self.settings.name, host, &self.statistics)
    }

    /// Appends the requests that end all series.
    fn end_series(&mut self, due: Instant) {
        let mut requests = Vec::new();
        self.encoder.end(wall_clock().max(self.last_tick), &mut requests);
        self.push(requests, due);
    }

    /// Ends all series when the queue has ended, unless it goes on.
    fn follow_end(&mut self, now: Instant) {
        match (self.queue.is_finished(), self.ending) {
            (true, None) => {
                self.ending = Some(now + END_SENDING);
                self.end_series(now);
            }
            (false, Some(_)) => self.ending = None,
            _ => {}
        }
    }

    /// Drops the oldest when too much is in memory: as long as something is on the disk, that is there.
    fn bound_memory(&mut self) {
        let SinkSettings { queue_samples, queue_bytes, .. } = *self.settings;
        loop {
            let (samples, bytes) = self.backlog.in_memory();
            if samples <= queue_samples && bytes <= queue_bytes {
                return;
            }
            if self.backlog.is_on_disk() && self.storage.drop_oldest() {
                return;
            }
            let sent = self.flight.as_ref().and_then(|flight| flight.sent).map(|sent| sent.serial);
            let Some(removed) = self.backlog.drop_oldest(sent, self.storage.writing()) else { return };
            self.lose(Loss::QueueFull, removed);
        }
    }

    /// Sends the next request, if one may be sent now. Returns when one may be.
    fn send(&mut self, now: Instant) -> Option<Instant> {
        if self.flight.is_some() || self.ending.is_some_and(|at| at <= now) {
            return None;
        }
        let is_ending = self.ending.is_some();
        let pace = self.pace.next_at().filter(|_| !is_ending);
        let at = self.storage.sends_at(now).max(self.attempts.next_at()).max(pace);
        if at.is_some_and(|at| at > now) {
            return at;
        }
        // The end does not wait for a sample's own moment.
        let due = if is_ending { now + MAX_SPREAD } else { now };
        let (mut next, mut passed_over) = (self.backlog.next(0, due), None);
        if let Next::Request(first, _) = next
            && self.attempts.is_next_tried()
            && let second @ (Next::Request(..) | Next::Unread(_)) = self.backlog.next(1, due)
        {
            (next, passed_over) = (second, Some(first));
        }
        match next {
            Next::Nothing => None,
            Next::Waits(at) => Some(at),
            Next::Unread(from) => {
                self.storage.read(from);
                None
            }
            Next::Request(..) if self.clock.is_unasked() => {
                self.flight = Some(Flight::ask(self.receiver.take()?, self.network.timeout));
                None
            }
            Next::Request(serial, Request { time, points, is_last, body }) => {
                let wait = self.clock.wait(time, now);
                if wait.is_some() && self.clock.is_outdated(now) {
                    self.flight = Some(Flight::ask(self.receiver.take()?, self.network.timeout));
                    return None;
                }
                let ahead = wait.and(Some(time)).zip(self.clock.time(now));
                self.reports.ahead(&self.settings.name, ahead);
                if let Some(wait) = wait {
                    return Some(now + wait);
                }
                let receiver = self.receiver.take()?;
                self.pace.begin(now);
                self.statistics.network().send(body.len() as u64);
                let sent = Sent { serial, passed_over, points: points.into(), is_last, gone: None };
                self.flight = Some(Flight::send(sent, body, receiver, self.network.timeout));
                None
            }
        }
    }

    /// Follows the end of an exchange.
    fn land(&mut self, flight: &Flight, receiver: Receiver, answer: JudgedResponse, now: Instant) {
        let is_current = std::mem::replace(&mut self.is_followed, true);
        self.receiver = Some(if is_current { receiver } else { self.followed(receiver) });
        let JudgedResponse { verdict, response } = answer;
        if let Some(ResponseFacts { date }) = response.filter(|_| is_current) {
            self.clock.set(date, now);
        }
        let Some(sent) = &flight.sent else {
            if let Verdict::Retry(retry) = verdict {
                if retry.is_about_request {
                    self.clock.miss();
                }
                self.reports.retry(&self.settings.name, &retry, now);
                // No request is given up for that.
                let _ = self.attempts.fail(None, &Retry { is_about_request: false, ..retry }, now);
            }
            return;
        };
        match verdict {
            Verdict::Delivered { rejected, text } => {
                self.deliver(sent, now.saturating_duration_since(flight.began));
                let rejected = rejected.min(sent.points);
                self.statistics.network().deliver(sent.points - rejected);
                match text {
                    _ if rejected > 0 => self.reject(rejected, text.as_deref().unwrap_or_default(), now),
                    Some(text) => self.reports.warn(&self.settings.name, &text, now),
                    None => {}
                }
            }
            Verdict::Rejected { text } => {
                if sent.passed_over.is_some() {
                    // It did not pass, either: the one after it is the next to be tried.
                    self.remove_passed(sent);
                    self.attempts.wait(now);
                } else {
                    self.remove(sent);
                    self.attempts.settle();
                }
                if sent.is_last {
                    self.statistics.lose();
                }
                self.reject(sent.points, &text, now);
            }
            Verdict::Retry(retry) => {
                self.reports.retry(&self.settings.name, &retry, now);
                if let Some(loss) = sent.gone {
                    // It was not counted while it could still be delivered.
                    let removed = Removed { points: sent.points, samples: sent.is_last.into(), sequence: None };
                    self.lose(loss, removed);
                }
                if sent.passed_over.is_some() {
                    self.attempts.acquit(retry.after, now);
                } else if self.attempts.fail(Some(sent.serial), &retry, now) {
                    self.give_up(sent);
                }
            }
        }
    }

    /// The request was delivered, in this time.
    fn deliver(&mut self, sent: &Sent, duration: Duration) {
        if sent.passed_over.is_some() {
            self.remove_passed(sent);
            self.attempts.pass();
        } else {
            self.remove(sent);
            self.attempts.settle();
        }
        if sent.is_last {
            let (left_out, waiting) = (self.encoder.left_out(), self.behind().samples);
            self.reports.deliver(&self.settings.name, duration, left_out, waiting);
        }
    }

    /// Removes a request that needs not be sent again.
    fn remove(&mut self, sent: &Sent) {
        if let Some(removed) = self.backlog.remove(sent.serial) {
            self.storage.acknowledge(removed);
        }
        self.pace.settle(sent.is_last, !self.backlog.is_empty());
    }

    /// Removes a request that has passed the first one, or was rejected when it was to. The disk has it until the first has gone.
    fn remove_passed(&mut self, sent: &Sent) {
        if let Some(removed) = self.backlog.remove(sent.serial) {
            self.storage.settle(removed);
        }
        self.pace.settle(sent.is_last, true);
    }

    /// Drops a request that keeps failing while others pass. The disk may have dropped it meanwhile.
    fn give_up(&mut self, sent: &Sent) {
        if let Some(removed) = self.backlog.remove(sent.serial) {
            self.storage.acknowledge(removed);
            Reports::give_up(&self.settings.name, removed.points);
            self.lose(Loss::GivenUp, removed);
        }
        self.pace.settle(sent.is_last, !self.backlog.is_empty());
    }

    fn reject(&mut self, points: u64, text: &str, now: Instant) {
        self.statistics.network().lose(Loss::Rejected, points);
        self.reports.reject(&self.settings.name, points, text, now);
    }

    fn lose(&mut self, loss: Loss, removed: Removed) {
        self.statistics.network().lose(loss, removed.points);
        (0..removed.samples).for_each(|_| self.statistics.lose());
        self.reports.lose(&self.settings.name, loss, removed.points);
    }

    /// Follows what the spool has done.
    fn stored(&mut self, done: SpoolReply, now: Instant) {
        let sent = self.flight.as_mut().and_then(|flight| flight.sent.as_mut());
        let Followed { lost, works, error } = self.storage.follow(done, &mut self.backlog, sent, now);
        for (loss, removed) in lost {
            self.lose(loss, removed);
        }
        if let Some((access, error)) = error {
            self.reports.spool_failed(&self.settings.name, access, &error, now);
        }
        if let Some(access) = works {
            self.reports.spool_works(&self.settings.name, access);
        }
    }

    /// Whether there is nothing more to do.
    fn has_ended(&self) -> bool {
        let Some(until) = self.ending else { return false };
        (self.backlog.is_empty() && self.storage.is_quiet())
            || (until <= Instant::now() && self.storage.is_idle(&self.backlog))
    }

    fn behind(&self) -> Behind {
        let (samples, bytes) = self.backlog.in_memory();
        let disk = self.storage.disk();
        Behind {
            since: self.backlog.oldest().or(disk.oldest),
            samples: samples as u64 + disk.waiting.samples,
            bytes: bytes + disk.bytes,
            spool_bytes: disk.bytes,
        }
    }

    fn publish(&self) {
        self.statistics.network().set_behind(self.behind());
    }
}
