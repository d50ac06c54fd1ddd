//! The end of a call's usable time, for plugins whose work has no bound.

use super::poller::{USABLE_BUDGET, uptime_ms};
use crate::Tick;

/// The moment until which a call should be over, by `/proc/uptime`, which is open to every plugin and has a resolution of
/// 10 ms. Without it the moment never comes.
///
/// ```
/// use gauged_plugin::service::Deadline;
/// use gauged_plugin::{Tick, testing::Host};
///
/// let tick = Tick { unix_ms: 0, monotonic_ns: 0, budget_ms: 1000, interval_ms: 10_000 };
/// let mut host = Host::new();
/// host.file("/proc/uptime", "100.00 1.00\n");
/// let deadline = host.run(|| Deadline::new(tick));
/// host.file("/proc/uptime", "100.87 1.00\n");
/// assert!(!host.run(|| deadline.has_passed()));
/// host.file("/proc/uptime", "100.88 1.00\n");
/// assert!(host.run(|| deadline.has_passed()));
/// assert!(!Host::new().run(|| Deadline::new(tick).has_passed()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    end_ms: Option<u64>,
}

impl Deadline {
    /// The deadline of a call that begins now.
    #[must_use]
    pub fn new(tick: Tick) -> Self {
        let usable_ms = u64::from(tick.budget_ms) * USABLE_BUDGET.0 / USABLE_BUDGET.1;
        Self { end_ms: uptime_ms().map(|now_ms| now_ms.saturating_add(usable_ms)) }
    }

    /// Whether the usable time is over. Costs a read; ask now and then.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.end_ms.zip(uptime_ms()).is_some_and(|(end_ms, now_ms)| now_ms > end_ms)
    }
}
