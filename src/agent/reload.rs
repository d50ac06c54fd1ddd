//! The difference of two configurations, and which parts of it a running agent can follow. Pure: `reloader` reads the
//! configuration and carries the difference out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::log::LogConfig;
use crate::config::{
    AgentLimits, ClientSettings, Config, CpuConfig, HttpConfig, MetricsConfig, NativeConfig, PluginConfig, Problem,
    Refusal, SinkConfig,
};
use crate::hostname::HostnameSource;

/// A change of the configuration, with the new value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Another file is the configuration, or files of the working directory are refused that were not.
    Source(Option<PathBuf>, Vec<Refusal>),
    Interval(Duration),
    Hostname(HostnameSource),
    Root(PathBuf),
    /// The directory of the plugins, and whether it has yet to be examined.
    PluginsDirectory(Option<PathBuf>, bool),
    Cache(Option<PathBuf>),
    StateDirectory(Option<PathBuf>),
    Log(LogConfig),
    Limits(AgentLimits),
    Tags(BTreeMap<String, String>),
    Metrics(Box<MetricsConfig>),
    /// A sink; none if it is there no more.
    Sink(String, Option<Box<SinkConfig>>),
    /// How sinks and plugins connect to their peers. What a sink inherits is among its own settings.
    Client(Arc<ClientSettings>),
    /// The HTTP server; none where there is none any more.
    Http(Option<Arc<HttpConfig>>),
    Cpu(CpuConfig),
    Load(NativeConfig),
    Memory(NativeConfig),
    Host(NativeConfig),
    /// How the requests of a plugin connect; none where it has no table for that any more. What it inherits is among its own settings.
    PluginClient(String, Option<Arc<ClientSettings>>),
    /// The table of a plugin; none if it has none any more.
    Plugin(String, Option<Box<PluginConfig>>),
}

/// The key of the configuration that changed.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(..) => f.write_str("configuration file"),
            Self::Interval(_) => f.write_str("interval"),
            Self::Hostname(_) => f.write_str("hostname"),
            Self::Root(_) => f.write_str("root"),
            Self::PluginsDirectory(..) => f.write_str("plugins_directory"),
            Self::Cache(_) => f.write_str("cache"),
            Self::StateDirectory(_) => f.write_str("state_directory"),
            Self::Log(_) => f.write_str("log"),
            Self::Limits(_) => f.write_str("limits"),
            Self::Tags(_) => f.write_str("tags"),
            Self::Metrics(_) => f.write_str("metrics"),
            Self::Sink(name, _) => write!(f, "sinks.{name}"),
            Self::Client(_) => f.write_str("client"),
            Self::Http(_) => f.write_str("http"),
            Self::Cpu(_) => f.write_str("cpu"),
            Self::Load(_) => f.write_str("load"),
            Self::Memory(_) => f.write_str("memory"),
            Self::Host(_) => f.write_str("host"),
            Self::PluginClient(name, _) => write!(f, "plugins.{name}.client"),
            Self::Plugin(name, _) => write!(f, "plugins.{name}"),
        }
    }
}

impl Change {
    /// Whether a running agent cannot follow it: its files are open below the root, and its threads use the directories.
    fn needs_restart(&self) -> bool {
        matches!(self, Self::Root(_) | Self::PluginsDirectory(..) | Self::Cache(_) | Self::StateDirectory(_))
    }

    /// The plugin whose table it is.
    pub(super) fn plugin(&self) -> Option<&str> {
        if let Self::Plugin(name, _) = self { Some(name) } else { None }
    }

    fn apply(self, config: &mut Config) {
        match self {
            Self::Source(file, refusals) => (config.file, config.refusals) = (file, refusals),
            Self::Interval(interval) => config.interval = interval,
            Self::Hostname(source) => config.hostname = source,
            Self::Root(root) => config.root = root,
            Self::PluginsDirectory(directory, is_unexamined) => {
                (config.plugins_directory, config.is_unexamined) = (directory, is_unexamined);
            }
            Self::Cache(cache) => config.cache = cache,
            Self::StateDirectory(directory) => config.state_directory = directory,
            Self::Log(log) => config.log = log,
            Self::Limits(limits) => config.limits = limits,
            Self::Tags(tags) => config.tags = tags,
            Self::Metrics(metrics) => config.metrics = *metrics,
            Self::Sink(name, Some(sink)) => drop(config.sinks.insert(name, *sink)),
            Self::Sink(name, None) => drop(config.sinks.remove(&name)),
            Self::Client(client) => config.client = client,
            Self::Http(http) => config.http = http,
            Self::Cpu(cpu) => config.cpu = cpu,
            Self::Load(load) => config.load = load,
            Self::Memory(memory) => config.memory = memory,
            Self::Host(host) => config.host = host,
            Self::PluginClient(name, Some(client)) => drop(config.plugin_clients.insert(name, client)),
            Self::PluginClient(name, None) => drop(config.plugin_clients.remove(&name)),
            Self::Plugin(name, Some(table)) => drop(config.plugins.insert(name, *table)),
            Self::Plugin(name, None) => drop(config.plugins.remove(&name)),
        }
    }
}

/// Why another configuration is not followed though it is valid: the file that the one before was read from is gone, or files are
/// refused that were not, and without them everything would fall back to another file or the defaults.
pub(super) fn lost_files(old: &Config, new: &Config) -> Vec<Problem> {
    let problem = |file: &Path, message| Problem { file: file.to_owned(), line: None, key: String::new(), message };
    let is_new =
        |refusal: &&Refusal| refusal.is_present && refusal.is_of_configuration() && !old.refusals.contains(refusal);
    let mut problems: Vec<Problem> = (new.refusals.iter().filter(is_new))
        .map(|Refusal { path, reason, remedy, .. }| problem(path, format!("{reason}; {remedy}")))
        .collect();
    // A file of the working directory is the first that is looked for.
    let is_lost = |file: &&PathBuf| new.file.is_none() || file.is_relative() && new.file.as_ref() != Some(*file);
    if let (Some(file), true) = (old.file.as_ref().filter(is_lost), problems.is_empty()) {
        problems.push(problem(file, "is gone; put it back, or restart the agent to run without it".to_owned()));
    }
    problems
}

/// The difference of two configurations.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Difference {
    /// What a running agent follows, in the order of [`Change`].
    pub(super) followed: Vec<Change>,
    /// What it follows after a restart only.
    pub(super) refused: Vec<Change>,
}

impl Difference {
    /// The changes that lead from one configuration to another.
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        // Without `..`: a new field has to be compared.
        let Config {
            // The environment and the command line of a process do not change.
            service_manager: _,
            status_socket: _,
            file,
            refusals,
            interval,
            hostname,
            root,
            plugins_directory,
            is_unexamined,
            cache,
            state_directory,
            log,
            limits,
            tags,
            metrics,
            sinks,
            client,
            http,
            cpu,
            load,
            memory,
            host,
            plugins,
            plugin_clients,
        } = new;
        let mut changes = Vec::new();
        let mut add = |is_same: bool, change: &dyn Fn() -> Change| {
            if !is_same {
                changes.push(change());
            }
        };
        let is_same_source = old.file == *file && old.refusals == *refusals;
        add(is_same_source, &|| Change::Source(file.clone(), refusals.clone()));
        add(old.interval == *interval, &|| Change::Interval(*interval));
        add(old.hostname == *hostname, &|| Change::Hostname(hostname.clone()));
        add(old.root == *root, &|| Change::Root(root.clone()));
        let is_same_directory = old.plugins_directory == *plugins_directory && old.is_unexamined == *is_unexamined;
        add(is_same_directory, &|| Change::PluginsDirectory(plugins_directory.clone(), *is_unexamined));
        add(old.cache == *cache, &|| Change::Cache(cache.clone()));
        add(old.state_directory == *state_directory, &|| Change::StateDirectory(state_directory.clone()));
        add(old.log == *log, &|| Change::Log(*log));
        add(old.limits == *limits, &|| Change::Limits(*limits));
        add(old.tags == *tags, &|| Change::Tags(tags.clone()));
        add(old.metrics == *metrics, &|| Change::Metrics(Box::new(metrics.clone())));
        for name in old.sinks.keys().filter(|name| !sinks.contains_key(*name)) {
            add(false, &|| Change::Sink(name.clone(), None));
        }
        for (name, sink) in sinks {
            add(old.sinks.get(name) == Some(sink), &|| Change::Sink(name.clone(), Some(Box::new(sink.clone()))));
        }
        add(old.client == *client, &|| Change::Client(Arc::clone(client)));
        add(old.http == *http, &|| Change::Http(http.clone()));
        add(old.cpu == *cpu, &|| Change::Cpu(*cpu));
        add(old.load == *load, &|| Change::Load(*load));
        add(old.memory == *memory, &|| Change::Memory(*memory));
        add(old.host == *host, &|| Change::Host(*host));
        for name in old.plugin_clients.keys().filter(|name| !plugin_clients.contains_key(*name)) {
            add(false, &|| Change::PluginClient(name.clone(), None));
        }
        for (name, client) in plugin_clients {
            let is_same = old.plugin_clients.get(name) == Some(client);
            add(is_same, &|| Change::PluginClient(name.clone(), Some(Arc::clone(client))));
        }
        for name in old.plugins.keys().filter(|name| !plugins.contains_key(*name)) {
            add(false, &|| Change::Plugin(name.clone(), None));
        }
        for (name, table) in plugins {
            let is_same = old.plugins.get(name) == Some(table);
            add(is_same, &|| Change::Plugin(name.clone(), Some(Box::new(table.clone()))));
        }
        let (refused, followed) = changes.into_iter().partition(Change::needs_restart);
        Self { followed, refused }
    }

    /// The configuration with the changes that a running agent follows.
    pub(super) fn apply(&self, mut config: Config) -> Config {
        for change in &self.followed {
            change.clone().apply(&mut config);
        }
        config
    }
}

/// The keys of changes, for a log line.
pub(super) fn keys(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::log::{LogFormat, LogLevel};
    use crate::config::{ListenAddress, ProxySetting, ServiceManager};
    use crate::status::SocketPlaces;

    prop_compose! {
        fn table()(enabled: bool, seconds in 1_u64..3, config in "[ab]") -> PluginConfig {
            PluginConfig { enabled, timeout: Duration::from_secs(seconds), config, ..PluginConfig::default() }
        }
    }

    fn client(is_off: bool) -> Arc<ClientSettings> {
        let proxy = if is_off { ProxySetting::Off } else { ProxySetting::Environment };
        Arc::new(ClientSettings { proxy, ..ClientSettings::default() })
    }

    fn sink(queue_samples: usize) -> SinkConfig {
        SinkConfig { queue_samples, ..SinkConfig::stdout() }
    }

    prop_compose! {
        fn config()(
            texts in prop::collection::vec("[ab]", 5),
            switches in prop::collection::vec(any::<bool>(), 7),
            interval in 1_u64..3,
            series in 100_usize..102,
            plugins in prop::collection::btree_map("[abc]", table(), 0..3),
            tags in prop::collection::btree_map("[ab]", "[ab]", 0..2),
            sinks in prop::collection::btree_map("[abc]", 1_usize..3, 0..3),
            plugin_clients in prop::collection::btree_map("[abc]", any::<bool>(), 0..3),
        ) -> Config {
            let path = |at: usize| Some(PathBuf::from(&texts[at])).filter(|_| switches[at]);
            let refusal = |path: &String| {
                Refusal { path: path.into(), reason: String::new(), remedy: "", is_present: switches[5] }
            };
            Config {
                file: path(0),
                refusals: texts[1..2].iter().filter(|_| switches[6]).map(refusal).collect(),
                interval: Duration::from_secs(interval),
                hostname: if switches[0] { HostnameSource::Kernel } else { HostnameSource::Fixed(texts[2].clone()) },
                root: PathBuf::from(&texts[3]),
                plugins_directory: path(1),
                is_unexamined: switches[2],
                cache: path(4),
                state_directory: path(2),
                log: LogConfig {
                    level: if switches[3] { LogLevel::Info } else { LogLevel::Debug },
                    format: if switches[4] { LogFormat::Json } else { LogFormat::Text },
                },
                limits: AgentLimits { series, ..AgentLimits::default() },
                client: client(switches[1]),
                http: switches[2].then(|| Arc::new(HttpConfig {
                    push: switches[3],
                    ..HttpConfig::at(vec![ListenAddress::Unix(texts[4].clone().into())])
                })),
                cpu: CpuConfig { enabled: switches[5], per_core: switches[6] },
                load: NativeConfig { enabled: switches[0] },
                memory: NativeConfig { enabled: switches[1] },
                tags,
                metrics: MetricsConfig { prefix: texts[2].clone(), ..MetricsConfig::default() },
                sinks: sinks.into_iter().map(|(name, size)| (name, sink(size))).collect(),
                host: NativeConfig { enabled: switches[2] },
                plugins,
                plugin_clients: plugin_clients.into_iter().map(|(name, is_off)| (name, client(is_off))).collect(),
                service_manager: ServiceManager::default(),
                status_socket: SocketPlaces::default(),
            }
        }
    }

    proptest! {
        /// Applied to the old configuration, the difference makes the new one, but for what needs a restart.
        #[test]
        fn difference_applied_to_old_gives_new(old in config(), new in config()) {
            let Difference { followed, refused } = Difference::between(&old, &new);
            let applied = Difference { followed: followed.clone(), refused: Vec::new() }.apply(old.clone());
            let kept = Config {
                root: old.root.clone(),
                plugins_directory: old.plugins_directory.clone(),
                is_unexamined: old.is_unexamined,
                cache: old.cache.clone(),
                state_directory: old.state_directory.clone(),
                ..new.clone()
            };
            prop_assert_eq!(&applied, &kept);
            let all = followed.iter().chain(&refused).cloned().collect();
            prop_assert_eq!(Difference { followed: all, refused: Vec::new() }.apply(old), new);
        }

        #[test]
        fn equal_configurations_have_no_difference(config in config()) {
            prop_assert_eq!(Difference::between(&config, &config), Difference::default());
        }

        /// Whatever changes, an untouched table is not in the difference.
        #[test]
        fn untouched_plugins_are_left_alone(old in config(), new in config()) {
            let Difference { followed, .. } = Difference::between(&old, &new);
            for change in followed {
                if let Change::Plugin(name, table) = change {
                    prop_assert_ne!(old.plugins.get(&name), table.as_deref());
                }
            }
        }
    }
}
