//! `gauged plugin inspect`: a plugin's file, metrics and needs, and the configuration that grants the needs.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::target::{OpenedPlugin, Target, configuration_lines, configuration_text, need_json, needs_table};
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};
use crate::plugin::Failure;
use crate::plugin::harness::{DeniedAccess, DescribedMetric, Grant, Granted, LoadedPlugin, Need, reason};

/// Arguments of `gauged plugin inspect`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plugin
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Loads, describes and configures the plugin, and prints the result, also if the plugin cannot be configured.
pub(super) async fn run(Arguments { target, json }: Arguments) -> Result<ExitCode, CommandError> {
    let file = target.file.display().to_string();
    let OpenedPlugin { name, config, mut plugin } = target.open().await?;
    let configured = plugin.configure().await;
    let lines = required_lines(&plugin, configured.as_deref().unwrap_or_default());
    let inspection = Inspection { file, name, config: config.config, plugin, configured, lines };
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
    config: String,
    plugin: LoadedPlugin,
    /// The needs, or the failure of `configure`.
    configured: Result<Vec<Need>, Failure>,
    /// The lines of its table with the grants that it needs.
    lines: Vec<String>,
}

/// The lines of its table that grant its needs, and the accesses that were denied while it was configured. Default grants
/// are left out.
fn required_lines(plugin: &LoadedPlugin, needs: &[Need]) -> Vec<String> {
    let mut grants: Vec<Grant> = Vec::new();
    let is_not_default = |need: &&Need| matches!(need.granted, Granted::No | Granted::ByConfiguration);
    grants.extend(needs.iter().filter(is_not_default).map(|need| need.grant.clone()));
    grants.extend(plugin.take_observations().denied.into_iter().filter_map(|denial| match denial {
        DeniedAccess::Missing(grant) => Some(grant),
        DeniedAccess::Final(_) => None,
    }));
    plugin.lines(&grants)
}

impl Inspection {
    fn text(&self) -> String {
        let Self { file, name, config, plugin, configured: needs, lines } = self;
        let about = &plugin.about;
        let configured = match needs {
            Ok(_) => format!("with {config}"),
            Err(failure) => format!("failed with {config}: it {}", reason(failure)),
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
            .map(|(label, value)| vec![label.to_owned(), value]),
        );
        text += "\nmetrics\n";
        text += &table(about.metrics.iter().map(|DescribedMetric { module, name, kind, unit, description }| {
            vec![format!("{module}.{name}"), kind.name().to_owned(), unit.clone(), description.clone()]
        }));
        if about.metrics.is_empty() {
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
        let metric = |DescribedMetric { module, name, kind, unit, description }: &DescribedMetric| json!({ "module": module, "name": name, "kind": kind.name(), "unit": unit, "description": description });
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
            "error": configured.as_ref().err().map(reason),
            "metrics": plugin.about.metrics.iter().map(metric).collect::<Vec<_>>(),
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
