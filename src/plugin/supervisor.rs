//! The supervisor of one plugin: the version that serves, its instance, failures and counters. It lasts as long as the
//! plugin's file. It decides; its owner runs the loads and calls, and does the waiting.

mod state;
mod call;
mod file_status;
mod results;
mod statistics;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use self::call::{Call, CallResult};
use self::file_status::{FileStatus, read_remedy};
use self::results::Results;
use self::state::PluginState;
pub(crate) use self::statistics::FaultTotals;
use self::statistics::Statistics;
use crate::clock::schedule::Tick;
use crate::plugin::build::sealed::Hash;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::backoff::Backoff;
use crate::plugin::guest::fault::{Counts, Disabled, DisabledCause, Failure, Fault, FaultKind};
use crate::plugin::guest::instance::Instance;
use crate::plugin::guest::result::Collected;
use crate::plugin::load::Outcome;
use crate::plugin::rejection::Rejection;
use crate::plugin::report::{Report, ReportKind};
use crate::plugin::trial::Trial;
use crate::plugin::version::Version;
use crate::sample::{Labels, Sample, SeriesRow, Text, Value, Values};

/// The supervisor of one plugin.
pub(crate) struct Supervisor {
    pub(crate) plugin: PluginContext,
    /// The name of its file in the plugins directory.
    pub(crate) file: String,
    /// The labels of the agent's metrics about it, and their series.
    labels: Labels,
    row: SeriesRow,
    loading: Loading,
    /// The problems of its file.
    pub(crate) status: FileStatus,

    /// The version that serves; none until a file passed its trial.
    serving: Option<Arc<Version>>,
    /// How many versions have served: the number of this one.
    generation: u64,
    /// The instance between two calls. A call takes it, and returns it unless it failed.
    idle: Option<Box<Instance>>,
    /// Whether a call of this version is under way.
    is_in_flight: bool,
    /// Whether this version was never called: then it is due at the next tick, whatever its interval.
    was_never_called: bool,
    condition: Condition,
    /// When a version that failed is called again.
    restart: Backoff,

    pub(crate) results: Results,
    reported: Reported,
    statistics: Statistics,
    memory_bytes: usize,
}

/// The problems of the serving version that were reported, and are not reported again.
#[derive(Debug, Default)]
struct Reported {
    /// Another collector has the same module.
    conflict: bool,
    /// Metrics were dropped.
    loss: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loading {
    No,
    Yes,
    /// A load is under way, and the file has changed since.
    Again,
}

/// The outcome of the last call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Up,
    Down,
    /// The service or device that it measures is not there: the reason, and whether it was logged.
    Unavailable(String, bool),
    /// It is not called until its file changes.
    Disabled,
}

impl Supervisor {
    pub(crate) fn new(plugin: PluginContext, file: String) -> Self {
        Self {
            labels: [("plugin", &*plugin.name)].into(),
            row: SeriesRow::default(),
            plugin,
            file,
            loading: Loading::No,
            status: FileStatus::default(),
            serving: None,
            generation: 0,
            idle: None,
            is_in_flight: false,
            was_never_called: true,
            condition: Condition::Down,
            restart: Backoff::default(),
            results: Results::default(),
            reported: Reported::default(),
            statistics: Statistics::default(),
            memory_bytes: 0,
        }
    }

    /// Records that the file is new or has changed. Returns whether to load it now; otherwise it is loaded after the load that
    /// is under way.
    pub(crate) fn file_changed(&mut self) -> bool {
        self.status.cancel_reload();
        let now = self.loading == Loading::No;
        self.loading = if now { Loading::Yes } else { Loading::Again };
        now
    }

    /// When to load the rejected file again, because the cause may have passed by then.
    pub(crate) fn reload_at(&self) -> Option<Instant> {
        self.status.reload_at().filter(|_| self.loading == Loading::No)
    }

    /// Whether the rejected file is to be loaded again now. Clears that.
    pub(crate) fn take_due_reload(&mut self, now: Instant) -> bool {
        let is_due = self.reload_at().is_some_and(|at| at <= now);
        if is_due {
            self.status.cancel_reload();
        }
        is_due
    }

    /// The contents that are not loaded again: the one that serves, and the one that was rejected for good.
    pub(crate) fn known_hashes(&self) -> [Option<Hash>; 2] {
        [self.serving.as_ref().map(|version| version.hash), self.status.final_hash()]
    }

    /// Whether a version serves, in whatever condition.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.is_some()
    }

    /// Whether the last call succeeded.
    fn is_up(&self) -> bool {
        self.condition == Condition::Up
    }

    /// Handles the outcome of a load. Returns whether to load again at once, and the report that is due, if any.
    pub(crate) fn handle_load(
        &mut self,
        outcome: Outcome,
        directory: &Path,
        now: Instant,
    ) -> (bool, Option<(ReportKind, Report)>) {
        let again = std::mem::replace(&mut self.loading, Loading::No) == Loading::Again;
        let path = directory.join(&self.file);
        if !matches!(outcome, Outcome::Unreadable(_)) {
            self.status.set_readable();
        }
        let report = match outcome {
            Outcome::AlreadyKnown(hash) if self.status.set_known(hash) => self.rejection_report(&path),
            Outcome::AlreadyKnown(_) => None,
            Outcome::Unreadable(error) => self.handle_read_error(&error, &path),
            Outcome::Rejected(hash, rejection) => self.reject(hash, rejection, &path, now),
            // A version that is up is replaced only by one that measures, any other by one that does not fail.
            Outcome::Ready(version, Trial::Failed(fault)) if self.serving.is_some() => {
                let rejection = Rejection::from(Failure::Fault(fault)).with_version(&version.name);
                self.reject(version.hash, rejection, &path, now)
            }
            Outcome::Ready(version, Trial::Unavailable(why)) if self.is_up() => {
                let rejection = Rejection::from(Failure::Unavailable(why)).with_version(&version.name);
                self.reject(version.hash, rejection, &path, now)
            }
            Outcome::Ready(version, trial) => {
                self.serve(version, trial, now);
                None
            }
        };
        if again {
            self.loading = Loading::Yes;
        }
        (again, report)
    }

    /// Reports once for each reason that the file cannot be read.
    fn handle_read_error(&mut self, error: &io::Error, path: &Path) -> Option<(ReportKind, Report)> {
        if !self.status.set_read_error(error) {
            return None;
        }
        // The next scan finds out whether the file was removed.
        if error.kind() != io::ErrorKind::NotFound {
            self.statistics.add_fault(FaultKind::Load);
        }
        let report = Report { reason: format!("cannot be read: {error}"), ..self.report(path) };
        Some((ReportKind::Rejected, Report { remedy: read_remedy(error).to_owned(), ..report }))
    }

    fn reject(&mut self, hash: Hash, rejection: Rejection, path: &Path, now: Instant) -> Option<(ReportKind, Report)> {
        if rejection.is_fault {
            self.statistics.add_fault(FaultKind::Load);
        }
        if self.status.set_rejected(hash, rejection, now) { self.rejection_report(path) } else { None }
    }

    fn rejection_report(&self, path: &Path) -> Option<(ReportKind, Report)> {
        let rejected = self.status.rejected()?;
        let kind = match self.rejected_state() {
            PluginState::Idle if !self.is_serving() => ReportKind::Idle,
            PluginState::Disabled if !self.is_serving() => ReportKind::Disabled,
            _ => ReportKind::Rejected,
        };
        let report = Report {
            version: rejected.version.clone(),
            hash: Some(rejected.hash.to_string()),
            reason: rejected.reason.clone(),
            remedy: rejected.full_remedy(),
            ..self.report(path)
        };
        Some((kind, report))
    }

    /// A report without a reason.
    fn report(&self, path: &Path) -> Report {
        Report {
            plugin: Some(Arc::clone(&self.plugin.name)),
            file: path.display().to_string(),
            version: None,
            hash: None,
            reason: String::new(),
            remedy: String::new(),
            consequence: if self.is_serving() { "the previous version continues" } else { "no version is running" },
        }
    }

    fn serve(&mut self, version: Version, trial: Trial, now: Instant) {
        let (plugin, name, hash) = (&*self.plugin.name, &*version.name, &*version.digits);
        match &self.serving {
            None => tracing::info!(plugin, version = name, hash, "plugin loaded"),
            Some(previous) => {
                tracing::info!(plugin, version = name, hash, previous = %previous, "plugin replaced");
            }
        }
        self.status.clear();
        self.serving = Some(Arc::new(version));
        self.generation += 1;
        // A call of the previous version that is under way does not return its instance here.
        self.idle = None;
        self.is_in_flight = false;
        self.was_never_called = true;
        self.restart = Backoff::default();
        self.reported = Reported::default();
        self.statistics.begin_version();
        match trial {
            Trial::Passed(instance) => {
                self.keep_instance(Some(instance));
                self.condition = Condition::Up;
            }
            Trial::Unavailable(why) => self.handle_unavailable(why),
            Trial::Failed(fault) => self.handle_fault(&fault, now),
        }
    }

    /// Begins the call for a tick. None when the plugin is not due, is disabled, pauses after a fault, or is still in flight;
    /// the last is counted as skipped.
    pub(crate) fn call(&mut self, tick: Tick, clock: Instant) -> Option<Call> {
        let version = Arc::clone(self.serving.as_ref()?);
        let is_due = self.was_never_called || tick.is_due(self.plugin.config.every);
        if !is_due || self.condition == Condition::Disabled {
            return None;
        }
        if self.is_in_flight {
            self.statistics.skipped += 1;
            return None;
        }
        let start = Instant::now();
        if self.restart.is_waiting(start) {
            return None;
        }
        self.is_in_flight = true;
        self.was_never_called = false;
        let collect = move |mut instance: Box<Instance>, version| async move {
            let result = instance.collect(tick, clock.elapsed()).await;
            CallResult { version: Some(version), instance: Some(instance), result, took: start.elapsed() }
        };
        if let Some(instance) = self.idle.take() {
            return Some(Box::pin(collect(instance, version)));
        }
        let plugin = self.plugin.clone();
        Some(Box::pin(async move {
            match plugin.start(&version.code, &version.description).await {
                Ok((instance, _needs)) => collect(Box::new(instance), version).await,
                Err(failure) => {
                    let (result, took) = (Err(failure), start.elapsed());
                    CallResult { version: Some(version), instance: None, result, took }
                }
            }
        }))
    }

    /// The number of the version that serves.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Handles the result of a call. `is_late` says that its sample has left without it: then it goes with the next one.
    pub(crate) fn handle_result(&mut self, returned: CallResult, generation: u64, is_late: bool, now: Instant) {
        let CallResult { version, instance, result, took } = returned;
        if generation != self.generation {
            return self.handle_superseded(version, result, generation, is_late);
        }
        self.is_in_flight = false;
        self.statistics.add_call(took);
        match result {
            Ok(collected) => {
                if let Condition::Unavailable(_, true) = self.condition {
                    tracing::info!(plugin = &*self.plugin.name, "plugin available again");
                }
                self.report_loss(&collected);
                self.store_result(collected, generation, is_late);
                self.keep_instance(instance);
                self.condition = Condition::Up;
                self.restart.record_success(now);
            }
            Err(Failure::Unavailable(why)) => {
                self.keep_instance(instance);
                self.handle_unavailable(why);
            }
            Err(Failure::Disabled(Disabled { reason, remedy, .. })) => {
                self.keep_instance(None);
                self.results.end(self.generation);
                let plugin = &*self.plugin.name;
                let consequence = "not called until its file changes or the agent restarts";
                tracing::warn!(plugin, reason, remedy, consequence, "plugin disabled");
                self.condition = Condition::Disabled;
            }
            Err(Failure::Fault(fault)) => self.handle_fault(&fault, now),
        }
    }

    /// Handles the result of a call that outlasted its version. A fault counts.
    fn handle_superseded(
        &mut self,
        version: Option<Arc<Version>>,
        result: Result<Collected, Failure>,
        generation: u64,
        is_late: bool,
    ) {
        match result {
            Ok(collected) => self.store_result(collected, generation, is_late),
            Err(Failure::Fault(fault)) => {
                self.statistics.add_fault(fault.kind);
                let version = version.map(|version| version.name.to_string());
                let (plugin, reason) = (&*self.plugin.name, &fault.message);
                tracing::warn!(plugin, version, fault = fault.kind.name(), reason, "replaced plugin version failed");
            }
            Err(_) => {}
        }
    }

    /// Reports once for each version that metrics were dropped.
    fn report_loss(&mut self, collected: &Collected) {
        let Some(loss) = collected.losses.first().filter(|_| !self.reported.loss) else { return };
        self.reported.loss = true;
        let (plugin, (version, hash)) = (&*self.plugin.name, Version::log_fields(self.serving.as_deref()));
        let remedy = "fix the plugin; plugin_dropped_metrics_total counts the others";
        tracing::warn!(plugin, version, hash, reason = loss, remedy, "metrics dropped");
    }

    /// Keeps a result for the next sample.
    fn store_result(&mut self, collected: Collected, generation: u64, is_late: bool) {
        self.statistics.late += u64::from(is_late);
        self.statistics.dropped += collected.dropped;
        self.statistics.dropped += self.results.store(collected.modules, generation);
    }

    fn keep_instance(&mut self, instance: Option<Box<Instance>>) {
        self.memory_bytes = instance.as_ref().map_or(0, |instance| instance.held_bytes());
        self.idle = instance;
    }

    fn handle_unavailable(&mut self, why: String) {
        self.results.fail(self.generation);
        let is_logged = match &self.condition {
            Condition::Unavailable(known, true) if *known == why => true,
            _ if self.plugin.log.take() => {
                let plugin = &*self.plugin.name;
                let remedy = "start what it measures; it is called again at its next tick";
                tracing::warn!(plugin, reason = why, remedy, "plugin unavailable");
                true
            }
            _ => false,
        };
        self.condition = Condition::Unavailable(why, is_logged);
    }

    fn handle_fault(&mut self, fault: &Fault, now: Instant) {
        self.keep_instance(None);
        self.results.fail(self.generation);
        self.statistics.add_fault(fault.kind);
        self.condition = Condition::Down;
        let pause = humantime::format_duration(self.restart.record_failure(now)).to_string();
        let (plugin, (version, hash)) = (&*self.plugin.name, Version::log_fields(self.serving.as_deref()));
        let (kind, reason) = (fault.kind.name(), &fault.message);
        tracing::warn!(plugin, version, hash, fault = kind, reason, restart_after = pause, "plugin failed");
    }

    /// Moves the results into a sample, and drops the modules that another collector has.
    pub(crate) fn deliver(&mut self, sample: &mut Sample, is_own: impl Fn(&Text) -> bool) {
        let Self { results, statistics, reported, plugin, serving, .. } = self;
        results.deliver(sample, plugin.step, is_own, |module| {
            statistics.dropped += module.len() as u64;
            if !std::mem::replace(&mut reported.conflict, true) {
                let (version, hash) = Version::log_fields(serving.as_deref());
                let reason = "another collector has the module";
                let (plugin, module, remedy) =
                    (&*plugin.name, &**module.name(), "rename the module in one of them, or remove one");
                tracing::warn!(plugin, version, hash, module, reason, remedy, "module dropped");
            }
        });
    }

    /// The state of the plugin when its file was rejected and no version serves.
    fn rejected_state(&self) -> PluginState {
        match self.status.disabled_cause() {
            Some(DisabledCause::Unsupported) => PluginState::Disabled,
            Some(_) if !self.plugin.is_configured => PluginState::Idle,
            _ => PluginState::Rejected,
        }
    }

    fn state(&self) -> PluginState {
        match (&self.serving, &self.condition) {
            (None, _) if self.loading != Loading::No => PluginState::Loading,
            (None, _) => self.rejected_state(),
            (Some(_), Condition::Up) => PluginState::Up,
            (Some(_), Condition::Down) => PluginState::Failed,
            (Some(_), Condition::Unavailable(..)) => PluginState::Unavailable,
            (Some(_), Condition::Disabled) => PluginState::Disabled,
        }
    }

    /// Whether the plugin has a table in the configuration and serves no version, other than for lack of anything to measure
    /// on this host.
    pub(crate) fn is_missing(&self) -> bool {
        self.plugin.is_configured && self.serving.is_none() && self.state() != PluginState::Disabled
    }

    /// Whether the plugin has a table or has ever served: then it has metrics in the module `agent` however many plugins there
    /// are. Files that never were plugins must not swell each sample.
    pub(crate) fn is_established(&self) -> bool {
        self.plugin.is_configured || self.generation > 0
    }

    /// The faults so far.
    pub(crate) fn faults(&self) -> &Counts {
        &self.statistics.faults
    }

    /// Whether the current file was rejected or cannot be read.
    pub(crate) fn has_rejected_file(&self) -> bool {
        self.status.is_bad() && (self.is_serving() || self.rejected_state() == PluginState::Rejected)
    }

    /// Appends the agent's metrics about the plugin.
    pub(crate) fn append_metrics(&mut self, agent: &mut Values<'_>) {
        let number = |number: u64| Some(Value::Unsigned(number));
        let version = self.serving.as_deref();
        let (up, state) = (u64::from(self.is_up()), Value::Text(self.state().name().into()));
        let metrics = [
            ("plugin_up", number(up)),
            ("plugin_state", Some(state)),
            ("plugin_file_rejected", number(u64::from(self.has_rejected_file()))),
            ("plugin_version", version.map(|version| Value::Text(version.name.clone()))),
            ("plugin_hash", version.map(|version| Value::Text(version.digits.clone()))),
            ("plugin_memory_bytes", version.and_then(|_| number(self.memory_bytes as u64))),
            ("plugin_duration_seconds", self.statistics.duration().map(Value::Float)),
            ("plugin_duration_max_seconds", self.statistics.longest().map(Value::Float)),
            ("plugin_skipped_total", number(self.statistics.skipped)),
            ("plugin_late_total", number(self.statistics.late)),
            ("plugin_dropped_metrics_total", number(self.statistics.dropped)),
            ("plugin_stuck_operations", number(self.plugin.permits.stuck() as u64)),
            ("plugin_dropped_messages_total", number(self.plugin.log.dropped_total())),
            ("plugin_faults_total", number(self.statistics.faults.total())),
        ];
        agent.push_row(&mut self.row, &self.labels, metrics);
        self.statistics.append_faults(&self.labels, agent);
    }
}
