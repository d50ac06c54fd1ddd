//! What the agent is to do, validated: nothing in a [`Config`] can turn out to be wrong later. The TOML as written is
//! `config::file`'s business, the command line's words are `cli`'s; here the two become one, and every error of both is
//! found before the first tick.

mod overrides;
mod file;
pub mod limits;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;

use self::limits::Limits;
pub use self::overrides::PluginOverride;
use crate::address::{ConnectGrant, Origin};
use crate::hostpath::Pattern;

/// How often samples are taken where nothing is said: the finest step that most time series stores keep.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Below this an agent is a profiler.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Above this a plugin that is not due for a day could as well be a cron job.
pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long one call of a plugin may take: long for what reads kernel files (microseconds), enough for a local service.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest time that is measured exactly enough to be a limit.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// The longest time that a plugin may be away.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// All linear memories of a plugin together: a Python guest starts with 16 MiB, a Rust one with 1.
pub const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;

/// Less than this and no guest with a heap starts.
pub const MIN_MEMORY_BYTES: u64 = 64 << 10;

/// A collector that needs more than this is another program.
pub const MAX_MEMORY_BYTES: u64 = 1 << 30;

/// Where the configuration is looked for, in this order, when no file is named.
pub const DEFAULT_FILES: [&str; 2] = ["gauged.toml", "/etc/gauged/gauged.toml"];

/// What the whole agent is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// The time between ticks.
    pub interval: Duration,
    /// Where the root of the measured host is mounted: `/`, or `/host` in a container.
    pub root: PathBuf,
    /// The directory whose `*.wasm` files are the plugins.
    pub plugins_directory: PathBuf,
    /// Where compiled plugins are kept; none where there is no place for them.
    pub cache: Option<PathBuf>,
    /// Whether the module `cpu` has each CPU besides all of them together.
    pub cpu_per_core: bool,
    /// The plugins that the configuration names; all others run with [`PluginConfig::default`].
    pub plugins: BTreeMap<String, PluginConfig>,
}

/// What one plugin is to do, and what it may.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// The name of its file in the plugins directory; none for `<name>.wasm`.
    pub file: Option<String>,
    /// It is due at every so many ticks of the agent.
    pub every: u64,
    /// How long one call may take.
    pub timeout: Duration,
    /// All of its linear memories together.
    pub memory_bytes: u64,
    /// What else it may have.
    pub limits: Limits,
    /// Paths that it may read and list, beyond those that every plugin may.
    pub read: Vec<Pattern>,
    /// Paths whose file system's usage it may see, beyond those that every plugin may.
    pub usage: Vec<Pattern>,
    /// Addresses that it may connect to.
    pub connect: Vec<ConnectGrant>,
    /// Origins that it may send HTTP requests to.
    pub fetch: Vec<Origin>,
    /// Its own configuration, a JSON object.
    pub config: String,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            file: None,
            every: 1,
            timeout: DEFAULT_TIMEOUT,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            limits: Limits::default(),
            read: Vec::new(),
            usage: Vec::new(),
            connect: Vec::new(),
            fetch: Vec::new(),
            config: "{}".to_owned(),
        }
    }
}

/// What the command line says about the configuration; it wins over the file.
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
}

/// Something that is wrong with the configuration, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file.
    pub file: PathBuf,
    /// The line in it, from 1; none when the file as a whole is meant.
    pub line: Option<usize>,
    /// The dotted key; empty when there is none.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", on_one_line(&self.key))?;
        }
        write!(f, ": {}", on_one_line(&self.message))
    }
}

/// A key may be written with characters that a terminal would obey.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the file.
    pub fn load(overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        let file = match &overrides.file {
            Some(named) => Some(named.clone()),
            // One that is there and cannot be read is an error, not a reason to look further.
            None => DEFAULT_FILES
                .iter()
                .map(PathBuf::from)
                .find(|path| !path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)),
        };
        let Some(file) = file else { return Ok(Self::merge(None, file::Written::default(), overrides)) };
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let message = format!("failed to read it: {error}; name a readable file with --config, or leave it out");
            vec![Problem { file: file.clone(), line: None, key: String::new(), message }]
        })?;
        let written = file::parse(&text, &file, overrides.interval)?;
        Ok(Self::merge(Some(file), written, overrides))
    }

    /// One line that says what was found, for who asked whether it is right.
    #[must_use]
    pub fn summary(&self) -> String {
        let file = self.file.as_ref().map_or_else(|| "no configuration file".into(), |file| file.display().to_string());
        let interval = humantime::format_duration(self.interval);
        let (plugins, configured) = (self.plugins_directory.display(), self.plugins.len());
        format!("{file}: ok; a sample every {interval}, plugins from {plugins}, {configured} of them configured")
    }

    fn merge(file: Option<PathBuf>, written: file::Written, overrides: &Overrides) -> Self {
        let beside = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).join("plugins");
        Self {
            interval: overrides.interval.or(written.interval).unwrap_or(DEFAULT_INTERVAL),
            root: overrides.root.clone().unwrap_or_else(|| PathBuf::from("/")),
            plugins_directory: overrides.plugins_directory.clone().unwrap_or(beside),
            cache: written.cache.or_else(|| cache_directory(|name| std::env::var_os(name), geteuid().is_root())),
            cpu_per_core: written.cpu_per_core,
            plugins: written.plugins,
            file,
        }
    }
}

/// Where compiled plugins are kept when nothing is said: in the directory that systemd has set aside, otherwise where
/// this user's caches are. This is all that the environment has a say in.
fn cache_directory(environment: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    // What is not absolute counts as not said, as the XDG specification has it.
    let said = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several directories by colons.
    let first = |path: PathBuf| path.to_string_lossy().split(':').next().map(PathBuf::from);
    let of_service = said("CACHE_DIRECTORY").and_then(first);
    let of_user = || said("XDG_CACHE_HOME").map(|caches| caches.join("gauged"));
    // What root does in somebody's home would be in that somebody's way later.
    let of_root = || is_root.then(|| PathBuf::from("/var/cache/gauged"));
    let of_home = || said("HOME").map(|home| home.join(".cache/gauged"));
    of_service.or_else(of_user).or_else(of_root).or_else(of_home)
}

/// Reads a duration as it is written in the configuration and on the command line, and holds it against its bounds.
///
/// # Errors
///
/// What would be right.
pub fn parse_duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let bounds = || format!("{} to {}", humantime::format_duration(least), humantime::format_duration(most));
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration; write it like \"10s\" or \"500ms\", from {}", bounds()))?;
    if !(least..=most).contains(&duration) {
        return Err(format!("{text:?} is out of bounds; it has to be from {}", bounds()));
    }
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("{text:?} is finer than a millisecond; write whole milliseconds"));
    }
    Ok(duration)
}

/// Reads an interval between ticks.
///
/// # Errors
///
/// What would be right.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, MIN_INTERVAL, MAX_INTERVAL)
}

/// Whether a text can name a plugin: as the name of a module, with `-` besides.
#[must_use]
pub fn is_plugin_name(text: &str) -> bool {
    crate::sample::is_name(&text.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_service_manager_or_the_user_has_caches() {
        let environment = [("CACHE_DIRECTORY", "/a:/b"), ("XDG_CACHE_HOME", "/caches"), ("HOME", "/home/me")];
        let found = |said: &[(&str, &str)], is_root: bool| {
            let said = |name: &str| said.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            cache_directory(said, is_root).map(|path| path.display().to_string()).unwrap_or_default()
        };
        assert_eq!(found(&environment, false), "/a");
        assert_eq!(found(&environment[1..], true), "/caches/gauged");
        assert_eq!(found(&environment[2..], true), "/var/cache/gauged");
        assert_eq!(found(&environment[2..], false), "/home/me/.cache/gauged");
        assert_eq!(found(&[("XDG_CACHE_HOME", "here"), ("CACHE_DIRECTORY", "")], false), "");
    }
}
