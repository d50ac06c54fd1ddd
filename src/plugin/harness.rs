//! The plugin harness, behind `gauged plugin`: loads, describes, configures and calls one plugin by the agent's own code and
//! under its limits, with a recorder in place of the log. The caller judges the results.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::clock::schedule::Tick;
use crate::config::{AgentLimits, Config, PluginConfig};
use crate::plugin::accounts::SharedAccounts;
use crate::plugin::build::sealed::{Hash, Sealed};
use crate::plugin::client_slot::Clients;
use crate::plugin::context::{PluginContext, is_unneeded, plugins_of};
use crate::plugin::guest::engine::Engine;
use crate::plugin::guest::fault::Failure;
use crate::plugin::guest::instance::Instance;
use crate::plugin::guest_thread::setup::LoadCounters;
use crate::plugin::load::{Compiled, FileLoad, LoadResources, Outcome};
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::recorder::Recorder;
use crate::plugin::rejection::Rejection;
use crate::plugin::shortage::{ShortageError, explain};
use crate::plugin::source::directory::EntryState;
use crate::plugin::source::scan::{BusyEntries, Scan, scan};
use crate::plugin::version::Version;

pub(crate) use crate::plugin::build::package_version::PackageVersion;
pub(crate) use crate::plugin::build::probe::SERVED;
pub(crate) use crate::plugin::grants::Basis;
pub(crate) use crate::plugin::grants::default::{DefaultGrant, all as default_grants};
pub(crate) use crate::plugin::grants::kind::{Denial, Grant};
pub(crate) use crate::plugin::guest::backtrace::UNNAMED;
pub(crate) use crate::plugin::guest::description::{DescribedMetric, Description, Dimension};
pub(crate) use crate::plugin::guest::engine_options::Purpose;
pub(crate) use crate::plugin::guest::result::Collected;
pub(crate) use crate::plugin::guest::setting::Setting;
pub(crate) use crate::plugin::recorder::{Message, Recording};
pub(crate) use crate::plugin::scripted_host::ScriptedHost;
pub(crate) use crate::plugin::supervisor::state::PluginState;
pub(crate) use crate::plugin::trial::{CheckedNeed, NeedStatus};

/// Loads plugins one by one.
pub struct PluginHarness {
    resources: LoadResources,
    root: PathBuf,
    interval: Duration,
    clients: Clients,
    plugins: BTreeMap<String, Arc<PluginConfig>>,
}

/// Why a file could not be loaded.
#[derive(Debug)]
pub struct LoadError {
    /// The hash of the file; none when it could not be read.
    pub(crate) hash: Option<Hash>,
    pub(crate) rejection: Rejection,
}

/// The end of a sentence that begins with the file.
impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hash) = self.hash {
            write!(f, "({hash}) ")?;
        }
        f.write_str(&self.rejection.text())
    }
}

impl From<Outcome> for LoadError {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Rejected(hash, rejection) => Self { hash: Some(hash), rejection },
            Outcome::Unreadable(error) => Self { hash: None, rejection: unreadable(&error).into() },
            // Impossible: there are no known hashes, and no trial.
            Outcome::AlreadyKnown(hash) | Outcome::Ready(Version { hash, .. }, _) => {
                Self { hash: Some(hash), rejection: "was not loaded; report this".to_owned().into() }
            }
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name a plugin's .wasm file",
        io::ErrorKind::InvalidInput => "name a .wasm file itself",
        io::ErrorKind::PermissionDenied => "allow it to be read",
        _ => "check the disk or the mount",
    };
    let (reason, remedy) = explain(error, remedy);
    format!("cannot be read: {reason}; {remedy}")
}

/// A file of a plugins directory.
pub(crate) struct Entry {
    /// The file name.
    pub(crate) file: String,
    /// The plugins that it makes, enabled or not, or why it makes none: the end of a sentence that begins with the file.
    pub(crate) plugins: Result<Vec<String>, String>,
}

/// A plugin that was loaded from a file, with an instance once it is configured.
pub struct LoadedPlugin {
    pub(crate) context: PluginContext,
    pub(crate) version: Version,
    /// The size of the file.
    pub(crate) file_bytes: u64,
    /// How long it took to compile and load it; none where the cache had it.
    pub(crate) compile_time: Option<Duration>,
    resources: LoadResources,
    instance: Option<Instance>,
    recorder: Arc<Recorder>,
}

impl PluginHarness {
    /// Sets up the host, as the agent does with this configuration. The agent's engines serve.
    ///
    /// # Errors
    ///
    /// When this machine cannot run guests at all, or not now.
    pub fn new(config: &Config, purpose: Purpose) -> anyhow::Result<Self> {
        Sealed::check().map_err(|why| anyhow!("failed to load plugins: {why}"))?;
        let engine =
            Engine::new(purpose).map_err(|error| anyhow!("failed to set up the WebAssembly engine: {error:#}"))?;
        let pool = OffloadPool::start().context("failed to start a thread; leave this program more threads")?;
        // A command ends by itself, and is not to wait for an hour.
        let limits = AgentLimits { compile_cpu_per_hour: None, ..config.limits };
        Ok(Self {
            resources: LoadResources::new(config, engine, pool, &LoadCounters::new(&limits)),
            root: config.root.canonicalize().unwrap_or_else(|_| config.root.clone()),
            interval: config.interval,
            clients: Clients::new(config),
            plugins: config.plugins.iter().map(|(name, plugin)| (name.clone(), Arc::new(plugin.clone()))).collect(),
        })
    }

    /// The plugins that a file with this name makes, enabled or not.
    ///
    /// # Errors
    ///
    /// Why it makes none: the end of a sentence that begins with the file.
    pub(crate) fn plugins_of(&self, file: &str) -> Result<Vec<String>, String> {
        plugins_of(file, &self.plugins)
    }

    /// The files of a plugins directory.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub(crate) async fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let Scan { listing, unresponsive, unexamined } =
            scan(self.resources.pool.clone(), directory.to_owned(), BusyEntries::default(), false).await?;
        let why = "does not respond; check the mount that it is on or links to";
        let hung = unresponsive.into_iter().map(|file| (file, EntryState::Unusable(why.to_owned())));
        let unexamined = unexamined.into_iter().map(|(file, error)| {
            let ShortageError { shortage, error } = error;
            (file, EntryState::Unusable(format!("cannot be examined now: {error}; {}", shortage.remedy())))
        });
        let entries = listing.into_iter().chain(hung).chain(unexamined).map(|(file, state)| {
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
        let (resources, shared) = (self.resources.clone(), SharedAccounts::default());
        shared.client.set(self.clients.clone());
        let on_host =
            PluginContext::on_host(name, table.map(Arc::new), &self.root, self.interval, &shared, &resources.pool);
        let plugin = PluginContext { recorder: Some(Arc::clone(&recorder)), ..on_host };
        let load = FileLoad { resources, plugin, path: file.to_owned(), known_hashes: [None, None] };
        let Compiled { hash, bytes, code, compile_time } = load.compiled().await?;
        let FileLoad { resources, plugin: context, .. } = load;
        let version = Version::describe(code, hash, &context)
            .await
            .map_err(|rejection| LoadError { hash: Some(hash), rejection })?;
        Ok(LoadedPlugin { context, version, file_bytes: bytes, compile_time, resources, instance: None, recorder })
    }
}

/// Why a plugin with this failure would not serve: the end of a sentence that begins with the plugin.
pub(crate) fn reason(failure: &Failure) -> String {
    let rejection = Rejection::from(failure.clone());
    // The lines for missing grants are shown together elsewhere.
    if matches!(failure, Failure::Fault(_)) { rejection.text() } else { rejection.reason }
}

impl LoadedPlugin {
    /// The size of the native code and its data.
    pub(crate) fn artifact_bytes(&self) -> usize {
        let image = self.version.code.component().image_range();
        (image.end as usize).saturating_sub(image.start as usize)
    }

    /// The names of the imports.
    pub(crate) fn imports(&self) -> Vec<String> {
        let component = self.version.code.component();
        let (ty, engine) = (component.component_type(), component.engine());
        ty.imports(engine).map(|(name, _)| name.to_owned()).collect()
    }

    /// Starts and configures a new instance. Returns the plugin's needs.
    ///
    /// # Errors
    ///
    /// Why the instance does not start.
    pub async fn configure(&mut self) -> Result<Vec<CheckedNeed>, Failure> {
        self.instance = None;
        let (instance, needs) = self.context.start(&self.version.code, &self.version.description).await?;
        self.instance = Some(instance);
        Ok(self.context.check_needs(needs).await)
    }

    /// Configures a temporary instance with nothing granted. Its denied accesses are not reported.
    ///
    /// # Errors
    ///
    /// Why the instance does not start.
    pub(crate) async fn configure_without_grants(&self) -> Result<(), Failure> {
        let plugin = self.context.without_grants();
        plugin.start(&self.version.code, &self.version.description).await.map(|_| ())
    }

    /// Calls the plugin once, as at a tick. After a failure it starts a new instance, without the agent's pause.
    ///
    /// # Errors
    ///
    /// Why there is no result.
    pub async fn measure(&mut self) -> Result<Collected, Failure> {
        self.measure_at(Tick::now(), self.resources.clock.elapsed()).await
    }

    /// Calls the plugin once, as at this tick, with this reading of the monotonic clock.
    ///
    /// # Errors
    ///
    /// As [`measure`](Self::measure).
    pub(crate) async fn measure_at(&mut self, tick: Tick, monotonic: Duration) -> Result<Collected, Failure> {
        let result = self.call(tick, monotonic).await;
        if matches!(result, Err(Failure::Fault(_) | Failure::Disabled(_))) {
            self.instance = None;
        }
        result
    }

    async fn call(&mut self, tick: Tick, monotonic: Duration) -> Result<Collected, Failure> {
        let instance = match &mut self.instance {
            Some(instance) => instance,
            none => none.insert(self.context.start(&self.version.code, &self.version.description).await?.0),
        };
        instance.collect(tick, monotonic).await
    }

    /// Ends the instance, with all that it has open.
    pub(crate) fn end(&mut self) {
        self.instance = None;
    }

    /// The description of the plugin, as it is configured where there is an instance.
    pub(crate) fn description(&self) -> &Arc<Description> {
        self.instance.as_ref().map_or(&self.version.description, Instance::description)
    }

    /// Whether there is an instance for the next call.
    pub(crate) fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    /// The bytes that the instance holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::held_bytes)
    }

    /// What was recorded since the last call of this.
    pub(crate) fn take_recording(&self) -> Recording {
        self.recorder.take()
    }
}
