//! The parts of the agent that make samples: natives, plugins, pushed points, and the module `agent`. When a tick begins and where its
//! sample goes is for others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::about::{AgentModule, LoopFacts, METRICS, TickFacts};
use super::reload::Change;
use super::reloader::Commit;
use super::status::StatusPublisher;
use crate::clock::schedule::Tick;
use crate::collector::native::Natives;
use crate::collector::slow::SlowReadings;
use crate::config::Config;
use crate::log::Log;
use crate::plugin::Plugins;
use crate::push::PushedModules;
use crate::sample::{Recycler, Sample, SeriesAccount, SeriesTable};
use crate::state_directory::plugin_states::PluginStates;

/// The shortest time over which cpu percentages are meaningful: 25 of the kernel's clock ticks.
pub(super) const CPU_WINDOW: Duration = Duration::from_millis(250);

/// A sample waits for its plugins for this share of the interval, so that it leaves on time whatever they do …
const PATIENCE_SHARE: u32 = 20;

/// … at least this long, for a busy host may keep this thread waiting …
const MIN_PATIENCE: Duration = Duration::from_millis(20);

/// … and at most this long. A later result goes with the next sample.
const MAX_PATIENCE: Duration = Duration::from_secs(1);

/// How much longer the sample waits for the guest thread to say what has returned: for this share of the interval …
const GRACE_SHARE: u32 = 2;

/// … and at most this long. The thread answers within microseconds, unless it has no processor, which a busy host may take from
/// it for long, or it hangs, and then the next ticks do not wait for it any more.
const MAX_GRACE: Duration = Duration::from_secs(1);

/// How long a single sample waits for its plugins: their longest timeout, and a guest thread that hangs.
pub(super) const SINGLE_PATIENCE: Duration = Duration::from_secs(70);

/// A tick whose sample is not complete yet.
pub(super) struct OpenRound {
    sample: Sample,
    /// The memory in which the sample is shared.
    shared: Option<Arc<Sample>>,
    began: Instant,
    /// How much later than scheduled it began.
    delay: Duration,
    /// When the sample is completed without the results that are missing.
    pub(super) until: Instant,
}

/// The parts of the agent that make samples.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) interval: Duration,
    /// How long a sample waits for its plugins.
    pub(super) patience: Duration,
    grace: Duration,
    series: Arc<SeriesTable>,
    pub(super) natives: Natives,
    pub(super) plugins: Plugins,
    pub(super) push: PushedModules,
    about: AgentModule,
    pub(super) status: StatusPublisher,
    samples: Recycler<Sample>,
}

impl Parts {
    pub(super) fn new(config: Config, slow: &Arc<SlowReadings>, states: PluginStates) -> Self {
        let (config, series) = (Arc::new(config), Arc::<SeriesTable>::default());
        let natives = Natives::with_slow(&config, &SeriesAccount::unlimited(&series), slow);
        let modules = natives.modules().cloned().collect();
        Self {
            interval: config.interval,
            patience: patience(config.interval),
            grace: grace(config.interval),
            plugins: Plugins::with_states(&config, Arc::clone(&series), modules, METRICS, states),
            natives,
            push: PushedModules::new(&series, config.takes_points()),
            about: AgentModule::new(&config, &series, slow),
            status: StatusPublisher::new(&config),
            series,
            config,
            samples: Recycler::default(),
        }
    }

    /// Puts another configuration into effect, between two ticks. Returns whether it did: the guest thread may have no room for it
    /// yet, and then nothing has changed.
    pub(super) fn commit(&mut self, commit: &Commit, slow: &Arc<SlowReadings>, log: Option<&Log>) -> bool {
        let (old, new) = (Arc::clone(&self.config), &commit.config);
        let natives = Natives::enabled_modules(new);
        // Without a thread it is followed by the next one.
        if self.plugins.reconfigure(Arc::clone(new), natives).is_ok_and(|is_taken| !is_taken) {
            return false;
        }
        let account = SeriesAccount::unlimited(&self.series);
        self.natives.reconfigure(&old, new, &account, slow);
        for change in &commit.difference.followed {
            match change {
                Change::Interval(interval) => {
                    (self.interval, self.patience, self.grace) = (*interval, patience(*interval), grace(*interval));
                    self.about.set_interval(*interval);
                }
                Change::Hostname(_) | Change::Cpu(_) | Change::Host(_) => slow.reconfigure(new),
                Change::Log(config) => {
                    if let Some(log) = log {
                        log.reconfigure(*config);
                    }
                }
                // The natives and the plugins have followed, and the rest is for those who ask.
                _ => {}
            }
        }
        self.push.set_open(new.takes_points());
        self.status.reconfigure(new);
        self.config = Arc::clone(new);
        true
    }

    /// Begins the intervals of native rates anew.
    pub(super) fn restart_natives(&mut self, slow: &Arc<SlowReadings>) {
        self.natives = Natives::with_slow(&self.config, &SeriesAccount::unlimited(&self.series), slow);
    }

    /// Reads all native files once, without a sample: problems of the host show at the start.
    pub(super) fn read_natives(&mut self) {
        self.natives.collect(&mut Sample::default());
    }

    /// Begins a tick, which is this late: collects natively and calls the plugins.
    pub(super) fn begin(&mut self, tick: Tick, delay: Duration, patience: Option<Duration>) -> OpenRound {
        let began = Instant::now();
        // One that was cleared: to release modules would delay the tick.
        let mut shared = self.samples.take(|sample| sample.modules.is_empty());
        let mut sample = shared.as_mut().and_then(Arc::get_mut).map(std::mem::take).unwrap_or_default();
        (sample.tick, sample.interval) = (tick.since_epoch, self.interval);
        self.natives.collect(&mut sample);
        self.push.collect();
        let until = patience.map(|patience| began + patience);
        self.plugins.call(tick, until);
        self.status.record_delay(delay);
        OpenRound { sample, shared, began, delay, until: until.unwrap_or(began + SINGLE_PATIENCE) + self.grace }
    }

    /// Releases the samples that no sink has any more, so that the collectors can use the memory of their modules again. After
    /// a tick there is time for that.
    pub(super) fn release(&mut self) {
        // The module `agent` is the first.
        let own = 1 + self.natives.modules().count();
        for sample in self.samples.free() {
            self.push.release(sample);
            if self.plugins.reclaim(sample, own) {
                sample.clear();
            }
        }
    }

    /// Completes the sample of a tick.
    pub(super) fn finish(&mut self, round: OpenRound, facts: &LoopFacts) -> Arc<Sample> {
        let OpenRound { mut sample, shared, began, delay, .. } = round;
        self.plugins.deliver(&mut sample);
        self.push.deliver(&mut sample);
        let facts = TickFacts { began, delay, push: self.push.statistics(), in_loop: facts };
        self.about.complete(&mut sample, &facts, &self.natives, &mut self.plugins);
        let sample = Recycler::fill(shared, sample);
        self.samples.keep(&sample);
        sample
    }
}

/// How long a sample waits for its plugins, at this interval.
fn patience(interval: Duration) -> Duration {
    (interval / PATIENCE_SHARE).clamp(MIN_PATIENCE, MAX_PATIENCE)
}

/// How much longer it waits for the guest thread to say what has returned.
fn grace(interval: Duration) -> Duration {
    (interval / GRACE_SHARE).min(MAX_GRACE)
}
