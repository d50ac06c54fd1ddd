//! Golden files beside a plugin: samples of fixture machines, and the table of metrics in README.md.

use std::fmt::Write as _;
use std::fs;

use expect_test::ExpectFile;

use crate::{Kind, Plugin};

/// Compares a text with a file, such as the sample of a fixture machine with `fixtures/web-1/expected`. The path is
/// relative to the plugin's `Cargo.toml`. `UPDATE_EXPECT=1 cargo test` writes the file.
///
/// # Panics
///
/// They differ; the message has the differences.
pub fn assert_golden(path: &str, text: &str) {
    let path = std::path::absolute(path).expect("a working directory");
    ExpectFile { path, position: file!() }.assert_eq(text);
}

/// The lines of README.md around the table.
const BEGIN: &str = "<!-- metrics -->\n";
const END: &str = "<!-- /metrics -->";

/// The metrics of a plugin as a table in Markdown.
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
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let description = metric.description.replace('|', "\\|");
        let _ = writeln!(table, "| `{}.{}` | {kind} | `{}` | {description} |", metric.module, metric.name, metric.unit);
    }
    table
}

/// Compares the table of metrics in the README.md beside the plugin's `Cargo.toml`, between `<!-- metrics -->` and
/// `<!-- /metrics -->`, with the declared metrics. `UPDATE_EXPECT=1 cargo test` writes the table.
///
/// # Panics
///
/// They differ, or README.md has no such lines.
pub fn assert_readme_metrics<P: Plugin>() {
    let text = fs::read_to_string("README.md").unwrap_or_else(|error| panic!("README.md: {error}"));
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("README.md has no lines {BEGIN}{END}"));
    assert_golden("README.md", &format!("{before}{BEGIN}{}{END}{after}", metrics_table::<P>()));
}
