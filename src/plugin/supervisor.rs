//! A plugin's place among the others, which lasts as long as its file: the version that serves, where its instance is,
//! what went wrong so far. Decides, and leaves the waiting to its owner.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::context::PluginContext;
use super::fault::{Counts, Failure, Fault, FaultKind};
use super::instance::Instance;
use super::load::{Outcome, Rejection, RetryPolicy, Trial, Version};
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
    /// What was rejected last.
    rejected: Option<Rejected>,
    /// When to load that again, if it may pass then.
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
    retry: RetryPolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loading {
    No,
    Yes,
    /// And the file has changed since it was read.
    Again,
}

/// What became of the last call.
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

    /// Takes the outcome of a load. Answers whether to load again at once.
    pub(super) fn handle_load(&mut self, outcome: Outcome, directory: &Path, now: Instant) -> bool {
        let again = std::mem::replace(&mut self.loading, Loading::No) == Loading::Again;
        let path = directory.join(&self.file);
        match outcome {
            Outcome::AlreadyKnown(hash) => {
                let is_rejected = |rejected: &Rejected| rejected.hash == hash;
                match self.rejected.take_if(|rejected| !is_rejected(rejected)) {
                    // What serves is back in its place.
                    Some(_) => self.reload = Backoff::default(),
                    None => self.report_rejection(&path),
                }
            }
            Outcome::Unreadable(error) => self.report_unreadable(&error, &path),
            Outcome::Rejected(hash, rejection) => self.reject(hash, rejection, &path, now),
            // A version takes the place of one that is up only when it measures, and of any other only when it does not
            // fail.
            Outcome::Ready(version, Trial::Failed(fault)) if self.serving.is_some() => {
                let rejection = Rejection::from(Failure::Fault(fault)).with_version(&version.name);
                self.reject(version.hash, rejection, &path, now);
            }
            Outcome::Ready(version, Trial::Unavailable(why)) if self.is_up() => {
                let rejection = Rejection::from(Failure::Unavailable(why)).with_version(&version.name);
                self.reject(version.hash, rejection, &path, now);
            }
            Outcome::Ready(version, trial) => self.serve(version, trial, now),
        }
        if again {
            self.loading = Loading::Yes;
        }
        again
    }

    fn report_unreadable(&mut self, error: &io::Error, path: &Path) {
        let (plugin, path, consequence) = (&self.plugin.name, path.display(), self.consequence());
        if error.kind() == io::ErrorKind::NotFound {
            tracing::warn!("plugin {plugin}: {path} went away while it was being loaded; {consequence}");
        } else {
            tracing::warn!("plugin {plugin}: {path} cannot be read: {error}; allow the agent to; {consequence}");
            self.faults.add(FaultKind::Load);
        }
    }

    fn reject(&mut self, hash: Hash, rejection: Rejection, path: &Path, now: Instant) {
        let Rejection { version, reason, is_fault, retry } = rejection;
        if is_fault {
            self.faults.add(FaultKind::Load);
        }
        if self.rejected.as_ref().is_none_or(|rejected| rejected.hash != hash) {
            self.reload = Backoff::default();
        }
        if retry == RetryPolicy::Backoff {
            self.reload.record_failure(now);
        }
        let rejected = Some(Rejected { hash, version, reason, retry });
        // What is tried again and again is reported once.
        let is_known = retry == RetryPolicy::Backoff && self.rejected == rejected;
        self.rejected = rejected;
        if !is_known {
            self.report_rejection(path);
        }
    }

    fn report_rejection(&self, path: &Path) {
        let Some(Rejected { hash, version, reason, retry }) = &self.rejected else { return };
        let version = version.as_ref().map(|version| format!("{version}, ")).unwrap_or_default();
        let again = match retry {
            RetryPolicy::Never => "",
            RetryPolicy::OnChange => "; when it can, put it there again",
            RetryPolicy::Backoff => "; it is tried again",
        };
        let (plugin, path, consequence) = (&self.plugin.name, path.display(), self.consequence());
        tracing::warn!("plugin {plugin}: {path} ({version}{hash}) {reason}; {consequence}{again}");
    }

    fn consequence(&self) -> &'static str {
        if self.serving.is_some() { "the version before goes on" } else { "nothing of it runs" }
    }

    fn serve(&mut self, version: Version, trial: Trial, now: Instant) {
        let plugin = &self.plugin.name;
        match &self.serving {
            None => tracing::info!("plugin {plugin} {version} loaded"),
            Some(former) => tracing::info!("plugin {plugin} {version} takes the place of {former}"),
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
                    tracing::info!("plugin {}: what it measures is available again", self.plugin.name);
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
            Err(Failure::Disabled(why)) => {
                self.keep_instance(None);
                self.reserved_modules.clear();
                let plugin = &self.plugin.name;
                tracing::warn!("plugin {plugin} {why}; it is put aside until its file changes or the agent restarts");
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
                let version = version.map(|version| format!(" {version}")).unwrap_or_default();
                tracing::warn!("plugin {}{version}, which was replaced: {fault}", self.plugin.name);
            }
            Err(_) => {}
        }
    }

    /// Tells once for each version that something of what it returns is not usable.
    fn report_loss(&mut self, collected: &Collected) {
        let Some(loss) = collected.losses.first().filter(|_| !self.reported.loss) else { return };
        self.reported.loss = true;
        let (plugin, version) = (&self.plugin.name, self.version());
        tracing::warn!(
            "plugin {plugin} {version}: dropped {loss}; mend the plugin; plugin_dropped_metrics_total counts the others"
        );
    }

    /// What serves, as it is shown in the log.
    fn version(&self) -> String {
        self.serving.as_ref().map(ToString::to_string).unwrap_or_default()
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
                let plugin = &self.plugin.name;
                tracing::warn!("plugin {plugin}: not available: {why}; it is asked again at its next tick");
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
        let pause = self.restart.record_failure(now);
        let (version, pause) = (self.version(), humantime::format_duration(pause));
        tracing::warn!("plugin {} {version}: {fault}; started afresh after {pause}", self.plugin.name);
    }

    /// The modules that it has brought idle.
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
                let (plugin, version, name) = (&self.plugin.name, self.version(), &*module.name);
                tracing::warn!(
                    "plugin {plugin} {version}: its module {name} is dropped, another collector has it; rename one"
                );
            }
        }
    }

    /// What is to be said of it in a word.
    fn state(&self) -> &'static str {
        match &self.condition {
            _ if self.serving.is_none() && self.loading != Loading::No => "loading",
            _ if self.serving.is_none() => "rejected",
            Condition::Up => "up",
            Condition::Down => "failed",
            Condition::Unavailable(..) => "unavailable",
            Condition::Disabled => "disabled",
        }
    }

    /// Appends what the agent tells of the plugin.
    pub(super) fn append_metrics(&mut self, agent: &mut Module) {
        let labels = &self.labels;
        agent.push_labelled("plugin_up", labels, u64::from(self.is_up()));
        agent.push_labelled("plugin_state", labels, Value::Text(self.state().into()));
        agent.push_labelled("plugin_file_rejected", labels, u64::from(self.rejected.is_some()));
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
