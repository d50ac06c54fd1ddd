//! The load of a plugin file: it is read, hashed, compiled, described, configured and tried once. The outcome is a version
//! that may serve, or a rejection with reason and remedy.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::config::{AgentLimits, Config};
use crate::plugin::build::cache::Cache;
use crate::plugin::build::compile::{CompilePermit, Compiler};
use crate::plugin::build::probe;
use crate::plugin::build::sealed::{CONCURRENT_LOADS, Hash, Sealed};
use crate::plugin::context::PluginContext;
use crate::plugin::guest::engine::{Engine, Loaded};
use crate::plugin::guest::fault::Failure;
use crate::plugin::guest::instance::Code;
use crate::plugin::guest_thread::setup::LoadCounters;
use crate::plugin::offload::busy::BusyFiles;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::offload::progress::{ProgressError, STALL};
use crate::plugin::rejection::Rejection;
use crate::plugin::source::read::{FILE_BYTES, read};
use crate::plugin::trial::Trial;
use crate::plugin::version::Version;

/// The resources that all loads share.
#[derive(Clone)]
pub(crate) struct LoadResources {
    pub(crate) pool: OffloadPool,
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    /// Bounds how many files are in memory at a time.
    permits: Arc<Semaphore>,
    /// The plugins whose files are being read: a file that hangs is not read again meanwhile.
    busy: BusyFiles,
    /// The zero of the guests' clock.
    pub(crate) clock: Instant,
}

impl LoadResources {
    pub(crate) fn new(config: &Config, engine: Engine, pool: OffloadPool, counters: &LoadCounters) -> Self {
        Self {
            compiler: Compiler::new(config.limits, engine.options(), pool.clone(), Arc::clone(&counters.compilations)),
            cache: Cache::new(config.cache.clone(), engine.clone(), pool.clone(), Arc::clone(&counters.cache_hits)),
            engine,
            pool,
            permits: Arc::new(Semaphore::new(CONCURRENT_LOADS)),
            busy: BusyFiles::default(),
            clock: Instant::now(),
        }
    }
}

impl LoadResources {
    /// Follows other limits.
    pub(crate) fn set_limits(&mut self, limits: AgentLimits) {
        self.compiler.set_limits(limits);
    }
}

/// One load of a file.
pub(crate) struct FileLoad {
    pub(crate) resources: LoadResources,
    pub(crate) plugin: PluginContext,
    pub(crate) path: PathBuf,
    /// The content that serves and the one that was rejected for good: neither is loaded again.
    pub(crate) known_hashes: [Option<Hash>; 2],
}

/// The code of a file.
pub(crate) struct Compiled {
    pub(crate) hash: Hash,
    /// The length of the file.
    pub(crate) bytes: u64,
    pub(crate) code: Code,
    /// How long it took to compile and load it; none where the cache had it.
    pub(crate) compile_time: Option<Duration>,
}

/// A file with its code where the cache has it.
enum Lookup {
    Compiled(Compiled),
    Uncompiled(Sealed),
}

/// The outcome of a load.
pub(crate) enum Outcome {
    /// The content serves already, or was rejected for good before.
    AlreadyKnown(Hash),
    /// The version may serve, depending on the one that serves now.
    Ready(Version, Trial),
    /// The content may not serve.
    Rejected(Hash, Rejection),
    /// The file could not be read.
    Unreadable(io::Error),
}

impl FileLoad {
    /// Loads the file.
    pub(crate) async fn run(self) -> Outcome {
        match self.load().await {
            Ok((version, trial)) => Outcome::Ready(version, trial),
            Err(outcome) => outcome,
        }
    }

    async fn load(&self) -> Result<(Version, Trial), Outcome> {
        let Compiled { hash, code, .. } = self.compiled().await?;
        let rejected = |rejection| Outcome::Rejected(hash, rejection);
        let version = Version::describe(code, hash, &self.plugin).await.map_err(rejected)?;
        let trial = self.plugin.try_version(&version, self.resources.clock).await.map_err(rejected)?;
        Ok((version, trial))
    }

    /// Reads the file, and compiles it unless that was done before.
    ///
    /// # Errors
    ///
    /// How the load has ended.
    pub(crate) async fn compiled(&self) -> Result<Compiled, Outcome> {
        // The semaphore is never closed.
        let read_permit = self.resources.permits.acquire().await;
        let lookup = self.look_up().await?;
        drop(read_permit);
        let mut bytes = match lookup {
            Lookup::Compiled(compiled) => return Ok(compiled),
            Lookup::Uncompiled(file) => file.length(),
        };
        // No file is in memory while it waits for the compiler. By then the file may have changed, or another plugin may have
        // compiled it.
        loop {
            let permit = self.resources.compiler.permit(bytes).await;
            match self.look_up().await? {
                Lookup::Compiled(compiled) => return Ok(compiled),
                Lookup::Uncompiled(file) if permit.covers(file.length()) => {
                    let (hash, bytes, start) = (file.hash(), file.length(), Instant::now());
                    let code =
                        self.compile(file, permit).await.map_err(|rejection| Outcome::Rejected(hash, rejection))?;
                    return Ok(Compiled { hash, bytes, code, compile_time: Some(start.elapsed()) });
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
        Ok(match self.resources.cache.get(hash, self.plugin.admission()).await {
            Some(loaded) => {
                let linked = self.link(loaded).await;
                let (bytes, code) = (file.length(), linked.map_err(|rejection| Outcome::Rejected(hash, rejection))?);
                Lookup::Compiled(Compiled { hash, bytes, code, compile_time: None })
            }
            None => Lookup::Uncompiled(file),
        })
    }

    /// Reads the file, as long as its file system responds.
    async fn read_file(&self) -> io::Result<Sealed> {
        let busy = self.resources.busy.enter(&self.plugin.name).ok_or(ProgressError::Stalled)?;
        let path = self.path.clone();
        let reading = self.resources.pool.run_with_progress(STALL, move |progress| {
            let _busy = busy;
            read(&path, progress)
        });
        reading.await?
    }

    async fn compile(&self, file: Sealed, permit: CompilePermit<'_>) -> Result<Code, Rejection> {
        let artifact = permit.compile(&file).await?;
        let (hash, engine) = (file.hash(), self.resources.engine.clone());
        drop(file);
        let admission = self.plugin.admission();
        let (loaded, artifact) =
            self.resources.pool.run(move || (engine.load(&artifact, &admission), artifact)).await?;
        let loaded = loaded
            .map_err(|error| Rejection::unloadable(&error, |why| format!("cannot be loaded: {why}; report this")));
        let code = self.link(loaded?).await;
        self.resources.cache.put(hash, artifact).await;
        // The next load that gets the permit finds the artifact in the cache.
        drop(permit);
        code
    }

    async fn link(&self, loaded: Loaded) -> Result<Code, Rejection> {
        let artifact = match loaded {
            Loaded::Artifact(artifact) => artifact,
            Loaded::Refused(fault) => return Err(Failure::Fault(fault).into()),
        };
        let engine = self.resources.engine.clone();
        self.resources.pool.run(move || Code::link(&engine, artifact)).await?
    }
}
