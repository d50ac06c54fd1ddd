//! The plugins of the agent: at each tick the tick thread asks for a round, and moves the plugins' part into its sample. All
//! plugins belong to a guest thread (`guest_thread`), and nothing on the tick thread waits for it. Only this module and those below it
//! know that plugins are WebAssembly.

mod guest_thread;
mod supervisors;
mod calls;
mod loader;
mod offload;
mod source;
mod build;
mod load;
mod version;
mod trial;
mod rejection;
mod shortage;
mod inherited_limit;
mod supervisor;
mod report;
mod tally;
mod owners;
mod context;
mod difference;
mod client_slot;
mod accounts;
mod capacity;
mod guest;
mod grants;
mod host;
mod recorder;
mod scripted_host;
pub mod harness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub use self::build::budget::CompileOptions;
pub use self::guest::engine_options::{EngineOptions, MemoryLayout, Purpose};
pub use self::guest::fault::{Disabled, DisabledCause, Failure, Fault, FaultKind, InvalidSetting};
pub use self::guest_thread::round::Settled;
pub use self::tally::{Roster, Tally};

use std::io;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::guest_thread::Command;
use self::guest_thread::exchange::Exchange;
use self::guest_thread::setup::Setup;
use self::guest_thread::watchdog::Watchdog;
use crate::clock::schedule::Tick;
use crate::config::Config;
use crate::sample::{Module, NativeMetric, Sample, SeriesTable, Text, Values};
use crate::state_directory::plugin_states::PluginStates;
use crate::status::PluginsView;

/// How long the start waits for the guest thread: longer than a disk takes to spin up.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// How long a tick sleeps for its round before it waits for other events, too: ten plugins that read a file take a quarter of it.
const BRIEF_WAIT: Duration = Duration::from_millis(1);

/// How much longer a reply of the guest thread may take than it was given.
const REPLY_GRACE: Duration = Duration::from_millis(100);

/// Compiles one plugin and ends. The agent starts this program again for it, so that a compiler's memory and crashes are
/// not the agent's.
#[must_use]
pub fn compile(options: CompileOptions) -> ExitCode {
    build::child::run(options)
}

/// The plugins, as the tick thread has them.
pub struct Plugins {
    watchdog: Watchdog,
    exchange: Exchange,
    /// How many ticks had no round because the one before was still open.
    skipped_rounds: u64,
}

impl Plugins {
    /// The plugins of a configuration, which are not loaded yet, and whose states are kept in memory only. `natives` are the modules
    /// of the agent's own collectors, and `metrics` describe the agent's metrics.
    #[must_use]
    pub fn new(
        config: &Arc<Config>,
        series: Arc<SeriesTable>,
        natives: Vec<Text>,
        metrics: &'static [NativeMetric],
    ) -> Self {
        Self::with_states(config, series, natives, metrics, PluginStates::default())
    }

    /// The plugins of a configuration as [`new`](Self::new) has them, with these states.
    #[must_use]
    pub(crate) fn with_states(
        config: &Arc<Config>,
        series: Arc<SeriesTable>,
        natives: Vec<Text>,
        metrics: &'static [NativeMetric],
        states: PluginStates,
    ) -> Self {
        let setup = Setup::new(Arc::clone(config), series, natives, metrics, states);
        Self { watchdog: Watchdog::new(setup), exchange: Exchange::default(), skipped_rounds: 0 }
    }

    /// Starts the guest thread if there is none. The plugins are loaded from then on.
    ///
    /// # Errors
    ///
    /// When the host has no more threads.
    pub fn start_thread(&mut self) -> io::Result<()> {
        self.watchdog.start()
    }

    /// Waits until the guest thread has started the threads that help it, a few seconds at most.
    pub async fn started(&mut self) {
        if let Some(thread) = self.watchdog.thread() {
            // Otherwise it has logged why, or is about to.
            let _ = tokio::time::timeout(START_PATIENCE, thread.started()).await;
        }
    }

    /// Waits until every file of the directory was loaded or rejected, at most this long.
    pub async fn settled(&mut self, patience: Duration) -> Settled {
        let (reply, settled) = oneshot::channel();
        let until = Instant::now() + patience;
        let is_sent = self.watchdog.thread().is_some_and(|thread| thread.send(Command::Settle { until, reply }));
        let settled = async { if is_sent { settled.await.ok() } else { None } };
        let settled = tokio::time::timeout(patience + REPLY_GRACE, settled).await.ok().flatten();
        settled.unwrap_or_else(|| {
            let enabled = self.watchdog.setup().config.plugins.iter().filter(|(_, table)| table.enabled);
            Settled { missing: enabled.map(|(name, _)| name.clone()).collect(), is_complete: false }
        })
    }

    /// Follows another configuration between two rounds, with which the agent has these modules of its own: each plugin that it
    /// changes is tried beside the version that serves, which goes on until that has passed. Returns whether the guest thread took it; if not, it is to be given again.
    ///
    /// # Errors
    ///
    /// When there is no guest thread, and the host has no more threads.
    pub fn reconfigure(&mut self, config: Arc<Config>, natives: Vec<Text>) -> io::Result<bool> {
        self.watchdog.reconfigure(config, natives.into())
    }

    /// Has the plugins that another configuration changes tried with it, beside their running versions; a
    /// [`reconfigure`](Self::reconfigure) then takes effect for all of them at once. The reply has those that were rejected. None when
    /// the guest thread has no room for the command.
    pub(crate) fn prepare(&self, config: Arc<Config>) -> Option<oneshot::Receiver<Vec<String>>> {
        self.watchdog.prepare(config)
    }

    /// Begins the round of a tick if one is due: calls the plugins that are due. The part of those that have not returned by
    /// `until` goes with the next sample; without it the round waits for all of them.
    pub fn call(&mut self, tick: Tick, until: Option<Instant>) {
        self.check();
        let Some(thread) = self.watchdog.thread() else { return };
        let send = |round| thread.send(Command::Round(round));
        self.skipped_rounds += u64::from(self.exchange.open(tick, until, &thread.heartbeat, send));
    }

    /// Whether the round of the last tick has not returned.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.exchange.is_awaited()
    }

    /// Waits a moment for the round, which most have returned by: to sleep for it costs less than to wait for everything.
    pub fn wait_briefly(&mut self) {
        if let Some(thread) = self.watchdog.thread().filter(|_| self.exchange.is_awaited())
            && let Some(part) = thread.parts().take_by(Instant::now() + BRIEF_WAIT)
        {
            self.exchange.take(part);
        }
    }

    /// Waits until the round has returned; for ever when none is awaited. Cancellation safe.
    pub async fn returned(&mut self) {
        let Self { watchdog, exchange, .. } = self;
        let Some(thread) = watchdog.thread().filter(|_| exchange.is_awaited()) else {
            return std::future::pending().await;
        };
        match thread.parts().take().await {
            Some(part) => exchange.take(part),
            // The thread has ended, which the next check finds out.
            None => exchange.give_up(),
        }
    }

    /// Moves the results that have arrived into a sample: later ones go with the next sample.
    pub fn deliver(&mut self, sample: &mut Sample) {
        self.exchange.deliver(sample);
        if self.exchange.is_overdue() {
            self.check();
        }
    }

    /// When to [`check`](Self::check) the guest thread although there may be no tick.
    #[must_use]
    pub fn check_at(&self) -> Option<Instant> {
        self.watchdog.check_at()
    }

    /// Checks whether the guest thread hangs. One that does is abandoned, and another takes its place.
    pub fn check(&mut self) {
        if let Some(part) = self.watchdog.thread().and_then(|thread| thread.parts().try_take()) {
            self.exchange.take(part);
        }
        if self.watchdog.check(self.exchange.is_overdue()) {
            self.exchange.begin_anew();
        }
    }

    /// Takes the plugins' modules of a sample that nobody has any more; the first `own` modules are the agent's own. Returns whether
    /// it could: the guest thread, which has allocated them, releases them with the next round.
    pub fn reclaim(&mut self, sample: &mut Sample, own: usize) -> bool {
        self.exchange.reclaim(sample, own)
    }

    /// The plugin that the guest thread serves at this moment, if any.
    #[must_use]
    pub fn current(&mut self) -> Option<Arc<str>> {
        self.watchdog.thread()?.heartbeat.plugin()
    }

    /// How many plugins are in each state, if that is known at once.
    #[must_use]
    pub fn roster(&mut self) -> Option<Roster> {
        self.watchdog.thread().map_or(Some(Roster::Stopped), |thread| thread.heartbeat.roster())
    }

    /// Appends the agent's metrics about plugins. Returns the place of those that the guest thread counts: at ticks without a round
    /// they are copied from the last module that has them. Without a guest thread there are none: no plugin is called.
    pub fn append_metrics(&mut self, agent: &mut Values<'_>, last: Option<(&Module, Range<usize>)>) -> Range<usize> {
        agent.push("skipped_rounds_total", self.skipped_rounds);
        agent.push("guest_thread_restarts_total", self.watchdog.restarts());
        let begin = agent.len();
        if !self.exchange.append_metrics(agent)
            && self.watchdog.has_thread()
            && let Some((module, range)) = last
        {
            agent.push_again(module, range);
        }
        begin..agent.len()
    }

    /// The plugins in the status of the agent. One that is not shown yet, and a guest thread that hangs, leave the last view.
    pub(crate) fn view(&self) -> PluginsView {
        self.exchange.view(self.watchdog.has_thread())
    }

    /// Ends the guest thread, and waits a moment for it: it may hang.
    pub async fn end(self) {
        self.watchdog.end().await;
    }
}
