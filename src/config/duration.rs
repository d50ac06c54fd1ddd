//! Durations in the configuration and on the command line: parsed and checked against their bounds.

use std::time::Duration;

/// The default interval: the finest resolution that most time series stores keep.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest interval: a shorter one would be profiling.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest interval: a collector that runs less than once a day can be a cron job.
pub(super) const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses a duration such as `10s` or `500ms`. The error has the valid form and the bounds.
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

/// Parses an interval between ticks.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, MIN_INTERVAL, MAX_INTERVAL)
}
