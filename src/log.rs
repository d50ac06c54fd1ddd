//! The agent's own log: a line an event on standard error, written by a thread of its own, so that a log that nobody
//! reads, or a full disk behind it, costs lines and nothing else.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::queue::Queue;

/// How many lines wait to be written: what a thousand plugins say when they are loaded.
const QUEUE: usize = 1024;

/// How long the end of the agent waits for the last lines to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// The log, until this is dropped.
#[derive(Debug)]
pub struct Log {
    lines: Lines,
}

/// The writing end, as tracing wants it.
#[derive(Debug, Clone)]
struct Lines(Arc<Queue<Vec<u8>>>);

impl Log {
    /// Begins to log what the whole program says from now on.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let lines = Lines(Arc::new(Queue::new(QUEUE)));
        let queue = Arc::clone(&lines.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            run(&queue);
            queue.close();
        })?;
        tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_target(false)
            .with_ansi(false)
            .log_internal_errors(false)
            .init();
        Ok(Self { lines })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // What a stuck log does not take is lost with it.
        let _ = self.lines.0.end(FLUSH);
    }
}

/// Writes lines until there are no more. One that cannot be written is lost; there is nowhere to say so.
fn run(lines: &Queue<Vec<u8>>) {
    let mut dropped = 0;
    while let Some(line) = lines.take() {
        let mut stderr = io::stderr().lock();
        if lines.dropped() > dropped {
            let _ = writeln!(stderr, "{} lines of log were dropped", lines.dropped() - dropped);
            dropped = lines.dropped();
        }
        let _ = stderr.write_all(&line);
    }
}

/// tracing writes each event at once.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line.to_vec());
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
