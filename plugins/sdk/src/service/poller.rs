//! Polling of several targets within the time budget of one call. Independent of the protocol.

use crate::kernel::Number as _;
use crate::{Error, Tick, files};

/// The usable fraction of a call's budget, numerator and denominator. The rest is for the plugin's own work.
pub(super) const USABLE_BUDGET: (u64, u64) = (7, 8);

/// Polls targets one after the other, each with a fair timeout.
///
/// - The timeout of a target is an equal share of the time that is left, so a target that hangs takes no time from others.
/// - The fastest targets of the last tick come first, so that their unused time goes to the slow ones.
///
/// The time left is measured by `/proc/uptime`, which is open to every plugin and has a resolution of 10 ms. Without it,
/// each target counts as having used its share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Poller {
    /// The duration of each target's poll at the last tick.
    durations_ms: Vec<u64>,
}

impl Poller {
    /// Calls `poll` with each target and its timeout in milliseconds. A missing grant and an invalid setting cost their target only:
    /// they are an error if no target could be polled. Otherwise the agent has reported the missing grant already, and
    /// [`Service`](super::Service) the setting.
    ///
    /// # Errors
    ///
    /// The first other error; it ends the polling.
    pub fn poll<T>(
        &mut self,
        tick: Tick,
        targets: &mut [T],
        poll: impl FnMut(&mut T, u32) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.poll_with_clock(uptime_ms, tick.budget_ms, targets, poll)
    }

    fn poll_with_clock<T>(
        &mut self,
        clock: impl Fn() -> Option<u64>,
        budget_ms: u32,
        targets: &mut [T],
        mut poll: impl FnMut(&mut T, u32) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.durations_ms.resize(targets.len(), 0);
        let mut pending: Vec<usize> = (0..targets.len()).collect();
        // A single target has the whole budget.
        let is_single = targets.len() == 1;
        let clock = || if is_single { None } else { clock() };
        let mut left_ms = u64::from(budget_ms) * USABLE_BUDGET.0 / USABLE_BUDGET.1;
        let (mut has_polled, mut rejected) = (false, None);
        let mut before = clock();
        while let Some(at) = self.next(&mut pending) {
            // A timeout of 0 could only fail.
            let share_ms = (left_ms / (pending.len() as u64 + 1)).max(1);
            match poll(&mut targets[at], u32::try_from(share_ms).unwrap_or(u32::MAX)) {
                Ok(()) => has_polled = true,
                Err(error @ (Error::Denied(_) | Error::InvalidConfig(_))) => rejected = rejected.or(Some(error)),
                Err(error) => return Err(error),
            }
            let now = clock();
            let took_ms = before.zip(now).map_or(share_ms, |(before, now)| now.saturating_sub(before));
            self.durations_ms[at] = took_ms;
            left_ms = left_ms.saturating_sub(took_ms);
            before = now;
        }
        match rejected {
            Some(rejected) if !has_polled => Err(rejected),
            _ => Ok(()),
        }
    }

    /// Removes the index of the target that was fastest at the last tick.
    fn next(&self, pending: &mut Vec<usize>) -> Option<usize> {
        let (first, _) = pending.iter().enumerate().min_by_key(|&(_, &at)| self.durations_ms.get(at))?;
        Some(pending.remove(first))
    }
}

/// Milliseconds since the host booted.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a host does not run for as long as that")]
pub(super) fn uptime_ms() -> Option<u64> {
    let text = files::read_text("/proc/uptime").ok()?;
    f64::parse(text.split(' ').next()?).map(|seconds| (seconds * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Need;
    use crate::testing::Host;

    /// A target that responds after some time, and the timeout of its last poll.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Target {
        responds_after_ms: u64,
        timeout_ms: u32,
        is_up: bool,
    }

    fn targets<const N: usize>(responds_after_ms: [u64; N]) -> [Target; N] {
        responds_after_ms.map(|responds_after_ms| Target { responds_after_ms, ..Target::default() })
    }

    /// A tick with a budget of 800 ms, 700 of them usable. Returns the order of the polls.
    fn tick(poller: &mut Poller, targets: &mut [Target]) -> Vec<u64> {
        let (now, mut order) = (Cell::new(12_345), Vec::new());
        let poll = |target: &mut Target, timeout_ms| {
            order.push(target.responds_after_ms);
            target.timeout_ms = timeout_ms;
            target.is_up = target.responds_after_ms <= u64::from(timeout_ms);
            now.set(now.get() + target.responds_after_ms.min(timeout_ms.into()));
            Ok(())
        };
        poller.poll_with_clock(|| Some(now.get()), 800, targets, poll).expect("nothing fails");
        assert!(now.get() <= 12_345 + 700);
        order
    }

    #[test]
    fn unused_time_goes_to_slow_targets() {
        let (mut poller, mut all) = (Poller::default(), targets([u64::MAX, 500, 10, 0]));
        tick(&mut poller, &mut all);
        assert_eq!(all.each_ref().map(|target| target.timeout_ms), [175, 175, 175, 340]);
        assert_eq!(all.each_ref().map(|target| target.is_up), [false, false, true, true]);
        for _ in 0..5 {
            assert_eq!(tick(&mut poller, &mut all), [0, 10, u64::MAX, 500]);
            assert_eq!(all.each_ref().map(|target| target.timeout_ms), [345, 345, 233, 175]);
        }
        // Once the first target responds, the second has enough time from then on.
        all[0].responds_after_ms = 20;
        for _ in 0..5 {
            tick(&mut poller, &mut all);
        }
        assert_eq!(all.each_ref().map(|target| target.is_up), [true; 4]);
    }

    #[test]
    fn targets_have_at_least_an_equal_share() {
        let (mut poller, mut all) = (Poller::default(), targets([u64::MAX; 7]));
        for _ in 0..3 {
            tick(&mut poller, &mut all);
            assert!(all.iter().all(|target| target.timeout_ms == 100), "{all:?}");
        }
    }

    #[test]
    fn shares_are_equal_without_a_clock() {
        let (mut poller, mut timeouts) = (Poller::default(), Vec::new());
        Host::new().run(|| {
            let tick = Tick { unix_ms: 0, monotonic_ns: 0, budget_ms: 1000, interval_ms: 10_000 };
            let poll = |(): &mut (), timeout_ms| {
                timeouts.push(timeout_ms);
                Ok(())
            };
            poller.poll(tick, &mut [(); 5], poll).expect("nothing fails");
        });
        assert_eq!(timeouts, [175; 5]);
    }

    #[test]
    fn all_targets_are_polled_after_the_budget() {
        let mut total_ms = 0;
        let poll = |(): &mut (), timeout_ms| {
            total_ms += timeout_ms;
            Ok(())
        };
        Poller::default().poll_with_clock(|| None, 8, &mut [(); 100], poll).expect("nothing fails");
        assert_eq!(total_ms, 100);
    }

    #[test]
    fn rejections_of_all_targets_are_an_error() {
        let denied = |name: &str| Error::Denied(Need::connect(name, "poll"));
        let invalid = |name: &str| Error::invalid(name, "is no address");
        // The results of the targets, and how many were polled.
        let poll_all = |mut results: Vec<Result<(), Error>>| {
            let mut polled = 0;
            let poll = |result: &mut Result<(), Error>, _| {
                polled += 1;
                result.clone()
            };
            (Poller::default().poll_with_clock(|| None, 8, &mut results, poll), polled)
        };
        for error in [denied("a"), invalid("a")] {
            assert_eq!(poll_all(vec![Err(error.clone()), Ok(())]), (Ok(()), 2));
            assert_eq!(poll_all(vec![Err(error.clone()), Err(denied("b"))]), (Err(error.clone()), 2));
            assert_eq!(poll_all(vec![Err(error.clone()), Err(invalid("b"))]), (Err(error), 2));
        }
        let failed = Error::Failed("no memory".to_owned());
        assert_eq!(poll_all(vec![Ok(()), Err(failed.clone()), Ok(())]), (Err(failed), 2), "nothing else is expected");
    }

    #[test]
    fn clock_reads_the_uptime_of_the_host() {
        let mut host = Host::new();
        host.file("/proc/uptime", "5312.75 9020.10\n");
        assert_eq!(host.run(uptime_ms), Some(5_312_750));
        host.file("/proc/uptime", "");
        assert_eq!(host.run(uptime_ms), None);
    }
}
