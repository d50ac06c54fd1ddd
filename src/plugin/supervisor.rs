//! The supervisor of one plugin: which version of it serves, with which configuration. It lasts as long as the plugin's file.
//! It decides; its owner runs the loads, trials and calls, and does the waiting.
//!
//! ```text
//!           load ready                       load or trial passed
//!  Absent ─────────────▶ Serving, generation 1 ─────────────────▶ Serving, generation 2 ─ …
//!  ▲    │                ▲     │
//!  └────┘                └─────┘
//!  load rejected: rejected, idle or disabled by its file     load or trial rejected: all goes on as before
//! ```
//!
//! After the abandonment of a guest thread that hung in the plugin, it begins as Suspended: Absent after a pause, or once its
//! file or configuration changes.
//!
//! The wanted state is the newest content of the file with the newest configuration. Each load and trial is one step towards
//! it ([`Work`]); a version that serves goes on with its own configuration until such a step passes. The calls are the
//! business of [`Serving`].

pub(crate) mod state;
pub(crate) mod call;
mod work;
mod outcome;
mod file_status;
mod results;
mod statistics;
mod wording;
mod serving;
mod preparation;
mod version_state;
mod view;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use self::call::{Call, CallResult};
use self::file_status::FileStatus;
use self::results::Results;
use self::serving::{Candidate, Serving};
use self::state::PluginState;
use self::statistics::{Statistics, Status};
use self::version_state::VersionState;
use self::view::{Condition, View};
pub(crate) use self::work::{ConfigurationTrial, Job, JobOutcome};
use self::work::{Since, Work};
use crate::clock::schedule::Tick;
use crate::plugin::accounts::statistics::FaultCounters;
use crate::plugin::build::sealed::Hash;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::fault::Failure;
use crate::plugin::guest::result::Collected;
use crate::plugin::guest_thread::abandonment::Suspension;
use crate::plugin::guest_thread::round::Part;
use crate::plugin::tally::Tally;
use crate::plugin::trial::Trial;
use crate::plugin::version::Version;
use crate::sample::{Text, Values};
use crate::status::PluginStatus;

/// The supervisor of one plugin.
pub(crate) struct Supervisor {
    /// The plugin with the configuration that is in effect.
    plugin: PluginContext,
    /// The name of its file in the plugins directory.
    pub(crate) file: String,
    /// The problems of its file.
    status: FileStatus,
    work: Work,
    version: VersionState,
    pub(crate) results: Results,
    statistics: Statistics,
    /// What the status of the agent shows of it.
    view: View,
    /// By which the heartbeat of its thread shows it.
    pub(crate) heartbeat_id: u32,
}

impl Supervisor {
    pub(crate) fn new(plugin: PluginContext, file: String) -> Self {
        Self {
            statistics: Statistics::new(&plugin.name),
            plugin,
            file,
            status: FileStatus::default(),
            work: Work::None,
            version: VersionState::Absent,
            results: Results::default(),
            view: View::default(),
            heartbeat_id: 0,
        }
    }

    fn serving(&self) -> Option<&Serving> {
        self.version.serving()
    }

    fn candidate(&self) -> Option<&Candidate> {
        self.serving().and_then(|serving| serving.candidate.as_deref())
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.plugin.name
    }

    /// The plugin with its newest configuration, which may be on trial or rejected: a file is loaded with it.
    pub(crate) fn newest(&self) -> &PluginContext {
        self.candidate().map_or(&self.plugin, |candidate| &candidate.plugin)
    }

    /// Records that the file is new or has changed. Returns the job that is to be run now; otherwise it follows the one that is
    /// under way.
    pub(crate) fn file_changed(&mut self) -> Option<Job> {
        self.view.outdate();
        self.status.cancel_reload();
        self.end_suspension();
        self.work.file_changed()
    }

    /// Gives the plugin a new configuration: settings, grants, limits and interval. The version that serves is tried with it
    /// beside the running instance, and its own configuration stays in effect until that has passed. Without one, the new
    /// configuration is in effect at once, and the file is loaded again. Returns the job that is to be run now; otherwise it
    /// follows the one that is under way.
    pub(crate) fn reconfigure(&mut self, plugin: PluginContext, now: Instant) -> Option<Job> {
        if self.is_prepared(&plugin) {
            return self.commit(now);
        }
        let plugin = PluginContext { accounts: Arc::clone(&self.plugin.accounts), ..plugin };
        self.view.outdate();
        self.status.reconfigured();
        let is_in_effect = self.is_in_effect(&plugin);
        match &mut self.version {
            VersionState::Absent | VersionState::Suspended(_) => self.apply(plugin),
            // Another one was rejected. What a file was rejected with may have been that.
            VersionState::Serving(serving) if is_in_effect => {
                serving.candidate = None;
                return self.status.rejected().is_some().then(|| self.begin_load());
            }
            VersionState::Serving(serving) => serving.candidate = Some(Box::new(Candidate::new(plugin))),
        }
        self.next_for_candidate()
    }

    /// What a new configuration asks for now.
    fn next_for_candidate(&mut self) -> Option<Job> {
        match &mut self.work {
            Work::None => Some(self.next_for_configuration(self.status.rejected().is_some())),
            Work::Loading(since) => {
                *since = Since::Reconfigured;
                None
            }
            Work::Trying { is_outdated, .. } => {
                *is_outdated = true;
                None
            }
            &mut Work::Holding { then_load } => Some(self.next_for_configuration(then_load)),
        }
    }

    /// Puts a configuration into effect.
    fn apply(&mut self, plugin: PluginContext) {
        plugin.accounts.set_limits(&plugin.config.limits);
        self.plugin = plugin;
    }

    /// Begins what a new configuration asks for: a trial of the version that serves, or a load.
    fn next_for_configuration(&mut self, then_load: bool) -> Job {
        let VersionState::Serving(Serving { version, candidate: Some(candidate), .. }) = &mut self.version else {
            return self.begin_load();
        };
        self.work = Work::Trying { is_outdated: false, then_load };
        let (version, plugin) = (Arc::clone(version), candidate.begin_trial());
        Job::Trial(Box::new(ConfigurationTrial { version, plugin }))
    }

    fn begin_load(&mut self) -> Job {
        self.status.cancel_reload();
        self.end_suspension();
        self.work.load()
    }

    /// When the file is to be loaded again, or the new configuration to be tried again, because the cause of its rejection may
    /// have passed by then.
    pub(crate) fn reload_at(&self) -> Option<Instant> {
        let retries = [self.status.reload_at(), self.suspended_until(), self.candidate().and_then(Candidate::retry_at)];
        retries.into_iter().flatten().min().filter(|_| self.work == Work::None)
    }

    /// Begins the job whose time has come.
    pub(crate) fn take_due_reload(&mut self, now: Instant) -> Option<Job> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.work != Work::None {
            None
        } else if is_due(self.candidate().and_then(Candidate::retry_at)) {
            Some(self.next_for_configuration(false))
        } else {
            (is_due(self.status.reload_at()) || is_due(self.suspended_until())).then(|| self.begin_load())
        }
    }

    /// Keeps the plugin, which an earlier guest thread hung in, from being loaded.
    pub(crate) fn suspend(&mut self, suspension: Suspension) {
        self.view.outdate();
        self.version = VersionState::Suspended(suspension);
    }

    fn suspended_until(&self) -> Option<Instant> {
        match self.version.suspension()? {
            Suspension::Until(at) => Some(at),
            Suspension::Disabled => None,
        }
    }

    fn end_suspension(&mut self) {
        if let VersionState::Suspended(_) = self.version {
            self.version = VersionState::Absent;
        }
    }

    /// The contents that are not loaded again: the one that serves, and the one that was rejected for good.
    pub(crate) fn known_hashes(&self) -> [Option<Hash>; 2] {
        [self.serving().map(|serving| serving.version.hash), self.status.final_hash()]
    }

    /// Records that the file was replaced by an entry that cannot be loaded, with reason and remedy.
    pub(crate) fn set_unusable(&mut self, why: &str) {
        self.view.outdate();
        self.status.set_unusable(why);
    }

    /// Whether a version serves, in whatever condition.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving().is_some()
    }

    /// Begins to serve from the content that was loaded.
    fn replace(&mut self, version: Version, trial: Trial, now: Instant) {
        match self.serving() {
            None => wording::log_loaded(&self.plugin, &version),
            Some(serving) => wording::log_replaced(&self.plugin, &version, &serving.version),
        }
        self.status.clear();
        self.statistics.begin_version();
        self.view.begin_version();
        self.serve(Arc::new(version), trial, now);
    }

    /// Begins to serve from a version, with the newest configuration.
    fn serve(&mut self, version: Arc<Version>, trial: Trial, now: Instant) {
        if let Some(plugin) = self.candidate().map(|candidate| candidate.plugin.clone()) {
            wording::log_reconfigured(&plugin, &version);
            self.apply(plugin);
        }
        self.view.record_trial(&trial, &self.plugin);
        let generation = self.generation() + 1;
        let previous = self.serving().and_then(Serving::health).cloned();
        let Self { plugin, results, .. } = self;
        let serving = Serving::new(version, generation, trial, previous.as_ref(), plugin, results, now);
        self.version = VersionState::Serving(serving);
    }

    /// Begins the call for a tick. None when the plugin is not due, is disabled, pauses after a fault, or is still in flight;
    /// the last is counted as skipped.
    pub(crate) fn call(&mut self, tick: Tick, skipped: u64, clock: Instant) -> Option<Call> {
        match &mut self.version {
            VersionState::Absent | VersionState::Suspended(_) => None,
            VersionState::Serving(serving) => serving.call(tick, skipped, clock, &self.plugin),
        }
    }

    /// Its interval in ticks, if it is called.
    pub(crate) fn interval(&self) -> Option<u64> {
        self.serving().and_then(Serving::health).map(|_| self.plugin.every)
    }

    /// Whether it serves a version that was never called.
    pub(crate) fn awaits_call(&self) -> bool {
        self.serving().is_some_and(Serving::awaits_call)
    }

    /// How many versions and configurations have served: the number of the present one.
    pub(crate) fn generation(&self) -> u64 {
        self.serving().map_or(0, |serving| serving.generation)
    }

    /// Handles the result of a call. `is_late` says that its sample has left without it: then it goes with the next one.
    pub(crate) fn handle_result(&mut self, returned: CallResult, generation: u64, is_late: bool, now: Instant) {
        let CallResult { version, instance, result, took, .. } = returned;
        let Self { version: state, plugin, results, statistics, view, .. } = self;
        let collected = match state {
            VersionState::Serving(serving) if serving.generation == generation => {
                statistics.add_call(took);
                if let Err(failure) = &result {
                    view.record_failure(failure, plugin);
                }
                serving.handle_return(instance, result, plugin, results, now)
            }
            // It has outlasted its version. A fault counts, and so does an error.
            _ => match result {
                Ok(collected) => Some(collected),
                Err(Failure::Fault(fault)) => {
                    plugin.accounts.counters.faults.add(fault.kind);
                    wording::log_replaced_failed(plugin, version.as_deref(), &fault);
                    None
                }
                Err(Failure::Error(_)) => {
                    plugin.accounts.counters.errors.add(1);
                    None
                }
                Err(Failure::Disabled(_)) => None,
            },
        };
        if let Some(collected) = collected {
            self.store_result(collected, generation, is_late);
        }
    }

    /// Keeps a result for the next sample.
    fn store_result(&mut self, collected: Collected, generation: u64, is_late: bool) {
        let counters = &self.plugin.accounts.counters;
        counters.late.add(u64::from(is_late));
        counters.refused_times.add(collected.refused_times);
        counters.dropped.add(collected.dropped + self.results.store(collected.modules, generation));
    }

    /// Moves the results into a round's part of the sample, and drops the modules that another collector has.
    pub(crate) fn deliver(&mut self, part: &mut Part, is_own: impl Fn(&Text) -> bool) {
        let Self { results, plugin, version, .. } = self;
        results.deliver(part, is_own, |module| {
            plugin.accounts.counters.dropped.add(module.len() as u64);
            if let VersionState::Serving(serving) = version {
                serving.report_conflict(plugin, module);
            }
        });
    }

    fn state(&self) -> PluginState {
        match &self.version {
            VersionState::Absent if self.work != Work::None => PluginState::Loading,
            VersionState::Absent => self.status.state(self.newest()),
            VersionState::Suspended(Suspension::Until(_)) => PluginState::Failed,
            VersionState::Suspended(Suspension::Disabled) => PluginState::Disabled,
            VersionState::Serving(serving) => serving.state(),
        }
    }

    /// Whether the plugin has a table in the configuration and serves no version, other than for lack of anything to measure
    /// on this host.
    pub(crate) fn is_missing(&self) -> bool {
        self.plugin.is_configured && !self.is_serving() && self.state() != PluginState::Disabled
    }

    /// Whether the plugin has a table or has ever served: then it has metrics in the module `agent` however many plugins there
    /// are. Files that never were plugins must not swell each sample.
    pub(crate) fn is_established(&self) -> bool {
        self.plugin.is_configured || self.is_serving()
    }

    /// The faults so far.
    pub(crate) fn faults(&self) -> &FaultCounters {
        &self.plugin.accounts.counters.faults
    }

    /// Whether the current file was rejected or cannot be read.
    pub(crate) fn has_rejected_file(&self) -> bool {
        self.status.is_bad() && (self.is_serving() || self.status.state(self.newest()) == PluginState::Rejected)
    }

    /// Counts it among the plugins of its state.
    pub(crate) fn count(&self, tally: &mut Tally) {
        tally.add(self.state(), self.has_rejected_file());
    }

    /// What the status of the agent shows of it, and whether that is new.
    pub(crate) fn view(&mut self) -> (&Arc<PluginStatus>, bool) {
        let (state, is_established) = (self.state(), self.is_established());
        let Self { plugin, file, status, version, view, .. } = self;
        let (serving, suspension) = (version.serving(), version.suspension());
        view.update(&Condition { plugin, file, status, state, serving, suspension, is_established })
    }

    /// Appends the agent's metrics about the plugin.
    pub(crate) fn append_metrics(&mut self, agent: &mut Values<'_>) {
        let (state, has_rejected_file) = (self.state(), self.has_rejected_file());
        let Self { version, plugin, statistics, .. } = self;
        let serving = version.serving().map(|serving| &*serving.version);
        statistics.append(&Status { state, has_rejected_file, serving }, &plugin.accounts, agent);
    }
}
