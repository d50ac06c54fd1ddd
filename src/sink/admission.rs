//! The series of a sink: those that are selected, up to a number of them. Each is decided about once.

use std::cell::Cell;
use std::sync::Arc;

use crate::config::Config;
use crate::sample::{AGENT, Module, ModuleSource, Series, SeriesDecisions, is_for_naming_only};
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
    /// Whether it leaves out the CPUs' own times, which are measured for a naming.
    pub(crate) hides_cpus: bool,
}

impl SeriesSettings {
    /// The series that are in any line of JSON.
    pub(crate) fn agent_wide(config: &Config) -> Self {
        Self { common: config.metrics.selection.clone(), hides_cpus: !config.cpu.per_core, ..Self::default() }
    }

    fn is_everything(&self) -> bool {
        let Self { common, own, max_series, hides_cpus } = self;
        common.is_everything() && own.is_everything() && max_series.is_none() && !hides_cpus
    }

    fn selects(&self, module: &str, series: &Series) -> bool {
        let is_hidden = self.hides_cpus && is_for_naming_only(module, series);
        let is_kept = |selection: &Selection| {
            let is_always = module == AGENT && ALWAYS.contains(&series.metric_name());
            if is_always { !selection.excludes(module, series) } else { selection.selects(module, series) }
        };
        !is_hidden && is_kept(&self.common) && is_kept(&self.own)
    }
}

/// The decision about a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Admitted,
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
            Decision::Excluded => {}
            Decision::LeftOut => self.left_out.update(|count| count - 1),
        }
    }
}

impl Admission {
    pub(crate) fn new(settings: Arc<SeriesSettings>) -> Self {
        Self { settings, decisions: SeriesDecisions::default(), count: SeriesCount::default() }
    }

    /// Follows other settings: all series are decided about anew.
    pub(crate) fn follow(&mut self, settings: &Arc<SeriesSettings>) {
        if !Arc::ptr_eq(&self.settings, settings) {
            *self = Self::new(Arc::clone(settings));
        }
    }

    /// Decides about a module's series. None if the sink has all.
    pub(crate) fn decide(&mut self, module: &Module) -> Option<Admitted<'_>> {
        let Self { settings, decisions, count } = self;
        if settings.is_everything() {
            return None;
        }
        let most = settings.max_series.unwrap_or(usize::MAX);
        let decide = |source: &ModuleSource, series: &Arc<Series>| {
            if settings.selects(&source.module, series) { count.decide(most) } else { Decision::Excluded }
        };
        let decided = decisions.decide(module, decide, |decision| count.release(decision));
        if count.left_out.get() > 0 && count.admitted.get() < most {
            for decision in decided.iter_mut().filter(|decision| **decision == Decision::LeftOut) {
                count.release(*decision);
                *decision = count.decide(most);
            }
        }
        Some(Admitted(decided))
    }

    /// Ends a sample: modules that it does not have are forgotten. Returns how many series are left out.
    pub(crate) fn end_sample(&mut self) -> usize {
        let Self { decisions, count, .. } = self;
        decisions.sweep(|decision| count.release(decision));
        count.left_out.get()
    }
}

/// The series of a module that the sink has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted<'a>(&'a [Decision]);

impl Admitted<'_> {
    /// Whether it has the series at this place of the module's schema.
    pub(crate) fn has(self, at: usize) -> bool {
        self.0.get(at) == Some(&Decision::Admitted)
    }

    /// Whether it has none of them.
    pub(crate) fn is_empty(self) -> bool {
        !self.0.contains(&Decision::Admitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Labels, Values, test_module};
    use crate::selection::SeriesPattern;

    fn patterns(texts: &[&str]) -> Vec<SeriesPattern> {
        texts.iter().map(|text| SeriesPattern::parse(text).expect("a pattern")).collect()
    }

    fn admitted(admission: &mut Admission, modules: &[Arc<Module>]) -> (String, usize) {
        let mut names = String::new();
        for module in modules {
            let chosen = admission.decide(module);
            for (at, series) in module.schema().series().iter().enumerate() {
                if chosen.is_none_or(|chosen| chosen.has(at)) {
                    names += &series.key().to_string();
                }
            }
        }
        (names, admission.end_sample())
    }

    fn module(name: &'static str, metrics: &[&str]) -> Arc<Module> {
        test_module(name, |values: &mut Values<'_>| metrics.iter().for_each(|metric| values.push(metric, 1_u64)))
    }

    #[test]
    fn earlier_series_stay_when_there_are_many() {
        let settings = SeriesSettings { max_series: Some(3), ..SeriesSettings::default() };
        let mut admission = Admission::new(Arc::new(settings));
        let (first, second) = (module("m", &["a", "b"]), module("n", &["c", "d"]));
        assert_eq!(admitted(&mut admission, std::slice::from_ref(&second)), ("cd".to_owned(), 0));
        for _ in 0..3 {
            assert_eq!(admitted(&mut admission, &[first.clone(), second.clone()]), ("acd".to_owned(), 1));
        }
        assert_eq!(
            admitted(&mut admission, std::slice::from_ref(&first)),
            ("a".to_owned(), 1),
            "there is room from the next sample on"
        );
        assert_eq!(admitted(&mut admission, &[first]), ("ab".to_owned(), 0));
    }

    #[test]
    fn lines_keep_their_time_unless_it_is_excluded() {
        let included = Selection { include: patterns(&["cpu.*"]), ..Selection::default() };
        let modules = [module(AGENT, &["timestamp", "hostname", "version"]), module("cpu", &["user"])];
        let of = |own: &Selection| {
            let settings = SeriesSettings { own: own.clone(), ..SeriesSettings::default() };
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
        let of = |hides_cpus| {
            let settings = SeriesSettings { hides_cpus, ..SeriesSettings::default() };
            admitted(&mut Admission::new(Arc::new(settings)), std::slice::from_ref(&module)).0
        };
        assert_eq!((of(true), of(false)), ("user".to_owned(), "useruser{cpu=\"0\"}".to_owned()));
    }
}
