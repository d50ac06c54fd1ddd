//! The supervisor of one plugin, which lasts as long as its file: the version that serves, its instance, its failures and
//! its counters. It decides; its owner does the waiting.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::context::PluginContext;
use super::fault::{Counts, Disabled, DisabledCause, Failure, Fault, FaultKind};
use super::instance::Instance;
use super::load::{Outcome, Rejection, RetryPolicy, Trial, Version};
use super::report::{Report, ReportKind};
use super::result::Collected;
use super::sealed::Hash;
use crate::clock::schedule::Tick;
use crate::sample::{Labels, Module, Sample, Text, Value};

/// One plugin's place.
pub(super) struct Supervisor {
    pub(super) plugin: PluginContext,
    /// The name of its file in the plugins directory.
    pub(super) file: String,
    /// Of what the agent tells of it.
    labels: Labels,
    loading: Loading,
    /// The content that was rejected last.
    rejected: Option<Rejected>,
    /// Why the file could not be read at the last attempt.
    read_error: Option<String>,
    /// When to load the rejected content again, if the cause may pass.
    reload: Backoff,

    serving: Option<Arc<Version>>,
    /// Which of the versions that have served here it is.
    generation: u64,
    /// Its instance, while that is not away on a call.
    idle: Option<Box<Instance>>,
    is_in_flight: bool,
    /// Whether it was never called: then it is due at the next tick, whatever its interval.
    was_never_called: bool,
    condition: Condition,
    /// When a version that failed is called again.
    restart: Backoff,

    pending: Option<Collected>,
    /// The modules of its last result, which nobody after it may have: at ticks without one neither.
    pub(super) reserved_modules: Vec<Text>,
    reported: Reported,
    /// How long the last call took, and the longest one of this version; none before the first.
    duration: Option<Duration>,
    longest: Duration,
    memory_bytes: usize,
    faults: Counts,
    skipped: u64,
    late: u64,
    dropped: u64,
}

/// What was reported of the version that serves, and is not reported again.
#[derive(Debug, Default)]
struct Reported {
    /// That another collector has a module of its.
    conflict: bool,
    /// That something of what it returns is not usable.
    loss: bool,
}

/// A content that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rejected {
    hash: Hash,
    version: Option<String>,
    reason: String,
    remedy: String,
    disabled: Option<DisabledCause>,
    retry: RetryPolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loading {
    No,
    Yes,
    /// And the file has changed since it was read.
    Again,
}

/// The state of a plugin, as `plugin_state` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The file is being loaded for the first time.
    Loading,
    /// The last call, or the trial, succeeded.
    Up,
    /// What it measures is not there.
    Unavailable,
    /// The last call ended in a fault; it is called again after a pause.
    Failed,
    /// It cannot work on this host, or is not called until its file changes.
    Disabled,
    /// The file was rejected, and no version serves.
    Rejected,
    /// It needs a table in the configuration, and has none.
    Idle,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Up => "up",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Rejected => "rejected",
            Self::Idle => "idle",
        }
    }
}

/// The outcome of the last call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Up,
    Down,
    /// What it measures is not there; why, and whether that was logged.
    Unavailable(String, bool),
    /// It is not called until its file changes.
    Disabled,
}

/// A call that is under way.
pub(super) type Call = Pin<Box<dyn Future<Output = CallResult> + Send>>;

/// What a call brought idle.
pub(super) struct CallResult {
    /// The version that was called, unless its call panicked.
    version: Option<Arc<Version>>,
    instance: Option<Box<Instance>>,
    result: Result<Collected, Failure>,
    took: Duration,
}

impl CallResult {
    /// A call whose task panicked.
    pub(super) fn panicked() -> Self {
        let message = "the agent panicked while serving it; report this".to_owned();
        let fault = Failure::Fault(Fault { kind: FaultKind::Panic, message });
        Self { version: None, instance: None, result: Err(fault), took: Duration::ZERO }
    }
}

impl Supervisor {
    pub(super) fn new(plugin: PluginContext, file: String) -> Self {
        Self {
            labels: [("plugin", &*plugin.name)].into(),
            plugin,
            file,
            loading: Loading::No,
            rejected: None,
            read_error: None,
            reload: Backoff::default(),
            serving: None,
            generation: 0,
            idle: None,
            is_in_flight: false,
            was_never_called: true,
            condition: Condition::Down,
            restart: Backoff::default(),
            pending: None,
            reserved_modules: Vec::new(),
            reported: Reported::default(),
            duration: None,
            longest: Duration::ZERO,
            memory_bytes: 0,
            faults: Counts::default(),
            skipped: 0,
            late: 0,
            dropped: 0,
        }
    }

    /// Takes note that the file is new or has changed. Answers whether to load it now: a load that is under way is let
    /// finish first.
    pub(super) fn file_changed(&mut self) -> bool {
        self.reload.at = None;
        let now = self.loading == Loading::No;
        self.loading = if now { Loading::Yes } else { Loading::Again };
        now
    }

    /// When to look at the file again, because it was rejected for something that may have passed then.
    pub(super) fn reload_at(&self) -> Option<Instant> {
        self.reload.at.filter(|_| self.loading == Loading::No)
    }

    /// Answers whether to look at the file again now.
    pub(super) fn take_due_reload(&mut self, now: Instant) -> bool {
        let is_due = self.reload_at().is_some_and(|at| at <= now);
        if is_due {
            self.reload.at = None;
        }
        is_due
    }

    /// The contents that are not to be loaded again: the one that serves, and the one that was rejected for good.
    pub(super) fn known_hashes(&self) -> [Option<Hash>; 2] {
        let rejected = self.rejected.as_ref().filter(|rejected| rejected.retry == RetryPolicy::Never);
        [self.serving.as_ref().map(|version| version.hash), rejected.map(|rejected| rejected.hash)]
    }

    /// Whether the last call succeeded.
    fn is_up(&self) -> bool {
        self.condition == Condition::Up
    }

    /// Handles the outcome of a load. Returns whether to load again at once, and the report that is due, if any.
    pub(super) fn handle_load(
        &mut self,
        outcome: Outcome,
        directory: &Path,
        now: Instant,
    ) -> (bool, Option<(ReportKind, Report)>) {
        let again = std::mem::replace(&mut self.loading, Loading::No) == Loading::Again;
        let path = directory.join(&self.file);
        if !matches!(outcome, Outcome::Unreadable(_)) {
            self.read_error = None;
        }
        let report = match outcome {
            Outcome::AlreadyKnown(hash) => match self.rejected.take_if(|rejected| rejected.hash != hash) {
                // The content that serves is back in its place.
                Some(_) => {
                    self.reload = Backoff::default();
                    None
                }
                None => self.rejection_report(&path),
            },
            Outcome::Unreadable(error) => self.handle_read_error(&error, &path),
            Outcome::Rejected(hash, rejection) => self.reject(hash, rejection, &path, now),
            // A new version replaces one that is up only when it measures, and any other only when it does not fail.
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
        let reason = error.to_string();
        if self.read_error.as_ref() == Some(&reason) {
            return None;
        }
        let remedy = match error.kind() {
            // The next scan finds out what happened to it.
            io::ErrorKind::NotFound => "none, if it was removed",
            io::ErrorKind::PermissionDenied => "allow the agent to read it",
            io::ErrorKind::TimedOut => "check the file system; the file is read again every 30 s",
            _ => "check the disk or the mount; the file is read again every 30 s",
        };
        if error.kind() != io::ErrorKind::NotFound {
            self.faults.add(FaultKind::Load);
        }
        let report = self.report(path, None, None, format!("cannot be read: {reason}"), remedy.to_owned());
        self.read_error = Some(reason);
        Some((ReportKind::Rejected, report))
    }

    fn reject(&mut self, hash: Hash, rejection: Rejection, path: &Path, now: Instant) -> Option<(ReportKind, Report)> {
        let Rejection { version, reason, remedy, is_fault, disabled, retry } = rejection;
        if is_fault {
            self.faults.add(FaultKind::Load);
        }
        if self.rejected.as_ref().is_none_or(|rejected| rejected.hash != hash) {
            self.reload = Backoff::default();
        }
        if retry == RetryPolicy::Backoff {
            self.reload.record_failure(now);
        }
        let rejected = Some(Rejected { hash, version, reason, remedy, disabled, retry });
        // A content that is tried again and again is reported once.
        let is_known = retry == RetryPolicy::Backoff && self.rejected == rejected;
        self.rejected = rejected;
        if is_known { None } else { self.rejection_report(path) }
    }

    fn rejection_report(&self, path: &Path) -> Option<(ReportKind, Report)> {
        let Rejected { hash, version, reason, remedy, retry, .. } = self.rejected.as_ref()?;
        let kind = match self.state() {
            State::Idle => ReportKind::Idle,
            State::Disabled => ReportKind::Disabled,
            _ => ReportKind::Rejected,
        };
        let retried = if *retry == RetryPolicy::Backoff { "; it is retried" } else { "" };
        let remedy = format!("{remedy}{retried}");
        Some((kind, self.report(path, version.clone(), Some(*hash), reason.clone(), remedy)))
    }

    fn report(
        &self,
        path: &Path,
        version: Option<String>,
        hash: Option<Hash>,
        reason: String,
        remedy: String,
    ) -> Report {
        Report {
            plugin: Some(Arc::clone(&self.plugin.name)),
            file: path.display().to_string(),
            version,
            hash: hash.as_ref().map(ToString::to_string),
            reason,
            remedy,
            consequence: match self.serving {
                Some(_) => "the previous version continues",
                None => "no version is running",
            },
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
        self.rejected = None;
        self.reload = Backoff::default();
        self.serving = Some(Arc::new(version));
        self.generation += 1;
        // A call of the version before ends on that version, and its instance does not come idle.
        self.idle = None;
        self.is_in_flight = false;
        self.was_never_called = true;
        self.restart = Backoff::default();
        self.reported = Reported::default();
        self.duration = None;
        self.longest = Duration::ZERO;
        match trial {
            Trial::Passed(instance) => {
                self.keep_instance(Some(instance));
                self.condition = Condition::Up;
            }
            Trial::Unavailable(why) => self.handle_unavailable(why),
            Trial::Failed(fault) => self.handle_fault(&fault, now),
        }
    }

    /// Begins the call that a tick asks for: none when the plugin is not due, is put aside, rests after a fault, or is
    /// still away, which is counted.
    pub(super) fn call(&mut self, tick: Tick, clock: Instant) -> Option<Call> {
        let version = Arc::clone(self.serving.as_ref()?);
        let is_due = self.was_never_called || tick.is_due(self.plugin.config.every);
        if !is_due || self.condition == Condition::Disabled {
            return None;
        }
        if self.is_in_flight {
            self.skipped += 1;
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
            match plugin.start(&version.code).await {
                Ok((instance, _needs)) => collect(Box::new(instance), version).await,
                Err(failure) => {
                    let (result, took) = (Err(failure), start.elapsed());
                    CallResult { version: Some(version), instance: None, result, took }
                }
            }
        }))
    }

    /// Which version a call that is begun now is of.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes what a call of a version brought idle. `is_late` says that the sample that it was made for has left without
    /// it: then it goes with the next.
    pub(super) fn handle_result(&mut self, returned: CallResult, generation: u64, is_late: bool, now: Instant) {
        let CallResult { version, instance, result, took } = returned;
        if generation != self.generation {
            return self.handle_superseded(version, result, is_late);
        }
        self.is_in_flight = false;
        self.duration = Some(took);
        self.longest = self.longest.max(took);
        match result {
            Ok(collected) => {
                if let Condition::Unavailable(_, true) = self.condition {
                    tracing::info!(plugin = &*self.plugin.name, "plugin available again");
                }
                self.report_loss(&collected);
                self.store_result(collected, is_late);
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
                self.reserved_modules.clear();
                let (plugin, consequence) =
                    (&*self.plugin.name, "not called until its file changes or the agent restarts");
                tracing::warn!(plugin, reason, remedy, consequence, "plugin disabled");
                self.condition = Condition::Disabled;
            }
            Err(Failure::Fault(fault)) => self.handle_fault(&fault, now),
        }
    }

    /// A call that outlasted its version: what it measured is good unless there is something newer, and its fault is one.
    fn handle_superseded(&mut self, version: Option<Arc<Version>>, result: Result<Collected, Failure>, is_late: bool) {
        match result {
            Ok(collected) if self.pending.is_none() => self.store_result(collected, is_late),
            Ok(collected) => self.dropped += collected.size(),
            Err(Failure::Fault(fault)) => {
                self.faults.add(fault.kind);
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
        let (plugin, (version, hash)) = (&*self.plugin.name, self.version_fields());
        let remedy = "fix the plugin; plugin_dropped_metrics_total counts the others";
        tracing::warn!(plugin, version, hash, reason = loss, remedy, "metrics dropped");
    }

    /// Version and hash of the version that serves, for the log.
    fn version_fields(&self) -> (Option<&str>, Option<&str>) {
        let serving = self.serving.as_ref();
        (serving.map(|version| &*version.name), serving.map(|version| &*version.digits))
    }

    /// Keeps a result for the next sample, in place of an older one that came too late for its own.
    fn store_result(&mut self, collected: Collected, is_late: bool) {
        self.late += u64::from(is_late);
        self.dropped += collected.dropped;
        let names = || collected.modules.iter().map(|module| &module.name);
        if !self.reserved_modules.iter().eq(names()) {
            self.reserved_modules = names().cloned().collect();
        }
        if let Some(older) = self.pending.replace(collected) {
            self.dropped += older.size() - older.dropped;
        }
    }

    fn keep_instance(&mut self, instance: Option<Box<Instance>>) {
        self.memory_bytes = instance.as_ref().map_or(0, |instance| instance.held_bytes());
        self.idle = instance;
    }

    fn handle_unavailable(&mut self, why: String) {
        let is_logged = match &self.condition {
            Condition::Unavailable(known, true) if *known == why => true,
            _ if self.plugin.log.take() => {
                let (plugin, remedy) =
                    (&*self.plugin.name, "start what it measures; it is called again at its next tick");
                tracing::warn!(plugin, reason = why, remedy, "plugin unavailable");
                true
            }
            _ => false,
        };
        self.condition = Condition::Unavailable(why, is_logged);
    }

    fn handle_fault(&mut self, fault: &Fault, now: Instant) {
        self.keep_instance(None);
        self.faults.add(fault.kind);
        self.condition = Condition::Down;
        let pause = humantime::format_duration(self.restart.record_failure(now)).to_string();
        let (plugin, (version, hash)) = (&*self.plugin.name, self.version_fields());
        let (kind, reason) = (fault.kind.name(), &fault.message);
        tracing::warn!(plugin, version, hash, fault = kind, reason, restart_after = pause, "plugin failed");
    }

    pub(super) fn pending(&self) -> &[Module] {
        self.pending.as_ref().map_or(&[], |collected| &collected.modules)
    }

    /// Moves what has pending into a sample, but for the modules that are there already, by their permits.
    pub(super) fn deliver(&mut self, sample: &mut Sample, is_there: impl Fn(usize) -> bool) {
        let Some(collected) = self.pending.take() else { return };
        for (at, module) in collected.modules.into_iter().enumerate() {
            if !is_there(at) {
                sample.modules.push(module);
                continue;
            }
            self.dropped += module.len() as u64;
            if !self.reported.conflict {
                self.reported.conflict = true;
                let (plugin, (version, hash)) = (&*self.plugin.name, self.version_fields());
                let reason = "another collector has the module";
                let (module, remedy) = (&*module.name, "rename one");
                tracing::warn!(plugin, version, hash, module, reason, remedy, "module dropped");
            }
        }
    }

    /// The state of the plugin.
    pub(super) fn state(&self) -> State {
        let is_optional = |cause: DisabledCause| cause == DisabledCause::Unsupported || !self.plugin.is_configured;
        match (&self.serving, &self.condition) {
            (None, _) if self.loading != Loading::No => State::Loading,
            (None, _) => match self.rejected.as_ref().and_then(|rejected| rejected.disabled) {
                Some(DisabledCause::Unsupported) => State::Disabled,
                Some(cause) if is_optional(cause) => State::Idle,
                _ => State::Rejected,
            },
            (Some(_), Condition::Up) => State::Up,
            (Some(_), Condition::Down) => State::Failed,
            (Some(_), Condition::Unavailable(..)) => State::Unavailable,
            (Some(_), Condition::Disabled) => State::Disabled,
        }
    }

    /// Whether the configuration asks for it and no version of it serves. A host that has nothing for it to measure is no
    /// reason to complain.
    pub(super) fn is_missing(&self) -> bool {
        self.plugin.is_configured && self.serving.is_none() && self.state() != State::Disabled
    }

    /// Whether it has metrics of its own in the module `agent` however many plugins there are: files that never were
    /// plugins must not swell each sample.
    pub(super) fn is_established(&self) -> bool {
        self.plugin.is_configured || self.generation > 0
    }

    /// Whether the file that is there now was rejected.
    pub(super) fn has_rejected_file(&self) -> bool {
        self.rejected.is_some() && !matches!(self.state(), State::Idle | State::Disabled)
    }

    /// Appends the agent's metrics about the plugin.
    pub(super) fn append_metrics(&mut self, agent: &mut Module) {
        let labels = &self.labels;
        agent.push_labelled("plugin_up", labels, u64::from(self.is_up()));
        agent.push_labelled("plugin_state", labels, Value::Text(self.state().name().into()));
        agent.push_labelled("plugin_file_rejected", labels, u64::from(self.has_rejected_file()));
        if let Some(version) = &self.serving {
            agent.push_labelled("plugin_version", labels, Value::Text(version.name.clone()));
            agent.push_labelled("plugin_hash", labels, Value::Text(version.digits.clone()));
            agent.push_labelled("plugin_memory_bytes", labels, self.memory_bytes as u64);
        }
        if let Some(duration) = self.duration {
            agent.push_labelled("plugin_duration_seconds", labels, duration.as_secs_f64());
            agent.push_labelled("plugin_duration_max_seconds", labels, self.longest.as_secs_f64());
        }
        agent.push_labelled("plugin_skipped_total", labels, self.skipped);
        agent.push_labelled("plugin_late_total", labels, self.late);
        agent.push_labelled("plugin_dropped_metrics_total", labels, self.dropped);
        agent.push_labelled("plugin_stuck_operations", labels, self.plugin.permits.stuck() as u64);
        let lost = self.plugin.log.dropped_total();
        if lost > 0 {
            agent.push_labelled("plugin_dropped_messages_total", labels, lost);
        }
        for (kind, count) in self.faults.nonzero() {
            let labels = [("plugin", &*self.plugin.name), ("kind", kind.name())].into();
            agent.push_labelled("plugin_faults_total", &labels, count);
        }
    }
}
