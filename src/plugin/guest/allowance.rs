//! The time that one call may take, and how it ended when it took more: by the guest's fault, or for want of a processor. Pure:
//! the caller reads the clocks.

use std::time::{Duration, Instant};

/// The longest that a call may last, as a multiple of its timeout. A guest that has had less than a tenth of a processor all
/// that time would measure a moment long past, and its plugin has skipped its other ticks for it.
const CAP: u32 = 10;

/// The part of a call's time that is left to the guest when a capability runs out of time: a tenth.
const MARGIN: u32 = 10;

/// The part of a processor with which a thread is short of none: a half. On a host that is merely busy, the timeout is the
/// operator's to the millisecond, and at most half of it was lost.
const SUFFICIENT: u32 = 2;

/// The time of one call. Its limit is the timeout and the time that was lost: that in which the guest could have run, and its
/// thread had no processor. Other guests of the thread do not make it lose any, and neither does waiting for the host.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    began: Instant,
    timeout: Duration,
    /// The reading of the thread's processor time from which it counts: at the first yield, plus what the thread has used while
    /// the guest waited. None before that: what a call uses until then is less than the time between two yields.
    processor_base: Option<Duration>,
    /// How long the guest waited for host functions.
    waited: Duration,
    /// The lost time that was added to the limit.
    lost: Duration,
}

/// Whether a call may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Continues,
    /// The guest has used its time.
    TimedOut,
    /// The call has reached the cap without the processor time that it may use.
    Starved {
        /// How long it has lasted.
        lasted: Duration,
        /// How much of that its thread had no processor.
        lost: Duration,
    },
}

impl Allowance {
    /// The time of a call that begins.
    pub(crate) fn new(timeout: Duration, now: Instant) -> Self {
        Self { began: now, timeout, processor_base: None, waited: Duration::ZERO, lost: Duration::ZERO }
    }

    /// When the call ends, as far as is known.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + (self.timeout + self.lost).min(self.timeout * CAP)
    }

    /// When capabilities stop waiting, so that the guest can still return the error.
    pub(crate) fn patience(&self) -> Instant {
        self.began + (self.timeout / MARGIN * (MARGIN - 1) + self.lost).min(self.timeout * CAP)
    }

    /// Records that the guest yields, and decides whether it may go on. `processor` reads the processor time of its thread.
    pub(crate) fn record_yield(&mut self, now: Instant, processor: impl FnOnce() -> Duration) -> Verdict {
        if self.processor_base.is_some() && now < self.deadline() {
            return Verdict::Continues;
        }
        let processor = processor();
        self.processor_base.get_or_insert(processor);
        if now < self.deadline() { Verdict::Continues } else { self.decide(now, processor) }
    }

    /// The end of capabilities' waiting for an operation that begins. Time that was lost until now does not shorten it.
    pub(crate) fn patience_from(&mut self, now: Instant, processor: impl FnOnce() -> Duration) -> Instant {
        if now >= self.patience() {
            self.decide(now, processor());
        }
        self.patience()
    }

    /// Records that the guest waited for a host function, and how much processor time its thread has used meanwhile, where
    /// that is counted. Host functions stop waiting in time: a wait that was longer than that was not theirs, and is lost.
    pub(crate) fn record_wait(&mut self, start: Instant, end: Instant, processor: Duration) {
        self.waited += end.min(self.patience()).saturating_duration_since(start);
        if let Some(base) = &mut self.processor_base {
            *base += processor;
        }
    }

    /// Whether the thread's processor time counts already.
    pub(crate) fn counts_processor(&self) -> bool {
        self.processor_base.is_some()
    }

    /// Adds the time that was lost to the limit, unless the thread had enough of a processor, and decides with that.
    fn decide(&mut self, now: Instant, processor: Duration) -> Verdict {
        let lasted = now.saturating_duration_since(self.began);
        let runnable = lasted.saturating_sub(self.waited);
        let used = self.processor_base.map_or(Duration::ZERO, |base| processor.saturating_sub(base));
        if used * SUFFICIENT < runnable {
            self.lost = self.lost.max(runnable.saturating_sub(used));
        }
        if now < self.deadline() {
            Verdict::Continues
        } else if self.timeout + self.lost > lasted {
            Verdict::Starved { lasted, lost: self.lost }
        } else {
            Verdict::TimedOut
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    /// The time between two yields.
    const STEP: Duration = Duration::from_millis(1);

    /// A simulated thread: its clocks, and a guest's call.
    struct Simulation {
        now: Instant,
        processor: Duration,
        call: Allowance,
    }

    impl Simulation {
        fn new() -> Self {
            let now = Instant::now();
            Self { now, processor: Duration::from_secs(7), call: Allowance::new(TIMEOUT, now) }
        }

        /// Time passes, of which the thread has the processor for a part.
        fn pass(&mut self, time: Duration, processor: Duration) {
            self.now += time;
            self.processor += processor;
        }

        fn yields(&mut self) -> Verdict {
            let processor = self.processor;
            self.call.record_yield(self.now, || processor)
        }

        /// The guest waits for a host function.
        fn wait(&mut self, time: Duration, processor: Duration) {
            let start = self.now;
            self.pass(time, processor);
            self.call.record_wait(start, self.now, processor);
        }

        /// The guest runs on a thread that has this percentage of a processor, until it has used this much of it or is ended.
        fn run(&mut self, work: Duration, percent: u32) -> Verdict {
            let end = self.processor + work;
            loop {
                self.pass(STEP, STEP * percent / 100);
                let verdict = self.yields();
                if verdict != Verdict::Continues || self.processor >= end {
                    return verdict;
                }
            }
        }

        fn lasted(&self) -> Duration {
            self.now.duration_since(self.call.began)
        }
    }

    #[test]
    fn endless_loop_is_ended_at_its_timeout() {
        let mut guest = Simulation::new();
        assert_eq!(guest.run(Duration::MAX / 4, 100), Verdict::TimedOut);
        assert_eq!(guest.lasted(), TIMEOUT);
    }

    #[test]
    fn half_a_processor_is_no_shortage() {
        let mut guest = Simulation::new();
        // The first yield comes after a step, which counts as lost.
        assert_eq!(guest.run(Duration::MAX / 4, 51), Verdict::TimedOut);
        assert_eq!(guest.lasted(), TIMEOUT);
    }

    #[test]
    fn stopped_thread_gets_its_time_back() {
        let mut guest = Simulation::new();
        assert_eq!(guest.run(TIMEOUT / 10, 100), Verdict::Continues);
        guest.pass(2 * TIMEOUT, Duration::ZERO);
        assert_eq!(guest.yields(), Verdict::Continues);
        assert_eq!(guest.run(TIMEOUT / 5, 100), Verdict::Continues);
        // And no more than that.
        assert_eq!(guest.run(Duration::MAX / 4, 100), Verdict::TimedOut);
        assert!(guest.lasted() <= 3 * TIMEOUT + 2 * STEP, "{:?}", guest.lasted());
    }

    #[test]
    fn stop_before_the_first_yield_is_lost() {
        let mut guest = Simulation::new();
        guest.pass(2 * TIMEOUT, STEP);
        assert_eq!(guest.yields(), Verdict::Continues);
        assert_eq!(guest.run(TIMEOUT / 2, 100), Verdict::Continues);
    }

    #[test]
    fn starved_call_ends_at_the_cap() {
        let mut guest = Simulation::new();
        let Verdict::Starved { lasted, lost } = guest.run(Duration::MAX / 4, 5) else { panic!("{:?}", guest.call) };
        assert_eq!(lasted, CAP * TIMEOUT);
        assert!(lost > lasted * 9 / 10, "{lost:?}");
    }

    #[test]
    fn waiting_for_a_host_function_is_not_lost() {
        let mut guest = Simulation::new();
        assert_eq!(guest.run(STEP, 100), Verdict::Continues);
        guest.wait(Duration::from_millis(898), Duration::ZERO);
        assert_eq!(guest.run(Duration::MAX / 4, 100), Verdict::TimedOut);
        assert!(guest.lasted() <= TIMEOUT + STEP, "{:?}", guest.lasted());
    }

    #[test]
    fn stop_during_a_wait_leaves_the_margin() {
        let mut guest = Simulation::new();
        guest.run(STEP, 100);
        guest.wait(3 * TIMEOUT, Duration::ZERO);
        assert_eq!(guest.run(Duration::from_millis(97), 100), Verdict::Continues);
        assert_eq!(guest.run(Duration::MAX / 4, 100), Verdict::TimedOut);
    }

    #[test]
    fn processor_time_during_a_wait_does_not_count() {
        let mut guest = Simulation::new();
        guest.run(STEP, 100);
        // Others use the thread while the guest waits; then the thread is stopped.
        guest.wait(TIMEOUT / 2, TIMEOUT / 2);
        guest.pass(TIMEOUT, Duration::ZERO);
        assert_eq!(guest.yields(), Verdict::Continues);
        assert_eq!(guest.run(TIMEOUT / 4, 100), Verdict::Continues);
    }

    #[test]
    fn patience_moves_with_lost_time() {
        let mut guest = Simulation::new();
        guest.run(STEP, 100);
        let before = guest.call.patience();
        assert_eq!(before, guest.call.began + TIMEOUT * 9 / 10);
        guest.pass(2 * TIMEOUT, Duration::ZERO);
        let processor = guest.processor;
        let after = guest.call.patience_from(guest.now, || processor);
        assert!(after >= before + 2 * TIMEOUT && after < guest.call.deadline());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Run { wall: u64, percent: u32 },
        Wait { wall: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let run = (1_u64..400, 0_u32..=100).prop_map(|(wall, percent)| Step::Run { wall, percent });
        let wait = (1_u64..400).prop_map(|wall| Step::Wait { wall });
        proptest::collection::vec(prop_oneof![3 => run, 1 => wait], 1..200)
    }

    proptest! {
        /// No call ends before its timeout. One that is ended as timed out has used it, waiting or running, or its thread had
        /// enough of a processor; one that starved has not. None goes on beyond the cap.
        #[test]
        fn verdicts_match_the_time_used(steps in steps()) {
            let mut guest = Simulation::new();
            let (mut used, mut runnable, mut waited) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
            for step in steps {
                match step {
                    Step::Wait { wall } => {
                        let wall = Duration::from_millis(wall);
                        guest.wait(wall, wall / 2);
                        waited += wall;
                    }
                    Step::Run { wall, percent } => {
                        let wall = Duration::from_millis(wall);
                        let processor = wall * percent / 100;
                        guest.pass(wall, processor);
                        // Until the first yield it does not count.
                        used += if guest.call.counts_processor() { processor } else { Duration::ZERO };
                        runnable += wall;
                        match guest.yields() {
                            Verdict::Continues => prop_assert!(guest.lasted() < CAP * TIMEOUT),
                            Verdict::TimedOut => {
                                prop_assert!(guest.lasted() >= TIMEOUT);
                                prop_assert!(used * SUFFICIENT >= runnable || used + waited >= TIMEOUT);
                                return Ok(());
                            }
                            Verdict::Starved { .. } => {
                                prop_assert!(guest.lasted() >= CAP * TIMEOUT && used < TIMEOUT);
                                return Ok(());
                            }
                        }
                    }
                }
            }
        }
    }
}
