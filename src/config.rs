//! The agent's configuration, validated: nothing in a [`Config`] can turn out to be wrong later. It is made of the file as
//! written (`file`), of the command line ([`Overrides`]) and of the environment; every error is found before the first
//! tick.

mod problem;
mod duration;
mod plugin;
pub mod limits;
pub mod log;
mod overrides;
mod location;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::geteuid;

use self::duration::DEFAULT_INTERVAL;
pub use self::duration::{MAX_INTERVAL, MIN_INTERVAL, parse_interval};
pub use self::location::Refusal;
use self::log::{LogConfig, LogLevel};
pub use self::overrides::PluginOverride;
pub use self::plugin::{PluginConfig, is_plugin_name};
pub use self::problem::Problem;
use crate::hostname::{self, HostnameSource};

/// Overrides the key `hostname`.
const HOSTNAME_VARIABLE: &str = "GAUGED_HOSTNAME";

/// Overrides the key `log.level`.
const LOG_VARIABLE: &str = "GAUGED_LOG";

/// The agent's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// Files of the working directory that were not used, because somebody else can change them.
    pub refusals: Vec<Refusal>,
    /// The time between ticks.
    pub interval: Duration,
    /// The name that the host has in samples.
    pub hostname: HostnameSource,
    /// Where the root of the measured host is mounted: `/`, or `/host` in a container.
    pub root: PathBuf,
    /// The directory whose `*.wasm` files are the plugins; none where the default one was refused.
    pub plugins_directory: Option<PathBuf>,
    /// The directory for compiled plugins; none where there is no place for them.
    pub cache: Option<PathBuf>,
    /// Level and format of the log.
    pub log: LogConfig,
    /// Whether the module `cpu` has each CPU besides the total.
    pub cpu_per_core: bool,
    /// The plugins with a table; all others run with [`PluginConfig::default`].
    pub plugins: BTreeMap<String, PluginConfig>,
}

/// What the command line overrides.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The configuration file, which then has to exist.
    pub file: Option<PathBuf>,
    /// The plugins directory.
    pub plugins_directory: Option<PathBuf>,
    /// The interval, already within its bounds.
    pub interval: Option<Duration>,
    /// The measured host's root.
    pub root: Option<PathBuf>,
    /// The host's name, already checked.
    pub hostname: Option<String>,
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    ///
    /// All errors in it, in the order of the file.
    pub fn load(overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        let mut refusals = Vec::new();
        let file = overrides.file.clone().or_else(|| location::find_file(&mut refusals));
        let written = match &file {
            Some(file) => file::load(file, overrides.interval)?,
            None => file::Written::default(),
        };
        let mut config = Self::merge(file, written, overrides, refusals);
        config.apply_environment(|name| std::env::var(name).ok().filter(|value| !value.is_empty()), overrides)?;
        Ok(config)
    }

    /// One line for `gauged check`.
    #[must_use]
    pub fn summary(&self) -> String {
        let file = self.file.as_ref().map_or_else(|| "no configuration file".into(), |file| file.display().to_string());
        let interval = humantime::format_duration(self.interval);
        let plugins =
            self.plugins_directory.as_ref().map_or_else(|| "nowhere".into(), |path| path.display().to_string());
        let configured = self.plugins.len();
        format!("{file}: ok; a sample every {interval}, plugins from {plugins}, {configured} of them configured")
    }

    fn merge(file: Option<PathBuf>, written: file::Written, overrides: &Overrides, mut refusals: Vec<Refusal>) -> Self {
        let root = overrides.root.clone().unwrap_or_else(|| PathBuf::from("/"));
        let plugins_directory =
            overrides.plugins_directory.clone().or_else(|| location::find_plugins(file.as_deref(), &mut refusals));
        let hostname = overrides.hostname.clone().or(written.hostname);
        Self {
            interval: overrides.interval.or(written.interval).unwrap_or(DEFAULT_INTERVAL),
            hostname: hostname.map_or_else(|| HostnameSource::measured(&root), HostnameSource::Fixed),
            root,
            plugins_directory,
            cache: written
                .cache
                .or_else(|| location::cache_directory(|name| std::env::var_os(name), geteuid().is_root())),
            log: written.log,
            cpu_per_core: written.cpu_per_core,
            plugins: written.plugins,
            file,
            refusals,
        }
    }

    /// Applies the variables that override the file. The command line overrides them.
    fn apply_environment(
        &mut self,
        environment: impl Fn(&str) -> Option<String>,
        overrides: &Overrides,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |name: &str, message| {
            problems.push(Problem { file: PathBuf::from("environment"), line: None, key: format!("${name}"), message });
        };
        if let Some(name) = environment(HOSTNAME_VARIABLE).filter(|_| overrides.hostname.is_none()) {
            match hostname::check(&name) {
                Ok(()) => self.hostname = HostnameSource::Fixed(name),
                Err(why) => wrong(HOSTNAME_VARIABLE, why),
            }
        }
        if let Some(level) = environment(LOG_VARIABLE) {
            match LogLevel::parse(&level) {
                Ok(level) => self.log.level = level,
                Err(why) => wrong(LOG_VARIABLE, why),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}
