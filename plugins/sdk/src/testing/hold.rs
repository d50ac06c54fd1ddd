//! Files beside a plugin that tests hold to what the plugin says and does: what a fixture machine yields, and the table of
//! metrics in README.md.

use std::fmt::Write as _;
use std::fs;

use expect_test::ExpectFile;

use crate::{Kind, Plugin};

/// Compares a text with a file, relative to the plugin's `Cargo.toml`: what a fixture machine yields with
/// `fixtures/web-1/expected`. `UPDATE_EXPECT=1 cargo test` writes it.
///
/// # Panics
///
/// They differ; the message shows in what.
pub fn hold_file(path: &str, text: &str) {
    let path = std::path::absolute(path).expect("a working directory");
    ExpectFile { path, position: file!() }.assert_eq(text);
}

/// Between these lines of README.md stands the table.
const BEGIN: &str = "<!-- metrics -->\n";
const END: &str = "<!-- /metrics -->";

/// What a plugin measures, as a table in Markdown.
///
/// # Panics
///
/// Never.
#[must_use]
pub fn metrics_table<P: Plugin>() -> String {
    let mut table = String::from("| metric | kind | unit | meaning |\n|---|---|---|---|\n");
    for metric in P::ABOUT.metrics {
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let description = metric.description.replace('|', "\\|");
        let _ = writeln!(table, "| `{}.{}` | {kind} | `{}` | {description} |", metric.module, metric.name, metric.unit);
    }
    table
}

/// Compares the table in the README.md beside the plugin's `Cargo.toml`, between `<!-- metrics -->` and
/// `<!-- /metrics -->`, with what the plugin describes. `UPDATE_EXPECT=1 cargo test` writes it.
///
/// # Panics
///
/// They differ, or there is no such place in README.md.
pub fn hold_readme<P: Plugin>() {
    let text = fs::read_to_string("README.md").unwrap_or_else(|error| panic!("README.md: {error}"));
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("README.md has no lines {BEGIN}{END}"));
    hold_file("README.md", &format!("{before}{BEGIN}{}{END}{after}", metrics_table::<P>()));
}
