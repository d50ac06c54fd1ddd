//! The results of one plugin: those that go with the next sample, and the latest one.

use std::sync::Arc;
use std::time::Duration;

use crate::sample::{Module, Sample, Text};

/// How many of a plugin's steps without a result remove its latest one.
const KEPT_STEPS: u32 = 2;

/// The results of one plugin. A result's age is the number of the version that measured it, and then its arrival: a version is
/// called again only when its last call has returned.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The newest result that no sample has yet.
    newest: Option<Vec<Arc<Module>>>,
    /// The one before, which arrived late. It goes with the same sample.
    superseded: Option<Vec<Arc<Module>>>,
    /// The version that measured the newest result of all.
    generation: u64,
    outcome: LastOutcome,
    /// The modules of the newest result that a sample has had, and that sample's tick; none after a failure.
    latest: Vec<Arc<Module>>,
    latest_at: Duration,
    /// The modules of the newest result. Plugins that sort later may not have them, even at ticks without a result.
    reserved: Vec<Text>,
    has_reserved_changed: bool,
    /// Whether all of them are its own, so that those of the newest result need not be looked up.
    owns_all: bool,
}

/// The outcome of the last call.
#[derive(Debug, Default, PartialEq, Eq)]
enum LastOutcome {
    /// The newest result, if there is one.
    #[default]
    Result,
    Failure,
    /// A failure after which the plugin is not called any more.
    End,
}

impl Results {
    /// Stores a result of a version. Returns how many metrics of an older one are dropped for it.
    pub(crate) fn store(&mut self, modules: Vec<Arc<Module>>, generation: u64) -> u64 {
        let dropped = if generation < self.generation {
            self.superseded.replace(modules)
        } else {
            self.generation = generation;
            self.outcome = LastOutcome::Result;
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
    pub(crate) fn fail(&mut self, generation: u64) {
        self.generation = generation;
        self.outcome = LastOutcome::Failure;
        self.latest.clear();
    }

    /// Records that the plugin is not called any more.
    pub(crate) fn end(&mut self, generation: u64) {
        self.fail(generation);
        self.outcome = LastOutcome::End;
    }

    /// The modules that only this plugin may have, unless one that sorts earlier has them.
    pub(crate) fn reserved(&self) -> &[Text] {
        &self.reserved
    }

    /// Whether those modules have changed since the last call of this.
    pub(crate) fn take_reserved_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_reserved_changed)
    }

    /// Records whether all those modules are the plugin's own.
    pub(crate) fn set_owns_all(&mut self, owns_all: bool) {
        self.owns_all = owns_all;
    }

    /// Moves the results into a sample, those modules excepted that another collector has: `is_own` decides, and `lose` gets
    /// them.
    pub(crate) fn deliver(
        &mut self,
        sample: &mut Sample,
        step: Duration,
        is_own: impl Fn(&Text) -> bool,
        mut lose: impl FnMut(&Module),
    ) {
        let mut is_kept = |module: &Arc<Module>| {
            let is_own = is_own(module.name());
            if !is_own {
                lose(module);
            }
            is_own
        };
        if let Some(superseded) = self.superseded.take() {
            sample.superseded.extend(superseded.into_iter().filter(&mut is_kept));
        }
        if let Some(newest) = self.newest.take() {
            let begin = sample.modules.len();
            if self.owns_all {
                sample.modules.extend(newest);
            } else {
                sample.modules.extend(newest.into_iter().filter(is_kept));
            }
            let delivered = &sample.modules[begin..];
            self.latest.clear();
            self.latest_at = sample.tick;
            if self.outcome == LastOutcome::Result {
                self.latest.extend_from_slice(delivered);
            } else {
                sample.stale.extend(delivered.iter().map(|module| module.name().clone()));
            }
        } else {
            // Also when the clock was set back: then that tick is in the future.
            if sample.tick.abs_diff(self.latest_at) >= step.saturating_mul(KEPT_STEPS) {
                self.latest.clear();
            }
            let is_kept = |module: &&Arc<Module>| self.owns_all || is_own(module.name());
            sample.retained.extend(self.latest.iter().filter(is_kept).cloned());
        }
        if self.outcome == LastOutcome::End && !self.reserved.is_empty() {
            self.reserved.clear();
            self.has_reserved_changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{CollectorVersion, ModuleSource, ModuleWriter, SeriesAccount};

    const STEP: Duration = Duration::from_secs(10);

    /// A result with these modules, of a tick.
    fn result(tick: u64, modules: &[&'static str]) -> Vec<Arc<Module>> {
        let module = |&name: &&'static str| {
            let collector = CollectorVersion::native("test");
            let source = ModuleSource { module: name.into(), collector, step: STEP, is_verbatim: false };
            let mut writer = ModuleWriter::new(source, [], &SeriesAccount::standalone());
            writer.write(Duration::from_secs(tick), |values| values.push("value", tick)).0
        };
        modules.iter().map(module).collect()
    }

    fn sample(tick: u64, results: &mut Results) -> Sample {
        let mut sample = Sample { tick: Duration::from_secs(tick), interval: STEP, ..Sample::default() };
        results.deliver(&mut sample, STEP, |_| true, |_| {});
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
    fn slow_results_are_the_latest_without_gaps() {
        let mut results = Results::default();
        // Each call takes one and a half steps, and skips the next one.
        for tick in [100, 120, 140] {
            results.store(result(tick, &["a"]), 1);
            for later in [20, 30] {
                assert_eq!(latest(&sample(tick + later, &mut results)), [("a", tick)], "{}", tick + later);
            }
        }
    }

    #[test]
    fn modules_taken_by_others_are_not_retained() {
        let mut results = Results::default();
        results.store(result(100, &["a", "b"]), 1);
        sample(100, &mut results);
        let mut sample = Sample { tick: Duration::from_secs(110), interval: STEP, ..Sample::default() };
        results.deliver(&mut sample, STEP, |module| **module == *"b", |_| panic!("no result is lost"));
        assert_eq!(latest(&sample), [("b", 100)]);
    }

    #[test]
    fn modules_are_reserved_until_the_last_result() {
        let mut results = Results::default();
        results.store(result(100, &["a"]), 1);
        results.end(1);
        assert_eq!(results.reserved(), ["a".into()]);
        assert_eq!(sample(110, &mut results).modules.len(), 1);
        assert!(results.reserved().is_empty() && results.take_reserved_changed());
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
        let mut sample = Sample { tick: Duration::from_secs(100), interval: STEP, ..Sample::default() };
        let mut lost = Vec::new();
        results.deliver(&mut sample, STEP, |module| **module == *"b", |module| lost.push(module.name().clone()));
        assert_eq!(lost, ["a".into()]);
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
                        last = Some((tick, tick));
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
                        last = last.filter(|(_, since)| tick - since < 20);
                        let latest: Vec<u64> = sample.latest().map(|module| module.time.as_secs()).collect();
                        prop_assert_eq!(latest, last.map(|(time, _)| time).into_iter().collect::<Vec<_>>());
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
