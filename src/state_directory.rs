//! The state directory: what outlasts the agent. It is touched for a sink that sends over the network, and not without one: then it is
//! made, private to the agent's user, locked against a second agent, and marked, so that the next start knows when this one did not
//! end cleanly.
//!
//! | file | what it is |
//! |---|---|
//! | `lock` | locked by the agent that keeps something here, with its process id; gone after a clean end |
//! | `running` | the marker; gone after a clean end |
//! | `spool/NAME.KIND/` | the spool of a sink, which `sink/spool.rs` knows |
//!
//! Operations may block, unless they say otherwise: none comes from the tick thread.

mod error;
mod own_file;
mod lock;
mod marker;

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
use crate::config::check_own_directory;
use crate::thread;

/// The directory of the spools.
const SPOOLS: &str = "spool";

/// How long after a failure the next attempt to use the directory is: the next request would wait for its turn at a hanging disk,
/// and a second agent would try at each sample.
const RETRY: Duration = Duration::from_secs(5);

/// The consequence where the directory cannot be used.
const CONSEQUENCE: &str = "samples that cannot be delivered are kept in memory only";

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
    /// None as long as no sink needs the directory.
    lock: Option<Lock>,
    /// The spools that are open.
    open: BTreeSet<String>,
    /// The last failure, and when it was.
    failure: Option<(Instant, StateError)>,
    /// Whether the end of the last run is known.
    is_examined: bool,
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
        self.hold(&mut self.lock()).map(drop)
    }

    /// Claims the directory of a spool: makes, locks and marks the state directory, unless that was done before. The spool's own
    /// directory is not made.
    ///
    /// # Errors
    ///
    /// When the state directory cannot be used, which is logged once, or the spool is open already. Another attempt may succeed.
    pub(crate) fn claim_spool(&self, name: &str) -> Result<SpoolClaim, StateError> {
        let mut claim = self.lock();
        let path = self.hold(&mut claim)?.join(SPOOLS).join(name);
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
            let _ = self.hold(&mut claim);
        }
    }

    /// How the last run ended, if it is known to have ended uncleanly. Does not block.
    pub(crate) fn unclean_end(&self) -> Option<UncleanEnd> {
        *self.0.unclean_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that all that was kept is delivered: if the run ends uncleanly, nothing before this moment is missing.
    pub(crate) fn note_delivered(&self) {
        let claim = self.lock();
        if let (Some(path), Some(_)) = (&self.0.path, &claim.lock) {
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

    /// The clean end of the agent, when all spools are written: removes the marker and the lock.
    pub(crate) fn end(&self) {
        let mut claim = self.lock();
        if let (Some(path), Some(lock)) = (&self.0.path, claim.lock.take()) {
            let removed = Marker::remove(path);
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
        let (done, ended) = oneshot::channel();
        let state = self.clone();
        thread::start("state", move || {
            state.end();
            // The agent may wait no more.
            let _ = done.send(());
        })?;
        Ok(ended)
    }

    fn lock(&self) -> MutexGuard<'_, Claim> {
        self.0.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes, locks and marks the directory, unless that was done and is still so.
    fn hold(&self, claim: &mut Claim) -> Result<&Path, StateError> {
        let Some(path) = &self.0.path else { return Err(without_path(claim)) };
        if claim.lock.as_ref().is_some_and(|lock| lock.is_in_place(path)) {
            return Ok(path);
        }
        claim.lock = None;
        if let Some((_, error)) = claim.failure.as_ref().filter(|(at, _)| at.elapsed() < RETRY) {
            return Err(error.clone());
        }
        match self.take(path, claim) {
            Ok(lock) => {
                claim.lock = Some(lock);
                if claim.failure.take().is_some() {
                    tracing::info!(state = %path.display(), "state directory usable again");
                }
                Ok(path)
            }
            Err(error) => {
                let StateError { text: reason, remedy, .. } = &error;
                if claim.failure.as_ref().is_none_or(|(_, known)| known.text != error.text) {
                    let state = path.display();
                    tracing::warn!(%state, reason, remedy, consequence = CONSEQUENCE, "state directory not usable");
                }
                claim.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn take(&self, path: &Path, claim: &mut Claim) -> Result<Lock, StateError> {
        let failed = |operation: &str, error: &io::Error| StateError::system(operation, path, error);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| failed("failed to make", &error))?;
        let checked = check_own_directory(path).map_err(|error| failed("failed to examine", &error))?;
        checked.map_err(|why| StateError::refused(path, &why))?;
        let lock = Lock::take(path).map_err(|error| failed("failed to lock", &error))?;
        let lock = lock.map_err(|pid| StateError::in_use(path, pid))?;
        let now = SystemTime::now();
        // A marker of an earlier claim of this run is not of an earlier run.
        if !std::mem::replace(&mut claim.is_examined, true)
            && let Some(end) = Marker::examine(path, &path.join(SPOOLS), now)
        {
            end.report(path);
            *self.0.unclean_end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        }
        Marker::write(path, now).map_err(|error| failed("failed to write the marker in", &error))?;
        Ok(lock)
    }
}

/// The error that there is no directory, which is logged once.
fn without_path(claim: &mut Claim) -> StateError {
    let error = StateError::none();
    if claim.failure.is_none() {
        let StateError { text: reason, remedy, .. } = &error;
        tracing::warn!(reason, remedy, consequence = CONSEQUENCE, "state directory not usable");
        claim.failure = Some((Instant::now(), error.clone()));
    }
    error
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
        self.state.hold(&mut self.state.lock()).map(drop)
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
