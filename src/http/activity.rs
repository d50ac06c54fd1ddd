//! A connection's activity: in which phase it is, since when, and until when it may stay there. Pure but for the cells; the
//! connection keeps it up, and `connections` asks it who has to make room.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Instant;

use super::limits::{HANDSHAKE, HEAD, IDLE, REQUEST, RESPONSE, STREAM_STALL, TENURE};

/// The phase of a connection.
///
/// ```text
/// Handshake ──▶ First ──▶ Head ──▶ Request ──▶ Response ──▶ Flush ──▶ Idle ──▶ Head …
///                                         └──▶ Stream
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// TLS is being agreed upon.
    Handshake,
    /// Nothing has come yet.
    First,
    /// Headers are coming.
    Head,
    /// A request is handled, and its body read.
    Request,
    /// A response is made or written.
    Response,
    /// It has been handed to the connection, and may wait for the peer to read.
    Flush,
    /// The next request is awaited.
    Idle,
    /// Events are sent.
    Stream,
}

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Since when the peer has been keeping it from writing.
    blocked: Cell<Option<Instant>>,
    is_displaced: Cell<bool>,
    /// Whether the connection ends after the response under way, and an event stream at once.
    is_ending: Cell<bool>,
    /// Wakes the task of the connection.
    waker: RefCell<Option<Waker>>,
}

impl Activity {
    pub(super) fn new(phase: Phase, now: Instant) -> Self {
        Self {
            phase: Cell::new(phase),
            since: Cell::new(now),
            blocked: Cell::new(None),
            is_displaced: Cell::new(false),
            is_ending: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    pub(super) fn enter(&self, phase: Phase, now: Instant) {
        self.phase.set(phase);
        self.since.set(now);
    }

    /// Bytes have come.
    pub(super) fn received(&self, now: Instant) {
        if matches!(self.phase.get(), Phase::First | Phase::Idle) {
            self.enter(Phase::Head, now);
        }
    }

    /// The response has been handed over, or dropped.
    pub(super) fn handed_over(&self) {
        // Its time goes on until the peer has read it.
        self.phase.set(Phase::Flush);
    }

    /// The peer lets it write, or does not.
    pub(super) fn written(&self, is_blocked: bool, now: Instant) {
        let before = self.blocked.replace(is_blocked.then(|| self.blocked.get().unwrap_or(now)));
        // An event waits until then.
        if self.phase.get() == Phase::Stream && before.is_some() && !is_blocked {
            self.wake();
        }
    }

    /// Whether the peer keeps it from writing.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get().is_some()
    }

    /// Whether events are sent.
    pub(super) fn is_streaming(&self) -> bool {
        self.phase.get() == Phase::Stream
    }

    /// The connection has done what it could.
    pub(super) fn settle(&self, now: Instant) {
        if self.phase.get() == Phase::Flush && self.blocked.get().is_none() {
            self.enter(Phase::Idle, now);
        }
    }

    /// When it has taken too long; none for a stream that is read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limit = match self.phase.get() {
            Phase::Handshake => HANDSHAKE,
            Phase::First | Phase::Head => HEAD,
            Phase::Request => REQUEST,
            Phase::Response | Phase::Flush => RESPONSE,
            Phase::Idle => IDLE,
            Phase::Stream => return self.blocked.get().map(|since| since + STREAM_STALL),
        };
        Some(self.since.get() + limit)
    }

    /// Whether its end at the deadline is the peer's fault: a kept connection may end.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// Whether it might make room at some time.
    pub(super) fn is_movable(&self) -> bool {
        self.phase.get() != Phase::Stream && !self.is_displaced.get()
    }

    /// Since when it might have made room; none if it keeps its place.
    pub(super) fn displaceable_since(&self, now: Instant) -> Option<Instant> {
        let since = self.since.get();
        let has_tenure = now.saturating_duration_since(since) >= TENURE;
        match self.phase.get() {
            _ if !self.is_movable() => None,
            Phase::Idle => Some(since),
            _ => has_tenure.then_some(since),
        }
    }

    /// Makes it end.
    pub(super) fn displace(&self) {
        self.is_displaced.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.is_displaced.get()
    }

    /// Makes it end after the response under way; called by its own task.
    pub(super) fn end(&self) {
        self.is_ending.set(true);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.get()
    }

    /// Notes who is to be woken.
    pub(super) fn watch(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_deadlines() {
        let start = Instant::now();
        let activity = Activity::new(Phase::Handshake, start);
        assert_eq!(activity.deadline(), Some(start + HANDSHAKE));
        activity.enter(Phase::First, start);
        let later = start + HEAD / 2;
        activity.received(later);
        assert_eq!(activity.deadline(), Some(later + HEAD));
        activity.received(later + HEAD / 2);
        assert_eq!(activity.deadline(), Some(later + HEAD), "further bytes win no time");
        activity.enter(Phase::Request, later);
        assert_eq!(activity.deadline(), Some(later + REQUEST));
        activity.enter(Phase::Stream, later);
        assert_eq!(activity.deadline(), None);
        activity.written(true, start);
        activity.written(true, later);
        assert_eq!(activity.deadline(), Some(start + STREAM_STALL));
        activity.written(false, later);
        assert_eq!(activity.deadline(), None);
    }

    #[test]
    fn response_ends_when_the_peer_has_read_it() {
        let start = Instant::now();
        let activity = Activity::new(Phase::Response, start);
        activity.written(true, start);
        activity.handed_over();
        activity.settle(start);
        assert_eq!(activity.deadline(), Some(start + RESPONSE));
        activity.written(false, start);
        activity.settle(start);
        assert_eq!(activity.deadline(), Some(start + IDLE));
    }

    #[test]
    fn connections_keep_their_place_for_a_while() {
        let start = Instant::now();
        let is_displaceable = |phase, now| Activity::new(phase, start).displaceable_since(now).is_some();
        for phase in [Phase::Handshake, Phase::First, Phase::Head, Phase::Request, Phase::Response, Phase::Flush] {
            assert!(!is_displaceable(phase, start) && is_displaceable(phase, start + TENURE), "{phase:?}");
        }
        assert!(is_displaceable(Phase::Idle, start) && !is_displaceable(Phase::Stream, start + IDLE));
        let displaced = Activity::new(Phase::Idle, start);
        displaced.displace();
        assert_eq!(displaced.displaceable_since(start + IDLE), None, "it ends already");
    }
}
