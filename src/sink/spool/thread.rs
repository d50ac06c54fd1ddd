//! The thread `spool` of a sink: all that its spool does to the disk is done here, however long the disk takes. The sender has a
//! handle, with one command under way at a time.
//!
//! The first command claims and marks the state directory, and opens the spool that an earlier run has left there. A directory of the
//! spool's own is made when something is to be kept, and not before.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::backlog::{DiskBacklog, SpoolLosses};
use super::bounds::SpoolBounds;
use super::error::without_state;
use super::segment::SpoolIdentity;
use super::storage::Spool;
use crate::clock::schedule::wall_clock;
use crate::sink::error::{ErrorReason, SinkError};
use crate::sink::request::Request;
use crate::state_directory::{SpoolClaim, StateDirectory};
use crate::thread::hand_over;

/// How often what is too old is removed without a command. The least time for which requests are kept is as long.
const CHECK: Duration = Duration::from_secs(60);

/// A command to a spool.
#[derive(Debug)]
pub(crate) enum SpoolCommand {
    /// Claims the state directory, and opens the spool that an earlier run has left, if there is one. An error of the state directory
    /// is reported by that, and others are the reply's problem, too.
    Open,
    /// Keeps these requests, behind all others. [`SpoolAnswer::Appended`].
    Append(Vec<Request>),
    /// The requests from a sequence on. [`SpoolAnswer::Requests`].
    Read {
        from: u64,
        /// Not many more bytes than these, but at least one request.
        max_bytes: usize,
    },
    /// All up to this sequence are delivered, or given up.
    Acknowledge { through: u64 },
    /// Drops the oldest segment: there is no room for newer requests.
    DropOldest,
    /// Waits until all is on the disk.
    Sync,
    /// Goes on with other bounds, and with requests of another naming or version.
    Configure(SpoolIdentity, SpoolBounds),
}

/// The answer to a command that has succeeded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SpoolAnswer {
    Done,
    /// The sequence of the first request. Each has the one after that of the request before it.
    Appended {
        first: u64,
    },
    /// Requests with their sequences, in order. Those that are missing are lost.
    Requests(Vec<(u64, Request)>),
}

/// The end of a command.
#[derive(Debug)]
pub(crate) struct SpoolReply {
    /// With an error, nothing has changed for the sender: requests are not kept, acknowledgements hold as long as the process runs.
    pub(crate) answer: Result<SpoolAnswer, SinkError>,
    /// The requests that wait now.
    pub(crate) backlog: DiskBacklog,
    /// The losses since the reply before.
    pub(crate) losses: SpoolLosses,
    /// Another error since then, which has lost nothing.
    pub(crate) problem: Option<SinkError>,
}

/// The thread of a spool, as the tick thread has it.
#[derive(Debug)]
pub(crate) struct SpoolThread {
    /// None once the thread has it.
    worker: Option<SpoolWorker>,
}

/// A spool, as its sender has it. Without it, the thread ends.
#[derive(Debug)]
pub(crate) struct SpoolHandle {
    commands: SyncSender<PendingCommand>,
    /// The reply to the command that is under way.
    reply: Option<oneshot::Receiver<SpoolReply>>,
    /// As of the last reply.
    backlog: DiskBacklog,
}

/// A command, and where its reply goes.
#[derive(Debug)]
struct PendingCommand {
    command: SpoolCommand,
    reply: oneshot::Sender<SpoolReply>,
}

/// The thread's side of it.
#[derive(Debug)]
struct SpoolWorker {
    pending: Receiver<PendingCommand>,
    state: StateDirectory,
    /// The name of the spool's directory.
    name: String,
    identity: SpoolIdentity,
    bounds: SpoolBounds,
    /// None as long as nothing was kept.
    spool: Option<OpenSpool>,
    losses: SpoolLosses,
    problem: Option<SinkError>,
}

/// An open spool, with its claim on the directory, which is given back after it.
#[derive(Debug)]
struct OpenSpool {
    spool: Spool,
    claim: SpoolClaim,
}

impl SpoolThread {
    /// The spool of a sink with this name, without its thread.
    pub(crate) fn new(
        state: StateDirectory,
        sink: &str,
        identity: SpoolIdentity,
        bounds: SpoolBounds,
    ) -> (SpoolHandle, Self) {
        // One command is under way at a time.
        let (commands, pending) = sync_channel(1);
        let worker = SpoolWorker {
            pending,
            state,
            name: directory_name(sink, identity.kind),
            identity,
            bounds,
            spool: None,
            losses: SpoolLosses::default(),
            problem: None,
        };
        (SpoolHandle { commands, reply: None, backlog: DiskBacklog::default() }, Self { worker: Some(worker) })
    }

    /// Starts the thread, unless it runs.
    ///
    /// # Errors
    ///
    /// When the host has no more threads. Commands wait until another attempt succeeds.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        hand_over("spool", &mut self.worker, SpoolWorker::run)
    }
}

/// The name of the directory of a sink's spool.
pub(crate) fn directory_name(sink: &str, kind: &str) -> String {
    format!("{sink}.{kind}")
}

impl SpoolHandle {
    /// Begins a command, without waiting. A second one is refused while the first is under way.
    pub(crate) fn begin(&mut self, command: SpoolCommand) -> Result<(), SpoolCommand> {
        if self.reply.is_some() {
            return Err(command);
        }
        let (reply, receiver) = oneshot::channel();
        // Without a thread the reply is an error: its other end goes with the command.
        let _ = self.commands.try_send(PendingCommand { command, reply });
        self.reply = Some(receiver);
        Ok(())
    }

    /// Whether a command is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.reply.is_some()
    }

    /// Waits for the reply to the command that is under way; for ever if none is. Cancellation safe.
    pub(crate) async fn reply(&mut self) -> SpoolReply {
        let Some(receiver) = &mut self.reply else { return std::future::pending().await };
        let reply = receiver.await;
        self.reply = None;
        let reply = reply.unwrap_or_else(|_| SpoolReply {
            answer: Err(ended()),
            backlog: self.backlog,
            losses: SpoolLosses::default(),
            problem: None,
        });
        self.backlog = reply.backlog;
        reply
    }

    /// The requests that waited at the last reply.
    pub(crate) fn backlog(&self) -> &DiskBacklog {
        &self.backlog
    }
}

fn ended() -> SinkError {
    let text = "the thread of the spool has ended".to_owned();
    SinkError { reason: ErrorReason::Io, text, remedy: "restart the agent, and report this" }
}

impl SpoolWorker {
    fn run(mut self) {
        loop {
            // Old requests are looked for only where something may be.
            let next = match self.spool {
                Some(_) => self.pending.recv_timeout(CHECK),
                None => self.pending.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(PendingCommand { command, reply }) => {
                    let waited = self.has_waiting();
                    let answer = self.execute(command);
                    self.collect();
                    let (losses, problem) = (std::mem::take(&mut self.losses), self.problem.take());
                    let backlog = self.spool.as_ref().map(|open| open.spool.backlog()).unwrap_or_default();
                    // The sender may have ended.
                    let _ = reply.send(SpoolReply { answer, backlog, losses, problem });
                    self.look_after(waited);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let waited = self.has_waiting();
                    let enforced = self.enforce();
                    self.note(enforced);
                    self.collect();
                    self.look_after(waited);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    fn execute(&mut self, command: SpoolCommand) -> Result<SpoolAnswer, SinkError> {
        match command {
            SpoolCommand::Append(requests) => {
                let OpenSpool { spool, claim } = self.open()?;
                // Somebody may have removed the state directory.
                claim.renew().map_err(without_state)?;
                let first = spool.append(&requests)?;
                let enforced = self.enforce();
                self.note(enforced);
                Ok(SpoolAnswer::Appended { first })
            }
            SpoolCommand::Configure(identity, bounds) => {
                (self.identity, self.bounds) = (identity, bounds);
                if let Some(open) = &mut self.spool {
                    open.spool.configure(identity, bounds);
                    self.enforce()?;
                }
                Ok(SpoolAnswer::Done)
            }
            SpoolCommand::Read { from, max_bytes } => {
                let Some(OpenSpool { spool, .. }) = self.find()? else { return Ok(SpoolAnswer::Requests(Vec::new())) };
                Ok(SpoolAnswer::Requests(spool.read(from, max_bytes)?))
            }
            SpoolCommand::Acknowledge { through } => {
                let Some(OpenSpool { spool, .. }) = self.find()? else { return Ok(SpoolAnswer::Done) };
                spool.acknowledge(through)?;
                Ok(SpoolAnswer::Done)
            }
            SpoolCommand::DropOldest => {
                if let Some(OpenSpool { spool, .. }) = self.find()? {
                    spool.drop_for_room()?;
                }
                Ok(SpoolAnswer::Done)
            }
            SpoolCommand::Sync => {
                let Some(OpenSpool { spool, .. }) = self.find()? else { return Ok(SpoolAnswer::Done) };
                spool.sync()?;
                Ok(SpoolAnswer::Done)
            }
            SpoolCommand::Open => {
                // Marked from now on: whatever is lost at an unclean end, the next start reports it.
                self.state.claim().map_err(without_state)?;
                let found = self.find().map(|_| ());
                self.note(found.clone());
                found.map(|()| SpoolAnswer::Done)
            }
        }
    }

    /// The spool, if there is one on the disk.
    fn find(&mut self) -> Result<Option<&mut OpenSpool>, SinkError> {
        let is_there = || self.state.spool_path(&self.name).is_some_and(|path| path.symlink_metadata().is_ok());
        if self.spool.is_none() && !is_there() {
            return Ok(None);
        }
        self.open().map(Some)
    }

    /// The spool, which is opened now where it is not.
    fn open(&mut self) -> Result<&mut OpenSpool, SinkError> {
        let open = if let Some(open) = self.spool.take() {
            open
        } else {
            let claim = self.state.claim_spool(&self.name).map_err(without_state)?;
            let mut spool = Spool::open(claim.path(), self.identity, self.bounds)?;
            let enforced = spool.enforce(wall_clock());
            self.note(enforced);
            OpenSpool { spool, claim }
        };
        Ok(self.spool.insert(open))
    }

    fn has_waiting(&self) -> bool {
        self.spool.as_ref().is_some_and(|open| open.spool.backlog().waiting.requests > 0)
    }

    fn enforce(&mut self) -> Result<(), SinkError> {
        self.spool.as_mut().map_or(Ok(()), |open| open.spool.enforce(wall_clock()))
    }

    /// Keeps an error for the next reply.
    fn note(&mut self, result: Result<(), SinkError>) {
        if let Err(error) = result {
            self.problem = Some(error);
        }
    }

    /// Takes what the spool has lost, and reports damage.
    fn collect(&mut self) {
        let Some(open) = &mut self.spool else { return };
        let losses = open.spool.take_losses();
        self.losses.add(losses);
        if !losses.damaged.is_zero() {
            let (spool, counts) = (open.claim.path().display(), losses.damaged);
            let (requests, samples, points) = (counts.requests, counts.samples, counts.points);
            let remedy = "check the disk and its file system; the rest of the spool is sent";
            tracing::error!(%spool, requests, samples, points, remedy, "samples lost: spool damaged");
        }
    }

    /// Work that no reply waits for. `waited` says whether something waited before the command.
    fn look_after(&mut self, waited: bool) {
        let is_empty = !self.has_waiting();
        let Some(open) = &mut self.spool else { return };
        if waited && is_empty {
            open.claim.note_delivered();
        }
        let synced = open.spool.sync_complete();
        self.note(synced);
    }
}
