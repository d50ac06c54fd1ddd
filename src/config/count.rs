//! Whole numbers in a configuration.

/// Parses a number within bounds.
pub(super) fn parse_count(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| format!("{text:?} is out of bounds; write a whole number from {least} to {most}"))
}
