//! Percentages.

use crate::bounds::COUNT;

/// The part of a whole, in percent. `None` if the whole is zero, as for a limit that is not set, or if one of the two is
/// [impossible](COUNT).
///
/// ```
/// use gauged_plugin::percent;
///
/// assert_eq!(percent(3, 4), Some(75.0));
/// assert_eq!(percent(0, 4), Some(0.0));
/// assert_eq!(percent(6, 4), Some(150.0), "a limit may be lowered below the current use");
/// assert_eq!(percent(0, 0), None);
/// assert_eq!(percent(5, u64::MAX), None);
/// ```
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    let (part, whole) = COUNT.check(part).zip(COUNT.check(whole))?;
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}
