//! The module `agent`: what the agent reports on itself, its native collectors and its plugins.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reloader::{ReloadFacts, Reloader};
use super::usage::ProcessUsage;
use crate::clock::schedule::wall_clock;
use crate::clock::ticker::Ticker;
use crate::collector::native::Natives;
use crate::collector::slow::SlowReadings;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::http;
use crate::plugin::Plugins;
use crate::push;
use crate::sample::{
    AGENT, CollectorVersion, Labels, Module, ModuleSource, ModuleWriter, NativeMetric, Sample, SeriesAccount,
    SeriesTable, Value,
};
use crate::sink::Sinks;

const fn gauge(name: &'static str, unit: &'static str, description: &'static str) -> NativeMetric {
    NativeMetric::gauge(AGENT, name, unit, description, "agent")
}

const fn counter(name: &'static str, unit: &'static str, description: &'static str) -> NativeMetric {
    NativeMetric::counter(AGENT, name, unit, description, "agent")
}

/// The metrics of the module.
pub const METRICS: &[NativeMetric] = &[
    gauge("timestamp", "s", "The tick: the scheduled moment, since the Unix epoch."),
    gauge("hostname", "", "The host's name."),
    gauge("version", "", "The agent's version."),
    gauge("build_info", "1", "1; the label `version` is the agent's version."),
    gauge("interval", "s", "The time between two ticks."),
    gauge("collect_seconds", "s", "The time from the start of the tick to the complete sample."),
    gauge("tick_delay_seconds", "s", "How much later than scheduled the tick began."),
    counter("missed_ticks_total", "{tick}", "Ticks that passed while the agent was busy or the host was suspended."),
    counter(
        "clock_steps_total",
        "{step}",
        "How often the wall clock was set, by half a second or more, or back to a tick that was served.",
    ),
    counter("dropped_samples_total", "{sample}", "Samples that a sink dropped, all sinks together."),
    gauge("start_time_seconds", "s", "When the agent started, since the Unix epoch."),
    NativeMetric::counter(
        AGENT,
        "cpu_seconds_total",
        "s",
        "Processor time of the agent's process; the compiler's is not in it.",
        "clock_gettime(2)",
    ),
    NativeMetric::gauge(
        AGENT,
        "resident_memory_bytes",
        "By",
        "Memory of the agent's process in RAM, at most 10 s old.",
        "/proc/self/statm",
    ),
    NativeMetric::gauge(
        AGENT,
        "open_fds",
        "{descriptor}",
        "Open file descriptors of the agent's process, at most 10 s old.",
        "/proc/self/fd",
    ),
    NativeMetric::gauge(
        AGENT,
        "threads",
        "{thread}",
        "Threads of the agent's process, at most 10 s old.",
        "/proc/self/task",
    ),
    gauge("series", "{series}", "Different series in use, those of samples that wait in a sink included."),
    gauge(
        "config_reload_success",
        "1",
        "1 if the last reload has put the whole configuration into effect, otherwise 0. A plugin that runs no version yet is \
         loaded afterwards, and has a state of its own.",
    ),
    gauge("config_reload_timestamp_seconds", "s", "When the configuration came into effect, since the Unix epoch."),
    gauge(
        "config_hash",
        "1",
        "A number that differs when the settings differ, however they are written; the same for the same version of the agent. Secrets and sensitive settings are left out.",
    ),
    gauge(
        "http_connections",
        "{connection}",
        "Open connections of the HTTP server; only with `[http]`, as all `http_*`.",
    ),
    gauge("http_streams", "{stream}", "Open event streams of the HTTP server."),
    counter("http_requests_total", "{request}", "Requests to the HTTP server, those that were rejected included."),
    counter(
        "http_rejected_total",
        "{request}",
        "Requests and connections that came to nothing, by `reason`: `malformed`, `too_large`, `timeout`, `displaced` (it made room for \
         another one), `tls`, `unauthorized`, `host`, `unavailable` (no tick, or no room), `invalid` (no such endpoint, method or \
         parameter).",
    ),
    counter(
        "http_dropped_events_total",
        "{event}",
        "Samples that a client of an event stream did not get, since it had not read the one before.",
    ),
    gauge(
        "http_left_out_series",
        "{series}",
        "Series that `/metrics` leaves out in the configured naming, by `reason`: `max_series`, or `collision` when another one has the name.",
    ),
    gauge("http_render_seconds", "s", "How long it took to make the last text of `/metrics`; most requests share one."),
    counter(
        "push_accepted_points_total",
        "{point}",
        "Pushed points that were taken; only with `http.push`, as all `push_*`.",
    ),
    counter(
        "push_retimed_points_total",
        "{point}",
        "Pushed points that got another time: that of the tick, since theirs was later or an hour older, or that of the last points of \
         their step, since theirs was earlier.",
    ),
    counter(
        "push_rejected_points_total",
        "{point}",
        "Pushed points that were refused, by `reason`: the field that is wrong (`metric`, `endpoint`, `tags`, `counter_type`, `value`, \
         `step`, `timestamp`), `form` (no object), or `series` (too many).",
    ),
    counter(
        "push_dropped_points_total",
        "{point}",
        "Good points that are in no sample, by `reason`: `queue_full` (their sender was told to come again), `duplicate` (a later one has \
         their time), `out_of_order` (not newer than the last one of their series), `limit` (too many steps, times or series), \
         `turned_off`.",
    ),
    gauge(
        "http_certificate_expiry_timestamp_seconds",
        "s",
        "When the first of the certificates in `tls_certificate` expires, since the Unix epoch; only with TLS.",
    ),
    gauge("module_age_seconds", "s", "How much older than the tick a module of the sample is; only where it is older."),
    gauge("collector_duration_seconds", "s", "How long a native collector took."),
    gauge("sink_up", "1", "1 if the sink's last delivery succeeded, otherwise 0."),
    counter("sink_delivered_samples_total", "{sample}", "Samples that the sink delivered."),
    counter(
        "sink_dropped_samples_total",
        "{sample}",
        "Samples that the sink lost, by `reason`: `queue_full`, or `failed` when they could not be delivered.",
    ),
    gauge("sink_queue_samples", "{sample}", "Samples that wait for the sink."),
    gauge("sink_queue_bytes", "By", "Memory of the samples that wait for the sink."),
    gauge(
        "sink_last_success_timestamp_seconds",
        "s",
        "When the sink delivered a sample last, since the Unix epoch; null before the first.",
    ),
    gauge("sink_duration_seconds", "s", "How long the sink's last delivery took; null before the first."),
    counter(
        "sink_errors_total",
        "{error}",
        "Errors of the sink, by `reason`; the text of the last one is in `gauged status`.",
    ),
    gauge(
        "sink_left_out_series",
        "{series}",
        "Series that the sink leaves out: it has `max_series` already, another one has the name, or its protocol cannot have them.",
    ),
    counter(
        "sink_delivered_points_total",
        "{point}",
        "Points that a receiver took; only of sinks that send over the network, as all that follow here.",
    ),
    counter(
        "sink_dropped_points_total",
        "{point}",
        "Points that were lost, by `reason`: `rejected` by the receiver, `given_up`, `spool_full`, `expired`, `damaged`, `queue_full`, \
         `ended` with the sink.",
    ),
    counter("sink_requests_total", "{request}", "Requests that were sent, those that failed included."),
    counter("sink_sent_bytes_total", "By", "Bytes of the bodies of these requests, as they were sent."),
    gauge("sink_behind_seconds", "s", "The age of the oldest sample that the receiver has not taken; 0 without one."),
    gauge("sink_behind_samples", "{sample}", "Samples that the receiver has not taken."),
    gauge("sink_behind_bytes", "By", "Bytes of the requests that the receiver has not taken."),
    gauge("sink_spool_bytes", "By", "How many of them are on the disk."),
    gauge(
        "sink_heartbeat_up",
        "1",
        "1 if the last heartbeat was taken, otherwise 0; only of sinks of kind `open_falcon` with `heartbeat`.",
    ),
    counter("sink_heartbeat_errors_total", "{error}", "Heartbeats that were not taken."),
    gauge(
        "unclean_end",
        "1",
        "1 if the run before did not end cleanly, and what it had not sent may be missing; only with sinks that send over the network.",
    ),
    gauge(
        "unclean_end_since_timestamp_seconds",
        "s",
        "Since when samples may be missing, since the Unix epoch; null after a clean end.",
    ),
    gauge("unclean_end_until_timestamp_seconds", "s", "Until when; the start of this run."),
    counter(
        "spool_dropped_points_total",
        "{point}",
        "Points in spools of sinks that were removed, which were dropped since they were too old.",
    ),
    gauge(
        "collector_success",
        "1",
        "1 if the files that a native collector reads at each tick could be read, otherwise 0.",
    ),
    counter(
        "collector_skipped_lines_total",
        "{line}",
        "Lines and values of kernel files that a native collector left out, since they could not be read or could not be true; each \
         counts at each reading.",
    ),
    counter(
        "skipped_rounds_total",
        "{tick}",
        "Ticks at which no plugin was called, since the guest thread had not responded since an earlier tick.",
    ),
    counter("guest_thread_restarts_total", "{thread}", "Guest threads that took the place of one that hung in a call."),
    counter("compiled_total", "{file}", "Plugin files that were compiled."),
    NativeMetric::counter(
        AGENT,
        "compile_cpu_seconds_total",
        "s",
        "Processor time for compiling plugin files, compilers that were killed included.",
        "/proc/self/stat",
    ),
    gauge(
        "compile_budget_remaining_seconds",
        "s",
        "What is left of the processor time for compiling in an hour; null with `--once`, which has no such limit.",
    ),
    counter("cache_hits_total", "{file}", "Plugin files whose artifact was in the cache."),
    gauge("plugins_memory_bytes", "By", "Memory of all plugins together."),
    gauge(
        "plugins_memory_limit_bytes",
        "By",
        "The most memory that all plugins together may hold; null without a limit.",
    ),
    gauge("plugins_rejected", "{plugin}", "Plugins whose file was rejected."),
    gauge("plugin_up", "1", "1 if the plugin's last call succeeded, otherwise 0."),
    gauge("plugin_state", "", "`loading`, `up`, `unavailable`, `failed`, `disabled`, `rejected` or `idle`."),
    gauge("plugin_file_rejected", "1", "1 if the plugin's present file was rejected, otherwise 0."),
    gauge("plugin_version", "", "The version that serves."),
    gauge("plugin_hash", "", "The first digits of its file's SHA-256."),
    gauge(
        "plugin_memory_bytes",
        "By",
        "Memory of all instances of the plugin and their code: linear memories, tables, state, types.",
    ),
    gauge("plugin_duration_seconds", "s", "How long the plugin's last call took."),
    gauge("plugin_duration_max_seconds", "s", "How long the longest call of this version took."),
    counter("plugin_skipped_total", "{call}", "Calls that were left out because the one before had not returned."),
    counter("plugin_late_total", "{call}", "Results that missed the sample of their tick and went with a later one."),
    counter(
        "plugin_skipped_lines_total",
        "{line}",
        "Lines, files and fields that the plugin left out: refused, not understood or cut.",
    ),
    counter("plugin_errors_total", "{call}", "Calls that returned an error that is no fault."),
    counter(
        "plugin_dropped_metrics_total",
        "{metric}",
        "Metrics that broke a rule or limit, or had no sample to go with.",
    ),
    counter(
        "plugin_refused_times_total",
        "{result}",
        "Results of modules whose own time was after the tick, an hour before it, or before the last one: the tick's was used.",
    ),
    gauge("plugin_stuck_operations", "{operation}", "Operations of the plugin that hang in the host."),
    counter("plugin_dropped_messages_total", "{message}", "Log messages of the plugin above its limit."),
    counter(
        "plugin_faults_total",
        "{fault}",
        "Faults: with the label `plugin` of one plugin, with `kind` of one kind, with both, from the first one on, of one kind \
         of one plugin; a sum over all three counts each fault three times.",
    ),
    gauge(
        "plugins_omitted",
        "{plugin}",
        "Files that never were plugins and have no metrics, since there are too many.",
    ),
];

/// Fills the module.
pub(super) struct AgentModule {
    writer: ModuleWriter,
    series: Arc<SeriesTable>,
    slow: Arc<SlowReadings>,
    version: Value,
    /// The labels of `build_info`.
    build: Labels,
    started: Duration,
    usage: ProcessUsage,
    /// The module of the last tick, and the place of the metrics that the guest thread counts.
    last: Option<(Arc<Module>, Range<usize>)>,
}

/// The facts about the agent that only the main loop knows.
pub(super) struct LoopFacts<'a> {
    /// The number of ticks that passed without a sample.
    pub(super) missed: u64,
    /// How often the wall clock was set.
    pub(super) steps: u64,
    /// None in a run that ends by itself.
    pub(super) sinks: Option<&'a Sinks>,
    pub(super) reload: ReloadFacts,
    /// The numbers of the HTTP server; none without one.
    pub(super) http: Option<&'a http::Statistics>,
}

impl<'a> LoopFacts<'a> {
    pub(super) fn new(ticker: &Ticker, sinks: &'a Sinks, reloader: &Reloader, delivery: &'a Delivery) -> Self {
        let http = delivery.statistics();
        Self { missed: ticker.missed(), steps: ticker.steps(), sinks: Some(sinks), reload: reloader.facts, http }
    }
}

/// The facts about a tick.
pub(super) struct TickFacts<'a> {
    /// When it began.
    pub(super) began: Instant,
    /// How much later than scheduled.
    pub(super) delay: Duration,
    /// The numbers of pushed points; none while they are turned off.
    pub(super) push: Option<&'a push::Statistics>,
    pub(super) in_loop: &'a LoopFacts<'a>,
}

impl AgentModule {
    pub(super) fn new(config: &Config, series: &Arc<SeriesTable>, slow: &Arc<SlowReadings>) -> Self {
        Self {
            writer: writer(config.interval, series),
            series: Arc::clone(series),
            slow: Arc::clone(slow),
            version: env!("CARGO_PKG_VERSION").into(),
            build: [("version", env!("CARGO_PKG_VERSION"))].into(),
            started: wall_clock(),
            usage: ProcessUsage::new(),
            last: None,
        }
    }

    /// Follows another interval.
    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.writer = writer(interval, &self.series);
        self.last = None;
    }

    /// Puts the module into a sample that is complete otherwise. It comes first.
    pub(super) fn complete(
        &mut self,
        sample: &mut Sample,
        facts: &TickFacts<'_>,
        natives: &Natives,
        plugins: &mut Plugins,
    ) {
        self.usage.refresh(facts.began);
        let Self { writer, series, slow, version, build, started, usage, last } = self;
        let (previous, range) = last.take().unzip();
        let (previous, reload) = (previous.as_deref().zip(range), &facts.in_loop.reload);
        let (module, range) = writer.write(sample.tick, |agent| {
            agent.push("timestamp", seconds(sample.tick));
            agent.push("hostname", slow.hostname());
            agent.push("version", version.clone());
            agent.push_labelled("build_info", build, 1_u64);
            agent.push("interval", seconds(sample.interval));
            agent.push("collect_seconds", facts.began.elapsed().as_secs_f64());
            agent.push("tick_delay_seconds", facts.delay.as_secs_f64());
            agent.push("missed_ticks_total", facts.in_loop.missed);
            agent.push("clock_steps_total", facts.in_loop.steps);
            agent.push("dropped_samples_total", facts.in_loop.sinks.map_or(0, Sinks::dropped));
            agent.push("start_time_seconds", started.as_secs_f64());
            agent.push("cpu_seconds_total", ProcessUsage::cpu_seconds());
            agent.push("resident_memory_bytes", usage.resident_bytes);
            agent.push("open_fds", usage.descriptors);
            agent.push("threads", usage.threads);
            agent.push("series", series.count() as u64);
            agent.push("config_reload_success", u64::from(reload.is_successful));
            agent.push("config_reload_timestamp_seconds", reload.time.as_secs());
            agent.push("config_hash", reload.hash);
            if let Some(http) = facts.in_loop.http {
                http.append_metrics(agent);
            }
            if let Some(push) = facts.push {
                push.append_metrics(agent);
            }
            natives.append_metrics(agent);
            if let Some(sinks) = facts.in_loop.sinks {
                sinks.append_metrics(agent);
            }
            let range = plugins.append_metrics(agent, previous);
            // Last, since they come and go.
            for module in sample.modules.iter().filter(|module| module.time < sample.tick) {
                let labels: Labels = [("module", &**module.name())].into();
                let age = sample.tick.saturating_sub(module.time);
                agent.push_labelled("module_age_seconds", &labels, age.as_secs_f64());
            }
            range
        });
        *last = Some((Arc::clone(&module), range));
        sample.modules.insert(0, module);
    }
}

/// The writer of the module in an agent with this interval.
fn writer(interval: Duration, series: &Arc<SeriesTable>) -> ModuleWriter {
    let collector = CollectorVersion::native(AGENT);
    let source = ModuleSource { module: AGENT.into(), collector, step: interval, is_verbatim: false };
    ModuleWriter::new(source, METRICS, &SeriesAccount::unlimited(series))
}

/// A number of seconds, an integer where it is one.
fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 {
        Value::Unsigned(duration.as_secs())
    } else {
        Value::Float(duration.as_secs_f64())
    }
}
