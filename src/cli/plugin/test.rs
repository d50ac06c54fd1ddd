//! `gauged plugin test`: runs a plugin several times and checks it. The test passes if the plugin measured at least once,
//! never failed, was denied no access, is missing no grant, and followed the plugin rules.

use std::process::ExitCode;

use clap::Args;

use super::interruption::unless_ended;
use super::report::TestReport;
use super::runs::RunArguments;
use super::target::Target;
use crate::cli::error::{CommandError, print_errors};
use crate::cli::output::{OutputFormat, print, print_json};
use crate::plugin::harness::Purpose;
use crate::process::Signals;

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
    let has_script = runs.has_script();
    let measured = TestReport::measure(target, runs, Purpose::Diagnose);
    // Without a script there is nothing that a signal would leave behind.
    let ended = if has_script { unless_ended(&mut Signals::handle()?, measured).await } else { Some(measured.await) };
    let Some(report) = ended else {
        print_errors(&["a signal has ended the test".to_owned()]);
        return Ok(ExitCode::FAILURE);
    };
    let report = report?;
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&report.text())?,
        OutputFormat::Json => print_json(&report.json())?,
    }
    Ok(if report.results.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
