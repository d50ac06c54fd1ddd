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
use super::engine::Engine;
use super::fault::{Failure, Fault, Kind};
use super::grants::Grants;
use super::host::printable;
use super::instance::{Code, Instance, capability_line};
use super::result;
use crate::config::PluginConfig;
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
    /// The content that serves now, and the one that was rejected last: neither is loaded again.
    pub(super) settled: [Option<Hash>; 2],
    /// What the guest's clock counts from.
    pub(super) clock: Instant,
}

/// A plugin as it is configured: all that an instance of it is made from besides its code.
#[derive(Clone)]
pub(super) struct Plugin {
    pub(super) name: Arc<str>,
    pub(super) config: Arc<PluginConfig>,
    pub(super) grants: Arc<Grants>,
}

impl Plugin {
    /// Makes an instance and configures it. Answers what it will touch, too.
    pub(super) async fn start(&self, code: &Code) -> Result<(Instance, Vec<Need>), Failure> {
        let grants = Arc::clone(&self.grants);
        let mut instance = Instance::new(code, &self.name, grants, &self.config).await.map_err(Failure::Fault)?;
        let needs = instance.configure(&self.config.config).await?;
        Ok((instance, needs))
    }
}

/// How a load ended.
pub(super) enum Outcome {
    /// The content is one that was loaded or rejected before.
    Settled,
    /// It may serve. The instance has been tried; none when the trial was not possible at the moment, and a fault where
    /// the trial failed.
    Ready(Version, Option<Box<Instance>>, Option<Fault>),
    /// It may not serve, now or ever.
    Rejected(Hash, Rejection),
    /// The file could not be read.
    Unreadable(io::Error),
}

/// Why a file may not serve.
pub(super) struct Rejection {
    /// The end of a sentence that begins with the file.
    pub(super) reason: String,
    /// Whether it took too long, which a busy host may be to blame for.
    pub(super) was_slow: bool,
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self { reason, was_slow: false }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        let was_slow = matches!(&failure, Failure::Fault(Fault { kind: Kind::Timeout, .. }));
        let reason = match failure {
            Failure::Fault(fault) => format!("fails: {fault}; mend the plugin"),
            Failure::Unavailable(why) | Failure::PutAside(why) => why,
        };
        Self { reason, was_slow }
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
        if bytes.len() as u64 > FILE_BYTES {
            let most = bytesize::ByteSize(FILE_BYTES);
            return Outcome::Rejected(
                hash,
                format!("is larger than {most}; make it smaller, by a release build").into(),
            );
        }
        match self.try_out(bytes, hash).await {
            Ok((version, instance, fault)) => Outcome::Ready(version, instance, fault),
            Err(rejection) => Outcome::Rejected(hash, rejection),
        }
    }

    async fn try_out(
        &self,
        bytes: Vec<u8>,
        hash: Hash,
    ) -> Result<(Version, Option<Box<Instance>>, Option<Fault>), Rejection> {
        let artifact = self.compiler.compile(bytes).await?;
        let code = Code::load(&self.engine, &artifact)?;
        drop(artifact);
        let name = self.describe(&code).await?;
        let version = Version { name, hash, code };

        let (mut instance, needs) = match self.plugin.start(&version.code).await {
            Ok(started) => started,
            Err(Failure::Unavailable(_)) => return Ok((version, None, None)),
            Err(failure) => return Err(failure.into()),
        };
        self.report_missing_grants(&needs);

        let tick = Tick { index: 0, previous: None, since_epoch: crate::schedule::wall_clock() };
        match instance.collect(tick, self.clock.elapsed()).await {
            Ok(_) | Err(Failure::Unavailable(_)) => Ok((version, Some(Box::new(instance)), None)),
            Err(Failure::Fault(fault)) if self.settled[0].is_none() => Ok((version, None, Some(fault))),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Asks a throw-away instance, to which nothing is granted, for its version.
    async fn describe(&self, code: &Code) -> Result<String, Rejection> {
        let nothing = Arc::new(Grants::none());
        let described = async {
            let mut instance = Instance::new(code, &self.plugin.name, nothing, &self.plugin.config).await?;
            instance.describe().await
        };
        let about = described.await.map_err(Failure::Fault)?;
        result::check_about(&about).map_err(|why| format!("{}; mend the plugin", printable(&why)))?;
        Ok(about.version)
    }

    /// Tells the operator what a plugin needs and has not been granted, with the lines to add.
    fn report_missing_grants(&self, needs: &[Need]) {
        let Plugin { name, grants, .. } = &self.plugin;
        for Need { capability, reason } in needs {
            let is_granted = match capability {
                Capability::Read(path) => grants.read(path).is_ok() || grants.list(path).is_ok(),
                Capability::Usage(path) => grants.usage(path).is_ok() || hostpath::check(path).is_ok(),
                Capability::Connect(_) | Capability::Fetch(_) => false,
            };
            if !is_granted {
                let (line, reason) = (capability_line(capability), printable(reason));
                tracing::warn!(
                    "plugin {name} lacks a grant to {reason}; add to the configuration: [plugins.{name}] {line}"
                );
            }
        }
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
