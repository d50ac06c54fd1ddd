//! The metrics of a sink in the module `agent`.

use super::error::ErrorReason;
use super::queued::SampleQueue;
use super::sender::loss::Loss;
use super::sender::statistics::NetworkStatistics;
use super::statistics::SinkStatistics;
use crate::clock::schedule::wall_clock;
use crate::config::NetworkSettings;
use crate::sample::{Label, Labels, Values};

/// The labels of a sink's metrics, made once.
#[derive(Debug)]
pub(super) struct SinkLabels {
    sink: Labels,
    queue_full: Labels,
    failed: Labels,
    errors: Vec<(ErrorReason, Labels)>,
    /// Those of the points that a network sink lost; empty for other sinks.
    losses: Vec<(Loss, Labels)>,
    /// Whether it sends heartbeats.
    has_heartbeat: bool,
}

impl SinkLabels {
    /// The labels of a sink that can fail for these reasons.
    pub(super) fn new(name: &str, reasons: &[ErrorReason], network: Option<&NetworkSettings>) -> Self {
        let sink = || Label { name: "sink".into(), value: name.into() };
        let labels =
            |reason: &str| [sink(), Label { name: "reason".into(), value: reason.into() }].into_iter().collect();
        Self {
            sink: [sink()].into_iter().collect(),
            queue_full: labels("queue_full"),
            failed: labels("failed"),
            errors: reasons.iter().map(|reason| (*reason, labels(reason.name()))).collect(),
            has_heartbeat: network.is_some_and(NetworkSettings::has_heartbeat),
            losses: Loss::ALL.iter().filter(|_| network.is_some()).map(|loss| (*loss, labels(loss.name()))).collect(),
        }
    }

    /// Appends the sink's metrics. `dropped_before` are the samples that an earlier queue of it dropped.
    pub(super) fn append_metrics(
        &self,
        agent: &mut Values<'_>,
        queue: &SampleQueue,
        statistics: &SinkStatistics,
        is_up: bool,
        dropped_before: u64,
    ) {
        let Self { sink, queue_full, failed, errors, losses, has_heartbeat } = self;
        let (samples, bytes) = queue.waiting();
        agent.push_labelled("sink_up", sink, u64::from(is_up));
        agent.push_labelled("sink_delivered_samples_total", sink, statistics.delivered());
        agent.push_labelled("sink_dropped_samples_total", queue_full, dropped_before + queue.dropped());
        agent.push_labelled("sink_dropped_samples_total", failed, statistics.failed());
        agent.push_labelled("sink_queue_samples", sink, samples as u64);
        agent.push_labelled("sink_queue_bytes", sink, bytes);
        let last = statistics.last_success();
        agent.push_labelled("sink_last_success_timestamp_seconds", sink, last.map(|last| last.as_secs_f64()));
        agent.push_labelled("sink_duration_seconds", sink, last.map(|_| statistics.duration().as_secs_f64()));
        for (reason, labels) in errors {
            agent.push_labelled("sink_errors_total", labels, statistics.errors(*reason));
        }
        agent.push_labelled("sink_left_out_series", sink, statistics.left_out());
        if !losses.is_empty() {
            append_network_metrics(agent, sink, losses, statistics.network());
        }
        if *has_heartbeat {
            statistics.heartbeat().append_metrics(agent, sink);
        }
    }
}

fn append_network_metrics(
    agent: &mut Values<'_>,
    sink: &Labels,
    losses: &[(Loss, Labels)],
    network: &NetworkStatistics,
) {
    let behind = network.behind();
    let seconds = behind.since.map_or(0.0, |since| wall_clock().saturating_sub(since).as_secs_f64());
    agent.push_labelled("sink_delivered_points_total", sink, network.delivered_points());
    for (loss, labels) in losses {
        agent.push_labelled("sink_dropped_points_total", labels, network.lost_points(*loss));
    }
    agent.push_labelled("sink_requests_total", sink, network.requests());
    agent.push_labelled("sink_sent_bytes_total", sink, network.sent_bytes());
    agent.push_labelled("sink_behind_seconds", sink, seconds);
    agent.push_labelled("sink_behind_samples", sink, behind.samples);
    agent.push_labelled("sink_behind_bytes", sink, behind.bytes);
    agent.push_labelled("sink_spool_bytes", sink, behind.spool_bytes);
}
