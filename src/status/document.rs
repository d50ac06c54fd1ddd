//! The status as a document: the JSON on the socket. The agent writes it, and `gauged status` reads it, possibly of another
//! version: fields that are unknown are ignored, and fields that are missing have their default.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::addresses::AddressStatus;
use super::numbers::Numbers;
use super::plugins::{FileStatus, PluginStatus};
use super::problem::{Problem, ProblemKind};
use super::sinks::SinkView;
use super::view::{GuestThreadState, PluginsView, Slot, TickView, View};

/// The format of the document. It grows when a field changes its meaning, not when one is added.
pub(super) const FORMAT: u32 = 1;

/// How many intervals may pass without a sample …
const OVERDUE_INTERVALS: u32 = 2;

/// … and how much longer: a sample waits for its plugins for a second at most, and for the guest thread for another.
const OVERDUE_GRACE: Duration = Duration::from_secs(3);

/// How long the guest thread may be late before that is shown: a busy host may keep it from its work for a while.
const GUEST_PATIENCE: Duration = Duration::from_secs(5);

/// The status of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    pub(crate) format: u32,
    pub(crate) agent: AgentDocument,
    pub(crate) collectors: Vec<CollectorDocument>,
    pub(crate) sinks: Vec<SinkDocument>,
    /// The addresses of the HTTP server.
    pub(crate) addresses: Vec<AddressStatus>,
    pub(crate) plugins: PluginsDocument,
}

/// The agent itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AgentDocument {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) hostname: Option<String>,
    /// Since the Unix epoch.
    pub(crate) start_time_seconds: f64,
    pub(crate) uptime_seconds: f64,
    pub(crate) interval_seconds: f64,
    /// The configuration file in use; none where there is none.
    pub(crate) configuration: Option<String>,
    /// Whether the whole configuration that was read last is in effect, and since when.
    pub(crate) is_configuration_in_effect: Option<bool>,
    pub(crate) configured_at_seconds: Option<u64>,
    /// Why it is not.
    pub(crate) configuration_problems: Vec<Problem>,
    /// The last tick; none before the first sample.
    pub(crate) tick: Option<TickDocument>,
    pub(crate) missed_ticks_total: u64,
    pub(crate) dropped_samples_total: u64,
    pub(crate) cpu_seconds_total: Option<f64>,
    pub(crate) resident_memory_bytes: Option<u64>,
    pub(crate) open_fds: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) series: Option<u64>,
}

/// The last tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TickDocument {
    /// The scheduled moment, since the Unix epoch.
    pub(crate) timestamp_seconds: f64,
    /// How long ago its sample was complete.
    pub(crate) age_seconds: f64,
    /// Whether the next one is overdue.
    pub(crate) is_overdue: bool,
    /// How much later than scheduled it began, and how much later any did.
    pub(crate) delay_seconds: f64,
    pub(crate) longest_delay_seconds: f64,
    /// The time from its start to the complete sample.
    pub(crate) collect_seconds: f64,
}

/// A native collector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CollectorDocument {
    pub(crate) name: String,
    pub(crate) is_enabled: bool,
    /// Whether its files could be read at the last tick.
    pub(crate) is_successful: Option<bool>,
    pub(crate) duration_seconds: Option<f64>,
    pub(crate) skipped_lines_total: Option<u64>,
    pub(crate) problem: Option<Problem>,
}

/// A sink.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SinkDocument {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Whether the last delivery succeeded.
    pub(crate) is_up: bool,
    pub(crate) delivered_samples_total: u64,
    /// By reason.
    pub(crate) dropped_samples_total: BTreeMap<String, u64>,
    pub(crate) queue_samples: u64,
    pub(crate) queue_bytes: u64,
    /// When a sample was delivered last, since the Unix epoch.
    pub(crate) last_success_seconds: Option<f64>,
    pub(crate) duration_seconds: Option<f64>,
    /// By reason.
    pub(crate) errors_total: BTreeMap<String, u64>,
    pub(crate) left_out_series: u64,
    /// How far a network sink is behind; none for another one.
    pub(crate) behind: Option<BehindDocument>,
    pub(crate) problem: Option<Problem>,
}

/// How far a network sink is behind its receiver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BehindDocument {
    /// The age of the oldest sample that the receiver has not taken.
    pub(crate) seconds: f64,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    /// How many of them are on the disk.
    pub(crate) spool_bytes: u64,
    /// By reason.
    pub(crate) dropped_points_total: BTreeMap<String, u64>,
}

/// The plugins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PluginsDocument {
    pub(crate) directory: Option<String>,
    pub(crate) directory_problem: Option<Problem>,
    /// Whether the guest thread, which calls them, responds. Otherwise everything below is as it was before.
    pub(crate) is_responding: bool,
    /// Whether there is no guest thread at all.
    pub(crate) is_absent: bool,
    /// The tick of the last news, and how old they are; none before the first.
    pub(crate) timestamp_seconds: Option<f64>,
    pub(crate) age_seconds: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) skipped_rounds_total: u64,
    pub(crate) guest_thread_restarts_total: u64,
    pub(crate) list: Vec<PluginDocument>,
    /// How many are left out: they never served and have no table.
    pub(crate) omitted: u64,
    /// The files that make no plugin.
    pub(crate) files: Vec<FileStatus>,
    pub(crate) omitted_files: u64,
}

/// A plugin with its numbers, which are those of the agent's metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PluginDocument {
    #[serde(flatten)]
    pub(crate) status: PluginStatus,
    pub(crate) duration_seconds: Option<f64>,
    pub(crate) duration_max_seconds: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
    /// By kind; the kinds that have occurred.
    pub(crate) faults_total: BTreeMap<String, u64>,
    pub(crate) errors_total: u64,
    pub(crate) skipped_total: u64,
    pub(crate) late_total: u64,
    pub(crate) skipped_lines_total: u64,
    pub(crate) dropped_metrics_total: u64,
    pub(crate) dropped_messages_total: u64,
    pub(crate) stuck_operations: u64,
}

impl Slot {
    /// The status of this moment.
    pub(crate) fn document(&self) -> Document {
        Document::new(&self.view())
    }
}

/// Whether a sample is overdue, so long after the last one or the start.
pub(crate) fn is_overdue(age: Duration, interval: Duration) -> bool {
    age > interval.saturating_mul(OVERDUE_INTERVALS).saturating_add(OVERDUE_GRACE)
}

impl Document {
    pub(super) fn new(view: &View) -> Self {
        let View { facts, tick, addresses } = view;
        let numbers = tick.as_ref().map(|tick| Numbers::new(&tick.sample)).unwrap_or_default();
        let agent = AgentDocument {
            version: facts.version.to_owned(),
            pid: facts.pid,
            hostname: numbers.text("hostname"),
            start_time_seconds: facts.started.as_secs_f64(),
            uptime_seconds: facts.began.elapsed().as_secs_f64(),
            interval_seconds: facts.settings.interval.as_secs_f64(),
            configuration: facts.settings.configuration.clone(),
            is_configuration_in_effect: numbers.whole("config_reload_success").map(|success| success == 1),
            configured_at_seconds: numbers.whole("config_reload_timestamp_seconds"),
            configuration_problems: tick.iter().flat_map(|tick| tick.configuration_problems.iter()).cloned().collect(),
            tick: tick.as_ref().map(|tick| TickDocument::new(tick, facts.settings.interval, &numbers)),
            missed_ticks_total: numbers.count("missed_ticks_total"),
            dropped_samples_total: numbers.count("dropped_samples_total"),
            cpu_seconds_total: numbers.float("cpu_seconds_total"),
            resident_memory_bytes: numbers.whole("resident_memory_bytes"),
            open_fds: numbers.whole("open_fds"),
            threads: numbers.whole("threads"),
            series: numbers.whole("series"),
        };
        let collector = |&(name, is_enabled): &(&str, bool)| {
            let numbers = numbers.labelled("collector", name);
            let problems = tick.iter().flat_map(|tick| tick.collector_problems.iter());
            let problem = problems.into_iter().find(|problem| problem.collector == name).map(|problem| Problem {
                since_seconds: problem.since.as_secs_f64(),
                is_wrong: problem.is_wrong,
                ..Problem::new(ProblemKind::File, &problem.reason, problem.remedy)
            });
            CollectorDocument {
                name: name.to_owned(),
                is_enabled,
                is_successful: numbers.whole("collector_success").map(|success| success == 1),
                duration_seconds: numbers.float("collector_duration_seconds"),
                skipped_lines_total: numbers.whole("collector_skipped_lines_total"),
                problem,
            }
        };
        let plugins = tick.as_ref().map(|tick| PluginsDocument::new(&tick.plugins, &numbers)).unwrap_or_default();
        let sinks = tick.iter().flat_map(|tick| tick.sinks.iter());
        Self {
            format: FORMAT,
            agent,
            collectors: facts.settings.collectors.iter().map(collector).collect(),
            sinks: sinks.map(|sink| SinkDocument::new(sink, &numbers)).collect(),
            addresses: addresses.clone(),
            plugins,
        }
    }
}

impl SinkDocument {
    fn new(sink: &SinkView, numbers: &Numbers<'_>) -> Self {
        let numbers = numbers.labelled("sink", &sink.name);
        let problem = sink.problem.get();
        Self {
            name: sink.name.to_string(),
            kind: sink.kind.to_owned(),
            is_up: numbers.whole("sink_up") != Some(0),
            delivered_samples_total: numbers.count("sink_delivered_samples_total"),
            dropped_samples_total: numbers.kinds("sink_dropped_samples_total"),
            queue_samples: numbers.count("sink_queue_samples"),
            queue_bytes: numbers.count("sink_queue_bytes"),
            last_success_seconds: numbers.float("sink_last_success_timestamp_seconds"),
            duration_seconds: numbers.float("sink_duration_seconds"),
            errors_total: numbers.kinds("sink_errors_total"),
            left_out_series: numbers.count("sink_left_out_series"),
            behind: numbers.float("sink_behind_seconds").map(|seconds| BehindDocument {
                seconds,
                samples: numbers.count("sink_behind_samples"),
                bytes: numbers.count("sink_behind_bytes"),
                spool_bytes: numbers.count("sink_spool_bytes"),
                dropped_points_total: numbers.kinds("sink_dropped_points_total"),
            }),
            problem,
        }
    }
}

impl TickDocument {
    fn new(tick: &TickView, interval: Duration, numbers: &Numbers<'_>) -> Self {
        let age = tick.published.elapsed();
        Self {
            timestamp_seconds: tick.sample.tick.as_secs_f64(),
            age_seconds: age.as_secs_f64(),
            is_overdue: is_overdue(age, interval),
            delay_seconds: numbers.float("tick_delay_seconds").unwrap_or_default(),
            longest_delay_seconds: tick.longest_delay.as_secs_f64(),
            collect_seconds: numbers.float("collect_seconds").unwrap_or_default(),
        }
    }
}

impl PluginsDocument {
    fn new(plugins: &PluginsView, numbers: &Numbers<'_>) -> Self {
        let PluginsView { list, received, thread } = plugins;
        let document = Self {
            is_responding: match thread {
                GuestThreadState::Responds => true,
                GuestThreadState::Overdue(since) => since.elapsed() < GUEST_PATIENCE,
                GuestThreadState::Absent => false,
            },
            is_absent: *thread == GuestThreadState::Absent,
            timestamp_seconds: received.map(|(tick, _)| tick.as_secs_f64()),
            age_seconds: received.map(|(_, at)| at.elapsed().as_secs_f64()),
            memory_bytes: numbers.whole("plugins_memory_bytes"),
            memory_limit_bytes: numbers.whole("plugins_memory_limit_bytes"),
            skipped_rounds_total: numbers.count("skipped_rounds_total"),
            guest_thread_restarts_total: numbers.count("guest_thread_restarts_total"),
            ..Self::default()
        };
        let Some(list) = list else { return document };
        Self {
            directory: list.directory.clone(),
            directory_problem: list.directory_problem.clone(),
            list: list.plugins.iter().map(|status| PluginDocument::new(status, numbers)).collect(),
            omitted: list.omitted_plugins,
            files: list.files.clone(),
            omitted_files: list.omitted_files,
            ..document
        }
    }
}

impl PluginDocument {
    fn new(status: &PluginStatus, numbers: &Numbers<'_>) -> Self {
        let numbers = numbers.labelled("plugin", &status.name);
        Self {
            status: status.clone(),
            duration_seconds: numbers.float("plugin_duration_seconds"),
            duration_max_seconds: numbers.float("plugin_duration_max_seconds"),
            memory_bytes: numbers.whole("plugin_memory_bytes"),
            faults_total: numbers.kinds("plugin_faults_total"),
            errors_total: numbers.count("plugin_errors_total"),
            skipped_total: numbers.count("plugin_skipped_total"),
            late_total: numbers.count("plugin_late_total"),
            skipped_lines_total: numbers.count("plugin_skipped_lines_total"),
            dropped_metrics_total: numbers.count("plugin_dropped_metrics_total"),
            dropped_messages_total: numbers.count("plugin_dropped_messages_total"),
            stuck_operations: numbers.count("plugin_stuck_operations"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::status::view::{AgentFacts, CollectorProblem, Settings};

    fn view(since_tick: Duration, thread: GuestThreadState) -> View {
        let facts = AgentFacts {
            version: "1.0.0",
            pid: 1,
            started: Duration::ZERO,
            began: Instant::now(),
            settings: Settings {
                interval: Duration::from_secs(1),
                configuration: None,
                collectors: vec![("cpu", true), ("load", false)],
            },
        };
        let problem = CollectorProblem {
            collector: "cpu",
            reason: "/proc/stat: failed to read it".to_owned(),
            remedy: "",
            is_wrong: true,
            since: Duration::from_secs(7),
        };
        let tick = TickView {
            sample: Arc::default(),
            published: Instant::now().checked_sub(since_tick).expect("the host runs for longer"),
            longest_delay: Duration::ZERO,
            collector_problems: Arc::new([problem]),
            configuration_problems: Arc::default(),
            sinks: Arc::default(),
            plugins: PluginsView { thread, ..PluginsView::default() },
        };
        View { facts: Arc::new(facts), tick: Some(tick), addresses: Vec::new() }
    }

    #[test]
    fn ticks_are_overdue_after_two_intervals() {
        let is_overdue = |seconds| {
            let view = view(Duration::from_secs(seconds), GuestThreadState::Responds);
            Document::new(&view).agent.tick.expect("a tick").is_overdue
        };
        assert!(!is_overdue(1) && !is_overdue(4) && is_overdue(6));
    }

    #[test]
    fn guest_thread_may_be_late_for_a_while() {
        let plugins = |thread| Document::new(&view(Duration::ZERO, thread)).plugins;
        let late = |seconds| {
            let since = Instant::now().checked_sub(Duration::from_secs(seconds)).expect("the host runs for longer");
            plugins(GuestThreadState::Overdue(since)).is_responding
        };
        assert!(plugins(GuestThreadState::Responds).is_responding && late(1) && !late(6));
        let absent = plugins(GuestThreadState::Absent);
        assert!(!absent.is_responding && absent.is_absent);
    }

    #[test]
    fn documents_keep_their_content_as_json() {
        let document = Document::new(&view(Duration::ZERO, GuestThreadState::Responds));
        let problem = document.collectors[0].problem.as_ref().expect("one");
        assert_eq!((problem.since_seconds, problem.is_wrong), (7.0, true));
        assert!(document.collectors[1].problem.is_none() && !document.collectors[1].is_enabled);
        let text = serde_json::to_string(&document).expect("written");
        assert_eq!(serde_json::from_str::<Document>(&text).expect("read"), document);
    }

    #[test]
    fn documents_of_other_versions_are_read() {
        let text = r#"{"format":2,"agent":{"version":"9","moon":true},"plugins":{"list":[{"name":"a","size":[1]}]},"sinks":[]}"#;
        let document: Document = serde_json::from_str(text).expect("read");
        assert_eq!((document.format, &*document.agent.version), (2, "9"));
        assert_eq!((&*document.plugins.list[0].status.name, document.agent.tick), ("a", None));
    }
}
