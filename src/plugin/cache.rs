//! The artifacts of plugins that were compiled before, so that a start compiles nothing. An artifact is native code, and
//! to load it is to trust it: it is loaded when the private directory of `entries` has it, unchanged, under a key that
//! stands for the plugin's content, the engine and the agent's version. Whatever goes wrong here costs a compilation and
//! a line in the log, never a plugin.

mod entries;

use std::hash::Hasher;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use wasmtime::component::Component;

use self::entries::{CacheKey, Entries, EntryError, MAX_AGE, MAX_BYTES};
use super::engine::Engine;
use super::fault::is_shortage;
use super::sealed::{Hash, Sealed};

/// How long the file system may take for an entry. One that takes longer is a dead mount, and is asked no more.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often old entries are looked for …
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

/// … and after how much new, lest many new plugins fill the disk in between.
const PRUNE_AFTER_BYTES: u64 = MAX_BYTES / 8;

/// The cache. Its work is done on threads that may wait.
#[derive(Clone)]
pub(super) struct Cache(Arc<Inner>);

struct Inner {
    /// None where there is no place for it.
    path: Option<PathBuf>,
    engine: Engine,
    /// What all artifacts of this engine and this version of the agent have in common.
    fingerprint: [u8; 32],
    /// The directory, from its first use; none when it cannot be used.
    entries: OnceLock<Option<Entries>>,
    hits: AtomicU64,
    /// Whether a file system has kept it waiting.
    is_given_up: AtomicBool,
    has_reported_refusal: AtomicBool,
    has_reported_failure: AtomicBool,
    /// Behind a lock because loads side by side store what they have; it is held for a comparison.
    pruned: Mutex<PruneState>,
}

/// When old entries were looked for last, and how much has been stored since.
#[derive(Default)]
struct PruneState {
    at: Option<Instant>,
    stored_bytes: u64,
}

impl PruneState {
    /// Takes note that so much was stored. Answers whether to prune now.
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
    /// A cache in this directory, for artifacts of this engine. Nothing is done before its first use.
    pub(super) fn new(path: Option<PathBuf>, engine: Engine) -> Self {
        Self(Arc::new(Inner {
            path,
            fingerprint: fingerprint(&engine),
            engine,
            entries: OnceLock::new(),
            hits: AtomicU64::new(0),
            is_given_up: AtomicBool::new(false),
            has_reported_refusal: AtomicBool::new(false),
            has_reported_failure: AtomicBool::new(false),
            pruned: Mutex::default(),
        }))
    }

    /// How often it has had what was looked for.
    pub(super) fn hits(&self) -> u64 {
        self.0.hits.load(Ordering::Relaxed)
    }

    /// What was made of a plugin's file before; none when it is to be compiled.
    pub(super) async fn get(&self, file: Hash) -> Option<Component> {
        let key = self.key(file);
        let found = self.ask(move |inner, entries| inner.load(entries, key)).await.flatten();
        self.prune_when_due(0);
        found
    }

    /// Keeps what was made of a plugin's file.
    pub(super) async fn put(&self, file: Hash, artifact: Sealed) {
        let (key, bytes) = (self.key(file), artifact.length());
        self.ask(move |inner, entries| {
            if let Err(error) = entries.put(key, &artifact) {
                inner.report_failure("written", &error);
            }
        })
        .await;
        self.prune_when_due(bytes);
    }

    fn key(&self, file: Hash) -> CacheKey {
        CacheKey(Sha256::new().chain_update(self.0.fingerprint).chain_update(file.0).finalize().into())
    }

    /// Has something done with the entries, elsewhere.
    async fn ask<T: Send + 'static>(&self, work: impl FnOnce(&Inner, &Entries) -> T + Send + 'static) -> Option<T> {
        if self.0.is_given_up.load(Ordering::Relaxed) {
            return None;
        }
        let inner = Arc::clone(&self.0);
        let asked = spawn_blocking(move || inner.entries().map(|entries| work(&inner, entries)));
        if let Ok(answered) = timeout(TIMEOUT, asked).await {
            return answered.ok().flatten();
        }
        if !self.0.is_given_up.swap(true, Ordering::Relaxed) {
            let (path, patience) = (self.0.display_path(), humantime::format_duration(TIMEOUT));
            tracing::warn!(
                "the cache {path} has not answered for {patience} and is not used any more; name another by the key \
                 cache"
            );
        }
        None
    }

    fn prune_when_due(&self, stored_bytes: u64) {
        let mut pruned = self.0.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.0.is_given_up.load(Ordering::Relaxed) && pruned.is_due(stored_bytes, Instant::now()) {
            let inner = Arc::clone(&self.0);
            spawn_blocking(move || {
                if let Some(entries) = inner.entries()
                    && let Err(error) = entries.prune(MAX_BYTES, MAX_AGE, SystemTime::now())
                {
                    inner.report_failure("pruned", &error);
                }
            });
        }
    }
}

impl Inner {
    fn entries(&self) -> Option<&Entries> {
        let opened = self.entries.get_or_init(|| {
            let why = match &self.path {
                Some(path) => match Entries::open(path) {
                    Ok(entries) => return Some(entries),
                    Err(why) => format!("the cache {} {why}, or name another by the key cache", self.display_path()),
                },
                None => "there is no place for the cache; name one by the key cache".to_owned(),
            };
            tracing::warn!("{why}; until then plugins are compiled at every start");
            None
        });
        opened.as_ref()
    }

    fn load(&self, entries: &Entries, key: CacheKey) -> Option<Component> {
        let entry_error = match entries.get(key) {
            Ok(found) => match self.engine.load(&found?) {
                Ok(component) => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    return Some(component);
                }
                Err(error) if is_shortage(&error) => EntryError::Unreadable(io::Error::other(format!("{error:#}"))),
                // Such as one that was made on a machine that can do more.
                Err(_) => EntryError::Invalid("does not fit this machine"),
            },
            Err(entry_error) => entry_error,
        };
        match entry_error {
            EntryError::Invalid(why) => {
                entries.remove(key);
                if !self.has_reported_refusal.swap(true, Ordering::Relaxed) {
                    let path = self.display_path();
                    tracing::warn!(
                        "an entry of the cache {path} {why}; it is removed and compiled again, as any other such is"
                    );
                }
            }
            EntryError::Unreadable(error) => self.report_failure("read", &error),
        }
        None
    }

    fn report_failure(&self, what: &str, error: &io::Error) {
        if !self.has_reported_failure.swap(true, Ordering::Relaxed) {
            let path = self.display_path();
            tracing::warn!(
                "the cache {path} cannot be {what}: {error}; make it writable and leave it room, or name another by the \
                 key cache; until then plugins may be compiled at every start"
            );
        }
    }

    fn display_path(&self) -> String {
        self.path.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }
}

/// What tells artifacts of this engine and this version of the agent from others.
fn fingerprint(engine: &Engine) -> [u8; 32] {
    let mut all = Sha256Hasher(Sha256::new());
    for part in [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS] {
        all.write(part.as_bytes());
        all.write_u8(0);
    }
    engine.identify(&mut all);
    all.0.finalize().into()
}

/// A hasher that loses nothing, as the standard ones do, which have 64 bits and another seed at every start.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What of it fits.
    fn finish(&self) -> u64 {
        self.0.clone().finalize()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> Cache {
        Cache::new(None, Engine::new().expect("this machine runs guests"))
    }

    #[test]
    fn a_key_is_the_same_at_every_start_and_another_for_each_file() {
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        assert_eq!(cache().key(one), cache().key(one));
        assert_ne!(cache().key(one), cache().key(other));
    }

    #[test]
    fn it_is_pruned_at_first_then_seldom_and_when_much_was_stored() {
        let now = Instant::now();
        let mut pruned = PruneState::default();
        assert!(pruned.is_due(0, now));
        assert!(!pruned.is_due(PRUNE_AFTER_BYTES / 2, now) && !pruned.is_due(0, now + PRUNE_EVERY));
        assert!(pruned.is_due(PRUNE_AFTER_BYTES / 2, now));
        assert!(!pruned.is_due(PRUNE_AFTER_BYTES / 2, now) && pruned.is_due(0, now + PRUNE_EVERY * 2));
    }
}
