//! The layout of an exposition: which series it has, and their order. The series of a metric follow one another, whichever modules
//! they come from. A layout is made anew when the series of a module change.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::format::Format;
use super::line::{Line, Metric};
use super::reports::Collision;
use crate::sample::{Column, MetricKind};

/// The series of an exposition in their order.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) families: Vec<Family>,
    pub(super) rows: Vec<Row>,
    /// How many series are left out because there are too many.
    pub(super) left_out: usize,
    /// How many are left out because of their names.
    pub(super) collisions: usize,
}

/// A metric and its series.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) kind: Option<MetricKind>,
    /// The lines before the series in the text format.
    text: Box<str>,
    /// The lines before the series in OpenMetrics.
    openmetrics: Box<str>,
    /// The places of the series.
    pub(super) rows: Range<usize>,
}

/// A series and the place of its value.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) line: Arc<Line>,
    /// The number of its module.
    pub(super) module: usize,
    /// The place in the module.
    pub(super) at: usize,
}

/// A series that may become part of a layout.
pub(super) struct Candidate<'a> {
    /// The name that the metric has in its module.
    pub(super) metric: &'a str,
    pub(super) row: Row,
}

impl Candidate<'_> {
    /// Whether the next candidate belongs to the same histogram or summary, which is written as a whole.
    fn is_part_with(&self, next: &Self) -> bool {
        let (line, other) = (&self.row.line, &next.row.line);
        line.column != Column::Value
            && self.row.module == next.row.module
            && self.metric == next.metric
            && line.labels() == other.labels()
    }
}

impl Family {
    /// The lines before the series.
    pub(super) fn comments(&self, format: Format) -> &str {
        match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.openmetrics,
        }
    }
}

impl Layout {
    /// The layout of these candidates, in their order of precedence; those of the layout before are preferred to others. `report`
    /// gets the first series of each metric whose name is taken.
    pub(super) fn new(
        candidates: &[Candidate<'_>],
        before: &Self,
        max_series: usize,
        mut report: impl FnMut(&Candidate<'_>, Collision),
    ) -> Self {
        let known: HashSet<*const Line> = before.rows.iter().map(|row| Arc::as_ptr(&row.line)).collect();
        let is_known = |part: &&[Candidate<'_>]| part.iter().any(|one| known.contains(&Arc::as_ptr(&one.row.line)));
        let parts = || candidates.chunk_by(Candidate::is_part_with);
        let mut layout = Self::default();
        let mut names = Names::default();
        // Each metric has the description of its first series here.
        let mut metrics: HashMap<&str, &Metric> = HashMap::new();
        for part in parts().filter(is_known).chain(parts().filter(|part| !is_known(part))) {
            let [first, ..] = part else { continue };
            let line = &*first.row.line;
            if let Err(collision) = names.check(line) {
                if !(collision == Collision::Series && names.is_alternative(line)) {
                    layout.collisions += part.len();
                    report(first, collision);
                }
            } else if layout.rows.len() + part.len() > max_series {
                layout.left_out += part.len();
            } else {
                names.take(line);
                metrics.entry(&line.metric.name).or_insert(&line.metric);
                layout.rows.extend(part.iter().map(|one| one.row.clone()));
            }
        }
        layout.rows.sort_by(|row, other| {
            let key = |row: &Row| (row.module, row.at);
            row.line.metric.name.cmp(&other.line.metric.name).then_with(|| key(row).cmp(&key(other)))
        });
        let mut start = 0;
        for rows in layout.rows.chunk_by(|row, next| row.line.metric.name == next.line.metric.name) {
            let end = start + rows.len();
            let first = &rows[0].line.metric;
            let metric = metrics.get(&*first.name).copied().unwrap_or(first);
            layout.families.push(Family {
                kind: metric.kind,
                text: comments(metric, Format::Text, false).into(),
                openmetrics: comments(metric, Format::OpenMetrics, names.untyped.contains(&*metric.name)).into(),
                rows: start..end,
            });
            start = end;
        }
        layout
    }
}

/// The names that are in use.
#[derive(Default)]
struct Names<'a> {
    /// The kind of each metric.
    kinds: HashMap<&'a str, Option<MetricKind>>,
    /// The metric that each name in either format belongs to, and the need for it there.
    owners: HashMap<String, (&'a str, Need)>,
    /// Counters `x_total` beside another metric `x`, as programs in Go have them: in OpenMetrics their type is unknown, so that they
    /// keep their name.
    untyped: HashSet<&'a str>,
    /// The name and labels of each series, without those of columns, and whether another one measures the same.
    series: HashMap<(&'a str, &'a str), bool>,
}

impl<'a> Names<'a> {
    /// Whether a series can have its name.
    fn check(&self, line: &Line) -> Result<(), Collision> {
        let Metric { name, kind, .. } = &line.metric;
        match self.kinds.get(&**name) {
            Some(other) if other != kind => Err(Collision::Kind),
            Some(_) if self.series.contains_key(&(&**name, line.labels())) => Err(Collision::Series),
            None if claims(name, *kind).any(|claim| self.is_needed(&claim)) => Err(Collision::Part),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a metric would need a name that another one needs.
    fn is_needed(&self, (claim, need): &(String, Need)) -> bool {
        *need == Need::Always && self.owners.get(claim).is_some_and(|(_, need)| *need == Need::Always)
    }

    /// Whether a series and the one that has its name and labels measure the same.
    fn is_alternative(&self, line: &Line) -> bool {
        line.is_alternative || self.series.get(&(&*line.metric.name, line.labels())).is_some_and(|&is_one| is_one)
    }

    fn take(&mut self, line: &'a Line) {
        let Metric { name, kind, .. } = &line.metric;
        if self.kinds.insert(name, *kind).is_none() {
            for (claim, need) in claims(name, *kind) {
                match (self.owners.get(&claim).copied(), need) {
                    (Some(_), Need::AsCounter) => _ = self.untyped.insert(name),
                    (Some((other, _)), Need::Always) => {
                        self.untyped.insert(other);
                        self.owners.insert(claim, (name, need));
                    }
                    (None, _) => _ = self.owners.insert(claim, (name, need)),
                }
            }
        }
        self.series.insert((name, line.labels()), line.is_alternative);
    }
}

/// The need of a metric for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// No other metric may have it.
    Always,
    /// Only as a counter in OpenMetrics, where `x_total` is called `x`.
    AsCounter,
}

/// The names that a metric uses in one format or the other.
fn claims(name: &str, kind: Option<MetricKind>) -> impl Iterator<Item = (String, Need)> {
    use Need::{Always, AsCounter};
    let (base, suffixes): (&str, &[(&str, Need)]) = match (kind, name.strip_suffix("_total")) {
        (Some(MetricKind::Counter), Some(base)) => {
            (base, &[("_total", Always), ("", AsCounter), ("_created", AsCounter)])
        }
        (Some(MetricKind::Gauge | MetricKind::Counter) | None, _) => (name, &[("", Always)]),
        (Some(MetricKind::Histogram), _) => {
            (name, &[("", Always), ("_bucket", Always), ("_sum", Always), ("_count", Always), ("_created", Always)])
        }
        (Some(MetricKind::Summary), _) => {
            (name, &[("", Always), ("_sum", Always), ("_count", Always), ("_created", Always)])
        }
    };
    suffixes.iter().map(move |(suffix, need)| (format!("{base}{suffix}"), *need))
}

/// The lines before the series of a metric, which may be untyped in OpenMetrics.
fn comments(metric: &Metric, format: Format, is_untyped: bool) -> String {
    let Metric { name, kind, unit, help } = metric;
    let help = escaped(help, format);
    match format {
        Format::Text => format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.map_or("untyped", MetricKind::name)),
        Format::OpenMetrics => {
            let (name, kind) = match (kind, name.strip_suffix("_total")) {
                (Some(MetricKind::Counter), Some(base)) if !is_untyped => (base, "counter"),
                // A name that is somebody else's: a counter has to end with `_total` here.
                (Some(MetricKind::Counter) | None, _) => (&**name, "unknown"),
                (Some(kind), _) => (&**name, kind.name()),
            };
            let is_suffix = |unit: &str| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'));
            let unit =
                if !unit.is_empty() && is_suffix(unit) { format!("# UNIT {name} {unit}\n") } else { String::new() };
            format!("# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n")
        }
    }
}

/// A description on one line. Control characters are spaces.
fn escaped(help: &str, format: Format) -> String {
    let mut text = String::with_capacity(help.len());
    for letter in help.trim().chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' if format == Format::OpenMetrics => text.push_str("\\\""),
            letter if letter.is_control() => text.push(' '),
            _ => text.push(letter),
        }
    }
    text
}
