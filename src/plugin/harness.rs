//! The plugin harness, behind `gauged plugin`: loads, describes, configures and calls one plugin by the agent's own code and
//! under its limits, with a recorder in place of the log. Texts of the plugin are escaped, on one line each. The caller judges
//! the results.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::Semaphore;

use crate::clock::schedule::{Tick, wall_clock};
use crate::config::{Config, PluginConfig};
use crate::escape::printable;
use crate::plugin::build::cache::Cache;
use crate::plugin::build::compile::Compiler;
use crate::plugin::build::sealed::Hash;
use crate::plugin::context::{PluginContext, is_unneeded, plugins_of};
use crate::plugin::grants::kind::{GrantKind, grant_line};
use crate::plugin::guest::bindings::exports::gauged::plugin::collector as wit;
use crate::plugin::guest::bindings::gauged::plugin::metrics;
use crate::plugin::guest::engine::Engine;
use crate::plugin::guest::fault::Failure;
use crate::plugin::guest::instance::{Code, Instance, grant_of};
use crate::plugin::guest::result::{Description, kind_of};
use crate::plugin::load::{Compiled, FileLoad, Outcome};
use crate::plugin::recorder::{self, RecordedDenial, Recorder};
use crate::plugin::rejection::Rejection;
use crate::plugin::source::blocking::BusyFiles;
use crate::plugin::source::directory::EntryState;
use crate::plugin::source::scan::{BusyEntries, Scan, scan};
use crate::plugin::trial::CHECKED_NEEDS;
use crate::plugin::version::Version;
use crate::sample::{MetricKind, Module};

pub use crate::plugin::recorder::Message;

/// Loads plugins one by one.
pub struct PluginHarness {
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    root: PathBuf,
    interval: Duration,
    plugins: BTreeMap<String, Arc<PluginConfig>>,
    /// The zero of the guests' clock.
    clock: Instant,
}

/// Why a file could not be loaded.
#[derive(Debug)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// The first digits of its hash; none when it could not be read.
    pub hash: Option<String>,
    /// Reason and remedy: the end of a sentence that begins with the file, on one line.
    pub reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, hash, reason } = self;
        match hash {
            Some(hash) => write!(f, "{} ({hash}) {reason}", file.display()),
            None => write!(f, "{} {reason}", file.display()),
        }
    }
}

/// A file of a plugins directory.
#[derive(Debug)]
pub struct Entry {
    /// The file name.
    pub file: String,
    /// The plugins that it makes, enabled or not, or why it makes none: the end of a sentence that begins with the file.
    pub plugins: Result<Vec<String>, String>,
}

/// A plugin that was loaded from a file, with an instance once it is configured.
pub struct LoadedPlugin {
    plugin: PluginContext,
    code: Code,
    description: Arc<Description>,
    clock: Instant,
    hash: Hash,
    /// The size of the file.
    pub file_bytes: u64,
    /// The result of `describe`.
    pub about: PluginDescription,
    instance: Option<Instance>,
    recorder: Arc<Recorder>,
}

/// The result of a plugin's `describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginDescription {
    /// The plugin's version.
    pub version: String,
    /// A sentence about the plugin.
    pub description: String,
    /// All metrics that the plugin can return.
    pub metrics: Vec<DescribedMetric>,
}

/// The description of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMetric {
    /// The module that the metric is in.
    pub module: String,
    /// The name, without labels.
    pub name: String,
    /// Gauge or counter.
    pub kind: MetricKind,
    /// The unit, in UCUM.
    pub unit: String,
    /// A sentence about the metric.
    pub description: String,
}

/// A grant: access to one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    key: GrantKind,
    value: String,
}

impl Grant {
    /// The key of the plugin's table: `read`, `usage`, `connect` or `fetch`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.key.name()
    }

    /// The value, on one line.
    #[must_use]
    pub fn value(&self) -> String {
        printable(&self.value)
    }
}

/// A line of configuration.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&grant_line(self.key, &self.value))
    }
}

/// A grant that a plugin needs with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The grant.
    pub grant: Grant,
    /// The plugin's reason: completes "it needs it to".
    pub reason: String,
    /// Whether the plugin has it.
    pub granted: Granted,
}

/// Whether a plugin has a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// By default, like every plugin.
    ToAll,
    /// By the configuration.
    ByConfiguration,
    /// No: it is missing.
    No,
    /// No, and no configuration can grant it; the reason.
    Never(String),
}

/// A denied access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeniedAccess {
    /// This grant is missing.
    Missing(Grant),
    /// No grant allows it; the reason.
    Final(String),
}

/// The outcome of one call.
#[derive(Debug)]
pub struct CallOutcome {
    /// The usable part of the result, or the failure.
    pub result: Result<UsableResult, Failure>,
    /// The duration, including the start of a new instance.
    pub took: Duration,
    /// Whether the call was the first of a new instance.
    pub is_first: bool,
    /// The size of the plugin's linear memories at the end of the call.
    pub memory_bytes: u64,
}

/// The messages and denials of a plugin.
#[derive(Debug, Default)]
pub struct Observations {
    /// The log messages.
    pub messages: Vec<Message>,
    /// How many further messages were not kept.
    pub more_messages: u64,
    /// The denials, each reported once.
    pub denied: Vec<DeniedAccess>,
}

/// The usable part of a plugin's result.
#[derive(Debug)]
pub struct UsableResult {
    /// The modules for a sample.
    pub modules: Vec<Arc<Module>>,
    /// How many metrics were dropped.
    pub dropped: u64,
    /// The first of them, each with the reason.
    pub losses: Vec<String>,
}

impl PluginHarness {
    /// Sets up the host, as the agent does with this configuration.
    ///
    /// # Errors
    ///
    /// When this machine cannot run guests at all.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let engine = Engine::new().map_err(|error| anyhow!("failed to set up the WebAssembly engine: {error:#}"))?;
        Ok(Self {
            compiler: Compiler::new(),
            cache: Cache::new(config.cache.clone(), engine.clone()),
            engine,
            root: config.root.canonicalize().unwrap_or_else(|_| config.root.clone()),
            interval: config.interval,
            plugins: config.plugins.iter().map(|(name, plugin)| (name.clone(), Arc::new(plugin.clone()))).collect(),
            clock: Instant::now(),
        })
    }

    /// The plugins that a file with this name makes, enabled or not.
    ///
    /// # Errors
    ///
    /// Why it makes none: the end of a sentence that begins with the file.
    pub fn plugins_of(&self, file: &str) -> Result<Vec<String>, String> {
        plugins_of(file, &self.plugins)
    }

    /// The files of a plugins directory.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub async fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let Scan { listing, unresponsive } = scan(directory.to_owned(), BusyEntries::default(), false).await?;
        let why = "does not respond; check the mount that it is on or links to";
        let hung = unresponsive.into_iter().map(|file| (file, EntryState::Unusable(why.to_owned())));
        let entries = listing.into_iter().chain(hung).map(|(file, state)| {
            let plugins = match state {
                EntryState::Unusable(why) if !is_unneeded(&file, &self.plugins) => Err(why),
                EntryState::File(_) | EntryState::Unusable(_) => self.plugins_of(&file),
            };
            Entry { file, plugins }
        });
        Ok(entries.collect())
    }

    /// Loads and describes a plugin with this name and, where it has one, this table of the configuration.
    ///
    /// # Errors
    ///
    /// Why the file could not be loaded.
    pub async fn open(&self, name: &str, table: Option<PluginConfig>, file: &Path) -> Result<LoadedPlugin, LoadError> {
        let recorder = Arc::new(Recorder::default());
        let on_host = PluginContext::on_host(name, table.map(Arc::new), &self.root, self.interval, &Arc::default());
        let plugin = PluginContext { recorder: Some(Arc::clone(&recorder)), ..on_host };
        let load = FileLoad {
            engine: self.engine.clone(),
            compiler: self.compiler.clone(),
            cache: self.cache.clone(),
            permits: Arc::new(Semaphore::new(1)),
            busy: BusyFiles::default(),
            plugin: plugin.clone(),
            path: file.to_owned(),
            known_hashes: [None, None],
            clock: self.clock,
        };
        let load_error = |hash: Option<Hash>, reason| LoadError {
            file: file.to_owned(),
            hash: hash.as_ref().map(ToString::to_string),
            reason,
        };
        let Compiled { hash, bytes, code } = load.compiled().await.map_err(|outcome| match outcome {
            Outcome::Rejected(hash, rejection) => load_error(Some(hash), rejection.text()),
            Outcome::Unreadable(error) => load_error(None, unreadable(&error)),
            // Impossible: there are no known hashes, and no trial.
            Outcome::AlreadyKnown(hash) | Outcome::Ready(Version { hash, .. }, _) => {
                load_error(Some(hash), "was not loaded; report this".to_owned())
            }
        })?;
        let about = plugin.describe(&code).await.map_err(|rejection| load_error(Some(hash), rejection.text()))?;
        let description = Description::new(&plugin.name, about.version.clone().into(), about.metrics.clone());
        let (clock, about) = (self.clock, about.into());
        Ok(LoadedPlugin { plugin, code, description, clock, hash, file_bytes: bytes, about, instance: None, recorder })
    }
}

/// Why a plugin with this failure would not serve: the end of a sentence that begins with the plugin.
#[must_use]
pub fn reason(failure: &Failure) -> String {
    let rejection = Rejection::from(failure.clone());
    // The lines for missing grants are shown together elsewhere.
    if matches!(failure, Failure::Fault(_)) { rejection.text() } else { rejection.reason }
}

fn unreadable(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name a plugin's .wasm file",
        io::ErrorKind::InvalidInput => "name a .wasm file itself",
        io::ErrorKind::PermissionDenied => "allow it to be read",
        _ => "check the disk or the mount",
    };
    format!("cannot be read: {error}; {remedy}")
}

impl LoadedPlugin {
    /// The SHA-256 of the file, in hexadecimal digits; the log shows the first eight.
    #[must_use]
    pub fn hash(&self) -> String {
        self.hash.to_hex()
    }

    /// The size of the native code and its data.
    #[must_use]
    pub fn artifact_bytes(&self) -> u64 {
        let image = self.code.component().image_range();
        (image.end as usize).saturating_sub(image.start as usize) as u64
    }

    /// The names of the imports, on one line each.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        let component = self.code.component();
        let (ty, engine) = (component.component_type(), component.engine());
        ty.imports(engine).map(|(name, _)| printable(name)).collect()
    }

    /// Starts and configures a new instance. Returns the plugin's needs.
    ///
    /// # Errors
    ///
    /// Why the instance does not start.
    pub async fn configure(&mut self) -> Result<Vec<Need>, Failure> {
        self.instance = None;
        let (instance, needs) = self.plugin.start(&self.code, &self.description).await?;
        self.instance = Some(instance);
        let (until, with_defaults) = (Instant::now() + self.plugin.config.timeout, self.plugin.with_default_grants());
        let mut checked = Vec::new();
        for wit::Need { capability, reason } in needs.into_iter().take(CHECKED_NEEDS) {
            let granted = match with_defaults.is_granted(&capability, until).await {
                Ok(true) => Granted::ToAll,
                Err(why) => Granted::Never(printable(&why)),
                Ok(false) if self.plugin.is_granted(&capability, until).await == Ok(true) => Granted::ByConfiguration,
                Ok(false) => Granted::No,
            };
            let (key, value) = grant_of(&capability);
            let grant = Grant { key, value: value.to_owned() };
            checked.push(Need { grant, reason: printable(&reason), granted });
        }
        Ok(checked)
    }

    /// Calls the plugin once, as at a tick. After a failure it starts a new instance, without the agent's pause.
    pub async fn measure(&mut self) -> CallOutcome {
        let start = Instant::now();
        let is_first = self.instance.is_none();
        let result = self.call().await;
        let took = start.elapsed();
        if matches!(result, Err(Failure::Fault(_) | Failure::Disabled(_))) {
            self.instance = None;
        }
        let memory_bytes = self.instance.as_ref().map_or(0, |instance| instance.held_bytes() as u64);
        CallOutcome { result, took, is_first, memory_bytes }
    }

    /// The messages and denials since the last call of this.
    #[must_use]
    pub fn take_observations(&self) -> Observations {
        let recorder::Recording { messages, more, denials } = self.recorder.take();
        let denied = denials.into_iter().map(|denial| match denial {
            RecordedDenial::Missing(key, value) => DeniedAccess::Missing(Grant { key, value }),
            RecordedDenial::Final(why) => DeniedAccess::Final(why),
        });
        Observations { messages, more_messages: more, denied: denied.collect() }
    }

    async fn call(&mut self) -> Result<UsableResult, Failure> {
        let instance = match &mut self.instance {
            Some(instance) => instance,
            none => none.insert(self.plugin.start(&self.code, &self.description).await?.0),
        };
        let tick = Tick { index: 0, previous: None, since_epoch: wall_clock() };
        let collected = instance.collect(tick, self.clock.elapsed()).await?;
        Ok(UsableResult { modules: collected.modules, dropped: collected.dropped, losses: collected.losses })
    }

    /// The lines of the plugin's table with the missing grants added to the present ones.
    #[must_use]
    pub fn lines<'a>(&self, missing: impl IntoIterator<Item = &'a Grant>) -> Vec<String> {
        let missing: Vec<(GrantKind, String)> =
            missing.into_iter().map(|grant| (grant.key, grant.value.clone())).collect();
        self.plugin.grant_lines(&missing)
    }
}

impl From<wit::About> for PluginDescription {
    fn from(about: wit::About) -> Self {
        let described = |metric: metrics::Descriptor| DescribedMetric {
            module: metric.module,
            name: metric.name,
            kind: kind_of(metric.kind),
            unit: printable(&metric.unit),
            description: printable(&metric.description),
        };
        Self {
            version: about.version,
            description: printable(&about.description),
            metrics: about.metrics.into_iter().map(described).collect(),
        }
    }
}
