//! From a file to a version that may serve: read, told apart by its hash, compiled, described, configured, and tried
//! once. A file is either as good as that, or it is rejected with a reason and the remedy.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use wasmtime::component::Component;

use super::bindings::exports::gauged::plugin::collector::{About, Capability, Need};
use super::blocking::{BlockingError, BusyFiles, Progress, run_blocking};
use super::cache::Cache;
use super::compile::{CompilePermit, Compiler};
use super::context::PluginContext;
use super::engine::Engine;
use super::fault::{Disabled, DisabledCause, Failure, Fault, FaultKind, is_shortage};
use super::host::{GrantKind, may_size};
use super::instance::{Code, Instance, capability_line, grant_of};
use super::sealed::{Hash, Sealed};
use super::{probe, result};
use crate::address::{Address, Origin};
use crate::clock::schedule::Tick;
use crate::escape::printable;
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
    /// The plugins whose files are being read, lest a thread hangs in each attempt.
    pub(super) busy: BusyFiles,
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
    /// The plugin's own version, once it has been described.
    pub(super) version: Option<String>,
    /// The end of a sentence that begins with the file, on one line.
    pub(super) reason: String,
    /// What the operator can do.
    pub(super) remedy: String,
    /// Whether it counts as a fault. A host on which there is nothing to measure is none.
    pub(super) is_fault: bool,
    /// The plugin's own error that it cannot work, if it returned one.
    pub(super) disabled: Option<DisabledCause>,
    pub(super) retry: RetryPolicy,
}

/// When a file that was rejected is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryPolicy {
    /// Never with this content, which is wrong.
    Never,
    /// When the file changes, even to the same content: it does not fit this host or this configuration.
    OnChange,
    /// After a pause: the cause may pass, such as a busy host, or what is measured may appear.
    Backoff,
}

impl Rejection {
    /// The same with the plugin's version.
    pub(super) fn with_version(self, version: &str) -> Self {
        Self { version: Some(version.to_owned()), ..self }
    }

    /// The same, with another attempt after a pause.
    pub(super) fn retryable(self) -> Self {
        Self { retry: RetryPolicy::Backoff, ..self }
    }

    /// Reason and remedy as one text.
    pub(super) fn text(&self) -> String {
        format!("{}; {}", self.reason, self.remedy)
    }
}

/// From a text `reason; remedy`, the form of all texts about files.
impl From<String> for Rejection {
    fn from(text: String) -> Self {
        let (reason, remedy) = text.rsplit_once("; ").unwrap_or((&text, "replace the file to retry"));
        let (reason, remedy) = (printable(reason), printable(remedy));
        Self { version: None, reason, remedy, is_fault: true, disabled: None, retry: RetryPolicy::Never }
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
        let (reason, remedy, disabled) = match failure {
            Failure::Fault(fault) if fault.kind == FaultKind::Shortage => {
                (format!("cannot run now: {fault}"), "leave the agent more memory".to_owned(), None)
            }
            Failure::Fault(fault) => (format!("fails: {fault}"), "fix the plugin".to_owned(), None),
            Failure::Unavailable(why) => {
                (format!("has nothing to measure: {why}"), "start what it measures, or remove it".to_owned(), None)
            }
            Failure::Disabled(Disabled { cause, reason, remedy }) => (reason, remedy, Some(cause)),
        };
        Self { version: None, reason: printable(&reason), remedy: printable(&remedy), is_fault, disabled, retry }
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
        let file = self.read_file().await.map_err(Outcome::Unreadable)?;
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

    /// Reads the file, as long as its file system responds.
    async fn read_file(&self) -> io::Result<Sealed> {
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "its file system does not respond");
        let busy = self.busy.enter(&self.plugin.name).ok_or_else(timed_out)?;
        let path = self.path.clone();
        let reading = run_blocking(move |progress| {
            let _busy = busy;
            read(&path, progress)
        });
        match reading.await {
            Ok(read) => read,
            Err(BlockingError::Stalled) => Err(timed_out()),
            Err(BlockingError::Panicked(why)) => Err(io::Error::other(why)),
        }
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

    /// Reports the grants that a plugin needs and has not, with the lines to add. Without a table that is no warning:
    /// the plugin does without.
    async fn report_missing_grants(&self, needs: Vec<Need>) {
        let PluginContext { name, is_configured, .. } = &self.plugin;
        let until = Instant::now() + self.plugin.config.timeout;
        let (mut missing, mut unusable): (Vec<(GrantKind, String)>, Vec<String>) = (Vec::new(), Vec::new());
        let (mut reasons, total) = (Vec::new(), needs.len());
        for Need { capability, reason } in needs.into_iter().take(CHECKED_NEEDS) {
            match self.plugin.is_granted(&capability, until).await {
                Ok(true) => {}
                Ok(false) => {
                    let (key, value) = grant_of(&capability);
                    self.plugin.record_need(key, value);
                    missing.push((key, value.to_owned()));
                    reasons.push(format!("to {}", printable(&reason)));
                }
                Err(why) => {
                    unusable.push(format!("{} {}", capability_line(&capability), printable(&why)));
                }
            }
        }
        if total > CHECKED_NEEDS {
            tracing::warn!(plugin = &**name, needs = total, checked = CHECKED_NEEDS, "plugin needs too many grants");
        }
        if !unusable.is_empty() {
            let (needs, remedy) = (first_of(&unusable, REPORTED_NEEDS), "fix the plugin");
            tracing::warn!(plugin = &**name, needs, remedy, "plugin needs impossible grants");
        }
        if missing.is_empty() {
            return;
        }
        let (count, reason) = (missing.len(), first_of(&reasons, REPORTED_NEEDS));
        missing.truncate(REPORTED_NEEDS);
        let remedy = format!("{}, and restart the agent", self.plugin.remedy_for(&missing));
        if *is_configured {
            tracing::warn!(plugin = &**name, count, reason, remedy, "grants missing");
        } else {
            tracing::info!(plugin = &**name, count, reason, remedy, "grants missing");
        }
    }
}

/// The first texts of a list, and how many more there are.
fn first_of(texts: &[String], most: usize) -> String {
    let more = texts.len().saturating_sub(most);
    let shown = texts[..texts.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
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
        result::check_about(&about).map_err(|why| format!("{why}; fix the plugin"))?;
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
fn read(path: &Path, progress: &Progress) -> io::Result<Sealed> {
    use rustix::fs::{Mode, OFlags, open};
    // A pipe put in the file's place must not keep the thread waiting for its writer.
    let file = std::fs::File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Sealed::copy(Reporting { file: file.take(FILE_BYTES + 1), progress })
}

/// Reports progress with each piece that is read.
struct Reporting<'a, R> {
    file: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Reporting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.is_abandoned() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.progress.advance();
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_one_line_whatever_the_file_contains() {
        let rejection = Rejection::from("exports a\n2026 ERROR plugin redis: forged; fix it".to_owned());
        assert_eq!((&*rejection.reason, &*rejection.remedy), (r"exports a\n2026 ERROR plugin redis: forged", "fix it"));
        assert!(Rejection::from("x".repeat(1 << 20)).reason.len() < 2048);
    }
}
