//! Signals: how whoever runs the agent tells it to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Begins to listen, at once, for the signals that ask the agent to end: `SIGTERM` of a supervisor, `SIGINT` of Ctrl-C.
/// The future that is returned waits for the first of them.
///
/// # Errors
///
/// When the system does not let them be listened for.
pub fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
