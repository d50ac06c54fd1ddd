//! The times of a plugin's modules. A module may be of an earlier moment than the tick, such as the time of a file, but never of an
//! earlier one than its last: receivers want the points of a series in order. That holds across instances, too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long before the tick a module may have been measured. Receivers take points of the last hour; an older file is no measurement
/// of this host's present.
const OLDEST: Duration = Duration::from_secs(60 * 60);

/// How many modules are remembered: more than a result may have by default. A plugin whose modules always have new names has no order
/// to keep.
const MAX_MODULES: usize = 1000;

/// Why a module cannot have a time: the end of a sentence that begins with the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeRefusal {
    Future,
    TooOld,
    Backwards,
}

impl TimeRefusal {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Future => "is after the tick",
            Self::TooOld => "is more than an hour before the tick",
            Self::Backwards => "is before that of the module's last result",
        }
    }
}

/// The time of the last result of each module.
#[derive(Debug, Default)]
pub(crate) struct ModuleTimes {
    /// Behind a lock because an old version may still be called while a new one is tried. It is held for a look-up.
    last: Mutex<HashMap<Box<str>, Duration>>,
}

impl ModuleTimes {
    /// The time of a module's result for a tick: its own, or the tick's where that is refused.
    pub(crate) fn time(&self, module: &str, own: Option<Duration>, tick: Duration) -> (Duration, Option<TimeRefusal>) {
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.get(module).copied();
        let refusal = own.and_then(|own| {
            let is_backwards = last.is_some_and(|last| own < last);
            match () {
                () if own > tick => Some(TimeRefusal::Future),
                () if tick.saturating_sub(own) > OLDEST => Some(TimeRefusal::TooOld),
                () => is_backwards.then_some(TimeRefusal::Backwards),
            }
        });
        let time = own.filter(|_| refusal.is_none()).unwrap_or(tick);
        if let Some(last) = all.get_mut(module) {
            *last = time;
        } else {
            if all.len() >= MAX_MODULES {
                all.clear();
            }
            all.insert(module.into(), time);
        }
        (time, refusal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn module_time_is_recent_and_in_order() {
        let times = ModuleTimes::default();
        let (tick, next) = (seconds(10_000), seconds(10_010));
        let oldest = tick.saturating_sub(OLDEST);
        let time = |own, tick| times.time("file", Some(seconds(own)), tick);
        assert_eq!(time(10_001, tick), (tick, Some(TimeRefusal::Future)));
        let other = |own| times.time("other", Some(own), tick);
        assert_eq!(other(oldest.saturating_sub(Duration::from_millis(1))), (tick, Some(TimeRefusal::TooOld)));
        assert_eq!(times.time("third", Some(oldest), tick), (oldest, None));
        assert_eq!(time(9_999, next), (next, Some(TimeRefusal::Backwards)), "the tick's time was used before");
        assert_eq!(time(10_010, seconds(10_020)), (next, None), "the same again");
        assert_eq!(times.time("file", None, seconds(10_030)), (seconds(10_030), None));
        assert_eq!(time(10_020, seconds(10_040)).1, Some(TimeRefusal::Backwards));
    }

    #[test]
    fn remembered_modules_are_bounded() {
        let times = ModuleTimes::default();
        for at in 0..10_000 {
            times.time(&at.to_string(), None, seconds(at));
            assert!(times.last.lock().expect("not poisoned").len() <= MAX_MODULES);
        }
    }

    proptest! {
        /// Times never fall as long as ticks do not.
        #[test]
        fn module_times_never_fall(owns in prop::collection::vec(prop::option::of(0_u64..20_000), 1..50)) {
            let (times, mut last) = (ModuleTimes::default(), Duration::ZERO);
            for (at, own) in owns.into_iter().enumerate() {
                let tick = seconds(5_000 + 100 * at as u64);
                let (time, refusal) = times.time("m", own.map(seconds), tick);
                prop_assert!(last <= time && time <= tick && tick.saturating_sub(time) <= OLDEST);
                prop_assert!(refusal.is_some() || own.is_none_or(|own| time == seconds(own)));
                last = time;
            }
        }
    }
}
