//! The load of a plugin file: it is read, hashed, compiled, described, configured and tried once. The outcome is a version
//! that may serve, or a rejection with reason and remedy.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use wasmtime::component::Component;

use super::bindings::exports::gauged::plugin::collector::{About, Capability, Need};
use super::blocking::{BlockingError, BusyFiles, Progress, STALL, run_blocking};
use super::cache::Cache;
use super::compile::{CompilePermit, Compiler};
use super::context::PluginContext;
use super::engine::Engine;
use super::fault::{Disabled, DisabledCause, Failure, Fault, FaultKind, is_shortage};
use super::host::{GrantKind, is_usage_granted};
use super::instance::{Code, Instance, capability_line, grant_of};
use super::result::Description;
use super::sealed::{Hash, Sealed};
use super::{probe, result};
use crate::address::{Address, Origin};
use crate::clock::schedule::Tick;
use crate::escape::printable;
use crate::hostpath;
use crate::sample::Text;

/// The largest file that is read: twice a Python guest.
const FILE_BYTES: u64 = 32 << 20;

/// How many missing grants of one plugin are reported: first-party plugins need a handful.
const REPORTED_NEEDS: usize = 20;

/// How many needs of one plugin are compared with its grants.
pub(super) const CHECKED_NEEDS: usize = 200;

/// A version of a plugin that was loaded.
pub(super) struct Version {
    /// The version that the plugin gives itself. Also in the description, which is not read at each tick.
    pub(super) name: Text,
    pub(super) description: Arc<Description>,
    pub(super) hash: Hash,
    /// The first digits of the hash, for display.
    pub(super) digits: Text,
    pub(super) code: Code,
}

impl Version {
    /// The version and hash that serve, for the log.
    pub(super) fn log_fields(serving: Option<&Self>) -> (Option<&str>, Option<&str>) {
        (serving.map(|version| &*version.name), serving.map(|version| &*version.digits))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.hash)
    }
}

/// One load of a file.
pub(super) struct FileLoad {
    pub(super) engine: Engine,
    pub(super) compiler: Compiler,
    pub(super) cache: Cache,
    /// Bounds how many files are in memory at a time.
    pub(super) permits: Arc<Semaphore>,
    /// The plugins whose files are being read: a file that hangs is not read again meanwhile.
    pub(super) busy: BusyFiles,
    pub(super) plugin: PluginContext,
    pub(super) path: PathBuf,
    /// The content that serves and the one that was rejected for good: neither is loaded again.
    pub(super) known_hashes: [Option<Hash>; 2],
    /// The zero of the guest's clock.
    pub(super) clock: Instant,
}

/// The code of a file.
pub(super) struct Compiled {
    pub(super) hash: Hash,
    /// The length of the file.
    pub(super) bytes: u64,
    pub(super) code: Code,
}

/// A file with its code where the cache has it.
enum Lookup {
    Compiled(Compiled),
    Uncompiled(Sealed),
}

/// The outcome of a load.
pub(super) enum Outcome {
    /// The content serves already, or was rejected for good before.
    AlreadyKnown(Hash),
    /// The version may serve, depending on the one that serves now.
    Ready(Version, Trial),
    /// The content may not serve.
    Rejected(Hash, Rejection),
    /// The file could not be read.
    Unreadable(io::Error),
}

/// The outcome of a version's trial.
pub(super) enum Trial {
    /// It measured.
    Passed(Box<Instance>),
    /// The service or device that it measures is not there now; the reason.
    Unavailable(String),
    Failed(Fault),
}

/// The grants that a plugin needs and does not have.
#[derive(Default)]
struct MissingGrants {
    grants: Vec<(GrantKind, String)>,
    /// The plugin's reason for each.
    reasons: Vec<String>,
    /// Whether one was not reported before.
    is_new: bool,
}

/// Why a file may not serve.
pub(super) struct Rejection {
    /// The plugin's version; none when it failed before it was described.
    pub(super) version: Option<String>,
    /// The end of a sentence that begins with the file, on one line.
    pub(super) reason: String,
    /// The action for the operator.
    pub(super) remedy: String,
    /// Whether it counts as a fault. A host with nothing to measure is none.
    pub(super) is_fault: bool,
    /// The cause, when the plugin itself returned that it cannot work.
    pub(super) disabled: Option<DisabledCause>,
    pub(super) retry: RetryPolicy,
}

/// When a rejected file is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryPolicy {
    /// Never with this content, which is wrong.
    Never,
    /// When the file is written again, even with the same content: it does not fit this host or configuration.
    OnChange,
    /// After a pause: the cause may pass, such as a busy host or a service that is not running.
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

/// From the form of all texts about files, `reason; remedy`: split at the last semicolon.
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
            Failure::Disabled(Disabled { cause, reason, remedy, .. }) => (reason, remedy, Some(cause)),
        };
        Self { version: None, reason: printable(&reason), remedy: printable(&remedy), is_fault, disabled, retry }
    }
}

impl FileLoad {
    /// Loads the file.
    pub(super) async fn run(self) -> Outcome {
        match self.load().await {
            Ok((version, trial)) => Outcome::Ready(version, trial),
            Err(outcome) => outcome,
        }
    }

    async fn load(&self) -> Result<(Version, Trial), Outcome> {
        let Compiled { hash, code, .. } = self.compiled().await?;
        self.try_version(code, hash).await.map_err(|rejection| Outcome::Rejected(hash, rejection))
    }

    /// Reads the file, and compiles it unless that was done before.
    ///
    /// # Errors
    ///
    /// How the load has ended.
    pub(super) async fn compiled(&self) -> Result<Compiled, Outcome> {
        // The semaphore is never closed.
        let read_permit = self.permits.acquire().await;
        let lookup = self.look_up().await?;
        drop(read_permit);
        let mut bytes = match lookup {
            Lookup::Compiled(compiled) => return Ok(compiled),
            Lookup::Uncompiled(file) => file.length(),
        };
        // No file is in memory while it waits for the compiler. By then the file may have changed, or another plugin may have
        // compiled it.
        loop {
            let permit = self.compiler.permit(bytes).await;
            match self.look_up().await? {
                Lookup::Compiled(compiled) => return Ok(compiled),
                Lookup::Uncompiled(file) if permit.covers(file.length()) => {
                    let (hash, bytes) = (file.hash(), file.length());
                    let code =
                        self.compile(file, permit).await.map_err(|rejection| Outcome::Rejected(hash, rejection))?;
                    return Ok(Compiled { hash, bytes, code });
                }
                // A small file became a large one, which waits again.
                Lookup::Uncompiled(file) => bytes = file.length(),
            }
        }
    }

    /// Reads the file, checks its beginning, and looks its code up in the cache.
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
        let reading = run_blocking(STALL, move |progress| {
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
        // The next load that gets the permit finds the artifact in the cache.
        drop(permit);
        Ok(code)
    }

    async fn link(&self, component: Component) -> Result<Code, String> {
        let engine = self.engine.clone();
        let linking = spawn_blocking(move || Code::link(&engine, &component));
        linking.await.unwrap_or_else(|panicked| Err(unloadable(&panicked)))
    }

    /// Describes, configures and calls a version once.
    async fn try_version(&self, code: Code, hash: Hash) -> Result<(Version, Trial), Rejection> {
        let About { version, metrics, .. } = self.plugin.describe(&code).await?;
        let name = Text::from(version);
        let description = Description::new(&self.plugin.name, name.clone(), metrics);
        let version = Version { name, description, hash, digits: hash.to_string().into(), code };
        let (mut instance, needs) = match self.plugin.start(&version.code, &version.description).await {
            Ok(started) => started,
            Err(Failure::Unavailable(why)) => return Ok((version, Trial::Unavailable(why))),
            Err(failure) => return Err(Rejection::from(failure).with_version(&version.name)),
        };
        let missing = self.missing_grants(needs).await;
        let tick = Tick { index: 0, previous: None, since_epoch: crate::clock::schedule::wall_clock() };
        let trial = match instance.collect(tick, self.clock.elapsed()).await {
            Ok(_) => Trial::Passed(Box::new(instance)),
            Err(Failure::Unavailable(why)) => Trial::Unavailable(why),
            Err(Failure::Fault(fault)) => Trial::Failed(fault),
            Err(failure) => return Err(self.trial_rejection(failure, missing).with_version(&version.name)),
        };
        self.report_missing_grants(missing);
        Ok((version, trial))
    }

    /// The rejection of a version whose trial ended in an error that lasts. When a grant is missing, its remedy names all that
    /// are missing, so that one line tells the operator everything.
    fn trial_rejection(&self, failure: Failure, missing: MissingGrants) -> Rejection {
        let denied = match &failure {
            Failure::Disabled(Disabled { denied: Some(grant), .. }) => grant.clone(),
            _ => return failure.into(),
        };
        let mut grants = missing.grants;
        grants.truncate(REPORTED_NEEDS);
        grants.push(denied);
        Rejection { remedy: printable(&self.plugin.restart_remedy(&grants)), ..failure.into() }
    }

    /// Compares a plugin's needs with its grants. Returns those that are missing; reports those that cannot be granted.
    async fn missing_grants(&self, needs: Vec<Need>) -> MissingGrants {
        let plugin = &*self.plugin.name;
        let until = Instant::now() + self.plugin.config.timeout;
        let (mut missing, mut impossible, total) = (MissingGrants::default(), Vec::new(), needs.len());
        for Need { capability, reason } in needs.into_iter().take(CHECKED_NEEDS) {
            match self.plugin.is_granted(&capability, until).await {
                Ok(true) => {}
                Ok(false) => {
                    let (key, value) = grant_of(&capability);
                    missing.is_new |= self.plugin.record_need(key, value);
                    missing.grants.push((key, value.to_owned()));
                    missing.reasons.push(format!("to {}", printable(&reason)));
                }
                Err(why) => {
                    impossible.push(format!("{} {}", capability_line(&capability), printable(&why)));
                }
            }
        }
        if total > CHECKED_NEEDS {
            tracing::warn!(plugin, needs = total, checked = CHECKED_NEEDS, "plugin needs too many grants");
        }
        if !impossible.is_empty() {
            let (needs, remedy) = (join_first(&impossible, REPORTED_NEEDS), "fix the plugin");
            tracing::warn!(plugin, needs, remedy, "plugin needs impossible grants");
        }
        missing
    }

    /// Reports the missing grants of a version that may serve without them, unless they were reported before. Without a table
    /// that is no warning.
    fn report_missing_grants(&self, missing: MissingGrants) {
        let MissingGrants { mut grants, reasons, is_new } = missing;
        if !is_new {
            return;
        }
        let (count, reason) = (grants.len(), join_first(&reasons, REPORTED_NEEDS));
        grants.truncate(REPORTED_NEEDS);
        let (plugin, remedy) = (&*self.plugin.name, self.plugin.restart_remedy(&grants));
        if self.plugin.is_configured {
            tracing::warn!(plugin, count, reason, remedy, "grants missing");
        } else {
            tracing::info!(plugin, count, reason, remedy, "grants missing");
        }
    }
}

/// Joins the first texts of a list, and says how many more there are.
fn join_first(texts: &[String], most: usize) -> String {
    let more = texts.len().saturating_sub(most);
    let shown = texts[..texts.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn unloadable(why: &impl fmt::Display) -> String {
    format!("cannot be loaded: {why:#}; report this")
}

impl PluginContext {
    /// Describes the plugin, by a temporary instance without grants.
    pub(super) async fn describe(&self, code: &Code) -> Result<About, Rejection> {
        let plugin = self.without_grants();
        let description = Description::unknown(&self.name);
        let mut instance = Instance::new(code, &plugin, description).await.map_err(Failure::Fault)?;
        let about = instance.describe().await.map_err(Failure::Fault)?;
        result::check_about(&about).map_err(|why| format!("{why}; fix the plugin"))?;
        Ok(about)
    }

    /// Makes and configures an instance. Returns its needs, too.
    pub(super) async fn start(
        &self,
        code: &Code,
        description: &Arc<Description>,
    ) -> Result<(Instance, Vec<Need>), Failure> {
        let mut instance = Instance::new(code, self, Arc::clone(description)).await.map_err(Failure::Fault)?;
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
            Capability::Read(path) => grants.covers(path),
            Capability::Usage(path) => is_usage_granted(self, path, until).await,
            Capability::Connect(address) => grants.network().connect(&Address::parse(address)?),
            Capability::Fetch(origin) => grants.network().fetch(&Origin::parse(origin)?),
        })
    }
}

/// Reads a file that may be replaced or truncated at any moment.
fn read(path: &Path, progress: &Progress) -> io::Result<Sealed> {
    use rustix::fs::{Mode, OFlags, open};
    // The opening of a named pipe would wait for its writer.
    let file = std::fs::File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Sealed::copy(ProgressReader { file: file.take(FILE_BYTES + 1), progress })
}

/// A reader that reports progress with each piece.
struct ProgressReader<'a, R> {
    file: R,
    progress: &'a Progress,
}

impl<R: Read> Read for ProgressReader<'_, R> {
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
    fn a_rejection_is_a_single_short_line() {
        let rejection = Rejection::from("exports a\n2026 ERROR plugin redis: forged; fix it".to_owned());
        assert_eq!((&*rejection.reason, &*rejection.remedy), (r"exports a\n2026 ERROR plugin redis: forged", "fix it"));
        assert!(Rejection::from("x".repeat(1 << 20)).reason.len() < 2048);
    }
}
