//! The modules `cpu`, `load`, `memory` and `swap` from the crate sysinfo, for systems other than Linux. It has fewer
//! metrics; the others are absent.

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::{Collector, percent};
use crate::sample::Sample;

/// Collects the modules `cpu`, `load`, `memory` and `swap`.
pub struct Portable {
    /// None on a system that sysinfo does not support.
    system: Option<System>,
}

impl Portable {
    /// Takes the first reading of the CPUs. sysinfo needs at least 200 ms between two of them.
    #[must_use]
    pub fn new() -> Self {
        let refresh = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::everything());
        Self { system: System::new_with_specifics(refresh).ok() }
    }
}

impl Default for Portable {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Portable {
    fn collect(&mut self, sample: &mut Sample) {
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
        }
        let system = self.system.as_ref();

        let busy = system.map(|system| f64::from(system.global_cpu_usage())).filter(|busy| busy.is_finite());
        let cpu = sample.module("cpu");
        cpu.push("percent", busy.map(|busy| percent(busy, 100.0)));

        let average = System::load_average().ok();
        let load = sample.module("load");
        load.push("1min", average.as_ref().map(|average| average.one));
        load.push("5min", average.as_ref().map(|average| average.five));
        load.push("15min", average.as_ref().map(|average| average.fifteen));

        let total = system.map(System::total_memory);
        let available = system.map(System::available_memory);
        let used = total.zip(available).map(|(total, available)| total.saturating_sub(available));
        let memory = sample.module("memory");
        memory.push("total", total);
        memory.push("available", available);
        memory.push("percent", total.zip(used).map(|(total, used)| percent(used as f64, total as f64)));
        memory.push("used", used);
        memory.push("free", system.map(System::free_memory));

        let (total, used) = (system.map(System::total_swap), system.map(System::used_swap));
        let swap = sample.module("swap");
        swap.push("total", total);
        swap.push("used", used);
        swap.push("free", system.map(System::free_swap));
        swap.push("percent", total.zip(used).map(|(total, used)| percent(used as f64, total as f64)));
    }
}
