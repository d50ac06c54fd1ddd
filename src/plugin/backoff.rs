//! What failed is tried again after a pause: 1, 2, 4 … seconds, at most five minutes.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// The longest pause between two attempts: an operator who mends the cause sees the effect within five minutes.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Something that failed and is tried again after a pause, the longer the more often it has failed in a row. It has to
/// do well for twice the pause before that counts as the end of the row: what fails at every other call is not well.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    failures: u32,
    /// When the pause is over; none once it was decided not to wait any more.
    pub(super) at: Option<Instant>,
}

impl Backoff {
    /// It has failed. Answers how long it is left alone.
    pub(super) fn record_failure(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = pause_after(self.failures);
        self.at = Some(now + jittered(pause));
        pause
    }

    /// It did well.
    pub(super) fn record_success(&mut self, now: Instant) {
        if self.at.is_some_and(|at| now.saturating_duration_since(at) > 2 * pause_after(self.failures)) {
            *self = Self::default();
        }
    }

    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at > now)
    }
}

/// How long to leave a plugin alone after so many faults in a row: 1, 2, 4 … seconds, at most [`MAX_PAUSE`].
fn pause_after(faults: u32) -> Duration {
    let doubled = 1_u64.checked_shl(faults.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(doubled).min(MAX_PAUSE)
}

/// A pause, at most a tenth shorter: what failed at one moment, for one reason, does not come back at one moment.
fn jittered(pause: Duration) -> Duration {
    // The keys of std's hash tables are the randomness that is at hand; this needs no better one.
    let random = RandomState::new().hash_one(pause);
    pause.saturating_sub(pause / 10 * u32::from(random.to_le_bytes()[0]) / u32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fails_at_every_other_call_rests_longer_and_longer() {
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..4)
            .map(|_| {
                let pause = backoff.record_failure(now);
                assert!(backoff.is_waiting(now) && !backoff.is_waiting(now + pause));
                now += pause + Duration::from_secs(1);
                backoff.record_success(now);
                now += Duration::from_secs(1);
                pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8]);
    }

    #[test]
    fn what_did_well_for_long_enough_starts_from_the_beginning() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.record_failure(now);
        let pause = backoff.record_failure(now);
        let over = backoff.at.expect("a pause");
        backoff.record_success(over + 2 * pause);
        assert_eq!(backoff.failures, 2);
        backoff.record_success(over + 2 * pause + Duration::from_millis(1));
        assert_eq!(backoff.record_failure(now), Duration::from_secs(1));
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<u64> = (1..=11).map(|faults| pause_after(faults).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn pauses_are_not_all_the_same() {
        let pause = Duration::from_secs(300);
        let pauses: Vec<Duration> = (0..100).map(|_| jittered(pause)).collect();
        assert!(pauses.iter().all(|jittered| (pause * 9 / 10..=pause).contains(jittered)));
        assert!(pauses.iter().any(|jittered| *jittered != pauses[0]));
    }

    proptest! {
        #[test]
        fn pauses_never_shrink_and_are_bounded(faults in 0_u32..u32::MAX) {
            prop_assert!(pause_after(faults) <= pause_after(faults + 1));
            prop_assert!(pause_after(faults) <= MAX_PAUSE);
        }
    }
}
