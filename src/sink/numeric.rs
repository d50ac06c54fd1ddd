//! The series of a sink that sends numbers, in one naming: which of them it has, what each is called, and when it ends. Each is named
//! and rendered once. The results of a sample come in groups of one time, oldest first, since receivers want the points of a series in
//! order. Knows no protocol.

mod settings;
mod parts;
mod reserved;
mod named_series;
mod decision;
mod names;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::decision::{Decision, Entry};
pub(super) use self::named_series::{NameRules, NamedSeries};
use self::names::Names;
use self::parts::{Places, whole};
pub(super) use self::settings::NumericSettings;
use super::admission::Admission;
use crate::naming::Number;
use crate::sample::{Column, Module, Sample, SeriesDecisions, Text};

/// How many groups a sample is split into at most. Pushed points may have any number of times; the older ones then share a group.
const MAX_GROUPS: usize = 8;

/// A part of a sample, in the order in which an encoder gets them.
#[derive(Debug)]
pub(super) enum Part<'a, T> {
    /// The results of one time begin; the first group of a sample may have several, the oldest. A request has one group.
    Group,
    /// A module of the group begins. The time of its points is that of the module.
    Module(&'a Module),
    /// A point of the module.
    Point(&'a T, Number),
    /// A series has ended at this time, which is before any further point of it: a later result may be of an earlier time than the
    /// sample. It is in the last group.
    Ended(&'a T, Duration),
}

/// The series of a sink, each as its protocol renders it.
#[derive(Debug)]
pub(super) struct NumericSeries<T> {
    settings: Arc<NumericSettings>,
    rules: NameRules,
    admission: Admission,
    decisions: SeriesDecisions<Decision<T>>,
    names: Names<T>,
    /// The results of the sample, by time.
    order: Vec<(Duration, usize)>,
    places: Places,
}

impl<T> NumericSeries<T> {
    pub(super) fn new(settings: Arc<NumericSettings>) -> Self {
        Self::with_rules(settings, NameRules::default())
    }

    /// Those of a protocol with rules for names.
    pub(super) fn with_rules(settings: Arc<NumericSettings>, rules: NameRules) -> Self {
        let admission = Admission::new(Arc::clone(&settings.series));
        let (decisions, names) = (SeriesDecisions::default(), Names::default());
        Self { settings, rules, admission, decisions, names, order: Vec::new(), places: Places::default() }
    }

    pub(super) fn settings(&self) -> &Arc<NumericSettings> {
        &self.settings
    }

    /// Follows other settings: all series are named anew, and those that are gone then end with the next sample.
    pub(super) fn follow(&mut self, settings: &Arc<NumericSettings>) {
        if Arc::ptr_eq(&self.settings, settings) || self.settings == *settings {
            return;
        }
        self.admission.follow(&settings.series);
        self.settings = Arc::clone(settings);
        let names = &mut self.names;
        std::mem::take(&mut self.decisions).release(|decision| names.release(decision));
    }

    /// Goes through a sample. `render` makes what the protocol needs of a series, once; `part` gets the sample part by part.
    pub(super) fn visit(
        &mut self,
        sample: &Sample,
        mut render: impl FnMut(&NamedSeries<'_>) -> T,
        mut part: impl FnMut(Part<'_, T>),
    ) {
        let results: Vec<&Arc<Module>> = sample.results().collect();
        self.order.clear();
        self.order.extend(results.iter().enumerate().map(|(at, module)| (module.time, at)));
        self.order.sort_by_key(|(time, _)| *time);
        let merged = self.merged_groups();
        let (mut last, mut group) = (None, 0);
        for at in 0..self.order.len() {
            let (time, place) = self.order[at];
            if last != Some(time) {
                (last, group) = (Some(time), group + 1);
                if group == 1 || group > merged {
                    part(Part::Group);
                }
            }
            self.visit_module(results[place], whole(sample, results[place]), &mut render, &mut part);
        }
        if last.is_none() {
            part(Part::Group);
        }
        let names = &mut self.names;
        let is_retained = |name: &Text| sample.retained.iter().any(|module| module.name() == name);
        self.decisions.sweep_retained(sample.tick, is_retained, |decision| names.release(decision));
        self.names.left_out = self.admission.end_sample(sample.tick);
        self.names.end_sample(sample.tick, |series, time| part(Part::Ended(series, time)));
    }

    /// How many of the oldest groups are one.
    fn merged_groups(&self) -> usize {
        let groups = self.order.chunk_by(|(time, _), (other, _)| time == other).count();
        groups.saturating_sub(MAX_GROUPS - 1)
    }

    /// Goes through a module, which has a part of the series that `whole` has.
    fn visit_module(
        &mut self,
        module: &Module,
        whole: &Module,
        render: &mut impl FnMut(&NamedSeries<'_>) -> T,
        part: &mut impl FnMut(Part<'_, T>),
    ) {
        let Self { settings, rules, admission, decisions, names, places, .. } = self;
        let (schema, places) = places.find(module, whole);
        let admitted = admission.decide(schema);
        part(Part::Module(module));
        let decided = decisions.decide(schema, |_, _| Decision::Excluded, |gone| names.release(gone));
        let source = schema.source();
        let is_retried = names.is_retried();
        for (at, (series, value)) in module.schema().series().iter().zip(module.values()).enumerate() {
            let at = places.map_or(at, |places| places[at]);
            let decision = &mut decided[at];
            if admitted.is_some_and(|admitted| !admitted.has(at)) {
                names.release(std::mem::replace(decision, Decision::Excluded));
                continue;
            }
            if matches!(decision, Decision::Excluded) || (is_retried && matches!(decision, Decision::Collided(_))) {
                names.release(std::mem::replace(decision, Decision::LeftOut));
                if let Some(named) = NamedSeries::new(settings, rules, source, series) {
                    *decision = names.take(&named).map_or_else(Decision::Collided, |identity| {
                        let scale = named.named.scale(series.column());
                        Decision::Sent(Box::new(Entry {
                            rendered: render(&named),
                            identity,
                            scale,
                            step: source.step,
                            last: None,
                        }))
                    });
                }
            }
            if let Decision::Sent(entry) = decision
                && let Some(number) = entry.scale.number(value).filter(|number| is_possible(series.column(), *number))
            {
                entry.last = Some(module.time);
                part(Part::Point(&entry.rendered, number));
            }
        }
    }

    /// Ends all series, as at the end of the agent.
    pub(super) fn end(&mut self, mut ended: impl FnMut(&T)) {
        let names = &mut self.names;
        std::mem::take(&mut self.decisions).release(|decision| names.release(decision));
        self.names.end_sample(Duration::MAX, |series, _| ended(series));
    }

    /// How many series are left out since there are too many, or since another one has their name.
    pub(super) fn left_out(&self) -> usize {
        self.names.left_out + self.names.collisions()
    }
}

/// Whether a column may have a number: there are no negative numbers of observations.
fn is_possible(column: Column, number: Number) -> bool {
    !matches!(column, Column::Bucket | Column::Count) || !number.is_negative()
}
