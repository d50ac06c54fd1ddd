//! When the next tick is, and who is due at it. Ticks are the wall clock's multiples of the interval, so that all agents
//! of a fleet sample at the same moments and nothing drifts. Pure but for [`wall_clock`]:
//! the clock's readings are handed in.
//!
//! What the wall clock does is followed, not fought: a tick that passes while the agent is busy, suspended or overtaken
//! by a clock set forward is skipped and counted; after a clock set back by more than an interval the ticks go on from
//! where the clock now is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock's reading since the Unix epoch, as [`Schedule`] takes it; zero for a clock set before that.
#[must_use]
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// One scheduled moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// How many intervals after the Unix epoch.
    pub index: u64,
    /// The index of the tick before this one; none for the first.
    pub previous: Option<u64>,
    /// The scheduled moment since the Unix epoch: the sample's timestamp, however late the tick was served.
    pub since_epoch: Duration,
}

/// The timetable of one agent.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    served: Option<u64>,
    missed: u64,
}

impl Schedule {
    /// A timetable with ticks at the multiples of an interval of at least a millisecond.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval: interval.max(Duration::from_millis(1)), served: None, missed: 0 }
    }

    /// The first tick after `now`, which is a reading of the wall clock since the Unix epoch. It is never the one that
    /// was served last, even when the clock was set back a little since.
    #[must_use]
    pub fn next(&self, now: Duration) -> Tick {
        let coming = self.index_at(now) + 1;
        self.tick(if self.served == Some(coming) { coming + 1 } else { coming })
    }

    /// Serves the tick that `now` calls for, `due` being what [`next`](Self::next) answered earlier: `due` itself, or,
    /// when its successors have passed too, the latest of them; the others are counted as missed. None when it is still
    /// too early, as after a clock set back, or when a clock set back and forth is where it was.
    pub fn serve(&mut self, due: Tick, now: Duration) -> Option<Tick> {
        if now < due.since_epoch {
            return None;
        }
        let tick = self.tick(self.index_at(now));
        if let Some(served) = self.served {
            if tick.index == served {
                return None;
            }
            self.missed += tick.index.saturating_sub(served + 1);
        }
        self.served = Some(tick.index);
        Some(tick)
    }

    /// How many ticks have passed unserved since the first one.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn index_at(&self, now: Duration) -> u64 {
        u64::try_from(now.as_millis() / self.interval.as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn tick(&self, index: u64) -> Tick {
        let millis = u128::from(index) * self.interval.as_millis();
        let since_epoch = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        Tick { index, previous: self.served, since_epoch }
    }
}

impl Tick {
    /// Whether a collector that runs at every `every`-th tick is due: at the ticks whose index is a multiple, at the
    /// first tick, and when the tick it should have had was missed.
    #[must_use]
    pub fn is_due(&self, every: u64) -> bool {
        self.previous.is_none_or(|previous| previous / every != self.index / every)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn ticks_are_multiples_of_the_interval() {
        let mut schedule = Schedule::new(ms(10_000));
        let first = schedule.next(ms(1_234_567));
        assert_eq!(first.since_epoch, ms(1_240_000));
        assert_eq!(schedule.serve(first, ms(1_239_999)), None);
        assert_eq!(schedule.serve(first, ms(1_240_003)), Some(first));
        assert_eq!(schedule.next(ms(1_240_050)).since_epoch, ms(1_250_000));
        assert_eq!(schedule.missed(), 0);
    }

    #[test]
    fn passed_ticks_are_skipped_and_counted() {
        let mut schedule = Schedule::new(ms(1000));
        let first = schedule.next(ms(0));
        schedule.serve(first, ms(1000));
        let next = schedule.next(ms(1500));
        let tick = schedule.serve(next, ms(5200)).expect("long past");
        assert_eq!((tick.since_epoch, schedule.missed()), (ms(5000), 3));
    }

    #[test]
    fn a_clock_set_back_a_little_repeats_nothing_and_a_lot_is_followed() {
        let mut schedule = Schedule::new(ms(1000));
        let first = schedule.next(ms(9500));
        schedule.serve(first, ms(10_000));
        assert_eq!(schedule.next(ms(9900)).since_epoch, ms(11_000));
        assert_eq!(schedule.next(ms(5900)).since_epoch, ms(6000));
        assert_eq!(schedule.missed(), 0);
    }

    #[test]
    fn collectors_with_their_own_interval_keep_to_its_multiples() {
        let tick = |index, previous| Tick { index, previous, since_epoch: ms(index) };
        let due: Vec<u64> = (1..12).filter(|&index| tick(index, Some(index - 1)).is_due(3)).collect();
        assert_eq!(due, [3, 6, 9]);
        assert!(tick(7, None).is_due(3), "at the first tick everybody is");
        assert!(tick(7, Some(5)).is_due(3), "the sixth was missed");
    }

    proptest! {
        /// Whatever the clock does, ticks are multiples, are never served early, never twice in a row, and every one
        /// between two served ones is counted.
        #[test]
        fn holds_for_any_clock(
            interval in 1_u64..100_000,
            start in 0_u64..10_000_000_000,
            steps in prop::collection::vec(-50_000_i64..200_000, 1..60),
        ) {
            let mut schedule = Schedule::new(ms(interval));
            let mut now = start;
            let mut due = schedule.next(ms(now));
            let mut served: Vec<Tick> = Vec::new();
            for step in steps {
                now = now.saturating_add_signed(step);
                if let Some(tick) = schedule.serve(due, ms(now)) {
                    prop_assert_eq!(tick.since_epoch.as_millis() % u128::from(interval), 0);
                    prop_assert!(tick.since_epoch <= ms(now));
                    prop_assert!(now - u64::try_from(tick.since_epoch.as_millis()).unwrap() < interval);
                    prop_assert_eq!(tick.previous, served.last().map(|last| last.index));
                    prop_assert_ne!(tick.previous, Some(tick.index));
                    served.push(tick);
                }
                due = schedule.next(ms(now));
                prop_assert!(due.since_epoch > ms(now));
                prop_assert!(due.since_epoch <= ms(now + 2 * interval));
            }
            let gaps: u64 = served.windows(2).map(|pair| pair[1].index.saturating_sub(pair[0].index + 1)).sum();
            prop_assert_eq!(schedule.missed(), gaps);
        }

        /// A collector is due exactly once per interval of its own, however the ticks fall.
        #[test]
        fn is_due_once_per_own_interval(every in 1_u64..20, steps in prop::collection::vec(1_u64..30, 1..60)) {
            let mut index = 0;
            let mut last_due = None;
            let mut previous = None;
            for step in steps {
                index += step;
                let tick = Tick { index, previous, since_epoch: ms(index) };
                let expected = last_due != Some(index / every);
                prop_assert_eq!(tick.is_due(every), expected);
                if expected {
                    last_due = Some(index / every);
                }
                previous = Some(index);
            }
        }
    }
}
