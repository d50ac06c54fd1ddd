//! How a plugin deviates from a script.

use crate::escape::printable;

/// The deviation of a plugin that sent something else.
pub(super) fn deviation(received: &[u8], expected: &[u8]) -> String {
    format!("the plugin sent \"{}\" instead of \"{}\"", shown(received), shown(expected))
}

/// The deviation of a plugin that sent nothing.
pub(super) fn omission(expected: &[u8]) -> String {
    format!("the plugin ended without sending \"{}\"", shown(expected))
}

/// Bytes on one line.
pub(super) fn shown(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}
