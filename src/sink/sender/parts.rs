//! The parts of a sender, as the tick thread hands them to the delivery thread.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use crate::config::NetworkSettings;
use crate::sink::otlp::HostFacts;
use crate::sink::queued::SampleQueue;
use crate::sink::settings::SinkSettings;
use crate::sink::spool::SpoolHandle;
use crate::sink::statistics::SinkStatistics;

/// The parts of a sender.
#[derive(Debug)]
pub(in crate::sink) struct SenderParts {
    pub(in crate::sink) queue: Arc<SampleQueue>,
    pub(in crate::sink) woken: Arc<Notify>,
    pub(in crate::sink) statistics: Arc<SinkStatistics>,
    pub(in crate::sink) settings: Arc<SinkSettings>,
    pub(in crate::sink) network: Arc<NetworkSettings>,
    pub(in crate::sink) facts: HostFacts,
    pub(in crate::sink) spool: SpoolHandle,
    pub(in crate::sink) end: oneshot::Sender<bool>,
}
