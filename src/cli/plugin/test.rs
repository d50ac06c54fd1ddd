//! `gauged plugin test`: runs a plugin several times and checks it. The test passes if the plugin measured at least once,
//! never failed, was denied no access, is missing no grant, and followed the plugin rules.

use std::process::ExitCode;

use clap::Args;

use super::report::TestReport;
use super::runs::RunArguments;
use super::target::Target;
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json};
use crate::plugin::harness::Purpose;

/// Arguments of `gauged plugin test`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plugin
    #[command(flatten)]
    target: Target,
    /// The runs
    #[command(flatten)]
    runs: RunArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the plugin and prints a report. The exit code is 0 if the test passed.
pub(super) async fn run(Arguments { target, runs, json }: Arguments) -> Result<ExitCode, CommandError> {
    let report = TestReport::measure(target, runs, Purpose::Diagnose).await?;
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&report.text())?,
        OutputFormat::Json => print_json(&report.json())?,
    }
    Ok(if report.results.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
