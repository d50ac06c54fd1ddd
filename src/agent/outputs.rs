//! The outputs of the agent: the sinks, the delivery thread, and the status socket.

use std::sync::Arc;
use std::time::Duration;

use super::reloader::Commit;
use crate::delivery::Delivery;
use crate::process::log_ignored;
use crate::sample::Sample;
use crate::sink::{Sinks, SinksEnd};
use crate::status::StatusServer;

/// How long the end waits for the last samples to be written: the agent ends within two seconds, and its log may need half a
/// second of them.
pub(super) const FLUSH: Duration = Duration::from_millis(1500);

/// How long the end waits until the status socket is removed.
const STATUS_END: Duration = Duration::from_millis(500);

/// How long the end waits for requests that the delivery thread is answering, and until its sockets are removed.
const DELIVERY_END: Duration = Duration::from_millis(500);

/// The outputs.
pub(super) struct Outputs {
    pub(super) sinks: Sinks,
    pub(super) delivery: Delivery,
    pub(super) status: StatusServer,
}

impl Outputs {
    /// Ends the delivery thread and the status socket, without waiting for samples that are still to be written.
    pub(super) async fn end_at_once(self) {
        tokio::join!(self.delivery.end(DELIVERY_END), self.status.end(STATUS_END));
    }

    /// Whether anybody can ask for the last sample.
    pub(super) fn serves(&self) -> bool {
        self.status.has_place() || self.delivery.serves()
    }

    /// Hands a sample to all sinks.
    pub(super) fn put(&mut self, sample: &Arc<Sample>) {
        self.sinks.put(sample);
    }

    /// Has the sinks open their files again.
    pub(super) fn reopen(&self) {
        if self.sinks.reopen() == 0 {
            log_ignored("USR1");
        }
    }

    /// Follows another configuration, with what was prepared for it.
    pub(super) fn commit(&mut self, commit: &mut Commit) {
        self.delivery.reconfigure(&commit.config);
        let prepared = std::mem::take(&mut commit.sinks);
        if let Err(error) = self.sinks.reconfigure(&commit.config, prepared) {
            let (reason, remedy) = (error.to_string(), "leave the agent more open files, and reload it again");
            tracing::error!(reason, remedy, consequence = "it gets no samples", "sink of standard output not started");
        }
    }

    /// Waits for the last samples to be written.
    pub(super) async fn end(self) -> SinksEnd {
        let ended = tokio::join!(self.sinks.end(FLUSH), self.delivery.end(DELIVERY_END), self.status.end(STATUS_END));
        ended.0
    }
}
