//! Sinks of kind `open_falcon`: samples as points for Open-Falcon's transfers, over JSON-RPC, and for Nightingale's `/openfalcon/push`, over
//! HTTP. Heartbeats tell Open-Falcon that the agent is there.
//!
//! ```text
//!  sample ──▶ Encoder: points ─▶ batches ──▶ requests ──▶ Transfers: rpc ─▶ connection of the first transfer that works
//!                                                    └──▶ push: HTTP to Nightingale
//!                                        heartbeat: rpc ─▶ connection of the first hbs that works
//! ```

mod point;
mod batch;
mod rpc;
mod connection;
mod peer;
mod peers;
mod transfers;
mod push;
mod heartbeat;
#[cfg(test)]
mod rpc_server;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::batch::Batch;
pub(super) use self::heartbeat::{HeartbeatSettings, heartbeat};
use self::point::PointSeries;
pub(super) use self::push::{headers, verdict};
pub(super) use self::transfers::Transfers;
use super::numeric::{NameRules, NamedSeries, NumericSeries, NumericSettings, Part};
use super::request::Request;
use crate::naming::Number;
use crate::naming::open_falcon::valid;
use crate::sample::Sample;

/// The version of the bodies: compressed arrays of points.
pub(super) const VERSION: u16 = 1;

/// The metric by which Open-Falcon knows that a host is up. Each sample has it, as those of the original agent.
const ALIVE: &str = "agent.alive";

/// How many series that transfers reject are reported. More would be a flood.
const MAX_REPORTS: u32 = 100;

/// Makes requests of samples.
pub(super) struct Encoder {
    series: NumericSeries<PointSeries>,
    alive: PointSeries,
    batch: Batch,
    /// The series of the last sample that transfers reject.
    rejected: usize,
    reports: u32,
    /// Whether the host has had no name, without which nothing can be sent.
    is_nameless: bool,
}

impl Encoder {
    pub(super) fn new(settings: Arc<NumericSettings>) -> Self {
        let alive = alive(&settings);
        let rules = NameRules { valid: Some(valid), ..NameRules::default() };
        let series = NumericSeries::with_rules(settings, rules);
        Self { series, alive, batch: Batch::new(), rejected: 0, reports: 0, is_nameless: false }
    }

    /// Appends the requests of a sample, oldest first. A series has at most one point a second, so that there are samples without a
    /// request.
    pub(super) fn encode(&mut self, sample: &Sample, settings: &Arc<NumericSettings>, to: &mut Vec<Request>) {
        let settings = settings.with_host(sample);
        if *self.series.settings() != settings {
            self.series.follow(&settings);
            self.alive = alive(&settings);
        }
        if !self.has_name(&settings) {
            return;
        }
        let first = to.len();
        let Self { series, alive, batch, rejected, reports, .. } = self;
        *rejected = 0;
        let host = &*settings.host;
        let render = |named: &NamedSeries<'_>| {
            PointSeries::new(host, named).unwrap_or_else(|reason| {
                report_rejected(named, reason, reports);
                PointSeries::default()
            })
        };
        series.visit(sample, render, |part| match part {
            Part::Group => batch.finish(to),
            Part::Module(module) => batch.begin_module(module.time, module.step()),
            Part::Point(series, _) if series.is_rejected() => *rejected += 1,
            Part::Point(series, number) => batch.push(series, number, to),
            // The protocol has no end of a series.
            Part::Ended(..) => {}
        });
        // The last results may be of an earlier time.
        if !batch.is_of(sample.tick) {
            batch.finish(to);
        }
        batch.begin_module(sample.tick, sample.interval);
        batch.push(alive, Number::Unsigned(1), to);
        batch.finish(to);
        if let Some(last) = to.get_mut(first..).and_then(<[Request]>::last_mut) {
            last.is_last = true;
        }
    }

    /// Whether the host has a name. Transfers reject points without one.
    fn has_name(&mut self, settings: &NumericSettings) -> bool {
        let is_nameless = settings.host.is_empty();
        if is_nameless && !std::mem::replace(&mut self.is_nameless, is_nameless) {
            let remedy = "name the host with the key hostname";
            tracing::error!(reason = "the host has no name", remedy, "points not sent");
        }
        self.is_nameless = is_nameless;
        !is_nameless
    }

    /// Ends all series. The protocol has no end of a series.
    pub(super) fn end(&mut self, _time: Duration, _to: &mut Vec<Request>) {
        self.series.end(|_| {});
    }

    pub(super) fn left_out(&self) -> usize {
        self.series.left_out() + self.rejected
    }
}

fn alive(settings: &NumericSettings) -> PointSeries {
    PointSeries::gauge(&settings.host, ALIVE, &settings.tags)
}

fn report_rejected(series: &NamedSeries<'_>, reason: &str, reports: &mut u32) {
    if *reports < MAX_REPORTS {
        *reports += 1;
        let (module, metric) = (&*series.source.module, series.series.metric_name());
        let remedy = "exclude the series, or rename it in its plugin or program";
        tracing::warn!(name = &*series.named.name, module, metric, reason, remedy, "series not sent");
    }
}
