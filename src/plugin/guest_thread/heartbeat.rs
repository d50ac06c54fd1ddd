//! The heartbeat of a guest thread: what it shows the tick thread, which never waits for it. Whether it works or sleeps, which
//! plugin it is in, and when it wants a round.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::clock::schedule::Tick;
use crate::plugin::tally::{Roster, Tally};

/// The heartbeat of one guest thread.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// The number of the plugin that the thread serves in the low half, 0 for none; the other half grows with everything that
    /// it begins. Only that thread writes it.
    turn: AtomicU64,
    /// Whether the thread sleeps until something happens.
    is_asleep: AtomicBool,
    /// Whether the next tick is to have a round although no plugin may be due.
    wants_round: AtomicBool,
    /// Behind a lock because both threads use it; it is held for an assignment.
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    /// The plugins by number, less one; none where a plugin was removed.
    plugins: Vec<Option<Arc<str>>>,
    /// The different intervals of the plugins that are called, in ticks.
    intervals: Vec<u64>,
    /// How many plugins are in each state; none until the directory was scanned.
    tally: Option<Tally>,
}

/// What the tick thread sees of the heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeartbeatReading {
    pub(crate) turn: u64,
    pub(crate) is_asleep: bool,
}

impl Heartbeat {
    /// Returns the number by which a plugin is shown until it is removed.
    pub(crate) fn register(&self, plugin: &Arc<str>) -> u32 {
        let mut shown = self.lock();
        let at = shown.plugins.iter().position(Option::is_none).unwrap_or_else(|| {
            shown.plugins.push(None);
            shown.plugins.len() - 1
        });
        shown.plugins[at] = Some(Arc::clone(plugin));
        u32::try_from(at + 1).unwrap_or(0)
    }

    /// Gives the number of a removed plugin free.
    pub(crate) fn remove(&self, plugin: u32) {
        let at = usize::try_from(plugin).ok().and_then(|number| number.checked_sub(1));
        let mut shown = self.lock();
        if let Some(shown) = at.and_then(|at| shown.plugins.get_mut(at)) {
            *shown = None;
        }
    }

    /// Shows that the thread serves a plugin from now on.
    pub(crate) fn enter(&self, plugin: u32) {
        let turns = self.turn.load(Ordering::Relaxed) >> u32::BITS;
        self.turn.store(turns.wrapping_add(1) << u32::BITS | u64::from(plugin), Ordering::Relaxed);
    }

    /// Shows that the thread serves no plugin.
    pub(crate) fn leave(&self) {
        self.enter(0);
    }

    /// Shows whether the thread sleeps.
    pub(crate) fn set_asleep(&self, is_asleep: bool) {
        self.leave();
        self.is_asleep.store(is_asleep, Ordering::Release);
    }

    /// Asks for a round at the next tick: a plugin was never called, or there is something for the next sample.
    pub(crate) fn want_round(&self) {
        self.wants_round.store(true, Ordering::Release);
    }

    /// Withdraws that, at the end of a round.
    pub(crate) fn end_round(&self) {
        self.wants_round.store(false, Ordering::Release);
    }

    /// Shows the intervals of the plugins that are called.
    pub(crate) fn set_intervals(&self, intervals: Vec<u64>) {
        self.lock().intervals = intervals;
    }

    /// Shows how many plugins are in each state.
    pub(crate) fn set_tally(&self, tally: Tally) {
        self.lock().tally = Some(tally);
    }

    /// How many plugins are in each state, if that is known at once.
    pub(crate) fn roster(&self) -> Option<Roster> {
        Some(self.shown.try_lock().ok()?.tally.map_or(Roster::Unscanned, Roster::Counted))
    }

    /// Whether a tick is to have a round. Yes when that is not known at once.
    pub(crate) fn is_round_due(&self, tick: Tick) -> bool {
        self.wants_round.load(Ordering::Acquire)
            || self.shown.try_lock().map_or(true, |shown| shown.intervals.iter().any(|&every| tick.is_due(every)))
    }

    pub(crate) fn reading(&self) -> HeartbeatReading {
        HeartbeatReading { turn: self.turn.load(Ordering::Relaxed), is_asleep: self.is_asleep.load(Ordering::Acquire) }
    }

    /// The plugin that the thread serves, if that is known at once.
    pub(crate) fn plugin(&self) -> Option<Arc<str>> {
        let number = usize::try_from(self.turn.load(Ordering::Relaxed) & u64::from(u32::MAX)).ok()?;
        self.shown.try_lock().ok()?.plugins.get(number.checked_sub(1)?).cloned().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A future that works for a plugin: the heartbeat shows that whenever it is polled.
pub(crate) struct Observed<F> {
    heartbeat: Arc<Heartbeat>,
    plugin: u32,
    future: F,
    /// How long the longest poll took.
    held: Duration,
}

impl<F: Future + Unpin> Observed<F> {
    pub(crate) fn new(heartbeat: &Arc<Heartbeat>, plugin: u32, future: F) -> Self {
        Self { heartbeat: Arc::clone(heartbeat), plugin, future, held: Duration::ZERO }
    }
}

/// The output of the future, and how long its longest poll took.
impl<F: Future + Unpin> Future for Observed<F> {
    type Output = (F::Output, Duration);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let observed = self.get_mut();
        let began = Instant::now();
        observed.heartbeat.enter(observed.plugin);
        let polled = Pin::new(&mut observed.future).poll(context);
        observed.heartbeat.leave();
        observed.held = observed.held.max(began.elapsed());
        polled.map(|output| (output, observed.held))
    }
}

/// How long a guest thread may go without a sign of life: longer than the longest instruction of a guest and the slowest
/// file of the kernel.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// How often the tick thread checks a silent guest thread. No more than twice this counts between two checks: when the process
/// was stopped or suspended, the guest thread was, too.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long a guest thread has gone without a sign of life. Pure: the caller passes the time.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    last: Option<(HeartbeatReading, Duration)>,
    /// How long the thread has been silent.
    silence: Duration,
}

impl Silence {
    /// Checks the thread, at a moment of a clock that never goes backwards.
    pub(crate) fn check(&mut self, reading: HeartbeatReading, now: Duration) {
        match self.last {
            Some((last, at)) if last == reading && !reading.is_asleep => {
                self.silence += now.saturating_sub(at).min(2 * CHECK_EVERY);
            }
            _ => self.silence = Duration::ZERO,
        }
        self.last = Some((reading, now));
    }

    /// Whether the thread was silent between the last two checks: then it has to be checked again soon.
    pub(crate) fn is_suspicious(&self) -> bool {
        !self.silence.is_zero()
    }

    /// Whether the thread is to be abandoned.
    pub(crate) fn is_over(&self) -> bool {
        self.silence >= LONGEST_SILENCE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tick(index: u64) -> Tick {
        Tick { index, previous: Some(index - 1), since_epoch: Duration::from_secs(index) }
    }

    #[test]
    fn round_is_due_with_plugin_or_on_request() {
        let heartbeat = Heartbeat::default();
        assert!(!heartbeat.is_round_due(tick(6)));
        heartbeat.want_round();
        assert!(heartbeat.is_round_due(tick(6)));
        heartbeat.end_round();
        heartbeat.set_intervals(vec![3]);
        assert!(heartbeat.is_round_due(tick(6)) && !heartbeat.is_round_due(tick(7)));
    }

    #[test]
    fn stopped_process_is_no_silence() {
        let (mut silence, reading) = (Silence::default(), HeartbeatReading { turn: 1, is_asleep: false });
        silence.check(reading, Duration::ZERO);
        silence.check(reading, Duration::from_secs(3600));
        assert!(silence.is_suspicious() && !silence.is_over());
    }

    #[test]
    fn sleeping_thread_is_not_silent() {
        let (mut silence, reading) = (Silence::default(), HeartbeatReading { turn: 1, is_asleep: true });
        for second in 0..1000 {
            silence.check(reading, Duration::from_secs(second));
            assert!(!silence.is_suspicious());
        }
    }

    proptest! {
        /// A thread is over exactly when it gave no sign of life for 30 s of the checks, of which each counts 2 s at most.
        #[test]
        fn silence_is_the_time_between_checks(
            checks in prop::collection::vec((0_u64..5000, prop::bool::weighted(0.05), prop::bool::weighted(0.05)), 1..200),
        ) {
            let (mut measured, mut now, mut turn, mut silence) = (Silence::default(), 0, 0, 0);
            let mut last = None;
            for (pause, has_turned, is_asleep) in checks {
                now += pause;
                turn += u64::from(has_turned);
                let reading = HeartbeatReading { turn, is_asleep };
                measured.check(reading, Duration::from_millis(now));
                silence = if last == Some(reading) && !is_asleep { silence + pause.min(2000) } else { 0 };
                last = Some(reading);
                prop_assert_eq!(measured.is_suspicious(), silence > 0);
                prop_assert_eq!(measured.is_over(), silence >= 30_000);
            }
        }
    }
}
