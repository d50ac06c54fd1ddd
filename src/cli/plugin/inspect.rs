//! `gauged plugin inspect`: what a file is, what it measures, what it needs, and the lines that grant it that.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::target::{OpenedPlugin, Target, configuration_lines, configuration_text, need_json, needs_table};
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};
use crate::plugin::Failure;
use crate::plugin::harness::{DeniedAccess, DescribedMetric, Grant, Granted, LoadedPlugin, Need, reason};
use crate::sample::MetricKind;

/// Arguments of `gauged plugin inspect`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plugin
    #[command(flatten)]
    pub target: Target,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Loads, describes and configures the plugin, and prints the result. A plugin that cannot be configured is shown all the
/// same.
pub(super) async fn run(Arguments { target, json }: Arguments) -> Result<ExitCode, CommandError> {
    let file = target.file.display().to_string();
    let OpenedPlugin { name, config, mut plugin } = target.open().await?;
    let started = plugin.configure().await;
    let lines = required_lines(&plugin, started.as_deref().unwrap_or_default());
    let inspection = Inspection { file, name, config: config.config, plugin, started, lines };
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&inspection.text())?,
        OutputFormat::Json => print_json(&inspection.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Inspection {
    file: String,
    name: String,
    config: String,
    plugin: LoadedPlugin,
    started: Result<Vec<Need>, Failure>,
    /// What grants it all that it needs and not every plugin may.
    lines: Vec<String>,
}

/// The lines of its table that grant what it needs, or was denied while it started, and not every plugin may.
fn required_lines(plugin: &LoadedPlugin, needs: &[Need]) -> Vec<String> {
    let mut grants: Vec<Grant> = Vec::new();
    let of_all = |need: &&Need| matches!(need.granted, Granted::No | Granted::ByConfiguration);
    grants.extend(needs.iter().filter(of_all).map(|need| need.grant.clone()));
    grants.extend(plugin.seen().denied.into_iter().filter_map(|denial| match denial {
        DeniedAccess::Missing(grant) => Some(grant),
        DeniedAccess::Final(_) => None,
    }));
    plugin.lines(&grants)
}

impl Inspection {
    fn text(&self) -> String {
        let Self { file, name, config, plugin, started, lines } = self;
        let about = &plugin.about;
        let configured = match started {
            Ok(_) => format!("with {config}"),
            Err(failure) => format!("no: with {config} it {}", reason(failure)),
        };
        let description = if about.description.is_empty() { "no description" } else { &about.description };
        let mut text = format!("{name} {}: {description}\n\n", about.version);
        text += &table(
            [
                ("file", format!("{file}, {}", size(plugin.file_bytes))),
                ("SHA-256", plugin.hash()),
                ("artifact", size(plugin.artifact_bytes()).to_string()),
                ("imports", imports(plugin.imports())),
                ("configured", configured),
            ]
            .map(|(what, value)| vec![what.to_owned(), value]),
        );
        text += "\nmetrics\n";
        text += &table(about.metrics.iter().map(|DescribedMetric { module, name, kind, unit, description }| {
            vec![format!("{module}.{name}"), kind_name(*kind).to_owned(), unit.clone(), description.clone()]
        }));
        if about.metrics.is_empty() {
            text += "  none is described\n";
        }
        match started {
            Ok(all) if all.is_empty() => text += "\nneeds nothing that is not granted to all\n",
            Ok(all) => {
                let _ = write!(text, "\nneeds\n{}", needs_table(all));
            }
            Err(_) => text += "\nneeds: not known before it is configured\n",
        }
        if !lines.is_empty() {
            let lines = configuration_text(name, lines);
            let _ =
                write!(text, "\nwhat is not granted to all is granted by these lines of the configuration\n\n{lines}");
        }
        text
    }

    fn json(&self) -> Value {
        let Self { file, name, config, plugin, started, lines } = self;
        let metric = |DescribedMetric { module, name, kind, unit, description }: &DescribedMetric| json!({ "module": module, "name": name, "kind": kind_name(*kind), "unit": unit, "description": description });
        json!({
            "name": name,
            "version": plugin.about.version,
            "description": plugin.about.description,
            "file": file,
            "file_bytes": plugin.file_bytes,
            "sha256": plugin.hash(),
            "artifact_bytes": plugin.artifact_bytes(),
            "imports": plugin.imports(),
            "config": serde_json::from_str::<Value>(config).unwrap_or_default(),
            "error": started.as_ref().err().map(reason),
            "metrics": plugin.about.metrics.iter().map(metric).collect::<Vec<_>>(),
            "needs": started.as_ref().ok().map(|needs| needs.iter().map(need_json).collect::<Vec<_>>()),
            "configuration": configuration_lines(name, lines),
        })
    }
}

/// Of WASI it is enough to know that it is there: it does nothing.
fn imports(all: Vec<String>) -> String {
    let (wasi, mut others): (Vec<String>, Vec<String>) = all.into_iter().partition(|name| name.starts_with("wasi:"));
    if !wasi.is_empty() {
        others.push(format!("{} interfaces of WASI, which do nothing", wasi.len()));
    }
    if others.is_empty() { "nothing".to_owned() } else { others.join(", ") }
}

fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Counter => "counter",
    }
}
