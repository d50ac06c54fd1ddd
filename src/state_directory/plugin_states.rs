//! The states of plugins: what a plugin has saved, as the agent has it in memory, and when that is written to the disk.
//!
//! The first save after a pause of a minute is written at once. Those within the minute wait for its end, so that a plugin that saves
//! at each of its ticks writes once a minute, and a clean end writes what waits. Nothing is written that is on the disk already. After a
//! failure the disk is asked again when a pause is over; until then the error of the failure is returned.
//! Without a directory, as in the subcommands, states are in memory and end with the program.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

pub(crate) use super::plugin_file::MAX_BYTES;
use super::plugin_file::{Found, PluginDirectory};
use super::{RETRY, StateDirectory, StateError, start_thread};

/// How long after a write the next one of the same plugin is: a disk writes the blocks of a small file some thousand times a day
/// more than it would without, and after `kill -9` no more than the saves of a minute are missing.
const PAUSE: Duration = Duration::from_secs(60);

/// How late the write that waits may be. The thread that was to begin it may hang; then the next save writes.
const LATE: Duration = Duration::from_secs(10);

/// The states of all plugins.
#[derive(Debug, Clone, Default)]
pub(crate) struct PluginStates(Arc<All>);

#[derive(Debug, Default)]
struct All {
    /// None where states are kept in memory only.
    directory: Option<StateDirectory>,
    /// Behind a lock because a guest thread that hangs has them, too; it is held for a moment.
    states: Mutex<States>,
}

/// The states by plugin.
#[derive(Debug, Default)]
struct States {
    by_plugin: BTreeMap<Arc<str>, Arc<PluginState>>,
    /// From how many on those of plugins that are gone are looked for. With many plugins that is not done for each new one.
    sweep_at: usize,
}

/// How many states are looked through for each new one.
const FEW: usize = 100;

impl States {
    /// Drops those of plugins that are gone, but for this one.
    fn sweep(&mut self, plugin: &Arc<str>) {
        if self.by_plugin.len() < self.sweep_at {
            return;
        }
        self.by_plugin.retain(|name, state| name == plugin || Arc::strong_count(state) > 1 || state.waits());
        let twice = 2 * self.by_plugin.len();
        self.sweep_at = if twice > FEW { twice } else { 0 };
    }
}

/// The state of one plugin, which its instances and versions share.
#[derive(Debug)]
pub(crate) struct PluginState {
    plugin: Arc<str>,
    directory: Option<StateDirectory>,
    pause: Duration,
    /// Behind a lock because it is written on other threads; it is held for a moment.
    memory: Mutex<Memory>,
    /// Held while the file is written, by one thread at a time.
    file: Mutex<()>,
}

/// What a plugin has saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Content {
    /// The disk was not asked yet.
    #[default]
    Unknown,
    /// Nothing was saved ever.
    Nothing,
    Saved(Arc<[u8]>),
}

/// The state as the agent has it in memory.
#[derive(Debug, Default)]
struct Memory {
    content: Content,
    /// Whether the disk has the same.
    is_written: bool,
    /// When the last write began that has not failed.
    written_at: Option<Instant>,
    /// When the next one is to begin.
    due: Option<Instant>,
    /// The last failure of a read, until one succeeds.
    read_failure: Option<Failure>,
    /// The last failure of a write, until one succeeds.
    write_failure: Option<Failure>,
}

/// A failure, which was logged.
#[derive(Debug)]
struct Failure {
    at: Instant,
    error: StateError,
}

impl Failure {
    /// The error, as long as there is no other attempt.
    fn holds(&self, now: Instant) -> Option<StateError> {
        (now < self.at + RETRY).then(|| self.error.clone())
    }
}

/// What is to be done after a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AfterSave {
    /// The disk has it, or will have it by a write that waits.
    Nothing,
    /// To write it now.
    Write,
    /// To write it at this moment.
    WriteAt(Instant),
    /// Nothing but to report this error: a write has failed a moment ago.
    Report(StateError),
}

impl PluginStates {
    /// States that are kept in a directory.
    pub(crate) fn in_directory(directory: StateDirectory) -> Self {
        Self(Arc::new(All { directory: Some(directory), states: Mutex::default() }))
    }

    /// The state of a plugin.
    pub(crate) fn state(&self, plugin: &Arc<str>) -> Arc<PluginState> {
        let mut states = self.lock();
        states.sweep(plugin);
        let new = || Arc::new(PluginState::new(plugin, self.0.directory.clone(), PAUSE));
        Arc::clone(states.by_plugin.entry(Arc::clone(plugin)).or_insert_with(new))
    }

    /// Begins to write the states that wait for it, on a thread of its own. Completes when they are written. None when none waits.
    ///
    /// # Errors
    ///
    /// When the host has no more threads.
    pub(crate) fn start_end(&self) -> io::Result<Option<oneshot::Receiver<()>>> {
        if !self.wait() {
            return Ok(None);
        }
        let states = self.clone();
        start_thread(move || states.write_waiting()).map(Some)
    }

    /// Writes the states that wait for it. Blocks.
    fn write_waiting(&self) {
        let waiting: Vec<Arc<PluginState>> =
            self.lock().by_plugin.values().filter(|state| state.waits()).cloned().collect();
        for state in waiting {
            // A failure is logged.
            let _ = state.write();
        }
    }

    /// Whether there are states that wait to be written.
    fn wait(&self) -> bool {
        self.lock().by_plugin.values().any(|state| state.waits())
    }

    fn lock(&self) -> MutexGuard<'_, States> {
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PluginState {
    fn new(plugin: &Arc<str>, directory: Option<StateDirectory>, pause: Duration) -> Self {
        let content = if directory.is_some() { Content::Unknown } else { Content::Nothing };
        let memory = Mutex::new(Memory { content, ..Memory::default() });
        Self { plugin: Arc::clone(plugin), directory, pause, memory, file: Mutex::default() }
    }

    /// The state, as far as it is known without asking the disk.
    ///
    /// # Errors
    ///
    /// When a read has failed a moment ago: that of the read.
    pub(crate) fn known(&self, now: Instant) -> Result<Content, StateError> {
        let memory = self.memory();
        let failure = memory.read_failure.as_ref().filter(|_| memory.content == Content::Unknown);
        failure.and_then(|failure| failure.holds(now)).map_or_else(|| Ok(memory.content.clone()), Err)
    }

    /// Reads the state, unless it is known; afterwards it is. Blocks. What is not a state is moved aside and logged.
    ///
    /// # Errors
    ///
    /// When the directory or the file cannot be used, which is logged once.
    pub(crate) fn read(&self) -> Result<Content, StateError> {
        let known = self.memory().content.clone();
        let (Some(directory), Content::Unknown) = (&self.directory, &known) else { return Ok(known) };
        let path = directory.claim_plugins()?;
        let read = PluginDirectory::open(&path).and_then(|plugins| match plugins.read(&self.plugin)? {
            Found::Nothing => Ok(Content::Nothing),
            Found::State(bytes) => Ok(Content::Saved(bytes.into())),
            Found::Damaged(why) => {
                let aside = plugins.move_aside(&self.plugin, SystemTime::now())?;
                let (path, reason) = (path.join(aside).display().to_string(), format!("it {why}"));
                let remedy =
                    "none, if the plugin may begin anew; otherwise end the agent and put an earlier file in its place";
                tracing::warn!(plugin = &*self.plugin, path, reason, remedy, "plugin state moved aside");
                Ok(Content::Nothing)
            }
        });
        let operation = "failed to read the state in";
        let content = read.map_err(|error| self.failed(|memory| &mut memory.read_failure, operation, &path, &error))?;
        let mut memory = self.memory();
        if memory.read_failure.take().is_some() {
            tracing::info!(plugin = &*self.plugin, "plugin state read again");
        }
        // A save may have come before.
        if memory.content == Content::Unknown {
            (memory.is_written, memory.content) = (true, content);
        }
        Ok(memory.content.clone())
    }

    /// Keeps a state in memory. Returns what is to be done about the disk.
    pub(crate) fn save(&self, bytes: &[u8], now: Instant) -> AfterSave {
        let mut memory = self.memory();
        let is_same = matches!(&memory.content, Content::Saved(content) if **content == *bytes);
        if !is_same {
            (memory.content, memory.is_written) = (Content::Saved(bytes.into()), false);
        }
        if memory.is_written || self.directory.is_none() {
            return AfterSave::Nothing;
        }
        if memory.due.is_some_and(|due| now < due + LATE) {
            return AfterSave::Nothing;
        }
        if let Some(due) = memory.written_at.map(|at| at + self.pause).filter(|&due| now < due) {
            memory.due = Some(due);
            return AfterSave::WriteAt(due);
        }
        let failure = memory.write_failure.as_ref().and_then(|failure| failure.holds(now));
        failure.map_or(AfterSave::Write, AfterSave::Report)
    }

    /// Writes the state, unless the disk has it. Blocks.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). A save after the pause writes again.
    pub(crate) fn write(&self) -> Result<(), StateError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let _one = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let content = {
            let mut memory = self.memory();
            let (Content::Saved(content), false) = (&memory.content, memory.is_written) else { return Ok(()) };
            let content = Arc::clone(content);
            (memory.written_at, memory.due) = (Some(Instant::now()), None);
            content
        };
        let written = directory.claim_plugins().and_then(|path| {
            let written = PluginDirectory::open(&path).and_then(|plugins| plugins.write(&self.plugin, &content));
            let operation = "failed to write the state in";
            written.map_err(|error| self.failed(|memory| &mut memory.write_failure, operation, &path, &error))
        });
        let mut memory = self.memory();
        match &written {
            Ok(()) => {
                // Another one may have been saved meanwhile.
                memory.is_written = matches!(&memory.content, Content::Saved(now) if Arc::ptr_eq(now, &content));
                if memory.write_failure.take().is_some() {
                    tracing::info!(plugin = &*self.plugin, "plugin state written again");
                }
            }
            Err(_) => memory.written_at = None,
        }
        written
    }

    /// Whether it waits to be written.
    fn waits(&self) -> bool {
        let memory = self.memory();
        self.directory.is_some() && matches!(memory.content, Content::Saved(_)) && !memory.is_written
    }

    /// The error of a file, which is kept, and logged once for each operation.
    fn failed(
        &self,
        last: fn(&mut Memory) -> &mut Option<Failure>,
        operation: &str,
        directory: &Path,
        error: &io::Error,
    ) -> StateError {
        let error = StateError::system(operation, directory, error);
        let failure = Failure { at: Instant::now(), error: error.clone() };
        if last(&mut self.memory()).replace(failure).is_none() {
            let StateError { text: reason, remedy, .. } = &error;
            tracing::warn!(plugin = &*self.plugin, reason, remedy, "plugin state not kept");
        }
        error
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
