//! The plugin of a subcommand: its file and its configuration.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::{CommandError, print_errors};
use crate::cli::output;
use crate::config::script::Script;
use crate::config::{Config, Overrides, PluginConfig, PluginOverride, is_plugin_name};
use crate::escape::printable;
use crate::plugin::harness::{
    Basis, CheckedNeed, Denial, Grant, LoadedPlugin, NeedStatus, PluginHarness, Purpose, ScriptedHost,
};

/// The arguments for a plugin: its file and its configuration.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// .wasm file of the plugin
    pub(super) file: PathBuf,
    /// Its configuration
    #[command(flatten)]
    pub(super) options: TargetOptions,
}

/// The arguments for the configuration of a plugin.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetOptions {
    /// Name of the plugin [default: as in the agent]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Configuration file with the table [plugins.NAME] [default: as for the agent]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory in which the measured host's root is mounted [default: /]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Add a grant, such as read=/var/lib/app/*, usage=/srv, connect=localhost:6379, fetch=http://localhost:80
    #[arg(long, value_name = "KIND=VALUE", value_parser = PluginOverride::grant)]
    grant: Vec<PluginOverride>,
    /// Change a setting of the plugin; a VALUE that is not TOML is a text
    #[arg(long, value_name = "KEY=VALUE", value_parser = PluginOverride::setting)]
    set: Vec<PluginOverride>,
}

/// A loaded plugin, with its name and configuration.
pub(super) struct OpenedPlugin {
    pub(super) name: String,
    pub(super) config: PluginConfig,
    pub(super) plugin: LoadedPlugin,
}

impl Target {
    /// Takes root, grants and settings from a script.
    pub(super) fn play(&mut self, script: &Script, host: &ScriptedHost) {
        self.options.root = Some(host.root().to_owned());
        // Those of the command line come last.
        self.options.grant.splice(0..0, script.overrides.iter().cloned());
    }

    /// Loads the plugin for an engine with this purpose.
    pub(super) async fn open(self, purpose: Purpose) -> Result<OpenedPlugin, CommandError> {
        let Self { file, options: TargetOptions { name, config, root, grant, set } } = self;
        let overrides = Overrides { file: config, root, ..Overrides::default() };
        let config = Config::load(&overrides).map_err(CommandError::Configuration)?;
        print_errors(&config.refusals);
        let harness = PluginHarness::new(&config, purpose)?;
        let name = match name {
            Some(name) => name,
            None => default_name(&file, &harness)?,
        };
        if !is_plugin_name(&name) {
            let why = format!("{name:?} cannot name a plugin; use letters, digits, - and _, at most 128 of them");
            return Err(CommandError::Usage(why));
        }
        let table = config.plugins.get(&name).cloned();
        let is_configured = table.is_some() || !grant.is_empty() || !set.is_empty();
        let mut own = table.unwrap_or_default();
        for plugin_override in grant.into_iter().chain(set) {
            own.apply(plugin_override);
        }
        // The settings of the command line may leave no place for one.
        own.check_secrets().map_err(|why| CommandError::Usage(format!("[plugins.{name}] {why}")))?;
        let opened = harness.open(&name, is_configured.then(|| own.clone()), &file).await;
        let plugin = opened.map_err(|error| anyhow::anyhow!("{} {error}", file.display()))?;
        Ok(OpenedPlugin { name, config: own, plugin })
    }
}

/// The name that the plugin of a file has in the agent.
fn default_name(file: &Path, harness: &PluginHarness) -> Result<String, CommandError> {
    let usage = |why: String| CommandError::Usage(format!("{} {why}", file.display()));
    let Some(stem) = file.file_stem().unwrap_or_default().to_str() else {
        return Err(usage("has a name that is not UTF-8; rename it, or set a name with --name".to_owned()));
    };
    let names = harness
        .plugins_of(&format!("{stem}.wasm"))
        .map_err(|why| usage(format!("{why}, or set a name with --name")))?;
    match &names[..] {
        [name] => Ok(name.clone()),
        _ => Err(usage(format!("is the file of the plugins {}; choose one with --name", names.join(", ")))),
    }
}

/// A table of a plugin's needs, and whether they are granted.
pub(super) fn needs_table<'a>(needs: impl IntoIterator<Item = &'a CheckedNeed>) -> String {
    let row = |need: &CheckedNeed| {
        let CheckedNeed { reason, status, .. } = need;
        let granted = match status {
            NeedStatus::Granted(Basis::Default) => "granted by default".to_owned(),
            NeedStatus::Granted(Basis::Configuration) => "granted".to_owned(),
            NeedStatus::Missing => "not granted".to_owned(),
            NeedStatus::Impossible { why, remedy } => format!("{why}; {remedy}"),
        };
        vec![need.shown(), granted, format!("to {reason}")]
    };
    output::table(needs.into_iter().map(row))
}

/// A need, as JSON.
pub(super) fn need_json(CheckedNeed { grant, reason, status }: &CheckedNeed) -> Value {
    let (granted, why) = match status {
        NeedStatus::Granted(Basis::Default) => ("all", None),
        NeedStatus::Granted(Basis::Configuration) => ("configuration", None),
        NeedStatus::Missing => ("no", None),
        NeedStatus::Impossible { why, .. } => ("never", Some(why)),
    };
    let (key, value) = match grant {
        Ok(grant) => (grant.kind.name(), printable(&grant.value)),
        Err(unknown) => (&*unknown.kind, unknown.target.clone()),
    };
    json!({ "key": key, "value": value, "reason": reason, "granted": granted, "why": why })
}

/// The lines of its table that grant its needs and what it was denied. Default grants are left out.
pub(super) fn required_lines(plugin: &LoadedPlugin, needs: &[CheckedNeed], denials: &[Denial]) -> Vec<String> {
    let is_required =
        |need: &&CheckedNeed| matches!(need.status, NeedStatus::Missing | NeedStatus::Granted(Basis::Configuration));
    let grants = needs.iter().filter(is_required).filter_map(|need| need.grant.as_ref().ok());
    let grants: Vec<Grant> = grants.chain(denials.iter().filter_map(Denial::missing)).cloned().collect();
    plugin.context.grant_lines(&grants)
}

/// The table `[plugins.NAME]` with these lines; empty without lines.
pub(super) fn configuration_lines(name: &str, lines: &[String]) -> Vec<String> {
    if lines.is_empty() { Vec::new() } else { [&[format!("[plugins.{name}]")], lines].concat() }
}

/// The lines of [`configuration_lines`], indented.
pub(super) fn configuration_text(name: &str, lines: &[String]) -> String {
    output::table(configuration_lines(name, lines).into_iter().map(|line| vec![line]))
}
