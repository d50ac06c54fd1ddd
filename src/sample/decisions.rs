//! Decisions of an output about series, such as a name or whether it is selected. Each is made once, when a series appears, and kept
//! as long as its module has the series: a tick only looks at values. A module that is absent from samples keeps its series for two of
//! its steps: that of a plugin with a longer interval is not in each sample, and a late result is in the next one. It loses them sooner
//! where it is known that no further result comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::labels::Text;
use super::schema::{ModuleSource, Schema};
use super::series::Series;

/// A module that has been absent from samples for so many of its own steps is gone.
const ABSENT_STEPS: u32 = 2;

/// Since when a module has been absent from the samples of an output.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Absence {
    /// The tick of the first sample without the module.
    since: Option<Duration>,
}

impl Absence {
    /// The sample of this tick has the module.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// The module is absent from the sample of this tick. Returns whether it is gone: it has been absent for two of its steps.
    pub(crate) fn is_gone(&mut self, source: &ModuleSource, tick: Duration) -> bool {
        // Clocks are set back, too.
        let since = self.since.map_or(tick, |since| since.min(tick));
        self.since = Some(since);
        tick.saturating_sub(since) >= source.step.saturating_mul(ABSENT_STEPS)
    }
}

/// The decisions about the series of all modules of an output.
#[derive(Debug)]
pub(crate) struct SeriesDecisions<T> {
    modules: Vec<ModuleDecisions<T>>,
}

/// The decisions about one module's series, in their order.
#[derive(Debug)]
struct ModuleDecisions<T> {
    schema: Arc<Schema>,
    decisions: Vec<T>,
    /// Whether the module was asked for since the last sweep.
    is_used: bool,
    /// The tick of the last sample that had the module.
    seen: Duration,
    absence: Absence,
}

impl<T> Default for SeriesDecisions<T> {
    fn default() -> Self {
        Self { modules: Vec::new() }
    }
}

impl<T> SeriesDecisions<T> {
    /// The decisions about the series of a module, in their order. `decide` makes those that are missing, and `release` gets those
    /// about series that the module does not have any more, before that.
    pub(crate) fn decide(
        &mut self,
        schema: &Arc<Schema>,
        mut decide: impl FnMut(&ModuleSource, &Arc<Series>) -> T,
        release: impl FnMut(T),
    ) -> &mut [T] {
        let source = schema.source();
        let known = self.modules.iter().position(|known| known.schema.source().module == source.module);
        let at = known.unwrap_or_else(|| {
            let schema = Schema::empty(source.clone());
            let (seen, absence) = (Duration::ZERO, Absence::default());
            self.modules.push(ModuleDecisions { schema, decisions: Vec::new(), is_used: true, seen, absence });
            self.modules.len() - 1
        });
        let known = &mut self.modules[at];
        known.is_used = true;
        if !Arc::ptr_eq(&known.schema, schema) {
            let mut kept = std::mem::take(&mut known.decisions);
            let mut earlier: HashMap<*const Series, T> =
                known.schema.series().iter().map(Arc::as_ptr).zip(kept.drain(..)).collect();
            // Names that are somebody else's are decided about anew.
            let is_same_source = known.schema.source().is_verbatim == source.is_verbatim;
            let mut take = |series| if is_same_source { earlier.remove(&Arc::as_ptr(series)) } else { None };
            let found: Vec<Option<T>> = schema.series().iter().map(&mut take).collect();
            earlier.into_values().for_each(release);
            let decided = found.into_iter().zip(schema.series());
            kept.extend(decided.map(|(known, series)| known.unwrap_or_else(|| decide(source, series))));
            known.decisions = kept;
            known.schema = Arc::clone(schema);
        }
        &mut known.decisions
    }

    /// Forgets all modules; `release` gets their decisions.
    pub(crate) fn release(self, release: impl FnMut(T)) {
        self.modules.into_iter().flat_map(|module| module.decisions).for_each(release);
    }

    /// Ends the sample of a tick. The modules that were not asked for since the last one are absent from it; those that are gone
    /// are forgotten, and `release` gets their decisions.
    pub(crate) fn sweep(&mut self, tick: Duration, release: impl FnMut(T)) {
        self.sweep_retained(tick, |_| true, release);
    }

    /// The same where it is known which modules without a new result are retained: one that is not, although it had a result within
    /// two of its steps, is gone at once.
    pub(crate) fn sweep_retained(
        &mut self,
        tick: Duration,
        is_retained: impl Fn(&Text) -> bool,
        mut release: impl FnMut(T),
    ) {
        self.modules.retain_mut(|ModuleDecisions { schema, decisions, is_used, seen, absence }| {
            if std::mem::take(is_used) {
                *seen = tick;
                absence.end();
                return true;
            }
            let source = schema.source();
            let would_be_retained = tick.abs_diff(*seen) < source.step.saturating_mul(ABSENT_STEPS);
            let is_gone = absence.is_gone(source, tick) || (would_be_retained && !is_retained(&source.module));
            if is_gone {
                decisions.drain(..).for_each(&mut release);
            }
            !is_gone
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CollectorVersion, ModuleWriter, SeriesAccount, Values};
    use super::*;

    const STEP: Duration = Duration::from_secs(10);

    /// Writes the modules of a collector with this interval.
    fn writer() -> ModuleWriter {
        let collector = CollectorVersion::native("test");
        let source = ModuleSource { module: "m".into(), collector, step: STEP, is_verbatim: false };
        ModuleWriter::new(source, [], &SeriesAccount::standalone())
    }

    fn schema(writer: &mut ModuleWriter, metrics: &[&str]) -> Arc<Schema> {
        let fill = |values: &mut Values<'_>| metrics.iter().for_each(|metric| values.push(metric, 1_u64));
        Arc::clone(writer.write(Duration::ZERO, fill).0.schema())
    }

    #[test]
    fn decisions_are_made_once_and_released() {
        let mut writer = writer();
        let (mut decisions, mut made, mut released) = (SeriesDecisions::default(), Vec::new(), Vec::new());
        for metrics in [["a", "b"], ["a", "b"], ["b", "c"]] {
            let schema = schema(&mut writer, &metrics);
            let decide = |_: &ModuleSource, series: &Arc<Series>| {
                made.push(series.name().to_owned());
                series.name().to_owned()
            };
            assert_eq!(decisions.decide(&schema, decide, |name| released.push(name)), metrics);
            decisions.sweep(STEP, |name| released.push(name));
        }
        assert_eq!(made, ["a", "b", "c"]);
        assert_eq!(released, ["a"]);
    }

    #[test]
    fn modules_are_forgotten_after_two_steps() {
        let schema = schema(&mut writer(), &["a"]);
        let mut decisions = SeriesDecisions::default();
        // The seconds of each sample, and whether it has the module.
        let mut sample = |seconds: u64, is_present: bool| {
            let (mut made, mut released) = (0, 0);
            if is_present {
                decisions.decide(&schema, |_, _| made += 1, drop);
            }
            decisions.sweep(Duration::from_secs(seconds), |()| released += 1);
            (made, released)
        };
        assert_eq!(sample(100, true), (1, 0));
        for (seconds, is_present) in [(105, false), (110, true), (115, false), (120, false), (134, false), (135, true)]
        {
            assert_eq!(sample(seconds, is_present), (0, 0), "{seconds}");
        }
        assert_eq!((sample(140, false), sample(60, false), sample(79, false)), ((0, 0), (0, 0), (0, 0)));
        assert_eq!(sample(80, false), (0, 1), "two steps after the clock was set back");
        assert_eq!(sample(85, true), (1, 0));
    }

    #[test]
    fn unretained_modules_are_forgotten_at_once() {
        let schema = schema(&mut writer(), &["a"]);
        let mut decisions = SeriesDecisions::default();
        let mut sample = |seconds: u64, is_present: bool, is_retained: bool| {
            if is_present {
                decisions.decide(&schema, |_, _| (), drop);
            }
            let mut released = 0;
            decisions.sweep_retained(Duration::from_secs(seconds), |_| is_retained, |()| released += 1);
            released
        };
        assert_eq!([sample(100, true, false), sample(110, false, true), sample(115, false, false)], [0, 0, 1]);
        // Nothing is retained for longer: a result may still come.
        assert_eq!([sample(200, true, false), sample(219, false, true), sample(220, false, false)], [0, 0, 0]);
        assert_eq!([sample(238, false, false), sample(239, false, false)], [0, 1]);
    }
}
