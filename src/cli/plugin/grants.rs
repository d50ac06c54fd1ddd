//! `gauged plugin grants`: the files that every plugin may read without a grant; and, for one plugin, which of them it reads, and
//! what else it needs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::target::{
    OpenedPlugin, Target, TargetOptions, configuration_lines, configuration_text, need_json, needs_table,
    required_lines,
};
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, table};
use crate::plugin::Failure;
use crate::plugin::harness::{CheckedNeed, DefaultGrant, Purpose, default_grants, reason};

/// Arguments of `gauged plugin grants`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// .wasm file of the plugin; without it, the files that every plugin may read
    file: Option<PathBuf>,
    /// The plugin's configuration
    #[command(flatten)]
    options: TargetOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the default grants, or those of a plugin.
pub(super) async fn run(Arguments { file, options, json }: Arguments) -> Result<ExitCode, CommandError> {
    let target = file.map(|file| Target { file, options });
    let format = OutputFormat::new(json);
    match (target, format) {
        (None, OutputFormat::Text) => print(&list_text())?,
        (None, OutputFormat::Json) => print_json(&default_grants().map(default_grant_json).collect())?,
        (Some(target), OutputFormat::Text) => print(&UsedGrants::measure(target).await?.text())?,
        (Some(target), OutputFormat::Json) => print_json(&UsedGrants::measure(target).await?.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list_text() -> String {
    let (mut text, mut last) = (String::from("every plugin may read, as far as every local user may\n"), "");
    // One width for all columns.
    let grants: Vec<DefaultGrant> = default_grants().collect();
    let rows = table(grants.iter().map(|grant| vec![grant.path.to_owned(), grant.reason.to_owned()]));
    for (DefaultGrant { heading, .. }, row) in grants.iter().zip(rows.lines()) {
        if *heading != last {
            let _ = write!(text, "\n{heading}\n");
            last = heading;
        }
        let _ = writeln!(text, "{row}");
    }
    text + "\n* stands for any text within one segment, ** for none to six segments.\n"
}

fn default_grant_json(DefaultGrant { heading, path, reason }: DefaultGrant) -> Value {
    json!({ "path": path, "reason": reason, "group": heading })
}

/// The grants that a plugin needs, and those of every plugin that it used in one run.
struct UsedGrants {
    name: String,
    /// The needs, or why it could not be configured.
    needs: Result<Vec<CheckedNeed>, Failure>,
    /// Why it did not measure.
    failure: Option<Failure>,
    /// By the list's order.
    used: Vec<DefaultGrant>,
    denied: Vec<String>,
    /// The lines of its table with the grants that it needs.
    lines: Vec<String>,
}

impl UsedGrants {
    /// Loads a plugin and runs it once.
    async fn measure(target: Target) -> Result<Self, CommandError> {
        let OpenedPlugin { name, mut plugin, .. } = target.open(Purpose::Serve).await?;
        let needs = plugin.configure().await;
        let failure = match &needs {
            Ok(_) => plugin.measure().await.err(),
            Err(_) => None,
        };
        let recording = plugin.take_recording();
        let used = default_grants().filter(|grant| recording.default_grants.contains(grant)).collect();
        let lines = required_lines(&plugin, needs.as_deref().unwrap_or_default(), &recording.denials);
        let denied = recording.denials.iter().map(ToString::to_string).collect();
        Ok(Self { name, needs, failure, used, denied, lines })
    }

    fn text(&self) -> String {
        let Self { name, needs, failure, used, denied, lines } = self;
        let mut text = match (needs, failure) {
            (Err(failure), _) => format!("{name} cannot be configured: it {}\n", reason(failure)),
            (Ok(_), Some(failure)) => format!("{name} did not measure: it {}\n", reason(failure)),
            (Ok(_), None) => format!("{name} measured\n"),
        };
        let needs = needs_table(needs.iter().flatten());
        let _ = write!(text, "\nneeds\n{}", if needs.is_empty() { "  none\n" } else { &needs });
        let used = table(used.iter().map(|grant| vec![grant.path.to_owned(), grant.reason.to_owned()]));
        if !used.is_empty() {
            let _ = write!(text, "\nread, as every plugin may\n{used}");
        }
        if !denied.is_empty() {
            let _ = write!(text, "\ndenied\n{}", table(denied.iter().map(|line| vec![line.clone()])));
        }
        if !lines.is_empty() {
            let _ = write!(text, "\nconfiguration that grants the needs\n\n{}", configuration_text(name, lines));
        }
        text
    }

    fn json(&self) -> Value {
        let Self { name, needs, failure, used, denied, lines } = self;
        json!({
            "name": name,
            "error": needs.as_ref().err().or(failure.as_ref()).map(reason),
            "needs": needs.as_ref().ok().map(|needs| needs.iter().map(need_json).collect::<Vec<_>>()),
            "used": used.iter().copied().map(default_grant_json).collect::<Vec<_>>(),
            "denied": denied,
            "configuration": configuration_lines(name, lines),
        })
    }
}
