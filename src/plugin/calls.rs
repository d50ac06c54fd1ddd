//! The calls of plugins that are under way, and the round that waits for them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};

use crate::plugin::guest_thread::heartbeat::{Heartbeat, Observed};
use crate::plugin::guest_thread::round::{Part, Round};
use crate::plugin::supervisor::call::{Call, CallResult};

/// How long plugins are called one after the other without a task of their own: enough for a thousand that only read a
/// file, and the shortest time that a sample waits for its plugins.
const INLINE_STRETCH: Duration = Duration::from_millis(20);

/// How many calls may be unfinished before the others get tasks at once: each may be one that never returns, and has had
/// a millisecond or two.
const MAX_UNFINISHED: usize = 5;

/// The calls that are under way.
pub(crate) struct Calls {
    heartbeat: Arc<Heartbeat>,
    tasks: JoinSet<CallResult>,
    running: HashMap<Id, RunningCall>,
    /// How many rounds there were.
    rounds: u64,
    open: Option<OpenRound>,
}

/// A call in a task of its own.
struct RunningCall {
    plugin: Arc<str>,
    /// The version that was called.
    generation: u64,
    round: u64,
}

/// A round whose part of the sample was not sent yet.
struct OpenRound {
    /// When it is sent at the latest; none when all calls have to return.
    until: Option<Instant>,
    /// How many of its calls have not returned.
    outstanding: usize,
    /// How many of its calls have become tasks.
    unfinished: usize,
    inline_until: Instant,
    /// The memory for the part.
    part: Box<Part>,
}

/// A call that has returned.
pub(crate) struct Returned {
    pub(crate) plugin: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) result: CallResult,
    /// Whether its round was over before.
    pub(crate) is_late: bool,
}

impl Calls {
    pub(crate) fn new(heartbeat: Arc<Heartbeat>) -> Self {
        Self { heartbeat, tasks: JoinSet::new(), running: HashMap::new(), rounds: 0, open: None }
    }

    /// Opens a round.
    pub(crate) fn open(&mut self, round: Round) {
        let inline_until = Instant::now() + INLINE_STRETCH;
        self.rounds += 1;
        let (until, mut part) = (round.until, round.spent);
        part.clear();
        part.tick = round.tick.since_epoch;
        self.open = Some(OpenRound { until, outstanding: 0, unfinished: 0, inline_until, part });
    }

    /// Begins a call of the open round; `id` is by which the heartbeat shows the plugin. Returns the result if the call returns at
    /// once; otherwise it goes on in a task, and so do all calls after 20 ms.
    pub(crate) fn begin(&mut self, id: u32, plugin: &Arc<str>, generation: u64, mut call: Call) -> Option<CallResult> {
        let open = self.open.as_mut()?;
        let began = Instant::now();
        // Most calls return at the first poll, which spares the price of a task.
        if open.unfinished < MAX_UNFINISHED && began < open.inline_until {
            self.heartbeat.enter(id);
            let poll = || call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let polled =
                catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_panic| Poll::Ready(CallResult::panicked()));
            self.heartbeat.leave();
            if let Poll::Ready(result) = polled {
                return Some(CallResult { held: result.took, ..result });
            }
        }
        let held = began.elapsed();
        open.unfinished += 1;
        open.outstanding += 1;
        let call = Observed::new(&self.heartbeat, id, call);
        let task = self.tasks.spawn(async move {
            let (result, longest) = call.await;
            CallResult { held: held.max(longest), ..result }
        });
        let plugin = Arc::clone(plugin);
        self.running.insert(task.id(), RunningCall { plugin, generation, round: self.rounds });
        None
    }

    /// Whether the open round ends now: all its calls have returned, or it has waited long enough.
    pub(crate) fn is_round_over(&self, now: Instant) -> bool {
        self.open.as_ref().is_some_and(|open| open.outstanding == 0 || open.until.is_some_and(|until| until <= now))
    }

    /// When the open round ends at the latest.
    pub(crate) fn round_ends_at(&self) -> Option<Instant> {
        self.open.as_ref()?.until
    }

    /// How many calls the open round waits for.
    pub(crate) fn outstanding(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.outstanding)
    }

    /// Ends the open round: later results are late. Returns the memory for its part.
    pub(crate) fn end_round(&mut self) -> Option<Box<Part>> {
        self.open.take().map(|open| open.part)
    }

    /// Waits for the next call that returns; for ever when none is under way. Those of removed plugins are left out.
    /// Cancellation safe.
    pub(crate) async fn next(&mut self) -> Returned {
        while let Some(joined) = self.tasks.join_next_with_id().await {
            if let Some(returned) = self.finish(joined) {
                return returned;
            }
        }
        std::future::pending().await
    }

    /// The next call that has returned already.
    pub(crate) fn try_next(&mut self) -> Option<Returned> {
        loop {
            let joined = self.tasks.try_join_next_with_id()?;
            if let Some(returned) = self.finish(joined) {
                return Some(returned);
            }
        }
    }

    fn finish(&mut self, joined: Result<(Id, CallResult), JoinError>) -> Option<Returned> {
        let (id, result) = joined.unwrap_or_else(|error| (error.id(), CallResult::panicked()));
        let RunningCall { plugin, generation, round, .. } = self.running.remove(&id)?;
        let is_late = !self.is_open(round);
        if let Some(open) = self.open.as_mut().filter(|_| !is_late) {
            open.outstanding -= 1;
        }
        Some(Returned { plugin, generation, result, is_late })
    }

    /// Forgets the calls of a removed plugin: a plugin of the same name that comes later must not get their results.
    pub(crate) fn forget(&mut self, plugin: &str) {
        let (rounds, open) = (self.rounds, &mut self.open);
        self.running.retain(|_, call| {
            let is_obsolete = *call.plugin == *plugin;
            if let Some(open) = open.as_mut().filter(|_| is_obsolete && call.round == rounds) {
                open.outstanding -= 1;
            }
            !is_obsolete
        });
    }

    fn is_open(&self, round: u64) -> bool {
        self.open.is_some() && round == self.rounds
    }
}
