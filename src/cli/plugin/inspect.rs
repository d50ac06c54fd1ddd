//! `gauged plugin inspect`: a plugin's file, metrics and needs, and the configuration that grants the needs.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::settings::{configuration_table, setting_json, settings_table};
use super::target::{
    OpenedPlugin, Target, configuration_lines, configuration_text, need_json, needs_table, required_lines,
};
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};
use crate::escape::printable;
use crate::plugin::Failure;
use crate::plugin::harness::{CheckedNeed, DescribedMetric, Dimension, LoadedPlugin, Purpose, reason};
use crate::sample::Descriptor;

/// Arguments of `gauged plugin inspect`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plugin
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print its table of the configuration, with all settings, to be filled in
    #[arg(long, conflicts_with = "json")]
    toml: bool,
}

/// Loads, describes and configures the plugin, and prints the result, also if the plugin cannot be configured.
pub(super) async fn run(Arguments { target, json, toml }: Arguments) -> Result<ExitCode, CommandError> {
    let file = target.file.display().to_string();
    let OpenedPlugin { name, config, mut plugin } = target.open(Purpose::Serve).await?;
    let configured = plugin.configure().await;
    let denials = plugin.take_recording().denials;
    let lines = required_lines(&plugin, configured.as_deref().unwrap_or_default(), &denials);
    if toml {
        print(&configuration_table(&name, &lines, &plugin.version.description.settings))?;
        return Ok(ExitCode::SUCCESS);
    }
    let inspection = Inspection { file, name, config: config.shown_settings(), plugin, configured, lines };
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&inspection.text())?,
        OutputFormat::Json => print_json(&inspection.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of an inspection.
struct Inspection {
    file: String,
    name: String,
    /// The settings, without secrets.
    config: Value,
    plugin: LoadedPlugin,
    /// The needs, or the failure of `configure`.
    configured: Result<Vec<CheckedNeed>, Failure>,
    /// The lines of its table with the grants that it needs.
    lines: Vec<String>,
}

impl Inspection {
    fn text(&self) -> String {
        let Self { file, name, config, plugin, configured: needs, lines } = self;
        let version = &plugin.version;
        let description = plugin.description();
        let configured = match needs {
            Ok(_) => format!("with {config}"),
            Err(failure) => format!("failed with {config}: it {}", reason(failure)),
        };
        let summary = if description.summary.is_empty() { "no description" } else { &description.summary };
        let mut text = format!("{name} {}: {summary}\n\n", version.name);
        text += &table(
            [
                ("file", format!("{file}, {}", size(plugin.file_bytes))),
                ("SHA-256", version.hash.to_hex()),
                ("artifact", size(plugin.artifact_bytes() as u64).to_string()),
                ("imports", imports(plugin.imports())),
                ("configured", configured),
            ]
            .map(|(label, value)| vec![label.to_owned(), value]),
        );
        if !description.settings.is_empty() {
            let _ = write!(text, "\nsettings\n{}", settings_table(&description.settings));
        }
        text += "\nmetrics\n";
        text += &table(description.metrics.iter().map(|DescribedMetric { module, descriptor, labels, .. }| {
            let Descriptor { name, kind, unit, description, .. } = &**descriptor;
            let labels: Vec<&str> = labels.iter().map(|label| &*label.name).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            vec![format!("{module}.{name}{labels}"), kind.name().to_owned(), unit.to_string(), description.to_string()]
        }));
        if description.metrics.is_empty() {
            text += "  none described\n";
        }
        match needs {
            Ok(needs) if needs.is_empty() => text += "\nneeds: none\n",
            Ok(needs) => {
                let _ = write!(text, "\nneeds\n{}", needs_table(needs));
            }
            Err(_) => text += "\nneeds: unknown until it is configured\n",
        }
        if !lines.is_empty() {
            let lines = configuration_text(name, lines);
            let _ = write!(text, "\nconfiguration that grants the needs\n\n{lines}");
        }
        text
    }

    fn json(&self) -> Value {
        let Self { file, name, config, plugin, configured, lines } = self;
        let version = &plugin.version;
        let description = plugin.description();
        let label = |Dimension { name, meaning }: &Dimension| json!({ "name": name, "meaning": printable(meaning) });
        let metric = |metric: &DescribedMetric| {
            let DescribedMetric { module, descriptor, labels, .. } = metric;
            let Descriptor { name, kind, unit, description, .. } = &**descriptor;
            let labels: Vec<Value> = labels.iter().map(label).collect();
            json!({
                "module": **module, "name": **name, "kind": kind.name(), "counts_from": metric.counts_from(),
                "unit": printable(unit), "description": printable(description), "labels": labels,
            })
        };
        json!({
            "name": name,
            "version": *version.name,
            "description": *description.summary,
            "file": file,
            "file_bytes": plugin.file_bytes,
            "sha256": version.hash.to_hex(),
            "artifact_bytes": plugin.artifact_bytes(),
            "imports": plugin.imports(),
            "config": config,
            "error": configured.as_ref().err().map(reason),
            "settings": description.settings.iter().map(setting_json).collect::<Vec<_>>(),
            "metrics": description.metrics.iter().map(metric).collect::<Vec<_>>(),
            "needs": configured.as_ref().ok().map(|needs| needs.iter().map(need_json).collect::<Vec<_>>()),
            "configuration": configuration_lines(name, lines),
        })
    }
}

/// The imported interfaces. Those of WASI have no effect, and are only counted.
fn imports(all: Vec<String>) -> String {
    let (wasi, mut others): (Vec<String>, Vec<String>) = all.into_iter().partition(|name| name.starts_with("wasi:"));
    if !wasi.is_empty() {
        others.push(format!("{} WASI interfaces (without effect)", wasi.len()));
    }
    if others.is_empty() { "none".to_owned() } else { others.join(", ") }
}
