//! How a command of this program fails, and with which exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::config::Problem;
use crate::plugin::harness::LoadError;

/// The exit code for a command line or a configuration that is wrong; clap uses the same for its own errors.
pub const USAGE_ERROR: u8 = 2;

/// Why a command has no result.
#[derive(Debug)]
pub enum CommandError {
    /// The arguments contradict the configuration or the plugin's file; the remedy is in the text.
    Usage(String),
    /// The configuration is wrong.
    Configuration(Vec<Problem>),
    /// The file holds no plugin that can be loaded.
    Load(LoadError),
    /// Anything else.
    Other(anyhow::Error),
}

impl CommandError {
    /// Prints the error on standard error. Returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let (lines, code) = match self {
            Self::Usage(why) => (vec![why.clone()], USAGE_ERROR.into()),
            Self::Configuration(problems) => (problems.iter().map(ToString::to_string).collect(), USAGE_ERROR.into()),
            Self::Load(error) => (vec![error.to_string()], ExitCode::FAILURE),
            Self::Other(error) => (vec![format!("{error:#}")], ExitCode::FAILURE),
        };
        print_errors(&lines);
        code
    }
}

impl<T: Into<anyhow::Error>> From<T> for CommandError {
    fn from(error: T) -> Self {
        Self::Other(error.into())
    }
}

/// Prints each error as a line on standard error.
pub fn print_errors(lines: &[impl std::fmt::Display]) {
    for line in lines {
        // Without a reader there is no other place for an error.
        let _ = writeln!(io::stderr(), "{line}");
    }
}
