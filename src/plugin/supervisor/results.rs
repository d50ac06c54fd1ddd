//! The results of one plugin: those that go with the next sample, and the latest one.

use std::sync::Arc;
use std::time::Duration;

use crate::sample::{Module, Sample, Text};

/// How many of a plugin's steps without a result remove its latest one.
const KEPT_STEPS: u32 = 2;

/// The results of one plugin. A result's age is the number of the version that measured it, and then its arrival: a version is
/// called again only when its last call has returned.
#[derive(Debug, Default)]
pub(in super::super) struct Results {
    /// The newest result that no sample has yet.
    newest: Option<Vec<Arc<Module>>>,
    /// The one before, which arrived late. It goes with the same sample.
    superseded: Option<Vec<Arc<Module>>>,
    /// The version that measured the newest result of all.
    generation: u64,
    /// Whether that result is the outcome of the last call: no failure came after it.
    is_current: bool,
    /// The modules of the newest result that a sample has had; none after a failure.
    latest: Vec<Arc<Module>>,
    /// The modules of the newest result. Plugins that sort later may not have them, even at ticks without a result.
    reserved: Vec<Text>,
    has_reserved_changed: bool,
}

impl Results {
    /// Stores a result of a version. Returns how many metrics of an older one are dropped for it.
    pub(super) fn store(&mut self, modules: Vec<Arc<Module>>, generation: u64) -> u64 {
        let dropped = if generation < self.generation {
            self.superseded.replace(modules)
        } else {
            self.generation = generation;
            self.is_current = true;
            let names = || modules.iter().map(|module| module.name());
            if !self.reserved.iter().eq(names()) {
                self.reserved = names().cloned().collect();
                self.has_reserved_changed = true;
            }
            match self.newest.replace(modules) {
                Some(older) => self.superseded.replace(older),
                None => None,
            }
        };
        dropped.iter().flatten().map(|module| module.len() as u64).sum()
    }

    /// Records that the last call of a version failed: what was measured before goes with the next sample, and is no longer
    /// the latest.
    pub(super) fn fail(&mut self, generation: u64) {
        self.generation = generation;
        self.is_current = false;
        self.latest.clear();
    }

    /// Records that the plugin is not called any more.
    pub(super) fn end(&mut self, generation: u64) {
        self.fail(generation);
        self.reserved.clear();
        self.has_reserved_changed = true;
    }

    /// The modules that only this plugin may have, unless one that sorts earlier has them.
    pub(in super::super) fn reserved(&self) -> &[Text] {
        &self.reserved
    }

    /// Whether those modules have changed since the last call of this.
    pub(in super::super) fn take_reserved_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_reserved_changed)
    }

    /// Moves the results into a sample, those modules excepted that another collector has. `is_own` decides that, and is told
    /// the number of metrics that are lost otherwise.
    pub(super) fn deliver(&mut self, sample: &mut Sample, step: Duration, mut is_own: impl FnMut(&Module) -> bool) {
        if let Some(superseded) = self.superseded.take() {
            sample.superseded.extend(superseded.into_iter().filter(|module| is_own(module)));
        }
        // Also after the clock was set back: such a result is from the future.
        let is_old = |module: &Arc<Module>| sample.tick.abs_diff(module.time) >= step.saturating_mul(KEPT_STEPS);
        let Some(newest) = self.newest.take() else {
            if self.latest.first().is_some_and(is_old) {
                self.latest.clear();
            }
            sample.retained.extend_from_slice(&self.latest);
            return;
        };
        let is_latest = self.is_current && !newest.first().is_some_and(is_old);
        let begin = sample.modules.len();
        sample.modules.extend(newest.into_iter().filter(|module| is_own(module)));
        let delivered = &sample.modules[begin..];
        self.latest.clear();
        if is_latest {
            self.latest.extend_from_slice(delivered);
        } else {
            sample.stale.extend(delivered.iter().map(|module| module.name().clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{CollectorVersion, ModuleWriter, Origin, SeriesAccount};

    const STEP: Duration = Duration::from_secs(10);

    /// A result with these modules, of a tick.
    fn result(tick: u64, modules: &[&'static str]) -> Vec<Arc<Module>> {
        let module = |&name: &&'static str| {
            let collector = CollectorVersion::native("test");
            let origin = Origin { module: name.into(), collector, step: STEP, is_verbatim: false };
            let mut writer = ModuleWriter::new(origin, [], &SeriesAccount::standalone());
            writer.write(Duration::from_secs(tick), |values| values.push("value", tick)).0
        };
        modules.iter().map(module).collect()
    }

    fn sample(tick: u64, results: &mut Results) -> Sample {
        let mut sample = Sample::new(Duration::from_secs(tick), STEP);
        results.deliver(&mut sample, STEP, |_| true);
        sample
    }

    /// The modules with the ticks that they are of.
    fn ticks(modules: &[Arc<Module>]) -> Vec<(&str, u64)> {
        modules.iter().map(|module| (&**module.name(), module.time.as_secs())).collect()
    }

    fn latest(sample: &Sample) -> Vec<(&str, u64)> {
        sample.latest().map(|module| (&**module.name(), module.time.as_secs())).collect()
    }

    #[test]
    fn late_result_goes_beside_the_newer_one() {
        let mut results = Results::default();
        assert_eq!(results.store(result(100, &["a", "b"]), 1) + results.store(result(110, &["a"]), 1), 0);
        let sample = sample(110, &mut results);
        assert_eq!(ticks(&sample.modules), [("a", 110)]);
        assert_eq!(ticks(&sample.superseded), [("a", 100), ("b", 100)]);
        assert_eq!(latest(&sample), [("a", 110)], "a result replaces all modules");
    }

    #[test]
    fn excess_late_results_are_counted() {
        let mut results = Results::default();
        results.store(result(100, &["a", "b"]), 1);
        results.store(result(110, &["a"]), 1);
        assert_eq!(results.store(result(120, &["a"]), 1), 2);
        assert_eq!(ticks(&sample(120, &mut results).superseded), [("a", 110)]);
    }

    #[test]
    fn latest_result_lasts_until_two_steps_old() {
        let mut results = Results::default();
        results.store(result(100, &["a"]), 1);
        assert_eq!(latest(&sample(100, &mut results)), [("a", 100)]);
        // Calls that are skipped, and ticks of the agent that are none of the plugin's, change nothing.
        for tick in [105, 110, 119] {
            let sample = sample(tick, &mut results);
            assert_eq!((ticks(&sample.modules), latest(&sample)), (vec![], vec![("a", 100)]), "{tick}");
        }
        assert!(latest(&sample(120, &mut results)).is_empty());
        assert!(latest(&sample(100, &mut results)).is_empty(), "gone for good");
    }

    #[test]
    fn very_late_results_are_not_the_latest() {
        let mut results = Results::default();
        results.store(result(100, &["a"]), 1);
        let sample = sample(120, &mut results);
        assert_eq!((ticks(&sample.modules), latest(&sample)), (vec![("a", 100)], vec![]));
    }

    #[test]
    fn results_of_the_future_are_not_the_latest() {
        let mut results = Results::default();
        results.store(result(5000, &["a"]), 1);
        assert_eq!(latest(&sample(5000, &mut results)).len(), 1);
        assert!(latest(&sample(100, &mut results)).is_empty(), "the clock was set back");
        results.store(result(110, &["a"]), 1);
        assert_eq!(latest(&sample(110, &mut results)), [("a", 110)]);
    }

    #[test]
    fn failure_ends_the_latest_result() {
        let mut results = Results::default();
        results.store(result(100, &["a"]), 1);
        sample(100, &mut results);
        results.fail(1);
        assert!(latest(&sample(110, &mut results)).is_empty());
        assert_eq!(results.reserved(), ["a".into()], "nobody else fills the gap");
        // A late result, and then a failure before its sample.
        results.store(result(110, &["a"]), 1);
        results.fail(1);
        let sample = sample(120, &mut results);
        assert_eq!((ticks(&sample.modules), latest(&sample).len()), (vec![("a", 110)], 0));
    }

    #[test]
    fn replaced_version_does_not_hide_a_failure() {
        let mut results = Results::default();
        results.fail(2);
        results.store(result(100, &["a"]), 1);
        let sample = sample(110, &mut results);
        assert_eq!((sample.modules.len(), sample.superseded.len(), latest(&sample).len()), (0, 1, 0));
    }

    #[test]
    fn replaced_version_does_not_displace_its_successor() {
        let mut results = Results::default();
        results.store(result(110, &["a"]), 2);
        sample(110, &mut results);
        results.store(result(100, &["a", "old"]), 1);
        let sample = sample(120, &mut results);
        assert_eq!((sample.modules.len(), ticks(&sample.superseded)), (0, vec![("a", 100), ("old", 100)]));
        assert_eq!((latest(&sample), results.reserved()), (vec![("a", 110)], &["a".into()][..]));
    }

    #[test]
    fn modules_of_others_are_left_out() {
        let mut results = Results::default();
        results.store(result(100, &["a", "b"]), 1);
        let mut sample = Sample::new(Duration::from_secs(100), STEP);
        results.deliver(&mut sample, STEP, |module| **module.name() == *"b");
        assert_eq!((ticks(&sample.modules), latest(&sample)), (vec![("b", 100)], vec![("b", 100)]));
    }

    proptest! {
        /// Every stored result is in exactly one sample or counted as dropped; the latest one is that of the last call unless it
        /// failed, and is less than two steps old.
        #[test]
        fn results_are_delivered_once_or_counted(
            events in prop::collection::vec(prop_oneof![4 => Just('r'), 1 => Just('f'), 3 => Just('t')], 1..60),
        ) {
            let (mut results, mut tick, mut dropped) = (Results::default(), 100, 0);
            let (mut stored, mut delivered) = (0, Vec::new());
            let mut last = None;
            for event in events {
                match event {
                    'r' => {
                        dropped += results.store(result(tick, &["a"]), 1);
                        stored += 1;
                        last = Some(tick);
                    }
                    'f' => {
                        results.fail(1);
                        last = None;
                    }
                    _ => {
                        let sample = sample(tick, &mut results);
                        prop_assert!(sample.modules.len() <= 1);
                        let all: Vec<u64> = sample.results().map(|module| module.time.as_secs()).collect();
                        prop_assert!(all.is_sorted());
                        delivered.extend(all);
                        last = last.filter(|last| tick - last < 20);
                        let latest: Vec<u64> = sample.latest().map(|module| module.time.as_secs()).collect();
                        prop_assert_eq!(latest, last.into_iter().collect::<Vec<_>>());
                        tick += 10;
                    }
                }
            }
            delivered.extend(sample(tick, &mut results).results().map(|module| module.time.as_secs()));
            prop_assert!(delivered.is_sorted());
            prop_assert_eq!(delivered.len() as u64 + dropped, stored);
        }
    }
}
