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
use crate::plugin::shortage::{SHORTAGE_PAUSE, Shortage, ShortageError, explain};
use crate::plugin::source::directory::{Change, Directory};
use crate::plugin::source::scan::{BusyEntries, Scan, scan};

/// How often the directory is scanned without a hint: notifications may be lost.
const RESCAN: Duration = Duration::from_secs(30);

/// How many file names a log line has.
const LOGGED_NAMES: usize = 5;

/// The end of a remedy for a shortage: [`SHORTAGE_PAUSE`].
const RETRIED: &str = "it is scanned again every second";

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
    /// The entries that the last scan could not examine for a shortage of the host.
    unexamined: BTreeSet<String>,
    /// Whether anything else is known about the directory than before, beside the changes of its entries.
    has_news: bool,
}

struct ScanError {
    reason: String,
    remedy: String,
    /// Whether nothing is known about the directory: its file system does not respond, or the host was short of something.
    is_unanswered: bool,
    is_shortage: bool,
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
            unexamined: BTreeSet::new(),
            has_news: false,
        }
    }

    /// The directory; none where it was refused.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reason and remedy of the error of the last scan.
    pub(crate) fn problem(&self) -> Option<(&str, &str)> {
        self.error.as_ref().map(|error| (&*error.reason, &*error.remedy))
    }

    /// Whether the directory was listed and has no entry of this name, as far as its entries respond.
    pub(crate) fn is_missing(&self, file: &str) -> bool {
        let is_unknown = self.unresponsive.contains(file) || self.unexamined.contains(file);
        self.has_listed && !self.directory.has_entry(file) && !is_unknown
    }

    /// Whether anything else is known about the directory since the last call, beside the changes of its entries.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
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
        now: Instant,
    ) -> Vec<Change> {
        self.task = None;
        let Scan { listing, mut unresponsive, mut unexamined } = match scanned {
            Ok(scan) => scan,
            Err(error) => {
                self.report_error(&error, now);
                return Vec::new();
            }
        };
        self.is_unexamined = false;
        if self.error.take().is_some() {
            self.has_news = true;
            tracing::info!(directory = %self.path().display(), "plugins directory readable again");
        }
        unresponsive.retain(|file| !is_unneeded(file, config));
        self.report_unresponsive(unresponsive);
        unexamined.retain(|file, _| !is_unneeded(file, config));
        self.report_unexamined(&unexamined, now);
        if !std::mem::replace(&mut self.has_listed, true) {
            self.has_news = true;
            self.report_missing_files(config, |file| listing.contains_key(file));
        }
        let unknown = self.unresponsive.union(&self.unexamined).cloned().collect();
        let changes = self.directory.observe(&listing, &unknown, now, SystemTime::now());
        if let Some(at) = self.directory.settles_at() {
            self.scan_at = Some(self.scan_at.map_or(at, |earlier| earlier.min(at)));
        }
        changes
    }

    /// The entries about which nothing is known, or the error of the directory itself where it was never scanned.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &String> {
        let error = self.error.iter().filter(|error| error.is_unanswered && !self.has_listed);
        self.unresponsive.iter().chain(&self.unexamined).chain(error.map(|error| &error.reason))
    }

    /// Reports once for each reason that the directory cannot be read, and one of several shortages in a row. The plugins go on
    /// with what was loaded.
    fn report_error(&mut self, error: &io::Error, now: Instant) {
        let is_shortage = Shortage::classify(error).is_some();
        if is_shortage {
            self.rescan_at = now + SHORTAGE_PAUSE;
        }
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "create it, or name another with --plugins",
            io::ErrorKind::TimedOut => "check its mount; it is scanned again every 30 s",
            io::ErrorKind::InvalidData => {
                "name it with --plugins, or take the write permission of others away and give it to the agent's user"
            }
            io::ErrorKind::NotADirectory => "replace it by a directory, or name another with --plugins",
            _ => "allow the agent to read it, or name another with --plugins",
        };
        let (reason, remedy) = explain(error, remedy);
        if self.error.as_ref().is_some_and(|known| known.reason == reason || (known.is_shortage && is_shortage)) {
            return;
        }
        let remedy = if is_shortage { format!("{remedy}; {RETRIED}") } else { remedy.to_owned() };
        let directory = self.path().display().to_string();
        tracing::warn!(directory, reason, remedy, "plugins directory not readable");
        self.has_news = true;
        let is_unanswered = is_shortage || error.kind() == io::ErrorKind::TimedOut;
        self.error = Some(ScanError { reason, remedy, is_unanswered, is_shortage });
    }

    fn report_unexamined(&mut self, unexamined: &BTreeMap<String, ShortageError>, now: Instant) {
        if !unexamined.is_empty() {
            self.rescan_at = now + SHORTAGE_PAUSE;
        }
        let names: BTreeSet<String> = unexamined.keys().cloned().collect();
        let directory = self.path().display().to_string();
        let (count, files) = summary(names.difference(&self.unexamined));
        if let (1.., Some(ShortageError { shortage, error })) = (count, unexamined.values().next()) {
            let (reason, remedy) = explain(error, shortage.remedy());
            let remedy = format!("{remedy}; {RETRIED}");
            tracing::warn!(directory, count, files, reason, remedy, "plugin files not examined");
        }
        let (count, files) = summary(self.unexamined.difference(&names));
        if count > 0 {
            tracing::info!(directory, count, files, "plugin files examined again");
        }
        self.has_news |= self.unexamined != names;
        self.unexamined = names;
    }

    fn report_unresponsive(&mut self, unresponsive: BTreeSet<String>) {
        let directory = self.path().display().to_string();
        let (count, files) = summary(unresponsive.difference(&self.unresponsive));
        if count > 0 {
            let remedy = "check the mount that the file or its link leads to; the others are loaded";
            tracing::warn!(directory, count, files, remedy, "plugin files do not respond");
        }
        let (count, files) = summary(self.unresponsive.difference(&unresponsive));
        if count > 0 {
            tracing::info!(directory, count, files, "plugin files respond again");
        }
        self.has_news |= self.unresponsive != unresponsive;
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
            if !has_entry(&file) && !self.unresponsive.contains(&file) && !self.unexamined.contains(&file) {
                let file = self.path().join(file).display().to_string();
                let remedy = format!("copy it there, or remove [plugins.{name}]");
                tracing::warn!(plugin = name, file, remedy, "plugin file missing");
            }
        }
    }
}

/// The number of these files, and the names of the first.
fn summary<'a>(names: impl Iterator<Item = &'a String>) -> (usize, String) {
    let names: Vec<&str> = names.map(String::as_str).collect();
    (names.len(), names[..names.len().min(LOGGED_NAMES)].join(", "))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn scanner() -> Scanner {
        let pool = OffloadPool::start().expect("threads");
        let mut scanner = Scanner::new(Some(PathBuf::from("plugins")), false, pool);
        scanner.scan_at = None;
        scanner
    }

    #[test]
    fn scan_is_repeated_soon_after_a_shortage() {
        let (config, now) = (BTreeMap::new(), Instant::now());
        let due_after = |scanned| {
            let mut scanner = scanner();
            let latest = scanner.rescan_at;
            assert_eq!(scanner.finish(scanned, &config, now), []);
            assert!(scanner.is_settled(), "a single sample does not wait for it");
            (scanner.due_at().filter(|&at| at != latest), scanner.unanswered().count())
        };
        let soon = Some(now + SHORTAGE_PAUSE);
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert_eq!(due_after(Err(errno.into())), (soon, 1), "{errno}");
        }
        assert_eq!(due_after(Err(io::ErrorKind::WouldBlock.into())), (soon, 1), "no thread");
        let error = ShortageError { shortage: Shortage::Memory, error: Errno::NOMEM.into() };
        let unexamined = BTreeMap::from([("a.wasm".to_owned(), error)]);
        assert_eq!(due_after(Ok(Scan { unexamined, ..Scan::default() })), (soon, 1));
        for errno in [Errno::ACCESS, Errno::IO, Errno::NOENT] {
            assert_eq!(due_after(Err(errno.into())), (None, 0), "{errno}");
        }
        assert_eq!(due_after(Ok(Scan::default())), (None, 0));
    }

    #[test]
    fn shortages_in_a_row_are_one_error() {
        let (config, now, mut scanner) = (BTreeMap::new(), Instant::now(), scanner());
        let mut reason_after = |errno: Errno| {
            scanner.finish(Err(errno.into()), &config, now);
            scanner.error.as_ref().map(|error| error.reason.clone())
        };
        let first = reason_after(Errno::MFILE);
        assert_eq!(reason_after(Errno::NOMEM), first, "only the first is reported");
        assert_ne!(reason_after(Errno::ACCESS), first);
        assert_eq!(reason_after(Errno::MFILE), first, "it is news after another error");
    }
}
