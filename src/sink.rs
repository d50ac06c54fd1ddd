//! The sinks: the outputs of samples. Standard output and the delivery to observers have a thread each, behind a bounded queue, so
//! that a dead sink does not slow a tick. Output that is possible without waiting may bypass the queue.

mod json;
pub(crate) mod stdout;
pub(crate) mod delivery;

use std::sync::Arc;

pub use self::json::{Encoder, Style, encode};
use crate::queue::Queue;
use crate::sample::Sample;

/// The capacity of a sink's queue: the samples of ten minutes at the default interval.
const QUEUE_SAMPLES: usize = 60;

/// The queue in front of a sink.
type SampleQueue = Queue<Arc<Sample>>;
