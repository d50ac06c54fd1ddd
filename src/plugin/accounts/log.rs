//! The allowance of log lines of one plugin: it cannot flood the log, not even by restarts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The part of a minute's lines that may come at once.
const BURST: f64 = 1.0 / 3.0;

/// The allowance of log lines of one plugin.
pub(crate) struct PluginLog {
    plugin: Arc<str>,
    /// Behind a lock because an old and a new version may run at the same time.
    allowance: Mutex<Allowance>,
}

impl PluginLog {
    pub(crate) fn new(plugin: Arc<str>, lines_per_minute: u64) -> Self {
        Self { plugin, allowance: Mutex::new(Allowance::new(lines_per_minute, Instant::now())) }
    }

    /// How many messages were dropped so far.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.lock().dropped_total
    }

    /// Changes how many lines there may be in a minute.
    pub(crate) fn set_limit(&self, lines_per_minute: u64) {
        self.lock().per_minute = lines_per_minute as f64;
    }

    /// Takes one line of the allowance. Returns whether there was one.
    pub(crate) fn take(&self) -> bool {
        let taken = self.lock().take(Instant::now());
        self.report_dropped(taken)
    }

    /// Takes one line for a message that comes again if there is none, so that it is not dropped. Returns whether there was one.
    pub(crate) fn try_take(&self) -> bool {
        let taken = self.lock().try_take(Instant::now());
        self.report_dropped(taken)
    }

    /// Reports the messages that were dropped before a line, if one was taken. Returns whether.
    fn report_dropped(&self, taken: Option<u64>) -> bool {
        let Some(count) = taken else { return false };
        if count > 0 {
            let (plugin, remedy) = (&*self.plugin, "raise limits.log_lines, or fix the plugin");
            tracing::warn!(plugin, count, remedy, "plugin messages dropped");
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token bucket of lines.
struct Allowance {
    per_minute: f64,
    lines: f64,
    updated_at: Instant,
    /// Messages dropped since the last line.
    dropped: u64,
    dropped_total: u64,
}

impl Allowance {
    fn new(lines_per_minute: u64, now: Instant) -> Self {
        let per_minute = lines_per_minute as f64;
        Self { per_minute, lines: Self::burst(per_minute), updated_at: now, dropped: 0, dropped_total: 0 }
    }

    fn burst(per_minute: f64) -> f64 {
        (per_minute * BURST).max(1.0)
    }

    /// Takes one line. Returns how many messages were dropped before it; none when this one is dropped, too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let taken = self.try_take(now);
        if taken.is_none() {
            self.dropped += 1;
            self.dropped_total += 1;
        }
        taken
    }

    /// Takes one line, as [`take`](Self::take). Without one, nothing is dropped.
    fn try_take(&mut self, now: Instant) -> Option<u64> {
        let gained = now.saturating_duration_since(self.updated_at).as_secs_f64() / 60.0 * self.per_minute;
        self.lines = (self.lines + gained).min(Self::burst(self.per_minute));
        self.updated_at = now;
        if self.lines < 1.0 {
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_allowance_runs_out_and_recovers() {
        let start = Instant::now();
        let mut allowance = Allowance::new(60, start);
        let taken = (0..30).filter(|_| allowance.take(start).is_some()).count();
        assert_eq!((taken, allowance.dropped_total), (20, 10));
        assert_eq!(allowance.take(start + Duration::from_millis(1500)), Some(10));
        assert_eq!(allowance.take(start + Duration::from_millis(1500)), None);
        assert_eq!(allowance.take(start + Duration::from_secs(10)), Some(1));
        let mut allowance = Allowance::new(60, start);
        let taken = (0..30).filter(|_| allowance.try_take(start).is_some()).count();
        assert_eq!((taken, allowance.dropped_total), (20, 0), "they come again");
    }
}
