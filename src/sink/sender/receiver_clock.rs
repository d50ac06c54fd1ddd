//! The receiver's clock, by the `Date` of its last response. A sample far ahead of it would make some receivers refuse the samples of
//! every host, and is held back.

use std::time::{Duration, Instant};

/// How far ahead of the receiver's clock a sample may be.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// How often the receiver is asked again while samples wait: somebody may set its clock.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How often a receiver that is there may fail to respond to the question. Then it gets its first request all the same: it may have no
/// response to such a question, and would get none ever.
const MAX_UNANSWERED: u32 = 3;

/// The clock of a receiver; unknown before its first response, and without a `Date` in the last one.
#[derive(Debug, Default)]
pub(super) struct ReceiverClock {
    /// Its time, since the Unix epoch, and when that was.
    last: Option<(Duration, Instant)>,
    /// Whether it has responded.
    is_asked: bool,
    /// How often it was asked, and did not respond.
    unanswered: u32,
}

impl ReceiverClock {
    /// Whether the receiver has not responded yet: before the first sample it is asked.
    pub(super) fn is_unasked(&self) -> bool {
        !self.is_asked
    }

    /// Notes the time in a response.
    pub(super) fn set(&mut self, date: Option<Duration>, now: Instant) {
        (self.is_asked, self.unanswered) = (true, 0);
        self.last = date.map(|date| (date, now));
    }

    /// Notes that the receiver was asked, and that there was no response.
    pub(super) fn miss(&mut self) {
        self.unanswered += 1;
        if self.unanswered >= MAX_UNANSWERED {
            *self = Self { is_asked: true, ..Self::default() };
        }
    }

    /// Its time now, since the Unix epoch.
    pub(super) fn time(&self, now: Instant) -> Option<Duration> {
        self.last.map(|(date, at)| date + now.saturating_duration_since(at))
    }

    /// Whether it is to be asked again, while samples wait for it.
    pub(super) fn is_outdated(&self, now: Instant) -> bool {
        self.last.is_some_and(|(_, at)| now.saturating_duration_since(at) >= ASK_AGAIN)
    }

    /// How long a sample of this time has to wait until it can be sent, or the clock is asked for again; none if it does not.
    pub(super) fn wait(&self, time: Duration, now: Instant) -> Option<Duration> {
        let wait = time.checked_sub(self.time(now)? + AHEAD)?;
        (!wait.is_zero()).then_some(wait.min(ASK_AGAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiver_without_a_response_is_asked_some_times() {
        let (mut clock, now) = (ReceiverClock::default(), Instant::now());
        (1..MAX_UNANSWERED).for_each(|_| clock.miss());
        assert!(clock.is_unasked());
        clock.miss();
        assert!(!clock.is_unasked());
        clock.set(Some(Duration::from_secs(1)), now);
        clock.miss();
        assert!(clock.wait(Duration::from_secs(1000), now).is_some(), "it has responded before");
    }

    #[test]
    fn sample_far_ahead_waits() {
        let (mut clock, now) = (ReceiverClock::default(), Instant::now());
        let date = Duration::from_secs(1_000_000);
        assert!(clock.is_unasked() && clock.wait(date * 2, now).is_none(), "it is not known");
        clock.set(Some(date), now);
        assert_eq!(clock.wait(date + AHEAD, now), None);
        assert_eq!(clock.wait(date.saturating_sub(AHEAD), now), None);
        let second = Duration::from_secs(1);
        assert_eq!(clock.wait(date + AHEAD + second, now), Some(second));
        assert_eq!(clock.wait(date + AHEAD + second, now + second), None, "it goes on");
        assert_eq!(clock.wait(date * 2, now), Some(ASK_AGAIN));
        assert!(!clock.is_outdated(now) && clock.is_outdated(now + ASK_AGAIN));
        clock.set(None, now);
        assert_eq!(clock.wait(date * 2, now), None);
        assert!(!clock.is_outdated(now + ASK_AGAIN));
    }
}
