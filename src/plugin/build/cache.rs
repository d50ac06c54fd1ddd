//! The cache of compiled plugins, so that a start compiles nothing. An artifact is native code, so only a trusted one is
//! loaded: unchanged, from the private directory of `entries`, under a key of the plugin's content, the engine and the agent's
//! version. A problem of the cache costs a compilation and a log line, never a plugin.

pub(crate) mod entries;

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};

use self::entries::{CacheKey, Entries, EntryError, MAX_AGE, MAX_BYTES};
use crate::plugin::accounts::Admission;
use crate::plugin::build::footprint::MARK;
use crate::plugin::build::preview1::ADAPTER;
use crate::plugin::build::sealed::{CONCURRENT_LOADS, Hash, Sealed};
use crate::plugin::guest::engine::{Engine, Loaded};
use crate::plugin::offload::pool::{OffloadError, OffloadPool};
use crate::plugin::offload::progress::ProgressError;
use crate::plugin::shortage::{ExplainedShortage, explain};

/// How long one operation may take: an artifact of 30 MB from a disk that is spinning up.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many operations may hang at a time, each on a thread. Beyond that, plugins are compiled.
const MAX_HUNG: usize = 4;

/// How often the cache is pruned …
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

/// … and after how many new bytes: many new plugins must not fill the disk in between.
const PRUNE_AFTER_BYTES: u64 = MAX_BYTES / 8;

/// The cache. Its operations run on other threads.
#[derive(Clone)]
pub(crate) struct Cache(Arc<Inner>);

struct Inner {
    /// None where neither the configuration nor the environment names a directory.
    path: Option<PathBuf>,
    engine: Engine,
    pool: OffloadPool,
    /// The part of the keys that all artifacts of this engine and this version of the agent share.
    fingerprint: [u8; 32],
    /// The opened directory. Behind a lock because concurrent loads use it; it is held while the directory is checked or
    /// opened.
    entries: Mutex<Option<Arc<Entries>>>,
    /// How many artifacts were found.
    hits: Arc<AtomicU64>,
    /// How many operations are under way or hang.
    operations: AtomicUsize,
    /// Whether the last operation has timed out.
    has_timed_out: AtomicBool,
    /// The problems that were logged since the cache last worked: each is logged once.
    reported: Mutex<BTreeSet<String>>,
    /// Behind a lock because concurrent loads store artifacts; it is held for a comparison.
    pruned: Mutex<PruneState>,
}

/// When the cache was pruned last, and how much was stored since.
#[derive(Default)]
struct PruneState {
    at: Option<Instant>,
    stored_bytes: u64,
}

impl PruneState {
    /// Adds stored bytes. Returns whether to prune now.
    fn is_due(&mut self, stored_bytes: u64, now: Instant) -> bool {
        self.stored_bytes = self.stored_bytes.saturating_add(stored_bytes);
        let is_due = self.at.is_none_or(|at| now.saturating_duration_since(at) > PRUNE_EVERY);
        if !is_due && self.stored_bytes < PRUNE_AFTER_BYTES {
            return false;
        }
        *self = Self { at: Some(now), stored_bytes: 0 };
        true
    }
}

impl Cache {
    /// A cache in this directory, for artifacts of this engine, which counts those that it finds. The directory is opened at the first use.
    pub(crate) fn new(path: Option<PathBuf>, engine: Engine, pool: OffloadPool, hits: Arc<AtomicU64>) -> Self {
        Self(Arc::new(Inner {
            path,
            fingerprint: fingerprint(&engine),
            engine,
            pool,
            entries: Mutex::default(),
            hits,
            operations: AtomicUsize::new(0),
            has_timed_out: AtomicBool::new(false),
            reported: Mutex::default(),
            pruned: Mutex::default(),
        }))
    }

    /// The artifact of a plugin's file. None when the file must be compiled.
    pub(crate) async fn get(&self, file: Hash, admission: Admission) -> Option<Loaded> {
        let key = self.key(file);
        let artifact = self.run(move |inner, entries| inner.load(entries, key, &admission)).await.flatten();
        self.prune_when_due(0);
        artifact
    }

    /// Stores the artifact of a plugin's file.
    pub(crate) async fn put(&self, file: Hash, artifact: Sealed) {
        let (key, bytes) = (self.key(file), artifact.length());
        self.run(move |inner, entries| {
            if let Err(error) = entries.put(key, &artifact) {
                inner.report_failure("cannot be written", &error);
            }
        })
        .await;
        self.prune_when_due(bytes);
    }

    fn key(&self, file: Hash) -> CacheKey {
        CacheKey(Sha256::new().chain_update(self.0.fingerprint).chain_update(file.0).finalize().into())
    }

    /// Runs an operation on another thread, which it has for at most about [`TIMEOUT`]. None when it has no result; the next
    /// operation is tried all the same.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner, &Entries) -> T + Send + 'static) -> Option<T> {
        let operation = CacheOperation::start(&self.0)?;
        let running = self.0.pool.run_with_progress(TIMEOUT, move |_progress| {
            let inner = &operation.0;
            inner.open().map(|entries| work(inner, &entries))
        });
        let ended = running.await;
        match ended {
            Ok(_) | Err(ProgressError::Failed(OffloadError::Panicked(_))) => {
                self.0.has_timed_out.store(false, Ordering::Relaxed);
            }
            Err(ProgressError::Failed(OffloadError::NoThread)) => {
                self.0.report("not used", "no thread is free for it", "leave the agent more threads");
            }
            Err(ProgressError::Stalled) => {
                self.0.has_timed_out.store(true, Ordering::Relaxed);
                let waited = humantime::format_duration(TIMEOUT);
                self.0.report(
                    "does not respond",
                    &format!("an operation has taken {waited}"),
                    "check its disk or mount",
                );
            }
        }
        ended.ok().flatten()
    }

    fn prune_when_due(&self, stored_bytes: u64) {
        let mut pruned = self.0.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        if pruned.is_due(stored_bytes, Instant::now())
            && let Some(operation) = CacheOperation::start(&self.0)
        {
            let prune = move || {
                let inner = &operation.0;
                if let Some(entries) = inner.open()
                    && let Err(error) = entries.prune(MAX_BYTES, MAX_AGE, SystemTime::now())
                {
                    inner.report_failure("cannot be pruned", &error);
                }
            };
            // No load waits for it. Without a thread it is skipped until it is due again.
            let pool = self.0.pool.clone();
            tokio::spawn(async move { pool.run(prune).await });
        }
    }
}

/// An operation that is under way: its thread drops this at the end.
struct CacheOperation(Arc<Inner>);

impl CacheOperation {
    /// None while the directory or too many operations hang.
    fn start(inner: &Arc<Inner>) -> Option<Self> {
        if inner.is_hanging() {
            return None;
        }
        let started = Self(Arc::clone(inner));
        // Each load has at most one operation that does not hang.
        let others = inner.operations.fetch_add(1, Ordering::AcqRel);
        (others < MAX_HUNG + CONCURRENT_LOADS).then_some(started)
    }
}

impl Drop for CacheOperation {
    fn drop(&mut self) {
        self.0.operations.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Inner {
    /// Whether the last operation has timed out and the directory is still being checked or opened: the next operation
    /// would wait for the same lock.
    fn is_hanging(&self) -> bool {
        let is_opening = || matches!(self.entries.try_lock(), Err(TryLockError::WouldBlock));
        self.has_timed_out.load(Ordering::Relaxed) && is_opening()
    }

    /// The directory, opened at the first use and again when it was removed or replaced.
    fn open(&self) -> Option<Arc<Entries>> {
        let mut opened = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else {
            self.report("has no place", "neither the configuration nor the environment names one", REMEDY);
            return None;
        };
        if let Some(entries) = opened.as_ref().filter(|entries| entries.is_at(path)) {
            return Some(Arc::clone(entries));
        }
        match Entries::open(path) {
            Ok(entries) => Some(Arc::clone(opened.insert(Arc::new(entries)))),
            Err(why) => {
                *opened = None;
                let (reason, remedy) = why.rsplit_once("; ").unwrap_or((&why, REMEDY));
                self.report("cannot be used", reason, remedy);
                None
            }
        }
    }

    fn load(&self, entries: &Entries, key: CacheKey, admission: &Admission) -> Option<Loaded> {
        let entry_error = match entries.get(key) {
            Ok(found) => match self.engine.load(&found?, admission) {
                Ok(loaded) => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    self.reported.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return Some(loaded);
                }
                Err(error) if let Some(ExplainedShortage { reason, remedy }) = ExplainedShortage::behind(&error) => {
                    self.report("cannot be read", &reason, remedy);
                    return None;
                }
                // Such as an artifact of a machine with more CPU features.
                Err(_) => EntryError::Invalid("does not fit this machine"),
            },
            Err(entry_error) => entry_error,
        };
        match entry_error {
            EntryError::Invalid(why) => {
                entries.remove(key);
                self.report("entry removed", &format!("an entry {why}"), "none: the plugin is compiled again");
            }
            EntryError::Unreadable(error) => self.report_failure("cannot be read", &error),
        }
        None
    }

    fn report_failure(&self, problem: &str, error: &io::Error) {
        let remedy = "make it writable and leave it space, or name another by the key cache";
        let (reason, remedy) = explain(error, remedy);
        self.report(problem, &reason, remedy);
    }

    /// Reports a problem once, until the cache works again.
    fn report(&self, problem: &str, reason: &str, remedy: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if !reported.insert(problem.to_owned()) {
            return;
        }
        let cache = self.path.as_ref().map(|path| path.display().to_string());
        let consequence = "plugins may be compiled at every start";
        tracing::warn!(cache, problem, reason, remedy, consequence, "artifact cache problem");
    }
}

/// The remedy where there is no usable directory.
const REMEDY: &str = "name a directory by the key cache";

/// Identifies this engine and this version of the agent, with the adapter that is part of some artifacts.
fn fingerprint(engine: &Engine) -> [u8; 32] {
    let mut all = Sha256Hasher(Sha256::new());
    for part in [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS] {
        all.write(part.as_bytes());
        all.write_u8(0);
    }
    all.write(&MARK);
    all.write(ADAPTER);
    engine.identify(&mut all);
    all.0.finalize().into()
}

/// A hasher with 256 bits and without a seed. The standard hashers have 64 bits and a new seed at every start.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The first 64 bits.
    fn finish(&self) -> u64 {
        self.0.clone().finalize()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::guest::engine_options::Purpose;

    fn cache() -> Cache {
        let pool = OffloadPool::start().expect("threads");
        Cache::new(None, Engine::new(Purpose::Serve).expect("this machine runs guests"), pool, Arc::default())
    }

    #[test]
    fn keys_are_stable_and_differ_between_files() {
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        assert_eq!(cache().key(one), cache().key(one));
        assert_ne!(cache().key(one), cache().key(other));
    }

    #[test]
    fn pruning_is_due_hourly_and_by_size() {
        let now = Instant::now();
        let mut pruned = PruneState::default();
        assert!(pruned.is_due(0, now));
        assert!(!pruned.is_due(PRUNE_AFTER_BYTES / 2, now) && !pruned.is_due(0, now + PRUNE_EVERY));
        assert!(pruned.is_due(PRUNE_AFTER_BYTES / 2, now));
        assert!(!pruned.is_due(PRUNE_AFTER_BYTES / 2, now) && pruned.is_due(0, now + PRUNE_EVERY * 2));
    }
}
