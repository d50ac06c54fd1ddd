//! The sink for a person or a pipe: one JSON object a sample on standard output. A thread of its own writes them, which
//! may be stuck in that for any time; a short line that a pipe has room for does not need it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::{QUEUE, Samples, Style, encode};
use crate::sample::{Module, Sample};

/// What a pipe takes all at once or not at all (`PIPE_BUF` on Linux).
const AT_ONCE_BYTES: usize = 4096;

/// A sample with more metrics makes a longer line than that, and is not worth trying.
const AT_ONCE_METRICS: usize = 160;

/// Standard output, as long as the agent runs.
#[derive(Debug)]
pub struct Stdout {
    queue: Arc<Samples>,
    /// The pipe into which short lines are tried at once; none when there is none or it does not take them.
    at_once: Option<File>,
    line: Vec<u8>,
}

impl Stdout {
    /// Starts the thread. The receiver hears when the reader has closed the pipe.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(output: File) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let queue = Arc::new(Samples::new(QUEUE));
        let (closed, on_closed) = oneshot::channel();
        let at_once = if output.metadata()?.file_type().is_fifo() { Some(output.try_clone()?) } else { None };
        let stdout = Self { queue: Arc::clone(&queue), at_once, line: Vec::new() };
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            if run(&queue, output) {
                // The agent may have ended already.
                let _ = closed.send(());
            }
            queue.close();
        })?;
        Ok((stdout, on_closed))
    }

    /// Has a sample written, and does not wait for that.
    pub fn put(&mut self, sample: &Arc<Sample>) {
        // What waits goes first.
        if !(self.queue.is_idle() && self.is_written_at_once(sample)) {
            self.queue.put(Arc::clone(sample));
        }
    }

    /// How many samples were dropped since nobody read them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Waits so long for the last samples to be written. Answers whether they are.
    #[must_use]
    pub fn end(self, patience: Duration) -> bool {
        self.queue.end(patience)
    }

    fn is_written_at_once(&mut self, sample: &Sample) -> bool {
        let metrics: usize = sample.modules.iter().map(Module::len).sum();
        let Some(output) = self.at_once.as_ref().filter(|_| metrics <= AT_ONCE_METRICS) else { return false };
        self.line.clear();
        encode(sample, Style::Line, &mut self.line);
        if self.line.len() > AT_ONCE_BYTES {
            return false;
        }
        match write_at_once(output, &self.line) {
            Ok(_all) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // Whatever it is, the thread meets it too and knows what to do.
            Err(_) => {
                self.at_once = None;
                false
            }
        }
    }
}

/// Writes as many bytes as a pipe takes all at once, or none of them when there is no room.
#[cfg(target_os = "linux")]
fn write_at_once(pipe: &File, bytes: &[u8]) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, pwritev2};

    /// The offset that stands for none: a pipe has no positions.
    const NONE: u64 = u64::MAX;

    Ok(pwritev2(pipe, &[io::IoSlice::new(bytes)], NONE, ReadWriteFlags::NOWAIT)?)
}

#[cfg(not(target_os = "linux"))]
fn write_at_once(_pipe: &File, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes until there is no more to write. Answers whether that is because nobody reads.
fn run(samples: &Samples, mut output: File) -> bool {
    let mut line = Vec::new();
    let mut is_failing = false;
    // Whether the last line was cut off, and the next one is to begin on a line of its own.
    let mut is_torn = false;
    while let Some(sample) = samples.take() {
        line.clear();
        if is_torn {
            line.push(b'\n');
        }
        encode(&sample, Style::Line, &mut line);
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

/// Writes all of a line, however long that takes; counts what it has written. Whoever has made the output non-blocking, as
/// the other end of a pipe may, is waited for all the same.
fn write_whole(output: &mut File, line: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < line.len() {
        match output.write(&line[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => *written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(output, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes one sample at once.
///
/// # Errors
///
/// Those of the system, among them a broken pipe.
pub fn once(sample: &Sample, style: Style) -> io::Result<()> {
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

    /// A sample that is told from others by its number, and is so many bytes long.
    fn sample(number: u64, length: usize) -> Arc<Sample> {
        let mut sample = Sample::default();
        let module = sample.module("m");
        module.push("number", number);
        module.push("padding", &*"x".repeat(length));
        Arc::new(sample)
    }

    #[test]
    fn lines_keep_their_order_whoever_writes_them() {
        // A pipe holds 64 KiB, so most of these wait in the queue until someone reads, and some are too long for a
        // pipe to take at once.
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
    fn an_output_that_does_not_wait_is_waited_for() {
        // Twice what a pipe holds, for a reader that comes late.
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
    fn a_short_line_is_in_the_pipe_when_put_returns() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (mut stdout, _unread) = Stdout::start(File::from(OwnedFd::from(writer))).expect("a thread");
        if write_at_once(stdout.at_once.as_ref().expect("it is a pipe"), b"")
            .is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()))
        {
            eprintln!("this kernel's pipes do not take a write that must not wait; the thread writes");
            return;
        }
        stdout.put(&sample(7, 1));
        rustix::io::ioctl_fionbio(&reader, true).expect("set");
        let mut line = [0; 64];
        let length = io::Read::read(&mut reader, &mut line).expect("it is there already");
        assert_eq!(&line[..length], b"{\"m\":{\"number\":7,\"padding\":\"x\"}}\n");
    }
}
