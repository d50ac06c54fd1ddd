//! `gauged check`: reads the configuration as the agent does, looks at the paths of its outputs, has the plugins look at their settings,
//! and reports every error at once.

mod plugins;
mod outputs;

use std::fmt::Write as _;
use std::process::ExitCode;

use self::plugins::Findings;
use super::error::{CommandError, USAGE_ERROR, print_errors};
use super::output::print;
use crate::clock::schedule::wall_clock;
use crate::config::{CertificateWarning, Config, Overrides, Reading};
use crate::escape::printable;
use crate::process::ignore_file_size_signal;

/// The options of a check.
#[derive(Debug)]
pub struct Options {
    /// The values that the command line overrides.
    pub overrides: Overrides,
    /// The parts that are checked.
    pub scope: Scope,
    /// The form in which a valid configuration is printed.
    pub output: Output,
}

/// The parts of a configuration that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The files of the configuration.
    Files,
    /// These, and the settings of the plugins by the plugins themselves.
    FilesAndPlugins,
}

/// The form in which a valid configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// One line.
    Summary,
    /// All values, with their sources.
    Effective,
}

/// Checks the configuration. The exit code is 0 if nothing is wrong and no existing file of the working directory is refused,
/// otherwise 2.
///
/// # Errors
///
/// If the runtime cannot be started.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { overrides, scope, output } = options;
    let reading = Reading::new(overrides);
    let findings = match scope {
        Scope::Files => Findings::default(),
        Scope::FilesAndPlugins => check_plugins(&reading)?,
    };
    let refusals = reading.config.refusals.iter().filter(|refusal| refusal.is_present).map(ToString::to_string);
    let (output_problems, output_notes) = outputs::check(&reading);
    let problems = reading.problems.iter().chain(&output_problems).chain(&findings.problems);
    let mut errors: Vec<String> = problems.map(ToString::to_string).collect();
    let is_valid = errors.is_empty();
    errors.extend(refusals);
    print_errors(&errors);
    let mut text = match output {
        Output::Summary if !is_valid => String::new(),
        // It would be that of a configuration which the agent does not start with.
        Output::Effective if !reading.problems.is_empty() => String::new(),
        Output::Summary => format!("{}\n", reading.config.summary()),
        Output::Effective => reading.effective(overrides),
    };
    let notes = output_notes.into_iter().chain(certificate_notes(&reading.config)).chain(proxy_notes(&reading.config));
    for note in notes.chain(findings.notes) {
        let mark = if *output == Output::Effective { "# " } else { "" };
        let _ = writeln!(text, "{mark}note: {note}");
    }
    if let Err(error) = print(&text) {
        return Ok(CommandError::from(error).report());
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(USAGE_ERROR) })
}

/// The certificates that somebody has to look after. They are no errors: the agent starts with them.
fn certificate_notes(config: &Config) -> impl Iterator<Item = String> {
    let warnings = config.certificate_warnings(wall_clock()).into_iter();
    warnings.map(|CertificateWarning { key, file, reason, remedy }| {
        format!("{}: {} {reason}; {remedy}", key, printable(&file))
    })
}

/// The environment variables that name no usable proxy. They are errors of the requests that they are for.
fn proxy_notes(config: &Config) -> impl Iterator<Item = String> {
    config.client.environment.errors().map(printable)
}

fn check_plugins(reading: &Reading) -> anyhow::Result<Findings> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(async {
        // Where that fails, such a write ends the command.
        let _file_size = ignore_file_size_signal();
        plugins::check(reading).await
    });
    // A thread that hangs on a dead file system must not keep the process alive.
    runtime.shutdown_background();
    Ok(findings)
}
