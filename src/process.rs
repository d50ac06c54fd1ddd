//! What whoever runs the agent tells it: by signals, when to end; by limits, how much it may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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

/// Takes as many open files as it may have: each plugin has one, and the limit that holds at first is for programs that use
/// `select`.
pub fn raise_descriptor_limit() {
    let allowed = getrlimit(Resource::Nofile);
    // Without it there is room for fewer plugins, which is said when it comes to that.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed });
}
