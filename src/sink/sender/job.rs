//! What a sender is made of.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use crate::config::NetworkSettings;
use crate::sink::otlp::HostFacts;
use crate::sink::queued::SampleQueue;
use crate::sink::settings::SinkSettings;
use crate::sink::spool::SpoolHandle;
use crate::sink::statistics::SinkStatistics;

/// What the sender is made of, on the delivery thread.
#[derive(Debug)]
pub(in crate::sink) struct Job {
    pub(in crate::sink) queue: Arc<SampleQueue>,
    pub(in crate::sink) woken: Arc<Notify>,
    pub(in crate::sink) statistics: Arc<SinkStatistics>,
    pub(in crate::sink) settings: Arc<SinkSettings>,
    pub(in crate::sink) network: Arc<NetworkSettings>,
    pub(in crate::sink) facts: HostFacts,
    pub(in crate::sink) spool: SpoolHandle,
    pub(in crate::sink) end: oneshot::Sender<bool>,
}
