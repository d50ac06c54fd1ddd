//! Shares of a whole.

/// What share of a whole a part is, in percent. None where the whole is nothing: a limit of zero stands for no limit,
/// and of no lookups none has failed.
///
/// ```
/// use gauged_plugin::percent;
///
/// assert_eq!(percent(3, 4), Some(75.0));
/// assert_eq!(percent(0, 4), Some(0.0));
/// assert_eq!(percent(6, 4), Some(150.0), "limits can be lowered below what is used");
/// assert_eq!(percent(0, 0), None);
/// ```
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}
