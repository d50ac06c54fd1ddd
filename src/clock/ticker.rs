//! The ticks of the main loop: which one is due, and which is served when its time has come, whatever the clocks do meanwhile.

use std::time::Duration;

use super::schedule::{Schedule, Tick};
use super::source::{Source, StepDetector};

/// The ticks.
#[derive(Debug)]
pub(crate) struct Ticker {
    source: Source,
    schedule: Schedule,
    due: Tick,
    detector: StepDetector,
    steps: u64,
    /// When the tick was that was served last, and how often the wall clock had been set by then.
    served: Option<(Duration, u64)>,
}

impl Ticker {
    /// Ticks at the multiples of an interval. The first is due after this time at the earliest.
    pub(crate) fn new(source: Source, interval: Duration, window: Duration) -> Self {
        let now = source.read();
        let schedule = Schedule::new(interval);
        let due = schedule.next(now.wall + window);
        Self { source, schedule, due, detector: StepDetector::new(now), steps: 0, served: None }
    }

    /// The tick that is due next.
    pub(crate) fn due(&self) -> Tick {
        self.due
    }

    /// The moment of the tick that is due next, since the Unix epoch.
    pub(crate) fn due_at(&self) -> Duration {
        self.due.since_epoch
    }

    /// Serves the tick whose time has come, if there is one: the latest, when several have passed. Returns it with how late it is.
    pub(crate) fn serve(&mut self) -> Option<(Tick, Duration)> {
        let now = self.source.read();
        self.steps += u64::from(self.detector.observe(now));
        let served = self.schedule.serve(self.due, now.wall);
        if let Some(tick) = served {
            // The clock was set by less than what the detector notices.
            let goes_back = |(last, steps)| tick.since_epoch <= last && steps == self.steps;
            self.steps += u64::from(self.served.is_some_and(goes_back));
            self.served = Some((tick.since_epoch, self.steps));
        }
        self.due = self.schedule.next(now.wall);
        served.map(|tick| (tick, now.wall.saturating_sub(tick.since_epoch)))
    }

    /// Follows another interval. No tick repeats.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        let now = self.source.read().wall;
        let schedule = std::mem::replace(&mut self.schedule, Schedule::new(interval));
        self.schedule = schedule.with_interval(interval, now);
        self.due = self.schedule.next(now);
    }

    /// The number of ticks that passed without being served.
    pub(crate) fn missed(&self) -> u64 {
        self.schedule.missed()
    }

    /// How often the wall clock was set.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::source::Reading;

    /// What happens to the host or its clocks.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// The timer wakes the agent when the next tick is due, this much late.
        Wakes(u64),
        /// A collection takes this long, or the process is stopped, or the host is suspended.
        Passes(u64),
        /// The wall clock is set, in milliseconds; the timer wakes the agent.
        Steps(i64),
        /// The agent follows another interval.
        Interval(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            20 => (0_u64..50).prop_map(Event::Wakes),
            4 => (0_u64..5000).prop_map(Event::Passes),
            1 => (0_u64..100_000_000).prop_map(Event::Passes),
            2 => (-20_000_i64..20_000).prop_map(Event::Steps),
            1 => (-1_000_000_000_i64..1_000_000_000).prop_map(Event::Steps),
            1 => (100_u64..20_000).prop_map(Event::Interval),
        ]
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Through any history of the clocks ticks stay multiples of the interval, and none is early. Without a step no timestamp
        /// repeats or goes back, and the next tick is at most an interval away: there is no burst and no pause.
        #[test]
        fn ticks_hold_for_any_history(events in prop::collection::vec(event(), 1..300)) {
            let clocks = Rc::new(Cell::new(Reading { wall: ms(2_000_000_000_000), boot: ms(5_000_000) }));
            let pass = |time: Duration| {
                let Reading { wall, boot } = clocks.get();
                clocks.set(Reading { wall: wall + time, boot: boot + time });
            };
            let mut interval = 1000;
            let mut ticker = Ticker::new(Source::Scripted(Rc::clone(&clocks)), ms(interval), Duration::ZERO);
            let (mut last, mut set, mut is_set_back) = (None::<(Duration, u64)>, 0_u64, false);
            for event in events {
                let steps_before = ticker.steps();
                let mut is_step = false;
                match event {
                    Event::Wakes(late) => pass(ticker.due_at().saturating_sub(clocks.get().wall) + ms(late)),
                    Event::Passes(time) => pass(ms(time)),
                    Event::Steps(by) => {
                        let Reading { wall, boot } = clocks.get();
                        let by_magnitude = ms(by.unsigned_abs());
                        let wall = if by < 0 { wall.saturating_sub(by_magnitude) } else { wall + by_magnitude };
                        clocks.set(Reading { wall, boot });
                        (set, is_step, is_set_back) = (set + 1, by.abs() >= 500, is_set_back || by < 0);
                    }
                    Event::Interval(milliseconds) => {
                        interval = milliseconds;
                        ticker.set_interval(ms(interval));
                    }
                }
                let now = clocks.get().wall;
                let missed = ticker.missed();
                if let Some((tick, delay)) = ticker.serve() {
                    prop_assert!(tick.since_epoch.as_millis().is_multiple_of(interval.into()));
                    prop_assert!(tick.since_epoch <= now && delay < ms(interval), "the latest tick, {delay:?} late");
                    if let Some((before, steps)) = last {
                        prop_assert!(tick.since_epoch > before || ticker.steps() > steps, "{before:?} {tick:?}");
                    }
                    last = Some((tick.since_epoch, ticker.steps()));
                    is_set_back = false;
                    prop_assert!(ticker.serve().is_none(), "no burst");
                } else {
                    prop_assert_eq!(ticker.missed(), missed);
                }
                // After a step back the tick that was served is not served again.
                let longest = if is_set_back { 2 } else { 1 };
                prop_assert!(ticker.due_at() > now && ticker.due_at() <= now + ms(longest * interval));
                prop_assert!(ticker.steps() <= set, "time that passes is no step");
                prop_assert!(!is_step || ticker.steps() > steps_before, "a step is counted when the timer wakes the agent");
            }
        }
    }

    #[test]
    fn suspension_is_no_step() {
        let clocks = Rc::new(Cell::new(Reading { wall: ms(10_000_500), boot: ms(500) }));
        let mut ticker = Ticker::new(Source::Scripted(Rc::clone(&clocks)), ms(1000), Duration::ZERO);
        clocks.set(Reading { wall: ms(10_001_000), boot: ms(1000) });
        assert_eq!(ticker.serve().map(|(tick, _)| tick.since_epoch), Some(ms(10_001_000)));
        // An hour later: one sample of the present moment, and no more.
        clocks.set(Reading { wall: ms(13_601_200), boot: ms(3_601_200) });
        assert_eq!(ticker.serve().map(|(tick, delay)| (tick.since_epoch, delay)), Some((ms(13_601_000), ms(200))));
        assert_eq!((ticker.serve().is_none(), ticker.missed(), ticker.steps()), (true, 3599, 0));
        assert_eq!(ticker.due_at(), ms(13_602_000));
    }

    #[test]
    fn another_interval_misses_no_tick() {
        let clocks = Rc::new(Cell::new(Reading { wall: ms(10_000_500), boot: ms(500) }));
        let mut ticker = Ticker::new(Source::Scripted(Rc::clone(&clocks)), ms(10_000), Duration::ZERO);
        let mut serve = |interval: u64, changed_at: u64, at: u64| {
            clocks.set(Reading { wall: ms(changed_at), boot: ms(changed_at - 10_000_000) });
            ticker.set_interval(ms(interval));
            clocks.set(Reading { wall: ms(at), boot: ms(at - 10_000_000) });
            (ticker.serve().map(|(tick, _)| tick.since_epoch), ticker.missed())
        };
        assert_eq!(serve(10_000, 10_000_600, 10_010_000), (Some(ms(10_010_000)), 0));
        assert_eq!(
            serve(500, 10_018_700, 10_019_000),
            (Some(ms(10_019_000)), 0),
            "the halves since 10,010.0 s were no ticks"
        );
        assert_eq!(serve(200, 10_019_100, 10_019_650), (Some(ms(10_019_600)), 2), "those at .2 and .4 were");
        assert_eq!(serve(7000, 10_019_700, 10_024_000), (Some(ms(10_024_000)), 2));
    }

    #[test]
    fn steps_are_counted_in_both_directions() {
        let clocks = Rc::new(Cell::new(Reading { wall: ms(10_000_500), boot: ms(500) }));
        let mut ticker = Ticker::new(Source::Scripted(Rc::clone(&clocks)), ms(1000), Duration::ZERO);
        let mut serve = |wall: u64, boot: u64| {
            clocks.set(Reading { wall: ms(wall), boot: ms(boot) });
            (ticker.serve().map(|(tick, _)| tick.since_epoch), ticker.steps())
        };
        assert_eq!(serve(10_001_000, 1000), (Some(ms(10_001_000)), 0));
        assert_eq!(serve(10_061_300, 1300), (Some(ms(10_061_000)), 1), "a minute forward");
        assert_eq!(serve(10_001_600, 1600), (None, 2), "and back");
        assert_eq!(serve(10_002_000, 2000), (Some(ms(10_002_000)), 2), "the timestamp goes back");
        assert_eq!(serve(10_003_010, 3000), (Some(ms(10_003_000)), 2), "a correction in small parts is none");
    }
}
