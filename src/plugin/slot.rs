//! A plugin's place among the others, which lasts as long as its file: the version that serves, where its instance is,
//! what went wrong so far. Decides, and leaves the waiting to its owner.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fault::{Counts, Failure, Fault, Kind, pause_after};
use super::instance::Instance;
use super::load::{Hash, Outcome, Plugin, Rejection, Version};
use super::result::Collected;
use crate::sample::Module;
use crate::schedule::Tick;

/// One plugin's place.
pub(super) struct Slot {
    pub(super) plugin: Plugin,
    /// The name of its file in the plugins directory.
    pub(super) file: String,
    loading: Loading,
    rejected: Option<Hash>,
    serving: Option<Arc<Version>>,
    /// The serving version's instance, while it is not away on a call.
    home: Option<Box<Instance>>,
    away: Option<Away>,
    condition: Condition,
    /// Faults in a row.
    streak: u32,
    /// When a plugin that failed is tried again.
    retry_at: Option<Instant>,
    arrived: Option<Collected>,
    /// Its modules that another collector has, as far as they were reported.
    conflicts: HashSet<String>,
    duration: Duration,
    memory_bytes: usize,
    faults: Counts,
    overdue: u64,
    late: u64,
    dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loading {
    No,
    Yes,
    /// And the file has changed since it was read.
    Again,
}

/// Whose instance is away on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// The serving version's.
    Current,
    /// That of a version before; it does not come home.
    Former,
}

/// What became of the last call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Up,
    Down,
    /// What it measures is not there; why, as it was logged.
    Unavailable(String),
    /// It is not called until its file changes.
    Aside,
}

/// What a call brought home.
pub(super) struct Returned {
    instance: Option<Box<Instance>>,
    result: Result<Collected, Failure>,
    took: Duration,
}

impl Returned {
    /// A call whose task panicked.
    pub(super) fn panicked() -> Self {
        let message = "the agent panicked while serving it; report this".to_owned();
        let fault = Failure::Fault(Fault { kind: Kind::Panic, message });
        Self { instance: None, result: Err(fault), took: Duration::ZERO }
    }
}

impl Slot {
    pub(super) fn new(plugin: Plugin, file: String) -> Self {
        Self {
            plugin,
            file,
            loading: Loading::No,
            rejected: None,
            serving: None,
            home: None,
            away: None,
            condition: Condition::Down,
            streak: 0,
            retry_at: None,
            arrived: None,
            conflicts: HashSet::new(),
            duration: Duration::ZERO,
            memory_bytes: 0,
            faults: Counts::default(),
            overdue: 0,
            late: 0,
            dropped: 0,
        }
    }

    /// Takes note that the file is new or has changed. Answers whether to load it now: a load that is under way is let
    /// finish first.
    pub(super) fn wants_load(&mut self) -> bool {
        let now = self.loading == Loading::No;
        self.loading = if now { Loading::Yes } else { Loading::Again };
        now
    }

    /// The contents that are not to be loaded again: the one that serves and the one that was rejected last.
    pub(super) fn settled(&self) -> [Option<Hash>; 2] {
        [self.serving.as_ref().map(|version| version.hash), self.rejected]
    }

    /// Takes the outcome of a load. Answers whether to load again.
    pub(super) fn loaded(&mut self, outcome: Outcome, directory: &Path, now: Instant) -> bool {
        let again = std::mem::replace(&mut self.loading, Loading::No) == Loading::Again;
        let (plugin, path) = (Arc::clone(&self.plugin.name), directory.join(&self.file));
        let path = path.display();
        let consequence = if self.serving.is_some() { "the version before goes on" } else { "nothing of it runs" };
        match outcome {
            Outcome::Settled => {}
            Outcome::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!("plugin {plugin}: {path} went away while it was being loaded; {consequence}");
            }
            Outcome::Unreadable(error) => {
                self.faults.add(Kind::Load);
                tracing::warn!("plugin {plugin}: {path} cannot be read: {error}; allow the agent to; {consequence}");
            }
            Outcome::Rejected(hash, Rejection { reason, was_slow }) => {
                self.faults.add(Kind::Load);
                tracing::warn!("plugin {plugin}: {path} ({hash}) {reason}; {consequence}");
                if was_slow && self.serving.is_none() {
                    self.pause(now);
                } else {
                    self.rejected = Some(hash);
                }
            }
            Outcome::Ready(version, instance, fault) => self.serve(version, instance, fault, now),
        }
        if again {
            self.loading = Loading::Yes;
        }
        again
    }

    fn serve(&mut self, version: Version, instance: Option<Box<Instance>>, fault: Option<Fault>, now: Instant) {
        let plugin = &self.plugin.name;
        match &self.serving {
            None => tracing::info!("plugin {plugin} {version} loaded"),
            Some(former) => tracing::info!("plugin {plugin} {version} takes the place of {former}"),
        }
        self.serving = Some(Arc::new(version));
        self.home = instance;
        self.away = self.away.map(|_| Away::Former);
        self.condition = Condition::Down;
        self.rejected = None;
        self.streak = 0;
        self.retry_at = None;
        self.conflicts.clear();
        if let Some(fault) = fault {
            self.failed(&fault, now);
        }
    }

    /// Whether a file that was only too slow to be loaded is to be tried again now.
    pub(super) fn wants_reload(&mut self, now: Instant) -> bool {
        let is_due = self.serving.is_none() && self.retry_at.is_some_and(|at| at <= now);
        if is_due {
            self.retry_at = None;
        }
        is_due && self.wants_load()
    }

    /// Begins the call that a tick asks for: none when the plugin is not due, is put aside, rests after a fault, or is
    /// still away, which is counted.
    pub(super) fn call(
        &mut self,
        tick: Tick,
        clock: Instant,
    ) -> Option<impl Future<Output = Returned> + Send + 'static + use<>> {
        let version = Arc::clone(self.serving.as_ref()?);
        if !tick.is_due(self.plugin.config.every) || self.condition == Condition::Aside {
            return None;
        }
        if self.away.is_some() {
            self.overdue += 1;
            return None;
        }
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return None;
        }
        self.away = Some(Away::Current);
        let (plugin, home) = (self.plugin.clone(), self.home.take());
        Some(async move {
            let start = Instant::now();
            let collect = async {
                let mut instance = match home {
                    Some(instance) => instance,
                    None => Box::new(plugin.start(&version.code).await?.0),
                };
                let result = instance.collect(tick, clock.elapsed()).await;
                Ok((instance, result))
            };
            let (instance, result) = match collect.await {
                Ok((instance, result)) => (Some(instance), result),
                Err(failure) => (None, Err(failure)),
            };
            Returned { instance, result, took: start.elapsed() }
        })
    }

    /// Takes what a call brought home. `is_late` says that the sample that it was made for has left without it: then it
    /// goes with the next.
    pub(super) fn returned(&mut self, returned: Returned, is_late: bool, now: Instant) {
        let Returned { instance, result, took, .. } = returned;
        let is_current = self.away.take() == Some(Away::Current);
        self.duration = took;
        self.late += u64::from(is_late);
        let result = result.map(|collected| {
            self.dropped += collected.dropped;
            self.arrived = Some(collected);
        });
        if !is_current {
            return;
        }
        self.memory_bytes = instance.as_ref().map_or(0, |instance| instance.held_bytes());
        let plugin = &self.plugin.name;
        match result {
            Ok(()) => {
                if let Condition::Unavailable(_) = self.condition {
                    tracing::info!("plugin {plugin}: what it measures is available again");
                }
                self.home = instance;
                self.condition = Condition::Up;
                self.streak = self.streak.saturating_sub(1);
                self.retry_at = None;
            }
            Err(Failure::Unavailable(why)) => {
                if self.condition != Condition::Unavailable(why.clone()) {
                    tracing::warn!("plugin {plugin}: not available: {why}; it is asked again at its next tick");
                }
                self.home = instance;
                self.condition = Condition::Unavailable(why);
            }
            Err(Failure::PutAside(why)) => {
                tracing::warn!("plugin {plugin} {why}; it is put aside until its file changes or the agent restarts");
                self.condition = Condition::Aside;
            }
            Err(Failure::Fault(fault)) => self.failed(&fault, now),
        }
    }

    fn failed(&mut self, fault: &Fault, now: Instant) {
        self.faults.add(fault.kind);
        self.condition = Condition::Down;
        let pause = self.pause(now);
        let version = self.serving.as_ref().map(ToString::to_string).unwrap_or_default();
        let pause = humantime::format_duration(pause);
        tracing::warn!("plugin {} {version}: {fault}; started afresh after {pause}", self.plugin.name);
    }

    /// Leaves the plugin alone for a while, the longer the more often it has failed.
    fn pause(&mut self, now: Instant) -> Duration {
        self.streak = self.streak.saturating_add(1);
        let pause = pause_after(self.streak);
        self.retry_at = Some(now + pause);
        pause
    }

    /// Moves what has arrived into a sample. Of a module that is there already nothing is taken.
    pub(super) fn deliver(&mut self, modules: &mut Vec<Module>, taken: &mut HashSet<String>) {
        let Some(collected) = self.arrived.take() else { return };
        for module in collected.modules {
            if taken.insert(module.name.to_string()) {
                modules.push(module);
                continue;
            }
            self.dropped += module.metrics.len() as u64;
            if self.conflicts.insert(module.name.to_string()) {
                let (plugin, name) = (&self.plugin.name, &module.name);
                tracing::warn!("plugin {plugin}: its module {name} is dropped, another collector has it; rename one");
            }
        }
    }

    /// Appends what the agent tells of the plugin.
    pub(super) fn describe(&self, agent: &mut Module) {
        let plugin = ("plugin", &*self.plugin.name);
        let labels = &[plugin];
        agent.push_labelled("plugin_up", labels, u64::from(self.condition == Condition::Up));
        if self.serving.is_some() {
            agent.push_labelled("plugin_duration_seconds", labels, self.duration.as_secs_f64());
            agent.push_labelled("plugin_memory_bytes", labels, self.memory_bytes as u64);
        }
        agent.push_labelled("plugin_overdue_total", labels, self.overdue);
        agent.push_labelled("plugin_late_total", labels, self.late);
        agent.push_labelled("plugin_dropped_metrics_total", labels, self.dropped);
        for (kind, count) in self.faults.nonzero() {
            agent.push_labelled("plugin_faults_total", &[plugin, ("kind", kind.name())], count);
        }
    }

    /// When it wants attention by itself: to load a file again.
    pub(super) fn reload_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.serving.is_none())
    }
}
