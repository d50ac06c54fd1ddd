//! The plugins directory over time: scans it on hints and every 30 s, returns the changes that have settled, and reports
//! when the directory or its entries cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;

use crate::config::PluginConfig;
use crate::plugin::context::is_unneeded;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::source::directory::{Change, Directory};
use crate::plugin::source::scan::{BusyEntries, Scan, scan};

/// How often the directory is scanned without a hint: notifications may be lost.
const RESCAN: Duration = Duration::from_secs(30);

/// How many file names a log line has.
const LOGGED_NAMES: usize = 5;

/// Scans the plugins directory.
pub(crate) struct Scanner {
    pool: OffloadPool,
    /// None where the directory was refused: then nothing is scanned.
    path: Option<PathBuf>,
    /// Whether others must not be able to write to the directory, which has not been examined yet.
    is_unexamined: bool,
    directory: Directory,
    /// Whether a scan has ever succeeded.
    has_listed: bool,
    /// The error of the last scan.
    error: Option<ScanError>,
    task: Option<JoinHandle<io::Result<Scan>>>,
    /// When a scan is due because of a hint, or because a change settles.
    scan_at: Option<Instant>,
    /// When a scan is due at the latest.
    rescan_at: Instant,
    /// The directory and the entries that threads are working on.
    busy: BusyEntries,
    /// The entries that did not respond to the last scan.
    unresponsive: BTreeSet<String>,
}

struct ScanError {
    reason: String,
    /// Whether nothing is known about the directory: its file system does not respond, or no thread was free for the scan.
    is_unanswered: bool,
}

impl Scanner {
    pub(crate) fn new(path: Option<PathBuf>, is_unexamined: bool, pool: OffloadPool) -> Self {
        let now = Instant::now();
        Self {
            pool,
            scan_at: path.is_some().then_some(now),
            path,
            is_unexamined,
            directory: Directory::default(),
            has_listed: false,
            error: None,
            task: None,
            rescan_at: now + RESCAN,
            busy: BusyEntries::default(),
            unresponsive: BTreeSet::new(),
        }
    }

    /// The directory; empty where there is none.
    pub(crate) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Scans as soon as possible.
    pub(crate) fn rescan(&mut self) {
        self.scan_at = self.path.is_some().then(Instant::now);
    }

    /// The names of the files that can be loaded.
    pub(crate) fn files(&self) -> impl Iterator<Item = &String> {
        self.directory.files()
    }

    /// Whether no scan is due or under way, but for the periodic one.
    pub(crate) fn is_settled(&self) -> bool {
        self.scan_at.is_none() && self.task.is_none()
    }

    /// When the next scan is due. None during a scan.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let due_at = self.scan_at.map_or(self.rescan_at, |at| at.min(self.rescan_at));
        (self.task.is_none() && self.path.is_some()).then_some(due_at)
    }

    pub(crate) fn start(&mut self) {
        let Some(path) = self.path.clone() else { return };
        self.scan_at = None;
        self.rescan_at = Instant::now() + RESCAN;
        self.task = Some(tokio::spawn(scan(self.pool.clone(), path, self.busy.clone(), self.is_unexamined)));
    }

    /// Waits for the scan that is under way; for ever when there is none. Cancellation safe.
    pub(crate) async fn scanned(&mut self) -> io::Result<Scan> {
        match &mut self.task {
            Some(task) => task.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked))),
            None => std::future::pending().await,
        }
    }

    /// Ends a scan. Returns the changes that have settled.
    pub(crate) fn finish(
        &mut self,
        scanned: io::Result<Scan>,
        config: &BTreeMap<String, Arc<PluginConfig>>,
    ) -> Vec<Change> {
        self.task = None;
        let Scan { listing, mut unresponsive } = match scanned {
            Ok(scan) => scan,
            Err(error) => {
                self.report_error(&error);
                return Vec::new();
            }
        };
        self.is_unexamined = false;
        if self.error.take().is_some() {
            tracing::info!(directory = %self.path().display(), "plugins directory readable again");
        }
        unresponsive.retain(|file| !is_unneeded(file, config));
        self.report_unresponsive(unresponsive);
        if !std::mem::replace(&mut self.has_listed, true) {
            self.report_missing_files(config, |file| listing.contains_key(file));
        }
        let changes = self.directory.observe(&listing, &self.unresponsive, Instant::now(), SystemTime::now());
        if let Some(at) = self.directory.settles_at() {
            self.scan_at = Some(self.scan_at.map_or(at, |earlier| earlier.min(at)));
        }
        changes
    }

    /// The entries that do not respond, or the error of the directory itself where it was never scanned.
    pub(crate) fn unresponsive(&self) -> impl Iterator<Item = &String> {
        let error = self.error.iter().filter(|error| error.is_unanswered && !self.has_listed);
        self.unresponsive.iter().chain(error.map(|error| &error.reason))
    }

    /// Reports once for each reason that the directory cannot be read. The plugins go on with what was loaded.
    fn report_error(&mut self, error: &io::Error) {
        let is_unanswered = matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
        let reason = error.to_string();
        if self.error.as_ref().is_some_and(|known| known.reason == reason) {
            return;
        }
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "create it, or name another with --plugins",
            io::ErrorKind::TimedOut => "check its mount; it is scanned again every 30 s",
            io::ErrorKind::WouldBlock => "leave the agent more threads; it is scanned again every 30 s",
            io::ErrorKind::InvalidData => {
                "name it with --plugins, or take the write permission of others away and give it to the agent's user"
            }
            io::ErrorKind::NotADirectory => "replace it by a directory, or name another with --plugins",
            _ => "allow the agent to read it, or name another with --plugins",
        };
        let directory = self.path().display().to_string();
        tracing::warn!(directory, reason, remedy, "plugins directory not readable");
        self.error = Some(ScanError { reason, is_unanswered });
    }

    fn report_unresponsive(&mut self, unresponsive: BTreeSet<String>) {
        let directory = self.path().display().to_string();
        let summary = |names: Vec<&String>| {
            let shown: Vec<&str> = names.iter().take(LOGGED_NAMES).map(|name| name.as_str()).collect();
            (names.len(), shown.join(", "))
        };
        let (count, files) = summary(unresponsive.difference(&self.unresponsive).collect());
        if count > 0 {
            let remedy = "check the mount that the file or its link leads to; the others are loaded";
            tracing::warn!(directory, count, files, remedy, "plugin files do not respond");
        }
        let (count, files) = summary(self.unresponsive.difference(&unresponsive).collect());
        if count > 0 {
            tracing::info!(directory, count, files, "plugin files respond again");
        }
        self.unresponsive = unresponsive;
    }

    /// Reports the enabled plugins of a new configuration whose file is missing, but for those with the same table before.
    pub(crate) fn report_newly_missing_files(
        &self,
        old: &BTreeMap<String, Arc<PluginConfig>>,
        new: &BTreeMap<String, Arc<PluginConfig>>,
    ) {
        if self.has_listed {
            let changed = new.iter().filter(|(name, table)| old.get(*name) != Some(table));
            let changed = changed.map(|(name, table)| (name.clone(), Arc::clone(table))).collect();
            self.report_missing_files(&changed, |file| self.directory.has_entry(file));
        }
    }

    /// Reports the enabled plugins of the configuration whose file is missing.
    fn report_missing_files(&self, config: &BTreeMap<String, Arc<PluginConfig>>, has_entry: impl Fn(&String) -> bool) {
        for (name, plugin) in config.iter().filter(|(_, plugin)| plugin.enabled) {
            let file = plugin.file.clone().unwrap_or_else(|| format!("{name}.wasm"));
            if !has_entry(&file) && !self.unresponsive.contains(&file) {
                let file = self.path().join(file).display().to_string();
                let remedy = format!("copy it there, or remove [plugins.{name}]");
                tracing::warn!(plugin = name, file, remedy, "plugin file missing");
            }
        }
    }
}
