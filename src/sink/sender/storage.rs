//! The spool, as the sender has it: one command at a time is under way on the spool's thread, the most urgent first. Whatever the disk
//! does, the sender goes on.

use std::time::{Duration, Instant};

use super::backlog::{Backlog, READY_BYTES, Removed};
use super::flight::Sent;
use super::loss::Loss;
use crate::config::NetworkSettings;
use crate::sink::error::{ErrorReason, SinkError};
use crate::sink::protocol::identity;
use crate::sink::spool::{
    Counts, DiskBacklog, SpoolAnswer, SpoolBounds, SpoolCommand, SpoolHandle, SpoolIdentity, SpoolReply,
};

/// How long a request may be unacknowledged before it is written.
const UNACKNOWLEDGED: Duration = Duration::from_secs(1);

/// The pause after an error.
const RETRY: Duration = Duration::from_secs(1);

/// How long the sender waits at the start for what is on the disk, which comes first. A disk that hangs does not keep it from sending
/// for longer.
const OPENING: Duration = Duration::from_secs(10);

/// The spool of a sender.
pub(super) struct Storage {
    handle: SpoolHandle,
    /// The kind of the command that is under way.
    command: CommandKind,
    open_state: OpenState,
    /// The last number that was acknowledged, if the disk does not know that yet.
    acknowledged: Option<u64>,
    /// The requests of these. If the disk drops one before it knows that, it counts it as lost.
    settled: Vec<Removed>,
    /// The number from which on requests are to be read.
    wanted: Option<u64>,
    /// Whether the oldest on the disk is to go, since there is too much in memory.
    is_over: bool,
    /// Whether requests can be written, as of the last attempt.
    writing: Writing,
    /// Whether nothing could be dropped, either, since requests were written the last time.
    is_stuck: bool,
    /// When the disk is tried again after an error.
    retry_at: Option<Instant>,
    /// Other settings, which the thread does not know yet.
    configuration: Option<(SpoolIdentity, SpoolBounds)>,
}

/// Whether it is known what is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenState {
    /// Not yet. The sender waits until then at most.
    Opening(Instant),
    /// The disk cannot be used, as of the last attempt. The sender does not wait for the next one.
    Failed,
    Open,
}

/// Whether requests can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Works,
    /// Not now, and nothing was dropped for them yet.
    Failed,
    /// Not now, and nothing needs to be dropped for them: that was done, or the spool is not open.
    Waits,
}

/// The kind of a command.
#[derive(Debug)]
enum CommandKind {
    Open,
    /// These requests of the backlog.
    Append(Vec<u64>),
    Drop,
    Read,
    Other,
}

/// Whether the spool is read or written. Either may fail while the other works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpoolAccess {
    Write,
    Read,
}

impl Storage {
    /// A spool that is not opened yet.
    pub(super) fn new(handle: SpoolHandle, now: Instant) -> Self {
        Self {
            handle,
            command: CommandKind::Other,
            open_state: OpenState::Opening(now + OPENING),
            acknowledged: None,
            settled: Vec::new(),
            wanted: None,
            is_over: false,
            writing: Writing::Works,
            is_stuck: false,
            retry_at: None,
            configuration: None,
        }
    }

    /// The requests on the disk.
    pub(super) fn disk(&self) -> &DiskBacklog {
        self.handle.backlog()
    }

    /// When the sender may send; none if now.
    pub(super) fn sends_at(&self, now: Instant) -> Option<Instant> {
        match self.open_state {
            OpenState::Opening(until) if now < until => Some(until),
            OpenState::Opening(_) | OpenState::Failed | OpenState::Open => None,
        }
    }

    /// Notes that a request, and all before it, need not be kept any more. Those behind it that have passed it need not, either.
    pub(super) fn acknowledge(&mut self, removed: Removed) {
        let Some(mut through) = removed.sequence else { return };
        self.settle(removed);
        while self.settled.iter().any(|settled| settled.sequence == Some(through + 1)) {
            through += 1;
        }
        self.acknowledged = self.acknowledged.max(Some(through));
    }

    /// Notes that a request need not be kept any more, while one before it must.
    pub(super) fn settle(&mut self, removed: Removed) {
        if removed.sequence.is_some() {
            self.settled.push(removed);
        }
    }

    /// The number of the last request that is being written.
    pub(super) fn writing(&self) -> Option<u64> {
        match &self.command {
            CommandKind::Append(serials) => serials.last().copied(),
            CommandKind::Open | CommandKind::Drop | CommandKind::Read | CommandKind::Other => None,
        }
    }

    /// Notes that requests are wanted in memory, from this one on.
    pub(super) fn read(&mut self, from: u64) {
        self.wanted = Some(from);
    }

    /// Notes that the oldest on the disk is to go, to make room for what is in memory: once for each attempt to write that failed.
    /// Returns whether what is in memory can wait for that, or for the next attempt.
    pub(super) fn drop_oldest(&mut self) -> bool {
        if self.writing == Writing::Failed {
            (self.writing, self.is_over) = (Writing::Waits, true);
        }
        !self.is_stuck && !self.handle.is_busy()
    }

    /// Goes on with other settings.
    pub(super) fn configure(&mut self, network: &NetworkSettings) {
        self.configuration = Some((identity(network), SpoolBounds::new(network)));
    }

    /// Starts the most urgent command, unless one is under way. `writes_all` is whether all in memory is to be written. Returns when
    /// there will be another one.
    pub(super) fn advance(&mut self, backlog: &Backlog, writes_all: bool, now: Instant) -> Option<Instant> {
        if self.handle.is_busy() {
            return None;
        }
        // The end waits only for a disk that cannot be written.
        if let Some(at) = self.retry_at.filter(|at| *at > now && (self.writing != Writing::Works || !writes_all)) {
            return Some(at);
        }
        self.retry_at = None;
        if self.open_state != OpenState::Open {
            self.start(CommandKind::Open, SpoolCommand::Open);
            return None;
        }
        let writes_at = backlog
            .unwritten_since()
            .map(|due| if writes_all || backlog.is_on_disk() { now } else { due + UNACKNOWLEDGED });
        if let Some((identity, bounds)) = self.configuration.take() {
            self.start(CommandKind::Other, SpoolCommand::Configure(identity, bounds));
        } else if let Some(sequence) = self.acknowledged.take() {
            self.settled.retain(|settled| settled.sequence > Some(sequence));
            self.start(CommandKind::Other, SpoolCommand::Acknowledge { through: sequence });
        } else if std::mem::take(&mut self.is_over) {
            self.start(CommandKind::Drop, SpoolCommand::DropOldest);
        } else if writes_at.is_some_and(|at| at <= now) {
            let (serials, requests) = backlog.unwritten();
            self.start(CommandKind::Append(serials), SpoolCommand::Append(requests));
        } else if let Some(from) = self.wanted.take() {
            self.start(CommandKind::Read, SpoolCommand::Read { from, max_bytes: READY_BYTES });
        }
        writes_at
    }

    fn start(&mut self, kind: CommandKind, command: SpoolCommand) {
        // There is none under way.
        if self.handle.begin(command).is_ok() {
            self.command = kind;
        }
    }

    /// Waits for the end of the command that is under way; for ever without one. Cancellation safe.
    pub(super) async fn done(&mut self) -> SpoolReply {
        self.handle.reply().await
    }

    /// Follows the end of a command. Returns what was lost, but for a request that is under way: that may still be delivered.
    pub(super) fn follow(
        &mut self,
        reply: SpoolReply,
        backlog: &mut Backlog,
        sent: Option<&mut Sent>,
        now: Instant,
    ) -> Followed {
        let SpoolReply { answer, backlog: disk, losses, problem } = reply;
        let (mut works, mut error) = (None, problem.map(|problem| (SpoolAccess::Write, problem)));
        match (std::mem::replace(&mut self.command, CommandKind::Other), answer) {
            (CommandKind::Open, Err(failed)) => {
                // An earlier sink of this name may be about to leave older samples there, which come first.
                if failed.reason != ErrorReason::InUse {
                    self.open_state = OpenState::Failed;
                }
                self.writing = Writing::Waits;
                self.retry_at = Some(now + RETRY);
            }
            (command, Err(failed)) => {
                if matches!(command, CommandKind::Append(_)) {
                    self.writing = Writing::Failed;
                }
                self.is_stuck |= matches!(command, CommandKind::Drop);
                self.retry_at = Some(now + RETRY);
                let is_read = matches!(command, CommandKind::Read);
                error = Some((if is_read { SpoolAccess::Read } else { SpoolAccess::Write }, failed));
            }
            (CommandKind::Open, Ok(_)) => {
                self.open_state = OpenState::Open;
                self.writing = Writing::Works;
                works = Some(SpoolAccess::Write);
                backlog.open((disk.waiting.requests > 0).then_some(disk.first));
            }
            (CommandKind::Append(serials), Ok(SpoolAnswer::Appended { first })) => {
                (self.writing, self.is_stuck) = (Writing::Works, false);
                works = Some(SpoolAccess::Write);
                if let Some(gone) = backlog.written(first, &serials) {
                    self.acknowledge(Removed { sequence: Some(gone), ..Removed::default() });
                }
            }
            (_, Ok(SpoolAnswer::Requests(requests))) => {
                works = Some(SpoolAccess::Read);
                backlog.take_read(requests, disk.next);
            }
            (_, Ok(_)) => {}
        }
        let mut lost =
            [(Loss::SpoolFull, losses.full), (Loss::Expired, losses.expired), (Loss::Damaged, losses.damaged)]
                .map(|(loss, counts)| (loss, removed(counts)));
        if self.open_state == OpenState::Open {
            for settled in self.settled.extract_if(.., |settled| settled.sequence < Some(disk.first)) {
                if let Some((_, counted)) = lost.iter_mut().find(|(_, counted)| counted.points >= settled.points) {
                    counted.points -= settled.points;
                    counted.samples = counted.samples.saturating_sub(settled.samples);
                }
            }
            if let Some(sent) = sent
                && backlog.sequence(sent.serial).is_some_and(|sequence| sequence < disk.first)
                && let Some((loss, counted)) = lost.iter_mut().find(|(_, counted)| counted.points > 0)
            {
                counted.points = counted.points.saturating_sub(sent.points);
                counted.samples = counted.samples.saturating_sub(sent.is_last.into());
                sent.gone = Some(*loss);
            }
            backlog.dropped_before(disk.first);
        }
        Followed { lost, works, error }
    }

    /// Whether nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        !self.handle.is_busy()
    }

    /// Whether nothing is under way, and nothing more can be written now.
    pub(super) fn is_idle(&self, backlog: &Backlog) -> bool {
        !self.handle.is_busy() && (backlog.unwritten_since().is_none() || self.writing != Writing::Works)
    }

    /// Waits until what is on the disk is safe from a loss of power, and ends the spool's thread.
    pub(super) async fn close(mut self) -> Result<(), SinkError> {
        if self.handle.is_busy() {
            self.handle.reply().await;
        }
        let acknowledged = self.acknowledged.map(|through| SpoolCommand::Acknowledge { through });
        for command in acknowledged.into_iter().chain([SpoolCommand::Sync]) {
            if self.open_state == OpenState::Open && self.handle.begin(command).is_ok() {
                self.handle.reply().await.answer?;
            }
        }
        Ok(())
    }
}

/// The consequences of a command.
pub(super) struct Followed {
    pub(super) lost: [(Loss, Removed); 3],
    /// The access that works as of now.
    pub(super) works: Option<SpoolAccess>,
    /// Why an access failed.
    pub(super) error: Option<(SpoolAccess, SinkError)>,
}

fn removed(Counts { samples, points, .. }: Counts) -> Removed {
    Removed { samples, points, sequence: None }
}
