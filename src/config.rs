//! The agent's validated configuration. A [`Config`] is made of the file and the pieces beside it (`piece`, `file`), the command
//! line ([`Overrides`]) and the environment. All errors are found before the first tick; none is left for later.

mod problem;
mod piece;
mod problem_list;
mod document;
mod key_places;
mod key;
mod keys;
mod duration;
mod size;
mod count;
mod word;
mod native;
mod metrics;
mod sink;
mod sink_file;
mod sink_network;
mod redaction;
mod trusted_path;
mod secret;
mod plugin;
mod sensitive;
mod settings;
mod agent_limits;
mod listen_address;
mod http;
mod certificate;
mod tls;
mod base64;
mod proxy;
mod client_tls;
mod client;
pub(crate) mod limits;
pub(crate) mod log;
mod overrides;
pub(crate) mod script;
mod service_manager;
mod location;
mod state;
mod directory;
mod file;
mod toml_text;
mod effective;
#[cfg(test)]
mod reference;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};

pub use self::agent_limits::AgentLimits;
pub(crate) use self::certificate::CertificateWarning;
pub use self::client::{Authorization, ClientSettings};
pub use self::client_tls::{CaFile, ClientIdentity, ClientTls};
use self::duration::DEFAULT_INTERVAL;
pub(crate) use self::duration::parse_interval;
use self::file::Parsed;
pub use self::http::{HttpConfig, TokenFile};
pub(crate) use self::key_places::KeyPlaces;
pub use self::listen_address::ListenAddress;
pub use self::location::Refusal;
pub(crate) use self::location::examine;
use self::log::{LogConfig, LogLevel};
pub use self::metrics::MetricsConfig;
pub use self::native::{CpuConfig, NativeConfig};
pub(crate) use self::overrides::PluginOverride;
pub(crate) use self::piece::Place;
use self::piece::{Budget, Piece};
pub(crate) use self::plugin::is_plugin_name;
pub use self::plugin::{PluginConfig, PluginSecret};
pub use self::problem::Problem;
pub use self::proxy::{Proxy, ProxyEnvironment, ProxySetting};
pub use self::secret::Secret;
pub use self::service_manager::ServiceManager;
pub(crate) use self::sink::{DEFAULT_SINK, SinkTarget};
pub use self::sink::{OnClosed, SinkConfig, SinkKind};
pub use self::sink_file::{FileSettings, Fsync};
pub use self::sink_network::{FalconReceiver, NetworkSettings, ProtocolSettings};
pub use self::tls::ServerTls;
pub(crate) use self::trusted_path::check_own_directory;
use crate::hostname::{self, HostnameSource};
use crate::status::SocketPlaces;

/// The environment variable that overrides the key `hostname`.
const HOSTNAME_VARIABLE: &str = "GAUGED_HOSTNAME";

/// The environment variable that overrides the key `log.level`.
const LOG_VARIABLE: &str = "GAUGED_LOG";

/// How much of the digest of the settings is their hash: a float holds 53 bits.
const HASH_BYTES: usize = 6;

/// The agent's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// Files of the working directory that are not used, because other users can change them.
    pub refusals: Vec<Refusal>,
    /// The time between ticks.
    pub interval: Duration,
    /// The source of the host name in samples.
    pub hostname: HostnameSource,
    /// The directory in which the measured host's root is mounted: `/`, or for example `/host` in a container.
    pub root: PathBuf,
    /// The directory whose `*.wasm` files are the plugins; none if the default one is refused.
    pub plugins_directory: Option<PathBuf>,
    /// Whether the plugins directory is one of the working directory whose file system did not respond: it is examined
    /// before it is read.
    pub is_unexamined: bool,
    /// Where the socket may be on which the agent shows its status.
    pub status_socket: SocketPlaces,
    /// The directory for compiled plugins; none if there is no suitable default.
    pub cache: Option<PathBuf>,
    /// The directory for what outlasts the agent; none if there is no suitable default.
    pub state_directory: Option<PathBuf>,
    /// Level and format of the log.
    pub log: LogConfig,
    /// What the service manager that started the agent asks for.
    pub service_manager: ServiceManager,
    /// The table `[limits]`.
    pub limits: AgentLimits,
    /// The labels of every series of numeric outputs.
    pub tags: BTreeMap<String, String>,
    /// The table `[metrics]`.
    pub metrics: MetricsConfig,
    /// The outputs of samples; one of kind `stdout` where none is configured.
    pub sinks: BTreeMap<String, SinkConfig>,
    /// The table `[client]`.
    pub client: Arc<ClientSettings>,
    /// The table `[http]`; none without a server.
    pub http: Option<Arc<HttpConfig>>,
    /// The table `[cpu]`.
    pub cpu: CpuConfig,
    /// The table `[load]`.
    pub load: NativeConfig,
    /// The table `[memory]`, for the modules `memory` and `swap`.
    pub memory: NativeConfig,
    /// The table `[host]`.
    pub host: NativeConfig,
    /// The plugins with a table. All others have [`PluginConfig::default`].
    pub plugins: BTreeMap<String, PluginConfig>,
    /// How the requests of the plugins with a table `client` connect. Apart from their tables: a change needs no trial.
    pub plugin_clients: BTreeMap<String, Arc<ClientSettings>>,
}

/// The values that the command line overrides.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The configuration file, which has to exist.
    pub file: Option<PathBuf>,
    /// The plugins directory.
    pub plugins_directory: Option<PathBuf>,
    /// The interval, already validated.
    pub interval: Option<Duration>,
    /// The directory in which the measured host's root is mounted.
    pub root: Option<PathBuf>,
    /// The host name, already validated.
    pub hostname: Option<String>,
    /// The socket on which the agent shows its status.
    pub status_socket: Option<PathBuf>,
}

/// A configuration as it was read: as far as it is valid, with all errors, and with the places of its keys.
#[derive(Debug)]
pub(crate) struct Reading {
    /// With the defaults in place of invalid values.
    pub(crate) config: Config,
    /// All errors: those of the files in their order, then those of the environment.
    pub(crate) problems: Vec<Problem>,
    /// Whether all files are in it: each can be read, and is TOML.
    pub(crate) is_complete: bool,
    /// Where each key of the files is.
    pub(crate) places: KeyPlaces,
}

impl Reading {
    /// Reads the configuration.
    pub(crate) fn new(overrides: &Overrides) -> Self {
        let (reading, pieces) = Self::without_places(overrides);
        Self { places: KeyPlaces::new(&pieces), ..reading }
    }

    fn without_places(overrides: &Overrides) -> (Self, Vec<Piece>) {
        let mut refusals = Vec::new();
        let file = overrides.file.clone().or_else(|| location::find_file(&mut refusals));
        let remedy = "name a readable file with --config, or leave it out";
        let mut budget = Budget::new();
        let mut pieces: Vec<Piece> = file.iter().map(|file| Piece::read(file.clone(), &mut budget, remedy)).collect();
        let (directory, others) = directory::read(file.as_deref(), &mut budget, &mut refusals);
        pieces.extend(others);
        let read_secret = |value: &str| Secret::read(value, variable);
        let Parsed { written, mut problems, is_complete } = file::parse(&pieces, overrides.interval, &read_secret);
        // Where there are pieces only, the plugins are beside them.
        let beside = file.clone().or(directory);
        let mut config = Config { file, ..Config::merge(beside, written, overrides, refusals) };
        let environment = |name: &str| Some(variable(name)?.to_string_lossy().into_owned());
        problems.extend(config.apply_environment(environment, overrides).err().unwrap_or_default());
        (Self { config, problems, is_complete, places: KeyPlaces::default() }, pieces)
    }
}

impl Config {
    /// Whether local programs may push points.
    pub(crate) fn takes_points(&self) -> bool {
        self.http.as_ref().is_some_and(|http| http.push)
    }

    /// Reads and validates the configuration.
    ///
    /// # Errors
    ///
    /// All errors in the files, in their order, and in the environment.
    pub fn load(overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        let (Reading { config, problems, .. }, _) = Reading::without_places(overrides);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Whether a sink sends over the network.
    pub(crate) fn has_network_sinks(&self) -> bool {
        self.sinks.values().any(|sink| matches!(sink.kind, SinkKind::Network(_)))
    }

    /// Whether the times of each CPU are measured: outputs show them, or the naming of one needs them.
    #[must_use]
    pub fn needs_cpu_times(&self) -> bool {
        let is_needed = |sink: &SinkConfig| matches!(&sink.kind, SinkKind::Network(own) if own.naming.needs_cpus());
        self.cpu.per_core || self.http.is_some() || self.sinks.values().any(is_needed)
    }

    /// A number that differs when the settings differ, wherever they were written, and that a float holds exactly. The same
    /// version of the agent has the same number for the same settings. The contents of secrets and of sensitive settings are
    /// left out: whoever sees the number could try passwords.
    pub(crate) fn hash(&self) -> u64 {
        let (service_manager, status_socket) = (ServiceManager::default(), SocketPlaces::default());
        let plugins = self.plugins.iter().map(|(name, plugin)| (name.clone(), plugin.without_secrets())).collect();
        let settings =
            Self { file: None, refusals: Vec::new(), service_manager, status_socket, plugins, ..self.clone() };
        let digest = Sha256::digest(format!("{settings:?}"));
        digest.iter().take(HASH_BYTES).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
    }

    /// The line that `gauged check` prints for a valid configuration.
    pub(crate) fn summary(&self) -> String {
        let file = self.file.as_ref().map_or_else(|| "no configuration file".into(), |file| file.display().to_string());
        let interval = humantime::format_duration(self.interval);
        let plugins =
            self.plugins_directory.as_ref().map_or_else(|| "no directory".into(), |path| path.display().to_string());
        let configured = self.plugins.len();
        let outputs = self.outputs().join(" and ");
        format!(
            "{file}: ok; a sample every {interval} to {outputs}; plugins from {plugins}, {configured} of them configured"
        )
    }

    /// The targets of the samples, for people.
    fn outputs(&self) -> Vec<String> {
        let sinks = self.sinks.values().map(|sink| match &sink.kind {
            SinkKind::Stdout(_) => "standard output".to_owned(),
            SinkKind::File(settings) => settings.path.display().to_string(),
            SinkKind::Network(settings) => settings.shown_target(),
        });
        let addresses = self.http.iter().flat_map(|http| &http.listen).map(|address| format!("HTTP at {address}"));
        sinks.chain(addresses).collect()
    }

    fn merge(
        file: Option<PathBuf>,
        written: file::FileConfig,
        overrides: &Overrides,
        mut refusals: Vec<Refusal>,
    ) -> Self {
        let root = overrides.root.clone().unwrap_or_else(|| PathBuf::from("/"));
        let (plugins_directory, is_unexamined) = match overrides.plugins_directory.clone().or(written.plugins_directory)
        {
            Some(named) => (Some(named), false),
            None => location::find_plugins(file.as_deref(), &mut refusals),
        };
        let hostname = overrides.hostname.clone().or(written.hostname);
        let mut sinks = written.sinks;
        // The samples are served then.
        if sinks.is_empty() && written.http.is_none() {
            sinks.insert(DEFAULT_SINK.to_owned(), SinkConfig::stdout());
        }
        Self {
            interval: overrides.interval.or(written.interval).unwrap_or(DEFAULT_INTERVAL),
            hostname: hostname.map_or_else(|| HostnameSource::measured(&root), HostnameSource::Fixed),
            root,
            plugins_directory,
            is_unexamined,
            status_socket: status_socket(overrides.status_socket.clone()),
            cache: written.cache.or_else(|| location::cache_directory(variable, geteuid().is_root())),
            state_directory: written.state_directory.or_else(|| state::directory(variable, geteuid().is_root())),
            log: written.log,
            service_manager: ServiceManager::read(variable, std::process::id()),
            limits: written.limits,
            tags: written.tags,
            metrics: written.metrics,
            sinks,
            client: Arc::new(written.client),
            http: written.http.map(Arc::new),
            cpu: written.cpu,
            load: written.load,
            memory: written.memory,
            host: written.host,
            plugins: written.plugins,
            plugin_clients: written.plugin_clients.into_iter().map(|(name, own)| (name, Arc::new(own))).collect(),
            file,
            refusals,
        }
    }

    /// Applies the environment variables. They override the file; the command line overrides them.
    fn apply_environment(
        &mut self,
        environment: impl Fn(&str) -> Option<String>,
        overrides: &Overrides,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut problem = |name: &str, message| {
            problems.push(Problem { file: PathBuf::from("environment"), line: None, key: format!("${name}"), message });
        };
        if let Some(name) = environment(HOSTNAME_VARIABLE).filter(|_| overrides.hostname.is_none()) {
            match hostname::check(&name) {
                Ok(()) => self.hostname = HostnameSource::Fixed(name),
                Err(why) => problem(HOSTNAME_VARIABLE, why),
            }
        }
        if let Some(level) = environment(LOG_VARIABLE) {
            match LogLevel::parse(&level) {
                Ok(level) => self.log.level = level,
                Err(why) => problem(LOG_VARIABLE, why),
            }
        }
        let proxies = Arc::new(ProxyEnvironment::read(environment));
        Arc::make_mut(&mut self.client).environment = Arc::clone(&proxies);
        for client in self.plugin_clients.values_mut() {
            Arc::make_mut(client).environment = Arc::clone(&proxies);
        }
        for sink in self.sinks.values_mut() {
            if let SinkKind::Network(settings) = &mut sink.kind {
                Arc::make_mut(&mut Arc::make_mut(settings).connection).environment = Arc::clone(&proxies);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The certificates of the HTTP server and of clients that somebody has to look after.
    pub(crate) fn certificate_warnings(&self, now: Duration) -> Vec<CertificateWarning> {
        let server = self.http.iter().flat_map(|http| &http.tls).flat_map(|tls| tls.warnings(now));
        server.chain(self.client_certificate_warnings(now)).collect()
    }

    /// Those of clients. What a sink or a plugin inherits is reported once.
    pub(crate) fn client_certificate_warnings(&self, now: Duration) -> Vec<CertificateWarning> {
        let mut warnings = self.client.tls.warnings("client", None, now);
        for (name, sink) in &self.sinks {
            if let SinkKind::Network(settings) = &sink.kind {
                let table = format!("sinks.{name}");
                warnings.extend(settings.connection.tls.warnings(&table, Some(&self.client.tls), now));
            }
        }
        for (name, client) in &self.plugin_clients {
            warnings.extend(client.tls.warnings(&format!("plugins.{name}.client"), Some(&self.client.tls), now));
        }
        warnings
    }
}

/// Where the socket of an agent of this user may be; the first place is one that is named.
pub(crate) fn status_socket(named: Option<PathBuf>) -> SocketPlaces {
    SocketPlaces::new(named, variable, geteuid().is_root())
}

/// An environment variable; none if it is empty.
#[expect(clippy::disallowed_methods, reason = "the only place where the environment is configuration")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_leaves_out_secrets() {
        let hash = |config: &str, file: &str, content: Result<Secret, String>| {
            let secret = PluginSecret { file: file.to_owned(), content };
            let secrets = BTreeMap::from([("p".to_owned(), secret)]);
            let plugin = PluginConfig { config: config.to_owned(), secrets, ..PluginConfig::default() };
            let written =
                file::FileConfig { plugins: BTreeMap::from([("a".to_owned(), plugin)]), ..Default::default() };
            Config::merge(None, written, &Overrides::default(), Vec::new()).hash()
        };
        let read = || Ok(Secret::new("pw"));
        let same = hash(r#"{"password":"hunter2","url":"http://u:pw@h/","x":1}"#, "/run/p", read());
        assert_eq!(hash(r#"{"password":"another","url":"http://me:no@h/","x":1}"#, "/run/p", read()), same);
        assert_eq!(
            hash(r#"{"password":"hunter2","url":"http://u:pw@h/","x":1}"#, "/run/p", Ok(Secret::new("b"))),
            same
        );
        assert_ne!(hash(r#"{"password":"hunter2","url":"http://u:pw@h/","x":2}"#, "/run/p", read()), same);
        assert_ne!(hash(r#"{"password":"hunter2","url":"http://u:pw@h/","x":1}"#, "/run/q", read()), same);
        let misplaced = |file: &str| hash("{}", file, Err(String::new()));
        assert_eq!(misplaced("hunter2"), misplaced("hunter/3"));
    }
}
