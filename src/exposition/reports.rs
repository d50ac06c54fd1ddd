//! Reports about series and tags that an exposition does not have: each is one line in the log, once.

use std::collections::HashSet;

use super::line::Line;
use crate::sample::Label;

/// How many different things are reported. More would be a flood, from a plugin that invents names.
const MAX_REPORTS: usize = 100;

/// Why a series cannot have its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Collision {
    /// Another series has the name and the labels.
    Series,
    /// A metric of another kind has the name.
    Kind,
    /// The name is a part of another metric, such as `x_count` of a histogram `x`.
    Part,
}

impl Collision {
    fn reason(self) -> &'static str {
        match self {
            Self::Series => "another series has its name and labels",
            Self::Kind => "a metric of another kind has its name",
            Self::Part => "another metric has its name as a part",
        }
    }
}

/// The reports so far.
#[derive(Debug, Default)]
pub(super) struct Reports {
    tags: HashSet<String>,
    names: HashSet<(String, Collision)>,
    is_above_limit: bool,
}

impl Reports {
    /// A tag that a series of a module has as a label of its own.
    pub(super) fn tag(&mut self, tag: &Label, module: &str) {
        if self.tags.len() < MAX_REPORTS && self.tags.insert(tag.name.to_string()) {
            let remedy = "rename the tag, if these series need it";
            tracing::warn!(tag = %tag.name, module, remedy, "tag not set where a label has its name");
        }
    }

    /// A series that cannot have its name.
    pub(super) fn collision(&mut self, line: &Line, module: &str, metric: &str, collision: Collision) {
        let name = &*line.metric.name;
        if self.names.len() < MAX_REPORTS && self.names.insert((name.to_owned(), collision)) {
            let (reason, remedy) = (collision.reason(), "exclude one of them, or rename it in its plugin or program");
            tracing::warn!(name, module, metric, reason, remedy, "series not exposed");
        }
    }

    /// Series that are left out because there are too many.
    pub(super) fn left_out(&mut self, count: usize, max_series: usize) {
        if count > 0 && !self.is_above_limit {
            let remedy = "exclude series, or raise max_series";
            tracing::warn!(count, max_series, remedy, "series above max_series not exposed");
        }
        self.is_above_limit = count > 0;
    }

    #[cfg(test)]
    pub(super) fn tag_names(&self) -> Vec<&str> {
        self.tags.iter().map(String::as_str).collect()
    }

    #[cfg(test)]
    pub(super) fn collisions(&self) -> usize {
        self.names.len()
    }
}
