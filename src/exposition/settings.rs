//! Settings of an exposition.

use std::fmt;

use crate::naming::Naming;
use crate::sample::{Label, Series, Text};

/// Whether an exposition has a series of a module.
pub type Selector = Box<dyn Fn(&str, &Series) -> bool + Send>;

/// Settings of an exposition.
pub struct ExpositionSettings {
    /// The names of the series.
    pub naming: Naming,
    /// The beginning of the names that are ours.
    pub prefix: Text,
    /// Labels of every series; a metric's own label of that name wins.
    pub tags: Vec<Label>,
    /// The series that it has.
    pub is_selected: Selector,
    /// How many series it may have. Those that came first stay.
    pub max_series: usize,
}

impl fmt::Debug for ExpositionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { naming, prefix, tags, max_series, is_selected: _ } = self;
        let mut text = f.debug_struct("ExpositionSettings");
        text.field("naming", naming).field("prefix", prefix).field("tags", tags).field("max_series", max_series);
        text.finish_non_exhaustive()
    }
}
