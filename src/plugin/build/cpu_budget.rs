//! A budget of processor time in an hour, which slides on by the minute. Pure: the caller has the clock, and measures.

use std::collections::VecDeque;
use std::time::Duration;

/// The hour that the budget is for.
pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

/// In how many steps the hour slides on.
const STEPS: u32 = 60;

/// The share of the budget that has to be free again before it is used further. With less, a folder of files that take for ever
/// would end and begin the wait, each with a log line, whenever a minute leaves the hour.
const FREE_SHARE: u32 = 4;

/// The budget, and what was used of it.
#[derive(Debug)]
pub(crate) struct CpuBudget {
    /// The time for an hour; none if there is no limit.
    budget: Option<Duration>,
    /// The length of a step; tests have a shorter hour.
    step: Duration,
    /// The steps of the last hour in which anything was used: the number of each, and how much. The last is the latest.
    used: VecDeque<(u32, Duration)>,
    is_exhausted: bool,
}

/// A change of a budget, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BudgetChange {
    /// Nothing more may be used.
    Reached,
    /// Some of it is free again.
    Freed,
}

impl CpuBudget {
    /// A budget of which nothing was used, for an hour of this length.
    pub(crate) fn new(budget: Option<Duration>, hour: Duration) -> Self {
        Self { budget, step: hour / STEPS, used: VecDeque::new(), is_exhausted: false }
    }

    /// Changes the budget, and keeps what was used of it.
    pub(crate) fn set_budget(&mut self, budget: Option<Duration>) {
        self.budget = budget;
    }

    pub(crate) fn budget(&self) -> Option<Duration> {
        self.budget
    }

    /// Adds processor time, and slides the hour on. `now` is the time since a fixed moment, and never falls.
    pub(crate) fn update(&mut self, now: Duration, cpu: Duration) -> Option<BudgetChange> {
        let step = self.step_at(now);
        // What was used at the end of a step counts for an hour, too.
        while self.used.front().is_some_and(|&(old, _)| step - old.min(step) > STEPS) {
            self.used.pop_front();
        }
        if !cpu.is_zero() {
            match self.used.back_mut() {
                Some((last, used)) if *last == step => *used = used.saturating_add(cpu),
                _ => self.used.push_back((step, cpu)),
            }
        }
        let was_exhausted = self.is_exhausted;
        self.is_exhausted = self.end().is_some_and(|end| self.used() >= end);
        match (was_exhausted, self.is_exhausted) {
            (false, true) => Some(BudgetChange::Reached),
            (true, false) => Some(BudgetChange::Freed),
            _ => None,
        }
    }

    /// How much was used in the last hour, as of the last update.
    pub(crate) fn used(&self) -> Duration {
        self.used.iter().fold(Duration::ZERO, |sum, (_, used)| sum.saturating_add(*used))
    }

    /// How much may still be used; none if there is no limit.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.budget.map(|budget| budget.saturating_sub(self.used()))
    }

    /// When an exhausted budget is free again if nothing more is used; none if it is not exhausted.
    pub(crate) fn free_at(&self) -> Option<Duration> {
        let end = self.end().filter(|_| self.is_exhausted)?;
        let mut left = self.used();
        self.used.iter().find_map(|&(step, used)| {
            left = left.saturating_sub(used);
            (left < end).then(|| self.step * (step + STEPS + 1))
        })
    }

    /// How much ends the use, or the wait once it has ended.
    fn end(&self) -> Option<Duration> {
        self.budget.map(|budget| if self.is_exhausted { budget.saturating_sub(budget / FREE_SHARE) } else { budget })
    }

    fn step_at(&self, now: Duration) -> u32 {
        let step = now.as_nanos().checked_div(self.step.as_nanos()).unwrap_or_default();
        u32::try_from(step).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn budget(minutes: u32) -> CpuBudget {
        CpuBudget::new(Some(MINUTE * minutes), HOUR)
    }

    #[test]
    fn exhausted_budget_is_free_after_an_hour() {
        let mut budget = budget(20);
        let began = MINUTE * 5;
        assert_eq!(budget.update(began, MINUTE * 19), None);
        assert_eq!((budget.remaining(), budget.free_at()), (Some(MINUTE), None));
        // The last one may use more than there is.
        assert_eq!(budget.update(began + MINUTE, MINUTE * 10), Some(BudgetChange::Reached));
        assert_eq!((budget.remaining(), budget.used()), (Some(Duration::ZERO), MINUTE * 29));
        let free_at = budget.free_at().expect("exhausted");
        assert_eq!(free_at, began + HOUR + MINUTE);
        assert_eq!(budget.update(free_at.saturating_sub(Duration::from_nanos(1)), Duration::ZERO), None);
        assert_eq!(budget.update(free_at, Duration::ZERO), Some(BudgetChange::Freed));
        assert_eq!((budget.remaining(), budget.free_at()), (Some(MINUTE * 10), None));
    }

    #[test]
    fn little_free_time_does_not_end_the_wait() {
        let mut budget = budget(20);
        for minute in 0..20 {
            budget.update(MINUTE * minute, MINUTE);
        }
        assert!(budget.is_exhausted);
        // More than a quarter is free when six minutes have left the hour.
        assert_eq!(budget.free_at(), Some(HOUR + MINUTE * 6));
        assert_eq!(budget.update(HOUR + MINUTE * 5, Duration::ZERO), None);
        assert_eq!(budget.update(HOUR + MINUTE * 6, Duration::ZERO), Some(BudgetChange::Freed));
    }

    #[test]
    fn unlimited_budget_is_never_exhausted() {
        let mut budget = CpuBudget::new(None, HOUR);
        assert_eq!(budget.update(MINUTE, Duration::MAX), None);
        assert_eq!(budget.update(MINUTE, Duration::MAX), None);
        assert_eq!((budget.remaining(), budget.free_at()), (None, None));
    }

    proptest! {
        /// Beside a list of all that was used: what is at most an hour old counts, and nothing that is a minute older.
        #[test]
        fn used_time_counts_for_an_hour(
            minutes in 1_u32..60,
            steps in prop::collection::vec((0_u64..2_000, 0_u64..600), 1..60),
        ) {
            let mut budget = budget(minutes);
            let (mut now, mut all, mut was_exhausted) = (Duration::ZERO, Vec::new(), false);
            for (pause, cpu) in steps {
                now += Duration::from_secs(pause);
                let cpu = Duration::from_secs(cpu);
                all.push((now, cpu));
                let change = budget.update(now, cpu);
                let within = |age| all.iter().filter(|(at, _)| now <= *at + age).map(|(_, cpu)| *cpu).sum::<Duration>();
                prop_assert!(within(HOUR) <= budget.used() && budget.used() <= within(HOUR + MINUTE));
                prop_assert!(budget.used.len() <= STEPS as usize + 1, "it is bounded");

                let total = MINUTE * minutes;
                prop_assert_eq!(change.is_some(), was_exhausted != budget.is_exhausted);
                prop_assert!(budget.is_exhausted || budget.used() < total || was_exhausted);
                prop_assert!(!budget.is_exhausted || budget.used() >= total.saturating_sub(total / FREE_SHARE));
                was_exhausted = budget.is_exhausted;
                prop_assert_eq!(budget.free_at().is_some(), was_exhausted);
                if let Some(free_at) = budget.free_at() {
                    prop_assert!(free_at > now && free_at <= now + HOUR + MINUTE);
                }
            }
            if let Some(free_at) = budget.free_at() {
                prop_assert_eq!(budget.update(free_at, Duration::ZERO), Some(BudgetChange::Freed));
            }
        }
    }
}
