//! The schedule of the ticks, and which collectors are due at a tick. Ticks are the wall clock's multiples of the interval,
//! so that all agents of a fleet sample at the same moments without drift. Except for [`wall_clock`], the functions are
//! pure: the caller passes the time.
//!
//! Ticks follow changes of the wall clock. A tick that passes while the agent is busy or suspended, or because the clock was
//! set forward, is skipped and counted. After the clock was set back by more than an interval, ticks continue from the new
//! time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock's time since the Unix epoch; zero if the clock is set before it.
#[must_use]
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A scheduled moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The number of intervals since the Unix epoch.
    pub index: u64,
    /// The index of the previous served tick; none for the first.
    pub previous: Option<u64>,
    /// The scheduled moment since the Unix epoch: the sample's timestamp, also if the tick was served late.
    pub since_epoch: Duration,
}

/// The schedule of the agent's ticks.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    /// The index of the tick that was served last.
    served: Option<u64>,
    /// The index of the first tick that was to be served with this interval: the moments before are none that were missed.
    first: u64,
    missed: u64,
}

impl Schedule {
    /// A schedule for the multiples of an interval, which is at least a millisecond.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval: interval.max(Duration::from_millis(1)), served: None, first: 0, missed: 0 }
    }

    /// The same schedule with another interval from `now` on. Its first tick is later than the one that was served last.
    pub(crate) fn with_interval(self, interval: Duration, now: Duration) -> Self {
        let served_at = self.served.map(|index| self.tick(index).since_epoch);
        let next = Self { missed: self.missed, ..Self::new(interval) };
        Self { served: served_at.map(|at| next.index_at(at)), first: next.index_at(now) + 1, ..next }
    }

    /// The first tick after `now`. It is never the tick that was served last, also after the clock was set back a little.
    pub(crate) fn next(&self, now: Duration) -> Tick {
        let coming = self.index_at(now) + 1;
        self.tick(if self.served == Some(coming) { coming + 1 } else { coming })
    }

    /// Serves the latest tick up to `now`; earlier unserved ticks are counted as missed. `due` is the tick that
    /// [`next`](Self::next) returned. None before `due`, as after the clock was set back, and for a tick that was already
    /// served.
    pub(crate) fn serve(&mut self, due: Tick, now: Duration) -> Option<Tick> {
        if now < due.since_epoch {
            return None;
        }
        let tick = self.tick(self.index_at(now));
        if let Some(served) = self.served {
            if tick.index == served {
                return None;
            }
            self.missed += tick.index.saturating_sub(self.first.max(served + 1));
        }
        (self.served, self.first) = (Some(tick.index), 0);
        Some(tick)
    }

    /// The number of missed ticks since the first one.
    pub(crate) fn missed(&self) -> u64 {
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
    /// A tick by itself, at this moment.
    pub(crate) fn now() -> Self {
        Self { index: 0, previous: None, since_epoch: wall_clock() }
    }

    /// The index of an earlier moment, with the interval of this tick.
    pub(crate) fn index_at(&self, moment: Duration) -> u64 {
        let interval = self.since_epoch.as_millis().checked_div(self.index.into()).filter(|&interval| interval > 0);
        let index = interval.and_then(|interval| u64::try_from(moment.as_millis() / interval).ok());
        index.unwrap_or(self.index)
    }

    /// Whether a collector that runs at every `every`-th tick is due: at ticks whose index is a multiple of `every`, at the
    /// first tick, and if its last tick was missed.
    pub(crate) fn is_due(&self, every: u64) -> bool {
        self.previous.is_none_or(|previous| previous / every != self.index / every)
    }

    /// How many ticks of such a collector have passed since the previous tick without being served.
    pub(crate) fn passed(&self, every: u64) -> u64 {
        self.previous.map_or(0, |previous| (self.index / every).saturating_sub(previous / every + 1))
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
        let tick = schedule.serve(next, ms(5200)).expect("due");
        assert_eq!((tick.since_epoch, schedule.missed()), (ms(5000), 3));
    }

    #[test]
    fn no_tick_repeats_after_clock_is_set_back() {
        let mut schedule = Schedule::new(ms(1000));
        let first = schedule.next(ms(9500));
        schedule.serve(first, ms(10_000));
        assert_eq!(schedule.next(ms(9900)).since_epoch, ms(11_000));
        assert_eq!(schedule.next(ms(5900)).since_epoch, ms(6000));
        assert_eq!(schedule.missed(), 0);
    }

    #[test]
    fn collectors_are_due_at_multiples_of_their_interval() {
        let tick = |index, previous| Tick { index, previous, since_epoch: ms(index) };
        let due: Vec<u64> = (1..12).filter(|&index| tick(index, Some(index - 1)).is_due(3)).collect();
        assert_eq!(due, [3, 6, 9]);
        assert!(tick(7, None).is_due(3), "all are due at the first tick");
        assert!(tick(7, Some(5)).is_due(3), "the sixth was missed");
    }

    proptest! {
        /// After a change of the interval no tick repeats or goes back, and none is counted as missed.
        #[test]
        fn changed_interval_makes_no_double_tick(
            before in 1_u64..100_000,
            after in 1_u64..100_000,
            start in 0_u64..10_000_000_000,
            late in 0_u64..1000,
            changed in 0_u64..100_000,
        ) {
            let mut schedule = Schedule::new(ms(before));
            let due = schedule.next(ms(start));
            let now = due.since_epoch + ms(late.min(before - 1));
            let last = schedule.serve(due, now).expect("due");
            let now = now.max(last.since_epoch + ms(changed % before));
            let mut schedule = schedule.with_interval(ms(after), now);
            let due = schedule.next(now);
            prop_assert!(due.since_epoch > last.since_epoch);
            let tick = schedule.serve(due, due.since_epoch).expect("due");
            prop_assert!(tick.since_epoch > last.since_epoch);
            prop_assert!(tick.since_epoch.as_millis().is_multiple_of(after.into()));
            prop_assert!(tick.since_epoch.saturating_sub(now) <= ms(after * 2));
            prop_assert_eq!(schedule.missed(), 0);
        }

        /// Ticks are multiples of the interval, are never served early or twice in a row, and those between served ticks
        /// are counted.
        #[test]
        fn schedule_holds_for_any_clock(
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

        #[test]
        fn collectors_are_due_once_per_interval(every in 1_u64..20, steps in prop::collection::vec(1_u64..30, 1..60)) {
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
