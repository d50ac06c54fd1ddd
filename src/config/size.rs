//! Sizes in the configuration: parsed and checked against their bounds.

use bytesize::ByteSize;

/// Parses a size such as `64MiB`. The error has the valid form and the bounds.
pub(super) fn parse_size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let bounds = format!("{} to {}", ByteSize(least), ByteSize(most));
    let size: ByteSize =
        text.parse().map_err(|_| format!("{text:?} is not a size; write it like \"64MiB\", from {bounds}"))?;
    if !(least..=most).contains(&size.as_u64()) {
        return Err(format!("{text:?} is out of bounds; it has to be from {bounds}"));
    }
    Ok(size.as_u64())
}
