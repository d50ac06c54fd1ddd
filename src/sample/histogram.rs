//! The columns of histograms and summaries. Buckets are cumulative, as in Prometheus: each counts all observations up to its
//! bound, and the last one, `le="+Inf"`, counts all. So a bucket can be left out without making the others wrong, and the
//! series are what most receivers store. The bounds are part of the series: other bounds are other series.

/// The bounds of a histogram's buckets, without the last one, which is infinite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketBounds(Box<[Box<str>]>);

impl BucketBounds {
    /// Bounds in rising order. None if they are not finite or do not rise.
    #[must_use]
    pub fn new(bounds: &[f64]) -> Option<Self> {
        let texts = rising(bounds)?.chain(["+Inf".into()]);
        bounds.iter().all(|bound| bound.is_finite()).then(|| Self(texts.collect()))
    }

    /// The values of the label `le`.
    pub(super) fn labels(&self) -> &[Box<str>] {
        &self.0
    }
}

/// The quantiles of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantiles(Box<[Box<str>]>);

impl Quantiles {
    /// Quantiles in rising order. None if one is not from 0 to 1, or they do not rise.
    #[must_use]
    pub fn new(quantiles: &[f64]) -> Option<Self> {
        let texts = rising(quantiles)?;
        quantiles.iter().all(|quantile| (0.0..=1.0).contains(quantile)).then(|| Self(texts.collect()))
    }

    /// The values of the label `quantile`.
    pub(super) fn labels(&self) -> &[Box<str>] {
        &self.0
    }
}

/// The texts of numbers that rise, each the shortest that gives the number back.
fn rising(numbers: &[f64]) -> Option<impl Iterator<Item = Box<str>>> {
    let texts = numbers.iter().map(|number| (number + 0.0).to_string().into());
    numbers.windows(2).all(|pair| pair[0] < pair[1]).then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_end_with_infinity() {
        let bounds = BucketBounds::new(&[-1.0, 0.25, 1e6]).expect("they rise");
        assert_eq!(*bounds.labels(), ["-1", "0.25", "1000000", "+Inf"].map(Box::from));
        for wrong in [&[1.0, 1.0][..], &[2.0, 1.0], &[f64::NAN], &[1.0, f64::INFINITY], &[f64::NAN, 1.0]] {
            assert_eq!(BucketBounds::new(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn quantiles_are_shares() {
        assert_eq!(*Quantiles::new(&[0.0, 0.5, 1.0]).expect("they rise").labels(), ["0", "0.5", "1"].map(Box::from));
        assert_eq!((Quantiles::new(&[1.5]), Quantiles::new(&[0.9, 0.5])), (None, None));
    }
}
