//! The sink for a person or a pipe: one JSON object a sample on standard output.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::{QUEUE, Samples, Style, encode};
use crate::sample::Sample;

/// Starts the thread that writes what is put into the queue. The receiver hears when the reader has closed the pipe.
///
/// # Errors
///
/// When the thread cannot be started.
pub fn start() -> io::Result<(Arc<Samples>, oneshot::Receiver<()>)> {
    let queue = Arc::new(Samples::new(QUEUE));
    let (closed, on_closed) = oneshot::channel();
    let samples = Arc::clone(&queue);
    thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        if run(&samples) {
            // The agent may have ended already.
            let _ = closed.send(());
        }
        samples.close();
    })?;
    Ok((queue, on_closed))
}

/// Writes until there is no more to write. Answers whether that is because nobody reads.
fn run(samples: &Samples) -> bool {
    let mut line = Vec::new();
    let mut is_failing = false;
    while let Some(sample) = samples.take() {
        line.clear();
        encode(&sample, Style::Line, &mut line);
        match write(&line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return true,
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::error!("failed to write to standard output: {error}; samples are lost until that works again");
            }
            Ok(()) if is_failing => {
                is_failing = false;
                tracing::info!("standard output works again");
            }
            _ => {}
        }
    }
    false
}

/// Writes one sample at once.
///
/// # Errors
///
/// Those of the system, among them a broken pipe.
pub fn once(sample: &Sample, style: Style) -> io::Result<()> {
    let mut text = Vec::new();
    encode(sample, style, &mut text);
    write(&text)
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
