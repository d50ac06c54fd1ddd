//! `gauged check`: reads the configuration as the agent would, and reports every error.

use std::process::ExitCode;

use super::error::CommandError;
use super::output::print;
use crate::config::{Config, Overrides};

/// Checks the configuration. Exit code 0 when it is valid, 2 otherwise.
pub fn run(overrides: &Overrides) -> ExitCode {
    let checked = Config::load(overrides).map_err(CommandError::Configuration);
    let printed = checked.and_then(|config| Ok(print(&format!("{}\n", config.summary()))?));
    printed.map_or_else(|error| error.report(), |()| ExitCode::SUCCESS)
}
