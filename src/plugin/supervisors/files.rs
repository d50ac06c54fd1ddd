//! The files of the plugins directory, and the decisions about them that need no plugin: which plugins a file makes, which files
//! wait for capacity, and what is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use crate::clock::sleep::sleep_until;
use crate::config::Config;
use crate::plugin::capacity::Capacity;
use crate::plugin::context::{is_enabled, plugins_of};
use crate::plugin::difference::{Difference, Tables, difference, tables};
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::report::{Report, ReportKind, Reports};
use crate::plugin::source::directory::Change;
use crate::plugin::source::scanner::Scanner;

/// The files of the plugins directory.
pub(super) struct Files {
    pub(super) scanner: Scanner,
    pub(super) tables: Tables,
    pub(super) capacity: Capacity,
    /// The files that were refused because there were too many plugins.
    pub(super) surplus: BTreeSet<String>,
    /// The files whose plugins were reported as not enabled.
    reported: BTreeSet<String>,
    /// The files that cannot be loaded, each with reason and remedy. As many as the directory has.
    unusable: BTreeMap<String, (String, String)>,
    /// Whether the status of the agent shows anything else than before.
    has_news: bool,
    pub(super) reports: Reports,
}

impl Files {
    pub(super) fn new(config: &Config, pool: OffloadPool) -> Self {
        Self {
            scanner: Scanner::new(config.plugins_directory.clone(), config.is_unexamined, pool),
            tables: tables(config),
            capacity: Capacity::on_host(),
            surplus: BTreeSet::new(),
            reported: BTreeSet::new(),
            unusable: BTreeMap::new(),
            has_news: true,
            reports: Reports::default(),
        }
    }

    /// Does the next piece of work as soon as there is one: a scan or a report. Returns the changes that have settled.
    /// Cancellation safe.
    pub(super) async fn step(&mut self) -> Vec<Change> {
        let (scan_at, report_at) = (self.scanner.due_at(), self.reports.due_at());
        tokio::select! {
            scanned = self.scanner.scanned() => {
                let changes = self.scanner.finish(scanned, &self.tables, Instant::now());
                self.has_news |= self.scanner.take_news() || !changes.is_empty();
                return changes;
            }
            () = sleep_until(scan_at) => self.scanner.start(),
            () = sleep_until(report_at) => self.reports.flush_due(Instant::now()),
        }
        Vec::new()
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.scanner.path().join(file)
    }

    /// The files that cannot be loaded, each with reason and remedy.
    pub(super) fn unusable(&self) -> &BTreeMap<String, (String, String)> {
        &self.unusable
    }

    /// Whether the status shows anything else since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Whether it would.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// The plugins to be loaded from a file; none when it is unusable, which is reported.
    pub(super) fn loadable_plugins(&mut self, file: &str) -> Vec<String> {
        self.unusable.remove(file);
        self.enabled_plugins(file).unwrap_or_else(|why| {
            self.report_unusable(file, &why, false);
            Vec::new()
        })
    }

    /// The enabled plugins that a file makes. Those that are not enabled are reported once, for as long as the file is there.
    fn enabled_plugins(&mut self, file: &str) -> Result<Vec<String>, String> {
        let names = plugins_of(file, &self.tables)?;
        let (enabled, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_enabled(name, &self.tables));
        if !others.is_empty() && self.reported.insert(file.to_owned()) {
            let file = self.path(file).display().to_string();
            for plugin in others {
                let remedy = format!("remove enabled = false from [plugins.{plugin}], and reload the agent");
                tracing::info!(plugin, file, remedy, "plugin not enabled");
            }
        }
        Ok(enabled)
    }

    /// Reports an entry of the directory that makes no plugin; `why` has the form `reason; remedy`. `is_serving` says that an
    /// earlier content serves.
    pub(super) fn report_unusable(&mut self, file: &str, why: &str, is_serving: bool) {
        self.surplus.remove(file);
        let plugins = match self.enabled_plugins(file) {
            Ok(enabled) if enabled.iter().any(|name| self.tables.contains_key(name)) => {
                enabled.into_iter().map(|name| Some(name.into())).collect()
            }
            Ok(enabled) if enabled.is_empty() => {
                self.unusable.remove(file);
                return;
            }
            _ => vec![None],
        };
        let (reason, remedy) = why.rsplit_once("; ").unwrap_or((why, "remove it"));
        self.unusable.insert(file.to_owned(), (reason.to_owned(), remedy.to_owned()));
        self.has_news = true;
        for plugin in plugins {
            let consequence = match &plugin {
                _ if is_serving => "the previous version continues",
                Some(_) => "no version is running",
                None => "it makes no plugin",
            };
            let report = Report::unusable_file(&self.path(file), reason, remedy, consequence);
            self.report(ReportKind::Rejected, Report { plugin, ..report });
        }
    }

    /// Reports a plugin that does not run. One with a table has a line of its own, which no summary hides: the operator
    /// expects it to run.
    pub(super) fn report(&mut self, kind: ReportKind, report: Report) {
        match &report.plugin {
            Some(plugin) if self.tables.contains_key(&**plugin) => report.log(kind),
            _ => self.reports.push(kind, report, Instant::now()),
        }
    }

    /// Whether there is capacity for one more plugin than these. If not, its file waits for that.
    pub(super) fn admits(&mut self, plugins: usize, name: &str, file: &str) -> bool {
        let is_admitted = plugins < self.capacity.plugins;
        if !is_admitted {
            self.has_news = true;
            if self.surplus.is_empty() {
                self.capacity.log_exceeded(name);
            }
            self.surplus.insert(file.to_owned());
        }
        is_admitted
    }

    /// Takes the files that were refused, if there is capacity for more plugins than these.
    pub(super) fn take_surplus(&mut self, plugins: usize) -> BTreeSet<String> {
        if plugins < self.capacity.plugins { std::mem::take(&mut self.surplus) } else { BTreeSet::new() }
    }

    /// Forgets a file that was removed.
    pub(super) fn forget(&mut self, file: &str) {
        self.reported.remove(file);
        self.surplus.remove(file);
        self.unusable.remove(file);
        self.has_news = true;
    }

    /// The difference that a new configuration would make.
    pub(super) fn difference(&self, tables: &Tables, present: &BTreeMap<String, String>) -> Difference {
        difference(present, self.scanner.files(), &self.tables, tables)
    }

    /// Follows a new configuration. `present` are the plugins that there are, each with its file.
    pub(super) fn reconfigure(&mut self, config: &Config, present: &BTreeMap<String, String>) -> Difference {
        let old = std::mem::replace(&mut self.tables, tables(config));
        self.has_news = true;
        let difference = difference(present, self.scanner.files(), &old, &self.tables);
        self.reported.retain(|file| !difference.files.contains(file));
        self.scanner.report_newly_missing_files(&old, &self.tables);
        difference
    }
}
