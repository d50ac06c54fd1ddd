//! From a file to a version that may serve: read, told apart by its hash, compiled, described, configured, and tried
//! once. A file is either as good as that, or it is rejected with a reason and the remedy.

use std::fmt;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::bindings::exports::gauged::plugin::collector::{Capability, Need};
use super::compile::Compiler;
use super::configured::Plugin;
use super::engine::Engine;
use super::fault::{Failure, Fault, Kind};
use super::host::{is_mount_root, printable};
use super::instance::{Code, Instance, capability_line};
use super::result;
use crate::hostpath;
use crate::schedule::Tick;

/// The largest file that is read: twice a Python guest.
const FILE_BYTES: u64 = 32 << 20;

/// What a file contained.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash([u8; 32]);

/// The first eight digits: what is shown of it.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A version of a plugin that was loaded.
pub(super) struct Version {
    /// What the plugin calls it.
    pub(super) name: String,
    pub(super) hash: Hash,
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
    pub(super) places: Arc<Semaphore>,
    pub(super) plugin: Plugin,
    pub(super) path: PathBuf,
    /// The content that serves now, and the one that was rejected for good last: neither is loaded again.
    pub(super) settled: [Option<Hash>; 2],
    /// Whether the version that serves is up: then only one that measures takes its place.
    pub(super) is_up: bool,
    /// What the guest's clock counts from.
    pub(super) clock: Instant,
}

/// How a load ended.
pub(super) enum Outcome {
    /// The content is one that serves or was rejected before.
    Settled,
    /// It may serve.
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
    /// It failed; for want of a better one it may serve all the same.
    Failed(Fault),
}

/// Why a file may not serve.
pub(super) struct Rejection {
    /// The end of a sentence that begins with the file, on one line.
    pub(super) reason: String,
    /// Whether that is a fault, rather than a host on which there is nothing to measure.
    pub(super) is_fault: bool,
    /// Whether it may pass, so that it is worth trying the same file again: what is measured may come, and a busy host
    /// may be to blame for what took too long.
    pub(super) may_pass: bool,
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self { reason: printable(&reason), is_fault: true, may_pass: false }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        let may_pass = match &failure {
            Failure::Fault(fault) => fault.kind == Kind::Timeout,
            Failure::Unavailable(_) => true,
            Failure::PutAside(_) => false,
        };
        let is_fault = matches!(failure, Failure::Fault(_));
        let reason = match failure {
            Failure::Fault(fault) => format!("fails: {fault}; mend the plugin"),
            Failure::Unavailable(why) => format!("has nothing to measure: {why}"),
            Failure::PutAside(why) => why,
        };
        Self { reason: printable(&reason), is_fault, may_pass }
    }
}

impl Load {
    /// Loads the file.
    pub(super) async fn run(self) -> Outcome {
        // Nobody closes the semaphore, so there is a place in the end.
        let _place = self.places.acquire().await;
        let path = self.path.clone();
        let read = spawn_blocking(move || {
            let bytes = read(&path)?;
            let hash = Hash(Sha256::digest(&bytes).into());
            Ok((bytes, hash))
        });
        let (bytes, hash) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Outcome::Unreadable(error),
            Err(panicked) => return Outcome::Unreadable(io::Error::other(panicked)),
        };
        if self.settled.contains(&Some(hash)) {
            return Outcome::Settled;
        }
        match self.try_out(bytes, hash).await {
            Ok((version, trial)) => Outcome::Ready(version, trial),
            Err(rejection) => Outcome::Rejected(hash, rejection),
        }
    }

    async fn try_out(&self, bytes: Vec<u8>, hash: Hash) -> Result<(Version, Trial), Rejection> {
        if bytes.len() as u64 > FILE_BYTES {
            let most = bytesize::ByteSize(FILE_BYTES);
            return Err(format!("is larger than {most}; make it smaller, by a release build").into());
        }
        let artifact = self.compiler.compile(bytes).await?;
        let engine = self.engine.clone();
        let loading = spawn_blocking(move || Code::load(&engine, &artifact));
        let code =
            loading.await.unwrap_or_else(|panicked| Err(format!("cannot be loaded: {panicked}; report this")))?;
        let name = self.describe(&code).await?;
        let version = Version { name, hash, code };
        let trial = match self.collect_once(&version.code).await {
            Ok(instance) => Trial::Passed(Box::new(instance)),
            Err(Tried { failure: Failure::Unavailable(why), .. }) if !self.is_up => Trial::Unavailable(why),
            Err(Tried { failure: Failure::Fault(fault), is_started: true }) if !self.is_up => Trial::Failed(fault),
            Err(Tried { failure, .. }) => return Err(failure.into()),
        };
        Ok((version, trial))
    }

    /// Has a new instance measure once.
    async fn collect_once(&self, code: &Code) -> Result<Instance, Tried> {
        let (mut instance, needs) =
            self.plugin.start(code).await.map_err(|failure| Tried { failure, is_started: false })?;
        self.report_missing_grants(needs).await;
        let tick = Tick { index: 0, previous: None, since_epoch: crate::schedule::wall_clock() };
        let collected = instance.collect(tick, self.clock.elapsed()).await;
        collected.map(|_| instance).map_err(|failure| Tried { failure, is_started: true })
    }

    /// Asks a throw-away instance, to which nothing is granted, for its version.
    async fn describe(&self, code: &Code) -> Result<String, Rejection> {
        let plugin = self.plugin.without_grants();
        let mut instance = Instance::new(code, &plugin).await.map_err(Failure::Fault)?;
        let about = instance.describe().await.map_err(Failure::Fault)?;
        result::check_about(&about).map_err(|why| format!("{why}; mend the plugin"))?;
        Ok(about.version)
    }

    /// Tells the operator what a plugin needs and has not been granted, with the line to add.
    async fn report_missing_grants(&self, needs: Vec<Need>) {
        let Plugin { name, grants, .. } = &self.plugin;
        for Need { capability, reason } in needs {
            let is_granted = match &capability {
                Capability::Read(path) => grants.read(path).is_ok() || grants.list(path).is_ok(),
                Capability::Usage(path) => grants.usage(path).is_ok() || self.is_mount_root(path).await,
                Capability::Connect(_) | Capability::Fetch(_) => false,
            };
            if is_granted {
                continue;
            }
            let (line, reason) = (capability_line(&capability), printable(&reason));
            match capability {
                Capability::Read(_) | Capability::Usage(_) => {
                    tracing::warn!("plugin {name} lacks a grant to {reason}; add under [plugins.{name}]: {line}");
                }
                Capability::Connect(_) | Capability::Fetch(_) => {
                    tracing::warn!("plugin {name} needs {line} to {reason}, which this version cannot grant");
                }
            }
        }
    }

    async fn is_mount_root(&self, path: &str) -> bool {
        let path = hostpath::below(self.plugin.grants.root(), path);
        let asking = spawn_blocking(move || is_mount_root(&path));
        tokio::time::timeout(self.plugin.config.timeout, asking).await.is_ok_and(|asked| asked.unwrap_or(false))
    }
}

/// How a trial failed, and whether the guest had accepted its configuration by then.
struct Tried {
    failure: Failure,
    is_started: bool,
}

impl Plugin {
    /// Makes an instance and configures it. Answers what it will touch, too.
    pub(super) async fn start(&self, code: &Code) -> Result<(Instance, Vec<Need>), Failure> {
        let mut instance = Instance::new(code, self).await.map_err(Failure::Fault)?;
        let needs = instance.configure(&self.config.config).await?;
        Ok((instance, needs))
    }
}

/// Reads a file that may be replaced, truncated or turned into something else at any moment.
fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags, open};
    // A pipe put in the file's place must not keep the thread waiting for its writer.
    let file = std::fs::File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
