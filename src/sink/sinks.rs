//! All sinks of the agent, as the tick thread has them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::{ErrorReason, SinkError};
use super::file::FileWriter;
use super::file_sink::FileSink;
use super::metrics::SinkLabels;
use super::queued::{QueuedSample, SampleQueue};
use super::settings::SinkSettings;
use super::statistics::SinkStatistics;
use super::stdout::Stdout;
use crate::config::{Config, SinkConfig, SinkKind};
use crate::sample::{Sample, Text, Values};
use crate::status::SinkView;

/// The sinks, in the order of their names.
#[derive(Debug)]
pub(crate) struct Sinks {
    /// Standard output, for a sink that a reload adds.
    output: File,
    all: Vec<Sink>,
    /// Completes when the reader of standard output has closed it.
    closed: Option<oneshot::Receiver<()>>,
    /// The samples that sinks have dropped that are there no more.
    dropped_by_removed: u64,
    view: Arc<[SinkView]>,
}

#[derive(Debug)]
struct Sink {
    name: Text,
    settings: Arc<SinkSettings>,
    queue: Arc<SampleQueue>,
    statistics: Arc<SinkStatistics>,
    target: Target,
    labels: SinkLabels,
}

/// What a sink writes to.
#[derive(Debug)]
enum Target {
    Stdout(Box<Stdout>),
    File(Box<FileSink>),
}

/// A sink that is ready to be put into effect by a reload.
#[derive(Debug)]
pub(crate) enum PreparedSink {
    /// There is nothing to open: the sink that is there goes on with other settings, or standard output is used.
    Ready,
    File(Box<FileWriter>),
}

impl PreparedSink {
    /// Opens what a new configuration of a sink needs. May wait for a disk.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn prepare(new: &SinkConfig, old: Option<&SinkConfig>) -> Result<Self, SinkError> {
        match &new.kind {
            kind if old.is_some_and(|old| old.kind.has_same_target(kind)) => Ok(Self::Ready),
            SinkKind::Stdout(_) => Ok(Self::Ready),
            SinkKind::File(settings) => FileWriter::open(settings.clone()).map(|writer| Self::File(Box::new(writer))),
        }
    }
}

impl Sinks {
    /// The sinks of a configuration, without their threads. `output` is standard output.
    ///
    /// # Errors
    ///
    /// When standard output cannot be examined.
    pub(crate) fn new(config: &Config, output: File) -> io::Result<Self> {
        let (all, view) = (Vec::new(), Arc::default());
        let mut sinks = Self { output, all, closed: None, dropped_by_removed: 0, view };
        sinks.reconfigure(config, BTreeMap::new())?;
        Ok(sinks)
    }

    /// Follows another configuration, with what was prepared for it. Sinks that stay keep their queue and what they have open; one that
    /// goes ends after the samples that wait for it.
    ///
    /// # Errors
    ///
    /// When standard output cannot be examined: then a sink of that kind is missing.
    pub(crate) fn reconfigure(
        &mut self,
        config: &Config,
        mut prepared: BTreeMap<String, PreparedSink>,
    ) -> io::Result<()> {
        let mut kept = std::mem::take(&mut self.all);
        let mut missing = Ok(());
        for (name, sink) in &config.sinks {
            let settings = Arc::new(SinkSettings::new(config, sink));
            let same = kept.iter().position(|known| *known.name == **name && known.has_target_of(&settings));
            let made = match same.map(|at| kept.swap_remove(at)) {
                Some(mut known) => {
                    // The same settings keep their decisions about series.
                    if known.settings != settings {
                        known.settings = settings;
                    }
                    Ok(known)
                }
                None => self.make(name, settings, prepared.remove(name)),
            };
            match made {
                Ok(made) => {
                    made.queue.set_bounds(sink.queue_samples, sink.queue_bytes);
                    self.all.push(made);
                }
                Err(error) => missing = Err(error),
            }
        }
        self.dropped_by_removed += kept.iter().map(Sink::dropped).sum::<u64>();
        self.view = self.all.iter().map(Sink::view).collect();
        missing
    }

    fn make(&mut self, name: &str, settings: Arc<SinkSettings>, prepared: Option<PreparedSink>) -> io::Result<Sink> {
        let name: Text = name.to_owned().into();
        let (queue, statistics) = (Arc::new(SampleQueue::new(1)), Arc::<SinkStatistics>::default());
        let target = match &settings.kind {
            SinkKind::Stdout(_) => {
                let (stdout, closed) = Stdout::new(self.output.try_clone()?, &queue, &statistics)?;
                self.closed = Some(closed);
                Target::Stdout(Box::new(stdout))
            }
            SinkKind::File(file) => {
                let writer = match prepared {
                    Some(PreparedSink::File(writer)) => *writer,
                    Some(PreparedSink::Ready) | None => FileWriter::closed(file.clone()),
                };
                Target::File(Box::new(FileSink::new(&name, file, writer, &queue, &statistics)))
            }
        };
        let labels = SinkLabels::new(&name, reasons(&settings.kind));
        Ok(Sink { name, settings, queue, statistics, target, labels })
    }

    /// Starts the threads that do not run.
    ///
    /// # Errors
    ///
    /// When one cannot be started.
    pub(crate) fn start_threads(&mut self) -> io::Result<()> {
        self.all.iter_mut().try_for_each(|sink| match &mut sink.target {
            Target::Stdout(stdout) => stdout.start_thread(),
            Target::File(file) => file.start_thread(),
        })
    }

    /// Hands a sample to all sinks, without waiting.
    pub(crate) fn put(&mut self, sample: &Arc<Sample>) {
        let bytes = sample.memory_bytes();
        for Sink { settings, target, .. } in &mut self.all {
            let queued = QueuedSample { sample: Arc::clone(sample), settings: Arc::clone(settings) };
            match target {
                Target::Stdout(stdout) => stdout.put(queued, bytes),
                Target::File(file) => file.put(queued, bytes),
            }
        }
    }

    /// Asks the sinks to open their files again. Returns how many there are.
    pub(crate) fn reopen(&self) -> usize {
        let files = self.all.iter().filter_map(|sink| match &sink.target {
            Target::Stdout(_) => None,
            Target::File(file) => Some(file),
        });
        files.inspect(|file| file.reopen()).count()
    }

    /// Waits until the reader of standard output has closed it, if that ends the agent. Cancellation safe.
    pub(crate) async fn closed(&mut self) {
        if let Some(closed) = &mut self.closed {
            let result = closed.await;
            self.closed = None;
            if result.is_ok() {
                return;
            }
        }
        // The sink is there no more.
        std::future::pending::<()>().await;
    }

    /// The number of samples that sinks have dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_by_removed + self.all.iter().map(Sink::dropped).sum::<u64>()
    }

    /// Appends the agent's metrics about them.
    pub(crate) fn append_metrics(&self, agent: &mut Values<'_>) {
        for Sink { queue, statistics, labels, .. } in &self.all {
            labels.append_metrics(agent, queue, statistics);
        }
    }

    /// The sinks in the status.
    pub(crate) fn view(&self) -> &Arc<[SinkView]> {
        &self.view
    }

    /// Waits at most this long for the sinks to write the samples that wait. Returns the names of those that did not.
    pub(crate) async fn end(self, patience: Duration) -> Vec<String> {
        for sink in &self.all {
            sink.queue.finish();
        }
        let (until, mut late) = (Instant::now() + patience, Vec::new());
        for Sink { name, target, .. } in self.all {
            let left = until.saturating_duration_since(Instant::now());
            let has_ended = match target {
                Target::Stdout(stdout) => stdout.end(left).await,
                Target::File(file) => file.end(left).await,
            };
            if !has_ended {
                late.push(name.to_string());
            }
        }
        late
    }
}

impl Sink {
    /// Whether these settings are for the same target.
    fn has_target_of(&self, settings: &SinkSettings) -> bool {
        self.settings.kind.has_same_target(&settings.kind)
    }

    fn dropped(&self) -> u64 {
        self.queue.dropped() + self.statistics.failed()
    }

    fn view(&self) -> SinkView {
        SinkView {
            name: self.name.clone(),
            kind: self.settings.kind.name(),
            problem: Arc::clone(self.statistics.problem()),
        }
    }
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
            ErrorReason::Io,
        ],
        SinkKind::Stdout(_) => &[ErrorReason::Closed, ErrorReason::NoSpace, ErrorReason::TooLarge, ErrorReason::Io],
    }
}
