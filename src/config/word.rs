//! Words in a configuration, of which a key takes some.

/// One of several words.
pub(super) fn word(text: &str, words: &[&'static str]) -> Result<&'static str, String> {
    let found = words.iter().find(|word| **word == text).copied();
    found.ok_or_else(|| format!("{text:?} is not one of the values; use {}", words.join(", ")))
}
