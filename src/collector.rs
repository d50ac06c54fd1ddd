//! Native collectors: the metrics that the agent measures itself. Each collector reads one part of the host and fills its
//! modules. A value that it cannot measure is null; the others are not affected. Everything else is measured
//! by plugins.

pub mod bounds;
#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
pub mod portable;
mod topology;
mod frequency;
mod identity;
mod host;
pub mod slow;
pub mod native;
#[cfg(all(target_os = "linux", any(test, fuzzing)))]
pub(crate) mod fuzzing;

use std::sync::Arc;

use crate::config::Config;
pub use crate::procfs::{FileProblem, ReadError};
use crate::sample::Values;

/// A native collector. It keeps its own state between ticks.
pub trait Collector: Send {
    /// Measures one of the collector's modules. They are asked for once a tick each, in the order of the table. At each tick
    /// a module has the same metrics: null where they could not be measured.
    ///
    /// # Errors
    ///
    /// When a source of the module could not be read. The metrics are there all the same.
    fn collect(&mut self, module: &str, values: &mut Values<'_>) -> Result<(), ReadError>;

    /// Follows the settings of another configuration, with the state that it has.
    fn reconfigure(&mut self, _config: &Config) {}

    /// How many lines and values of its files it has left out so far, since they were not as the kernel writes them or could not
    /// be true.
    fn skipped_lines(&self) -> u64 {
        0
    }

    /// The first of its files that was of no use when it was read last, and why.
    fn problem(&self) -> Option<&Arc<FileProblem>> {
        None
    }
}

/// The percentage that a part is of a whole, rounded to one decimal as in psutil. 0 if the whole is 0.
fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 1000.0).round() / 10.0 } else { 0.0 }
}
