//! `gauged plugin list`: the plugins of a directory. Each file is loaded and run once, to show the state that the plugin would
//! have in the agent. The plugins of a running agent are shown by `running`.

pub(super) mod running;
pub(super) mod sample;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::{CommandError, print_errors};
use crate::cli::output::{OutputFormat, print, print_json, size, table};
use crate::config::{Config, Overrides, Refusal};
use crate::plugin::Failure;
use crate::plugin::harness::{CheckedNeed, LoadError, LoadedPlugin, PluginHarness, PluginState, Purpose, reason};

/// A plugin, or a file without one.
#[derive(Default)]
struct Row {
    /// The plugin's name; none if the file is ignored.
    name: Option<String>,
    file: String,
    /// The value of the agent's metric `plugin_state`; or `off` if the plugin is not enabled; or `missing` if it has a table
    /// in the configuration and no file; or `ignored` if the file's name cannot name a plugin.
    state: &'static str,
    version: Option<String>,
    hash: Option<String>,
    file_bytes: Option<u64>,
    description: Option<String>,
    /// The reason for the state, or the missing grants.
    reason: Option<String>,
}

/// Arguments of `gauged plugin list`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Plugins directory [default: as for the agent]
    directory: Option<PathBuf>,
    /// Configuration file with the plugins' tables [default: as for the agent]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory in which the measured host's root is mounted [default: /]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Show the plugins of a running agent, from the last sample in its output; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "config", "root"])]
    pub(super) sample: Option<PathBuf>,
    /// Show the plugins of a running agent, as gauged status does
    #[arg(long, conflicts_with_all = ["directory", "config", "root", "sample"])]
    pub(super) running: bool,
    /// The agent's socket [default: as for gauged status]
    #[arg(long, value_name = "PATH", requires = "running")]
    pub(super) socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Loads all plugins of the directory, one by one, and prints them.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let Arguments { directory, config: file, root, json, .. } = arguments;
    let overrides = Overrides { file, plugins_directory: directory, root, ..Overrides::default() };
    let config = Config::load(&overrides).map_err(CommandError::Configuration)?;
    let refusals = config.refusals.iter();
    print_errors(
        &refusals
            .map(|Refusal { path, reason, .. }| format!("{} is refused: {reason}; name it to use it", path.display()))
            .collect::<Vec<_>>(),
    );
    let harness = PluginHarness::new(&config, Purpose::Serve)?;
    let Some(directory) = &config.plugins_directory else {
        return Err(CommandError::Usage("no plugins directory; name one as the argument".to_owned()));
    };
    let entries = harness.list(directory).await.map_err(|error| {
        let directory = directory.display();
        anyhow::anyhow!("failed to read the plugins directory {directory}: {error}; name another, or create it")
    })?;
    let mut rows = Vec::new();
    for entry in &entries {
        match &entry.plugins {
            Ok(names) => {
                for name in names {
                    rows.push(row(&harness, &config, name, &entry.file, directory).await);
                }
            }
            Err(why) => rows.push(Row {
                file: entry.file.clone(),
                state: "ignored",
                reason: Some(why.clone()),
                ..Row::default()
            }),
        }
    }
    for (name, plugin) in &config.plugins {
        let file = plugin.file.clone().unwrap_or_else(|| format!("{name}.wasm"));
        if entries.iter().any(|entry| entry.file == file) {
            continue;
        }
        if plugin.enabled {
            let reason = Some(format!("is missing; copy it into the plugins directory, or remove [plugins.{name}]"));
            rows.push(Row { name: Some(name.clone()), file, state: "missing", reason, ..Row::default() });
        } else {
            rows.push(Row::off(name, &file));
        }
    }
    match OutputFormat::new(json) {
        OutputFormat::Text if rows.is_empty() => print(&format!("no plugins in {}\n", directory.display()))?,
        OutputFormat::Text => print(&text(&rows))?,
        OutputFormat::Json => print_json(&rows.iter().map(Row::json).collect())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn row(harness: &PluginHarness, config: &Config, name: &str, file: &str, directory: &Path) -> Row {
    let table = config.plugins.get(name).cloned();
    if table.as_ref().is_some_and(|table| !table.enabled) {
        return Row::off(name, file);
    }
    let path = directory.join(file);
    let row = Row { name: Some(name.to_owned()), file: file.to_owned(), ..Row::default() };
    match harness.open(name, table, &path).await {
        Err(LoadError { hash, rejection }) => Row {
            state: PluginState::Rejected.name(),
            hash: hash.map(|hash| hash.to_string()),
            reason: Some(rejection.text()),
            ..row
        },
        Ok(mut plugin) => {
            let (state, reason) = state(&mut plugin).await;
            let version = &plugin.version;
            Row {
                state: state.name(),
                version: Some(version.name.to_string()),
                hash: Some(version.hash.to_string()),
                file_bytes: Some(plugin.file_bytes),
                description: Some(version.description.summary.to_string()),
                reason,
                ..row
            }
        }
    }
}

/// The state that the plugin would have in the agent, and the reason.
async fn state(plugin: &mut LoadedPlugin) -> (PluginState, Option<String>) {
    let failed = |failure: &Failure, plugin: &LoadedPlugin, after_fault| {
        let state = match failure {
            Failure::Error(error) => error.kind.into(),
            Failure::Disabled(disabled) => PluginState::disabled(disabled.cause, &plugin.context),
            Failure::Fault(_) => after_fault,
        };
        (state, Some(reason(failure)))
    };
    let needs = match plugin.configure().await {
        Ok(needs) => needs,
        Err(failure) => return failed(&failure, plugin, PluginState::Rejected),
    };
    if let Err(failure) = plugin.measure().await {
        return failed(&failure, plugin, PluginState::Failed);
    }
    let unmet = needs.iter().filter(|need| need.is_unmet()).map(CheckedNeed::shown);
    let unmet: Vec<String> = unmet.collect();
    (PluginState::Up, (!unmet.is_empty()).then(|| format!("is missing {}", unmet.join(", "))))
}

fn text(rows: &[Row]) -> String {
    let titles = ["name", "file", "state", "version", "hash", "size", ""].map(str::to_uppercase);
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |row: &Row| {
        let notes = row.description.iter().filter(|description| !description.is_empty()).chain(&row.reason);
        let size = row.file_bytes.map_or_else(|| "-".to_owned(), |bytes| size(bytes).to_string());
        let (name, version, hash) = (shown(&row.name), shown(&row.version), shown(&row.hash));
        let notes: Vec<&str> = notes.map(String::as_str).collect();
        vec![name, row.file.clone(), row.state.to_owned(), version, hash, size, notes.join(" · ")]
    };
    table([titles.to_vec()].into_iter().chain(rows.iter().map(row)))
}

impl Row {
    /// A plugin that is not enabled. The agent would not load it, and so it is not loaded.
    fn off(name: &str, file: &str) -> Self {
        let reason = Some(format!("is not enabled; remove enabled = false from [plugins.{name}] to load it"));
        Self { name: Some(name.to_owned()), file: file.to_owned(), state: "off", reason, ..Self::default() }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "file": self.file,
            "state": self.state,
            "version": self.version,
            "hash": self.hash,
            "file_bytes": self.file_bytes,
            "description": self.description,
            "reason": self.reason,
        })
    }
}
