//! Modules that have a part of their series. Programs push points whenever they like: a sample has the points that came since the one
//! before, in a module for each time, while all series of the module go on.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sample::{Module, Sample, Schema, Series, is_pushed_name};

/// The module that has all series that a module of a sample has at the moment: it itself, unless its points are pushed.
pub(super) fn whole<'a>(sample: &'a Sample, module: &'a Arc<Module>) -> &'a Arc<Module> {
    if !is_pushed_name(module.name()) {
        return module;
    }
    sample.latest().find(|latest| latest.name() == module.name()).unwrap_or(module)
}

/// Where the series of a part are among all.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The schema with all.
    schema: Option<Arc<Schema>>,
    /// The places by the addresses of the series, which the schema keeps.
    by_series: HashMap<*const Series, usize>,
    found: Vec<usize>,
}

impl Places {
    /// The schema that decides about the series of a module, and the place of each of them in it; none if it is the module's own. That is
    /// so, too, if the module has a series that `whole` does not have: one that has got another kind meanwhile.
    pub(super) fn find<'a>(
        &'a mut self,
        module: &'a Module,
        whole: &'a Module,
    ) -> (&'a Arc<Schema>, Option<&'a [usize]>) {
        let (part, all) = (module.schema(), whole.schema());
        if Arc::ptr_eq(part, all) {
            return (part, None);
        }
        if !self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, all)) {
            self.by_series.clear();
            self.by_series.extend(all.series().iter().map(Arc::as_ptr).zip(0..));
            self.schema = Some(Arc::clone(all));
        }
        self.found.clear();
        self.found.extend(part.series().iter().map_while(|series| self.by_series.get(&Arc::as_ptr(series)).copied()));
        if self.found.len() == part.series().len() { (all, Some(&self.found)) } else { (part, None) }
    }
}
