//! The state directory: what outlasts the agent. It is touched for a sink that sends over the network and for a plugin that keeps a
//! state, and not without one: then it is made, private to the agent's user, and locked against a second agent. For a sink it is
//! marked, too, so that the next start knows when this one did not end cleanly.
//!
//! | file | what it is |
//! |---|---|
//! | `lock` | locked by the agent that keeps something here, with its process id; gone after a clean end |
//! | `running` | the marker of an agent that keeps samples; gone after a clean end |
//! | `spool/NAME.KIND/` | the spool of a sink, which `sink/spool.rs` knows |
//! | `plugins/NAME` | the state of a plugin |
//!
//! Operations may block, unless they say otherwise: none comes from the tick thread.

mod error;
mod own_file;
mod lock;
mod marker;
pub(crate) mod plugin_states;
mod plugin_file;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

pub(crate) use self::error::{StateError, StateErrorKind};
use self::lock::Lock;
use self::marker::Marker;
pub(crate) use self::marker::UncleanEnd;
#[cfg(any(test, fuzzing))]
pub(crate) use self::plugin_file::fuzz;
use crate::config::check_own_directory;
use crate::thread;

/// The directory of the spools.
const SPOOLS: &str = "spool";

/// The directory of the states of plugins.
const PLUGINS: &str = "plugins";

/// How long after a failure the next attempt to use the directory is: the next request would wait for its turn at a hanging disk,
/// and a second agent would try at each sample.
const RETRY: Duration = Duration::from_secs(5);

/// What a claim on the directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Samples that were not delivered.
    Samples,
    /// States of plugins. They say nothing about how a run has ended, so that they need no marker.
    PluginStates,
}

impl Purpose {
    /// The consequence where the directory cannot be used.
    fn consequence(self) -> &'static str {
        match self {
            Self::Samples => "samples that cannot be delivered are kept in memory only",
            Self::PluginStates => "plugins that keep a state get an error instead",
        }
    }
}

/// The state directory of an agent, which its threads share.
#[derive(Debug, Clone)]
pub(crate) struct StateDirectory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// None where neither the configuration nor the environment names one.
    path: Option<PathBuf>,
    /// Behind a lock because the spools of several sinks are opened in it. It is held while the directory is made and locked.
    claim: Mutex<Claim>,
    /// How the last run ended, until somebody asks. Behind a lock of its own, which is held for a moment only.
    unclean_end: Mutex<Option<UncleanEnd>>,
}

/// The agent's claim on the directory.
#[derive(Debug, Default)]
struct Claim {
    /// None as long as nothing is to be kept.
    lock: Option<Lock>,
    /// Whether the marker is this run's.
    is_marked: bool,
    /// The spools that are open.
    open: BTreeSet<String>,
    failure: Option<ClaimFailure>,
    /// Whether the end of the last run is known.
    is_examined: bool,
}

/// The last failure of a claim.
#[derive(Debug)]
struct ClaimFailure {
    at: Instant,
    error: StateError,
    /// The purposes whose consequence was logged.
    reported: Vec<Purpose>,
}

impl Claim {
    /// Records a failure of this moment, and logs it once for each purpose. Returns the error.
    fn fail(&mut self, at: Instant, state: Option<&Path>, error: StateError, purpose: Purpose) -> StateError {
        let known = self.failure.take().filter(|known| known.error.text == error.text);
        let mut reported = known.map(|known| known.reported).unwrap_or_default();
        if !reported.contains(&purpose) {
            reported.push(purpose);
            let (StateError { text: reason, remedy, .. }, consequence) = (&error, purpose.consequence());
            let state = state.map(|path| path.display().to_string());
            tracing::warn!(state, reason, remedy, consequence, "state directory not usable");
        }
        self.failure = Some(ClaimFailure { at, error: error.clone(), reported });
        error
    }
}

/// A spool's directory, for one owner at a time.
#[derive(Debug)]
pub(crate) struct SpoolClaim {
    state: StateDirectory,
    name: String,
    path: PathBuf,
}

impl StateDirectory {
    /// A state directory, which is not touched yet.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared { path, claim: Mutex::default(), unclean_end: Mutex::default() }))
    }

    /// The directory of the spool with this name; none without a state directory.
    pub(crate) fn spool_path(&self, name: &str) -> Option<PathBuf> {
        self.spools().map(|spools| spools.join(name))
    }

    /// The directory of all spools.
    pub(crate) fn spools(&self) -> Option<PathBuf> {
        self.0.path.as_ref().map(|path| path.join(SPOOLS))
    }

    /// Makes, locks and marks the directory, unless that was done before.
    ///
    /// # Errors
    ///
    /// When it cannot be used, which is logged once. Another attempt may succeed.
    pub(crate) fn claim(&self) -> Result<(), StateError> {
        self.hold(&mut self.lock(), Purpose::Samples).map(drop)
    }

    /// Makes and locks the directory, unless that was done before. Returns the directory of the states of plugins, which is not
    /// made.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    fn claim_plugins(&self) -> Result<PathBuf, StateError> {
        self.hold(&mut self.lock(), Purpose::PluginStates).map(|path| path.join(PLUGINS))
    }

    /// Claims the directory of a spool: makes, locks and marks the state directory, unless that was done before. The spool's own
    /// directory is not made.
    ///
    /// # Errors
    ///
    /// When the state directory cannot be used, which is logged once, or the spool is open already. Another attempt may succeed.
    pub(crate) fn claim_spool(&self, name: &str) -> Result<SpoolClaim, StateError> {
        let mut claim = self.lock();
        let path = self.hold(&mut claim, Purpose::Samples)?.join(SPOOLS).join(name);
        if !claim.open.insert(name.to_owned()) {
            return Err(StateError::open_spool(name));
        }
        Ok(SpoolClaim { state: self.clone(), name: name.to_owned(), path })
    }

    /// Finds out whether the last run has ended cleanly. Where it has not, and nobody else uses the directory, that is logged, and
    /// the directory is claimed.
    pub(crate) fn examine(&self) {
        let Some(path) = &self.0.path else { return };
        let mut claim = self.lock();
        if Marker::exists(path) {
            // A failure is logged, and tried again by the first spool.
            let _ = self.hold(&mut claim, Purpose::Samples);
        }
    }

    /// How the last run ended, if it is known to have ended uncleanly. Does not block.
    pub(crate) fn unclean_end(&self) -> Option<UncleanEnd> {
        *self.0.unclean_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that all that was kept is delivered: if the run ends uncleanly, nothing before this moment is missing.
    pub(crate) fn note_delivered(&self) {
        let claim = self.lock();
        if let (Some(path), true) = (&self.0.path, claim.is_marked) {
            // Where that fails, the span that is reported is longer.
            let _ = Marker::touch(path);
        }
    }

    /// Runs an operation on the directory of all spools while no other agent keeps anything there, with the names of the spools that
    /// are open. None if another agent does, or there is no such directory.
    pub(crate) fn with_spools<T>(&self, operation: impl FnOnce(&Path, &BTreeSet<String>) -> T) -> Option<T> {
        let path = self.0.path.as_ref()?;
        let spools = path.join(SPOOLS);
        if !spools.is_dir() {
            return None;
        }
        let claim = self.lock();
        // One that others can change is left alone.
        check_own_directory(path).ok()?.ok()?;
        let temporary = if claim.lock.is_some() { None } else { Some(Lock::take(path).ok()?.ok()?) };
        let result = operation(&spools, &claim.open);
        if let Some(lock) = temporary {
            lock.release(path);
        }
        Some(result)
    }

    /// The clean end of the agent, when all spools and states are written: removes the marker and the lock.
    pub(crate) fn end(&self) {
        let mut claim = self.lock();
        if let (Some(path), Some(lock)) = (&self.0.path, claim.lock.take()) {
            let removed = if std::mem::take(&mut claim.is_marked) { Marker::remove(path) } else { Ok(()) };
            // Only where no spool is left.
            let _ = std::fs::remove_dir(path.join(SPOOLS));
            lock.release(path);
            if let Err(error) = removed {
                let (state, reason) = (path.display(), error.to_string());
                tracing::warn!(%state, reason, "marker not removed: the next start reports an unclean end");
            }
        }
    }

    /// Begins the end on a thread of its own, since the disk may hang. Completes when the marker is removed.
    ///
    /// # Errors
    ///
    /// When the host has no more threads. Then the next start reports an unclean end.
    pub(crate) fn start_end(&self) -> io::Result<oneshot::Receiver<()>> {
        let state = self.clone();
        start_thread(move || state.end())
    }

    fn lock(&self) -> MutexGuard<'_, Claim> {
        self.0.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes and locks the directory, and marks it where samples are kept, unless that was done and is still so.
    fn hold(&self, claim: &mut Claim, purpose: Purpose) -> Result<&Path, StateError> {
        let now = Instant::now();
        let Some(path) = &self.0.path else { return Err(claim.fail(now, None, StateError::none(), purpose)) };
        if !claim.lock.as_ref().is_some_and(|lock| lock.is_in_place(path)) {
            (claim.lock, claim.is_marked) = (None, false);
        } else if claim.is_marked || purpose == Purpose::PluginStates {
            return Ok(path);
        }
        if let Some(ClaimFailure { at, error, .. }) = claim.failure.as_ref().filter(|known| known.at.elapsed() < RETRY)
        {
            let (at, error) = (*at, error.clone());
            return Err(claim.fail(at, Some(path), error, purpose));
        }
        if let Err(error) = self.take(path, claim, purpose) {
            return Err(claim.fail(now, Some(path), error, purpose));
        }
        if claim.failure.take().is_some() {
            tracing::info!(state = %path.display(), "state directory usable again");
        }
        Ok(path)
    }

    /// Does the steps of a claim that are missing.
    fn take(&self, path: &Path, claim: &mut Claim, purpose: Purpose) -> Result<(), StateError> {
        let failed = |operation: &str, error: &io::Error| StateError::system(operation, path, error);
        if claim.lock.is_none() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| failed("failed to make", &error))?;
            let checked = check_own_directory(path).map_err(|error| failed("failed to examine", &error))?;
            checked.map_err(|why| StateError::refused(path, &why))?;
            let lock = Lock::take(path).map_err(|error| failed("failed to lock", &error))?;
            claim.lock = Some(lock.map_err(|pid| StateError::in_use(path, pid))?);
        }
        if purpose == Purpose::PluginStates {
            return Ok(());
        }
        let now = SystemTime::now();
        // A marker of an earlier claim of this run is not of an earlier run.
        if !std::mem::replace(&mut claim.is_examined, true)
            && let Some(end) = Marker::examine(path, &path.join(SPOOLS), now)
        {
            end.report(path);
            *self.0.unclean_end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        }
        Marker::write(path, now).map_err(|error| failed("failed to write the marker in", &error))?;
        claim.is_marked = true;
        Ok(())
    }
}

/// Runs an operation on a thread of its own, since the disk may hang. The receiver completes when it has returned.
fn start_thread(operation: impl FnOnce() + Send + 'static) -> io::Result<oneshot::Receiver<()>> {
    let (done, ended) = oneshot::channel();
    thread::start("state", move || {
        operation();
        // The agent may wait no more.
        let _ = done.send(());
    })?;
    Ok(ended)
}

impl SpoolClaim {
    /// The spool's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that the state directory is still the agent's: somebody may have removed it.
    ///
    /// # Errors
    ///
    /// As [`StateDirectory::claim_spool`].
    pub(crate) fn renew(&self) -> Result<(), StateError> {
        self.state.hold(&mut self.state.lock(), Purpose::Samples).map(drop)
    }

    /// Notes that the spool is empty.
    pub(crate) fn note_delivered(&self) {
        self.state.note_delivered();
    }
}

impl Drop for SpoolClaim {
    fn drop(&mut self) {
        self.state.lock().open.remove(&self.name);
    }
}

#[cfg(test)]
mod tests;
