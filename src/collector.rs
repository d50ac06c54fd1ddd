//! Native collectors: the metrics that the agent measures itself. Each collector reads one part of the host and appends its
//! modules to the sample. A value that it cannot measure is null; the others are not affected. Everything else is measured
//! by plugins.

#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
pub mod portable;
pub mod native;
#[cfg(all(target_os = "linux", any(test, fuzzing)))]
pub(crate) mod fuzzing;

use crate::sample::Sample;

/// A native collector. It keeps its own state between ticks.
pub trait Collector: Send {
    /// Appends the collector's modules: at each tick the same modules with the same metrics.
    fn collect(&mut self, sample: &mut Sample);
}

/// The percentage that a part is of a whole, rounded to one decimal as in psutil. 0 if the whole is 0.
fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 1000.0).round() / 10.0 } else { 0.0 }
}
