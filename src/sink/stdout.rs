//! Standard output: a line of JSON for each sample. A separate thread writes the lines, since a write may block for any
//! time. Short lines for which a pipe has room are written at once, without the thread. On a host that has no thread for it,
//! so are all lines, as far as the output takes them without waiting.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::{ErrorReason, SinkError};
use super::json::{Encoder, Style};
use super::queued::{QueuedSample, SampleQueue};
use super::statistics::SinkStatistics;
use crate::config::OnClosed;
use crate::sample::Sample;
use crate::thread::hand_over;
use crate::write::{AT_ONCE_BYTES, write_at_once, write_nowait, write_whole};

/// The most metrics for which an immediate write is tried: more make a line that is longer than [`AT_ONCE_BYTES`], unless most of
/// them are not selected.
const AT_ONCE_METRICS: usize = 1000;

/// For how many samples an immediate write is not tried after one whose line was too long: the next ones are as long, mostly.
const PAUSE: usize = 60;

/// The remedy for an output that takes no lines.
const REMEDY: &str = "make space where standard output is a file, or restart its reader";

/// Standard output, examined once: later that might have to wait for a file system.
#[derive(Debug)]
pub(super) struct StandardOutput {
    file: File,
    is_pipe: bool,
}

impl StandardOutput {
    /// Examines it.
    pub(super) fn new(file: File) -> io::Result<Self> {
        Ok(Self { is_pipe: file.metadata()?.file_type().is_fifo(), file })
    }
}

/// Writes the lines of a sink of kind `stdout`.
#[derive(Debug)]
pub(super) struct Stdout {
    queue: Arc<SampleQueue>,
    statistics: Arc<SinkStatistics>,
    /// Whether a reader that closes the pipe ends the agent.
    ends_agent: Arc<AtomicBool>,
    /// None once the thread has it.
    writer: Option<SampleWriter>,
    /// Completes when the thread has ended.
    ended: oneshot::Receiver<()>,
    /// The pipe for immediate writes; none if the output is not a pipe, or an immediate write failed.
    at_once: Option<File>,
    encoder: Encoder,
    line: Vec<u8>,
    /// For how many more samples an immediate write is not tried: a line was too long for it.
    pause: usize,
}

impl Stdout {
    /// A sink without its thread. The receiver completes when the reader has closed the pipe, and that ends the agent.
    pub(super) fn new(
        output: &StandardOutput,
        queue: &Arc<SampleQueue>,
        statistics: &Arc<SinkStatistics>,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (closed, on_closed) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let at_once = if output.is_pipe { Some(output.file.try_clone()?) } else { None };
        let ends_agent = Arc::new(AtomicBool::new(true));
        let writer = SampleWriter {
            output: output.file.try_clone()?,
            statistics: Arc::clone(statistics),
            ends_agent: Arc::clone(&ends_agent),
            closed: Some(closed),
            _end: end,
            encoder: Encoder::default(),
            line: Vec::new(),
            written: 0,
            began: Instant::now(),
            is_torn: false,
        };
        let stdout = Self {
            queue: Arc::clone(queue),
            statistics: Arc::clone(statistics),
            ends_agent,
            writer: Some(writer),
            ended,
            at_once,
            encoder: Encoder::default(),
            line: Vec::new(),
            pause: 0,
        };
        Ok((stdout, on_closed))
    }

    /// Sets what follows when the reader closes the pipe, also for samples that wait.
    pub(super) fn set_on_closed(&self, on_closed: OnClosed) {
        self.ends_agent.store(on_closed == OnClosed::End, Ordering::Relaxed);
    }

    /// Starts the thread, unless it runs.
    pub(super) fn start_thread(&mut self) -> io::Result<()> {
        let queue = Arc::clone(&self.queue);
        hand_over("stdout", &mut self.writer, move |writer| {
            writer.write_all(&queue);
            queue.close();
        })
    }

    /// Writes a sample without waiting: at once, or through the queue.
    pub(super) fn put(&mut self, queued: QueuedSample, bytes: u64) {
        if let Some(writer) = &mut self.writer {
            self.queue.put_sized(queued, bytes);
            writer.write_at_once(&self.queue);
            return;
        }
        // Samples in the queue come first.
        if !(self.queue.is_idle() && self.is_written_at_once(&queued)) {
            self.queue.put_sized(queued, bytes);
        }
    }

    /// Waits at most this long for the thread to write the remaining samples. Without it they are written as far as that is
    /// possible at once. Returns whether all were.
    pub(super) async fn end(mut self, patience: Duration) -> bool {
        self.queue.finish();
        match &mut self.writer {
            Some(writer) => writer.write_at_once(&self.queue),
            None => timeout(patience, &mut self.ended).await.is_ok(),
        }
    }

    fn is_written_at_once(&mut self, QueuedSample { sample, settings }: &QueuedSample) -> bool {
        let metrics: usize = sample.modules.iter().map(|module| module.len()).sum();
        // Which series come first is decided in one place only.
        let is_short = metrics <= AT_ONCE_METRICS && settings.series.max_series.is_none();
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        let Some(output) = self.at_once.as_ref().filter(|_| is_short) else { return false };
        let began = Instant::now();
        self.line.clear();
        self.encoder.follow(&settings.series);
        self.encoder.encode(sample, Style::Line, &mut self.line);
        if self.line.len() > AT_ONCE_BYTES {
            self.pause = PAUSE;
            return false;
        }
        match write_nowait(output, &self.line) {
            Ok(_all) => {
                deliver(&self.statistics, began, &self.encoder);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // The thread gets the same error and handles it.
            Err(_) => {
                self.at_once = None;
                false
            }
        }
    }
}

/// Ends the thread after the samples that wait, whether or not anybody has awaited that.
impl Drop for Stdout {
    fn drop(&mut self) {
        self.queue.finish();
    }
}

/// Records a delivery that began at this moment.
fn deliver(statistics: &SinkStatistics, began: Instant, encoder: &Encoder) {
    if statistics.deliver(began.elapsed(), encoder.left_out()) {
        tracing::info!("standard output writable again");
    }
}

/// Writes samples one after the other. One that cannot be written is lost and counted.
#[derive(Debug)]
struct SampleWriter {
    output: File,
    statistics: Arc<SinkStatistics>,
    ends_agent: Arc<AtomicBool>,
    /// Completes when the reader has closed the pipe; none when it has.
    closed: Option<oneshot::Sender<()>>,
    /// Completes with the end of the thread.
    _end: oneshot::Sender<()>,
    encoder: Encoder,
    /// The line that is being written, and how much of it is.
    line: Vec<u8>,
    written: usize,
    began: Instant,
    /// The last line was cut off: the next one begins with a line break.
    is_torn: bool,
}

impl SampleWriter {
    /// Writes samples until the queue ends, or the reader closes the pipe.
    fn write_all(mut self, samples: &SampleQueue) {
        loop {
            if !self.line.is_empty() {
                let result = write_whole(&mut self.output, &self.line, &mut self.written);
                self.finish(result);
            }
            if self.closed.is_none() {
                return;
            }
            let Some(queued) = samples.take() else { return };
            self.begin(&queued);
        }
    }

    /// Writes the samples that wait, as far as the output takes them without waiting. Returns whether none is left.
    fn write_at_once(&mut self, samples: &SampleQueue) -> bool {
        while self.closed.is_some() {
            if self.line.is_empty() {
                let Some(queued) = samples.take_now() else { break };
                self.begin(&queued);
            }
            match write_at_once(&mut self.output, &self.line, &mut self.written) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                result => self.finish(result),
            }
        }
        true
    }

    fn begin(&mut self, QueuedSample { sample, settings }: &QueuedSample) {
        self.began = Instant::now();
        if self.is_torn {
            self.line.push(b'\n');
        }
        self.encoder.follow(&settings.series);
        self.encoder.encode(sample, Style::Line, &mut self.line);
    }

    /// Ends the line in hand.
    fn finish(&mut self, result: io::Result<()>) {
        if self.written > 0 {
            self.is_torn = result.is_err();
        }
        self.line.clear();
        self.written = 0;
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.ends_agent.load(Ordering::Relaxed) => {
                // The agent may have ended already.
                let _ = self.closed.take().map(|closed| closed.send(()));
            }
            Err(error) => {
                self.statistics.lose();
                let reason = match ErrorReason::from_error(&error) {
                    reason @ (ErrorReason::Closed | ErrorReason::NoSpace | ErrorReason::TooLarge) => reason,
                    _ => ErrorReason::Io,
                };
                let remedy = if reason == ErrorReason::Closed { "restart its reader" } else { REMEDY };
                let text = format!("failed to write to standard output: {error}");
                let error = SinkError { reason, text, remedy };
                if self.statistics.fail(&error) {
                    tracing::error!(reason = error.text, remedy, "samples lost: standard output not writable");
                }
            }
            Ok(()) => deliver(&self.statistics, self.began, &self.encoder),
        }
    }
}

/// Writes one sample, for `--once`. On another thread: a reader that does not read must not keep the program from ending. On a
/// host without threads it does.
pub(crate) async fn once(sample: Arc<Sample>, encoder: Encoder, style: Style) -> io::Result<()> {
    let (done, written) = oneshot::channel();
    let mut work = Some((sample, encoder, done));
    // Its error is no reason to lose the sample.
    let _ = hand_over("stdout", &mut work, move |(sample, mut encoder, done)| {
        // The agent may not wait any more.
        let _ = done.send(write_once(&sample, &mut encoder, style));
    });
    match work {
        Some((sample, mut encoder, _)) => write_once(&sample, &mut encoder, style),
        None => written.await.unwrap_or_else(|ended| Err(io::Error::other(ended))),
    }
}

fn write_once(sample: &Sample, encoder: &mut Encoder, style: Style) -> io::Result<()> {
    let mut text = Vec::new();
    encoder.encode(sample, style, &mut text);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&text)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, PipeReader, Read as _};
    use std::os::fd::OwnedFd;
    use std::thread;

    use super::super::settings::SinkSettings;
    use super::*;
    use crate::config::SinkConfig;
    use crate::sample::test_module;

    /// A sink without its thread, and the signal that the reader has closed the pipe.
    fn sink(output: impl Into<OwnedFd>) -> (Stdout, oneshot::Receiver<()>) {
        let queue = Arc::new(SampleQueue::new(60));
        let output = StandardOutput::new(File::from(output.into())).expect("examined");
        Stdout::new(&output, &queue, &Arc::default()).expect("a sink")
    }

    fn put(stdout: &mut Stdout, sample: Arc<Sample>) {
        let settings = Arc::new(SinkSettings::test_settings("stdout", &SinkConfig::stdout()));
        stdout.put(QueuedSample { sample, settings }, 0);
    }

    /// A sample with a number and a text of this length.
    fn sample(number: u64, length: usize) -> Arc<Sample> {
        let module = test_module("m", |values| {
            values.push("number", number);
            values.push("padding", &*"x".repeat(length));
        });
        Arc::new(Sample { modules: vec![module], ..Sample::default() })
    }

    /// A sink that writes to a pipe, and its thread runs.
    fn start(writer: impl Into<OwnedFd>) -> Stdout {
        let (mut stdout, _unread) = sink(writer);
        stdout.start_thread().expect("a thread");
        stdout
    }

    /// Reads the numbers of the samples, to the end.
    fn read_numbers(reader: PipeReader) -> thread::JoinHandle<Vec<Option<u64>>> {
        thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
            lines.map(|line| line.split([':', ',']).nth(2).and_then(|number| number.parse().ok())).collect()
        })
    }

    #[tokio::test]
    async fn queued_and_immediate_lines_keep_their_order() {
        // A pipe holds 64 KiB: most samples wait in the queue for the reader, and some are too long for an immediate
        // write.
        const SAMPLES: u64 = 50;
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut stdout = start(writer);
        for number in 0..SAMPLES {
            put(&mut stdout, sample(number, if number % 5 == 0 { 5000 } else { 2000 }));
        }
        let reading = read_numbers(reader);
        assert_eq!(stdout.queue.dropped(), 0);
        assert!(stdout.end(Duration::from_secs(60)).await);
        let expected: Vec<Option<u64>> = (0..SAMPLES).map(Some).collect();
        assert_eq!(reading.join().expect("no panic"), expected);
    }

    #[tokio::test]
    async fn nonblocking_output_gets_all_lines() {
        // Twice the capacity of a pipe, for a reader that starts late.
        const SAMPLES: u64 = 50;
        let (reader, writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("set");
        let mut stdout = start(writer);
        for number in 0..SAMPLES {
            put(&mut stdout, sample(number, 3000));
        }
        let reading =
            thread::spawn(move || BufReader::new(reader).lines().map(|line| line.expect("text").len()).collect());
        assert!(stdout.end(Duration::from_secs(60)).await);
        let lengths: Vec<usize> = reading.join().expect("no panic");
        assert_eq!(lengths.len() as u64, SAMPLES);
        assert!(lengths.iter().all(|length| (3000..3100).contains(length)), "{lengths:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_short_line_is_written_immediately() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut stdout = start(writer);
        if write_nowait(stdout.at_once.as_ref().expect("a pipe"), b"")
            .is_err_and(|error| error.kind() == io::ErrorKind::Unsupported)
        {
            eprintln!("skipped: this kernel has no immediate writes to pipes");
            return;
        }
        put(&mut stdout, sample(7, 1));
        rustix::io::ioctl_fionbio(&reader, true).expect("set");
        let mut line = [0; 64];
        let length = reader.read(&mut line).expect("already written");
        assert_eq!(&line[..length], b"{\"m\":{\"number\":7,\"padding\":\"x\"}}\n");
    }

    #[tokio::test]
    async fn samples_without_a_thread_are_written_at_once() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (mut stdout, _unread) = sink(writer);
        put(&mut stdout, sample(1, 10_000));
        put(&mut stdout, sample(2, 1));
        assert!(stdout.end(Duration::from_secs(60)).await);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        let is_long: Vec<bool> = text.lines().map(|line| line.len() > 10_000).collect();
        assert!(is_long == [true, false] && text.ends_with('\n'), "{text}");
    }

    #[tokio::test]
    async fn thread_writes_samples_that_had_no_room() {
        // More than a pipe holds, and nobody reads before the thread has started.
        const SAMPLES: u64 = 50;
        let (reader, writer) = io::pipe().expect("a pipe");
        let (mut stdout, _unread) = sink(writer);
        for number in 0..SAMPLES {
            put(&mut stdout, sample(number, 2000));
        }
        stdout.start_thread().expect("a thread");
        stdout.start_thread().expect("it runs");
        put(&mut stdout, sample(SAMPLES, 2000));
        let reading = read_numbers(reader);
        assert!(stdout.end(Duration::from_secs(60)).await);
        assert_eq!(reading.join().expect("no panic"), (0..=SAMPLES).map(Some).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn end_without_a_thread_does_not_wait() {
        let (_reader, writer) = io::pipe().expect("a pipe");
        let (mut stdout, _unread) = sink(writer);
        for number in 0..200 {
            put(&mut stdout, sample(number, 2000));
        }
        assert!(stdout.queue.dropped() > 0);
        // For ever, if it waited.
        assert!(!stdout.end(Duration::MAX).await);
    }

    #[test]
    fn closed_pipe_is_noticed_without_a_thread_too() {
        for has_thread in [true, false] {
            let (reader, writer) = io::pipe().expect("a pipe");
            let (mut stdout, closed) = sink(writer);
            if has_thread {
                stdout.start_thread().expect("a thread");
            }
            drop(reader);
            put(&mut stdout, sample(1, 1));
            closed.blocking_recv().expect("closed");
        }
    }

    #[test]
    fn a_file_takes_all_samples_without_a_thread() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (mut stdout, _unread) = sink(file.reopen().expect("opened"));
        for number in 0..200 {
            put(&mut stdout, sample(number, 2000));
        }
        assert_eq!(std::fs::read_to_string(file.path()).expect("text").lines().count(), 200);
    }
}
