//! Output of the subcommands: text or JSON, tables, sizes.

use std::io::{self, Write as _};

use anyhow::Context as _;

use crate::escape::{is_plain, push_escaped};

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

/// Prints lines to standard output: whatever a plugin wrote, none of its control characters reaches the terminal. A closed
/// pipe is not an error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(&lines(text))
}

/// Prints a JSON document on several lines, without control characters.
pub(super) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    write(&document(value))
}

/// Prints lines as [`print()`] does. Returns whether standard output takes more: not once its pipe is closed.
pub(super) fn print_unless_closed(text: &str) -> anyhow::Result<bool> {
    write_unless_closed(&lines(text))
}

/// Prints a JSON document on one line, without control characters. Returns whether standard output takes more.
pub(super) fn print_json_line(value: &serde_json::Value) -> anyhow::Result<bool> {
    write_unless_closed(&escape_json(&format!("{value}\n")))
}

/// Writes a terminal's control sequence of the program's own.
pub(super) fn write_control(sequence: &str) -> anyhow::Result<()> {
    write(sequence)
}

fn write(text: &str) -> anyhow::Result<()> {
    write_unless_closed(text).map(|_is_open| ())
}

fn write_unless_closed(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.context("failed to write to standard output").map(|()| true),
    }
}

fn lines(text: &str) -> String {
    escape_lines(text, |character| character.escape_default().to_string())
}

fn document(value: &serde_json::Value) -> String {
    escape_json(&format!("{value:#}\n"))
}

fn escape_json(text: &str) -> String {
    // The characters to escape are all within strings, and one unit of UTF-16 each.
    escape_lines(text, |character| format!("\\u{:04x}", u32::from(character)))
}

/// Escapes the characters that are not plain, except the ends of lines.
fn escape_lines(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || is_plain(character) {
            escaped.push(character);
        } else {
            escaped.push_str(&escape(character));
        }
    }
    escaped
}

/// A size with its unit, such as `64.0 MiB`.
pub(super) fn size(bytes: u64) -> bytesize::ByteSize {
    bytesize::ByteSize(bytes)
}

/// Formats rows as an indented table. Each column is as wide as its widest cell; a row's last cell is not padded. A cell is
/// one line, whatever is in it.
pub(super) fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let plain = |cell: String| {
        let mut line = String::new();
        push_escaped(&mut line, &cell);
        line
    };
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "bb", "c"], ["grün", "", "cc"], ["a", "", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(rows), "  a     bb  c\n  grün      cc\n  a\n");
        assert_eq!(table([]), "");
        assert_eq!(table([vec!["a\u{1b}[31m\n".to_owned()]]), "  a\\u{1b}[31m\\n\n");
    }

    proptest! {
        #[test]
        fn printed_text_has_no_control_characters(text in any::<String>()) {
            let is_line = |text: &str| text.lines().flat_map(str::chars).all(is_plain);
            prop_assert!(is_line(&lines(&text)));
            let row = table([vec![text.clone()]]);
            prop_assert!(is_line(&row) && row.lines().count() == 1);
            let value = serde_json::json!({ &*text: [&*text] });
            let json = document(&value);
            prop_assert!(is_line(&json));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).ok(), Some(value));
        }
    }
}
