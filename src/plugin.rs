//! All plugins: their directory, loads and calls. The agent calls [`Plugins::call`] at each tick, passes hints that the
//! directory changed to [`Plugins::rescan`], and awaits [`Plugins::step`] for everything else. Only this module and those
//! below it know that plugins are WebAssembly.
//!
//! A plugin serves from its last good version. A new version is loaded beside it and replaces it between two calls; a
//! rejected version changes nothing.

pub(crate) mod source;
mod build;
mod load;
mod version;
mod trial;
mod rejection;
mod supervisor;
mod jobs;
mod report;
mod owners;
mod context;
mod accounts;
mod capacity;
mod guest;
mod grants;
mod host;
mod recorder;
pub mod harness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub use self::guest::fault::{Disabled, DisabledCause, Failure, Fault, FaultKind};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};

use self::build::cache::Cache;
use self::build::compile::Compiler;
use self::build::sealed::CONCURRENT_LOADS;
use self::capacity::Capacity;
use self::context::{PluginContext, is_enabled, plugins_of};
use self::guest::engine::Engine;
use self::jobs::{JobKind, Jobs};
use self::load::{FileLoad, Outcome};
use self::owners::Owners;
use self::report::{Report, ReportKind, Reports};
use self::source::blocking::BusyFiles;
use self::source::directory::Change;
use self::source::scanner::Scanner;
use self::supervisor::{CallResult, FaultTotals, Supervisor};
use crate::clock::schedule::Tick;
use crate::config::{Config, PluginConfig};
use crate::sample::{Sample, SeriesTable, Values};

/// How long plugins are called one after the other without a task of their own: enough for a thousand that only read a
/// file, and the shortest time that a sample waits for its plugins.
const INLINE_STRETCH: Duration = Duration::from_millis(20);

/// How many calls may be unfinished before the others get tasks at once: each may be one that never returns, and has had
/// a millisecond or two.
const MAX_UNFINISHED: usize = 5;

/// How many plugins that never served and have no table get metrics of their own: a sample must stay small, whatever is
/// dropped into the directory.
const UNESTABLISHED_METRICS: usize = 100;

/// Compiles one plugin and ends. The agent starts this program again for it, so that a compiler's memory and crashes are
/// not the agent's.
#[must_use]
pub fn compile() -> ExitCode {
    build::child::run()
}

/// All plugins of the agent.
pub struct Plugins {
    root: PathBuf,
    interval: Duration,
    config: BTreeMap<String, Arc<PluginConfig>>,
    series: Arc<SeriesTable>,
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    /// Bounds how many files are in memory at a time.
    permits: Arc<Semaphore>,
    /// The zero of the guests' clock.
    clock: Instant,
    capacity: Capacity,

    scanner: Scanner,
    /// The plugins whose files are being read.
    reading: BusyFiles,
    reports: Reports,

    /// Boxed, since the nodes of a map are half empty.
    supervisors: BTreeMap<String, Box<Supervisor>>,
    owners: Owners,
    faults: FaultTotals,
    loads: JoinSet<Outcome>,
    calls: JoinSet<CallResult>,
    /// The plugin and purpose of each task in `loads` and `calls`.
    jobs: Jobs,
    /// The files that were refused because there were too many plugins.
    surplus: BTreeSet<String>,
    /// The files whose plugins were reported as not enabled.
    reported_files: BTreeSet<String>,
}

impl Plugins {
    /// Sets up the host. The directory is scanned once [`step`](Self::step) is awaited.
    ///
    /// # Errors
    ///
    /// When this machine cannot run guests at all.
    pub fn new(config: &Config, series: Arc<SeriesTable>) -> anyhow::Result<Self> {
        let engine = Engine::new().map_err(|error| anyhow!("failed to set up the WebAssembly engine: {error:#}"))?;
        Ok(Self {
            root: config.root.canonicalize().unwrap_or_else(|_| config.root.clone()),
            interval: config.interval,
            series,
            config: config.plugins.iter().map(|(name, plugin)| (name.clone(), Arc::new(plugin.clone()))).collect(),
            compiler: Compiler::new(),
            cache: Cache::new(config.cache.clone(), engine.clone()),
            engine,
            permits: Arc::new(Semaphore::new(CONCURRENT_LOADS)),
            clock: Instant::now(),
            capacity: Capacity::on_host(),
            scanner: Scanner::new(config.plugins_directory.clone(), config.is_unexamined),
            reading: BusyFiles::default(),
            reports: Reports::default(),
            supervisors: BTreeMap::new(),
            owners: Owners::default(),
            faults: FaultTotals::default(),
            loads: JoinSet::new(),
            calls: JoinSet::new(),
            jobs: Jobs::default(),
            surplus: BTreeSet::new(),
            reported_files: BTreeSet::new(),
        })
    }

    /// Scans the directory as soon as possible.
    pub fn rescan(&mut self) {
        self.scanner.rescan();
    }

    /// Whether the directory was scanned and everything in it was loaded or rejected, and reported.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.scanner.is_settled() && self.loads.is_empty() && self.reports.is_settled()
    }

    /// How many calls of the current round have not returned.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.jobs.outstanding()
    }

    /// The enabled plugins with a table in the configuration that serve no version, and the directory or its entries when
    /// they do not respond. A plugin that this host has nothing for is not missing.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let enabled = self.config.iter().filter(|(_, table)| table.enabled).map(|(name, _)| name);
        let missing =
            enabled.filter(|name| self.supervisors.get(*name).is_none_or(|supervisor| supervisor.is_missing()));
        missing.chain(self.scanner.unresponsive()).cloned().collect()
    }

    /// Does the next piece of work as soon as there is one. Cancellation safe.
    pub async fn step(&mut self) {
        let scan_at = self.scanner.due_at();
        let reload_at = self.supervisors.values().filter_map(|supervisor| supervisor.reload_at()).min();
        let report_at = self.reports.due_at();
        tokio::select! {
            Some(joined) = self.calls.join_next_with_id() => {
                self.handle_returned(joined);
                while let Some(joined) = self.calls.try_join_next_with_id() {
                    self.handle_returned(joined);
                }
            }
            Some(joined) = self.loads.join_next_with_id() => {
                self.handle_loaded(joined);
                self.flush_complete_reports();
            }
            scanned = self.scanner.scanned() => {
                for change in self.scanner.finish(scanned, &self.config) {
                    self.handle_change(change);
                }
                self.flush_complete_reports();
            }
            () = sleep_until(scan_at) => self.scanner.start(),
            () = sleep_until(reload_at) => self.reload(),
            () = sleep_until(report_at) => self.reports.flush_due(Instant::now()),
        }
    }

    /// Logs the reports without further delay when no load is under way that could add to them.
    fn flush_complete_reports(&mut self) {
        if self.loads.is_empty() {
            self.reports.flush_complete(Instant::now());
        }
    }

    /// Calls the plugins that are due; those whose last call has not returned skip this tick. A call that does not return
    /// at once goes on in a task, and so do all calls after 20 ms.
    pub fn call(&mut self, tick: Tick) {
        let until = Instant::now() + INLINE_STRETCH;
        self.jobs.begin_round();
        let mut unfinished = 0;
        for (name, supervisor) in &mut self.supervisors {
            let Some(mut call) = supervisor.call(tick, self.clock) else { continue };
            let generation = supervisor.generation();
            // Most calls return at the first poll, which spares the price of a task.
            let polled = if unfinished < MAX_UNFINISHED && Instant::now() < until {
                let poll = || call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_panic| Poll::Ready(CallResult::panicked()))
            } else {
                Poll::Pending
            };
            match polled {
                Poll::Ready(returned) => supervisor.handle_result(returned, generation, false, Instant::now()),
                Poll::Pending => {
                    unfinished += 1;
                    let task = self.calls.spawn(call);
                    self.jobs.add_call(name, generation, task);
                }
            }
        }
    }

    /// Handles the calls that returned while the caller was busy, and again those that returned meanwhile, until `until`.
    pub async fn catch_up(&mut self, until: Instant) {
        while self.outstanding() > 0 {
            let outstanding = self.outstanding();
            tokio::task::yield_now().await;
            while let Some(joined) = self.calls.try_join_next_with_id() {
                self.handle_returned(joined);
            }
            if self.outstanding() == outstanding || Instant::now() >= until {
                return;
            }
        }
    }

    /// Moves the plugins' results into a sample and ends the round: later results go with the next sample. A module that
    /// the sample already has is not replaced.
    pub fn deliver(&mut self, sample: &mut Sample) {
        self.jobs.end_round();
        self.owners.update(&mut self.supervisors, &sample.modules);
        let Self { owners, supervisors, .. } = self;
        for (plugin, supervisor) in supervisors {
            supervisor.deliver(sample, |module| owners.is_owner(plugin, module));
        }
    }

    /// Appends the agent's metrics about plugins.
    pub fn append_metrics(&mut self, agent: &mut Values<'_>) {
        agent.push("compiled_total", self.compiler.started());
        agent.push("cache_hits_total", self.cache.hits());
        let rejected = self.supervisors.values().filter(|supervisor| supervisor.has_rejected_file()).count();
        agent.push("plugins_rejected", rejected as u64);
        self.faults.append(self.supervisors.values().map(|supervisor| supervisor.faults()), agent);
        let (mut allowance, mut omitted) = (UNESTABLISHED_METRICS, 0);
        for supervisor in self.supervisors.values_mut() {
            if supervisor.is_established() || allowance > 0 {
                allowance -= usize::from(!supervisor.is_established());
                supervisor.append_metrics(agent);
            } else {
                omitted += 1;
            }
        }
        agent.push("plugins_omitted", omitted);
    }

    fn handle_change(&mut self, change: Change) {
        match change {
            Change::Present(file) => self.handle_present(&file),
            Change::Unusable(file, why) => self.report_unusable(&file, &why),
            Change::Removed(file) => self.handle_removed(&file),
        }
    }

    /// Reports an entry of the directory that makes no plugin; `why` has the form `reason; remedy`. A plugin with a table
    /// has a line of its own: the operator expects it to run.
    fn report_unusable(&mut self, file: &str, why: &str) {
        let enabled = self.enabled_plugins(file);
        if enabled.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        let mut configured = enabled.unwrap_or_default();
        let (reason, remedy) = why.rsplit_once("; ").unwrap_or((why, "remove it"));
        let mut is_serving = false;
        for supervisor in self.supervisors.values_mut().filter(|supervisor| supervisor.file == file) {
            supervisor.status.set_unusable(reason);
            is_serving |= supervisor.is_serving();
        }
        let report = Report {
            plugin: None,
            file: self.scanner.path().join(file).display().to_string(),
            version: None,
            hash: None,
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
            consequence: if is_serving { "the previous version continues" } else { "it makes no plugin" },
        };
        configured.retain(|name| self.config.contains_key(name));
        for name in &configured {
            let consequence = if is_serving { report.consequence } else { "no version is running" };
            let plugin = Some(name.as_str().into());
            Report { plugin, consequence, ..report.clone() }.log(ReportKind::Rejected);
        }
        if configured.is_empty() {
            self.reports.push(ReportKind::Rejected, report, Instant::now());
        }
    }

    /// The enabled plugins that a file makes. Those that are not enabled are reported once, for as long as the file is there.
    fn enabled_plugins(&mut self, file: &str) -> Result<Vec<String>, String> {
        let names = plugins_of(file, &self.config)?;
        let (enabled, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_enabled(name, &self.config));
        if !others.is_empty() && self.reported_files.insert(file.to_owned()) {
            let file = self.scanner.path().join(file).display().to_string();
            for plugin in others {
                let remedy = format!("remove enabled = false from [plugins.{plugin}], and restart the agent");
                tracing::info!(plugin, file, remedy, "plugin not enabled");
            }
        }
        Ok(enabled)
    }

    /// Loads a file for every enabled plugin that it makes.
    fn handle_present(&mut self, file: &str) {
        let names = match self.enabled_plugins(file) {
            Ok(names) => names,
            Err(why) => return self.report_unusable(file, &why),
        };
        for name in names {
            if self.supervisors.len() >= self.capacity.plugins && !self.supervisors.contains_key(&name) {
                if self.surplus.is_empty() {
                    let Capacity { plugins, remedy } = self.capacity;
                    let remedy = format!("remove some, or {remedy}");
                    tracing::error!(plugin = name, loaded = plugins, remedy, "too many plugins");
                }
                self.surplus.insert(file.to_owned());
                continue;
            }
            let supervisor = self.supervisors.entry(name.clone()).or_insert_with(|| {
                let table = self.config.get(&name).cloned();
                self.owners.plugins_changed();
                let plugin = PluginContext::on_host(&name, table, &self.root, self.interval, &self.series);
                Box::new(Supervisor::new(plugin, file.to_owned()))
            });
            if supervisor.file_changed() {
                self.load(&name);
            }
        }
    }

    fn handle_removed(&mut self, file: &str) {
        let path = self.scanner.path().join(file);
        for (name, supervisor) in self.supervisors.extract_if(.., |_, supervisor| supervisor.file == file) {
            self.owners.plugins_changed();
            self.faults.keep(supervisor.faults());
            tracing::info!(plugin = name, file = %path.display(), "plugin removed");
            self.jobs.forget(&name);
        }
        self.reported_files.remove(file);
        // There is capacity for another plugin now.
        for surplus in std::mem::take(&mut self.surplus) {
            self.scanner.forget(&surplus);
            self.scanner.rescan();
        }
    }

    /// Starts to load a plugin's file, as its supervisor has asked for.
    fn load(&mut self, name: &str) {
        let Some(supervisor) = self.supervisors.get(name) else { return };
        let load = FileLoad {
            engine: self.engine.clone(),
            compiler: self.compiler.clone(),
            cache: self.cache.clone(),
            permits: Arc::clone(&self.permits),
            busy: self.reading.clone(),
            plugin: supervisor.plugin.clone(),
            path: self.scanner.path().join(&supervisor.file),
            known_hashes: supervisor.known_hashes(),
            clock: self.clock,
        };
        let task = self.loads.spawn(load.run());
        self.jobs.add_load(name, task);
    }

    fn handle_loaded(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match joined {
            Ok(loaded) => loaded,
            Err(error) => (error.id(), Outcome::Unreadable(io::Error::other(error))),
        };
        let Some((job, _)) = self.jobs.finish(id) else { return };
        let Some(supervisor) = self.supervisors.get_mut(&job.plugin) else { return };
        // A permission changes the file, which the scan sees. Any other error may pass unseen: read it again.
        if matches!(&outcome, Outcome::Unreadable(error) if error.kind() != io::ErrorKind::PermissionDenied) {
            self.scanner.forget(&supervisor.file);
        }
        let (again, report) = supervisor.handle_load(outcome, self.scanner.path(), Instant::now());
        let is_configured = supervisor.plugin.is_configured;
        match report {
            // The operator expects this plugin to run: no summary may hide it.
            Some((kind, report)) if is_configured => report.log(kind),
            Some((kind, report)) => self.reports.push(kind, report, Instant::now()),
            None => {}
        }
        if again {
            self.load(&job.plugin);
        }
    }

    /// Retries the files that were rejected for a cause that may have passed.
    fn reload(&mut self) {
        let now = Instant::now();
        for supervisor in self.supervisors.values_mut() {
            if supervisor.take_due_reload(now) {
                self.scanner.forget(&supervisor.file);
                self.scanner.rescan();
            }
        }
    }

    fn handle_returned(&mut self, joined: Result<(Id, CallResult), JoinError>) {
        let (id, returned) = match joined {
            Ok(returned) => returned,
            Err(error) => (error.id(), CallResult::panicked()),
        };
        let Some((job, is_awaited)) = self.jobs.finish(id) else { return };
        if let (Some(supervisor), JobKind::Call { generation, .. }) = (self.supervisors.get_mut(&job.plugin), job.kind)
        {
            supervisor.handle_result(returned, generation, !is_awaited, Instant::now());
        }
    }
}

/// Sleeps until a moment; for ever when there is none.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    /// Steps until the condition holds.
    async fn step_until(plugins: &mut Plugins, condition: impl Fn(&Plugins) -> bool) {
        let stepping = async {
            while !condition(plugins) {
                plugins.step().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), stepping).await.expect("the condition holds in the end");
    }

    #[tokio::test]
    async fn file_removed_while_read_leaves_no_plugin() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("gone.wasm");
        std::fs::write(&file, "anything").expect("written");
        let overrides = Overrides { plugins_directory: Some(directory.path().to_owned()), ..Overrides::default() };
        let config = Config::load(&overrides).expect("nothing is wrong");
        let mut plugins = Plugins::new(&config, Arc::default()).expect("this machine runs guests");
        // The load has not read anything yet: its task was not polled.
        step_until(&mut plugins, |plugins| !plugins.loads.is_empty()).await;
        std::fs::remove_file(&file).expect("removed");
        step_until(&mut plugins, |plugins| plugins.loads.is_empty()).await;
        assert!(plugins.supervisors.contains_key("gone") && plugins.jobs.is_empty());
        plugins.rescan();
        step_until(&mut plugins, |plugins| plugins.is_settled() && plugins.supervisors.is_empty()).await;
    }
}
