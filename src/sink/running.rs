//! A sink that runs, as the tick thread has it: its queue, its target, and whether it takes its samples.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ErrorReason;
use super::file_sink::FileSink;
use super::metrics::SinkLabels;
use super::network_sink::NetworkSink;
use super::queued::{QueuedSample, SampleQueue};
use super::settings::SinkSettings;
use super::statistics::SinkStatistics;
use super::stdout::Stdout;
use crate::clock::schedule::wall_clock;
use crate::config::{OnClosed, SinkKind, SinkTarget};
use crate::sample::{Sample, Text, Values};
use crate::status::SinkView;

/// For how many intervals a sink may take no sample …
const STALLED_INTERVALS: u32 = 2;

/// … and how much longer, before that is reported: a disk that spins up takes some seconds.
const STALLED_GRACE: Duration = Duration::from_secs(3);

/// A sink.
#[derive(Debug)]
pub(super) struct Sink {
    settings: Arc<SinkSettings>,
    queue: Arc<SampleQueue>,
    statistics: Arc<SinkStatistics>,
    target: Target,
    labels: SinkLabels,
    /// The samples that an earlier queue of the sink dropped, which wrote to something else.
    dropped_before: u64,
    progress: Progress,
}

/// The target of a sink.
#[derive(Debug)]
pub(super) enum Target {
    Stdout(Box<Stdout>),
    File(Box<FileSink>),
    Network(Box<NetworkSink>),
}

/// Whether a sink takes its samples, as of the last tick.
#[derive(Debug)]
struct Progress {
    /// The samples that the sink has taken, and since when it has taken no more.
    taken: u64,
    since: Instant,
    is_stalled: bool,
    /// Whether samples were dropped since it took one.
    is_full: bool,
    dropped: u64,
    left_out: u64,
}

impl Sink {
    /// A sink without its thread. `earlier` is the one of that name which wrote to something else: its counters go on.
    pub(super) fn new(
        settings: Arc<SinkSettings>,
        queue: Arc<SampleQueue>,
        statistics: Arc<SinkStatistics>,
        target: Target,
        earlier: Option<&Self>,
    ) -> Self {
        let progress =
            Progress { taken: 0, since: Instant::now(), is_stalled: false, is_full: false, dropped: 0, left_out: 0 };
        let labels = labels(&settings);
        let dropped_before = earlier.map_or(0, |earlier| earlier.dropped_before + earlier.queue.dropped());
        Self { settings, queue, statistics, target, labels, dropped_before, progress }
    }

    pub(super) fn name(&self) -> &Text {
        &self.settings.name
    }

    pub(super) fn statistics(&self) -> &Arc<SinkStatistics> {
        &self.statistics
    }

    /// Whether it has this target.
    pub(super) fn has_target(&self, target: SinkTarget<'_>) -> bool {
        self.settings.target() == target
    }

    /// Follows other settings for the same target. The same ones keep their decisions about series.
    pub(super) fn follow(&mut self, settings: Arc<SinkSettings>) {
        if let (Target::Stdout(stdout), SinkKind::Stdout(on_closed)) = (&self.target, &settings.kind) {
            stdout.set_on_closed(*on_closed);
        }
        if self.settings.name != settings.name || self.settings.kind != settings.kind {
            self.labels = labels(&settings);
        }
        self.queue.set_bounds(settings.queue_samples, settings.queue_bytes);
        if self.settings != settings {
            self.settings = settings;
        }
    }

    /// Starts its thread, unless it runs.
    pub(super) fn start_thread(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout(stdout) => stdout.start_thread(),
            Target::File(file) => file.start_thread(),
            Target::Network(network) => network.start(),
        }
    }

    /// Hands a sample to the sink, without waiting, and looks whether it takes them.
    pub(super) fn put(&mut self, sample: &Arc<Sample>, bytes: u64, now: Instant) {
        let queued = QueuedSample { sample: Arc::clone(sample), settings: Arc::clone(&self.settings) };
        match &mut self.target {
            Target::Stdout(stdout) => stdout.put(queued, bytes),
            Target::File(file) => file.put(queued, bytes),
            Target::Network(network) => network.put(queued, bytes),
        }
        self.check_progress(sample.interval, now);
    }

    fn check_progress(&mut self, interval: Duration, now: Instant) {
        let Self { settings, queue, statistics, target, progress, .. } = self;
        let (name, remedy) = (&*settings.name, stall_remedy(&settings.kind));
        let taken = statistics.delivered() + statistics.failed();
        // A sender takes samples whether or not its receiver does; only the one that was just put in may still be there.
        let is_idle = if matches!(target, Target::Network(_)) { queue.waiting().0 <= 1 } else { queue.is_idle() };
        if taken != progress.taken || is_idle {
            (progress.taken, progress.since) = (taken, now);
            if std::mem::take(&mut progress.is_stalled) {
                statistics.problem().set_stalled(None, wall_clock());
                tracing::info!(sink = name, "sink takes samples again");
            }
            progress.is_full = false;
        } else if !progress.is_stalled {
            let patience = interval.saturating_mul(STALLED_INTERVALS).saturating_add(STALLED_GRACE);
            if now.saturating_duration_since(progress.since) > patience {
                progress.is_stalled = true;
                statistics.problem().set_stalled(Some(remedy), wall_clock());
                tracing::warn!(sink = name, waiting = queue.waiting().0, remedy, "sink takes no samples");
            }
        }
        let dropped = queue.dropped();
        if dropped > progress.dropped && !std::mem::replace(&mut progress.is_full, true) {
            tracing::error!(sink = name, remedy, "samples lost: queue of the sink full");
        }
        progress.dropped = dropped;
        let left_out = statistics.left_out();
        if left_out > 0
            && progress.left_out == 0
            && let Some(max_series) = settings.series.max_series
        {
            let remedy = "raise max_series, or exclude series";
            tracing::warn!(sink = name, left_out, max_series, remedy, "series above max_series left out");
        }
        progress.left_out = left_out;
    }

    /// Asks the sink to open its file again. Returns whether it has one.
    pub(super) fn reopen(&self) -> bool {
        match &self.target {
            Target::Stdout(_) | Target::Network(_) => false,
            Target::File(file) => {
                file.reopen();
                true
            }
        }
    }

    /// Lets the sink end after the samples that wait. The end of standard output does not end the agent any more.
    pub(super) fn finish(&self) {
        match &self.target {
            Target::Stdout(stdout) => stdout.set_on_closed(OnClosed::Continue),
            Target::File(_) => {}
            Target::Network(network) => network.finish(),
        }
        self.queue.finish();
    }

    /// Takes the end back. Returns whether the sink goes on.
    pub(super) fn resume(&self) -> bool {
        let goes_on = self.queue.resume();
        if let Target::Network(network) = &self.target {
            network.wake();
        }
        goes_on
    }

    pub(super) fn has_ended(&self) -> bool {
        match &self.target {
            Target::Stdout(_) | Target::File(_) => self.queue.has_ended(),
            Target::Network(network) => network.has_ended(),
        }
    }

    /// Drops the samples that wait, and counts them.
    pub(super) fn clear(&self) {
        self.queue.clear();
    }

    /// The samples that were lost.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped_before + self.queue.dropped() + self.statistics.failed()
    }

    /// Whether a sink of kind `stdout` ends the agent when the reader closes it.
    pub(super) fn ends_agent(&self) -> bool {
        matches!(self.settings.kind, SinkKind::Stdout(OnClosed::End))
    }

    /// Whether it sends over the network.
    pub(super) fn is_network(&self) -> bool {
        self.settings.network().is_some()
    }

    /// Appends the agent's metrics about it.
    pub(super) fn append_metrics(&self, agent: &mut Values<'_>) {
        let is_up = self.statistics.is_up() && !self.progress.is_stalled;
        self.labels.append_metrics(agent, &self.queue, &self.statistics, is_up, self.dropped_before);
    }

    /// The sink in the status.
    pub(super) fn view(&self) -> SinkView {
        SinkView {
            name: self.settings.name.clone(),
            kind: self.settings.kind.name(),
            problem: Arc::clone(self.statistics.problem()),
        }
    }

    /// Waits at most this long for the samples that wait to be written. Returns whether they were.
    pub(super) async fn end(self, patience: Duration) -> bool {
        match self.target {
            Target::Stdout(stdout) => stdout.end(patience).await,
            Target::File(file) => file.end(patience).await,
            Target::Network(network) => network.end(patience).await,
        }
    }
}

/// The remedy for a sink that takes no samples.
fn stall_remedy(kind: &SinkKind) -> &'static str {
    match kind {
        SinkKind::Stdout(_) => "check the program that reads standard output",
        SinkKind::File(_) => "check the file system of its path",
        SinkKind::Network(_) => "check the receiver",
    }
}

fn labels(settings: &SinkSettings) -> SinkLabels {
    SinkLabels::new(&settings.name, reasons(&settings.kind), settings.network().map(|network| &**network))
}

/// The reasons for which a sink of a kind can fail.
fn reasons(kind: &SinkKind) -> &'static [ErrorReason] {
    match kind {
        SinkKind::File(_) => &[
            ErrorReason::NoSpace,
            ErrorReason::Permission,
            ErrorReason::NotFound,
            ErrorReason::ReadOnly,
            ErrorReason::TooLarge,
            ErrorReason::NotAFile,
            ErrorReason::Descriptors,
            ErrorReason::Sync,
            ErrorReason::Io,
        ],
        SinkKind::Stdout(_) => &[ErrorReason::Closed, ErrorReason::NoSpace, ErrorReason::TooLarge, ErrorReason::Io],
        SinkKind::Network(_) => &[
            ErrorReason::Resolve,
            ErrorReason::Connect,
            ErrorReason::Tls,
            ErrorReason::Proxy,
            ErrorReason::Timeout,
            ErrorReason::Protocol,
            ErrorReason::Status,
            ErrorReason::Rejected,
            ErrorReason::NoSpace,
            ErrorReason::Permission,
            ErrorReason::ReadOnly,
            ErrorReason::Descriptors,
            ErrorReason::Io,
        ],
    }
}
