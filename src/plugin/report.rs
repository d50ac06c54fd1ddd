//! Reports of plugins that do not run, for the log. Many at a time become one line: five thousand files that are not plugins
//! are one mistake.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many reports are logged one by one, and how many files a summary names.
const SINGLE: usize = 5;

/// How long a few reports wait for more of them …
const GATHER: Duration = Duration::from_millis(500);

/// … and how long many do, while files are still being loaded.
const GATHER_MANY: Duration = Duration::from_secs(10);

/// One plugin, or file, that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// None when the file makes no plugin.
    pub(super) plugin: Option<Arc<str>>,
    pub(super) file: String,
    pub(super) version: Option<String>,
    pub(super) hash: Option<String>,
    pub(super) reason: String,
    pub(super) remedy: String,
    pub(super) consequence: &'static str,
}

/// The kind of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportKind {
    /// The file is wrong, or the configuration: something to fix.
    Rejected,
    /// A plugin without a table needs one.
    Idle,
    /// The host has nothing for the plugin to measure.
    Disabled,
}

impl Report {
    pub(super) fn log(&self, kind: ReportKind) {
        let Self { plugin, file, version, hash, reason, remedy, consequence } = self;
        let (plugin, version, hash) = (plugin.as_deref(), version.as_deref(), hash.as_deref());
        match kind {
            ReportKind::Rejected => {
                tracing::warn!(plugin, file, version, hash, reason, remedy, consequence, "plugin rejected");
            }
            ReportKind::Idle => tracing::info!(plugin, file, version, hash, reason, remedy, "plugin idle"),
            ReportKind::Disabled => tracing::info!(plugin, file, version, hash, reason, remedy, "plugin disabled"),
        }
    }
}

/// The reports of one kind that have not been logged yet.
#[derive(Debug)]
pub(super) struct PendingReports {
    kind: ReportKind,
    /// When the first was added.
    since: Option<Instant>,
    count: usize,
    /// The first [`SINGLE`].
    first: Vec<Report>,
    /// Whether all have the reason of the first.
    is_uniform: bool,
}

impl PendingReports {
    pub(super) fn new(kind: ReportKind) -> Self {
        Self { kind, since: None, count: 0, first: Vec::new(), is_uniform: true }
    }

    pub(super) fn push(&mut self, report: Report, now: Instant) {
        self.since.get_or_insert(now);
        self.count += 1;
        self.is_uniform &= self.first.first().is_none_or(|first| first.reason == report.reason);
        if self.first.len() < SINGLE {
            self.first.push(report);
        }
    }

    /// When they are logged at the latest. None when there are none.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + if self.count <= SINGLE { GATHER } else { GATHER_MANY })
    }

    /// Logs them: each on its own line when they are few, otherwise all on one.
    pub(super) fn flush(&mut self) {
        let Self { kind, count, first, is_uniform, .. } = std::mem::replace(self, Self::new(self.kind));
        if count <= SINGLE {
            for report in &first {
                report.log(kind);
            }
            return;
        }
        let files: Vec<&str> = first.iter().map(|report| &*report.file).collect();
        let (files, reason) = (files.join(", "), &first[0].reason);
        let reason = if is_uniform { reason.clone() } else { format!("various; the first {reason}") };
        let directory = Path::new(&first[0].file).parent().unwrap_or(Path::new(".")).display();
        let remedy = format!("gauged plugin list {directory} shows each");
        match kind {
            ReportKind::Rejected => tracing::warn!(count, files, reason, remedy, "plugins rejected"),
            ReportKind::Idle => tracing::info!(count, files, reason, remedy, "plugins idle"),
            ReportKind::Disabled => tracing::info!(count, files, reason, remedy, "plugins disabled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_reports_wait_longer_than_few() {
        let report = Report {
            plugin: None,
            file: "a.wasm".to_owned(),
            version: None,
            hash: None,
            reason: "is empty".to_owned(),
            remedy: "copy it again".to_owned(),
            consequence: "no version is running",
        };
        let now = Instant::now();
        let mut pending = PendingReports::new(ReportKind::Rejected);
        assert_eq!(pending.due_at(), None);
        for _ in 0..SINGLE {
            pending.push(report.clone(), now);
        }
        assert_eq!(pending.due_at(), Some(now + GATHER));
        for _ in 0..5000 {
            pending.push(report.clone(), now);
        }
        assert!(pending.is_uniform);
        pending.push(Report { reason: "is truncated".to_owned(), ..report }, now);
        assert!(!pending.is_uniform, "a summary must not show one reason for all");
        assert_eq!((pending.due_at(), pending.count, pending.first.len()), (Some(now + GATHER_MANY), 5006, SINGLE));
        pending.flush();
        assert_eq!((pending.due_at(), pending.count), (None, 0));
    }
}
