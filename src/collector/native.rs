//! The table of native collectors.

use super::Collector;
#[cfg(not(target_os = "linux"))]
use super::portable::Portable;
#[cfg(target_os = "linux")]
use super::{cpu, load, memory};
use crate::config::Config;
use crate::sample::Descriptor;

/// The native collectors of this system, in the order of their modules in the sample.
#[cfg(target_os = "linux")]
pub const NATIVE: &[Native] = &[
    Native { metrics: cpu::METRICS, make: |config| Box::new(cpu::Cpu::new(config)) },
    Native { metrics: load::METRICS, make: |config| Box::new(load::Load::new(config)) },
    Native { metrics: memory::METRICS, make: |config| Box::new(memory::Memory::new(config)) },
];

/// The native collectors of this system, in the order of their modules in the sample.
#[cfg(not(target_os = "linux"))]
pub const NATIVE: &[Native] = &[Native { metrics: &[], make: |_| Box::new(Portable::new()) }];

/// An entry of the table: one collector.
#[derive(Debug)]
pub struct Native {
    /// Every metric of the collector, also those that this host cannot measure.
    pub metrics: &'static [Descriptor],
    /// Makes the collector, and starts the first interval of its rates.
    pub make: fn(&Config) -> Box<dyn Collector>,
}
