//! A sink that sends over the network, as the tick thread has it. Its sender is a task on the delivery thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::otlp::HostFacts;
use super::protocol::identity;
use super::queued::{QueuedSample, SampleQueue};
use super::sender::{Sender, SenderParts};
use super::settings::SinkSettings;
use super::spool::{SpoolBounds, SpoolThread};
use super::statistics::SinkStatistics;
use crate::config::NetworkSettings;
use crate::local_tasks::LocalTasks;
use crate::state_directory::StateDirectory;

/// The sink.
#[derive(Debug)]
pub(super) struct NetworkSink {
    queue: Arc<SampleQueue>,
    /// Wakes the sender for a sample, or for the end of the queue.
    woken: Arc<Notify>,
    tasks: LocalTasks,
    spool: SpoolThread,
    /// None once the delivery thread has it.
    parts: Option<SenderParts>,
    /// Completes with the end of the sender: whether everything is delivered or on the disk.
    ended: oneshot::Receiver<bool>,
}

impl NetworkSink {
    /// A sink without its sender.
    pub(super) fn new(
        settings: &Arc<SinkSettings>,
        network: &Arc<NetworkSettings>,
        facts: HostFacts,
        state: &StateDirectory,
        tasks: &LocalTasks,
        queue: &Arc<SampleQueue>,
        statistics: &Arc<SinkStatistics>,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        let woken = Arc::<Notify>::default();
        let (spool, spool_thread) =
            SpoolThread::new(state.clone(), &settings.name, identity(network), SpoolBounds::new(network));
        let parts = SenderParts {
            queue: Arc::clone(queue),
            woken: Arc::clone(&woken),
            statistics: Arc::clone(statistics),
            settings: Arc::clone(settings),
            network: Arc::clone(network),
            facts,
            spool,
            end,
        };
        Self { queue: Arc::clone(queue), woken, tasks: tasks.clone(), spool: spool_thread, parts: Some(parts), ended }
    }

    /// Starts the thread of the spool, and gives the sender to the delivery thread, unless that was done.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.spool.start()?;
        self.tasks.hand_over(&mut self.parts, |parts| Box::pin(Sender::run(parts)))
    }

    /// Puts in a sample, without waiting.
    pub(super) fn put(&self, queued: QueuedSample, bytes: u64) {
        self.queue.put_sized(queued, bytes);
        self.wake();
    }

    /// Has the sender look at its queue.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Lets the sender end after what waits for it.
    pub(super) fn finish(&self) {
        self.queue.finish();
        self.wake();
    }

    /// Whether the sender has ended, and its spool is safe.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_terminated() || !self.ended.is_empty()
    }

    /// Waits at most this long for the sender to deliver what waits, or to write it to the disk. Returns whether it did.
    pub(super) async fn end(mut self, patience: Duration) -> bool {
        self.finish();
        if self.parts.is_some() {
            return self.queue.waiting().0 == 0;
        }
        matches!(timeout(patience, &mut self.ended).await, Ok(Ok(true)))
    }
}

/// Ends the sender, whether or not anybody has awaited that.
impl Drop for NetworkSink {
    fn drop(&mut self) {
        self.finish();
    }
}
