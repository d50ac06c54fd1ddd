//! From a file to a version that may serve: read, told apart by its hash, compiled, described, configured, and tried
//! once. A file is either as good as that, or it is rejected with a reason and the remedy.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use wasmtime::component::Component;

use super::bindings::exports::gauged::plugin::collector::{About, Capability, Need};
use super::cache::Cache;
use super::compile::{CompilePermit, Compiler};
use super::context::PluginContext;
use super::engine::Engine;
use super::fault::{Failure, Fault, FaultKind, is_shortage};
use super::host::{may_size, printable};
use super::instance::{Code, Instance, capability_line, grant_of};
use super::sealed::{Hash, Sealed};
use super::{probe, result};
use crate::address::{Address, Origin};
use crate::clock::schedule::Tick;
use crate::hostpath;
use crate::sample::Text;

/// The largest file that is read: twice a Python guest.
const FILE_BYTES: u64 = 32 << 20;

/// How many missing grants of one plugin are reported: a first-party plugin needs a handful.
const REPORTED_NEEDS: usize = 20;

/// A version of a plugin that was loaded.
pub(super) struct Version {
    /// What the plugin calls it.
    pub(super) name: Text,
    pub(super) hash: Hash,
    /// The hash as it is shown.
    pub(super) digits: Text,
    pub(super) code: Code,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.hash)
    }
}

/// What there is to load, and by what means.
pub(super) struct Load {
    pub(super) engine: Engine,
    pub(super) compiler: Compiler,
    pub(super) cache: Cache,
    pub(super) permits: Arc<Semaphore>,
    pub(super) plugin: PluginContext,
    pub(super) path: PathBuf,
    /// The content that serves now, and the one that was rejected for good last: neither is loaded again.
    pub(super) known_hashes: [Option<Hash>; 2],
    /// What the guest's clock counts from.
    pub(super) clock: Instant,
}

/// How many needs of one plugin are held against its grants.
pub(super) const CHECKED_NEEDS: usize = 200;

/// A file's content and what was compiled of it.
pub(super) struct Compiled {
    pub(super) hash: Hash,
    /// How long the file is.
    pub(super) bytes: u64,
    pub(super) code: Code,
}

/// What there is to make a version of.
enum Lookup {
    Compiled(Compiled),
    Uncompiled(Sealed),
}

/// How a load ended.
pub(super) enum Outcome {
    /// The content is one that serves or was rejected for good before.
    AlreadyKnown(Hash),
    /// It may serve, depending on what serves now.
    Ready(Version, Trial),
    /// It may not serve.
    Rejected(Hash, Rejection),
    /// The file could not be read.
    Unreadable(io::Error),
}

/// How a version that may serve did in its trial.
pub(super) enum Trial {
    /// It measured.
    Passed(Box<Instance>),
    /// What it measures is not there now.
    Unavailable(String),
    /// It failed.
    Failed(Fault),
}

/// Why a file may not serve.
pub(super) struct Rejection {
    /// What the plugin calls its version, once it has said so.
    pub(super) version: Option<String>,
    /// The end of a sentence that begins with the file, on one line.
    pub(super) reason: String,
    /// Whether that is a fault, rather than a host on which there is nothing to measure.
    pub(super) is_fault: bool,
    pub(super) retry: RetryPolicy,
}

/// What may become of a file that was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryPolicy {
    /// Nothing: its content is wrong.
    Never,
    /// It does not fit this host, which may change: it is tried again when it is put there again.
    OnChange,
    /// What is wrong may pass, as a busy host does, or what is measured may come: it is tried again after a pause.
    Backoff,
}

impl Rejection {
    /// It is this version that may not serve.
    pub(super) fn with_version(self, version: &str) -> Self {
        Self { version: Some(version.to_owned()), ..self }
    }

    /// What is wrong may pass.
    pub(super) fn retryable(self) -> Self {
        Self { retry: RetryPolicy::Backoff, ..self }
    }
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self { version: None, reason: printable(&reason), is_fault: true, retry: RetryPolicy::Never }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        let retry = match &failure {
            Failure::Fault(Fault { kind: FaultKind::Timeout | FaultKind::Shortage, .. }) | Failure::Unavailable(_) => {
                RetryPolicy::Backoff
            }
            Failure::Fault(_) => RetryPolicy::Never,
            Failure::Disabled(_) => RetryPolicy::OnChange,
        };
        let is_fault = matches!(failure, Failure::Fault(_));
        let reason = match failure {
            Failure::Fault(fault) if fault.kind == FaultKind::Shortage => {
                format!("cannot run now: {fault}; leave the agent more memory")
            }
            Failure::Fault(fault) => format!("fails: {fault}; mend the plugin"),
            Failure::Unavailable(why) => format!("has nothing to measure: {why}"),
            Failure::Disabled(why) => why,
        };
        Self { version: None, reason: printable(&reason), is_fault, retry }
    }
}

impl Load {
    /// Loads the file.
    pub(super) async fn run(self) -> Outcome {
        match self.load().await {
            Ok((version, trial)) => Outcome::Ready(version, trial),
            Err(outcome) => outcome,
        }
    }

    async fn load(&self) -> Result<(Version, Trial), Outcome> {
        let Compiled { hash, code, .. } = self.compiled().await?;
        self.try_out(code, hash).await.map_err(|rejection| Outcome::Rejected(hash, rejection))
    }

    /// Reads the file, and compiles it unless that was done before.
    ///
    /// # Errors
    ///
    /// How the load has ended.
    pub(super) async fn compiled(&self) -> Result<Compiled, Outcome> {
        // Nobody closes the semaphore, so there is a place in the end.
        let read_permit = self.permits.acquire().await;
        let found = self.look_up().await?;
        drop(read_permit);
        if let Lookup::Compiled(compiled) = found {
            return Ok(compiled);
        }
        // Whoever waits for the compiler holds no file in memory meanwhile, nor a place that others need for less. Then
        // the file may be another, or may have been compiled for another plugin.
        drop(found);
        let permit = self.compiler.permit().await;
        match self.look_up().await? {
            Lookup::Compiled(compiled) => Ok(compiled),
            Lookup::Uncompiled(file) => {
                let (hash, bytes) = (file.hash(), file.length());
                let code = self.compile(file, permit).await.map_err(|rejection| Outcome::Rejected(hash, rejection))?;
                Ok(Compiled { hash, bytes, code })
            }
        }
    }

    /// Reads the file, and finds out whether it has to be compiled. Of its content nothing but the beginning is looked at.
    async fn look_up(&self) -> Result<Lookup, Outcome> {
        let path = self.path.clone();
        let read = spawn_blocking(move || read(&path)).await.map_err(io::Error::other).flatten();
        let file = read.map_err(Outcome::Unreadable)?;
        let hash = file.hash();
        let reject = |reason: String| Outcome::Rejected(hash, reason.into());
        if self.known_hashes.contains(&Some(hash)) {
            return Err(Outcome::AlreadyKnown(hash));
        }
        if file.length() > FILE_BYTES {
            let most = bytesize::ByteSize(FILE_BYTES);
            return Err(reject(format!("is larger than {most}; make it smaller, by a release build")));
        }
        probe::check_beginning(&file).map_err(reject)?;
        Ok(match self.cache.get(hash).await {
            Some(component) => {
                let (bytes, code) = (file.length(), self.link(component).await.map_err(reject)?);
                Lookup::Compiled(Compiled { hash, bytes, code })
            }
            None => Lookup::Uncompiled(file),
        })
    }

    async fn compile(&self, file: Sealed, permit: CompilePermit<'_>) -> Result<Code, Rejection> {
        let artifact = permit.compile(&file).await?;
        let (hash, engine) = (file.hash(), self.engine.clone());
        drop(file);
        let loading = spawn_blocking(move || (engine.load(&artifact), artifact));
        let (component, artifact) = loading.await.map_err(|panicked| unloadable(&panicked))?;
        let component = component.map_err(|error| {
            let rejection = Rejection::from(unloadable(&error));
            if is_shortage(&error) { rejection.retryable() } else { rejection }
        });
        let code = self.link(component?).await?;
        self.cache.put(hash, artifact).await;
        // Whoever has the next turn finds it there.
        drop(permit);
        Ok(code)
    }

    async fn link(&self, component: Component) -> Result<Code, String> {
        let engine = self.engine.clone();
        let linking = spawn_blocking(move || Code::link(&engine, &component));
        linking.await.unwrap_or_else(|panicked| Err(unloadable(&panicked)))
    }

    async fn try_out(&self, code: Code, hash: Hash) -> Result<(Version, Trial), Rejection> {
        let name = self.plugin.describe(&code).await?.version;
        let version = Version { name: name.into(), hash, digits: hash.to_string().into(), code };
        let (mut instance, needs) = match self.plugin.start(&version.code).await {
            Ok(started) => started,
            Err(Failure::Unavailable(why)) => return Ok((version, Trial::Unavailable(why))),
            Err(failure) => return Err(Rejection::from(failure).with_version(&version.name)),
        };
        self.report_missing_grants(needs).await;
        let tick = Tick { index: 0, previous: None, since_epoch: crate::clock::schedule::wall_clock() };
        let trial = match instance.collect(tick, self.clock.elapsed()).await {
            Ok(_) => Trial::Passed(Box::new(instance)),
            Err(Failure::Unavailable(why)) => Trial::Unavailable(why),
            Err(Failure::Fault(fault)) => Trial::Failed(fault),
            Err(failure) => return Err(Rejection::from(failure).with_version(&version.name)),
        };
        Ok((version, trial))
    }

    /// Tells the operator what a plugin needs and has not been granted, with the lines to write.
    async fn report_missing_grants(&self, needs: Vec<Need>) {
        let PluginContext { name, .. } = &self.plugin;
        let until = Instant::now() + self.plugin.config.timeout;
        let mut reported = 0;
        if needs.len() > CHECKED_NEEDS {
            tracing::warn!("plugin {name} needs more than {CHECKED_NEEDS} grants; those beyond are not looked at");
        }
        for Need { capability, reason } in needs.into_iter().take(CHECKED_NEEDS) {
            let is_granted = self.plugin.is_granted(&capability, until).await;
            if is_granted == Ok(true) {
                continue;
            }
            if reported == REPORTED_NEEDS {
                return tracing::warn!("plugin {name} lacks more grants than the {REPORTED_NEEDS} above");
            }
            reported += 1;
            let reason = printable(&reason);
            match is_granted {
                Ok(_) => {
                    let (key, value) = grant_of(&capability);
                    let remedy = self.plugin.remedy(key, value);
                    tracing::warn!("plugin {name} lacks a grant to {reason}; {remedy}");
                }
                Err(why) => {
                    let (line, why) = (capability_line(&capability), printable(&why));
                    tracing::warn!("plugin {name} needs {line} to {reason}, but that {why}; mend the plugin");
                }
            }
        }
    }
}

fn unloadable(why: &impl fmt::Display) -> String {
    format!("cannot be loaded: {why:#}; report this")
}

impl PluginContext {
    /// Asks a throw-away instance, to which nothing is granted, who it is.
    pub(super) async fn describe(&self, code: &Code) -> Result<About, Rejection> {
        let plugin = self.without_grants();
        let mut instance = Instance::new(code, &plugin).await.map_err(Failure::Fault)?;
        let about = instance.describe().await.map_err(Failure::Fault)?;
        result::check_about(&about).map_err(|why| format!("{why}; mend the plugin"))?;
        Ok(about)
    }

    /// Makes an instance and configures it. Answers what it will touch, too.
    pub(super) async fn start(&self, code: &Code) -> Result<(Instance, Vec<Need>), Failure> {
        let mut instance = Instance::new(code, self).await.map_err(Failure::Fault)?;
        let needs = instance.configure(&self.config.config).await?;
        Ok((instance, needs))
    }

    /// Whether a capability is granted.
    ///
    /// # Errors
    ///
    /// Why nothing can grant it: the end of a sentence that begins with it.
    pub(super) async fn is_granted(&self, capability: &Capability, until: Instant) -> Result<bool, String> {
        if let Capability::Read(path) | Capability::Usage(path) = capability {
            hostpath::check(path)?;
        }
        let grants = &self.grants;
        Ok(match capability {
            Capability::Read(path) => grants.names(path),
            Capability::Usage(path) => may_size(self, path, until).await,
            Capability::Connect(address) => grants.network().connect(&Address::parse(address)?),
            Capability::Fetch(origin) => grants.network().fetch(&Origin::parse(origin)?),
        })
    }
}

/// Reads a file that may be replaced, truncated or turned into something else at any moment.
fn read(path: &Path) -> io::Result<Sealed> {
    use rustix::fs::{Mode, OFlags, open};
    // A pipe put in the file's place must not keep the thread waiting for its writer.
    let file = std::fs::File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Sealed::copy(file.take(FILE_BYTES + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_one_line_whatever_the_file_contains() {
        let rejection = Rejection::from("exports a\n2026 ERROR plugin redis: forged".to_owned());
        assert_eq!(rejection.reason, r"exports a\n2026 ERROR plugin redis: forged");
        assert!(Rejection::from("x".repeat(1 << 20)).reason.len() < 2048);
    }
}
