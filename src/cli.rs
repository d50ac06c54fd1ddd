//! The command line. The values that it overrides are merged with the configuration file in `config`.

pub mod check;
mod status;
mod plugin;
pub mod error;
mod output;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::plugin::PluginCommand;
use crate::config::{AgentLimits, Overrides, parse_interval};
use crate::hostname;
use crate::plugin::{CompileOptions, EngineOptions, MemoryLayout, Purpose};
use crate::sink::Style;

/// A host metrics agent that is extended by dropping WebAssembly files into a folder.
///
/// Prints a line of JSON to standard output at each tick, and its log to standard error.
///
/// Exit codes: 0 after a signal to end, or when the reader of its output is gone; 1 on failure; 2 if the command line or the
/// configuration is invalid.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The subcommand; none runs the agent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of a run.
    #[command(flatten)]
    pub run: Run,
}

/// The options of a run of the agent.
#[derive(Debug, Args)]
pub struct Run {
    /// The options that override the configuration.
    #[command(flatten)]
    pub configuration: Configuration,
    /// Socket on which gauged status reaches the agent [default: status.sock in $RUNTIME_DIRECTORY, in /run/gauged if root
    /// runs it, or in the directory gauged of $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH", conflicts_with = "once")]
    pub socket: Option<PathBuf>,
    /// Print one sample and end; on several lines if standard output is a terminal
    #[arg(long)]
    pub once: bool,
    /// Print the sample on several lines
    #[arg(long, requires = "once")]
    pub pretty: bool,
}

/// The options that override the configuration.
#[derive(Debug, Args)]
pub struct Configuration {
    /// Configuration file [default: gauged.toml, then /etc/gauged/gauged.toml, then none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory whose *.wasm files are the plugins [default: as in the configuration, or plugins beside it]
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

/// The options of a check.
#[derive(Debug, Args)]
pub struct Check {
    /// The options that override the configuration.
    #[command(flatten)]
    pub configuration: Configuration,
    /// Print the whole configuration in TOML, each value with its source, and without secrets
    #[arg(long)]
    pub effective: bool,
    /// Leave the plugins out
    #[arg(long)]
    pub fast: bool,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the configuration and show every error; exit with 0 if it is valid, otherwise with 2
    ///
    /// Each plugin that would be loaded looks at its settings, with nothing granted. A plugin that is not compiled within 20
    /// seconds is named and left out.
    Check(Check),
    /// Show the state of a running agent: its ticks, collectors and plugins, and what is wrong with the remedy
    ///
    /// Exit codes: 0 if all is well; 1 if something is wrong: a plugin that is in use or has a table in the configuration was
    /// rejected, failed or has no file, a collector cannot read its files, or a tick is overdue; 2 if no agent answers, or the
    /// command line is invalid.
    Status(status::Arguments),
    /// Inspect, test, list and create plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Compile a plugin from standard input to standard output; the agent runs this itself
    #[command(hide = true)]
    Compile(Compile),
}

/// The options of a compilation.
#[derive(Debug, Args)]
pub struct Compile {
    /// Processor time in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = AgentLimits::default().compile_cpu.as_secs())]
    pub cpu: u64,
    /// Compile for an engine that reserves little address space
    #[arg(long)]
    pub compact: bool,
    /// Compile for an engine that shows where a plugin fails
    #[arg(long)]
    pub diagnose: bool,
    /// Compile for such an engine, without optimising
    #[arg(long, conflicts_with = "diagnose")]
    pub develop: bool,
}

impl Run {
    /// The layout of the single sample; none lets it depend on standard output.
    #[must_use]
    pub fn style(&self) -> Option<Style> {
        self.pretty.then_some(Style::Pretty)
    }
}

impl From<Run> for Overrides {
    fn from(run: Run) -> Self {
        Self { status_socket: run.socket, ..run.configuration.into() }
    }
}

impl From<Compile> for CompileOptions {
    fn from(options: Compile) -> Self {
        let layout = if options.compact { MemoryLayout::Compact } else { MemoryLayout::Reserved };
        let purpose = match options {
            Compile { diagnose: true, .. } => Purpose::Diagnose,
            Compile { develop: true, .. } => Purpose::Develop,
            Compile { .. } => Purpose::Serve,
        };
        Self { cpu: Duration::from_secs(options.cpu), engine: EngineOptions { layout, purpose } }
    }
}

impl From<Check> for check::Options {
    fn from(options: Check) -> Self {
        let Check { configuration, effective, fast } = options;
        Self {
            overrides: configuration.into(),
            scope: if fast { check::Scope::Files } else { check::Scope::FilesAndPlugins },
            output: if effective { check::Output::Effective } else { check::Output::Summary },
        }
    }
}

impl From<Configuration> for Overrides {
    fn from(options: Configuration) -> Self {
        let Configuration { config: file, plugins: plugins_directory, interval, root, hostname } = options;
        Self { file, plugins_directory, interval, root, hostname, ..Self::default() }
    }
}

fn parse_hostname(text: &str) -> Result<String, String> {
    hostname::check(text).map(|()| text.to_owned())
}
