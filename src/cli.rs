//! The command line: its words, and what they mean. What a configuration file says besides is `config`'s business.

pub mod check;
pub mod plugin;
pub mod error;
mod output;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use self::plugin::PluginCommand;
use crate::config::{Overrides, parse_interval};
use crate::hostname;
use crate::sink::Style;

/// A host metrics agent that is extended by dropping WebAssembly files into a folder.
///
/// Prints one JSON object a tick on standard output, and its log on standard error.
///
/// Exit codes: 0 when it was told to end, or when nobody reads its output any more; 1 when something that it needs to
/// run fails; 2 when the command line or the configuration is wrong.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: Run,
}

/// How to run.
#[derive(Debug, Args)]
pub struct Run {
    /// What replaces parts of the configuration.
    #[command(flatten)]
    pub configuration: Configuration,
    /// Print one sample and end; on several lines when standard output is a terminal
    #[arg(long)]
    pub once: bool,
    /// Print the sample on several lines in any case
    #[arg(long, requires = "once")]
    pub pretty: bool,
}

/// What replaces parts of the configuration.
#[derive(Debug, Args)]
pub struct Configuration {
    /// Configuration file [default: gauged.toml, then /etc/gauged/gauged.toml, then none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory whose *.wasm files are the plugins [default: plugins beside the configuration file]
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Time between samples, such as 10s or 500ms [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval, allow_hyphen_values = true)]
    pub interval: Option<Duration>,
    /// Directory in which the measured host's root is mounted [default: /]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Name of the host in samples [default: $GAUGED_HOSTNAME, the key hostname, or the host's own name]
    #[arg(long, value_name = "NAME", value_parser = parse_hostname)]
    pub hostname: Option<String>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the configuration: shows every error, and exits with 0 when there is none and with 2 otherwise
    Check(Configuration),
    /// Inspect, try out, list and begin plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Compile a plugin: how the agent runs itself, with the file and the artifact as standard input and output
    #[command(hide = true)]
    Compile,
}

impl Run {
    /// How the one sample is to be laid out; none when that depends on where it goes.
    #[must_use]
    pub fn style(&self) -> Option<Style> {
        self.pretty.then_some(Style::Pretty)
    }
}

impl From<Configuration> for Overrides {
    fn from(words: Configuration) -> Self {
        let Configuration { config: file, plugins: plugins_directory, interval, root, hostname } = words;
        Self { file, plugins_directory, interval, root, hostname }
    }
}

fn parse_hostname(text: &str) -> Result<String, String> {
    hostname::check(text).map(|()| text.to_owned())
}
