//! When a request that failed is sent again: pauses that grow, with jitter, so that the agents of a fleet do not return together. And
//! when it is given up: only when it keeps failing for a reason that may be its own, and fails once more after the next one has passed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use super::verdict::Retry;

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);

/// The longest: an outage costs a request each quarter of a minute, and its end is noticed soon.
const LONGEST: Duration = Duration::from_secs(15);

/// How many failures double the pause; more are as many.
const DOUBLINGS: u32 = 5;

/// How often a request may fail for a reason that may be its own before the next one is tried: with the pauses, in two minutes.
const MAX_BLAMED: u32 = 10;

/// The attempts to deliver the first request that waits.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    backoff: Backoff,
    /// When the next one may be made.
    next_at: Option<Instant>,
    /// How often the request has failed for a reason that may be its own.
    blamed: u32,
    /// Its number.
    serial: Option<u64>,
    /// Whether the request after it has passed since.
    has_next_passed: bool,
}

impl Attempts {
    /// When the next attempt may be made; none if at once.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Whether the request after the first is to be tried.
    pub(super) fn is_next_tried(&self) -> bool {
        self.blamed >= MAX_BLAMED && !self.has_next_passed
    }

    /// Notes that a request was delivered, or dropped: the first one is another one now.
    pub(super) fn settle(&mut self) {
        *self = Self::default();
    }

    /// Notes that the first request failed, which has this number. The one before may have been dropped. Returns whether it is to be
    /// given up.
    #[must_use]
    pub(super) fn fail(&mut self, serial: Option<u64>, retry: &Retry, now: Instant) -> bool {
        if std::mem::replace(&mut self.serial, serial) != serial {
            (self.blamed, self.has_next_passed) = (0, false);
        }
        // The receiver may have been restarted, or have had no time, until the next one passed.
        if std::mem::take(&mut self.has_next_passed) && retry.is_about_request {
            self.settle();
            return true;
        }
        self.blamed += u32::from(retry.is_about_request);
        self.pause(retry.after, now);
        false
    }

    /// Notes that the request after the first was delivered. The first one is tried once more, at once.
    pub(super) fn pass(&mut self) {
        *self = Self { blamed: self.blamed, serial: self.serial, has_next_passed: true, ..Self::default() };
    }

    /// Notes that the request after the first was rejected. The next one is tried instead, after a pause.
    pub(super) fn wait(&mut self, now: Instant) {
        self.pause(None, now);
    }

    /// Notes that the request after the first did not pass, either: the receiver is to blame.
    pub(super) fn acquit(&mut self, after: Option<Duration>, now: Instant) {
        self.blamed = 0;
        self.pause(after, now);
    }

    fn pause(&mut self, after: Option<Duration>, now: Instant) {
        self.next_at = Some(now + self.backoff.pause(after));
    }
}

/// The pauses between attempts.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after another failure. The receiver may ask for a longer one.
    fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.failures.min(DOUBLINGS)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let own = pause.mul_f64(0.5 + 0.5 * fraction());
        // Jitter also for those whom a receiver has asked to come back at the same moment.
        asked.map_or(own, |asked| own.max(asked + FIRST.mul_f64(fraction())))
    }
}

/// A number from 0 to 1. The keys of the standard library's hash maps are random for each call.
fn fraction() -> f64 {
    let random = RandomState::new().hash_one(0_u8);
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::ErrorReason;
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..100).map(|_| backoff.pause(None)).collect();
        for (failures, pause) in pauses.iter().enumerate() {
            let whole = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
            assert!((whole / 2..=whole).contains(pause), "{failures}: {pause:?}");
        }
    }

    #[test]
    fn request_blamed_repeatedly_is_passed_over() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let retry = |is_about_request| Retry {
            after: None,
            reason: ErrorReason::Status,
            text: String::new(),
            remedy: "",
            is_about_request,
        };
        let fail = |attempts: &mut Attempts, serial: u64, is_about_request: bool, times: u32| {
            (0..times).for_each(|_| assert!(!attempts.fail(Some(serial), &retry(is_about_request), now)));
        };
        fail(&mut attempts, 1, false, 100);
        assert!(!attempts.is_next_tried());
        fail(&mut attempts, 1, true, MAX_BLAMED - 1);
        assert!(!attempts.is_next_tried());
        fail(&mut attempts, 1, true, 1);
        assert!(attempts.is_next_tried() && attempts.next_at().is_some_and(|at| at > now));
        fail(&mut attempts, 2, true, 1);
        assert!(!attempts.is_next_tried(), "it is another one");
        fail(&mut attempts, 2, true, MAX_BLAMED - 1);
        assert!(attempts.is_next_tried());
        attempts.pass();
        assert!(!attempts.is_next_tried() && attempts.next_at().is_none(), "the first is tried once more");
        fail(&mut attempts, 2, false, 1);
        assert!(attempts.is_next_tried(), "now the receiver has failed");
        attempts.pass();
        assert!(attempts.fail(Some(2), &retry(true), now), "it is given up");
        fail(&mut attempts, 3, true, MAX_BLAMED);
        attempts.pass();
        fail(&mut attempts, 4, true, 1);
        assert!(!attempts.is_next_tried(), "another one has passed before it");
        fail(&mut attempts, 4, true, MAX_BLAMED - 1);
        attempts.acquit(None, now);
        assert!(!attempts.is_next_tried());
        attempts.settle();
        assert_eq!(attempts.next_at(), None);
    }

    proptest! {
        #[test]
        fn receivers_wish_is_kept(seconds in 0_u64..4000, failures in 0_u32..50) {
            let (mut backoff, asked) = (Backoff { failures }, Duration::from_secs(seconds));
            let pause = backoff.pause(Some(asked));
            prop_assert!(pause >= asked && pause <= LONGEST.max(asked + FIRST));
        }

        #[test]
        fn fractions_are_below_one(_ in 0..100) {
            prop_assert!((0.0..1.0).contains(&fraction()));
        }
    }
}
