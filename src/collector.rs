//! What the agent measures by itself: the open set of native collectors. Each reads one corner of the host and appends
//! its modules; what it cannot measure is null, and never keeps the others from measuring. Everything else is a plugin's
//! to collect.

#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
pub mod portable;
#[cfg(all(target_os = "linux", any(test, fuzzing)))]
pub(crate) mod fuzzing;

use crate::config::Config;
use crate::sample::{Descriptor, Sample};

/// A native collector. It keeps what it needs from one tick to the next.
pub trait Collector: Send {
    /// Measures and appends one module or more, always the same ones with the same metrics.
    fn collect(&mut self, sample: &mut Sample);
}

/// A native collector that there is.
#[derive(Debug)]
pub struct Native {
    /// What its modules hold, whatever this host can measure of it.
    pub metrics: &'static [Descriptor],
    /// Makes one. What it measures between ticks begins now.
    pub make: fn(&Config) -> Box<dyn Collector>,
}

/// The native collectors of this system, in the order of their modules in the sample.
#[cfg(target_os = "linux")]
pub const NATIVE: &[Native] = &[
    Native { metrics: cpu::METRICS, make: |config| Box::new(cpu::Cpu::new(config)) },
    Native { metrics: load::METRICS, make: |config| Box::new(load::Load::new(config)) },
    Native { metrics: memory::METRICS, make: |config| Box::new(memory::Memory::new(config)) },
];

/// The native collectors of this system, in the order of their modules in the sample.
#[cfg(not(target_os = "linux"))]
pub const NATIVE: &[Native] = &[Native { metrics: &[], make: |_| Box::new(portable::Portable::new()) }];

/// A part of a whole in percent, to one decimal as psutil gives it; 0 of nothing.
fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 1000.0).round() / 10.0 } else { 0.0 }
}
