//! Output of the subcommands: text or JSON, tables, sizes.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// The format of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputFormat {
    /// Tables for people.
    Text,
    /// A JSON document for programs.
    Json,
}

impl OutputFormat {
    /// The format for the flag `--json`.
    pub(super) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints to standard output. A closed pipe is not an error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to standard output"),
    }
}

/// Prints a JSON document on several lines.
pub(super) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&format!("{value:#}\n"))
}

/// A size with its unit, such as `64.0 MiB`.
pub(super) fn size(bytes: u64) -> bytesize::ByteSize {
    bytesize::ByteSize(bytes)
}

/// Formats rows as an indented table. Each column is as wide as its widest cell; a row's last cell is not padded. Control
/// characters, which file names may contain, are replaced.
pub(super) fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let plain = |cell: String| cell.replace(char::is_control, "\u{fffd}");
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(plain).collect()).collect();
    let mut widths = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let padding = width - cell.chars().count() + 2;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "bb", "c"], ["grün", "", "cc"], ["a", "", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(rows), "  a     bb  c\n  grün      cc\n  a\n");
        assert_eq!(table([]), "");
        assert_eq!(table([vec!["a\u{1b}[31m\n".to_owned()]]), "  a\u{fffd}[31m\u{fffd}\n");
    }
}
