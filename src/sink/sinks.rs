//! All sinks of the agent, as the tick thread has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::error::SinkError;
use super::file::FileWriter;
use super::file_sink::FileSink;
use super::network_sink::NetworkSink;
use super::otlp::HostFacts;
use super::queued::SampleQueue;
use super::running::{Sink, Target};
use super::settings::SinkSettings;
use super::spool::{Orphans, directory_name};
use super::statistics::SinkStatistics;
use super::stdout::{StandardOutput, Stdout};
use crate::config::{Config, SinkConfig, SinkKind};
use crate::local_tasks::LocalTasks;
use crate::sample::{Sample, Values};
use crate::state_directory::StateDirectory;
use crate::status::SinkView;

/// How many sinks that a reload removed may still have samples to write. Beyond that, those of the one that ends for the longest time
/// are dropped.
const MAX_ENDING: usize = 8;

/// The sinks, in the order of their names.
#[derive(Debug)]
pub(crate) struct Sinks {
    output: StandardOutput,
    /// Where network sinks are sent from.
    tasks: LocalTasks,
    /// Where they keep what is not delivered.
    state: StateDirectory,
    /// The spools there whose sinks are not configured any more.
    orphans: Orphans,
    /// The names of the spools of all sinks, until the thread is started that looks for others.
    spools: Option<BTreeSet<String>>,
    /// The root of the host's files.
    root: PathBuf,
    all: Vec<Sink>,
    /// The sinks that are configured no more, and have samples to write.
    ending: Vec<Sink>,
    /// Completes when the reader of standard output has closed it.
    closed: Option<oneshot::Receiver<()>>,
    /// The samples that sinks have dropped that have ended.
    dropped_by_ended: u64,
    view: Arc<[SinkView]>,
}

/// The end of all sinks.
#[derive(Debug)]
pub(crate) struct SinksEnd {
    /// The names of those that did not write all samples in time.
    pub(crate) late: Vec<String>,
    /// Whether all samples for the network are delivered or in the state directory.
    pub(crate) is_kept: bool,
}

/// A sink that is ready to be put into effect by a reload.
#[derive(Debug)]
pub(crate) enum PreparedSink {
    /// There is nothing to open: a sink that is there goes on with other settings, or standard output is used.
    Ready,
    File(Box<FileWriter>),
    /// The facts about the host in the requests of a network sink.
    Network(HostFacts),
}

impl PreparedSink {
    /// Opens the target of a new configuration of a sink, unless one of the sinks that are there has it. May wait for a disk.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn prepare(
        name: &str,
        new: &SinkConfig,
        old: &BTreeMap<String, SinkConfig>,
        root: &Path,
    ) -> Result<Self, SinkError> {
        let target = new.kind.target(name);
        match &new.kind {
            _ if old.iter().any(|(name, old)| old.kind.target(name) == target) => Ok(Self::Ready),
            SinkKind::Stdout(_) => Ok(Self::Ready),
            SinkKind::Network(_) => Ok(Self::Network(HostFacts::read(root))),
            SinkKind::File(settings) => FileWriter::open(settings.clone()).map(|writer| Self::File(Box::new(writer))),
        }
    }
}

impl Sinks {
    /// The sinks of a configuration, without their threads. `output` is standard output; network sinks send from the thread of `tasks`,
    /// and keep what is not delivered in the state directory.
    ///
    /// # Errors
    ///
    /// When standard output cannot be examined.
    pub(crate) fn new(config: &Config, output: File, tasks: &LocalTasks, state: &StateDirectory) -> io::Result<Self> {
        let mut sinks = Self {
            output: StandardOutput::new(output)?,
            tasks: tasks.clone(),
            orphans: Orphans::new(state.clone()),
            spools: None,
            state: state.clone(),
            root: config.root.clone(),
            all: Vec::new(),
            ending: Vec::new(),
            closed: None,
            dropped_by_ended: 0,
            view: Arc::default(),
        };
        sinks.reconfigure(config, BTreeMap::new())?;
        Ok(sinks)
    }

    /// Follows another configuration. A sink whose target stays keeps its queue and what it has open, whatever it is called now; one
    /// that goes ends after the samples that wait for it.
    ///
    /// # Errors
    ///
    /// When the host has no descriptor for standard output: then a sink of that kind is missing.
    pub(crate) fn reconfigure(
        &mut self,
        config: &Config,
        mut prepared: BTreeMap<String, PreparedSink>,
    ) -> io::Result<()> {
        let mut kept = std::mem::take(&mut self.all);
        let mut missing = Ok(());
        for (name, sink) in &config.sinks {
            let settings = Arc::new(SinkSettings::new(config, name, sink));
            let same = kept.iter().position(|known| known.has_target(settings.target()));
            let found = same.map(|at| kept.swap_remove(at)).or_else(|| self.resume(&settings));
            let made = found.map_or_else(
                || {
                    let is_taken = |known: &Sink| {
                        config.sinks.iter().any(|(name, other)| known.has_target(other.kind.target(name)))
                    };
                    let earlier = kept.iter().find(|known| **known.name() == **name && !is_taken(known));
                    self.make(Arc::clone(&settings), prepared.remove(name), earlier)
                },
                Ok,
            );
            match made {
                Ok(mut made) => {
                    made.follow(settings);
                    self.all.push(made);
                }
                Err(error) => missing = Err(error),
            }
        }
        for sink in kept {
            sink.finish();
            self.ending.push(sink);
        }
        self.release_ended();
        self.spools = Some(config.sinks.iter().filter_map(|(name, sink)| spool_name(name, &sink.kind)).collect());
        self.view = self.all.iter().map(Sink::view).collect();
        missing
    }

    /// Takes back a sink that has not ended yet and has the target of these settings.
    fn resume(&mut self, settings: &SinkSettings) -> Option<Sink> {
        let at = self.ending.iter().position(|sink| sink.has_target(settings.target()) && sink.resume())?;
        Some(self.ending.remove(at))
    }

    fn make(
        &mut self,
        settings: Arc<SinkSettings>,
        prepared: Option<PreparedSink>,
        earlier: Option<&Sink>,
    ) -> io::Result<Sink> {
        let queue = Arc::new(SampleQueue::new(1));
        // Counters of a name do not fall.
        let statistics = earlier.map(Sink::statistics).cloned().unwrap_or_default();
        let target = match &settings.kind {
            SinkKind::Stdout(_) => {
                let (stdout, closed) = Stdout::new(&self.output, &queue, &statistics)?;
                self.closed = Some(closed);
                Target::Stdout(Box::new(stdout))
            }
            SinkKind::File(file) => {
                let writer = match prepared {
                    Some(PreparedSink::File(writer)) => *writer,
                    _ => FileWriter::closed(file.clone()),
                };
                Target::File(Box::new(FileSink::new(&settings.name, file, writer, &queue, &statistics)))
            }
            SinkKind::Network(network) => {
                let facts = match prepared {
                    Some(PreparedSink::Network(facts)) => facts,
                    // At the start of the agent, before the first tick.
                    _ => HostFacts::read(&self.root),
                };
                Target::Network(Box::new(NetworkSink::new(
                    &settings,
                    network,
                    facts,
                    &self.state,
                    &self.tasks,
                    &queue,
                    &statistics,
                )))
            }
        };
        Ok(Sink::new(settings, queue, statistics, target, earlier))
    }

    /// Forgets the sinks that have ended, and counts what they have lost.
    fn release_ended(&mut self) {
        while self.ending.len() > MAX_ENDING {
            let oldest = self.ending.remove(0);
            oldest.clear();
            self.dropped_by_ended += self.lost_by(&oldest);
        }
        while let Some(at) = self.ending.iter().position(Sink::has_ended) {
            let ended = self.ending.remove(at);
            self.dropped_by_ended += self.lost_by(&ended);
        }
    }

    /// The samples that a sink has lost which goes, unless one of the same name counts on.
    fn lost_by(&self, sink: &Sink) -> u64 {
        let goes_on = self.all.iter().any(|other| Arc::ptr_eq(other.statistics(), sink.statistics()));
        if goes_on { 0 } else { sink.dropped() }
    }

    /// Starts the threads that do not run.
    ///
    /// # Errors
    ///
    /// When one cannot be started. The others are tried all the same.
    pub(crate) fn start_threads(&mut self) -> io::Result<()> {
        let started = self.all.iter_mut().map(Sink::start_thread).fold(Ok(()), io::Result::and);
        if let Some(spools) = self.spools.take()
            && let Err(error) = self.orphans.follow(spools.clone())
        {
            self.spools = Some(spools);
            return started.and(Err(error));
        }
        started
    }

    /// Hands a sample to all sinks, without waiting.
    pub(crate) fn put(&mut self, sample: &Arc<Sample>) {
        let (bytes, now) = (sample.memory_bytes(), Instant::now());
        for sink in &mut self.all {
            sink.put(sample, bytes, now);
        }
        if !self.ending.is_empty() {
            self.release_ended();
        }
    }

    /// Asks the sinks to open their files again. Returns how many there are.
    pub(crate) fn reopen(&self) -> usize {
        self.all.iter().filter(|sink| sink.reopen()).count()
    }

    /// Waits until the reader of standard output has closed it, if that ends the agent. Cancellation safe.
    pub(crate) async fn closed(&mut self) {
        if let Some(closed) = &mut self.closed {
            let result = closed.await;
            self.closed = None;
            if result.is_ok() && self.all.iter().any(Sink::ends_agent) {
                return;
            }
        }
        // The sink is there no more.
        std::future::pending::<()>().await;
    }

    /// The states of the sinks.
    pub(super) fn statistics(&self) -> impl Iterator<Item = &SinkStatistics> {
        self.all.iter().map(|sink| &**sink.statistics())
    }

    /// The number of sinks.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The number of samples that sinks have dropped.
    pub(crate) fn dropped(&self) -> u64 {
        let ending = self.ending.iter().map(|sink| self.lost_by(sink));
        self.dropped_by_ended + self.all.iter().map(Sink::dropped).sum::<u64>() + ending.sum::<u64>()
    }

    /// Appends the agent's metrics about them.
    pub(crate) fn append_metrics(&self, agent: &mut Values<'_>) {
        for sink in &self.all {
            sink.append_metrics(agent);
        }
        if self.all.iter().any(Sink::is_network) {
            let end = self.state.unclean_end();
            let moment = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
            agent.push("unclean_end", u64::from(end.is_some()));
            agent.push("unclean_end_since_timestamp_seconds", end.and_then(|end| moment(end.since)));
            agent.push("unclean_end_until_timestamp_seconds", end.and_then(|end| moment(end.until)));
            agent.push("spool_dropped_points_total", self.orphans.losses().counts().points);
        }
    }

    /// The sinks in the status.
    pub(crate) fn view(&self) -> &Arc<[SinkView]> {
        &self.view
    }

    /// Waits at most this long for the sinks to write the samples that wait, those that are configured no more included.
    pub(crate) async fn end(self, patience: Duration) -> SinksEnd {
        let all: Vec<Sink> = self.ending.into_iter().chain(self.all).collect();
        for sink in &all {
            sink.finish();
        }
        let (until, mut late) = (Instant::now() + patience, Vec::new());
        let mut is_kept = true;
        for sink in all {
            let (name, is_network) = (sink.name().to_string(), sink.is_network());
            let left = until.saturating_duration_since(Instant::now());
            let has_ended = sink.end(left).await;
            is_kept &= has_ended || !is_network;
            if !has_ended && !late.contains(&name) {
                late.push(name);
            }
        }
        // Of samples for other sinks, nothing is kept in the state directory.
        SinksEnd { late, is_kept }
    }
}

/// The name of a sink's spool.
fn spool_name(sink: &str, kind: &SinkKind) -> Option<String> {
    match kind {
        SinkKind::Network(network) => Some(directory_name(sink, network.protocol.name())),
        SinkKind::Stdout(_) | SinkKind::File(_) => None,
    }
}
