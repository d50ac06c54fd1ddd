//! The errors of commands, and their exit codes.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::config::Problem;
use crate::escape::push_escaped;

/// The exit code for an invalid command line or configuration; the same as clap's.
pub const USAGE_ERROR: u8 = 2;

/// The error of a command.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The arguments contradict the configuration or the plugin's file; the remedy is in the text.
    Usage(String),
    /// The configuration is invalid.
    Configuration(Vec<Problem>),
    /// Any other error.
    Other(anyhow::Error),
}

impl CommandError {
    /// Prints the error on standard error. Returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let (lines, code) = match self {
            Self::Usage(why) => (vec![why.clone()], USAGE_ERROR.into()),
            Self::Configuration(problems) => (problems.iter().map(ToString::to_string).collect(), USAGE_ERROR.into()),
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
        let mut escaped = String::new();
        push_escaped(&mut escaped, &line.to_string());
        // If standard error is closed, there is no other place for it.
        let _ = writeln!(io::stderr(), "{escaped}");
    }
}
