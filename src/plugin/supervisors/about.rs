//! The agent's metrics about the plugins of a guest thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::plugin::guest_thread::round::Part;
use crate::plugin::guest_thread::setup::Setup;
use crate::plugin::supervisor::Supervisor;
use crate::sample::{AGENT, CollectorVersion, ModulePart, ModuleSource, ModuleWriter, SeriesAccount};

/// How many plugins that never served and have no table get metrics of their own: a sample must stay small, whatever is
/// dropped into the directory.
const UNESTABLISHED_METRICS: usize = 100;

/// Writes the metrics about plugins.
pub(super) struct About(ModuleWriter);

impl About {
    pub(super) fn new(setup: &Setup) -> Self {
        let (module, collector) = (AGENT.into(), CollectorVersion::native(AGENT));
        let source = ModuleSource { module, collector, step: setup.config.interval, is_verbatim: false };
        Self(ModuleWriter::new(source, setup.metrics, &SeriesAccount::unlimited(&setup.shared.series)))
    }

    /// Writes the metrics into a round's part of the sample, in place of those of an earlier one.
    pub(super) fn write(&mut self, part: &mut Part, setup: &Setup, plugins: &mut BTreeMap<Arc<str>, Box<Supervisor>>) {
        let memory = part.about.take().map(ModulePart::into_memory).unwrap_or_default();
        part.about = Some(self.0.write_part(memory, |agent| {
            agent.push("compiled_total", setup.loads.compilations.started());
            let (spent, remaining) = setup.loads.compilations.cpu();
            agent.push("compile_cpu_seconds_total", spent.as_secs_f64());
            agent.push("compile_budget_remaining_seconds", remaining.map(|remaining| remaining.as_secs_f64()));
            agent.push("cache_hits_total", setup.loads.cache_hits.load(Ordering::Relaxed));
            let (memory, limit) = (&setup.shared.memory, setup.shared.memory.limit_bytes());
            agent.push("plugins_memory_bytes", memory.held_bytes());
            agent.push("plugins_memory_limit_bytes", Some(limit).filter(|&limit| limit != u64::MAX));
            let rejected = plugins.values().filter(|supervisor| supervisor.has_rejected_file()).count();
            agent.push("plugins_rejected", rejected as u64);
            setup.accounts.append_faults(&setup.faults, agent);
            let (mut allowance, mut omitted) = (UNESTABLISHED_METRICS, 0);
            for supervisor in plugins.values_mut() {
                if supervisor.is_established() || allowance > 0 {
                    allowance -= usize::from(!supervisor.is_established());
                    supervisor.append_metrics(agent);
                } else {
                    omitted += 1;
                }
            }
            agent.push("plugins_omitted", omitted);
        }));
    }
}
