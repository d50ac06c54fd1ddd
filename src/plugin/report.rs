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

/// How many lines there may be in a [`WINDOW`]: files that arrive one by one must not flood the log either. Later reports
/// wait for its end and become one line.
const WINDOW_LINES: usize = 30;

/// The time that lines are counted over.
const WINDOW: Duration = Duration::from_secs(60);

/// One plugin, or file, that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// None when the file makes no plugin.
    pub(crate) plugin: Option<Arc<str>>,
    pub(crate) file: String,
    pub(crate) version: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) reason: String,
    pub(crate) remedy: String,
    pub(crate) consequence: &'static str,
}

/// The kind of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportKind {
    /// The file is wrong, or the configuration: something to fix.
    Rejected,
    /// A plugin without a table needs one.
    Idle,
    /// The host has nothing for the plugin to measure.
    Disabled,
}

impl Report {
    /// A report of a file that makes no plugin.
    pub(crate) fn unusable_file(file: &Path, reason: &str, remedy: &str, consequence: &'static str) -> Self {
        Self {
            plugin: None,
            file: file.display().to_string(),
            version: None,
            hash: None,
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
            consequence,
        }
    }

    pub(crate) fn log(&self, kind: ReportKind) {
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
struct PendingReports {
    kind: ReportKind,
    /// When the first was added.
    since: Option<Instant>,
    count: usize,
    /// The first [`SINGLE`].
    first: Vec<Report>,
    /// Whether all have the reason of the first.
    is_uniform: bool,
    /// When the window began, and how many lines there were in it.
    window: Option<(Instant, usize)>,
}

impl PendingReports {
    fn new(kind: ReportKind) -> Self {
        Self { kind, since: None, count: 0, first: Vec::new(), is_uniform: true, window: None }
    }

    pub(crate) fn push(&mut self, report: Report, now: Instant) {
        self.since.get_or_insert(now);
        self.count += 1;
        self.is_uniform &= self.first.first().is_none_or(|first| first.reason == report.reason);
        if self.first.len() < SINGLE {
            self.first.push(report);
        }
    }

    /// When they are logged at the latest. None when there are none.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let gathered = self.since? + if self.count <= SINGLE { GATHER } else { GATHER_MANY };
        Some(self.window_end().map_or(gathered, |end| end.max(gathered)))
    }

    /// The end of the window, when it has had its lines.
    pub(crate) fn window_end(&self) -> Option<Instant> {
        self.window.filter(|&(_, lines)| lines >= WINDOW_LINES).map(|(began, _)| began + WINDOW)
    }

    /// Logs them: each on its own line when they are few, otherwise all on one.
    pub(crate) fn flush(&mut self, now: Instant) {
        let is_late = self.window_end().zip(self.since).is_some_and(|(end, since)| since < end);
        let window = self.window.filter(|&(began, _)| now.saturating_duration_since(began) < WINDOW);
        let Self { kind, count, first, is_uniform, .. } = std::mem::replace(self, Self::new(self.kind));
        self.window = window;
        if count == 0 {
            return;
        }
        let is_single = count <= SINGLE && !is_late;
        let (began, lines) = window.unwrap_or((now, 0));
        self.window = Some((began, lines + if is_single { count } else { 1 }));
        if is_single {
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

/// The reports of all kinds. Those that still wait for others are logged when the agent ends.
#[derive(Debug)]
pub(crate) struct Reports([PendingReports; 3]);

impl Default for Reports {
    fn default() -> Self {
        Self([ReportKind::Rejected, ReportKind::Idle, ReportKind::Disabled].map(PendingReports::new))
    }
}

impl Reports {
    pub(crate) fn push(&mut self, kind: ReportKind, report: Report, now: Instant) {
        if let Some(pending) = self.0.iter_mut().find(|pending| pending.kind == kind) {
            pending.push(report, now);
        }
    }

    /// When the next are due. None when there are none.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.0.iter().filter_map(PendingReports::due_at).min()
    }

    /// Whether none wait for others of the same moment.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.iter().all(|pending| pending.since.is_none() || pending.window_end().is_some())
    }

    /// Logs the reports that are due.
    pub(crate) fn flush_due(&mut self, now: Instant) {
        self.flush(now, |pending| pending.due_at().is_some_and(|at| at <= now));
    }

    /// Logs all reports, but for those that wait for the end of their window.
    pub(crate) fn flush_complete(&mut self, now: Instant) {
        self.flush(now, |pending| pending.window_end().is_none_or(|end| end <= now));
    }

    fn flush(&mut self, now: Instant, is_due: impl Fn(&PendingReports) -> bool) {
        for pending in self.0.iter_mut().filter(|pending| is_due(pending)) {
            pending.flush(now);
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.flush(Instant::now(), |_| true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_reports_wait_longer_than_few() {
        let report = report("is empty");
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
        pending.flush(now);
        assert_eq!((pending.due_at(), pending.count), (None, 0));
    }

    #[test]
    fn reports_beyond_the_window_wait_for_its_end() {
        let mut now = Instant::now();
        let start = now;
        let mut pending = PendingReports::new(ReportKind::Rejected);
        let mut lines = 0;
        while pending.window_end().is_none() {
            pending.push(report("is empty"), now);
            pending.flush(now);
            lines += 1;
            now += Duration::from_secs(1);
        }
        assert_eq!((lines, pending.window_end()), (WINDOW_LINES, Some(start + WINDOW)));
        pending.push(report("is empty"), now);
        assert_eq!(pending.due_at(), Some(start + WINDOW));
        pending.flush(start + WINDOW);
        assert_eq!(pending.window_end(), None, "a new window has begun");
    }

    fn report(reason: &str) -> Report {
        Report::unusable_file(Path::new("a.wasm"), reason, "copy it again", "no version is running")
    }
}
