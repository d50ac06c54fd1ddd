//! All plugins of a guest thread: connects their files, contexts, loads, calls and metrics. The thread awaits
//! [`Supervisors::step`], and opens a round at a tick that asks for one.
//!
//! A plugin serves from its last good version. A new version is loaded beside it and replaces it between two calls; a
//! rejected version changes nothing.

mod files;
mod contexts;
mod rounds;
mod about;
mod list;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use self::about::About;
use self::contexts::Contexts;
use self::files::Files;
use self::list::ListWriter;
use self::rounds::Rounds;
use crate::clock::sleep::sleep_until;
use crate::plugin::difference::{Difference, tables};
use crate::plugin::guest::engine::Engine;
use crate::plugin::guest_thread::abandonment::Suspension;
use crate::plugin::guest_thread::heartbeat::Heartbeat;
use crate::plugin::guest_thread::round::{Part, Round};
use crate::plugin::guest_thread::setup::Setup;
use crate::plugin::loader::Loader;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::owners::Owners;
use crate::plugin::source::directory::Change;
use crate::plugin::supervisor::{Job, JobOutcome, Supervisor};
use crate::plugin::tally::Tally;

/// All plugins of a guest thread.
pub(crate) struct Supervisors {
    files: Files,
    contexts: Contexts,
    loader: Loader,
    /// Boxed, since the nodes of a map are half empty.
    plugins: BTreeMap<Arc<str>, Box<Supervisor>>,
    /// The plugins that an earlier guest thread hung in, until their files are found.
    suspensions: BTreeMap<Arc<str>, Suspension>,
    /// When the next file is loaded again, or the next configuration tried again.
    reload_at: Option<Instant>,
    rounds: Rounds,
    owners: Owners,
    about: About,
    list: ListWriter,
    heartbeat: Arc<Heartbeat>,
    /// The plugins that are being tried with another configuration before it takes effect.
    preparation: Option<Preparation>,
}

/// Plugins that are being tried with another configuration, before that takes effect for all of them at once.
struct Preparation {
    plugins: BTreeSet<String>,
    /// The plugins that were rejected.
    reply: oneshot::Sender<Vec<String>>,
}

impl Supervisors {
    /// All plugins of a directory, which is scanned once [`step`](Self::step) is awaited. `root` is that of the measured host, without
    /// links.
    pub(crate) fn new(
        setup: &Arc<Setup>,
        root: PathBuf,
        suspensions: BTreeMap<Arc<str>, Suspension>,
        engine: Engine,
        pool: OffloadPool,
        heartbeat: &Arc<Heartbeat>,
    ) -> Self {
        // The first sample is to have the metrics about plugins, even if there are none.
        heartbeat.want_round();
        setup.configure_shared();
        Self {
            files: Files::new(&setup.config, pool.clone()),
            contexts: Contexts::new(setup, root, pool.clone()),
            loader: Loader::new(setup, engine, pool, Arc::clone(heartbeat)),
            plugins: BTreeMap::new(),
            suspensions,
            reload_at: None,
            rounds: Rounds::new(heartbeat),
            owners: Owners::default(),
            about: About::new(setup),
            list: ListWriter::default(),
            heartbeat: Arc::clone(heartbeat),
            preparation: None,
        }
    }

    /// Scans the directory as soon as possible.
    pub(crate) fn rescan(&mut self) {
        self.files.scanner.rescan();
    }

    /// Whether the directory was scanned and everything in it was loaded or rejected, and reported.
    pub(crate) fn is_settled(&self) -> bool {
        self.files.scanner.is_settled() && self.loader.is_empty() && self.files.reports.is_settled()
    }

    /// The enabled plugins with a table in the configuration that serve no version, and the directory or its entries when
    /// they do not respond. A plugin that this host has nothing for is not missing.
    pub(crate) fn missing(&self) -> Vec<String> {
        let enabled = self.files.tables.iter().filter(|(_, table)| table.enabled).map(|(name, _)| name);
        let missing =
            enabled.filter(|name| self.plugins.get(&***name).is_none_or(|supervisor| supervisor.is_missing()));
        missing.chain(self.files.scanner.unanswered()).cloned().collect()
    }

    /// Does the next piece of work as soon as there is one. Cancellation safe.
    pub(crate) async fn step(&mut self) {
        tokio::select! {
            () = self.rounds.step(&mut self.plugins) => return self.show_disabled(),
            ended = self.loader.next() => self.handle_outcome(ended),
            changes = self.files.step() => {
                if self.files.has_news() {
                    self.heartbeat.want_round();
                }
                if changes.is_empty() {
                    return;
                }
                for change in changes {
                    self.handle_change(change);
                }
                self.admit_surplus();
            }
            () = sleep_until(self.reload_at) => self.reload(),
        }
        self.show_changes();
    }

    /// Opens a round, whose calls that return at once, or while others begin, are handled before this returns.
    pub(crate) async fn open_round(&mut self, round: Round) {
        self.rounds.open(round, &mut self.plugins, self.loader.clock()).await;
        self.show_disabled();
    }

    /// When the open round ends at the latest.
    pub(crate) fn round_ends_at(&self) -> Option<Instant> {
        self.rounds.calls.round_ends_at()
    }

    /// Ends the open round if all its calls have returned or it has waited long enough. Returns the plugins' part of the sample:
    /// later results go with the next one.
    pub(crate) async fn end_round(&mut self) -> Option<Box<Part>> {
        let mut part = self.rounds.end(&mut self.plugins).await?;
        let Self { contexts, plugins, owners, about, list, files, .. } = self;
        owners.update(plugins, &contexts.setup.natives);
        let mut awaits_call = false;
        for (plugin, supervisor) in &mut *plugins {
            supervisor.deliver(&mut part, |module| owners.is_owner(plugin, module));
            awaits_call |= supervisor.awaits_call();
        }
        if awaits_call {
            // At the next tick, whatever its interval.
            self.heartbeat.want_round();
        }
        about.write(&mut part, &contexts.setup, plugins);
        part.list = Some(list.update(files, plugins));
        self.show_tally();
        Some(part)
    }

    /// Tries the plugins that another configuration changes, each with its new table, while they go on as before. The reply has
    /// the names of those that were rejected.
    pub(crate) fn prepare(&mut self, setup: &Arc<Setup>, reply: oneshot::Sender<Vec<String>>) {
        let tables = tables(&setup.config);
        let Difference { removed, mut changed, .. } = self.files.difference(&tables, &self.present());
        self.add_others(&mut changed, Supervisor::has_rejected_configuration);
        changed.retain(|name| !removed.contains(name));
        for name in &changed {
            let plugin = self.contexts.context_in(setup, name, tables.get(name));
            let job = self.plugins.get_mut(&**name).and_then(|supervisor| supervisor.prepare(plugin));
            self.start(name, job);
        }
        self.preparation = Some(Preparation { plugins: changed, reply });
        self.end_preparation();
    }

    /// Replies once all plugins that are being prepared were tried.
    fn end_preparation(&mut self) {
        let Self { plugins, preparation, .. } = self;
        let is_preparing = |name: &String| plugins.get(&**name).is_some_and(|supervisor| supervisor.is_preparing());
        let Some(Preparation { plugins: tried, reply }) =
            preparation.take_if(|preparation| !preparation.plugins.iter().any(is_preparing))
        else {
            return;
        };
        let is_rejected =
            |name: &String| plugins.get(&**name).is_some_and(|supervisor| supervisor.has_rejected_preparation());
        // The tick thread may not wait any more.
        let _ = reply.send(tried.into_iter().filter(is_rejected).collect());
    }

    /// Adds the plugins that meet a condition.
    fn add_others(&self, names: &mut BTreeSet<String>, condition: impl Fn(&Supervisor) -> bool) {
        let others = self.plugins.iter().filter(|(_, supervisor)| condition(supervisor));
        names.extend(others.map(|(name, _)| name.to_string()));
    }

    /// The plugins that there are, each with its file.
    fn present(&self) -> BTreeMap<String, String> {
        self.plugins.iter().map(|(name, plugin)| (name.to_string(), plugin.file.clone())).collect()
    }

    /// Follows a new configuration: its tables of plugins, its limits, and the agent's interval. A plugin whose table is the same
    /// goes on undisturbed. One that has another table takes it at once if it was prepared; otherwise it goes on as before until
    /// it was tried with that.
    pub(crate) fn reconfigure(&mut self, setup: &Arc<Setup>) {
        setup.configure_shared();
        self.loader.set_limits(setup.config.limits);
        self.preparation = None;
        let old = std::mem::replace(&mut self.contexts.setup, Arc::clone(setup));
        if old.natives != setup.natives {
            self.owners.plugins_changed();
        }
        let (present, now) = (self.present(), Instant::now());
        let Difference { removed, mut changed, files } = self.files.reconfigure(&setup.config, &present);
        for name in &removed {
            self.remove(name);
        }
        let is_new = changed.clone();
        self.add_others(&mut changed, Supervisor::is_held);
        if old.config.interval != setup.config.interval {
            self.about = About::new(setup);
            self.plugins.values_mut().for_each(|supervisor| supervisor.set_interval(setup.config.interval));
        }
        for name in &changed {
            let table = self.files.tables.get(name);
            let plugin = if is_new.contains(name) {
                self.contexts.context(name, table)
            } else {
                self.contexts.context_in(setup, name, table)
            };
            let job = self.plugins.get_mut(&**name).and_then(|supervisor| supervisor.reconfigure(plugin, now));
            self.start(name, job);
        }
        for file in &files {
            self.admit(file);
        }
        self.admit_surplus();
        self.show_changes();
    }

    fn handle_change(&mut self, change: Change) {
        match change {
            Change::Present(file) => {
                for name in self.files.loadable_plugins(&file) {
                    self.load(&name, &file);
                }
            }
            Change::Unusable(file, why) => {
                let mut is_serving = false;
                for supervisor in self.plugins.values_mut().filter(|supervisor| supervisor.file == file) {
                    supervisor.set_unusable(&why);
                    is_serving |= supervisor.is_serving();
                }
                self.files.report_unusable(&file, &why, is_serving);
            }
            Change::Removed(file) => {
                let made_of_file = self.plugins.iter().filter(|(_, supervisor)| supervisor.file == file);
                for name in made_of_file.map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>() {
                    self.remove(&name);
                }
                self.files.forget(&file);
            }
        }
    }

    /// Loads a file for those of its plugins that there are not yet.
    fn admit(&mut self, file: &str) {
        let mut names = self.files.loadable_plugins(file);
        names.retain(|name| !self.plugins.contains_key(&**name));
        for name in &names {
            self.load(name, file);
        }
    }

    /// Loads files that were refused, as far as there is capacity for them now.
    fn admit_surplus(&mut self) {
        for file in self.files.take_surplus(self.plugins.len()) {
            self.admit(&file);
        }
    }

    /// Loads the file of a plugin, which is new or has changed.
    fn load(&mut self, name: &str, file: &str) {
        if !self.plugins.contains_key(name) {
            if !self.files.admits(self.plugins.len(), name, file) {
                return;
            }
            let plugin = self.contexts.context(name, self.files.tables.get(name));
            let mut supervisor = Supervisor::new(plugin, file.to_owned());
            supervisor.heartbeat_id = self.heartbeat.register(supervisor.name());
            self.plugins.insert(name.into(), Box::new(supervisor));
            self.owners.plugins_changed();
            self.list.plugins_changed();
        }
        let Some(supervisor) = self.plugins.get_mut(name) else { return };
        if let Some(suspension) = self.suspensions.remove(name) {
            return supervisor.suspend(suspension);
        }
        let job = supervisor.file_changed();
        self.start(name, job);
    }

    fn remove(&mut self, name: &str) {
        let Some(supervisor) = self.plugins.remove(name) else { return };
        let setup = &self.contexts.setup;
        setup.faults.keep(supervisor.faults());
        setup.accounts.remove(name);
        tracing::info!(plugin = name, file = %self.files.path(&supervisor.file).display(), "plugin removed");
        self.owners.plugins_changed();
        self.list.plugins_changed();
        self.heartbeat.remove(supervisor.heartbeat_id);
        self.rounds.calls.forget(name);
        self.loader.forget(name);
        self.end_preparation();
    }

    /// Starts what a plugin's supervisor has asked for.
    fn start(&mut self, name: &str, job: Option<Job>) {
        let (Some(supervisor), Some(job)) = (self.plugins.get(name), job) else { return };
        let (id, path) = (supervisor.heartbeat_id, self.files.path(&supervisor.file));
        match job {
            Job::Trial(trial) => self.loader.start_trial(id, *trial),
            Job::Load => self.loader.start(id, supervisor.newest().clone(), path, supervisor.known_hashes()),
        }
    }

    fn handle_outcome(&mut self, ended: Option<(Arc<str>, JobOutcome)>) {
        let Some((plugin, outcome)) = ended else { return };
        let Some(supervisor) = self.plugins.get_mut(&plugin) else { return };
        let (next, report) = supervisor.handle_outcome(outcome, self.files.scanner.path(), Instant::now());
        if let Some((kind, report)) = report {
            self.files.report(kind, report);
        }
        self.start(&plugin, next);
        self.end_preparation();
    }

    /// Retries what was rejected for a cause that may have passed.
    fn reload(&mut self) {
        let now = Instant::now();
        let all = self.plugins.iter_mut();
        let due = all.filter_map(|(name, supervisor)| Some((Arc::clone(name), supervisor.take_due_reload(now)?)));
        for (name, job) in due.collect::<Vec<_>>() {
            self.start(&name, Some(job));
        }
    }

    /// Shows the tick thread that plugins are not called any more, if any are.
    fn show_disabled(&mut self) {
        if self.rounds.take_disabled() {
            self.show_changes();
        }
    }

    /// Shows the tick thread how many plugins are in each state, once there is something to show.
    fn show_tally(&self) {
        if !self.plugins.is_empty() || self.is_settled() {
            let mut tally = Tally::default();
            self.plugins.values().for_each(|supervisor| supervisor.count(&mut tally));
            self.heartbeat.set_tally(tally);
        }
    }

    /// Shows the tick thread at which ticks plugins are called, and finds out when the next one is loaded again. Logs the
    /// reports without further delay when no load is under way that could add to them.
    fn show_changes(&mut self) {
        self.reload_at = self.plugins.values().filter_map(|supervisor| supervisor.reload_at()).min();
        let intervals: BTreeSet<u64> = self.plugins.values().filter_map(|supervisor| supervisor.interval()).collect();
        self.heartbeat.set_intervals(intervals.into_iter().collect());
        self.heartbeat.want_round();
        if self.loader.is_empty() {
            self.files.reports.flush_complete(Instant::now());
        }
        self.show_tally();
    }
}
