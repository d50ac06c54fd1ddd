//! The pace of a sink: agents that send at the same moment are spread, and what has waited is sent at most ten times as fast as it was
//! measured.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// Over how long the agents of a fleet are spread, at most.
pub(super) const MAX_SPREAD: Duration = Duration::from_secs(1);

/// How many samples are sent in the time of one while there are more.
const BACKFILL: u32 = 10;

/// The pace of one sink.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long after its tick a sample is sent.
    spread: Duration,
    interval: Duration,
    /// When the next sample of a backlog may be sent.
    next_at: Option<Instant>,
    /// When the sample began that is being sent.
    began: Option<Instant>,
}

impl Pace {
    /// The pace of a host's samples at this interval.
    pub(super) fn new(host: &str, interval: Duration) -> Self {
        Self { spread: spread(host, interval), interval, next_at: None, began: None }
    }

    /// Follows the interval of the samples, or another host name.
    pub(super) fn follow(&mut self, host: &str, interval: Duration) {
        (self.spread, self.interval) = (spread(host, interval), interval);
    }

    /// When a sample of this tick is due, which is taken now.
    pub(super) fn due(&self, tick: Duration, wall_clock: Duration, now: Instant) -> Instant {
        // A tick that is ahead of the clock is that of a clock that was set back.
        let left = (tick + self.spread).saturating_sub(wall_clock).min(self.spread);
        now + left
    }

    /// Notes that a request is sent now.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// Notes that a request was delivered or dropped: if it `is_last` of its sample, and `is_behind`, the next one waits.
    pub(super) fn settle(&mut self, is_last: bool, is_behind: bool) {
        if is_last {
            let began = self.began.take();
            self.next_at = began.filter(|_| is_behind).map(|began| began + self.interval / BACKFILL);
        }
    }

    /// When the next request may be sent; none if at once.
    pub(super) fn next_at(&self) -> Option<Instant> {
        if self.began.is_some() { None } else { self.next_at }
    }
}

/// How long after its tick a host sends. Its name decides, so that a host has the same place in each interval.
fn spread(host: &str, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    let share = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
    MAX_SPREAD.min(interval).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn hosts_are_spread_over_a_second() {
        let mut places: Vec<u128> =
            (0..1000).map(|host| spread(&format!("web-{host}"), INTERVAL).as_millis()).collect();
        assert!(places.iter().all(|&place| place < 1000));
        places.sort_unstable();
        // Of a thousand places at random, no ten in a row are missing, let alone a tenth of a second.
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] < 100), "{places:?}");
        assert_eq!(spread("web-1", INTERVAL), spread("web-1", INTERVAL));
        assert!(spread("web-1", Duration::from_millis(200)) < Duration::from_millis(200));
    }

    #[test]
    fn late_sample_is_due_at_once() {
        let pace = Pace::new("web-1", INTERVAL);
        let (now, tick) = (Instant::now(), Duration::from_secs(1000));
        assert_eq!(pace.due(tick, tick, now), now + pace.spread);
        assert_eq!(pace.due(tick, tick + pace.spread / 2, now), now + pace.spread.saturating_sub(pace.spread / 2));
        assert_eq!(pace.due(tick, tick + INTERVAL, now), now);
        assert_eq!(pace.due(tick + INTERVAL, tick, now), now + pace.spread, "the clock was set back");
    }

    #[test]
    fn backlog_is_sent_ten_times_as_fast() {
        let mut pace = Pace::new("web-1", INTERVAL);
        let began = Instant::now();
        pace.begin(began);
        pace.settle(false, true);
        assert_eq!(pace.next_at(), None, "the sample is not whole");
        pace.begin(began + INTERVAL);
        pace.settle(true, true);
        assert_eq!(pace.next_at(), Some(began + INTERVAL / 10));
        pace.begin(began + INTERVAL);
        pace.settle(true, false);
        assert_eq!(pace.next_at(), None);
    }
}
