//! The words of `gauged plugin …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::author::{Form, Language, Order, Subject, parse_name};
use crate::config::{Addition, Overrides, parse_interval};

/// What to do with a plugin.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show what a plugin's file is, what it measures, what it needs, and the lines that grant it that
    ///
    /// The file is loaded and compiled as the agent does, asked who it is, and configured. Exit codes: 0 when it can be
    /// loaded, configured or not; 1 when it cannot; 2 when the command line or the configuration is wrong.
    Inspect {
        /// The plugin
        #[command(flatten)]
        subject: SubjectWords,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a plugin as the agent does, under the same limits, and show how that went
    ///
    /// Shows the last sample; how long the runs took and how much memory there was; what the plugin says, messages for its
    /// author included; what it was denied, and the lines that grant it; and breaches of the contract: metrics that are not
    /// described, that are of another kind than described, that were dropped and why, counters that fell, and label sets
    /// that keep growing, which takes four runs to see. Exit codes: 0 when all was well; 1 when the plugin cannot be loaded,
    /// failed, never measured, lacks a grant or was denied one, or broke the contract; 2 when the command line or the
    /// configuration is wrong.
    Test {
        /// The plugin
        #[command(flatten)]
        subject: SubjectWords,
        /// How many runs
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        runs: u32,
        /// Time from one run to the next, such as 1s or 100ms
        #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_interval)]
        interval: Duration,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin a new plugin: make a directory with a complete, working project
    ///
    /// It has sources, a build and tests by build.sh and test.sh, the contract, and a README that says what has to be
    /// installed; it measures something already. All of it is in this program: nothing is fetched. Exit codes: 0 when it is
    /// made; 1 when it cannot be, and nothing is left of it then; 2 when the command line is wrong.
    New {
        /// The plugin's name, and that of the directory
        #[arg(value_parser = parse_name)]
        name: String,
        /// The language to write it in
        #[arg(long, value_name = "LANGUAGE")]
        lang: LanguageWord,
        /// Directory to make it in; among the plugins of gauged's own sources, a Rust plugin is built with those
        #[arg(long, value_name = "DIR", default_value = ".")]
        into: PathBuf,
    },
    /// Show the plugins of a directory, or those of a running agent, as a table
    ///
    /// Each file is loaded, configured and run once, as the agent would; its state is the one that it would have then. Exit
    /// codes: 0 whatever state they are in; 1 when the directory or the samples cannot be read; 2 when the command line or
    /// the configuration is wrong.
    List {
        /// Which
        #[command(flatten)]
        which: ListWords,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LanguageWord {
    /// By cargo, for wasm32-unknown-unknown
    Rust,
    /// By componentize-py
    Python,
    /// By componentize-js
    Javascript,
    /// By clang
    C,
}

/// Which plugins to list.
#[derive(Debug, Args)]
pub struct ListWords {
    /// Plugins directory [default: as for the agent]
    pub directory: Option<PathBuf>,
    /// Configuration file, whose plugins directory and tables hold [default: as for the agent]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory in which the measured host's root is mounted [default: /]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Show what a running agent has instead, by the last of the samples that it wrote to this file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "config", "root"])]
    pub sample: Option<PathBuf>,
}

/// A plugin's file, and how the plugin is to be configured.
#[derive(Debug, Args)]
pub struct SubjectWords {
    /// The plugin's .wasm file
    pub file: PathBuf,
    /// The plugin's name [default: as the agent would call it]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Configuration file, whose table [plugins.NAME] holds [default: as for the agent]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory in which the measured host's root is mounted [default: /]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Grant it something more, such as read=/var/lib/app/*, usage=/srv, connect=localhost:6379, fetch=http://localhost:80
    #[arg(long, value_name = "KIND=VALUE", value_parser = Addition::grant)]
    pub grant: Vec<Addition>,
    /// Change a key of its own configuration; the value is TOML, and whatever is not is a text
    #[arg(long, value_name = "KEY=VALUE", value_parser = Addition::setting)]
    pub set: Vec<Addition>,
}

impl From<SubjectWords> for Subject {
    fn from(words: SubjectWords) -> Self {
        let overrides = Overrides { file: words.config, root: words.root, ..Overrides::default() };
        let additions = words.grant.into_iter().chain(words.set).collect();
        Self { file: words.file, name: words.name, overrides, additions }
    }
}

impl From<LanguageWord> for Language {
    fn from(word: LanguageWord) -> Self {
        match word {
            LanguageWord::Rust => Self::Rust,
            LanguageWord::Python => Self::Python,
            LanguageWord::Javascript => Self::JavaScript,
            LanguageWord::C => Self::C,
        }
    }
}

impl From<PluginCommand> for Order {
    fn from(command: PluginCommand) -> Self {
        match command {
            PluginCommand::New { name, lang, into } => Self::New(name, lang.into(), into),
            PluginCommand::Inspect { subject, json } => Self::Inspect(subject.into(), form(json)),
            PluginCommand::Test { subject, runs, interval, json } => {
                Self::Test(subject.into(), runs as usize, interval, form(json))
            }
            PluginCommand::List { which: ListWords { sample: Some(file), .. }, json } => {
                Self::Sampled(file, form(json))
            }
            PluginCommand::List { which, json } => {
                let (file, root) = (which.config, which.root);
                let overrides = Overrides { file, plugins_directory: which.directory, root, ..Overrides::default() };
                Self::List(overrides, form(json))
            }
        }
    }
}

fn form(json: bool) -> Form {
    if json { Form::Json } else { Form::Text }
}
