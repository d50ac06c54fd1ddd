//! The durations of a version's calls, and the agent's metrics about a plugin.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::plugin::accounts::Accounts;
use crate::plugin::guest::fault::FaultKind;
use crate::plugin::supervisor::state::PluginState;
use crate::plugin::version::Version;
use crate::sample::{Label, Labels, SeriesRow, Value, Values};

/// The statistics of one plugin.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// The labels of the metrics about it, and their series.
    labels: Labels,
    row: SeriesRow,
    /// The labels of the kinds of faults that have occurred.
    fault_labels: Vec<(FaultKind, Labels)>,
    /// Of this version's calls; none before the first.
    durations: Option<Durations>,
}

/// How long the calls of a version took.
#[derive(Debug, Clone, Copy)]
struct Durations {
    last: Duration,
    longest: Duration,
}

/// The condition of a plugin, for its metrics.
pub(crate) struct Status<'a> {
    pub(crate) state: PluginState,
    pub(crate) has_rejected_file: bool,
    /// The version that serves.
    pub(crate) serving: Option<&'a Version>,
}

impl Statistics {
    pub(crate) fn new(plugin: &str) -> Self {
        Self {
            labels: [("plugin", plugin)].into(),
            row: SeriesRow::default(),
            fault_labels: Vec::new(),
            durations: None,
        }
    }

    pub(crate) fn add_call(&mut self, took: Duration) {
        let longest = self.durations.map_or(took, |durations| durations.longest.max(took));
        self.durations = Some(Durations { last: took, longest });
    }

    /// Begins a new version: durations count from here, counters go on.
    pub(crate) fn begin_version(&mut self) {
        self.durations = None;
    }

    /// Appends the agent's metrics about the plugin.
    pub(crate) fn append(&mut self, status: &Status<'_>, accounts: &Accounts, agent: &mut Values<'_>) {
        let number = |number: u64| Some(Value::Unsigned(number));
        let seconds = |duration: Duration| Value::Float(duration.as_secs_f64());
        let Status { state, has_rejected_file, serving } = status;
        let (counters, durations) = (&accounts.counters, self.durations);
        let memory_bytes = counters.memory_bytes.load(Ordering::Relaxed);
        let metrics = [
            ("plugin_up", number(u64::from(*state == PluginState::Up))),
            ("plugin_state", Some(Value::Text(state.name().into()))),
            ("plugin_file_rejected", number(u64::from(*has_rejected_file))),
            ("plugin_version", serving.map(|version| Value::Text(version.name.clone()))),
            ("plugin_hash", serving.map(|version| Value::Text(version.digits.clone()))),
            ("plugin_memory_bytes", number(memory_bytes).filter(|_| serving.is_some() || memory_bytes > 0)),
            ("plugin_duration_seconds", durations.map(|durations| seconds(durations.last))),
            ("plugin_duration_max_seconds", durations.map(|durations| seconds(durations.longest))),
            ("plugin_skipped_total", number(counters.skipped.get())),
            ("plugin_late_total", number(counters.late.get())),
            ("plugin_dropped_metrics_total", number(counters.dropped.get())),
            ("plugin_refused_times_total", number(counters.refused_times.get())),
            ("plugin_skipped_lines_total", number(counters.skipped_lines.get())),
            ("plugin_errors_total", number(counters.errors.get())),
            ("plugin_stuck_operations", number(accounts.permits.stuck() as u64)),
            ("plugin_dropped_messages_total", number(accounts.log.dropped_total())),
            ("plugin_faults_total", number(counters.faults.total())),
        ];
        agent.push_row(&mut self.row, &self.labels, metrics);
        for (kind, count) in counters.faults.nonzero() {
            let known = self.fault_labels.iter().position(|&(known, _)| known == kind);
            let at = known.unwrap_or_else(|| {
                let label = Label { name: "kind".into(), value: kind.name().into() };
                self.fault_labels.push((kind, self.labels.iter().cloned().chain([label]).collect()));
                self.fault_labels.len() - 1
            });
            agent.push_labelled("plugin_faults_total", &self.fault_labels[at].1, count);
        }
    }
}
