//! Histograms and summaries: a sample has a series for each of their columns, OTLP has one point for all. Buckets are cumulative in a
//! sample, and each counts its own observations in OTLP. A point with a column too few would be another distribution: it is left out.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::kept::Handle;
use super::point::{DATA_POINTS, FixedParts, PointFields};
use super::wire::{FIXED64_BYTES, field_bytes, put_fixed64, put_head};
use crate::naming::Number;
use crate::sample::{Column, Schema, Series, Text};

/// Fields of both kinds of points.
const COUNT: u8 = 4;
const SUM: u8 = 5;
/// Of a histogram's.
const BUCKET_COUNTS: u8 = 6;
const EXPLICIT_BOUNDS: u8 = 7;
/// Of a summary's, and those of a quantile in it.
const QUANTILE_VALUES: u8 = 6;
const QUANTILE: u8 = 1;
const VALUE: u8 = 2;

/// How many bytes a quantile has.
const QUANTILE_BYTES: usize = 2 * FIXED64_BYTES;

/// The largest whole number up to which a double has all of them.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a point is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A column has no number.
    Incomplete,
    /// A bucket counts less than one with a lower bound.
    Falling,
}

impl Flaw {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Incomplete => "one of its series is missing or has no value",
            Self::Falling => "a bucket has less than the one before: they are of different moments",
        }
    }
}

/// A histogram or summary.
#[derive(Debug)]
pub(super) struct Distribution {
    pub(super) metric: Handle,
    /// The metric's name.
    pub(super) name: Text,
    pub(super) kind: DistributionKind,
    pub(super) fixed: FixedParts,
    /// None at a place whose column is gone.
    columns: Vec<Option<ColumnNumber>>,
    /// Whether it has had a point since its last end.
    pub(super) is_sent: bool,
    /// The latest end of a column in this sample.
    pub(super) ending: Option<Duration>,
    /// Whether it has got numbers since its last point.
    pub(super) is_touched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DistributionKind {
    Histogram,
    Summary,
}

impl DistributionKind {
    pub(super) fn fields(self) -> PointFields {
        match self {
            Self::Histogram => PointFields::HISTOGRAM,
            Self::Summary => PointFields::SUMMARY,
        }
    }
}

/// A column, and its number in the module that is being read.
#[derive(Debug)]
struct ColumnNumber {
    column: Column,
    /// The bound of a bucket, or a quantile.
    bound: f64,
    series: Weak<Series>,
    number: Option<Number>,
    uses: Arc<()>,
}

impl ColumnNumber {
    /// Whether a series is sent as this column still.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.uses) > 1
    }
}

/// A series' place among the columns of its distribution.
#[derive(Debug)]
pub(super) struct ColumnHandle {
    place: usize,
    /// Counts the uses.
    _use: Arc<()>,
}

impl Distribution {
    pub(super) fn new(metric: Handle, name: Text, kind: DistributionKind, fixed: FixedParts) -> Self {
        Self { metric, name, kind, fixed, columns: Vec::new(), is_sent: false, ending: None, is_touched: false }
    }

    /// The place of a column.
    pub(super) fn column(&mut self, series: &Arc<Series>, bound: f64) -> ColumnHandle {
        let (column, series) = (series.column(), Arc::downgrade(series));
        let is_same = |known: &ColumnNumber| known.column == column && known.bound.total_cmp(&bound).is_eq();
        let known = self.columns.iter().position(|known| known.as_ref().is_some_and(is_same));
        if let Some((place, known)) = known.and_then(|place| Some((place, self.columns[place].as_mut()?))) {
            known.series = series;
            return ColumnHandle { place, _use: Arc::clone(&known.uses) };
        }
        let uses = Arc::new(());
        let new = ColumnNumber { column, bound, series, number: None, uses: Arc::clone(&uses) };
        let place = self.columns.iter().position(Option::is_none).unwrap_or_else(|| {
            self.columns.push(None);
            self.columns.len() - 1
        });
        self.columns[place] = Some(new);
        ColumnHandle { place, _use: uses }
    }

    /// Takes the number of a column.
    pub(super) fn set(&mut self, handle: &ColumnHandle, number: Number) {
        if let Some(Some(column)) = self.columns.get_mut(handle.place) {
            column.number = Some(number);
        }
    }

    /// Forgets the numbers.
    pub(super) fn clear(&mut self) {
        self.columns.iter_mut().flatten().for_each(|column| column.number = None);
    }

    /// Whether no series is sent as a column of it any more.
    pub(super) fn is_unused(&self) -> bool {
        !self.columns.iter().flatten().any(ColumnNumber::is_used)
    }

    /// Forgets the columns that are gone.
    pub(super) fn sweep(&mut self) {
        for column in &mut self.columns {
            column.take_if(|column| !column.is_used());
        }
    }

    /// How many series it has.
    pub(super) fn len(&self) -> usize {
        self.columns.iter().flatten().count()
    }

    /// Appends the point of a module with this schema.
    pub(super) fn put(&self, time: u64, schema: &Schema, scratch: &mut Buckets, to: &mut Vec<u8>) -> Result<(), Flaw> {
        if !self.is_complete(schema) {
            return Err(Flaw::Incomplete);
        }
        match self.kind {
            DistributionKind::Histogram => self.put_histogram(time, scratch, to),
            DistributionKind::Summary => self.put_summary(time, to),
        }
    }

    /// Whether all columns of the module have numbers. A quantile has none where nothing was observed. A column that is not selected
    /// is none; without a bucket the others are right.
    fn is_complete(&self, schema: &Schema) -> bool {
        let is_needed = |column: &&ColumnNumber| match self.kind {
            DistributionKind::Histogram => column.number.is_none(),
            DistributionKind::Summary => column.number.is_none() && column.column != Column::Quantile,
        };
        // Those of a module whose bounds have changed are not in its schema any more.
        let is_there = |column: &ColumnNumber| {
            schema.series().iter().any(|series| std::ptr::eq(Arc::as_ptr(series), column.series.as_ptr()))
        };
        !self.columns.iter().flatten().filter(is_needed).any(is_there)
    }

    fn number(&self, column: Column) -> Option<Number> {
        self.columns.iter().flatten().find(|number| number.column == column)?.number
    }

    fn put_histogram(&self, time: u64, scratch: &mut Buckets, to: &mut Vec<u8>) -> Result<(), Flaw> {
        let cumulative = &mut scratch.0;
        cumulative.clear();
        for column in self.columns.iter().flatten().filter(|column| column.column == Column::Bucket) {
            if let Some(number) = column.number {
                cumulative.push((column.bound, whole(number).ok_or(Flaw::Incomplete)?));
            }
        }
        cumulative.sort_unstable_by(|(bound, _), (other, _)| bound.total_cmp(other));
        let all = match cumulative.pop_if(|(bound, _)| *bound == f64::INFINITY) {
            Some((_, all)) => Some(all),
            None => self.number(Column::Count).and_then(whole),
        };
        let all = all.ok_or(Flaw::Incomplete)?;
        let counts = cumulative.iter().map(|(_, count)| *count).chain([all]);
        if !counts.clone().is_sorted() {
            return Err(Flaw::Falling);
        }
        let sum = self.number(Column::Sum).map(Number::float);
        // Without buckets there is only the number of observations.
        let number_bytes = size_of::<u64>();
        let (bounds_bytes, counts_bytes) = match cumulative.len() {
            0 => (0, 0),
            bounds => (bounds * number_bytes, (bounds + 1) * number_bytes),
        };
        let buckets_bytes = if bounds_bytes == 0 { 0 } else { field_bytes(bounds_bytes) + field_bytes(counts_bytes) };
        let single_bytes = FIXED64_BYTES * (1 + usize::from(sum.is_some()));
        put_head(to, DATA_POINTS, self.fixed.bytes(time) + single_bytes + buckets_bytes);
        self.fixed.put_times(time, to);
        put_fixed64(to, COUNT, all.to_le_bytes());
        if let Some(sum) = sum {
            put_fixed64(to, SUM, sum.to_le_bytes());
        }
        if bounds_bytes > 0 {
            put_head(to, BUCKET_COUNTS, counts_bytes);
            let mut below = 0;
            for count in counts {
                to.extend_from_slice(&(count - below).to_le_bytes());
                below = count;
            }
            put_head(to, EXPLICIT_BOUNDS, bounds_bytes);
            for (bound, _) in &*cumulative {
                to.extend_from_slice(&bound.to_le_bytes());
            }
        }
        to.extend_from_slice(&self.fixed.attributes);
        Ok(())
    }

    fn put_summary(&self, time: u64, to: &mut Vec<u8>) -> Result<(), Flaw> {
        let count = self.number(Column::Count).and_then(whole).ok_or(Flaw::Incomplete)?;
        let sum = self.number(Column::Sum).map(Number::float).ok_or(Flaw::Incomplete)?;
        let quantiles = self.columns.iter().flatten().filter(|column| column.column == Column::Quantile);
        let quantiles = quantiles.filter_map(|column| Some((column.bound, column.number?.float())));
        let quantiles_bytes = quantiles.clone().count() * field_bytes(QUANTILE_BYTES);
        put_head(to, DATA_POINTS, self.fixed.bytes(time) + 2 * FIXED64_BYTES + quantiles_bytes);
        self.fixed.put_times(time, to);
        put_fixed64(to, COUNT, count.to_le_bytes());
        put_fixed64(to, SUM, sum.to_le_bytes());
        for (quantile, value) in quantiles {
            put_head(to, QUANTILE_VALUES, QUANTILE_BYTES);
            put_fixed64(to, QUANTILE, quantile.to_le_bytes());
            put_fixed64(to, VALUE, value.to_le_bytes());
        }
        to.extend_from_slice(&self.fixed.attributes);
        Ok(())
    }

    /// Appends the point that ends it: with the bounds of its buckets, by which receivers with a series for each know them.
    pub(super) fn put_end(&self, time: u64, to: &mut Vec<u8>) {
        let mut rest = Vec::new();
        if self.kind == DistributionKind::Histogram {
            let buckets = self.columns.iter().flatten().filter(|column| column.column == Column::Bucket);
            let mut bounds: Vec<f64> = buckets.map(|column| column.bound).filter(|bound| bound.is_finite()).collect();
            bounds.sort_unstable_by(f64::total_cmp);
            if !bounds.is_empty() {
                put_head(&mut rest, BUCKET_COUNTS, (bounds.len() + 1) * size_of::<u64>());
                rest.resize(rest.len() + (bounds.len() + 1) * size_of::<u64>(), 0);
                put_head(&mut rest, EXPLICIT_BOUNDS, bounds.len() * size_of::<f64>());
                rest.extend(bounds.iter().flat_map(|bound| bound.to_le_bytes()));
            }
        }
        self.fixed.put_end(time, self.kind.fields(), &rest, to);
    }
}

/// Memory for the buckets of a histogram, used again: the bounds with the number of observations up to them.
#[derive(Debug, Default)]
pub(super) struct Buckets(Vec<(f64, u64)>);

/// A number of observations; none where it is no whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and within the bounds")]
fn whole(number: Number) -> Option<u64> {
    match number {
        Number::Unsigned(number) => Some(number),
        Number::Signed(number) => u64::try_from(number).ok(),
        Number::Float(number) if (0.0..=MAX_EXACT).contains(&number) && number.fract() == 0.0 => Some(number as u64),
        Number::Float(_) => None,
    }
}
