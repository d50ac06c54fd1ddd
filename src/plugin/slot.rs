//! A plugin's place among the others, which lasts as long as its file: the version that serves, where its instance is,
//! what went wrong so far. Decides, and leaves the waiting to its owner.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::configured::Plugin;
use super::content::Hash;
use super::fault::{Counts, Failure, Fault, Kind};
use super::instance::Instance;
use super::load::{Outcome, Prospect, Rejection, Trial, Version};
use super::result::Collected;
use super::retry::Retry;
use crate::sample::{Labels, Module, Sample, Text, Value};
use crate::schedule::Tick;

/// One plugin's place.
pub(super) struct Slot {
    pub(super) plugin: Plugin,
    /// The name of its file in the plugins directory.
    pub(super) file: String,
    /// Of what the agent tells of it.
    labels: Labels,
    loading: Loading,
    /// What was rejected last.
    rejected: Option<Rejected>,
    /// When to load that again, if it may pass then.
    reload: Retry,

    serving: Option<Arc<Version>>,
    /// Which of the versions that have served here it is.
    generation: u64,
    /// Its instance, while that is not away on a call.
    home: Option<Box<Instance>>,
    is_away: bool,
    /// Whether it was never called: then it is due at the next tick, whatever its interval.
    is_new: bool,
    condition: Condition,
    /// When a version that failed is called again.
    recall: Retry,

    arrived: Option<Collected>,
    /// The modules of its last result, which nobody after it may have: at ticks without one neither.
    pub(super) claims: Vec<Text>,
    reported: Reported,
    /// How long the last call took, and the longest one of this version; none before the first.
    duration: Option<Duration>,
    longest: Duration,
    memory_bytes: usize,
    faults: Counts,
    overdue: u64,
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
    prospect: Prospect,
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
    Aside,
}

/// A call that is under way.
pub(super) type Call = Pin<Box<dyn Future<Output = Returned> + Send>>;

/// What a call brought home.
pub(super) struct Returned {
    /// The version that was called, unless its call panicked.
    version: Option<Arc<Version>>,
    instance: Option<Box<Instance>>,
    result: Result<Collected, Failure>,
    took: Duration,
}

impl Returned {
    /// A call whose task panicked.
    pub(super) fn panicked() -> Self {
        let message = "the agent panicked while serving it; report this".to_owned();
        let fault = Failure::Fault(Fault { kind: Kind::Panic, message });
        Self { version: None, instance: None, result: Err(fault), took: Duration::ZERO }
    }
}

impl Slot {
    pub(super) fn new(plugin: Plugin, file: String) -> Self {
        Self {
            labels: [("plugin", &*plugin.name)].into(),
            plugin,
            file,
            loading: Loading::No,
            rejected: None,
            reload: Retry::default(),
            serving: None,
            generation: 0,
            home: None,
            is_away: false,
            is_new: true,
            condition: Condition::Down,
            recall: Retry::default(),
            arrived: None,
            claims: Vec::new(),
            reported: Reported::default(),
            duration: None,
            longest: Duration::ZERO,
            memory_bytes: 0,
            faults: Counts::default(),
            overdue: 0,
            late: 0,
            dropped: 0,
        }
    }

    /// Takes note that the file is new or has changed. Answers whether to load it now: a load that is under way is let
    /// finish first.
    pub(super) fn changed(&mut self) -> bool {
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
    pub(super) fn wants_reload(&mut self, now: Instant) -> bool {
        let is_due = self.reload_at().is_some_and(|at| at <= now);
        if is_due {
            self.reload.at = None;
        }
        is_due
    }

    /// The contents that are not to be loaded again: the one that serves, and the one that was rejected for good.
    pub(super) fn settled(&self) -> [Option<Hash>; 2] {
        let rejected = self.rejected.as_ref().filter(|rejected| rejected.prospect == Prospect::None);
        [self.serving.as_ref().map(|version| version.hash), rejected.map(|rejected| rejected.hash)]
    }

    /// Whether the last call succeeded.
    fn is_up(&self) -> bool {
        self.condition == Condition::Up
    }

    /// Takes the outcome of a load. Answers whether to load again at once.
    pub(super) fn loaded(&mut self, outcome: Outcome, directory: &Path, now: Instant) -> bool {
        let again = std::mem::replace(&mut self.loading, Loading::No) == Loading::Again;
        let path = directory.join(&self.file);
        match outcome {
            Outcome::Settled(hash) => {
                let is_rejected = |rejected: &Rejected| rejected.hash == hash;
                match self.rejected.take_if(|rejected| !is_rejected(rejected)) {
                    // What serves is back in its place.
                    Some(_) => self.reload = Retry::default(),
                    None => self.report_rejection(&path),
                }
            }
            Outcome::Unreadable(error) => self.unreadable(&error, &path),
            Outcome::Rejected(hash, rejection) => self.reject(hash, rejection, &path, now),
            // A version takes the place of one that is up only when it measures, and of any other only when it does not
            // fail.
            Outcome::Ready(version, Trial::Failed(fault)) if self.serving.is_some() => {
                let rejection = Rejection::from(Failure::Fault(fault)).of(&version.name);
                self.reject(version.hash, rejection, &path, now);
            }
            Outcome::Ready(version, Trial::Unavailable(why)) if self.is_up() => {
                let rejection = Rejection::from(Failure::Unavailable(why)).of(&version.name);
                self.reject(version.hash, rejection, &path, now);
            }
            Outcome::Ready(version, trial) => self.serve(version, trial, now),
        }
        if again {
            self.loading = Loading::Yes;
        }
        again
    }

    fn unreadable(&mut self, error: &io::Error, path: &Path) {
        let (plugin, path, consequence) = (&self.plugin.name, path.display(), self.consequence());
        if error.kind() == io::ErrorKind::NotFound {
            tracing::warn!("plugin {plugin}: {path} went away while it was being loaded; {consequence}");
        } else {
            tracing::warn!("plugin {plugin}: {path} cannot be read: {error}; allow the agent to; {consequence}");
            self.faults.add(Kind::Load);
        }
    }

    fn reject(&mut self, hash: Hash, rejection: Rejection, path: &Path, now: Instant) {
        let Rejection { version, reason, is_fault, prospect } = rejection;
        if is_fault {
            self.faults.add(Kind::Load);
        }
        if self.rejected.as_ref().is_none_or(|rejected| rejected.hash != hash) {
            self.reload = Retry::default();
        }
        if prospect == Prospect::Soon {
            self.reload.failed(now);
        }
        let rejected = Some(Rejected { hash, version, reason, prospect });
        // What is tried again and again is reported once.
        let is_known = prospect == Prospect::Soon && self.rejected == rejected;
        self.rejected = rejected;
        if !is_known {
            self.report_rejection(path);
        }
    }

    fn report_rejection(&self, path: &Path) {
        let Some(Rejected { hash, version, reason, prospect }) = &self.rejected else { return };
        let version = version.as_ref().map(|version| format!("{version}, ")).unwrap_or_default();
        let again = match prospect {
            Prospect::None => "",
            Prospect::WhenPutAgain => "; when it can, put it there again",
            Prospect::Soon => "; it is tried again",
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
        self.reload = Retry::default();
        self.serving = Some(Arc::new(version));
        self.generation += 1;
        // A call of the version before ends on that version, and its instance does not come home.
        self.home = None;
        self.is_away = false;
        self.is_new = true;
        self.recall = Retry::default();
        self.reported = Reported::default();
        self.duration = None;
        self.longest = Duration::ZERO;
        match trial {
            Trial::Passed(instance) => {
                self.settle(Some(instance));
                self.condition = Condition::Up;
            }
            Trial::Unavailable(why) => self.unavailable(why),
            Trial::Failed(fault) => self.failed(&fault, now),
        }
    }

    /// Begins the call that a tick asks for: none when the plugin is not due, is put aside, rests after a fault, or is
    /// still away, which is counted.
    pub(super) fn call(&mut self, tick: Tick, clock: Instant) -> Option<Call> {
        let version = Arc::clone(self.serving.as_ref()?);
        let is_due = self.is_new || tick.is_due(self.plugin.config.every);
        if !is_due || self.condition == Condition::Aside {
            return None;
        }
        if self.is_away {
            self.overdue += 1;
            return None;
        }
        let start = Instant::now();
        if self.recall.is_pausing(start) {
            return None;
        }
        self.is_away = true;
        self.is_new = false;
        let collect = move |mut instance: Box<Instance>, version| async move {
            let result = instance.collect(tick, clock.elapsed()).await;
            Returned { version: Some(version), instance: Some(instance), result, took: start.elapsed() }
        };
        if let Some(instance) = self.home.take() {
            return Some(Box::pin(collect(instance, version)));
        }
        let plugin = self.plugin.clone();
        Some(Box::pin(async move {
            match plugin.start(&version.code).await {
                Ok((instance, _needs)) => collect(Box::new(instance), version).await,
                Err(failure) => {
                    let (result, took) = (Err(failure), start.elapsed());
                    Returned { version: Some(version), instance: None, result, took }
                }
            }
        }))
    }

    /// Which version a call that is begun now is of.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes what a call of a version brought home. `is_late` says that the sample that it was made for has left without
    /// it: then it goes with the next.
    pub(super) fn returned(&mut self, returned: Returned, generation: u64, is_late: bool, now: Instant) {
        let Returned { version, instance, result, took } = returned;
        if generation != self.generation {
            return self.former_returned(version, result, is_late);
        }
        self.is_away = false;
        self.duration = Some(took);
        self.longest = self.longest.max(took);
        match result {
            Ok(collected) => {
                if let Condition::Unavailable(_, true) = self.condition {
                    tracing::info!("plugin {}: what it measures is available again", self.plugin.name);
                }
                self.report_loss(&collected);
                self.arrive(collected, is_late);
                self.settle(instance);
                self.condition = Condition::Up;
                self.recall.went_well(now);
            }
            Err(Failure::Unavailable(why)) => {
                self.settle(instance);
                self.unavailable(why);
            }
            Err(Failure::PutAside(why)) => {
                self.settle(None);
                self.claims.clear();
                let plugin = &self.plugin.name;
                tracing::warn!("plugin {plugin} {why}; it is put aside until its file changes or the agent restarts");
                self.condition = Condition::Aside;
            }
            Err(Failure::Fault(fault)) => self.failed(&fault, now),
        }
    }

    /// A call that outlasted its version: what it measured is good unless there is something newer, and its fault is one.
    fn former_returned(&mut self, version: Option<Arc<Version>>, result: Result<Collected, Failure>, is_late: bool) {
        match result {
            Ok(collected) if self.arrived.is_none() => self.arrive(collected, is_late),
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
    fn arrive(&mut self, collected: Collected, is_late: bool) {
        self.late += u64::from(is_late);
        self.dropped += collected.dropped;
        let names = || collected.modules.iter().map(|module| &module.name);
        if !self.claims.iter().eq(names()) {
            self.claims = names().cloned().collect();
        }
        if let Some(older) = self.arrived.replace(collected) {
            self.dropped += older.size() - older.dropped;
        }
    }

    fn settle(&mut self, instance: Option<Box<Instance>>) {
        self.memory_bytes = instance.as_ref().map_or(0, |instance| instance.held_bytes());
        self.home = instance;
    }

    fn unavailable(&mut self, why: String) {
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

    fn failed(&mut self, fault: &Fault, now: Instant) {
        self.settle(None);
        self.faults.add(fault.kind);
        self.condition = Condition::Down;
        let pause = self.recall.failed(now);
        let (version, pause) = (self.version(), humantime::format_duration(pause));
        tracing::warn!("plugin {} {version}: {fault}; started afresh after {pause}", self.plugin.name);
    }

    /// The modules that it has brought home.
    pub(super) fn arrived(&self) -> &[Module] {
        self.arrived.as_ref().map_or(&[], |collected| &collected.modules)
    }

    /// Moves what has arrived into a sample, but for the modules that are there already, by their places.
    pub(super) fn deliver(&mut self, sample: &mut Sample, is_there: impl Fn(usize) -> bool) {
        let Some(collected) = self.arrived.take() else { return };
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
            Condition::Aside => "aside",
        }
    }

    /// Appends what the agent tells of the plugin.
    pub(super) fn describe(&mut self, agent: &mut Module) {
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
        agent.push_labelled("plugin_overdue_total", labels, self.overdue);
        agent.push_labelled("plugin_late_total", labels, self.late);
        agent.push_labelled("plugin_dropped_metrics_total", labels, self.dropped);
        agent.push_labelled("plugin_stuck_operations", labels, self.plugin.places.stuck() as u64);
        let lost = self.plugin.log.lost();
        if lost > 0 {
            agent.push_labelled("plugin_dropped_messages_total", labels, lost);
        }
        for (kind, count) in self.faults.nonzero() {
            let labels = [("plugin", &*self.plugin.name), ("kind", kind.name())].into();
            agent.push_labelled("plugin_faults_total", &labels, count);
        }
    }
}
