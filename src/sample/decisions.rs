//! Decisions of an output about series, such as a name or whether it is selected. Each is made once, when a series appears, and kept
//! as long as its module has the series: a tick only looks at values.

use std::collections::HashMap;
use std::sync::Arc;

use super::module::Module;
use super::schema::{ModuleSource, Schema};
use super::series::Series;

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
        module: &Module,
        mut decide: impl FnMut(&ModuleSource, &Arc<Series>) -> T,
        release: impl FnMut(T),
    ) -> &mut [T] {
        let schema = module.schema();
        let source = schema.source();
        let known = self.modules.iter().position(|known| known.schema.source().module == source.module);
        let at = known.unwrap_or_else(|| {
            let schema = Schema::empty(source.clone());
            self.modules.push(ModuleDecisions { schema, decisions: Vec::new(), is_used: true });
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

    /// Forgets the modules that were not asked for since the last sweep. `release` gets their decisions.
    pub(crate) fn sweep(&mut self, mut release: impl FnMut(T)) {
        self.modules.retain_mut(|module| {
            if !module.is_used {
                module.decisions.drain(..).for_each(&mut release);
            }
            std::mem::take(&mut module.is_used)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{CollectorVersion, ModuleWriter, SeriesAccount};
    use super::*;

    #[test]
    fn decisions_are_made_once_and_released() {
        let source = ModuleSource {
            module: "m".into(),
            collector: CollectorVersion::native("test"),
            step: Duration::ZERO,
            is_verbatim: false,
        };
        let mut writer = ModuleWriter::new(source, [], &SeriesAccount::standalone());
        let mut write = |metrics: &[&str]| {
            writer.write(Duration::ZERO, |values| metrics.iter().for_each(|metric| values.push(metric, 1_u64))).0
        };
        let (mut decisions, mut made, mut released) = (SeriesDecisions::default(), Vec::new(), Vec::new());
        for metrics in [["a", "b"], ["a", "b"], ["b", "c"]] {
            let module = write(&metrics);
            let decide = |_: &ModuleSource, series: &Arc<Series>| {
                made.push(series.name().to_owned());
                series.name().to_owned()
            };
            assert_eq!(decisions.decide(&module, decide, |name| released.push(name)), metrics);
            decisions.sweep(|name| released.push(name));
        }
        assert_eq!(made, ["a", "b", "c"]);
        assert_eq!(released, ["a"]);
        decisions.sweep(|name| released.push(name));
        assert_eq!(released, ["a", "b", "c"], "the module is gone");
    }
}
