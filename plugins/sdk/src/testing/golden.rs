//! Golden files beside a plugin: samples of fixture machines, and the tables of metrics and settings in README.md.

use std::fmt::Write as _;
use std::fs;

use expect_test::ExpectFile;

use crate::json::{Document, Value};
use crate::{Kind, Plugin, Setting};

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

/// The settings of a plugin as a table in Markdown, with their defaults in TOML.
///
/// # Panics
///
/// A default is not JSON.
#[must_use]
pub fn settings_table<P: Plugin>() -> String {
    let mut table = String::from("| key | type | default | meaning |\n|---|---|---|---|\n");
    for Setting { key, value_type, default, meaning, is_required, is_secret } in P::ABOUT.settings {
        let default = match default {
            Some(json) => ["`", &toml(json), "`"].concat(),
            None if *is_required => "required".to_owned(),
            None => "none".to_owned(),
        };
        let secret = if *is_secret { ", secret" } else { "" };
        let [default, meaning] = [&default, *meaning].map(|text| text.replace('|', "\\|"));
        let _ = writeln!(table, "| `{key}` | {value_type}{secret} | {default} | {meaning} |");
    }
    table
}

/// Compares the tables in the README.md beside the plugin's `Cargo.toml` with what the plugin declares: that of metrics, between
/// `<!-- metrics -->` and `<!-- /metrics -->`, and, for a plugin with settings, that of settings, between `<!-- settings -->` and
/// `<!-- /settings -->`. `UPDATE_EXPECT=1 cargo test` writes the tables.
///
/// # Panics
///
/// They differ, or README.md has no such lines.
pub fn assert_readme<P: Plugin>() {
    let text = fs::read_to_string("README.md").unwrap_or_else(|error| panic!("README.md: {error}"));
    let mut expected = with_table(&text, "metrics", &metrics_table::<P>());
    if !P::ABOUT.settings.is_empty() {
        expected = with_table(&expected, "settings", &settings_table::<P>());
    }
    assert_golden("README.md", &expected);
}

/// The text with this table between the two comments of its name.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("README.md has no lines {begin}{end}"));
    format!("{before}{begin}{table}{end}{after}")
}

/// A default as an operator writes it.
fn toml(json: &str) -> String {
    let document = Document::parse("a default", json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
    toml_value(document.root().value().unwrap_or_else(|error| panic!("{json}: {error}")))
}

fn toml_value(value: &Value<'_>) -> String {
    match value {
        Value::Null => panic!("a default is a value"),
        Value::Boolean(value) => value.to_string(),
        Value::Natural(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => format!("{value:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::List(values) => format!("[{}]", values.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        Value::Table(members) if members.is_empty() => "{}".to_owned(),
        Value::Table(members) => {
            let member = |(key, value)| format!("{key} = {}", toml_value(value));
            format!("{{ {} }}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use expect_test::expect;

    use super::*;
    use crate::{About, Error, NoConfig, Sample, Tick};

    struct Documented;

    impl Plugin for Documented {
        const ABOUT: About = About { version: "1", description: "It.", settings: SETTINGS, metrics: &[] };
        type Config = NoConfig;

        fn configure(_: NoConfig) -> Result<Self, Error> {
            Ok(Self)
        }

        fn collect(&mut self, _: Tick, _: &mut Sample) -> Result<(), Error> {
            Ok(())
        }
    }

    crate::settings! {
        /// Servers to poll.
        "servers": "list of tables" = r#"[{"address": "a:1", "port": -1}]"#;
        /// Its address.
        "servers[].address": "text", required;
        /// Its password.
        "servers[].password": "text", secret;
        /// Labels by name, `a|b`.
        "labels": "table of texts" = "{}";
        /// The share of the time.
        "share": "number" = "0.5";
        /// Whether it is fast.
        "fast": "boolean" = "true";
        /// Names | patterns.
        "names": "list of texts or integers" = r#"["a|b", 7]"#;
    }

    #[test]
    fn settings_are_a_table_with_defaults_in_toml() {
        expect![[r#"
            | key | type | default | meaning |
            |---|---|---|---|
            | `servers` | list of tables | `[{ address = "a:1", port = -1 }]` | Servers to poll. |
            | `servers[].address` | text | required | Its address. |
            | `servers[].password` | text, secret | none | Its password. |
            | `labels` | table of texts | `{}` | Labels by name, `a\|b`. |
            | `share` | number | `0.5` | The share of the time. |
            | `fast` | boolean | `true` | Whether it is fast. |
            | `names` | list of texts or integers | `["a\|b", 7]` | Names \| patterns. |
        "#]]
        .assert_eq(&settings_table::<Documented>());
    }

    #[test]
    fn readme_without_a_table_is_reported() {
        let text = "# It\n\n<!-- settings -->\nold\n<!-- /settings -->\nrest\n";
        let expected = "# It\n\n<!-- settings -->\nnew\n<!-- /settings -->\nrest\n";
        assert_eq!(with_table(text, "settings", "new\n"), expected);
        for without in ["", "<!-- settings -->\n| key |\n", "<!-- /settings -->\n<!-- settings -->\n"] {
            let why = catch_unwind(|| with_table(without, "settings", "")).expect_err("no table");
            let why = why.downcast::<String>().expect("a text");
            assert_eq!(*why, "README.md has no lines <!-- settings -->\n<!-- /settings -->");
        }
    }
}
