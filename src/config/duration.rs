//! Durations as they are written in the configuration and on the command line, held to their bounds.

use std::time::Duration;

/// The default interval: the finest step that most time series stores keep.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest interval: below this an agent is a profiler.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest interval: a collector that runs less than once a day can be a cron job.
pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a duration such as `10s` or `500ms`.
///
/// # Errors
///
/// The form and the bounds that are right.
pub(super) fn parse_duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let bounds = || format!("{} to {}", humantime::format_duration(least), humantime::format_duration(most));
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration; write it like \"10s\" or \"500ms\", from {}", bounds()))?;
    if !(least..=most).contains(&duration) {
        return Err(format!("{text:?} is out of bounds; it has to be from {}", bounds()));
    }
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("{text:?} is finer than a millisecond; write whole milliseconds"));
    }
    Ok(duration)
}

/// Reads an interval between ticks.
///
/// # Errors
///
/// The form and the bounds that are right.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, MIN_INTERVAL, MAX_INTERVAL)
}
