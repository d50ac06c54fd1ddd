//! The agent as a process: the signals that it is sent, the limits that it runs under, and the service manager that started
//! it.

pub mod notify;

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks the agent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To end: `SIGTERM` of a supervisor, `SIGINT` of Ctrl-C.
    End,
    /// To read its configuration again: `SIGHUP`.
    Reload,
    /// To open the files of its sinks again: `SIGUSR1` of a program that renamed them.
    Reopen,
}

/// The signals that the agent handles, for as long as it runs.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    quit: Signal,
    alarm: Signal,
    /// Handled, and nothing else.
    _file_size: Signal,
}

impl Signals {
    /// Handles signals from now on, so that none ends the agent without a log line.
    ///
    /// # Errors
    ///
    /// When the system does not let a signal be handled.
    pub fn handle() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            quit: signal(SignalKind::quit())?,
            alarm: signal(SignalKind::alarm())?,
            _file_size: ignore_file_size_signal()?,
        })
    }

    /// Waits for the next signal that asks the agent for something. Meanwhile it logs the others. Cancellation safe.
    pub async fn request(&mut self) -> Request {
        loop {
            let ignored = tokio::select! {
                biased;
                _ = self.terminate.recv() => return Request::End,
                _ = self.interrupt.recv() => return Request::End,
                _ = self.hangup.recv() => return Request::Reload,
                _ = self.user1.recv() => return Request::Reopen,
                _ = self.user2.recv() => "USR2",
                _ = self.quit.recv() => "QUIT",
                _ = self.alarm.recv() => "ALRM",
            };
            log_ignored(ignored);
        }
    }
}

/// Logs a signal that has no effect.
pub(crate) fn log_ignored(signal: &str) {
    tracing::info!(signal, "signal ignored");
}

/// Lets a write beyond the limit of a file's size fail with `EFBIG`, which is reported, instead of ending the process, as long
/// as the result exists.
///
/// # Errors
///
/// When the system does not let the signal be handled.
pub(crate) fn ignore_file_size_signal() -> io::Result<Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

/// Raises the limit of open files to the most that is allowed: each plugin has a descriptor, and the default is meant for
/// programs that use `select`.
pub fn raise_descriptor_limit() {
    let allowed = getrlimit(Resource::Nofile);
    // Where that fails there is capacity for fewer plugins, which is reported when it runs out.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed });
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// For this process: the only test that sends it signals.
    #[tokio::test]
    async fn a_second_signal_is_awaited_again() {
        let mut signals = Signals::handle().expect("handled");
        kill_process(getpid(), Signal::HUP).expect("sent");
        assert_eq!(signals.request().await, Request::Reload);
        kill_process(getpid(), Signal::USR1).expect("sent");
        assert_eq!(signals.request().await, Request::Reopen);
        for signal in [Signal::TERM, Signal::INT] {
            kill_process(getpid(), Signal::USR2).expect("sent");
            kill_process(getpid(), signal).expect("sent");
            assert_eq!(signals.request().await, Request::End);
        }
    }
}
