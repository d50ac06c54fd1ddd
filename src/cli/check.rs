//! `gauged check`: reads the configuration as the agent does, and reports every error.

use std::process::ExitCode;

use super::error::{CommandError, USAGE_ERROR, print_errors};
use super::output::print;
use crate::config::{Config, Overrides, Refusal};

/// Checks the configuration. The exit code is 0 if it is valid and no existing file of the working directory is refused,
/// otherwise 2.
#[must_use]
pub fn run(overrides: &Overrides) -> ExitCode {
    let config = match Config::load(overrides) {
        Ok(config) => config,
        Err(problems) => return CommandError::Configuration(problems).report(),
    };
    let refusals: Vec<&Refusal> = config.refusals.iter().filter(|refusal| refusal.is_present).collect();
    print_errors(&refusals);
    if let Err(error) = print(&format!("{}\n", config.summary())) {
        return CommandError::from(error).report();
    }
    if refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(USAGE_ERROR) }
}
