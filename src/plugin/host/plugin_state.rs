//! The capability `state`: what a plugin keeps from one instance, version and run of the agent to the next. It needs no grant: a plugin
//! reaches its own state only, which is bounded in size and in how often it is written. The disk is used on other threads, and no
//! longer than a call waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::clock::sleep::sleep_until;
use crate::config::script::StateError as ScriptedError;
use crate::plugin::guest::bindings::gauged::plugin::state::{Error, Host};
use crate::plugin::guest::bindings::gauged::plugin::types::OsError;
use crate::plugin::host::os_error::{os_error, permission_error, without_code};
use crate::plugin::host::state::HostState;
use crate::plugin::offload::permits::{OffloadTarget, PermitError, Permits};
use crate::state_directory::plugin_states::{AfterSave, Content, MAX_BYTES, PluginState};
use crate::state_directory::{StateError, StateErrorKind};

/// How long a write that waited for its turn may take: as long as anybody waits for a disk.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

impl Host for HostState {
    async fn load(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.begin_state()?;
        let state = &self.plugin.accounts.state;
        let content = match state.known(Instant::now()).map_err(wit_error)? {
            known @ (Content::Nothing | Content::Saved(_)) => known,
            Content::Unknown => {
                let state = Arc::clone(state);
                run(&self.plugin.accounts.permits, self.time.patience(), move || state.read()).await?
            }
        };
        let Content::Saved(content) = content else { return Ok(None) };
        self.hold_state(content.len())?;
        Ok(Some(content.to_vec()))
    }

    async fn save(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.begin_state()?;
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge(MAX_BYTES as u64));
        }
        self.hold_state(bytes.len())?;
        let (state, permits) = (Arc::clone(&self.plugin.accounts.state), Arc::clone(&self.plugin.accounts.permits));
        match state.save(&bytes, Instant::now()) {
            AfterSave::Nothing => Ok(()),
            AfterSave::Report(error) => Err(wit_error(error)),
            AfterSave::Write => run(&permits, self.time.patience(), move || state.write()).await,
            AfterSave::WriteAt(due) => {
                tokio::spawn(write_at(due, state, permits));
                Ok(())
            }
        }
    }
}

impl HostState {
    /// Checks that the instance has a state, and puts that of a script in its place.
    fn begin_state(&mut self) -> Result<(), Error> {
        if self.plugin.is_being_described {
            return Err(Error::NotSupported(
                "a plugin without grants has no state: it only describes itself".to_owned(),
            ));
        }
        let Some(script) = &self.plugin.script else { return Ok(()) };
        if let Some(bytes) = script.take_state() {
            self.plugin.accounts.state.save(&bytes, Instant::now());
        }
        match script.state_failure() {
            None => Ok(()),
            Some(ScriptedError::NotSupported) => Err(Error::NotSupported("by the script".to_owned())),
            Some(ScriptedError::Timeout) => Err(Error::Timeout),
            Some(ScriptedError::Io) => Err(Error::Io(os_error(Errno::IO))),
        }
    }

    /// Counts the state as memory of the instance: the agent has a copy of it.
    fn hold_state(&mut self, bytes: usize) -> Result<(), Error> {
        if self.limits.hold_state(bytes) {
            return Ok(());
        }
        let text = "the state does not fit into the memory that the plugin may have".to_owned();
        Err(Error::Io(OsError { text, ..os_error(Errno::NOMEM) }))
    }
}

/// Runs an operation on the disk on another thread.
async fn run<T: Send + 'static>(
    permits: &Arc<Permits>,
    until: Instant,
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, Error> {
    match permits.run(OffloadTarget::State, until, work).await {
        Ok(done) => done.map_err(wit_error),
        Err(PermitError::Late) => Err(Error::Timeout),
        Err(PermitError::Panicked(why)) => Err(Error::Io(without_code(why))),
    }
}

/// Writes a state at a moment. Where that fails, which is logged, or has no thread, the next save writes.
async fn write_at(due: Instant, state: Arc<PluginState>, permits: Arc<Permits>) {
    sleep_until(Some(due)).await;
    let _ = run(&permits, Instant::now() + WRITE_PATIENCE, move || state.write()).await;
}

fn wit_error(StateError { kind, text, remedy }: StateError) -> Error {
    match kind {
        StateErrorKind::None | StateErrorKind::Refused | StateErrorKind::InUse => Error::NotSupported(text),
        StateErrorKind::System(Some(errno @ (Errno::ACCESS | Errno::PERM))) => {
            Error::NotPermitted(permission_error(errno, remedy))
        }
        StateErrorKind::System(Some(errno)) => Error::Io(OsError { text, ..os_error(errno) }),
        StateErrorKind::System(None) => Error::Io(without_code(text)),
    }
}
