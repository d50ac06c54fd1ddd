//! The pauses before retries: 1, 2, 4 … seconds, at most five minutes.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// The longest pause: an operator who fixes the cause sees the effect within five minutes.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// The failures in a row, and the pause after the last one. Success ends the row when it lasts for twice the pause: a plugin
/// that fails at every other call has not recovered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    failures: u32,
    /// The end of the pause; none before the first failure, or when the owner retries by itself.
    pub(crate) at: Option<Instant>,
}

impl Backoff {
    /// Records a failure. Returns the pause.
    pub(crate) fn record_failure(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = pause_after(self.failures);
        self.at = Some(now + jittered(pause));
        pause
    }

    /// Records a success.
    pub(crate) fn record_success(&mut self, now: Instant) {
        if self.at.is_some_and(|at| now.saturating_duration_since(at) > 2 * pause_after(self.failures)) {
            *self = Self::default();
        }
    }

    pub(crate) fn is_waiting(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at > now)
    }
}

/// The pause after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(doubled).min(MAX_PAUSE)
}

/// A pause up to a tenth shorter: plugins that failed together do not restart together.
fn jittered(pause: Duration) -> Duration {
    // The keys of std's hash tables are random enough for this.
    let random = RandomState::new().hash_one(pause);
    pause.saturating_sub(pause / 10 * u32::from(random.to_le_bytes()[0]) / u32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alternating_failures_lengthen_the_pause() {
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
    fn backoff_resets_after_stable_period() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.record_failure(now);
        let pause = backoff.record_failure(now);
        let end = backoff.at.expect("a pause");
        backoff.record_success(end + 2 * pause);
        assert_eq!(backoff.failures, 2);
        backoff.record_success(end + 2 * pause + Duration::from_millis(1));
        assert_eq!(backoff.record_failure(now), Duration::from_secs(1));
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<u64> = (1..=11).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn pauses_are_jittered() {
        let pause = Duration::from_secs(300);
        let pauses: Vec<Duration> = (0..100).map(|_| jittered(pause)).collect();
        assert!(pauses.iter().all(|jittered| (pause * 9 / 10..=pause).contains(jittered)));
        assert!(pauses.iter().any(|jittered| *jittered != pauses[0]));
    }

    proptest! {
        #[test]
        fn pauses_never_shrink_and_are_bounded(failures in 0_u32..u32::MAX) {
            prop_assert!(pause_after(failures) <= pause_after(failures + 1));
            prop_assert!(pause_after(failures) <= MAX_PAUSE);
        }
    }
}
