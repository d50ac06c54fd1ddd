//! What follows when a guest thread hangs: another one takes over, and the plugin that it hung in has to wait. Pure: the caller
//! passes the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an abandonment counts.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// How many abandonments disable a plugin.
const PER_PLUGIN: usize = 2;

/// After how many abandonments no further thread is started: each keeps a thread and the memory of all plugins.
const IN_TOTAL: usize = 3;

/// The first pause of a plugin that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The guest threads that were abandoned within the last hour.
#[derive(Debug, Default)]
pub(crate) struct Abandonments {
    recent: Vec<Abandonment>,
}

#[derive(Debug)]
struct Abandonment {
    /// The plugin that the thread hung in, if that is known.
    plugin: Option<Arc<str>>,
    at: Instant,
}

/// How a plugin is kept from the next guest thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspension {
    /// It is loaded from this moment on.
    Until(Instant),
    /// It is not loaded until its file changes.
    Disabled,
}

impl Abandonments {
    /// Records that a thread was abandoned.
    pub(crate) fn record(&mut self, plugin: Option<Arc<str>>, now: Instant) {
        self.recent.retain(|earlier| now.saturating_duration_since(earlier.at) < WINDOW);
        self.recent.push(Abandonment { plugin, at: now });
    }

    /// Whether there were so many that no further thread is to be started. At the time of the last one: it stays so until the agent
    /// starts again.
    pub(crate) fn is_final(&self) -> bool {
        self.recent.len() >= IN_TOTAL
    }

    /// The plugins that the threads hung in, each once.
    pub(crate) fn plugins(&self) -> Vec<&str> {
        let mut plugins: Vec<&str> = self.recent.iter().filter_map(|one| one.plugin.as_deref()).collect();
        plugins.sort_unstable();
        plugins.dedup();
        plugins
    }

    /// The plugins that the next guest thread keeps back.
    pub(crate) fn suspensions(&self) -> BTreeMap<Arc<str>, Suspension> {
        let mut suspensions = BTreeMap::new();
        for Abandonment { plugin, at } in &self.recent {
            let Some(plugin) = plugin else { continue };
            let count = self.recent.iter().filter(|other| other.plugin.as_ref() == Some(plugin)).count();
            let suspension = if count >= PER_PLUGIN { Suspension::Disabled } else { Suspension::Until(*at + PAUSE) };
            suspensions.insert(Arc::clone(plugin), suspension);
        }
        suspensions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(abandonments: &mut Abandonments, plugin: &str, at: Instant) {
        abandonments.record(Some(plugin.into()), at);
    }

    #[test]
    fn plugin_is_disabled_at_its_second_abandonment() {
        let (mut abandonments, now) = (Abandonments::default(), Instant::now());
        record(&mut abandonments, "a", now);
        assert_eq!(abandonments.suspensions(), [("a".into(), Suspension::Until(now + PAUSE))].into());
        let later = now + WINDOW * 9 / 10;
        record(&mut abandonments, "a", later);
        assert_eq!(abandonments.suspensions(), [("a".into(), Suspension::Disabled)].into());
        assert!(!abandonments.is_final());
    }

    #[test]
    fn third_abandonment_in_an_hour_is_final() {
        let (mut abandonments, now) = (Abandonments::default(), Instant::now());
        record(&mut abandonments, "b", now);
        abandonments.record(None, now + WINDOW / 2);
        assert!(!abandonments.is_final());
        record(&mut abandonments, "a", now + WINDOW * 9 / 10);
        assert!(abandonments.is_final());
        assert_eq!(abandonments.plugins(), ["a", "b"]);
    }

    #[test]
    fn abandonments_are_forgotten_after_an_hour() {
        let (mut abandonments, now) = (Abandonments::default(), Instant::now());
        record(&mut abandonments, "a", now);
        record(&mut abandonments, "a", now + WINDOW);
        record(&mut abandonments, "b", now + WINDOW);
        let pause = Suspension::Until(now + WINDOW + PAUSE);
        assert_eq!(abandonments.suspensions(), [("a".into(), pause), ("b".into(), pause)].into());
        assert!(!abandonments.is_final());
    }
}
