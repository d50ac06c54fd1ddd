//! Prometheus remote write 1.0: samples as requests, and what a response means. A request has the results of one time, in snappy's
//! block format; one with very many series is split. Histograms and summaries are flat series, as in a scrape. The end of a series is
//! a staleness marker. Metadata (kinds, descriptions) is not sent: receivers of 1.0 mostly ignore it.

mod protobuf;
mod series;
mod batch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use self::batch::Batch;
use self::series::EncodedSeries;
use super::numeric::{NameRules, NumericSeries, NumericSettings, Part};
use super::request::Request;
use super::target_labels::{TargetLabel, TargetLabels};
use super::verdict::Verdict;
use crate::naming::Naming;
use crate::sample::Sample;

/// The version of the requests' bodies in a spool.
pub(super) const VERSION: u16 = 1;

/// The names of the labels that identify the sender, as a scrape gives them.
const JOB: &str = "job";
const INSTANCE: &str = "instance";

/// The version of the protocol that a receiver expects: what specification 1.0 calls it.
const PROTOCOL_VERSION: &str = "0.1.0";

/// The settings of the protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RemoteWriteSettings {
    /// The label `job`; otherwise `node` where the names are those of `node_exporter`, so that its dashboards find the host, and `gauged`.
    pub(super) job: Option<String>,
    /// The label `instance`; otherwise the name of the host.
    pub(super) instance: Option<String>,
}

/// Makes requests of samples.
#[derive(Debug)]
pub(super) struct Encoder {
    own: RemoteWriteSettings,
    target: TargetLabels,
    series: NumericSeries<EncodedSeries>,
    batch: Batch,
}

impl Encoder {
    pub(super) fn new(settings: Arc<NumericSettings>, own: RemoteWriteSettings) -> Self {
        let target = target(&settings, &own);
        let rules = NameRules { reserved: &[INSTANCE, JOB], ..NameRules::default() };
        Self { own, target, series: NumericSeries::with_rules(settings, rules), batch: Batch::default() }
    }

    /// Appends the requests of a sample, oldest first; none if it has no point and no end of a series. Follows other settings.
    pub(super) fn encode(&mut self, sample: &Sample, settings: &Arc<NumericSettings>, to: &mut Vec<Request>) {
        let first = to.len();
        let ended = self.follow(settings);
        let Self { target, series, batch, .. } = self;
        let mut time = 0;
        series.visit(
            sample,
            |named| EncodedSeries::new(named, target),
            |part| match part {
                Part::Group => batch.finish(to),
                Part::Module(module) => time = millis(module.time),
                Part::Point(series, number) => {
                    series.note(time);
                    batch.push_point(&series.labels, number.float(), time, to);
                }
                Part::Ended(series, time) => batch.push_end(&series.labels, series.end(millis(time)), to),
            },
        );
        for series in ended {
            batch.push_end(&series.labels, series.end(millis(sample.tick)), to);
        }
        self.finish(first, to);
    }

    /// Follows other settings. Returns the series that end since all series get other labels.
    fn follow(&mut self, settings: &Arc<NumericSettings>) -> Vec<EncodedSeries> {
        let mut ended = Vec::new();
        if Arc::ptr_eq(self.series.settings(), settings) {
            return ended;
        }
        let target = target(settings, &self.own);
        if target != self.target {
            self.series.end(|series| ended.push(series.clone()));
            self.target = target;
        }
        self.series.follow(settings);
        ended
    }

    /// Appends the ends of all series at this time.
    pub(super) fn end(&mut self, time: Duration, to: &mut Vec<Request>) {
        let first = to.len();
        let Self { series, batch, .. } = self;
        series.end(|series| batch.push_end(&series.labels, series.end(millis(time)), to));
        self.finish(first, to);
    }

    fn finish(&mut self, first: usize, to: &mut Vec<Request>) {
        self.batch.finish(to);
        if let Some(last) = to[first..].last_mut() {
            last.is_last = true;
        }
    }

    /// How many series of the last sample were left out.
    pub(super) fn left_out(&self) -> usize {
        self.series.left_out()
    }
}

/// The labels of each series of a sink.
fn target(settings: &NumericSettings, own: &RemoteWriteSettings) -> TargetLabels {
    let job = if settings.naming == Naming::NodeExporter { "node" } else { "gauged" };
    let label = |name, configured, default| TargetLabel { name, configured, default };
    let job = label(JOB, own.job.as_deref(), job);
    TargetLabels::new(settings, [job, label(INSTANCE, own.instance.as_deref(), &settings.host)])
}

/// A time as the protocol has it.
fn millis(time: Duration) -> i64 {
    time.as_millis().try_into().unwrap_or(i64::MAX)
}

/// The headers of a request.
pub(super) fn headers() -> HeaderMap {
    let version = HeaderName::from_static("x-prometheus-remote-write-version");
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
        (CONTENT_ENCODING, HeaderValue::from_static("snappy")),
        (version, HeaderValue::from_static(PROTOCOL_VERSION)),
    ])
}

/// The meaning of a response.
pub(super) fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    Verdict::from_status(status, headers, body)
}
