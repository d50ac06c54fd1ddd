//! The sink of kind `file`: a thread that appends a line for each sample.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::{ErrorReason, SinkError};
use super::file::FileWriter;
use super::json::{Encoder, Style};
use super::queued::{QueuedSample, SampleQueue};
use super::statistics::SinkStatistics;
use crate::config::{FileSettings, SinkKind};
use crate::queue::Taken;
use crate::sample::Text;
use crate::thread::hand_over;

/// How often the file is looked after without a sample: rotation by age and syncing are late by so much at most.
const CHECK: Duration = Duration::from_secs(10);

/// The sink, as the tick thread has it.
#[derive(Debug)]
pub(super) struct FileSink {
    queue: Arc<SampleQueue>,
    /// None once the thread has it.
    job: Option<Job>,
    /// Whether the file is to be opened again.
    is_reopening: Arc<AtomicBool>,
    /// Completes when the thread has ended.
    ended: oneshot::Receiver<()>,
}

/// The thread's side of it.
#[derive(Debug)]
struct Job {
    name: Text,
    queue: Arc<SampleQueue>,
    statistics: Arc<SinkStatistics>,
    is_reopening: Arc<AtomicBool>,
    settings: FileSettings,
    writer: FileWriter,
    encoder: Encoder,
    line: Vec<u8>,
    /// Completes with the end of the thread.
    _end: oneshot::Sender<()>,
}

impl FileSink {
    /// A sink without its thread.
    pub(super) fn new(
        name: &Text,
        settings: &FileSettings,
        writer: FileWriter,
        queue: &Arc<SampleQueue>,
        statistics: &Arc<SinkStatistics>,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        let is_reopening = Arc::<AtomicBool>::default();
        let job = Job {
            name: name.clone(),
            queue: Arc::clone(queue),
            statistics: Arc::clone(statistics),
            is_reopening: Arc::clone(&is_reopening),
            settings: settings.clone(),
            writer,
            encoder: Encoder::default(),
            line: Vec::new(),
            _end: end,
        };
        Self { queue: Arc::clone(queue), job: Some(job), is_reopening, ended }
    }

    /// Starts the thread, unless it runs.
    pub(super) fn start_thread(&mut self) -> io::Result<()> {
        hand_over("file", &mut self.job, Job::run)
    }

    /// Puts in a sample, without waiting.
    pub(super) fn put(&self, queued: QueuedSample, bytes: u64) {
        self.queue.put_sized(queued, bytes);
    }

    /// Asks for the file to be opened again: something else may be at its path.
    pub(super) fn reopen(&self) {
        self.is_reopening.store(true, Ordering::Relaxed);
        self.queue.wake();
    }

    /// Waits at most this long for the thread to write the samples that wait. Without it, none is written. Returns whether all were.
    pub(super) async fn end(mut self, patience: Duration) -> bool {
        self.queue.finish();
        if self.job.is_some() {
            return self.queue.waiting().0 == 0;
        }
        timeout(patience, &mut self.ended).await.is_ok()
    }
}

/// Ends the thread after the samples that wait, whether or not anybody has awaited that.
impl Drop for FileSink {
    fn drop(&mut self) {
        self.queue.finish();
    }
}

impl Job {
    fn run(mut self) {
        loop {
            match self.queue.take_until(Instant::now().checked_add(CHECK)) {
                Taken::Entry(queued) => self.write(&queued),
                Taken::Woken => {
                    let looked_after = if self.is_reopening.swap(false, Ordering::Relaxed) {
                        self.reopen()
                    } else {
                        self.writer.rotate_if_due(SystemTime::now())
                    };
                    self.note(looked_after.err());
                }
                Taken::End => break,
            }
        }
        let Self { writer, queue, .. } = self;
        writer.close();
        queue.close();
    }

    /// Opens the file again, and reports that: whoever asked may wait for the old one to be complete.
    fn reopen(&mut self) -> Result<(), SinkError> {
        let (sink, path) = (&self.name, self.settings.path.display());
        let reopened = self.writer.reopen();
        match &reopened {
            Ok(()) => tracing::info!(%sink, %path, "file of samples opened again"),
            Err(SinkError { text: reason, remedy, .. }) => {
                tracing::warn!(%sink, reason, remedy, "file of samples not opened again");
            }
        }
        reopened
    }

    /// Shows an error that has lost no sample, or else a problem of the file. Counts the syncs that failed.
    fn note(&mut self, error: Option<SinkError>) {
        self.statistics.count(ErrorReason::Sync, self.writer.take_failed_syncs());
        self.statistics.note(error.or_else(|| self.writer.problem()));
    }

    fn write(&mut self, QueuedSample { sample, settings }: &QueuedSample) {
        let began = Instant::now();
        if self.name != settings.name {
            self.name = settings.name.clone();
        }
        if let SinkKind::File(settings) = &settings.kind
            && *settings != self.settings
        {
            self.follow(settings);
        }
        self.line.clear();
        self.encoder.follow(&settings.series);
        self.encoder.encode(sample, Style::Line, &mut self.line);
        match self.writer.write_line(&self.line, SystemTime::now()) {
            Ok(()) => {
                if self.statistics.deliver(began.elapsed(), self.encoder.left_out()) {
                    tracing::info!(sink = %self.name, "file of samples writable again");
                }
                self.note(None);
            }
            Err(error) => {
                self.statistics.lose();
                self.fail(&error);
            }
        }
    }

    /// Goes on with other settings for the same file.
    fn follow(&mut self, settings: &FileSettings) {
        self.settings = settings.clone();
        let former = std::mem::replace(&mut self.writer, FileWriter::closed(settings.clone()));
        former.close();
    }

    fn fail(&self, error: &SinkError) {
        if self.statistics.fail(error) {
            let SinkError { text, remedy, .. } = error;
            tracing::error!(sink = %self.name, reason = text, remedy, "samples lost: file not writable");
        }
    }
}
