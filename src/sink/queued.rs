//! The samples that wait for a sink.

use std::sync::Arc;

use super::settings::SinkSettings;
use crate::queue::Queue;
use crate::sample::Sample;

/// A sample that waits, with the settings of its time.
#[derive(Debug, Clone)]
pub(super) struct QueuedSample {
    pub(super) sample: Arc<Sample>,
    pub(super) settings: Arc<SinkSettings>,
}

/// The queue in front of a sink.
pub(super) type SampleQueue = Queue<QueuedSample>;
