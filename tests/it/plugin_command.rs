//! `gauged plugin …`: the commands for authors of plugins.

mod inspect;
mod test;
mod dev;
mod grants;
mod script;
mod script_net;
mod list;
pub mod scaffold;
mod upgrade;

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::guest::Guest;
use crate::harness::Setup;

/// The exit status and the output of a command.
pub struct CommandOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    /// The standard output, parsed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}{}", self.stdout, self.stderr))
    }
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs `gauged plugin …` in a setup's directory.
pub fn plugin(setup: &Setup, arguments: &[&str]) -> CommandOutput {
    setup.run(&[&["plugin"], arguments].concat()).into()
}

/// Writes a guest to a file in a setup's directory; returns the path.
pub fn write_plugin(setup: &Setup, guest: &Guest, name: &str) -> PathBuf {
    let file = setup.path(name);
    std::fs::write(&file, guest.module()).expect("written");
    file
}
