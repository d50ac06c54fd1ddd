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
mod file_status;
mod results;
mod statistics;
mod wording;
mod serving;
mod preparation;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use self::call::{Call, CallResult};
use self::file_status::FileStatus;
use self::results::Results;
use self::serving::{Candidate, Hold, Serving};
use self::state::PluginState;
use self::statistics::{Statistics, Status};
use self::wording::PluginFile;
pub(crate) use self::work::{ConfigurationTrial, Job, JobOutcome};
use self::work::{Since, Work};
use crate::clock::schedule::Tick;
use crate::plugin::accounts::statistics::FaultCounters;
use crate::plugin::build::sealed::Hash;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::fault::{Failure, FaultKind};
use crate::plugin::guest::result::Collected;
use crate::plugin::guest_thread::abandonment::Suspension;
use crate::plugin::guest_thread::round::Part;
use crate::plugin::load::Outcome;
use crate::plugin::rejection::{Rejection, RetryPolicy};
use crate::plugin::report::{Report, ReportKind};
use crate::plugin::tally::Tally;
use crate::plugin::trial::Trial;
use crate::plugin::version::Version;
use crate::sample::{Text, Values};

/// The supervisor of one plugin.
pub(crate) struct Supervisor {
    /// The plugin with the configuration that is in effect.
    plugin: PluginContext,
    /// The name of its file in the plugins directory.
    pub(crate) file: String,
    /// The problems of its file.
    pub(crate) status: FileStatus,
    work: Work,
    version: VersionState,
    pub(crate) results: Results,
    statistics: Statistics,
    /// By which the heartbeat of its thread shows it.
    pub(crate) heartbeat_id: u32,
}

/// Whether a version serves.
enum VersionState {
    /// No file has passed its trial. Why is in the status of the file.
    Absent,
    /// An earlier guest thread hung in it: its file is not loaded yet.
    Suspended(Suspension),
    Serving(Serving),
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
            heartbeat_id: 0,
        }
    }

    fn serving(&self) -> Option<&Serving> {
        match &self.version {
            VersionState::Absent | VersionState::Suspended(_) => None,
            VersionState::Serving(serving) => Some(serving),
        }
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
        self.status.cancel_reload();
        self.end_suspension();
        self.work.file_changed()
    }

    /// Gives the plugin a new configuration: settings, grants, limits and interval. The version that serves is tried with it
    /// beside the running instance, and its own configuration stays in effect until that has passed. Without one, the new
    /// configuration is in effect at once, and the file is loaded again. Returns the job that is to be run now; otherwise it
    /// follows the one that is under way.
    pub(crate) fn reconfigure(&mut self, plugin: PluginContext, now: Instant) -> Option<Job> {
        if self.commit(&plugin, now) {
            return None;
        }
        let plugin = PluginContext { accounts: Arc::clone(&self.plugin.accounts), ..plugin };
        self.status.reconfigured();
        match &mut self.version {
            VersionState::Absent | VersionState::Suspended(_) => self.apply(plugin),
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
        self.version = VersionState::Suspended(suspension);
    }

    fn suspended_until(&self) -> Option<Instant> {
        match self.version {
            VersionState::Suspended(Suspension::Until(at)) => Some(at),
            _ => None,
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

    /// Whether a version serves, in whatever condition.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving().is_some()
    }

    /// Handles the outcome of the job that is under way. Returns the job that follows it, and the report that is due, if any.
    pub(crate) fn handle_outcome(
        &mut self,
        outcome: JobOutcome,
        directory: &Path,
        now: Instant,
    ) -> (Option<Job>, Option<(ReportKind, Report)>) {
        match (std::mem::take(&mut self.work), outcome) {
            (Work::Loading(since), JobOutcome::Loaded(outcome)) => self.handle_load(since, outcome, directory, now),
            (Work::Loading(since), JobOutcome::Panicked(why)) => {
                self.handle_load(since, Outcome::Unreadable(io::Error::other(why)), directory, now)
            }
            (Work::Trying { is_outdated: true, then_load }, _) => (Some(self.next_for_configuration(then_load)), None),
            (Work::Trying { then_load, .. }, JobOutcome::Tried(tried)) => {
                self.handle_trial(tried, now);
                (then_load.then(|| self.begin_load()), None)
            }
            (Work::Trying { then_load, .. }, JobOutcome::Panicked(why)) => {
                self.handle_trial(Err(format!("cannot be tried: {why}; report this").into()), now);
                (then_load.then(|| self.begin_load()), None)
            }
            // The outcome of something that it has not asked for.
            (work, _) => {
                self.work = work;
                (None, None)
            }
        }
    }

    fn handle_load(
        &mut self,
        since: Since,
        outcome: Outcome,
        directory: &Path,
        now: Instant,
    ) -> (Option<Job>, Option<(ReportKind, Report)>) {
        // The file has to be loaded again with the new configuration.
        if since == Since::Reconfigured {
            return (Some(self.next_for_configuration(true)), None);
        }
        let path = directory.join(&self.file);
        if !matches!(outcome, Outcome::Unreadable(_)) {
            self.status.set_readable();
        }
        // Then the file was written again with what serves, so that a configuration that was rejected may pass.
        let is_rewritten = matches!(outcome, Outcome::AlreadyKnown(hash) if self.serving().is_some_and(|one| one.version.hash == hash));
        let report = match outcome {
            Outcome::AlreadyKnown(hash) if self.status.set_known(hash) => self.file_at(&path).rejection(&self.status),
            Outcome::AlreadyKnown(_) => None,
            Outcome::Unreadable(error) => self.handle_read_error(&error, &path, now),
            Outcome::Rejected(hash, rejection) => self.reject(hash, rejection, &path, now),
            Outcome::Ready(version, trial) => match self.judge(trial) {
                Ok(trial) => {
                    self.replace(version, trial, now);
                    None
                }
                Err(rejection) => self.reject(version.hash, rejection.with_version(&version.name), &path, now),
            },
        };
        let next = match since {
            Since::Changed => Some(self.begin_load()),
            _ if is_rewritten && self.candidate().is_some() => Some(self.next_for_configuration(false)),
            _ => None,
        };
        (next, report)
    }

    /// A version that is up is replaced only by one that measures, any other by one that does not fail.
    fn judge(&self, trial: Trial) -> Result<Trial, Rejection> {
        match (trial, self.serving()) {
            (Trial::Fault(fault), Some(_)) => Err(Failure::Fault(fault).into()),
            (Trial::Error(error, _), Some(serving)) if serving.is_up() => {
                self.plugin.accounts.counters.errors.add(1);
                Err(Failure::Error(error).into())
            }
            (trial, _) => Ok(trial),
        }
    }

    /// Handles the outcome of the trial of the new configuration.
    fn handle_trial(&mut self, tried: Result<Trial, Rejection>, now: Instant) {
        let judged = tried.and_then(|trial| self.judge(trial));
        if let VersionState::Serving(Serving { candidate: Some(candidate), .. }) = &mut self.version
            && matches!(candidate.hold, Hold::Trying)
        {
            candidate.hold = Hold::Tried(judged);
            return;
        }
        self.conclude(judged, now);
    }

    /// Puts the new configuration into effect, or rejects it.
    fn conclude(&mut self, judged: Result<Trial, Rejection>, now: Instant) {
        let VersionState::Serving(serving) = &mut self.version else { return };
        let version = Arc::clone(&serving.version);
        match judged {
            Ok(trial) => self.serve(version, trial, now),
            Err(rejection) => {
                if rejection.is_fault {
                    self.plugin.accounts.counters.faults.add(FaultKind::Load);
                }
                if let Some(candidate) = &mut serving.candidate {
                    candidate.reject(&version, &rejection, now);
                }
            }
        }
    }

    /// Reports once for each reason that the file cannot be read.
    fn handle_read_error(&mut self, error: &io::Error, path: &Path, now: Instant) -> Option<(ReportKind, Report)> {
        if !self.status.set_read_error(error, now) {
            return None;
        }
        // The next scan finds out whether the file was removed.
        if error.kind() != io::ErrorKind::NotFound {
            self.plugin.accounts.counters.faults.add(FaultKind::Load);
        }
        Some(self.file_at(path).read_error(error))
    }

    fn reject(&mut self, hash: Hash, rejection: Rejection, path: &Path, now: Instant) -> Option<(ReportKind, Report)> {
        let (is_fault, retry) = (rejection.is_fault, rejection.retry);
        let is_news = self.status.set_rejected(hash, rejection, now);
        // A shortage is one fault, however often it is tried whether it has passed.
        if is_fault && (is_news || retry != RetryPolicy::Soon) {
            self.plugin.accounts.counters.faults.add(FaultKind::Load);
        }
        if is_news { self.file_at(path).rejection(&self.status) } else { None }
    }

    fn file_at<'a>(&'a self, path: &'a Path) -> PluginFile<'a> {
        PluginFile { plugin: self.newest(), path, is_serving: self.is_serving() }
    }

    /// Begins to serve from the content that was loaded.
    fn replace(&mut self, version: Version, trial: Trial, now: Instant) {
        match self.serving() {
            None => wording::log_loaded(&self.plugin, &version),
            Some(serving) => wording::log_replaced(&self.plugin, &version, &serving.version),
        }
        self.status.clear();
        self.statistics.begin_version();
        self.serve(Arc::new(version), trial, now);
    }

    /// Begins to serve from a version, with the newest configuration.
    fn serve(&mut self, version: Arc<Version>, trial: Trial, now: Instant) {
        if let Some(plugin) = self.candidate().map(|candidate| candidate.plugin.clone()) {
            wording::log_reconfigured(&plugin, &version);
            self.apply(plugin);
        }
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
        let Self { version: state, plugin, results, statistics, .. } = self;
        let collected = match state {
            VersionState::Serving(serving) if serving.generation == generation => {
                statistics.add_call(took);
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

    /// Appends the agent's metrics about the plugin.
    pub(crate) fn append_metrics(&mut self, agent: &mut Values<'_>) {
        let (state, has_rejected_file) = (self.state(), self.has_rejected_file());
        let Self { version, plugin, statistics, .. } = self;
        let serving = match version {
            VersionState::Absent | VersionState::Suspended(_) => None,
            VersionState::Serving(serving) => Some(&*serving.version),
        };
        statistics.append(&Status { state, has_rejected_file, serving }, &plugin.accounts, agent);
    }
}
