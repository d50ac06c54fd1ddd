//! The rounds of a guest thread: calls its plugins, those that hold up the others last, and hands each its results.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plugin::calls::{Calls, Returned};
use crate::plugin::guest_thread::heartbeat::Heartbeat;
use crate::plugin::guest_thread::round::{Part, Round};
use crate::plugin::supervisor::Supervisor;
use crate::plugin::supervisor::call::CallResult;

/// How long a call may hold the thread at a time without being called last at the next round: five times as long as a guest
/// runs before others get their turn.
const LONG_HOLD: Duration = Duration::from_millis(5);

type Plugins = BTreeMap<Arc<str>, Box<Supervisor>>;

/// The rounds of a guest thread.
pub(super) struct Rounds {
    pub(super) calls: Calls,
    /// The plugins whose last call has held up the others.
    slow: BTreeSet<Arc<str>>,
    /// Whether a plugin was disabled by its last call.
    has_disabled: bool,
    heartbeat: Arc<Heartbeat>,
}

impl Rounds {
    pub(super) fn new(heartbeat: &Arc<Heartbeat>) -> Self {
        Self {
            calls: Calls::new(Arc::clone(heartbeat)),
            slow: BTreeSet::new(),
            has_disabled: false,
            heartbeat: Arc::clone(heartbeat),
        }
    }

    /// Opens a round: calls the plugins that are due. Those whose last call has not returned skip it. A plugin whose last call
    /// has held up the others is called last. Then handles the calls that returned meanwhile, and again those that returned
    /// during that, as long as the round is open.
    pub(super) async fn open(&mut self, round: Round, plugins: &mut Plugins, clock: Instant) {
        let (tick, skipped) = (round.tick, round.skipped);
        self.calls.open(round);
        let last = std::mem::take(&mut self.slow);
        let mut call = |supervisor: &mut Supervisor| {
            let Some(call) = supervisor.call(tick, skipped, clock) else { return };
            let generation = supervisor.generation();
            if let Some(result) = self.calls.begin(supervisor.heartbeat_id, supervisor.name(), generation, call) {
                self.handle_result(supervisor, result, generation, false);
            }
        };
        for (_, supervisor) in plugins.iter_mut().filter(|(name, _)| !last.contains(*name)) {
            call(supervisor);
        }
        for name in &last {
            if let Some(supervisor) = plugins.get_mut(name) {
                call(supervisor);
            }
        }
        while !self.calls.is_round_over(Instant::now()) {
            let outstanding = self.calls.outstanding();
            tokio::task::yield_now().await;
            self.handle_all_returned(plugins);
            if self.calls.outstanding() == outstanding {
                return;
            }
        }
    }

    /// Waits for the next call that returns; for ever when none is under way. Cancellation safe.
    pub(super) async fn step(&mut self, plugins: &mut Plugins) {
        let returned = self.calls.next().await;
        self.handle_returned(returned, plugins);
        self.handle_all_returned(plugins);
    }

    /// Ends the open round if all its calls have returned or it has waited long enough. Returns the memory for its part.
    pub(super) async fn end(&mut self, plugins: &mut Plugins) -> Option<Box<Part>> {
        if !self.calls.is_round_over(Instant::now()) {
            return None;
        }
        if self.calls.outstanding() > 0 {
            // A busy host may have kept this thread from its work, and not the plugins from theirs.
            tokio::task::yield_now().await;
            self.handle_all_returned(plugins);
        }
        let part = self.calls.end_round()?;
        self.heartbeat.end_round();
        Some(part)
    }

    /// Whether a plugin was disabled by a call since the last call of this.
    pub(super) fn take_disabled(&mut self) -> bool {
        std::mem::take(&mut self.has_disabled)
    }

    fn handle_all_returned(&mut self, plugins: &mut Plugins) {
        while let Some(returned) = self.calls.try_next() {
            self.handle_returned(returned, plugins);
        }
    }

    fn handle_returned(&mut self, returned: Returned, plugins: &mut Plugins) {
        let Returned { plugin, generation, result, is_late } = returned;
        if let Some(supervisor) = plugins.get_mut(&plugin) {
            self.handle_result(supervisor, result, generation, is_late);
        }
    }

    fn handle_result(&mut self, supervisor: &mut Supervisor, result: CallResult, generation: u64, is_late: bool) {
        if result.held > LONG_HOLD {
            self.slow.insert(Arc::clone(supervisor.name()));
        }
        // To drop an instance may take long, too.
        self.heartbeat.enter(supervisor.heartbeat_id);
        supervisor.handle_result(result, generation, is_late, Instant::now());
        self.heartbeat.leave();
        self.has_disabled |= supervisor.interval().is_none();
        if is_late {
            // The next sample is to have it.
            self.heartbeat.want_round();
        }
    }
}
