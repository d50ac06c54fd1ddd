//! The sources of gauged: a plugin in their `plugins/` is built with the SDK, the WIT and the build that are there.

use std::fs;
use std::path::Path;

/// Whether a directory is `plugins/` of this program's sources, with the SDK and the build for all plugins.
pub(super) fn is_checkout(directory: &Path) -> bool {
    let has =
        |file: &str, text: &str| fs::read_to_string(directory.join(file)).is_ok_and(|content| content.contains(text));
    has("sdk/Cargo.toml", "name = \"gauged-plugin\"") && has("Cargo.toml", "[workspace]")
}
