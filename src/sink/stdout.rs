//! Standard output: a line of JSON for each sample. A separate thread writes the lines, since a write may block for any
//! time. Short lines for which a pipe has room are written at once, without the thread.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Encoder, QUEUE_SAMPLES, SampleQueue, Style, encode};
use crate::sample::Sample;
use crate::write::write_whole;

/// The longest write that a pipe accepts as a whole or not at all (`PIPE_BUF` on Linux).
const AT_ONCE_BYTES: usize = 4096;

/// The most metrics for an immediate write: more make a line that is longer than [`AT_ONCE_BYTES`].
const AT_ONCE_METRICS: usize = 160;

/// The sink for standard output.
#[derive(Debug)]
pub(crate) struct Stdout {
    queue: Arc<SampleQueue>,
    /// The pipe for immediate writes; none if the output is not a pipe, or an immediate write failed.
    at_once: Option<File>,
    encoder: Encoder,
    line: Vec<u8>,
}

impl Stdout {
    /// Starts the thread. The receiver completes when the reader closes the pipe.
    pub(crate) fn start(output: File) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let queue = Arc::new(SampleQueue::new(QUEUE_SAMPLES));
        let (closed, on_closed) = oneshot::channel();
        let at_once = if output.metadata()?.file_type().is_fifo() { Some(output.try_clone()?) } else { None };
        let stdout = Self { queue: Arc::clone(&queue), at_once, encoder: Encoder::default(), line: Vec::new() };
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            if run(&queue, output) {
                // The agent may have ended already.
                let _ = closed.send(());
            }
            queue.close();
        })?;
        Ok((stdout, on_closed))
    }

    /// Writes a sample without waiting: at once, or through the queue.
    pub(crate) fn put(&mut self, sample: &Arc<Sample>) {
        // Samples in the queue come first.
        if !(self.queue.is_idle() && self.is_written_at_once(sample)) {
            self.queue.put(Arc::clone(sample));
        }
    }

    /// The number of samples that were dropped because the queue was full or a write failed.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Waits at most this long for the remaining samples to be written. Returns whether they were.
    pub(crate) fn end(self, patience: Duration) -> bool {
        self.queue.end(patience)
    }

    fn is_written_at_once(&mut self, sample: &Sample) -> bool {
        let metrics: usize = sample.modules.iter().map(|module| module.len()).sum();
        let Some(output) = self.at_once.as_ref().filter(|_| metrics <= AT_ONCE_METRICS) else { return false };
        self.line.clear();
        self.encoder.encode(sample, Style::Line, &mut self.line);
        if self.line.len() > AT_ONCE_BYTES {
            return false;
        }
        match write_at_once(output, &self.line) {
            Ok(_all) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // The thread gets the same error and handles it.
            Err(_) => {
                self.at_once = None;
                false
            }
        }
    }
}

/// Writes bytes to a pipe if it has room for them; otherwise fails with `WouldBlock`.
#[cfg(target_os = "linux")]
fn write_at_once(pipe: &File, bytes: &[u8]) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, pwritev2};

    /// The offset for files without positions, such as pipes.
    const NONE: u64 = u64::MAX;

    Ok(pwritev2(pipe, &[io::IoSlice::new(bytes)], NONE, ReadWriteFlags::NOWAIT)?)
}

#[cfg(not(target_os = "linux"))]
fn write_at_once(_pipe: &File, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes samples until the queue ends. Returns whether it ended because the reader closed the pipe.
fn run(samples: &SampleQueue, mut output: File) -> bool {
    let (mut encoder, mut line) = (Encoder::default(), Vec::new());
    let mut is_failing = false;
    // The last line was cut off: the next one begins with a line break.
    let mut is_torn = false;
    while let Some(sample) = samples.take() {
        line.clear();
        if is_torn {
            line.push(b'\n');
        }
        encoder.encode(&sample, Style::Line, &mut line);
        let mut written = 0;
        let result = write_whole(&mut output, &line, &mut written);
        if written > 0 {
            is_torn = result.is_err();
        }
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return true,
            Err(error) => {
                samples.lose();
                if !std::mem::replace(&mut is_failing, true) {
                    let remedy = "make space, or restart the reader";
                    tracing::error!(reason = %error, remedy, "samples lost: standard output not writable");
                }
            }
            Ok(()) if is_failing => {
                is_failing = false;
                tracing::info!("standard output writable again");
            }
            Ok(()) => {}
        }
    }
    false
}

/// Writes one sample from the calling thread, for `--once`.
pub(crate) fn once(sample: &Sample, style: Style) -> io::Result<()> {
    let mut text = Vec::new();
    encode(sample, style, &mut text);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&text)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::sample::test_module;

    /// A sample with a number and a text of this length.
    fn sample(number: u64, length: usize) -> Arc<Sample> {
        let module = test_module("m", |values| {
            values.push("number", number);
            values.push("padding", &*"x".repeat(length));
        });
        Arc::new(Sample { modules: vec![module], ..Sample::default() })
    }

    #[test]
    fn queued_and_immediate_lines_keep_their_order() {
        // A pipe holds 64 KiB: most samples wait in the queue for the reader, and some are too long for an immediate
        // write.
        const SAMPLES: u64 = 50;
        let (reader, writer) = io::pipe().expect("a pipe");
        let (mut stdout, _unread) = Stdout::start(File::from(OwnedFd::from(writer))).expect("a thread");
        for number in 0..SAMPLES {
            stdout.put(&sample(number, if number % 5 == 0 { 5000 } else { 2000 }));
        }
        let reading = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
            lines.map(|line| line.split([':', ',']).nth(2).and_then(|number| number.parse().ok())).collect::<Vec<_>>()
        });
        assert_eq!(stdout.dropped(), 0);
        assert!(stdout.end(Duration::from_secs(60)));
        let expected: Vec<Option<u64>> = (0..SAMPLES).map(Some).collect();
        assert_eq!(reading.join().expect("no panic"), expected);
    }

    #[test]
    fn nonblocking_output_gets_all_lines() {
        // Twice the capacity of a pipe, for a reader that starts late.
        const SAMPLES: u64 = 50;
        let (reader, writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("set");
        let (mut stdout, _unread) = Stdout::start(File::from(OwnedFd::from(writer))).expect("a thread");
        for number in 0..SAMPLES {
            stdout.put(&sample(number, 3000));
        }
        let reading =
            thread::spawn(move || BufReader::new(reader).lines().map(|line| line.expect("text").len()).collect());
        assert!(stdout.end(Duration::from_secs(60)));
        let lengths: Vec<usize> = reading.join().expect("no panic");
        assert_eq!(lengths.len() as u64, SAMPLES);
        assert!(lengths.iter().all(|length| (3000..3100).contains(length)), "{lengths:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_short_line_is_written_immediately() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (mut stdout, _unread) = Stdout::start(File::from(OwnedFd::from(writer))).expect("a thread");
        if write_at_once(stdout.at_once.as_ref().expect("a pipe"), b"")
            .is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()))
        {
            eprintln!("skipped: this kernel has no immediate writes to pipes");
            return;
        }
        stdout.put(&sample(7, 1));
        rustix::io::ioctl_fionbio(&reader, true).expect("set");
        let mut line = [0; 64];
        let length = io::Read::read(&mut reader, &mut line).expect("already written");
        assert_eq!(&line[..length], b"{\"m\":{\"number\":7,\"padding\":\"x\"}}\n");
    }
}
