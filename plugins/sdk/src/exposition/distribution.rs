//! Histograms and summaries, which are several samples.

use std::cmp::Ordering;

use super::number::{count, float};
use super::{Label, Reading};
use crate::{Histogram, Quantile, Summary};

/// The samples of a histogram or summary so far.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    /// Bounds or quantiles, each with its value, in the order of the text.
    parts: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

/// The label that tells the parts of a histogram apart.
pub(super) const BOUND: &str = "le";

/// The label that tells the parts of a summary apart.
pub(super) const QUANTILE: &str = "quantile";

impl Distribution {
    /// Adds a bucket or quantile.
    ///
    /// # Errors
    ///
    /// Why it has none.
    #[inline]
    pub(super) fn add_part(&mut self, label: Option<&Label<'_>>, value: f64) -> Result<(), &'static str> {
        let at = label.and_then(|label| float(&label.value)).filter(|at| !at.is_nan());
        self.parts.push((at.ok_or("is without a number in the label `le` or `quantile`")?, value));
        Ok(())
    }

    pub(super) fn set_sum(&mut self, sum: f64) {
        self.sum = self.sum.or(Some(sum));
    }

    pub(super) fn set_count(&mut self, count: f64) {
        self.count = self.count.or(Some(count));
    }

    /// The histogram. Without a last bucket the count is that one's.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn histogram(mut self) -> Result<Reading, &'static str> {
        self.sort();
        let last =
            self.parts.last().filter(|(bound, _)| *bound == f64::INFINITY).map(|&(_, observations)| observations);
        self.parts.truncate(self.parts.len() - usize::from(last.is_some()));
        let total = last.or(self.count).ok_or("has neither a last bucket nor a count")?;
        let total = count(total).ok_or("has a count that is no whole number")?;
        let (mut bounds, mut counts) = (Vec::with_capacity(self.parts.len()), Vec::with_capacity(self.parts.len() + 1));
        let mut before = 0;
        for (bound, observations) in self.parts {
            if !bound.is_finite() {
                return Err("has a bound that is not finite");
            }
            let up_to = count(observations).ok_or("has a count that is no whole number")?;
            bounds.push(bound);
            counts.push(up_to.checked_sub(before).ok_or("has counts that fall")?);
            before = up_to;
        }
        counts.push(total.checked_sub(before).ok_or("has counts that fall")?);
        let sum = self.sum.filter(|sum| sum.is_finite());
        Ok(Reading::Histogram(Histogram { bounds, counts, sum }))
    }

    /// The summary.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn summary(mut self) -> Result<Reading, &'static str> {
        self.sort();
        let mut quantiles: Vec<Quantile> = Vec::with_capacity(self.parts.len());
        for (share, value) in self.parts {
            if !(0.0..=1.0).contains(&share) {
                return Err("has a quantile that is not from 0 to 1");
            }
            quantiles.push(Quantile { share, value: value.is_finite().then_some(value) });
        }
        let count = self.count.map(|number| count(number).ok_or("has a count that is no whole number")).transpose()?;
        let sum = self.sum.filter(|sum| sum.is_finite());
        if quantiles.is_empty() && sum.is_none() && count.is_none() {
            return Err("has neither quantiles nor a sum or count");
        }
        Ok(Reading::Summary(Summary { quantiles, sum, count }))
    }

    /// Sorts the parts, and keeps the first one of each bound, as of two series of one name and labels. Most are in order, so that this
    /// is one pass.
    #[allow(clippy::float_cmp, reason = "only equal bounds are one")]
    fn sort(&mut self) {
        if !self.parts.is_sorted_by(|(at, _), (next, _)| at < next) {
            // None is NaN, and of two zeros the first is kept.
            self.parts.sort_by(|(at, _), (next, _)| at.partial_cmp(next).unwrap_or(Ordering::Equal));
            self.parts.dedup_by(|(at, _), (before, _)| at == before);
        }
    }
}
