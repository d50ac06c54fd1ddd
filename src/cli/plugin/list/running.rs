//! `gauged plugin list --running`: the plugins of a running agent, by its status.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json};
use crate::cli::status::text::plugins_text;
use crate::cli::status::{document, running_agent};

/// Shows the plugins of the agent that listens at a socket.
pub(in crate::cli::plugin) async fn run(socket: Option<PathBuf>, json: bool) -> Result<ExitCode, CommandError> {
    let (_, answer) = running_agent(socket).await?;
    let document = document(&answer)?;
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&plugins_text(&document))?,
        OutputFormat::Json => print_json(&answer["plugins"]["list"])?,
    }
    Ok(ExitCode::SUCCESS)
}
