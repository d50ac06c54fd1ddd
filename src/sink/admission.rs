//! The series of a sink: those that are selected, up to a number of them. Each is decided about once.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::naming::Naming;
use crate::sample::{AGENT, ModuleSource, Schema, Series, SeriesDecisions};
use crate::selection::Selection;

/// The metrics of the module `agent` that a line of JSON has whatever is included: without them it has no time and no host. They
/// can be excluded.
const ALWAYS: [&str; 2] = ["timestamp", "hostname"];

/// Which series a sink has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SeriesSettings {
    /// The agent's selection.
    pub(crate) common: Selection,
    /// The sink's own.
    pub(crate) own: Selection,
    /// How many series it has at most; none for all.
    pub(crate) max_series: Option<usize>,
    /// The naming of the sink; lines of JSON have our own.
    pub(crate) naming: Naming,
    /// Whether each CPU is measured for all outputs. Otherwise the CPUs' own times are measured for a naming that needs them.
    pub(crate) per_core: bool,
    /// Whether it has time and host name whatever is included, as lines have.
    pub(crate) keeps_time: bool,
}

impl SeriesSettings {
    /// The series that are in any line of JSON.
    pub(crate) fn agent_wide(config: &Config) -> Self {
        Self {
            common: config.metrics.selection.clone(),
            per_core: config.cpu.per_core,
            keeps_time: true,
            ..Self::default()
        }
    }

    fn is_everything(&self) -> bool {
        let Self { common, own, max_series, naming, per_core, keeps_time: _ } = self;
        common.is_everything() && own.is_everything() && max_series.is_none() && !naming.hides_any(*per_core)
    }

    /// Whether a line has the series, whatever is included and however many there are.
    fn is_always(&self, module: &str, series: &Series) -> bool {
        self.keeps_time && module == AGENT && ALWAYS.contains(&series.metric_name())
    }

    /// How many series it may have.
    fn most(&self) -> usize {
        self.max_series.unwrap_or(usize::MAX)
    }

    fn selects(&self, module: &str, series: &Series) -> bool {
        let is_hidden = self.naming.hides(self.per_core, module, series);
        let is_kept = |selection: &Selection| {
            if self.is_always(module, series) {
                !selection.excludes(module, series)
            } else {
                selection.selects(module, series)
            }
        };
        !is_hidden && is_kept(&self.common) && is_kept(&self.own)
    }
}

/// The decision about a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Admitted,
    /// It is admitted, and does not count.
    Always,
    /// It is not selected.
    Excluded,
    /// There are too many.
    LeftOut,
}

/// The series that a sink has.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    settings: Arc<SeriesSettings>,
    decisions: SeriesDecisions<Decision>,
    count: SeriesCount,
}

/// How many series the sink has, and how many there are too many.
#[derive(Debug, Default)]
struct SeriesCount {
    admitted: Cell<usize>,
    left_out: Cell<usize>,
}

impl SeriesCount {
    /// Admits a selected series, unless there are too many.
    fn decide(&self, most: usize) -> Decision {
        if self.admitted.get() < most {
            self.admitted.update(|count| count + 1);
            Decision::Admitted
        } else {
            self.left_out.update(|count| count + 1);
            Decision::LeftOut
        }
    }

    fn release(&self, decision: Decision) {
        match decision {
            Decision::Admitted => self.admitted.update(|count| count - 1),
            Decision::Always | Decision::Excluded => {}
            Decision::LeftOut => self.left_out.update(|count| count - 1),
        }
    }
}

impl Admission {
    pub(crate) fn new(settings: Arc<SeriesSettings>) -> Self {
        Self { settings, decisions: SeriesDecisions::default(), count: SeriesCount::default() }
    }

    /// Follows other settings. All series are decided about anew, unless there may only be more of them.
    pub(crate) fn follow(&mut self, settings: &Arc<SeriesSettings>) {
        if Arc::ptr_eq(&self.settings, settings) {
            return;
        }
        let with_most = SeriesSettings { max_series: settings.max_series, ..SeriesSettings::clone(&self.settings) };
        if with_most == **settings && self.settings.most() <= settings.most() {
            self.settings = Arc::clone(settings);
        } else {
            *self = Self::new(Arc::clone(settings));
        }
    }

    /// Decides about the series of a module. None if the sink has all.
    pub(crate) fn decide(&mut self, schema: &Arc<Schema>) -> Option<Admitted<'_>> {
        let Self { settings, decisions, count } = self;
        if settings.is_everything() {
            return None;
        }
        let most = settings.most();
        let decide = |source: &ModuleSource, series: &Arc<Series>| match settings.selects(&source.module, series) {
            true if settings.is_always(&source.module, series) => Decision::Always,
            true => count.decide(most),
            false => Decision::Excluded,
        };
        let decided = decisions.decide(schema, decide, |decision| count.release(decision));
        if count.left_out.get() > 0 && count.admitted.get() < most {
            for decision in decided.iter_mut().filter(|decision| **decision == Decision::LeftOut) {
                count.release(*decision);
                *decision = count.decide(most);
            }
        }
        Some(Admitted(decided))
    }

    /// Ends the sample of a tick: modules that are gone are forgotten. Returns how many series are left out.
    pub(crate) fn end_sample(&mut self, tick: Duration) -> usize {
        let Self { decisions, count, .. } = self;
        decisions.sweep(tick, |decision| count.release(decision));
        count.left_out.get()
    }
}

/// The series of a module that the sink has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted<'a>(&'a [Decision]);

impl Admitted<'_> {
    /// Whether it has the series at this place of the module's schema.
    pub(crate) fn has(self, at: usize) -> bool {
        matches!(self.0.get(at), Some(Decision::Admitted | Decision::Always))
    }

    /// Whether it has none of them.
    pub(crate) fn is_empty(self) -> bool {
        !self.0.iter().any(|decision| matches!(decision, Decision::Admitted | Decision::Always))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{CollectorVersion, Labels, Module, ModuleWriter, SeriesAccount, Values, test_module};
    use crate::selection::SeriesPattern;

    fn patterns(texts: &[&str]) -> Vec<SeriesPattern> {
        texts.iter().map(|text| SeriesPattern::parse(text).expect("a pattern")).collect()
    }

    fn admitted(admission: &mut Admission, modules: &[Arc<Module>]) -> (String, usize) {
        admitted_at(admission, Duration::ZERO, modules)
    }

    fn admitted_at(admission: &mut Admission, tick: Duration, modules: &[Arc<Module>]) -> (String, usize) {
        let mut names = String::new();
        for module in modules {
            let chosen = admission.decide(module.schema());
            for (at, series) in module.schema().series().iter().enumerate() {
                if chosen.is_none_or(|chosen| chosen.has(at)) {
                    names += &series.key().to_string();
                }
            }
        }
        (names, admission.end_sample(tick))
    }

    fn module(name: &'static str, metrics: &[&str]) -> Arc<Module> {
        test_module(name, |values: &mut Values<'_>| metrics.iter().for_each(|metric| values.push(metric, 1_u64)))
    }

    /// A module of a collector with this interval, in seconds.
    fn module_every(step: u64, name: &'static str, metrics: &[&str]) -> Arc<Module> {
        let (collector, step) = (CollectorVersion::native("test"), Duration::from_secs(step));
        let source = ModuleSource { module: name.into(), collector, step, is_verbatim: false };
        let fill = |values: &mut Values<'_>| metrics.iter().for_each(|metric| values.push(metric, 1_u64));
        ModuleWriter::new(source, [], &SeriesAccount::standalone()).write(Duration::ZERO, fill).0
    }

    #[test]
    fn earlier_series_stay_when_there_are_many() {
        let settings = SeriesSettings { max_series: Some(3), ..SeriesSettings::default() };
        let mut admission = Admission::new(Arc::new(settings));
        let (frequent, seldom) = (module_every(10, "m", &["a", "b"]), module_every(30, "n", &["c", "d"]));
        let mut at = |tick: u64, modules: &[&Arc<Module>]| {
            let modules: Vec<_> = modules.iter().copied().cloned().collect();
            let (names, left_out) = admitted_at(&mut admission, Duration::from_secs(tick), &modules);
            format!("{names} {left_out}")
        };
        assert_eq!(at(0, &[&seldom]), "cd 0");
        assert_eq!(at(10, &[&frequent]), "a 1");
        assert_eq!(at(20, &[&frequent]), "a 1", "the others are still there");
        assert_eq!(at(30, &[&frequent, &seldom]), "acd 1");
        for tick in [40, 50, 60, 70, 80] {
            assert_eq!(at(tick, &[&frequent]), "a 1", "{tick}: the module may be late once");
        }
        assert_eq!(at(90, &[&frequent, &seldom]), "acd 1");
        for tick in [100, 110, 120, 130, 140, 150] {
            assert_eq!(at(tick, &[&frequent]), "a 1", "{tick}");
        }
        assert_eq!(at(160, &[&frequent]), "a 1", "there is room from the next sample on");
        assert_eq!(at(170, &[&frequent]), "ab 0");
        assert_eq!(at(180, &[&frequent, &seldom]), "abc 1");
    }

    #[test]
    fn raised_limit_keeps_earlier_series() {
        let settings = |max_series| Arc::new(SeriesSettings { max_series, ..SeriesSettings::default() });
        let mut admission = Admission::new(settings(Some(2)));
        let (first, second) = (module_every(10, "m", &["a", "b", "c"]), module_every(10, "n", &["d"]));
        let [only_first, only_second] = [&first, &second].map(std::slice::from_ref);
        assert_eq!(admitted(&mut admission, only_first), ("ab".to_owned(), 1));
        admission.follow(&settings(Some(3)));
        assert_eq!(admitted(&mut admission, only_second), ("d".to_owned(), 1), "there is room for one more");
        assert_eq!(admitted(&mut admission, only_first), ("ab".to_owned(), 1));
        admission.follow(&settings(Some(1)));
        assert_eq!(admitted(&mut admission, only_second), ("d".to_owned(), 0), "a lower one decides anew");
        admission.follow(&settings(None));
        assert_eq!(admitted(&mut admission, &[first, second]), ("abcd".to_owned(), 0));
    }

    #[test]
    fn lines_keep_their_time_unless_it_is_excluded() {
        let included = Selection { include: patterns(&["cpu.*"]), ..Selection::default() };
        let modules = [module(AGENT, &["timestamp", "hostname", "version"]), module("cpu", &["user"])];
        let of = |own: &Selection| {
            let settings = SeriesSettings { own: own.clone(), keeps_time: true, ..SeriesSettings::default() };
            admitted(&mut Admission::new(Arc::new(settings)), &modules).0
        };
        assert_eq!(of(&included), "timestamphostnameuser");
        assert_eq!(of(&Selection { exclude: patterns(&["agent.host*"]), ..included }), "timestampuser");
    }

    #[test]
    fn hidden_cpus_leave_the_total() {
        let cpu: Labels = [("cpu", "0")].into();
        let module = test_module("cpu", |values| {
            values.push("user", 1_u64);
            values.push_labelled("user", &cpu, 1_u64);
        });
        let of = |per_core| {
            let settings = SeriesSettings { per_core, ..SeriesSettings::default() };
            admitted(&mut Admission::new(Arc::new(settings)), std::slice::from_ref(&module)).0
        };
        assert_eq!((of(false), of(true)), ("user".to_owned(), "useruser{cpu=\"0\"}".to_owned()));
    }
}
