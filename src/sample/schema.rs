//! Schemas: which series a module has, in output order. Ticks share one schema until the series change, and then what did
//! not change is taken over from the schema before: by position, which is the usual case, or from a few places further on.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use super::descriptor::{Descriptor, MetricKind};
use super::labels::{LabelSet, Text};
use super::series::{Column, PassthroughHasher, Series, SeriesAccount};

/// How many places further on a series is searched in the schema before, after some were left out. A series that is not
/// found there is found by its hash.
const SEARCHED: usize = 4;

/// How many places further on a series that was found by its hash is searched in the schema before: as many as a device that is
/// gone may have had.
const SKIPPED: usize = 64;

/// The series of a module, and where it comes from.
#[derive(Debug)]
pub struct Schema {
    source: ModuleSource,
    series: Vec<Arc<Series>>,
}

/// Where a module comes from.
#[derive(Debug, Clone)]
pub struct ModuleSource {
    /// The module's name; see `is_name`.
    pub module: Text,
    /// The collector that measures it.
    pub collector: Arc<CollectorVersion>,
    /// The collector's interval.
    pub step: Duration,
    /// Whether the names of its metrics are somebody else's: a scraped exporter's, which match `[A-Za-z_:][A-Za-z0-9_:]*`, or
    /// those of pushed points. No naming prefixes or rewrites them.
    pub is_verbatim: bool,
}

/// A collector, and the version of it that measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorVersion {
    /// The name: the plugin's, the native collector's, or `agent`.
    pub name: Text,
    /// The plugin's version, or the agent's.
    pub version: Text,
}

impl CollectorVersion {
    /// A collector that is part of the agent.
    #[must_use]
    pub fn native(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name: name.into(), version: env!("CARGO_PKG_VERSION").into() })
    }
}

impl Schema {
    /// A schema without series.
    #[must_use]
    pub(crate) fn empty(source: ModuleSource) -> Arc<Self> {
        Arc::new(Self { source, series: Vec::new() })
    }

    /// A schema with these series, no two of which have the same name and labels.
    pub(crate) fn with_series(source: ModuleSource, series: Vec<Arc<Series>>) -> Arc<Self> {
        Arc::new(Self { source, series })
    }

    /// Where the module comes from.
    #[must_use]
    pub fn source(&self) -> &ModuleSource {
        &self.source
    }

    /// The series in output order.
    #[must_use]
    pub fn series(&self) -> &[Arc<Series>] {
        &self.series
    }
}

/// Why a metric cannot have its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeriesError {
    /// The module has a metric with this name and these labels already.
    Duplicate,
    /// The name or label is one that a histogram or summary uses.
    Reserved,
    /// There are too many series in the agent.
    TooMany,
}

impl SeriesError {
    /// The end of a sentence that begins with the metric.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Duplicate => "it is there twice: labels are a set, whatever their order",
            Self::Reserved => "a histogram or summary uses its name, or one of its labels",
            Self::TooMany => "the agent has too many different series",
        }
    }
}

/// Builds the schema of a tick from that of the tick before.
#[derive(Debug)]
pub(super) struct SchemaBuilder {
    previous: Arc<Schema>,
    /// The place in the previous schema where the next series is expected.
    next: usize,
    /// The schema from here on; none as long as it begins as the previous one.
    changed: Option<Changed>,
}

#[derive(Debug, Default)]
struct Changed {
    series: Vec<Arc<Series>>,
    /// The identities of the series.
    identities: HashSet<u64, BuildHasherDefault<PassthroughHasher>>,
    /// The kind of each metric. None as long as there is no histogram or summary, whose names are reserved.
    kinds: Option<HashMap<String, MetricKind>>,
}

impl Changed {
    fn new(series: &[Arc<Series>]) -> Self {
        let mut changed = Self::default();
        for series in series {
            changed.push(Arc::clone(series));
        }
        changed
    }

    fn push(&mut self, series: Arc<Series>) {
        if self.kinds.is_none() && series.column() != Column::Value {
            self.kinds = Some(self.series.iter().map(kind_of).collect());
        }
        if let Some(kinds) = &mut self.kinds {
            kinds.extend([kind_of(&series)]);
        }
        self.identities.insert(series.identity());
        self.series.push(series);
    }

    fn try_push(&mut self, series: Arc<Series>) -> Result<(), SeriesError> {
        if self.identities.contains(&series.identity()) {
            return Err(SeriesError::Duplicate);
        }
        let is_reserved = match &self.kinds {
            Some(kinds) => is_reserved(kinds, &series),
            None if series.column() == Column::Value => false,
            None => is_reserved(&self.series.iter().map(kind_of).collect(), &series),
        };
        if is_reserved {
            return Err(SeriesError::Reserved);
        }
        self.push(series);
        Ok(())
    }
}

fn kind_of(series: &Arc<Series>) -> (String, MetricKind) {
    (series.metric_name().to_owned(), series.descriptor().kind)
}

/// Whether the series would share a name with a histogram or summary, or they with it: one name for two things in every flat
/// format.
fn is_reserved(kinds: &HashMap<String, MetricKind>, series: &Series) -> bool {
    let (name, kind) = (series.metric_name(), series.descriptor().kind);
    let is_mixed = kinds.get(name).is_some_and(|&known| known != kind);
    let is_column_of_other = ALL_SUFFIXES.iter().any(|suffix| {
        let metric = name.strip_suffix(suffix).and_then(|metric| kinds.get(metric));
        metric.is_some_and(|&other| suffixes(other).contains(suffix))
    });
    let has_column_of_other = suffixes(kind).iter().any(|suffix| kinds.contains_key(&format!("{name}{suffix}")));
    is_mixed || is_column_of_other || has_column_of_other
}

/// The ends of names that a metric of this kind uses.
fn suffixes(kind: MetricKind) -> &'static [&'static str] {
    match kind {
        MetricKind::Gauge | MetricKind::Counter => &[],
        MetricKind::Histogram => &ALL_SUFFIXES,
        MetricKind::Summary => &ALL_SUFFIXES[1..],
    }
}

const ALL_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

impl SchemaBuilder {
    pub(super) fn new(previous: Arc<Schema>) -> Self {
        Self { previous, next: 0, changed: None }
    }

    /// The number of series so far.
    pub(super) fn len(&self) -> usize {
        self.changed.as_ref().map_or(self.next, |changed| changed.series.len())
    }

    /// Appends a series that the previous schema has at the expected place, or soon after it. Returns false without it.
    pub(super) fn advance(&mut self, name: &str, labels: &impl LabelSet, column: Column) -> Result<bool, SeriesError> {
        let expected = self.previous.series.get(self.next..).unwrap_or_default();
        if self.changed.is_none() && expected.first().is_some_and(|series| series.is(name, labels, column)) {
            self.next += 1;
            return Ok(true);
        }
        let found = expected.iter().take(1 + SEARCHED).position(|series| series.is(name, labels, column));
        let Some(skipped) = found else { return Ok(false) };
        let series = &expected[skipped];
        if skipped > 0 && self.changed.is_none() {
            self.changed = Some(Changed::new(&self.previous.series[..self.next]));
        }
        if let Some(changed) = &mut self.changed {
            changed.try_push(Arc::clone(series))?;
        }
        self.next += skipped + 1;
        Ok(true)
    }

    /// Appends several series, if the previous schema has just these at the expected place.
    pub(super) fn advance_all(&mut self, series: &[Arc<Series>]) -> bool {
        let expected = self.previous.series.get(self.next..self.next + series.len()).unwrap_or_default();
        let is_same = self.changed.is_none()
            && expected.len() == series.len()
            && expected.iter().zip(series).all(|(expected, series)| Arc::ptr_eq(expected, series));
        if is_same {
            self.next += series.len();
        }
        is_same
    }

    /// The series from a place on.
    pub(super) fn since(&self, length: usize) -> &[Arc<Series>] {
        match &self.changed {
            Some(changed) => &changed.series[length..],
            None => &self.previous.series[length..self.next],
        }
    }

    /// Appends any other series.
    pub(super) fn insert(
        &mut self,
        name: &str,
        labels: &impl LabelSet,
        column: Column,
        descriptor: Option<&Arc<Descriptor>>,
        account: &Arc<SeriesAccount>,
    ) -> Result<(), SeriesError> {
        let is_whole = descriptor.is_none_or(|descriptor| suffixes(descriptor.kind).is_empty());
        if is_whole != (column == Column::Value) {
            return Err(SeriesError::Reserved);
        }
        let series = account.series(name, labels, descriptor, column).ok_or(SeriesError::TooMany)?;
        let changed = self.changed.get_or_insert_with(|| Changed::new(&self.previous.series[..self.next]));
        changed.try_push(Arc::clone(&series))?;
        // After some that are gone the next series are expected behind this one.
        let expected = self.previous.series.get(self.next..).unwrap_or_default();
        if let Some(skipped) = expected.iter().take(SKIPPED).position(|other| Arc::ptr_eq(other, &series)) {
            self.next += skipped + 1;
        }
        Ok(())
    }

    /// The schema: the previous one, when nothing has changed.
    pub(super) fn finish(self) -> Arc<Schema> {
        let Self { previous, next, changed } = self;
        let schema = |series| Arc::new(Schema { source: previous.source.clone(), series });
        match changed {
            None if next == previous.series.len() => previous,
            None => schema(previous.series[..next].to_vec()),
            // As after a metric that was refused.
            Some(Changed { series, .. })
                if series.len() == previous.series.len()
                    && series.iter().zip(&previous.series).all(|(series, previous)| Arc::ptr_eq(series, previous)) =>
            {
                previous
            }
            Some(Changed { mut series, .. }) => {
                series.shrink_to_fit();
                schema(series)
            }
        }
    }

    /// Forgets the series after the first `length`, which was the number of them at an earlier moment.
    pub(super) fn truncate(&mut self, length: usize) {
        if self.len() == length {
            return;
        }
        let mut kept = match &mut self.changed {
            Some(changed) => std::mem::take(&mut changed.series),
            None => self.previous.series[..self.next].to_vec(),
        };
        kept.truncate(length);
        self.changed = Some(Changed::new(&kept));
    }
}

/// Whether a metric of this kind may have these labels itself.
pub(super) fn check_labels(kind: MetricKind, labels: &impl LabelSet) -> Result<(), SeriesError> {
    let reserved = match kind {
        MetricKind::Gauge | MetricKind::Counter => return Ok(()),
        MetricKind::Histogram => "le",
        MetricKind::Summary => "quantile",
    };
    if labels.pairs().any(|(name, _)| name == reserved) { Err(SeriesError::Reserved) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{Label, Labels};

    /// The schema of these series, a name and labels each, after a schema before; and those that were refused.
    fn built(
        account: &Arc<SeriesAccount>,
        previous: &Arc<Schema>,
        wanted: &[(String, Labels)],
    ) -> (Arc<Schema>, Vec<usize>) {
        let (mut builder, mut refused) = (SchemaBuilder::new(Arc::clone(previous)), Vec::new());
        for (at, (name, labels)) in wanted.iter().enumerate() {
            let length = builder.len();
            let added = match builder.advance(name, labels, Column::Value) {
                Ok(false) => builder.insert(name, labels, Column::Value, None, account),
                other => other.map(drop),
            };
            assert_eq!(builder.len(), length + usize::from(added.is_ok()));
            if added.is_err() {
                refused.push(at);
            }
        }
        (builder.finish(), refused)
    }

    fn empty() -> Arc<Schema> {
        let collector = CollectorVersion::native("test");
        Schema::empty(ModuleSource { module: "m".into(), collector, step: Duration::ZERO, is_verbatim: false })
    }

    fn keys(schema: &Schema) -> Vec<String> {
        schema.series().iter().map(|series| series.key().to_string()).collect()
    }

    fn numbered(numbers: impl IntoIterator<Item = u32>) -> Vec<(String, Labels)> {
        numbers.into_iter().map(|number| ("level".to_owned(), [("number", &*number.to_string())].into())).collect()
    }

    /// How many series of the second schema are not of the first.
    fn new_count(first: &Schema, second: &Schema) -> usize {
        let known: HashSet<_> = first.series().iter().map(Arc::as_ptr).collect();
        second.series().iter().filter(|series| !known.contains(&Arc::as_ptr(series))).count()
    }

    #[test]
    fn unchanged_series_keep_their_schema() {
        let account = SeriesAccount::standalone();
        let wanted = numbered(0..10);
        let (first, _) = built(&account, &empty(), &wanted);
        let (second, _) = built(&account, &first, &wanted);
        assert!(Arc::ptr_eq(&first, &second));
        // A series that is there twice is refused each time, and changes nothing.
        let twice = [&wanted[..], &wanted[3..4]].concat();
        let (third, refused) = built(&account, &first, &twice);
        assert!(Arc::ptr_eq(&first, &third) && refused == [10]);
    }

    #[test]
    fn moved_series_are_not_made_again() {
        let account = SeriesAccount::standalone();
        let (first, _) = built(&account, &empty(), &numbered(0..1000));
        for (what, numbers, new) in [
            ("one more at the front", (5000..5001).chain(0..1000).collect::<Vec<_>>(), 1),
            ("the first ones are gone", (20..1000).collect(), 0),
            (
                "every tenth is another",
                (0..1000).map(|number| if number % 10 == 0 { number + 7000 } else { number }).collect(),
                100,
            ),
            ("the other way round", (0..1000).rev().collect(), 0),
        ] {
            let wanted = numbered(numbers);
            let (second, refused) = built(&account, &first, &wanted);
            assert_eq!(
                (new_count(&first, &second), refused.len(), second.series().len()),
                (new, 0, wanted.len()),
                "{what}"
            );
        }
    }

    #[test]
    fn label_order_makes_no_other_series() {
        let account = SeriesAccount::standalone();
        let wanted: [(String, Labels); 2] = [
            ("level".to_owned(), [("a", "1"), ("b", "2")].into()),
            ("level".to_owned(), [("b", "2"), ("a", "1")].into()),
        ];
        let (schema, refused) = built(&account, &empty(), &wanted);
        assert_eq!((keys(&schema), refused), (vec!["level{a=\"1\",b=\"2\"}".to_owned()], vec![1]));
        // Each order alone is displayed as it is.
        let (schema, _) = built(&account, &schema, &wanted[1..]);
        assert_eq!(keys(&schema), ["level{b=\"2\",a=\"1\"}"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Whatever the schema before, a schema has the wanted series, each set once, in order.
        #[test]
        fn schemas_do_not_depend_on_earlier_ones(
            ticks in prop::collection::vec(
                prop::collection::vec(("[ab]", prop::collection::vec(("[xy]", "[12]"), 0..3)), 0..12),
                1..6,
            ),
        ) {
            let account = SeriesAccount::standalone();
            let mut previous = empty();
            for tick in ticks {
                let labels = |pairs: Vec<(String, String)>| -> Labels {
                    let label = |(name, value): (String, String)| Label { name: name.into(), value: value.into() };
                    pairs.into_iter().map(label).collect()
                };
                let wanted: Vec<_> = tick.into_iter().map(|(name, pairs)| (name, labels(pairs))).collect();
                let mut seen = HashSet::new();
                let (mut expected, mut refused) = (Vec::new(), Vec::new());
                for (at, (name, labels)) in wanted.iter().enumerate() {
                    let mut set: Vec<(String, String)> =
                        labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect();
                    set.sort_unstable();
                    if seen.insert((name, set)) {
                        expected.push((name, labels));
                    } else {
                        refused.push(at);
                    }
                }
                let (schema, actually_refused) = built(&account, &previous, &wanted);
                let series: Vec<_> = schema.series().iter().map(|series| (series.name().to_owned(), series.labels().clone())).collect();
                prop_assert!(series.iter().map(|(name, labels)| (name, labels)).eq(expected));
                prop_assert_eq!(actually_refused, refused);
                previous = schema;
            }
        }
    }
}
