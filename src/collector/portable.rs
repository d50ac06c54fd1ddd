//! The modules `cpu`, `load`, `memory` and `swap` from the crate sysinfo, for systems other than Linux. It has fewer
//! metrics; the others are absent.

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::{Collector, ReadError, percent};
use crate::sample::Values;

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
    fn collect(&mut self, module: &str, values: &mut Values<'_>) -> Result<(), ReadError> {
        match module {
            "cpu" => self.collect_cpu(values),
            "load" => collect_load(values),
            "memory" => self.collect_memory(values),
            _ => self.collect_swap(values),
        }
        Ok(())
    }
}

impl Portable {
    fn collect_cpu(&mut self, values: &mut Values<'_>) {
        let system = self.system.as_mut();
        let busy = system.map(|system| {
            system.refresh_cpu_usage();
            f64::from(system.global_cpu_usage())
        });
        values.push("percent", busy.filter(|busy| busy.is_finite()).map(|busy| percent(busy, 100.0)));
    }

    fn collect_memory(&mut self, values: &mut Values<'_>) {
        if let Some(system) = &mut self.system {
            system.refresh_memory();
        }
        let system = self.system.as_ref();
        let total = system.map(System::total_memory);
        let available = system.map(System::available_memory);
        let used = total.zip(available).map(|(total, available)| total.saturating_sub(available));
        values.push("total", total);
        values.push("available", available);
        values.push("percent", total.zip(used).map(|(total, used)| percent(used as f64, total as f64)));
        values.push("used", used);
        values.push("free", system.map(System::free_memory));
    }

    /// From the reading for the module `memory`.
    fn collect_swap(&self, values: &mut Values<'_>) {
        let system = self.system.as_ref();
        let (total, used) = (system.map(System::total_swap), system.map(System::used_swap));
        values.push("total", total);
        values.push("used", used);
        values.push("free", system.map(System::free_swap));
        values.push("percent", total.zip(used).map(|(total, used)| percent(used as f64, total as f64)));
    }
}

/// The processor's architecture, by the kernel's name.
pub(super) fn machine() -> String {
    System::cpu_arch()
}

/// The names of kernel and host, as `uname` has them. For other systems than Linux, where sysinfo has the distribution's name.
pub(super) fn uname() -> Vec<(&'static str, String)> {
    let names = [("sysname", System::name()), ("release", System::kernel_version()), ("nodename", System::host_name())];
    names.into_iter().filter_map(|(label, name)| Some((label, name.ok()?))).collect()
}

fn collect_load(values: &mut Values<'_>) {
    let average = System::load_average().ok();
    values.push("1min", average.as_ref().map(|average| average.one));
    values.push("5min", average.as_ref().map(|average| average.five));
    values.push("15min", average.as_ref().map(|average| average.fifteen));
}
