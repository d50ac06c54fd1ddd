//! Expositions: the latest result of each module as text that is scraped, in the Prometheus text format 0.0.4 or as OpenMetrics
//! 1.0. Names and labels are rendered once for each series and kept; a rendering writes numbers only. There are no timestamps,
//! which would disable Prometheus' staleness, and no series `_created`. No HTTP is here.

mod format;
mod settings;
mod line;
mod reports;
mod layout;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::format::Format;
use self::layout::{Candidate, Layout, Row};
use self::line::Line;
use self::reports::Reports;
pub use self::settings::{ExpositionSettings, Selector};
use crate::naming::Number;
use crate::sample::{Absence, Column, MetricKind, Module, Sample, Schema, Series, SeriesDecisions, Text, Value};

/// The series of an exposition, as of the last rendering.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpositionCounts {
    /// The series that it has. Those without a number at the time are not written: they are null, and may get one. Those with a text
    /// are not among them.
    pub series: usize,
    /// The series that are left out because there are too many.
    pub left_out: usize,
    /// The series that are left out because another one has their name, or a metric of another kind.
    pub collisions: usize,
}

/// An exposition in one naming.
#[derive(Debug)]
pub struct Exposition {
    settings: ExpositionSettings,
    lines: SeriesDecisions<Option<Arc<Line>>>,
    reports: Reports,
    /// The modules of the layout, sorted by name.
    modules: Vec<KnownModule>,
    layout: Layout,
}

/// A module of a layout.
#[derive(Debug)]
struct KnownModule {
    schema: Arc<Schema>,
    /// The latest result, while it is rendered.
    latest: Option<Arc<Module>>,
    /// A module without a latest result keeps its series until it is gone.
    absence: Absence,
    /// The places of the series whose values were texts when the layout was made: they are not exposed.
    texts: Vec<usize>,
}

impl KnownModule {
    fn new(module: &Module) -> Self {
        let texts = module.values().iter().enumerate().filter(|(_, value)| is_text(value)).map(|(at, _)| at);
        let (schema, absence) = (Arc::clone(module.schema()), Absence::default());
        Self { schema, latest: None, absence, texts: texts.collect() }
    }

    fn name(&self) -> &Text {
        &self.schema.source().module
    }

    /// Whether a module that this tick has no result of is gone.
    fn is_gone(&mut self, tick: Duration) -> bool {
        self.absence.is_gone(self.schema.source(), tick)
    }
}

impl Exposition {
    /// An exposition that has rendered nothing yet.
    #[must_use]
    pub fn new(settings: ExpositionSettings) -> Self {
        Self {
            settings,
            lines: SeriesDecisions::default(),
            reports: Reports::default(),
            modules: Vec::new(),
            layout: Layout::default(),
        }
    }

    /// Appends the latest result of each module to a buffer, or that of these modules only. It allocates nothing as long as the
    /// series stay the same.
    pub fn render(&mut self, sample: &Sample, format: Format, modules: Option<&[&str]>, to: &mut Vec<u8>) {
        if !self.take_latest(sample) || self.has_new_numbers() {
            self.lay_out(sample);
            self.take_latest(sample);
        }
        if let Some(names) = modules {
            for module in &mut self.modules {
                module.latest.take_if(|latest| !names.contains(&&**latest.name()));
            }
        }
        for family in &self.layout.families {
            let mut comments = Some(family.comments(format));
            // OpenMetrics has the sum and the number of observations, or neither …
            let mut has_sum = false;
            // … and no sum where observations may be negative.
            let mut is_signed = false;
            for row in &self.layout.rows[family.rows.clone()] {
                let column = row.line.column;
                is_signed = row.line.is_negative_bound || (is_signed && matches!(column, Column::Bucket | Column::Sum));
                let number = self.number(row).filter(|number| match format {
                    Format::Text => is_possible(family.kind, column, *number),
                    Format::OpenMetrics => {
                        let is_excluded = match column {
                            Column::Sum => is_signed,
                            Column::Count => !has_sum,
                            Column::Value | Column::Bucket | Column::Quantile => false,
                        };
                        !is_excluded && is_possible_in_openmetrics(family.kind, column, *number)
                    }
                });
                has_sum = column == Column::Sum && number.is_some();
                if let Some(number) = number {
                    to.extend_from_slice(comments.take().unwrap_or_default().as_bytes());
                    to.extend_from_slice(row.line.text.as_bytes());
                    number.push_to(to);
                    to.push(b'\n');
                }
            }
        }
        if format == Format::OpenMetrics {
            to.extend_from_slice(b"# EOF\n");
        }
        for module in &mut self.modules {
            module.latest = None;
        }
    }

    /// The numbers of the last rendering.
    #[must_use]
    pub fn counts(&self) -> ExpositionCounts {
        let Layout { rows, left_out, collisions, .. } = &self.layout;
        ExpositionCounts { series: rows.len(), left_out: *left_out, collisions: *collisions }
    }

    /// The value of a series, if its module is rendered.
    fn number(&self, row: &Row) -> Option<Number> {
        let module = self.modules.get(row.module)?.latest.as_deref()?;
        row.line.scale.number(module.values().get(row.at)?)
    }

    /// Whether a series that was a text is none any more.
    fn has_new_numbers(&self) -> bool {
        self.modules.iter().any(|known| {
            let values = known.latest.as_deref().map(Module::values).unwrap_or_default();
            known.texts.iter().any(|&at| values.get(at).is_some_and(|value| !is_text(value)))
        })
    }

    /// Takes the latest result of each module. Returns whether the layout is theirs.
    fn take_latest(&mut self, sample: &Sample) -> bool {
        let mut next = 0;
        let mut is_same = true;
        for module in sample.latest() {
            // In the order of the layout mostly.
            let is_next = self.modules.get(next).is_some_and(|known| known.name() == module.name());
            let found = if is_next { Ok(next) } else { self.find(module.name()) };
            let Ok(at) = found else { return false };
            next = at + 1;
            let known = &mut self.modules[at];
            // A second module of a name is not exposed.
            if known.latest.is_none() {
                is_same &= Arc::ptr_eq(&known.schema, module.schema());
                known.latest = Some(Arc::clone(module));
                known.absence.end();
            }
        }
        is_same && self.modules.iter_mut().all(|known| known.latest.is_some() || !known.is_gone(sample.tick))
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.modules.binary_search_by(|known| (**known.name()).cmp(name))
    }

    /// Makes the layout of the latest results, and of modules that will be back.
    fn lay_out(&mut self, sample: &Sample) {
        let mut absent = std::mem::take(&mut self.modules);
        absent.retain_mut(|known| {
            known.latest = None;
            !sample.latest().any(|module| module.name() == known.name()) && !known.is_gone(sample.tick)
        });
        let present = sample.latest().map(|module| KnownModule::new(module));
        // In their order of precedence.
        let mut schemas = Vec::new();
        for known in present.chain(absent) {
            if let Err(at) = self.find(known.name()) {
                schemas.push(Arc::clone(&known.schema));
                self.modules.insert(at, known);
            }
        }
        let mut candidates = Vec::new();
        for schema in &schemas {
            let name = &schema.source().module;
            let Ok(number) = self.find(name) else { continue };
            let (settings, reports) = (&self.settings, &mut self.reports);
            let decide =
                |source: &_, series: &Arc<Series>| Line::new(settings, source, series, |tag| reports.tag(tag, name));
            let lines = self.lines.decide(schema, decide, drop);
            for (at, (line, series)) in lines.iter().zip(schema.series()).enumerate() {
                // They are in order, and may be many.
                let is_text = self.modules[number].texts.binary_search(&at).is_ok();
                if let Some(line) = line.as_ref().filter(|_| !is_text) {
                    let row = Row { line: Arc::clone(line), module: number, at };
                    candidates.push(Candidate { metric: series.metric_name(), row });
                }
            }
        }
        self.lines.sweep(sample.tick, drop);
        let (reports, modules) = (&mut self.reports, &self.modules);
        let report = |candidate: &Candidate<'_>, collision| {
            let Candidate { row, metric } = candidate;
            reports.collision(&row.line, modules[row.module].name(), metric, collision);
        };
        self.layout = Layout::new(&candidates, &self.layout, self.settings.max_series, report);
        self.reports.left_out(self.layout.left_out, self.settings.max_series);
    }
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::Text(_))
}

/// Whether a column may have a number: there are no negative numbers of events and observations.
fn is_possible(kind: Option<MetricKind>, column: Column, number: Number) -> bool {
    let is_count = kind == Some(MetricKind::Counter) || matches!(column, Column::Bucket | Column::Count);
    !is_count || !number.is_negative()
}

/// The same in OpenMetrics, where sums and quantiles are not negative, either.
fn is_possible_in_openmetrics(kind: Option<MetricKind>, column: Column, number: Number) -> bool {
    let is_of_observations = matches!(column, Column::Sum | Column::Quantile);
    is_possible(kind, column, number) && !(is_of_observations && number.is_negative())
}
