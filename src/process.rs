//! The agent as a process: the signals that it is sent, and the limits that it runs under.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handles signals from now on, so that none ends the agent without a log line. The future completes at the first signal
/// that asks the agent to end: `SIGTERM` of a supervisor, `SIGINT` of Ctrl-C. Until then it logs the others.
///
/// # Errors
///
/// When the system does not let a signal be handled.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    let mut user2 = signal(SignalKind::user_defined2())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut alarm = signal(SignalKind::alarm())?;
    let file_size = ignore_file_size_signal()?;
    Ok(async move {
        // Handled for as long as the agent runs.
        let _file_size = file_size;
        loop {
            let ignored = tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => {
                    tracing::warn!(
                        signal = "HUP",
                        remedy = "restart the agent to apply a changed configuration",
                        "configuration not reloaded"
                    );
                    continue;
                }
                _ = user1.recv() => "USR1",
                _ = user2.recv() => "USR2",
                _ = quit.recv() => "QUIT",
                _ = alarm.recv() => "ALRM",
            };
            tracing::info!(signal = ignored, "signal ignored");
        }
    })
}

/// Lets a write beyond the limit of a file's size fail with `EFBIG`, which is reported, instead of ending the agent.
fn ignore_file_size_signal() -> io::Result<Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

/// Raises the limit of open files to the most that is allowed: each plugin has a descriptor, and the default is meant for
/// programs that use `select`.
pub fn raise_descriptor_limit() {
    let allowed = getrlimit(Resource::Nofile);
    // Where that fails there is capacity for fewer plugins, which is reported when it runs out.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed });
}
