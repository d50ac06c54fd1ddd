//! The results of one plugin: those that go with the next sample, and the latest one.

use std::sync::Arc;

use crate::plugin::guest_thread::round::{Latest, Part};
use crate::sample::{Module, Text};

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
    /// The newest result that a sample has had; none after a failure.
    latest: Vec<Latest>,
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

    /// Moves the results into a round's part of the sample, those modules excepted that another collector has: `is_own` decides,
    /// and `lose` gets them.
    pub(crate) fn deliver(&mut self, part: &mut Part, is_own: impl Fn(&Text) -> bool, mut lose: impl FnMut(&Module)) {
        let mut is_kept = |module: &Arc<Module>| {
            let is_own = is_own(module.name());
            if !is_own {
                lose(module);
            }
            is_own
        };
        if let Some(superseded) = self.superseded.take() {
            part.superseded.extend(superseded.into_iter().filter(&mut is_kept));
        }
        if let Some(newest) = self.newest.take() {
            let begin = part.modules.len();
            if self.owns_all {
                part.modules.extend(newest);
            } else {
                part.modules.extend(newest.into_iter().filter(is_kept));
            }
            let delivered = &part.modules[begin..];
            self.latest.clear();
            if self.outcome == LastOutcome::Result {
                let latest = |module: &Arc<Module>| Latest { module: Arc::clone(module), since: part.tick };
                self.latest.extend(delivered.iter().map(latest));
            } else {
                part.stale.extend(delivered.iter().map(|module| module.name().clone()));
            }
        } else {
            self.latest.retain(|latest| latest.is_current(part.tick));
        }
        let is_kept = |latest: &&Latest| self.owns_all || is_own(latest.module.name());
        part.latest.extend(self.latest.iter().filter(is_kept).cloned());
        if self.outcome == LastOutcome::End && !self.reserved.is_empty() {
            self.reserved.clear();
            self.has_reserved_changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::time::Duration;

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

    fn part(tick: u64) -> Part {
        Part { tick: Duration::from_secs(tick), ..Part::default() }
    }

    fn deliver(tick: u64, results: &mut Results) -> Part {
        let mut part = part(tick);
        results.deliver(&mut part, |_| true, |_| {});
        part
    }

    /// The modules with the ticks that they are of.
    fn ticks(modules: &[Arc<Module>]) -> Vec<(&str, u64)> {
        modules.iter().map(|module| (&**module.name(), module.time.as_secs())).collect()
    }

    fn latest(part: &Part) -> Vec<(&str, u64)> {
        part.latest.iter().map(|latest| (&**latest.module.name(), latest.module.time.as_secs())).collect()
    }

    #[test]
    fn late_result_goes_beside_the_newer_one() {
        let mut results = Results::default();
        assert_eq!(results.store(result(100, &["a", "b"]), 1) + results.store(result(110, &["a"]), 1), 0);
        let part = deliver(110, &mut results);
        assert_eq!(ticks(&part.modules), [("a", 110)]);
        assert_eq!(ticks(&part.superseded), [("a", 100), ("b", 100)]);
        assert_eq!(latest(&part), [("a", 110)], "a result replaces all modules");
    }

    #[test]
    fn excess_late_results_are_counted() {
        let mut results = Results::default();
        results.store(result(100, &["a", "b"]), 1);
        results.store(result(110, &["a"]), 1);
        assert_eq!(results.store(result(120, &["a"]), 1), 2);
        assert_eq!(ticks(&deliver(120, &mut results).superseded), [("a", 110)]);
    }

    #[test]
    fn latest_result_lasts_until_two_steps_old() {
        let mut results = Results::default();
        results.store(result(100, &["a"]), 1);
        assert_eq!(latest(&deliver(100, &mut results)), [("a", 100)]);
        // Calls that are skipped, and ticks of the agent that are none of the plugin's, change nothing.
        for tick in [105, 110, 119] {
            let part = deliver(tick, &mut results);
            assert_eq!((ticks(&part.modules), latest(&part)), (vec![], vec![("a", 100)]), "{tick}");
        }
        assert!(latest(&deliver(120, &mut results)).is_empty());
        assert!(latest(&deliver(100, &mut results)).is_empty(), "gone for good");
    }

    #[test]
    fn slow_results_are_the_latest_without_gaps() {
        let mut results = Results::default();
        // Each call takes one and a half steps, and skips the next one.
        for tick in [100, 120, 140] {
            results.store(result(tick, &["a"]), 1);
            for later in [20, 30] {
                assert_eq!(latest(&deliver(tick + later, &mut results)), [("a", tick)], "{}", tick + later);
            }
        }
    }

    #[test]
    fn modules_taken_by_others_are_not_retained() {
        let mut results = Results::default();
        results.store(result(100, &["a", "b"]), 1);
        deliver(100, &mut results);
        let mut part = part(110);
        results.deliver(&mut part, |module| **module == *"b", |_| panic!("no result is lost"));
        assert_eq!(latest(&part), [("b", 100)]);
    }

    #[test]
    fn modules_are_reserved_until_the_last_result() {
        let mut results = Results::default();
        results.store(result(100, &["a"]), 1);
        results.end(1);
        assert_eq!(results.reserved(), ["a".into()]);
        assert_eq!(deliver(110, &mut results).modules.len(), 1);
        assert!(results.reserved().is_empty() && results.take_reserved_changed());
    }

    #[test]
    fn results_of_the_future_are_not_the_latest() {
        let mut results = Results::default();
        results.store(result(5000, &["a"]), 1);
        assert_eq!(latest(&deliver(5000, &mut results)).len(), 1);
        assert!(latest(&deliver(100, &mut results)).is_empty(), "the clock was set back");
        results.store(result(110, &["a"]), 1);
        assert_eq!(latest(&deliver(110, &mut results)), [("a", 110)]);
    }

    #[test]
    fn failure_ends_the_latest_result() {
        let mut results = Results::default();
        results.store(result(100, &["a"]), 1);
        deliver(100, &mut results);
        results.fail(1);
        assert!(latest(&deliver(110, &mut results)).is_empty());
        assert_eq!(results.reserved(), ["a".into()], "nobody else fills the gap");
        // A late result, and then a failure before its sample.
        results.store(result(110, &["a"]), 1);
        results.fail(1);
        let part = deliver(120, &mut results);
        assert_eq!((ticks(&part.modules), latest(&part).len()), (vec![("a", 110)], 0));
    }

    #[test]
    fn replaced_version_does_not_hide_a_failure() {
        let mut results = Results::default();
        results.fail(2);
        results.store(result(100, &["a"]), 1);
        let part = deliver(110, &mut results);
        assert_eq!((part.modules.len(), part.superseded.len(), latest(&part).len()), (0, 1, 0));
    }

    #[test]
    fn replaced_version_does_not_displace_its_successor() {
        let mut results = Results::default();
        results.store(result(110, &["a"]), 2);
        deliver(110, &mut results);
        results.store(result(100, &["a", "old"]), 1);
        let part = deliver(120, &mut results);
        assert_eq!((part.modules.len(), ticks(&part.superseded)), (0, vec![("a", 100), ("old", 100)]));
        assert_eq!((latest(&part), results.reserved()), (vec![("a", 110)], &["a".into()][..]));
    }

    #[test]
    fn modules_of_others_are_left_out() {
        let mut results = Results::default();
        results.store(result(100, &["a", "b"]), 1);
        let mut part = part(100);
        let mut lost = Vec::new();
        results.deliver(&mut part, |module| **module == *"b", |module| lost.push(module.name().clone()));
        assert_eq!(lost, ["a".into()]);
        assert_eq!((ticks(&part.modules), latest(&part)), (vec![("b", 100)], vec![("b", 100)]));
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
                        let part = deliver(tick, &mut results);
                        prop_assert!(part.modules.len() <= 1);
                        let all: Vec<u64> = part.superseded.iter().chain(&part.modules).map(|module| module.time.as_secs()).collect();
                        prop_assert!(all.is_sorted());
                        delivered.extend(all);
                        last = last.filter(|(_, since)| tick - since < 20);
                        let latest: Vec<u64> = part.latest.iter().map(|latest| latest.module.time.as_secs()).collect();
                        prop_assert_eq!(latest, last.map(|(time, _)| time).into_iter().collect::<Vec<_>>());
                        tick += 10;
                    }
                }
            }
            let part = deliver(tick, &mut results);
            delivered.extend(part.superseded.iter().chain(&part.modules).map(|module| module.time.as_secs()));
            prop_assert!(delivered.is_sorted());
            prop_assert_eq!(delivered.len() as u64 + dropped, stored);
        }
    }
}
