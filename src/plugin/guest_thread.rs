//! A guest thread: all plugins belong to it, and everything that knows wasmtime runs on it. The tick thread sends it commands
//! and receives the plugins' part of each sample; neither waits for the other.
//!
//! | queue | capacity | when it is full |
//! |---|---|---|
//! | commands | [`COMMANDS`] | the round is skipped and counted |
//! | parts | 1 | it would replace the older one; a round is sent only when the part of the one before was received |

pub(crate) mod setup;
pub(crate) mod round;
pub(crate) mod part_slot;
pub(crate) mod heartbeat;
pub(crate) mod exchange;
pub(crate) mod abandonment;
pub(crate) mod watchdog;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::clock::sleep::sleep_until;
use crate::plugin::build::sealed::Sealed;
use crate::plugin::guest::engine::Engine;
use crate::plugin::guest_thread::abandonment::Suspension;
use crate::plugin::guest_thread::heartbeat::Heartbeat;
use crate::plugin::guest_thread::part_slot::{PartReceiver, PartSender, part_slot};
use crate::plugin::guest_thread::round::{Round, Settled};
use crate::plugin::guest_thread::setup::Setup;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::offload::progress::STALL;
use crate::plugin::shortage::{ExplainedShortage, explain};
use crate::plugin::source::watch::watch;
use crate::plugin::supervisors::Supervisors;
use crate::thread::{remedy, start};

/// How many commands may wait: a round, and a rare other one.
const COMMANDS: usize = 4;

/// How long the thread waits before it tries again to start what it needs.
const RETRY: Duration = Duration::from_secs(10);

/// The remedy where the missing resource is not known.
const REMEDY: &str = "leave the agent more threads, descriptors or memory";

/// A command of the tick thread.
pub(crate) enum Command {
    Round(Round),
    /// To reply once everything in the directory was loaded or rejected, or when it takes too long.
    Settle {
        until: Instant,
        reply: oneshot::Sender<Settled>,
    },
    /// To try the plugins that another configuration changes, and to reply with those that were rejected.
    Prepare(Arc<Setup>, oneshot::Sender<Vec<String>>),
    /// To follow another configuration.
    Reconfigure(Arc<Setup>),
}

/// A guest thread, as the tick thread has it. When it is dropped, the thread ends after what it does now.
pub(crate) struct GuestThread {
    commands: mpsc::Sender<Command>,
    parts: PartReceiver,
    pub(crate) heartbeat: Arc<Heartbeat>,
    started: Option<oneshot::Receiver<()>>,
    ended: oneshot::Receiver<()>,
}

/// The thread's end of that.
struct Job {
    setup: Arc<Setup>,
    suspensions: BTreeMap<Arc<str>, Suspension>,
    commands: mpsc::Receiver<Command>,
    parts: PartSender,
    heartbeat: Arc<Heartbeat>,
    /// Sent once the thread has started everything, or cannot.
    started: Option<oneshot::Sender<()>>,
    /// Dropped with the job, when the thread has released everything.
    _ended: oneshot::Sender<()>,
}

/// A thread that waits to become the next guest thread, so that none has to be started when one hangs: a start maps memory, of which
/// the tick thread is spared, and the host may have run out of threads. Where none waits, the tick thread starts one.
#[derive(Default)]
pub(crate) struct Standby {
    /// Behind a lock because a new guest thread starts the one after it; it is held for an assignment.
    next: Mutex<Option<SyncSender<Job>>>,
}

impl Standby {
    /// Starts the waiting thread if there is none.
    fn start(self: &Arc<Self>) -> io::Result<()> {
        let is_missing = self.next.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if is_missing {
            let next = self.spawn()?;
            *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        }
        Ok(())
    }

    /// The waiting thread, or a new one.
    fn take(self: &Arc<Self>) -> io::Result<SyncSender<Job>> {
        let waiting = self.next.try_lock().ok().and_then(|mut next| next.take());
        waiting.map_or_else(|| self.spawn(), Ok)
    }

    fn spawn(self: &Arc<Self>) -> io::Result<SyncSender<Job>> {
        let (sender, jobs) = sync_channel::<Job>(1);
        let standby = Arc::downgrade(self);
        let run = move || {
            if let Ok(job) = jobs.recv() {
                run(job, standby);
            }
        };
        start("guests", run)?;
        Ok(sender)
    }
}

impl GuestThread {
    /// Starts a guest thread.
    pub(crate) fn start(
        setup: &Arc<Setup>,
        standby: &Arc<Standby>,
        suspensions: BTreeMap<Arc<str>, Suspension>,
    ) -> io::Result<Self> {
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (part_sender, parts) = part_slot();
        let ((start, started), (end, ended)) = (oneshot::channel(), oneshot::channel());
        let heartbeat = Arc::<Heartbeat>::default();
        let job = Job {
            setup: Arc::clone(setup),
            suspensions,
            commands: commanded,
            parts: part_sender,
            heartbeat: Arc::clone(&heartbeat),
            started: Some(start),
            _ended: end,
        };
        // There is room for it, unless the thread is gone.
        standby.take()?.try_send(job).map_err(io::Error::other)?;
        Ok(Self { commands, parts, heartbeat, started: Some(started), ended })
    }

    /// Waits until the thread has started everything that it needs, or cannot.
    pub(crate) async fn started(&mut self) {
        if let Some(started) = self.started.take() {
            // The thread may have ended.
            let _ = started.await;
        }
    }

    /// Whether the thread has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    /// Sends a command without waiting. Returns whether there was room for it.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// Where the thread leaves the plugins' part of a sample.
    pub(crate) fn parts(&self) -> &PartReceiver {
        &self.parts
    }

    /// Ends the thread, and waits until it has released everything.
    pub(crate) async fn end(self) {
        let Self { commands, parts, ended, .. } = self;
        drop((commands, parts));
        // The sender is dropped, never used.
        let _ = ended.await;
    }
}

/// Tells the tick thread that it need not wait for the start any more.
fn show_started(started: Option<oneshot::Sender<()>>) {
    if let Some(started) = started {
        // The tick thread may not wait any more.
        let _ = started.send(());
    }
}

/// Runs a guest thread until the tick thread has no more use for it.
fn run(mut job: Job, standby: Weak<Standby>) {
    let (heartbeat, mut problem) = (Arc::clone(&job.heartbeat), Problem::default());
    let runtime = loop {
        match runtime(&heartbeat) {
            Ok(runtime) => break runtime,
            Err(error) => {
                let (reason, remedy) = explain(&error, REMEDY);
                problem.report(&format!("the runtime: {reason}"), remedy);
                show_started(job.started.take());
                heartbeat.set_asleep(true);
                thread::sleep(RETRY);
                if job.commands.is_closed() {
                    return;
                }
            }
        }
    };
    runtime.block_on(async {
        let (engine, pool) = loop {
            match engine_and_pool(&job.setup) {
                Ok(both) => break both,
                Err(text) => {
                    let (reason, remedy) = text.rsplit_once("; ").unwrap_or((&text, REMEDY));
                    problem.report(reason, remedy);
                }
            }
            show_started(job.started.take());
            if job.pause().await.is_none() {
                return;
            }
        };
        problem.clear();
        let mut helpers = Helpers::new(&job.setup, standby, pool.clone());
        serve(job, engine, pool, &mut helpers).await;
    });
    drop(runtime);
    heartbeat.set_asleep(true);
}

/// The thread's own runtime, which shows in the heartbeat whether the thread sleeps.
fn runtime(heartbeat: &Arc<Heartbeat>) -> io::Result<Runtime> {
    let (parked, unparked) = (Arc::clone(heartbeat), Arc::clone(heartbeat));
    Builder::new_current_thread()
        .enable_all()
        // Each task may be a guest that runs for a millisecond; commands and timers come before the other guests.
        .event_interval(8)
        .on_thread_park(move || parked.set_asleep(true))
        .on_thread_unpark(move || unparked.set_asleep(false))
        .build()
}

/// The engine and the threads for operations that may wait, or what is missing, why, and the remedy after a semicolon.
fn engine_and_pool(setup: &Setup) -> Result<(Engine, OffloadPool), String> {
    // Without them no file could be loaded, each with an error of its own.
    Sealed::check()?;
    let engine = setup.engine().map_err(|error| match ExplainedShortage::behind(&error) {
        Some(ExplainedShortage { reason, remedy }) => format!("the WebAssembly engine: {reason}; {remedy}"),
        None => format!("the WebAssembly engine: {error:#}; {REMEDY}"),
    })?;
    let pool = setup.pool().map_err(|error| {
        let (reason, remedy) = explain(&error, REMEDY);
        format!("a thread for operations that may wait: {reason}; {remedy}")
    })?;
    Ok((engine, pool))
}

impl Job {
    /// Waits before the thread tries again to start what it needs. Meanwhile there are no plugins, which is the reply to
    /// everything. None when the tick thread has no more use for it.
    async fn pause(&mut self) -> Option<()> {
        let until = Instant::now() + RETRY;
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command? {
                    Command::Round(Round { tick, mut spent, .. }) => {
                        spent.clear();
                        spent.tick = tick.since_epoch;
                        self.parts.put(spent);
                    }
                    // The reply is that nothing was rejected.
                    Command::Prepare(_, reply) => drop(reply),
                    Command::Reconfigure(setup) => self.setup = setup,
                    Command::Settle { reply, .. } => {
                        let enabled = self.setup.config.plugins.iter().filter(|(_, table)| table.enabled);
                        let missing = enabled.map(|(name, _)| name.clone()).collect();
                        // Nobody may wait for it any more.
                        let _ = reply.send(Settled { missing, is_complete: true });
                    }
                },
                () = sleep_until(Some(until)) => return Some(()),
            }
        }
    }
}

/// The root of the measured host without links; with them when it does not respond.
async fn resolve_root(root: &Path, pool: &OffloadPool) -> PathBuf {
    let path = root.to_owned();
    let resolved = pool.run_with_progress(STALL, move |_| path.canonicalize()).await;
    resolved.ok().and_then(Result::ok).unwrap_or_else(|| root.to_owned())
}

/// Serves the tick thread's commands, and loads and calls plugins.
async fn serve(job: Job, engine: Engine, pool: OffloadPool, helpers: &mut Helpers) {
    let Job { setup, suspensions, mut commands, parts, heartbeat, started, _ended: ended } = job;
    let root = resolve_root(&setup.config.root, &pool).await;
    let mut supervisors = Supervisors::new(&setup, root, suspensions, engine, pool, &heartbeat);
    helpers.start_missing();
    show_started(started);
    let mut settling: Option<(Instant, oneshot::Sender<Settled>)> = None;
    loop {
        if let Some(part) = supervisors.end_round().await {
            parts.put(part);
        }
        let is_complete = settling.is_some() && supervisors.is_settled();
        if let Some((_, reply)) = settling.take_if(|(until, _)| is_complete || *until <= Instant::now()) {
            // Nobody may wait for it any more.
            let _ = reply.send(Settled { missing: supervisors.missing(), is_complete });
        }
        let (round_ends_at, settle_at) = (supervisors.round_ends_at(), settling.as_ref().map(|(until, _)| *until));
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => break,
                Some(Command::Round(round)) => supervisors.open_round(round).await,
                Some(Command::Prepare(setup, reply)) => supervisors.prepare(&setup, reply),
                Some(Command::Reconfigure(setup)) => supervisors.reconfigure(&setup),
                Some(Command::Settle { until, reply }) => settling = Some((until, reply)),
            },
            () = sleep_until(round_ends_at) => {}
            () = sleep_until(settle_at) => {}
            Some(()) = helpers.changes.recv() => supervisors.rescan(),
            () = sleep_until(helpers.retry_at) => helpers.start_missing(),
            () = supervisors.step() => {}
        }
    }
    drop(supervisors);
    drop(ended);
}

/// The threads that help a guest thread: the next guest thread, the one that watches the directory, and those for operations
/// that may wait.
struct Helpers {
    pool: OffloadPool,
    standby: Weak<Standby>,
    directory: Option<PathBuf>,
    hints: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    is_watching: bool,
    /// When to try again to start those that are missing.
    retry_at: Option<Instant>,
}

impl Helpers {
    fn new(setup: &Setup, standby: Weak<Standby>, pool: OffloadPool) -> Self {
        let (hints, changes) = mpsc::channel(1);
        let directory = setup.config.plugins_directory.clone();
        Self { pool, standby, directory, hints, changes, is_watching: false, retry_at: None }
    }

    /// Starts those that are missing, now or later: without them the directory is still scanned, plugins are called, and
    /// operations wait for the threads that exist.
    fn start_missing(&mut self) {
        let standby = self.standby.upgrade().map_or(Ok(()), |standby| standby.start());
        let watching = match &self.directory {
            Some(directory) if !self.is_watching => watch(directory.clone(), self.hints.clone()),
            _ => Ok(()),
        };
        self.is_watching = watching.is_ok();
        let error = standby.and(watching).and(self.pool.start_missing()).err();
        let is_first = self.retry_at.is_none();
        self.retry_at = error.is_some().then(|| Instant::now() + RETRY);
        match error {
            Some(error) if is_first => {
                let (reason, remedy) = (error.to_string(), remedy(&error));
                let consequence = "changed plugins are loaded up to 30 s later, and their operations may be slower";
                tracing::warn!(reason, remedy, consequence, "helper threads of plugins missing");
            }
            None if !is_first => tracing::info!("helper threads of plugins started"),
            _ => {}
        }
    }
}

/// Why the thread serves no plugins, reported once.
#[derive(Default)]
struct Problem {
    is_reported: bool,
}

impl Problem {
    fn report(&mut self, reason: &str, remedy: &str) {
        if !std::mem::replace(&mut self.is_reported, true) {
            let consequence = "only native metrics until then; it is tried again every 10 s";
            tracing::error!(reason, remedy, consequence, "plugins not started");
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_reported) {
            tracing::info!("plugins started");
        }
    }
}
