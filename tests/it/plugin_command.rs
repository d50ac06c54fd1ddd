//! `gauged plugin …`: the commands for authors of plugins.

mod inspect;
mod test;
mod list;
pub mod scaffold;

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::guest::Guest;
use crate::harness::Host;

/// The exit status and the output of a command.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The standard output, parsed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {}{}", self.out, self.err))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs `gauged plugin …` in a host's directory.
pub fn plugin(host: &Host, arguments: &[&str]) -> Said {
    host.run(&[&["plugin"], arguments].concat()).into()
}

/// Writes a guest to a file in a host's directory; returns the path.
pub fn write_plugin(host: &Host, guest: &Guest, name: &str) -> PathBuf {
    let file = host.path(name);
    std::fs::write(&file, guest.module()).expect("written");
    file
}
