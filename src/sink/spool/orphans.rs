//! Spools whose sink is not configured any more, or has another kind now. They stay for as long as their requests are kept, since the
//! sink may come back, and are then removed. They are named once, and what is removed is counted.
//!
//! A thread `state` does that, since the disk may hang. It also finds out how the last run has ended, and ends when there is no such
//! spool.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use super::aside::kept_until;
use super::counts::Counts;
use super::directory;
use super::segment;
use super::storage::Spool;
use crate::clock::schedule::wall_clock;
use crate::sink::error::SinkError;
use crate::state_directory::StateDirectory;
use crate::thread;

/// How often it is looked whether one is to be removed.
const CHECK: Duration = Duration::from_secs(60 * 60);

/// How soon it is looked again while a sink is ending, which may leave its spool.
const CHECK_ENDING: Duration = Duration::from_secs(1);

/// For how long files are kept that do not say it: the default of sinks.
const DEFAULT_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The last second that a log line can show, of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// How many are named in a line of the log.
const MAX_NAMED: usize = 20;

/// The spools without a sink, as the tick thread has them.
#[derive(Debug)]
pub(crate) struct Orphans {
    state: StateDirectory,
    losses: Arc<OrphanLosses>,
    /// Without its end of the channel, the thread ends.
    thread: Option<SyncSender<()>>,
}

/// The counts of requests that were removed with them.
#[derive(Debug, Default)]
pub(crate) struct OrphanLosses {
    requests: AtomicU64,
    samples: AtomicU64,
    points: AtomicU64,
}

/// A spool without a sink.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    /// The name of its directory.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Until when it is kept, since the Unix epoch.
    pub(crate) until: Duration,
}

impl OrphanLosses {
    /// The counts up to now.
    pub(crate) fn counts(&self) -> Counts {
        let [requests, samples, points] =
            [&self.requests, &self.samples, &self.points].map(|count| count.load(Ordering::Relaxed));
        Counts { requests, samples, points }
    }

    fn add(&self, counts: Counts) {
        let Counts { requests, samples, points } = counts;
        for (count, more) in [(&self.requests, requests), (&self.samples, samples), (&self.points, points)] {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }
}

impl Orphans {
    pub(crate) fn new(state: StateDirectory) -> Self {
        Self { state, losses: Arc::default(), thread: None }
    }

    pub(crate) fn losses(&self) -> &Arc<OrphanLosses> {
        &self.losses
    }

    /// Looks for spools besides those with these names, at the start and after each reload. Does not wait for that.
    ///
    /// # Errors
    ///
    /// When the host has no more threads. Another attempt may succeed.
    pub(crate) fn follow(&mut self, configured: BTreeSet<String>) -> io::Result<()> {
        let (sender, end) = sync_channel(0);
        let (state, losses) = (self.state.clone(), Arc::clone(&self.losses));
        thread::start("state", move || watch(&state, &configured, &losses, &end))?;
        self.thread = Some(sender);
        Ok(())
    }
}

fn watch(state: &StateDirectory, configured: &BTreeSet<String>, losses: &OrphanLosses, end: &Receiver<()>) {
    state.examine();
    let mut reported = BTreeSet::new();
    loop {
        let swept = state.with_spools(|spools, open| {
            let orphans = find(spools, configured, open);
            let new: Vec<&Orphan> = orphans.iter().filter(|orphan| reported.insert(orphan.name.clone())).collect();
            report(&new);
            let is_ending = open.iter().any(|name| !configured.contains(name));
            (sweep(orphans, wall_clock(), losses), is_ending)
        });
        // Where another agent has the directory, the spools may be its own.
        let pause = match swept {
            Some((_, true)) => CHECK_ENDING,
            Some((Some(until), false)) => until.saturating_sub(wall_clock()).min(CHECK),
            None if state.spools().is_some_and(|spools| spools.is_dir()) => CHECK,
            Some((None, false)) | None => return,
        };
        if end.recv_timeout(pause.max(Duration::from_secs(1))) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// The spools in a directory besides those that are configured and those that are still open.
pub(crate) fn find(spools: &Path, configured: &BTreeSet<String>, open: &BTreeSet<String>) -> Vec<Orphan> {
    let entries = fs::read_dir(spools).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !configured.contains(name) && !open.contains(name)).collect();
    names.sort_unstable();
    let orphan = |name: String| {
        let path = spools.join(&name);
        Orphan { until: spool_kept_until(&path), path, name }
    };
    names.into_iter().map(orphan).collect()
}

/// Until when a spool is kept, by its newest file. One that cannot be examined now is kept.
fn spool_kept_until(path: &Path) -> Duration {
    let Ok(listing) = directory::list(path) else { return Duration::MAX };
    let newest = listing.segments.back().map(|newest| path.join(segment::name(newest.first)));
    let files = newest.into_iter().chain(listing.aside);
    files.map(|file| kept_until(&file, DEFAULT_AGE).unwrap_or(Duration::MAX)).max().unwrap_or_default()
}

fn report(orphans: &[&Orphan]) {
    let named: Vec<&str> = orphans.iter().take(MAX_NAMED).map(|orphan| &*orphan.name).collect();
    if let Some(until) = orphans.iter().map(|orphan| orphan.until).max() {
        let (spools, others) = (named.join(", "), orphans.len() - named.len());
        let until = Duration::from_secs(until.as_secs().min(LAST_SECOND));
        let kept_until = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + until).to_string();
        let remedy = "configure sinks of these names and kinds again to have them sent, or remove their directories";
        tracing::warn!(spools, others, kept_until, remedy, "spools without a sink kept");
    }
}

/// Removes those that are too old. Returns until when the next one is kept; none if none is left.
fn sweep(orphans: Vec<Orphan>, now: Duration, losses: &OrphanLosses) -> Option<Duration> {
    let (old, kept): (Vec<Orphan>, Vec<Orphan>) = orphans.into_iter().partition(|orphan| orphan.until < now);
    for Orphan { path, .. } in old {
        let spool = path.display();
        match Spool::remove(&path) {
            Ok(counts) if counts.is_zero() => {}
            Ok(counts) => {
                losses.add(counts);
                let Counts { requests, samples, points } = counts;
                tracing::error!(%spool, requests, samples, points, "samples lost: spool without a sink too old");
            }
            Err(SinkError { text: reason, remedy, .. }) => {
                tracing::warn!(%spool, reason, remedy, "spool without a sink not removed");
            }
        }
    }
    kept.iter().map(|orphan| orphan.until).min()
}
