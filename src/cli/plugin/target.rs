//! The plugin that a subcommand is about: its file, and the configuration that it is loaded with.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::{CommandError, print_errors};
use crate::cli::output;
use crate::config::{Config, Overrides, PluginConfig, PluginOverride, is_plugin_name};
use crate::plugin::harness::{Granted, LoadedPlugin, Need, PluginHarness};

/// A plugin's file, and how the plugin is to be configured.
#[derive(Debug, Args)]
pub struct Target {
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
    #[arg(long, value_name = "KIND=VALUE", value_parser = PluginOverride::grant)]
    pub grant: Vec<PluginOverride>,
    /// Change a key of its own configuration; the value is TOML, and whatever is not is a text
    #[arg(long, value_name = "KEY=VALUE", value_parser = PluginOverride::setting)]
    pub set: Vec<PluginOverride>,
}

/// A plugin that was loaded for a subcommand.
pub(super) struct OpenedPlugin {
    pub(super) name: String,
    pub(super) config: PluginConfig,
    pub(super) plugin: LoadedPlugin,
}

impl Target {
    /// Loads the plugin.
    pub(super) async fn open(self) -> Result<OpenedPlugin, CommandError> {
        let overrides = Overrides { file: self.config, root: self.root, ..Overrides::default() };
        let config = Config::load(&overrides).map_err(CommandError::Configuration)?;
        print_errors(&config.refusals);
        let harness = PluginHarness::new(&config)?;
        let name = match self.name {
            Some(name) => name,
            None => default_name(&self.file, &harness)?,
        };
        if !is_plugin_name(&name) {
            let why = format!("{name:?} cannot name a plugin; use letters, digits, - and _, at most 128 of them");
            return Err(CommandError::Usage(why));
        }
        let table = config.plugins.get(&name).cloned();
        let is_configured = table.is_some() || !self.grant.is_empty() || !self.set.is_empty();
        let mut own = table.unwrap_or_default();
        for plugin_override in self.grant.into_iter().chain(self.set) {
            own.apply(plugin_override);
        }
        let plugin =
            harness.open(&name, is_configured.then(|| own.clone()), &self.file).await.map_err(CommandError::Load)?;
        Ok(OpenedPlugin { name, config: own, plugin })
    }
}

/// The name that the agent would give the plugin of a file.
fn default_name(file: &Path, harness: &PluginHarness) -> Result<String, CommandError> {
    let usage = |why: String| CommandError::Usage(format!("{} {why}", file.display()));
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let names =
        harness.plugins_of(&format!("{stem}.wasm")).map_err(|why| usage(format!("{why}, or give a name by --name")))?;
    match &names[..] {
        [name] => Ok(name.clone()),
        _ => Err(usage(format!("makes the plugins {}; choose one by --name", names.join(", ")))),
    }
}

/// A plugin's needs and whether they are granted, as a table.
pub(super) fn needs_table(needs: &[Need]) -> String {
    let row = |Need { grant, reason, granted }: &Need| {
        let granted = match granted {
            Granted::ToAll => "granted to all".to_owned(),
            Granted::ByConfiguration => "granted".to_owned(),
            Granted::No => "not granted".to_owned(),
            Granted::Never(why) => format!("{why}; fix the plugin"),
        };
        vec![grant.to_string(), granted, format!("to {reason}")]
    };
    output::table(needs.iter().map(row))
}

/// A need, as JSON.
pub(super) fn need_json(Need { grant, reason, granted }: &Need) -> Value {
    let (granted, why) = match granted {
        Granted::ToAll => ("all", None),
        Granted::ByConfiguration => ("configuration", None),
        Granted::No => ("no", None),
        Granted::Never(why) => ("never", Some(why)),
    };
    json!({ "key": grant.key(), "value": grant.value(), "reason": reason, "granted": granted, "why": why })
}

/// The table `[plugins.NAME]` with these lines; nothing when there are none.
pub(super) fn configuration_lines(name: &str, lines: &[String]) -> Vec<String> {
    if lines.is_empty() { Vec::new() } else { [&[format!("[plugins.{name}]")], lines].concat() }
}

/// The same, indented for people.
pub(super) fn configuration_text(name: &str, lines: &[String]) -> String {
    output::table(configuration_lines(name, lines).into_iter().map(|line| vec![line]))
}
