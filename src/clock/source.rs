//! The clocks that ticks depend on: the wall clock, which says when they are due, and the clock that goes on during a suspension
//! and is never set, which shows when the wall clock was. Tests script both.

use std::time::Duration;

use super::schedule::wall_clock;

/// By how much the clocks have to drift apart between two ticks for a step: what time services correct in small parts is less.
const STEP: Duration = Duration::from_millis(500);

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The wall clock's time since the Unix epoch.
    pub(crate) wall: Duration,
    /// The time since the start of the system, suspensions included.
    pub(crate) boot: Duration,
}

/// Where the clocks are read.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The clocks of the system.
    System,
    #[cfg(test)]
    Scripted(std::rc::Rc<std::cell::Cell<Reading>>),
}

impl Source {
    /// Reads both clocks.
    pub(crate) fn read(&self) -> Reading {
        match self {
            Self::System => Reading { wall: wall_clock(), boot: boot_clock() },
            #[cfg(test)]
            Self::Scripted(reading) => reading.get(),
        }
    }
}

#[cfg(target_os = "linux")]
fn boot_clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// Elsewhere a suspension looks like a step.
#[cfg(not(target_os = "linux"))]
fn boot_clock() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

/// Finds out when the wall clock was set.
#[derive(Debug)]
pub(crate) struct StepDetector {
    last: Reading,
}

impl StepDetector {
    pub(crate) fn new(now: Reading) -> Self {
        Self { last: now }
    }

    /// Whether the wall clock was set since the reading before.
    pub(crate) fn observe(&mut self, now: Reading) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        let expected = before.wall.saturating_add(now.boot.saturating_sub(before.boot));
        expected.abs_diff(now.wall) >= STEP
    }
}
