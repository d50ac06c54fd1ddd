//! Where samples go: a closed set. Each sink has a thread of its own and a bounded queue in front of it, so that a dead
//! sink never slows a tick; what can be written without waiting need not go that way.

mod json;
pub mod stdout;

use std::sync::Arc;

pub use self::json::{Style, encode};
use crate::queue::Queue;
use crate::sample::Sample;

/// How many samples wait for a sink: at the default interval those of ten minutes.
pub const QUEUE: usize = 60;

/// Samples on their way to a sink.
pub type Samples = Queue<Arc<Sample>>;
