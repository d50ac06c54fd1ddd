//! The time of a call, shared by all whom it asks one after the other. Knows nothing of what they are asked.

use crate::kernel::Number as _;
use crate::{Error, Tick, files};

/// What may be spent of a call's time: as much as the host lets the plugin wait, less a little for what lies between.
const SPENT_OF_BUDGET: (u64, u64) = (7, 8);

/// Who is asked when and for how long, where several are asked one after the other and any may not answer.
///
/// Each has an equal share of the time that is left when its turn comes, so that none takes another's; and those that
/// were quickest at the last tick come first, so that what they leave goes to the slow ones.
///
/// How much time is left is read from `/proc/uptime`, which is open to every plugin and is right to 10 ms. Where there is
/// none, each is taken to have used its share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    /// How long each took at the last tick.
    took_ms: Vec<u64>,
}

impl Turns {
    /// Asks each, with how many milliseconds it may take. A missing grant is an error only when nobody could be asked;
    /// otherwise the others are measured, and the agent has told of what is missing.
    ///
    /// # Errors
    ///
    /// The first other error ends it.
    pub fn take<T>(
        &mut self,
        tick: Tick,
        asked: &mut [T],
        ask: impl FnMut(&mut T, u32) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.take_by(clock, tick.budget_ms, asked, ask)
    }

    fn take_by<T>(
        &mut self,
        clock: impl Fn() -> Option<u64>,
        budget_ms: u32,
        asked: &mut [T],
        mut ask: impl FnMut(&mut T, u32) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.took_ms.resize(asked.len(), 0);
        let mut waiting: Vec<usize> = (0..asked.len()).collect();
        // One alone has all the time there is.
        let is_alone = asked.len() == 1;
        let clock = || if is_alone { None } else { clock() };
        let mut left_ms = u64::from(budget_ms) * SPENT_OF_BUDGET.0 / SPENT_OF_BUDGET.1;
        let (mut has_asked, mut denied) = (false, None);
        let mut before = clock();
        while let Some(at) = self.next(&mut waiting) {
            // Nobody is asked for no time at all: that could only fail.
            let share_ms = (left_ms / (waiting.len() as u64 + 1)).max(1);
            match ask(&mut asked[at], u32::try_from(share_ms).unwrap_or(u32::MAX)) {
                Ok(()) => has_asked = true,
                Err(error @ Error::Denied(_)) => denied = denied.or(Some(error)),
                Err(error) => return Err(error),
            }
            let now = clock();
            let took_ms = before.zip(now).map_or(share_ms, |(before, now)| now.saturating_sub(before));
            self.took_ms[at] = took_ms;
            left_ms = left_ms.saturating_sub(took_ms);
            before = now;
        }
        match denied {
            Some(denied) if !has_asked => Err(denied),
            _ => Ok(()),
        }
    }

    /// Takes out who was quickest at the last tick, the first of several.
    fn next(&self, waiting: &mut Vec<usize>) -> Option<usize> {
        let (first, _) = waiting.iter().enumerate().min_by_key(|&(_, &at)| self.took_ms.get(at))?;
        Some(waiting.remove(first))
    }
}

/// Milliseconds since the host was started.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a host does not run for as long as that")]
fn clock() -> Option<u64> {
    let text = files::read_text("/proc/uptime").ok()?;
    f64::parse(text.split(' ').next()?).map(|seconds| (seconds * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Need;
    use crate::testing::Host;

    /// One who would answer after so long, and how long it was given.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Asked {
        needs_ms: u64,
        given_ms: u32,
        is_up: bool,
    }

    fn asked<const N: usize>(needs_ms: [u64; N]) -> [Asked; N] {
        needs_ms.map(|needs_ms| Asked { needs_ms, ..Asked::default() })
    }

    /// A tick of a call that has 800 ms, 700 of which may be spent. Answers the order in which they were asked.
    fn tick(turns: &mut Turns, all: &mut [Asked]) -> Vec<u64> {
        let (now, mut order) = (Cell::new(12_345), Vec::new());
        let ask = |one: &mut Asked, given_ms| {
            order.push(one.needs_ms);
            one.given_ms = given_ms;
            one.is_up = one.needs_ms <= u64::from(given_ms);
            now.set(now.get() + one.needs_ms.min(given_ms.into()));
            Ok(())
        };
        turns.take_by(|| Some(now.get()), 800, all, ask).expect("nothing fails");
        assert!(now.get() <= 12_345 + 700);
        order
    }

    #[test]
    fn what_quick_ones_leave_goes_to_slow_ones() {
        let (mut turns, mut all) = (Turns::default(), asked([u64::MAX, 500, 10, 0]));
        tick(&mut turns, &mut all);
        assert_eq!(all.each_ref().map(|one| one.given_ms), [175, 175, 175, 340]);
        assert_eq!(all.each_ref().map(|one| one.is_up), [false, false, true, true]);
        for _ in 0..5 {
            assert_eq!(tick(&mut turns, &mut all), [0, 10, u64::MAX, 500]);
            assert_eq!(all.each_ref().map(|one| one.given_ms), [345, 345, 233, 175]);
        }
        // As soon as the one is well, there is time for the other, and it stays so.
        all[0].needs_ms = 20;
        for _ in 0..5 {
            tick(&mut turns, &mut all);
        }
        assert_eq!(all.each_ref().map(|one| one.is_up), [true; 4]);
    }

    #[test]
    fn each_has_at_least_an_equal_share() {
        let (mut turns, mut all) = (Turns::default(), asked([u64::MAX; 7]));
        for _ in 0..3 {
            tick(&mut turns, &mut all);
            assert!(all.iter().all(|one| one.given_ms == 100), "{all:?}");
        }
    }

    #[test]
    fn without_a_clock_the_shares_are_equal() {
        let (mut turns, mut given) = (Turns::default(), Vec::new());
        Host::new().run(|| {
            let tick = Tick { unix_ms: 0, monotonic_ns: 0, budget_ms: 1000 };
            let ask = |(): &mut (), given_ms| {
                given.push(given_ms);
                Ok(())
            };
            turns.take(tick, &mut [(); 5], ask).expect("nothing fails");
        });
        assert_eq!(given, [175; 5]);
    }

    #[test]
    fn more_than_there_is_time_for_are_all_asked() {
        let mut given = 0;
        let ask = |(): &mut (), given_ms| {
            given += given_ms;
            Ok(())
        };
        Turns::default().take_by(|| None, 8, &mut [(); 100], ask).expect("nothing fails");
        assert_eq!(given, 100);
    }

    #[test]
    fn a_missing_grant_is_an_error_when_nobody_could_be_asked() {
        let denied = |name: &str| Err(Error::Denied(Need::connect(name, "ask")));
        let take = |ask: fn(&mut &str) -> Result<(), Error>| {
            Turns::default().take_by(|| None, 8, &mut ["a", "b"], |name: &mut &str, _| ask(name))
        };
        assert_eq!(take(|_| Ok(())), Ok(()));
        assert_eq!(take(|name| if *name == "a" { Err(Error::Denied(Need::connect("a", ""))) } else { Ok(()) }), Ok(()));
        assert_eq!(take(|name| Err(Error::Denied(Need::connect(*name, "ask")))), denied("a"));
        assert_eq!(take(|_| Err(Error::invalid("x", "y"))), Err(Error::invalid("x", "y")));
    }

    #[test]
    fn the_clock_is_the_hosts() {
        let mut host = Host::new();
        host.file("/proc/uptime", "5312.75 9020.10\n");
        assert_eq!(host.run(clock), Some(5_312_750));
        host.file("/proc/uptime", "");
        assert_eq!(host.run(clock), None);
    }
}
