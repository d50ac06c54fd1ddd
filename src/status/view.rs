//! The view, and the slot in which the tick thread publishes it. To publish it is to move a few references: nothing is
//! allocated or rendered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::addresses::{AddressBoard, AddressStatus};
use super::plugins::PluginList;
use super::problem::Problem;
use super::sinks::SinkView;
use crate::sample::Sample;

/// The facts that stay the same from tick to tick.
#[derive(Debug, Clone)]
pub(crate) struct AgentFacts {
    pub(crate) version: &'static str,
    pub(crate) pid: u32,
    /// When the agent started, since the Unix epoch.
    pub(crate) started: Duration,
    /// The same on the monotonic clock.
    pub(crate) began: Instant,
    pub(crate) settings: Settings,
}

/// The settings of the agent, which a reload changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) interval: Duration,
    /// The configuration file in use.
    pub(crate) configuration: Option<String>,
    /// The native collectors, and whether each is enabled.
    pub(crate) collectors: Vec<(&'static str, bool)>,
}

#[cfg(test)]
impl AgentFacts {
    /// Those of an agent that has just started.
    pub(crate) fn at_start(settings: Settings) -> Self {
        Self { version: "1.0.0", pid: 1, started: Duration::ZERO, began: Instant::now(), settings }
    }
}

#[cfg(test)]
impl TickView {
    /// A tick with this sample and nothing else.
    pub(crate) fn with_sample(sample: Sample) -> Self {
        Self {
            sample: Arc::new(sample),
            published: Instant::now(),
            longest_delay: Duration::ZERO,
            collector_problems: Arc::default(),
            configuration_problems: Arc::default(),
            sinks: Arc::default(),
            plugins: PluginsView::default(),
        }
    }
}

/// Everything about the last tick.
#[derive(Debug, Clone)]
pub(crate) struct TickView {
    /// Its sample, whose module `agent` has the numbers.
    pub(crate) sample: Arc<Sample>,
    /// When it was published.
    pub(crate) published: Instant,
    /// How much later than scheduled a tick has begun at most.
    pub(crate) longest_delay: Duration,
    /// The native collectors with a source that cannot be read.
    pub(crate) collector_problems: Arc<[CollectorProblem]>,
    /// Why the configuration that was read last is not in effect, or not all of it.
    pub(crate) configuration_problems: Arc<[Problem]>,
    /// The sinks, in the order of their names.
    pub(crate) sinks: Arc<[SinkView]>,
    pub(crate) plugins: PluginsView,
}

/// A source of a native collector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CollectorProblem {
    pub(crate) collector: &'static str,
    /// The file, and why it cannot.
    pub(crate) reason: String,
    /// Empty where none is known.
    pub(crate) remedy: &'static str,
    /// Whether something is wrong: not where the host does not have the file.
    pub(crate) is_wrong: bool,
    /// When it began, since the Unix epoch.
    pub(crate) since: Duration,
}

/// The plugins, as the guest thread has shown them last.
#[derive(Debug, Clone, Default)]
pub(crate) struct PluginsView {
    /// None until a guest thread has shown them.
    pub(crate) list: Option<Arc<PluginList>>,
    /// The tick of the round that brought the last news, and when they arrived.
    pub(crate) received: Option<(Duration, Instant)>,
    pub(crate) thread: GuestThreadState,
}

/// Whether a guest thread calls plugins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum GuestThreadState {
    #[default]
    Responds,
    /// It has not returned the round of an earlier tick, since this moment.
    Overdue(Instant),
    /// There is none: it could not be started, or too many have hung.
    Absent,
}

/// The view of the agent.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) facts: Arc<AgentFacts>,
    /// None before the first sample.
    pub(super) tick: Option<TickView>,
    /// The addresses of the HTTP server, in the order of the configuration.
    pub(super) addresses: Vec<AddressStatus>,
}

/// The part of the view that the tick thread publishes.
#[derive(Debug, Clone)]
struct Published {
    facts: Arc<AgentFacts>,
    tick: Option<TickView>,
}

/// Where the tick thread publishes the view.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Behind a lock because several threads read it. It is held for a move or for a copy of references, never across a system
    /// call.
    view: Mutex<Published>,
    /// The addresses of the HTTP server, which its own thread shows.
    addresses: AddressBoard,
    /// Wakes those who wait for the next tick. Without any, a tick does nothing for it.
    published: Notify,
}

impl Slot {
    pub(crate) fn new(facts: AgentFacts) -> Self {
        let view = Mutex::new(Published { facts: Arc::new(facts), tick: None });
        Self { view, addresses: AddressBoard::default(), published: Notify::new() }
    }

    /// Replaces the settings.
    pub(crate) fn set_settings(&self, settings: Settings) {
        let facts = Arc::new(AgentFacts { settings, ..(*self.lock().facts).clone() });
        let last = std::mem::replace(&mut self.lock().facts, facts);
        // Outside of the lock.
        drop(last);
    }

    /// Publishes a tick.
    pub(crate) fn publish(&self, tick: TickView) {
        let last = self.lock().tick.replace(tick);
        // Outside of the lock.
        drop(last);
        self.published.notify_waiters();
    }

    /// The last tick; none before the first.
    pub(crate) fn tick(&self) -> Option<TickView> {
        self.lock().tick.clone()
    }

    /// Waits for the next tick.
    pub(crate) async fn published(&self) {
        self.published.notified().await;
    }

    /// The view of this moment.
    pub(super) fn view(&self) -> View {
        let Published { facts, tick } = self.lock().clone();
        View { facts, tick, addresses: self.addresses.get() }
    }

    /// Where the addresses of the HTTP server are shown.
    pub(crate) fn addresses(&self) -> &AddressBoard {
        &self.addresses
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
