//! All plugins: the directory, the loads and the calls. The owner of [`Plugins`] calls it at ticks, passes on hints that the
//! directory changed, and lets it work by awaiting [`Plugins::step`]. Only this module and those below it know that plugins
//! are WebAssembly.
//!
//! A plugin serves from its last good version. A new file is loaded beside it and takes its place between two calls; one
//! that is rejected leaves it where it is.

mod directory;
mod scan;
mod blocking;
mod load;
mod supervisor;
mod report;
mod context;
mod capacity;
mod probe;
mod sealed;
mod compile;
mod cache;
mod engine;
mod instance;
mod limits;
mod fault;
mod backoff;
mod result;
mod bindings;
mod grants;
mod host;
mod recorder;
pub mod harness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub use self::fault::{Disabled, DisabledCause, Failure, Fault, FaultKind};

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet};

use self::blocking::BusyFiles;
use self::cache::Cache;
use self::capacity::Capacity;
use self::compile::Compiler;
use self::context::{PluginContext, plugins_of};
use self::directory::{Change, Directory};
use self::engine::Engine;
use self::load::{Load, Outcome};
use self::report::{PendingReports, Report, ReportKind};
use self::scan::{Scan, scan};
use self::supervisor::{CallResult, Supervisor};
use crate::clock::schedule::Tick;
use crate::config::{Config, PluginConfig};
use crate::sample::{Module, Sample};

/// How long plugins are called one after the other before the agent looks at what else there is: as long as a thousand
/// take that only read a file, and as a sample waits for its plugins at the least.
const INLINE_STRETCH: Duration = Duration::from_millis(20);

/// How many of them may not be over by then: each may be one that never returns, and has had a millisecond or two.
const MAX_UNFINISHED: usize = 5;

/// How many files are read side by side: each is in memory meanwhile, up to 32 MiB.
const CONCURRENT_LOADS: usize = 8;

/// How often the directory is scanned without a hint: notifications may be lost.
const RESCAN: Duration = Duration::from_secs(30);

/// How many plugins that never served and have no table get metrics of their own: a sample must stay small, whatever is
/// dropped into the directory.
const UNESTABLISHED_METRICS: usize = 100;

/// How many names a log line has.
const LOGGED_NAMES: usize = 5;

/// Compiles one plugin and ends: what the agent starts this program again for, so that a compiler's memory and what may
/// become of it never are the agent's own.
#[must_use]
pub fn compile() -> ExitCode {
    compile::run()
}

/// All plugins of the agent.
pub struct Plugins {
    /// The plugins directory; none where it was refused.
    path: Option<PathBuf>,
    root: PathBuf,
    config: BTreeMap<String, Arc<PluginConfig>>,
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    /// Bounds how many files are held in memory at a time.
    permits: Arc<Semaphore>,
    /// The zero of the guests' clock.
    clock: Instant,
    /// How many there may be.
    capacity: Capacity,

    directory: Directory,
    /// Whether the directory was ever read.
    has_listed: bool,
    /// Why the directory could not be read at the last attempt.
    directory_error: Option<String>,
    /// Whether that was because its file system does not respond.
    is_unresponsive: bool,
    scan_task: Option<JoinHandle<io::Result<Scan>>>,
    /// When a scan is due because of a hint, or because a change settles.
    scan_at: Option<Instant>,
    /// When a scan is due anyway.
    rescan_at: Instant,
    /// The entries that scans are examining.
    scanning: BusyFiles,
    /// The plugins whose files are being read.
    reading: BusyFiles,
    /// The entries that did not respond to the last scan.
    unresponsive: BTreeSet<String>,

    rejections: PendingReports,
    idle: PendingReports,
    disabled: PendingReports,

    supervisors: BTreeMap<String, Supervisor>,
    loads: JoinSet<Outcome>,
    calls: JoinSet<CallResult>,
    /// What those are about.
    jobs: HashMap<Id, Job>,
    /// How many ticks have called plugins.
    rounds: u64,
    /// The round whose results are outstanding, as long as its sample is open.
    open: Option<u64>,
    outstanding: usize,
    /// Files that were refused because there were too many plugins.
    surplus: BTreeSet<String>,
}

/// A load or a call that is under way.
struct Job {
    plugin: String,
    task: AbortHandle,
    /// What kind it is.
    kind: JobKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobKind {
    Load,
    /// A call of one of the plugin's versions, for one of the rounds.
    Call {
        generation: u64,
        round: u64,
    },
}

impl Job {
    fn is_of_round(&self, wanted: Option<u64>) -> bool {
        matches!(self.kind, JobKind::Call { round, .. } if Some(round) == wanted)
    }
}

impl Plugins {
    /// Sets up the host. The directory is looked at as soon as [`step`](Self::step) is outstanding.
    ///
    /// # Errors
    ///
    /// When this machine cannot run guests at all.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let engine = Engine::new().map_err(|error| anyhow!("failed to set up the WebAssembly engine: {error:#}"))?;
        let now = Instant::now();
        Ok(Self {
            path: config.plugins_directory.clone(),
            root: config.root.canonicalize().unwrap_or_else(|_| config.root.clone()),
            config: config.plugins.iter().map(|(name, plugin)| (name.clone(), Arc::new(plugin.clone()))).collect(),
            compiler: Compiler::new(),
            cache: Cache::new(config.cache.clone(), engine.clone()),
            engine,
            permits: Arc::new(Semaphore::new(CONCURRENT_LOADS)),
            clock: now,
            capacity: Capacity::on_host(),
            directory: Directory::default(),
            has_listed: false,
            directory_error: None,
            is_unresponsive: false,
            scan_task: None,
            scan_at: config.plugins_directory.is_some().then_some(now),
            rescan_at: now + RESCAN,
            scanning: BusyFiles::default(),
            reading: BusyFiles::default(),
            unresponsive: BTreeSet::new(),
            rejections: PendingReports::new(ReportKind::Rejected),
            idle: PendingReports::new(ReportKind::Idle),
            disabled: PendingReports::new(ReportKind::Disabled),
            supervisors: BTreeMap::new(),
            loads: JoinSet::new(),
            calls: JoinSet::new(),
            jobs: HashMap::new(),
            rounds: 0,
            open: None,
            outstanding: 0,
            surplus: BTreeSet::new(),
        })
    }

    /// Scans the directory as soon as possible.
    pub fn rescan(&mut self) {
        self.scan_at = self.path.is_some().then(Instant::now);
    }

    /// Whether the directory was scanned and everything in it was loaded or rejected, and reported.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.scan_at.is_none() && self.scan_task.is_none() && self.loads.is_empty() && self.reports_due_at().is_none()
    }

    /// How many results of the current round are still to come.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The plugins that the configuration has a table for and that serve no version, and the directory or its entries when
    /// they do not respond. A plugin that the host has nothing for is not missing.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let configured =
            self.config.keys().filter(|name| self.supervisors.get(*name).is_none_or(Supervisor::is_missing));
        let directory = self.directory_error.iter().filter(|_| !self.has_listed && self.is_unresponsive);
        configured.chain(&self.unresponsive).chain(directory).cloned().collect()
    }

    /// Does the next piece of work, as soon as there is one. Cancellation safe.
    pub async fn step(&mut self) {
        let is_scanning = self.scan_task.is_some() || self.path.is_none();
        let scan_at = self.scan_at.map_or(self.rescan_at, |at| at.min(self.rescan_at));
        let scan_at = (!is_scanning).then_some(scan_at);
        let reload_at = self.supervisors.values().filter_map(Supervisor::reload_at).min();
        let report_at = self.reports_due_at();
        tokio::select! {
            Some(joined) = self.calls.join_next_with_id() => {
                self.handle_returned(joined);
                while let Some(joined) = self.calls.try_join_next_with_id() {
                    self.handle_returned(joined);
                }
            }
            Some(joined) = self.loads.join_next_with_id() => {
                self.handle_loaded(joined);
                if self.loads.is_empty() {
                    self.flush_reports();
                }
            }
            scanned = scan_done(&mut self.scan_task) => self.handle_scan(scanned),
            () = sleep_until(scan_at) => self.start_scan(),
            () = sleep_until(reload_at) => self.reload(),
            () = sleep_until(report_at) => self.flush_reports(),
        }
    }

    fn start_scan(&mut self) {
        let Some(path) = self.path.clone() else { return };
        self.scan_at = None;
        self.rescan_at = Instant::now() + RESCAN;
        self.scan_task = Some(tokio::spawn(scan(path, self.scanning.clone())));
    }

    fn reports_due_at(&self) -> Option<Instant> {
        [&self.rejections, &self.idle, &self.disabled].into_iter().filter_map(PendingReports::due_at).min()
    }

    fn flush_reports(&mut self) {
        for pending in [&mut self.rejections, &mut self.idle, &mut self.disabled] {
            if pending.due_at().is_some() {
                pending.flush();
            }
        }
    }

    /// Calls the plugins that are due. Those that are still away on an earlier call lose this tick. What is not back at
    /// once goes on in a task, and so does everything when that has taken its time.
    pub fn call(&mut self, tick: Tick) {
        let until = Instant::now() + INLINE_STRETCH;
        self.rounds += 1;
        self.open = Some(self.rounds);
        let mut unfinished = 0;
        for (name, supervisor) in &mut self.supervisors {
            let Some(mut call) = supervisor.call(tick, self.clock) else { continue };
            let generation = supervisor.generation();
            // Most are back at once, and spare the price of a task. One that is not is polled again by its task.
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
                    let kind = JobKind::Call { generation, round: self.rounds };
                    self.jobs.insert(task.id(), Job { plugin: name.clone(), task, kind });
                    self.outstanding += 1;
                }
            }
        }
    }

    /// Takes in what has arrived while the caller was busy elsewhere: once, and again until a moment as long as that
    /// brings something.
    pub async fn catch_up(&mut self, until: Instant) {
        while self.outstanding > 0 {
            let outstanding = self.outstanding;
            tokio::task::yield_now().await;
            while let Some(joined) = self.calls.try_join_next_with_id() {
                self.handle_returned(joined);
            }
            if self.outstanding == outstanding || Instant::now() >= until {
                return;
            }
        }
    }

    /// Moves what the plugins have brought home into a sample, and stops waiting for the others: what they bring goes
    /// with the next sample. A module that the sample has already stays as it is.
    pub fn deliver(&mut self, sample: &mut Sample) {
        self.open = None;
        self.outstanding = 0;
        if self.supervisors.is_empty() {
            return;
        }
        let modules: usize = self.supervisors.values().map(|supervisor| supervisor.pending().len()).sum();
        let mut taken: HashSet<&str> = HashSet::with_capacity(sample.modules.len() + modules);
        taken.extend(sample.modules.iter().map(|module| &*module.name));
        let mut conflicts = HashSet::new();
        for (at, supervisor) in self.supervisors.values().enumerate() {
            for (place, module) in supervisor.pending().iter().enumerate() {
                if !taken.insert(&module.name) {
                    conflicts.insert((at, place));
                }
            }
            // Otherwise another's would come and go in its place, as one series of two sources.
            taken.extend(supervisor.reserved_modules.iter().map(|name| &**name));
        }
        sample.modules.reserve(modules);
        for (at, supervisor) in self.supervisors.values_mut().enumerate() {
            supervisor.deliver(sample, |place| conflicts.contains(&(at, place)));
        }
    }

    /// Appends the agent's metrics about plugins.
    pub fn append_metrics(&mut self, agent: &mut Module) {
        agent.push("compiled_total", self.compiler.started());
        agent.push("cache_hits_total", self.cache.hits());
        let rejected = self.supervisors.values().filter(|supervisor| supervisor.has_rejected_file()).count();
        agent.push("plugins_rejected", rejected as u64);
        let (mut left, mut omitted) = (UNESTABLISHED_METRICS, 0);
        for supervisor in self.supervisors.values_mut() {
            if supervisor.is_established() || left > 0 {
                left -= usize::from(!supervisor.is_established());
                supervisor.append_metrics(agent);
            } else {
                omitted += 1;
            }
        }
        agent.push("plugins_omitted", omitted);
    }

    fn handle_scan(&mut self, scanned: io::Result<Scan>) {
        self.scan_task = None;
        let (Some(path), Scan { listing, unresponsive }) = (
            self.path.clone(),
            match scanned {
                Ok(scan) => scan,
                Err(error) => return self.handle_scan_error(&error),
            },
        ) else {
            return;
        };
        if self.directory_error.take().is_some() {
            tracing::info!(directory = %path.display(), "plugins directory readable again");
        }
        self.report_unresponsive(&path, unresponsive);
        if !std::mem::replace(&mut self.has_listed, true) {
            for (name, plugin) in &self.config {
                let file = plugin.file.clone().unwrap_or_else(|| format!("{name}.wasm"));
                if !listing.contains_key(&file) && !self.unresponsive.contains(&file) {
                    let remedy = format!("copy it there, or remove [plugins.{name}]");
                    tracing::warn!(plugin = name, file = %path.join(file).display(), remedy, "plugin file missing");
                }
            }
        }
        for change in self.directory.observe(&listing, &self.unresponsive, Instant::now(), SystemTime::now()) {
            match change {
                Change::Present(file) => self.handle_present(&path, &file),
                Change::Unusable(file, why) => self.report_unusable(&path, &file, why),
                Change::Removed(file) => self.handle_removed(&path, &file),
            }
        }
        if let Some(at) = self.directory.settles_at() {
            self.scan_at = Some(self.scan_at.map_or(at, |earlier| earlier.min(at)));
        }
        if self.loads.is_empty() {
            self.flush_reports();
        }
    }

    /// Reports once for each reason that the directory cannot be read. The plugins go on with what was loaded.
    fn handle_scan_error(&mut self, error: &io::Error) {
        self.is_unresponsive = error.kind() == io::ErrorKind::TimedOut;
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "create it, or name another with --plugins",
            io::ErrorKind::TimedOut => "check its mount; it is scanned again every 30 s",
            _ => "allow the agent to read it, or name another with --plugins",
        };
        let reason = error.to_string();
        if self.directory_error.as_ref() != Some(&reason) {
            let directory = self.path.as_deref().unwrap_or(Path::new("")).display().to_string();
            tracing::warn!(directory, reason, remedy, "plugins directory not readable");
            self.directory_error = Some(reason);
        }
    }

    fn report_unresponsive(&mut self, path: &Path, unresponsive: BTreeSet<String>) {
        let directory = path.display().to_string();
        let names = |names: Vec<&String>| {
            let shown: Vec<&str> = names.iter().take(LOGGED_NAMES).map(|name| name.as_str()).collect();
            (names.len(), shown.join(", "))
        };
        let (count, files) = names(unresponsive.difference(&self.unresponsive).collect());
        if count > 0 {
            let remedy = "check the mount that the file or its link leads to; the others are loaded";
            tracing::warn!(directory, count, files, remedy, "plugin files do not respond");
        }
        let (count, files) = names(self.unresponsive.difference(&unresponsive).collect());
        if count > 0 {
            tracing::info!(directory, count, files, "plugin files respond again");
        }
        self.unresponsive = unresponsive;
    }

    /// Reports an entry of the directory that makes no plugin.
    fn report_unusable(&mut self, path: &Path, file: &str, why: String) {
        let (reason, remedy) = why.rsplit_once("; ").unwrap_or((&why, "remove it"));
        let report = Report {
            plugin: None,
            file: path.join(file).display().to_string(),
            version: None,
            hash: None,
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
            consequence: "it makes no plugin",
        };
        self.rejections.push(report, Instant::now());
    }

    /// Loads a file for every plugin that is made of it.
    fn handle_present(&mut self, path: &Path, file: &str) {
        let names = match plugins_of(file, &self.config) {
            Ok(names) => names,
            Err(why) => return self.report_unusable(path, file, why),
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
                Supervisor::new(PluginContext::on_host(&name, table, &self.root), file.to_owned())
            });
            if supervisor.file_changed() {
                self.load(&name);
            }
        }
    }

    fn handle_removed(&mut self, path: &Path, file: &str) {
        let path = path.join(file);
        for (name, _) in self.supervisors.extract_if(.., |_, supervisor| supervisor.file == file) {
            tracing::info!(plugin = name, file = %path.display(), "plugin removed");
            // Its loads and calls that are under way concern nobody any more, nor a plugin of the same name that may come.
            self.jobs.retain(|_, job| {
                let is_its_own = job.plugin == name;
                if is_its_own && job.kind == JobKind::Load {
                    job.task.abort();
                }
                self.outstanding -= usize::from(is_its_own && job.is_of_round(self.open));
                !is_its_own
            });
        }
        // There is capacity for another one now.
        for surplus in std::mem::take(&mut self.surplus) {
            self.directory.forget(&surplus);
            self.rescan();
        }
    }

    /// Begins to load a plugin's file; its supervisor has said that it wants that.
    fn load(&mut self, name: &str) {
        let (Some(supervisor), Some(path)) = (self.supervisors.get(name), &self.path) else { return };
        let load = Load {
            engine: self.engine.clone(),
            compiler: self.compiler.clone(),
            cache: self.cache.clone(),
            permits: Arc::clone(&self.permits),
            busy: self.reading.clone(),
            plugin: supervisor.plugin.clone(),
            path: path.join(&supervisor.file),
            known_hashes: supervisor.known_hashes(),
            clock: self.clock,
        };
        let task = self.loads.spawn(load.run());
        self.jobs.insert(task.id(), Job { plugin: name.to_owned(), task, kind: JobKind::Load });
    }

    fn handle_loaded(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match joined {
            Ok(loaded) => loaded,
            Err(error) => (error.id(), Outcome::Unreadable(io::Error::other(error))),
        };
        let Some(Job { plugin, .. }) = self.jobs.remove(&id) else { return };
        let Some(supervisor) = self.supervisors.get_mut(&plugin) else { return };
        // A file that may not be read changes when it is allowed; any other directory_error may end by itself.
        if matches!(&outcome, Outcome::Unreadable(error) if error.kind() != io::ErrorKind::PermissionDenied) {
            self.directory.forget(&supervisor.file);
        }
        let directory = self.path.as_deref().unwrap_or(Path::new(""));
        let (again, report) = supervisor.handle_load(outcome, directory, Instant::now());
        let is_configured = supervisor.plugin.is_configured;
        match report {
            // The operator expects this very plugin to run.
            Some((kind, report)) if is_configured => report.log(kind),
            Some((kind, report)) => {
                let pending = match kind {
                    ReportKind::Rejected => &mut self.rejections,
                    ReportKind::Idle => &mut self.idle,
                    ReportKind::Disabled => &mut self.disabled,
                };
                pending.push(report, Instant::now());
            }
            None => {}
        }
        if again {
            self.load(&plugin);
        }
    }

    /// Has another look at files that were rejected for something that may have passed.
    fn reload(&mut self) {
        let now = Instant::now();
        for supervisor in self.supervisors.values_mut() {
            if supervisor.take_due_reload(now) {
                self.directory.forget(&supervisor.file);
                self.scan_at = Some(now);
            }
        }
    }

    fn handle_returned(&mut self, joined: Result<(Id, CallResult), JoinError>) {
        let (id, returned) = match joined {
            Ok(returned) => returned,
            Err(error) => (error.id(), CallResult::panicked()),
        };
        // A call whose plugin is gone is not known any more.
        let Some(job) = self.jobs.remove(&id) else { return };
        let is_awaited = job.is_of_round(self.open);
        self.outstanding -= usize::from(is_awaited);
        if let (Some(supervisor), JobKind::Call { generation, .. }) = (self.supervisors.get_mut(&job.plugin), job.kind)
        {
            supervisor.handle_result(returned, generation, !is_awaited, Instant::now());
        }
    }
}

/// Waits for a scan; for ever when none is under way.
async fn scan_done(scan_task: &mut Option<JoinHandle<io::Result<Scan>>>) -> io::Result<Scan> {
    match scan_task {
        Some(scan_task) => scan_task.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked))),
        None => std::future::pending().await,
    }
}

/// Waits for a moment; for ever when there is none.
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

    /// Steps until something holds.
    async fn until(plugins: &mut Plugins, holds: impl Fn(&Plugins) -> bool) {
        let stepping = async {
            while !holds(plugins) {
                plugins.step().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), stepping).await.expect("it comes to hold");
    }

    #[tokio::test]
    async fn a_file_that_vanishes_while_it_is_read_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("gone.wasm");
        std::fs::write(&file, "anything").expect("written");
        let overrides = Overrides { plugins_directory: Some(directory.path().to_owned()), ..Overrides::default() };
        let config = Config::load(&overrides).expect("nothing is wrong");
        let mut plugins = Plugins::new(&config).expect("this machine runs guests");
        // The load is under way and has not read anything: its task was not polled yet.
        until(&mut plugins, |plugins| !plugins.loads.is_empty()).await;
        std::fs::remove_file(&file).expect("removed");
        until(&mut plugins, |plugins| plugins.loads.is_empty()).await;
        assert!(plugins.supervisors.contains_key("gone") && plugins.jobs.is_empty());
        plugins.rescan();
        until(&mut plugins, |plugins| plugins.is_settled() && plugins.supervisors.is_empty()).await;
    }
}
