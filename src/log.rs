//! The agent's own log: one line per event on standard error, written by a thread of its own, so that a log without a
//! reader, or with a full disk behind it, costs lines and nothing else.
//!
//! An event is a fixed message and fields. As text: `2026-11-25T10:00:00.000000Z  WARN plugin rejected plugin=redis
//! reason="…"`; as JSON: one object with `time`, `level`, `message` and the fields. Every character that is not plain
//! (`escape::is_plain`) is escaped in messages and fields, so that no name or text from outside can forge a line.
//!
//! A host without threads has a log, too: until the thread runs, whoever logs writes as many lines as standard error takes
//! without waiting. A terminal promises nothing, so that its lines wait for the thread.

mod format;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use self::format::{Formatter, LineBuilder, SharedFormat};
use crate::config::log::{LogConfig, LogLevel};
use crate::queue::Queue;
use crate::thread::hand_over;
use crate::write::{write_at_once, write_whole};

/// How many lines wait to be written: as many as a thousand plugins log when they are loaded.
const QUEUE: usize = 1024;

/// How long the end of the agent waits for the last lines to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// The log, from its start until this is dropped.
#[derive(Debug)]
pub struct Log {
    lines: Lines,
    level: reload::Handle<LevelFilter, Registry>,
    format: SharedFormat,
}

impl Log {
    /// Starts to log all events of the program. A host that has no thread for it gets the lines all the same, as far as
    /// standard error takes them at once: see [`start_thread`](Self::start_thread).
    #[must_use]
    pub fn start(config: LogConfig) -> Self {
        let format = SharedFormat::new(config.format);
        let formatter = Formatter { format: format.clone(), is_journal: is_journal() };
        let lines = Lines(Arc::new(LineQueue::new(QUEUE, formatter.clone())));
        let (filter, level) = reload::Layer::new(filter(config.level));
        let log = Self { lines: lines.clone(), level, format };
        // The agent tries again, and reports it.
        let _ = log.start_thread();
        let layer = tracing_subscriber::fmt::layer().with_writer(lines).event_format(formatter);
        tracing_subscriber::registry().with(filter).with(layer).init();
        log
    }

    /// Follows another configuration, from the next line on.
    pub(crate) fn reconfigure(&self, config: LogConfig) {
        self.format.set(config.format);
        // It fails only without a subscriber, of which this is the handle.
        let _ = self.level.modify(|level| *level = filter(config.level));
    }

    /// Starts the thread that writes the lines, unless it runs.
    ///
    /// # Errors
    ///
    /// When the host has no more threads.
    pub fn start_thread(&self) -> io::Result<()> {
        let started = start_thread(&self.lines.0, io::stderr());
        if started.is_err() {
            // Standard error may have room again.
            self.lines.0.write_at_once(&mut io::stderr());
        }
        started
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Lines that a stuck log does not take are lost with it.
        self.lines.0.end(&mut io::stderr());
    }
}

/// The queue in front of standard error, as tracing writes to it.
#[derive(Debug, Clone)]
struct Lines(Arc<LineQueue>);

/// Each write of tracing is one whole line.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line.to_vec(), &mut io::stderr());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Lines that wait to be written, and the writer while there is no thread for it.
#[derive(Debug)]
struct LineQueue {
    queue: Queue<Vec<u8>>,
    /// None once the thread has it. Behind a lock because every thread may log; it is held for writes that do not wait, and
    /// for the start of the thread.
    writer: Mutex<Option<LineWriter>>,
}

impl LineQueue {
    fn new(capacity: usize, formatter: Formatter) -> Self {
        Self { queue: Queue::new(capacity), writer: Mutex::new(Some(LineWriter::new(formatter))) }
    }

    /// Puts in a line. Without the thread it is written at once, if the output has room for it and for those before it.
    fn put(&self, line: Vec<u8>, output: &mut (impl Write + AsFd)) {
        self.queue.put(line);
        self.write_at_once(output);
    }

    fn write_at_once(&self, output: &mut (impl Write + AsFd)) {
        if let Some(writer) = &mut *self.lock() {
            writer.write_at_once(&self.queue, output);
        }
    }

    /// Ends the queue, and waits for the thread to write the remaining lines.
    fn end(&self, output: &mut (impl Write + AsFd)) {
        self.write_at_once(output);
        if self.lock().is_none() {
            self.queue.end(FLUSH);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<LineWriter>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread of a queue, unless it runs.
fn start_thread(lines: &Arc<LineQueue>, mut output: impl Write + AsFd + Send + 'static) -> io::Result<()> {
    let shared = Arc::clone(lines);
    hand_over("log", &mut *lines.lock(), move |writer| {
        writer.write_all(&shared.queue, &mut output);
        shared.queue.close();
    })
}

/// Writes lines one after the other. A line that cannot be written is lost: there is no other place for it. It is counted with
/// those that the full queue dropped, and the count is written once that is possible.
#[derive(Debug)]
struct LineWriter {
    formatter: Formatter,
    /// The line that is being written, and how much of it is.
    line: Vec<u8>,
    written: usize,
    /// How many lost lines the line in hand reports, if it is such a notice.
    notice: Option<u64>,
    /// How many lost lines were reported.
    reported: u64,
    /// The last line was cut off: the next one begins with a line break.
    is_torn: bool,
}

impl LineWriter {
    fn new(formatter: Formatter) -> Self {
        Self { formatter, line: Vec::new(), written: 0, notice: None, reported: 0, is_torn: false }
    }

    /// Writes lines until the queue ends.
    fn write_all(mut self, lines: &Queue<Vec<u8>>, output: &mut (impl Write + AsFd)) {
        loop {
            if !self.line.is_empty() {
                let result = write_whole(output, &self.line, &mut self.written);
                self.finish(result.is_ok(), lines);
            }
            let Some(line) = lines.take() else { return };
            if self.begin_notice(lines) {
                let result = write_whole(output, &self.line, &mut self.written);
                self.finish(result.is_ok(), lines);
            }
            self.begin(line);
        }
    }

    /// Writes the lines that wait, as far as the output takes them without waiting. A failure ends that until the next line.
    fn write_at_once(&mut self, lines: &Queue<Vec<u8>>, output: &mut (impl Write + AsFd)) {
        loop {
            if self.line.is_empty() && !self.begin_notice(lines) {
                let Some(line) = lines.take_now() else { return };
                self.begin(line);
            }
            match write_at_once(output, &self.line, &mut self.written) {
                Ok(()) => self.finish(true, lines),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.finish(false, lines),
            }
        }
    }

    fn begin(&mut self, mut line: Vec<u8>) {
        if self.is_torn {
            line.insert(0, b'\n');
        }
        self.line = line;
    }

    /// Begins a line about lost ones. Returns false when there is nothing new.
    fn begin_notice(&mut self, lines: &Queue<Vec<u8>>) -> bool {
        let dropped = lines.dropped();
        if dropped <= self.reported {
            return false;
        }
        let mut notice = LineBuilder::default();
        notice.push_text("message", "log lines dropped");
        notice.push_number("count", dropped - self.reported);
        self.begin(self.formatter.line(Level::WARN, &notice).into_bytes());
        self.notice = Some(dropped);
        true
    }

    /// Ends the line in hand.
    fn finish(&mut self, is_written: bool, lines: &Queue<Vec<u8>>) {
        if self.written > 0 {
            self.is_torn = !is_written;
        }
        match self.notice.take() {
            Some(dropped) if is_written => self.reported = dropped,
            None if !is_written => lines.lose(),
            _ => {}
        }
        self.line.clear();
        self.written = 0;
    }
}

/// Whether standard error is the journal's: systemd names its device and inode in `$JOURNAL_STREAM` (systemd.exec(5)).
#[expect(clippy::disallowed_methods, reason = "the variable describes a stream and overrides no key")]
fn is_journal() -> bool {
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Seek as _, SeekFrom};
    use std::os::fd::BorrowedFd;
    use std::thread;

    use super::*;
    use crate::config::log::LogFormat;

    fn formatter() -> Formatter {
        Formatter { format: SharedFormat::new(LogFormat::Text), is_journal: true }
    }

    /// What the thread writes of these lines to this output, and how many it counts as dropped.
    fn written(lines: &[&str], output: &mut (impl Write + AsFd)) -> u64 {
        let queue = Queue::new(lines.len());
        for line in lines {
            queue.put(format!("{line}\n").into_bytes());
        }
        queue.end(Duration::ZERO);
        LineWriter::new(formatter()).write_all(&queue, output);
        queue.dropped()
    }

    #[test]
    fn nonblocking_output_gets_all_lines() {
        // Twice the capacity of a pipe, for a reader that starts when the pipe is full.
        let (reader, mut writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("set");
        let line = "x".repeat(2000);
        let lines = vec![&*line; 64];
        let reading = thread::spawn(move || {
            let nearly_full = rustix::pipe::fcntl_getpipe_size(&reader).expect("a size") as u64 * 9 / 10;
            while rustix::io::ioctl_fionread(&reader).expect("a size") < nearly_full {
                thread::yield_now();
            }
            BufReader::new(reader).lines().map(|line| line.expect("text").len()).collect::<Vec<_>>()
        });
        assert_eq!(written(&lines, &mut writer), 0);
        drop(writer);
        assert_eq!(reading.join().expect("no panic"), vec![2000; 64]);
    }

    /// A file whose writes fail after so many bytes, until `fails` more have failed.
    struct FullDisk {
        file: File,
        space: usize,
        fails: usize,
    }

    impl Write for FullDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.space == 0 && self.fails > 0 {
                self.fails -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let length = if self.fails > 0 { bytes.len().min(self.space) } else { bytes.len() };
            self.space = self.space.saturating_sub(length);
            self.file.write(&bytes[..length])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for FullDisk {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.file.as_fd()
        }
    }

    #[test]
    fn lines_lost_on_a_full_disk_are_counted() {
        let file = tempfile::tempfile().expect("a file");
        // `one` fits, `two` is cut off; then the notice and `three` fail.
        let mut disk = FullDisk { file: file.try_clone().expect("cloned"), space: 6, fails: 3 };
        assert_eq!(written(&["one", "two", "three", "four"], &mut disk), 2);
        let mut text = String::new();
        (&file).seek(SeekFrom::Start(0)).expect("a file");
        (&file).read_to_string(&mut text).expect("text");
        assert_eq!(text, "one\ntw\n<4> WARN log lines dropped count=2\nfour\n");
    }

    fn put_numbers(lines: &LineQueue, numbers: std::ops::Range<u64>, output: &mut (impl Write + AsFd)) {
        for number in numbers {
            lines.put(format!("{number:>999}\n").into_bytes(), output);
        }
    }

    /// Reads lines that are numbers, to the end.
    fn read_numbers(reader: PipeReader) -> Vec<u64> {
        let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
        lines.map(|line| line.trim().parse().unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    #[test]
    fn lines_without_a_thread_are_written_at_once() {
        let lines = LineQueue::new(3, formatter());
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        lines.put(b"one\n".to_vec(), &mut writer);
        lines.put([&[b'x'; 5000][..], b"\n"].concat(), &mut writer);
        let mut text = [0; 5005];
        reader.read_exact(&mut text).expect("already written");
        assert!(text.starts_with(b"one\nx") && text.ends_with(b"x\n"));
    }

    #[test]
    fn thread_writes_lines_that_had_no_room() {
        // More than a pipe holds, and nobody reads before the thread has started: nothing waits, and the order is kept.
        let lines = Arc::new(LineQueue::new(200, formatter()));
        let (reader, mut writer) = io::pipe().expect("a pipe");
        put_numbers(&lines, 0..100, &mut writer);
        for _ in 0..2 {
            start_thread(&lines, writer.try_clone().expect("cloned")).expect("a thread");
        }
        put_numbers(&lines, 100..120, &mut writer);
        drop(writer);
        let reading = thread::spawn(move || read_numbers(reader));
        assert!(lines.queue.end(Duration::from_secs(60)));
        assert_eq!(reading.join().expect("no panic"), (0..120).collect::<Vec<_>>());
    }

    #[test]
    fn lines_without_room_are_dropped_and_counted() {
        let lines = LineQueue::new(3, formatter());
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        put_numbers(&lines, 0..100, &mut writer);
        let dropped = lines.queue.dropped();
        assert!(dropped > 20, "{dropped}");
        let mut full = vec![0; usize::try_from(rustix::io::ioctl_fionread(&reader).expect("a size")).expect("small")];
        reader.read_exact(&mut full).expect("read");
        put_numbers(&lines, 100..101, &mut writer);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        let text = String::from_utf8(full).expect("text") + &text;
        let notice = format!("<4> WARN log lines dropped count={}", dropped + 1);
        assert!(text.lines().any(|line| line == notice), "{text}");
        let last: Vec<&str> = text.lines().rev().take(3).map(str::trim).collect();
        assert_eq!(last, ["100", "99", "98"]);
    }

    #[test]
    fn a_full_disk_without_a_thread_loses_lines() {
        let file = tempfile::tempfile().expect("a file");
        // `two` is cut off, and the notice fails twice.
        let mut disk = FullDisk { file: file.try_clone().expect("cloned"), space: 6, fails: 3 };
        let lines = LineQueue::new(9, formatter());
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            lines.put(line.into(), &mut disk);
        }
        lines.end(&mut disk);
        let mut text = String::new();
        (&file).seek(SeekFrom::Start(0)).expect("a file");
        (&file).read_to_string(&mut text).expect("text");
        assert_eq!(text, "one\ntw\n<4> WARN log lines dropped count=1\nthree\nfour\n");
    }
}
