//! The time of operations on one thread, and whether it worked or waited for that long, or had no processor.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use crate::plugin::guest::call_time::processor_time;

/// The time of operations that follow one another: the clock is read once for each, since the end of one is the beginning of the
/// next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    now: Instant,
    /// The thread's usage at the start.
    usage: Option<ThreadUsage>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { now: Instant::now(), usage: ThreadUsage::read() }
    }

    /// When the clock was read last.
    pub(crate) fn now(self) -> Instant {
        self.now
    }

    /// Restarts, after other work.
    pub(crate) fn restart(&mut self) -> Instant {
        *self = Self::start();
        self.now
    }

    /// Reads the clock, at the end of an operation.
    pub(crate) fn lap(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// Whether the thread has worked for longer than this, or has waited for something else than a processor, since the start or
    /// since this was asked last. True where the system does not say.
    pub(crate) fn has_worked_or_waited(&mut self, long: Duration) -> bool {
        let before = std::mem::replace(&mut self.usage, ThreadUsage::read());
        before.zip(self.usage).is_none_or(|(before, now)| now.is_held_up_since(before, long))
    }
}

/// The usage of a thread so far.
#[derive(Debug, Clone, Copy)]
struct ThreadUsage {
    processor: Duration,
    /// How many times it has given up the processor in order to wait.
    waits: i64,
}

impl ThreadUsage {
    /// That of this thread.
    #[cfg(target_os = "linux")]
    #[allow(clippy::useless_conversion, reason = "the kernel's numbers are shorter on other processors")]
    fn read() -> Option<Self> {
        #[expect(unsafe_code, reason = "a record of numbers, of which all bits may be zero")]
        // SAFETY: `rusage` has integers only.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        #[expect(unsafe_code, reason = "no other crate of the tree has this call for a thread")]
        // SAFETY: the kernel writes one `rusage`.
        let state = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        (state == 0).then(|| Self { processor: processor_time(), waits: usage.ru_nvcsw.into() })
    }

    #[cfg(not(target_os = "linux"))]
    fn read() -> Option<Self> {
        None
    }

    /// Whether there is more work than this, or a wait. A processor that a hypervisor takes away counts as work on a host that does
    /// not know of it.
    fn is_held_up_since(self, before: Self, long: Duration) -> bool {
        self.waits != before.waits || self.processor.saturating_sub(before.processor) > long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(5);

    #[test]
    fn lost_time_is_neither_work_nor_a_wait() {
        let usage = |processor_ms, waits| ThreadUsage { processor: Duration::from_millis(processor_ms), waits };
        let before = usage(10, 3);
        for (now, is_held_up) in
            [(usage(10, 3), false), (usage(15, 3), false), (usage(16, 3), true), (usage(10, 4), true)]
        {
            assert_eq!(now.is_held_up_since(before, LONG), is_held_up, "{now:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn thread_usage_includes_work_and_waits() {
        let read = || ThreadUsage::read().expect("Linux has it");
        let start = read();
        // Mostly the first one has not ended yet.
        while read().waits == start.waits {
            std::thread::spawn(|| {}).join().expect("it ends");
        }
        while read().processor <= start.processor + LONG {}
        assert!(read().is_held_up_since(start, LONG));
    }
}
