//! OTLP: the metrics protocol of `OpenTelemetry`, over HTTP with protobuf and gzip. Knows the messages and the verdict on a response;
//! sending, retrying and spooling are others'.
//!
//! The tags and the host name are attributes of the resource, and not of each point. Sums are cumulative. A series that ends has a
//! last point with the flag "no recorded value".

mod wire;
mod messages;
mod kept;
mod host;
mod resource;
mod point;
mod batch;
mod distribution;
mod distributions;
mod verdict;
#[cfg(test)]
mod metric_messages;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use self::batch::{Age, Batch, DataKind, EncodedResource, MetricKey};
use self::distribution::DistributionKind;
use self::distributions::{ColumnOf, Distributions};
pub(super) use self::host::HostFacts;
use self::kept::Handle;
use self::point::{FixedParts, PointFields, nanoseconds};
use self::resource::resource;
pub(super) use self::verdict::verdict;
use super::numeric::{NamedSeries, NumericSeries, NumericSettings, Part};
use super::request::Request;
use crate::naming::{Named, Naming};
use crate::sample::{AGENT, Column, CounterOrigin, MetricKind, Sample, Value};

/// The version of the bodies in the spool.
pub(super) const VERSION: u16 = 1;

/// The headers of a request.
pub(super) fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
        (CONTENT_ENCODING, HeaderValue::from_static("gzip")),
    ])
}

/// Makes requests of samples.
#[derive(Debug)]
pub(super) struct Encoder {
    settings: Arc<NumericSettings>,
    facts: HostFacts,
    resource: EncodedResource,
    series: NumericSeries<Rendered>,
    writer: Writer,
    /// The series that the last sample left out since their histogram or summary has no point.
    left_out: usize,
}

/// A series, as far as its points are the same each time.
#[derive(Debug)]
enum Rendered {
    /// A gauge or counter.
    Number { metric: Handle, fixed: FixedParts },
    /// A part of a histogram or summary.
    Column(ColumnOf),
    /// A part without a valid bound.
    Invalid,
}

/// The points of the request that is being written.
#[derive(Debug, Default)]
struct Writer {
    batch: Batch,
    distributions: Distributions,
    /// When the host was booted and when the agent started, in nanoseconds.
    boot: Option<u64>,
    agent_start: Option<u64>,
    /// The time of the module that is being read.
    time: Duration,
}

impl Encoder {
    pub(super) fn new(settings: Arc<NumericSettings>, facts: HostFacts) -> Self {
        let resource = EncodedResource::new(&resource(&facts, &settings.host, &settings.tags));
        let series = NumericSeries::new(named_alike(&settings));
        let mut writer = Writer { boot: facts.boot.map(nanoseconds), ..Writer::default() };
        writer.batch.follow(settings.naming == Naming::Otel);
        Self { settings, facts, resource, series, writer, left_out: 0 }
    }

    /// Appends the requests of a sample, oldest first: one for each group of a time, and more of a large one.
    pub(super) fn encode(&mut self, sample: &Sample, settings: &Arc<NumericSettings>, to: &mut Vec<Request>) {
        let first = to.len();
        self.follow(&settings.with_host(sample), sample.tick, to);
        self.writer.agent_start = self.writer.agent_start.or_else(|| agent_start(sample));
        let Self { series, resource, writer, .. } = self;
        let shared = RefCell::new(writer);
        series.visit(
            sample,
            |series| shared.borrow_mut().render(series),
            |part| shared.borrow_mut().put(&part, resource, to),
        );
        self.finish(to);
        self.left_out = self.writer.distributions.take_left_out();
        if let Some(last) = to[first..].last_mut() {
            last.is_last = true;
        }
    }

    /// Ends all series.
    pub(super) fn end(&mut self, time: Duration, to: &mut Vec<Request>) {
        let first = to.len();
        self.end_all(time, to);
        if let Some(last) = to[first..].last_mut() {
            last.is_last = true;
        }
    }

    /// How many series are left out.
    pub(super) fn left_out(&self) -> usize {
        self.series.left_out() + self.left_out
    }

    /// Follows other settings. Series of another resource are other series: all of the former one end.
    fn follow(&mut self, settings: &Arc<NumericSettings>, time: Duration, to: &mut Vec<Request>) {
        if Arc::ptr_eq(&self.settings, settings) || self.settings == *settings {
            return;
        }
        let resource = EncodedResource::new(&resource(&self.facts, &settings.host, &settings.tags));
        if resource != self.resource {
            self.end_all(time, to);
            self.resource = resource;
        }
        self.series.follow(&named_alike(settings));
        self.writer.batch.follow(settings.naming == Naming::Otel);
        self.settings = Arc::clone(settings);
    }

    fn end_all(&mut self, time: Duration, to: &mut Vec<Request>) {
        let Self { series, resource, writer, .. } = self;
        series.end(|series| writer.put(&Part::Ended(series, time), resource, to));
        self.finish(to);
    }

    /// Ends the last request, and forgets what belongs to no series any more.
    fn finish(&mut self, to: &mut Vec<Request>) {
        let Self { resource, writer, .. } = self;
        let Writer { batch, distributions, .. } = writer;
        let mut take = |batch: &mut Batch| to.extend(batch.take(resource));
        distributions.finish(batch, &mut take);
        distributions.sweep(batch, &mut take);
        take(batch);
        batch.sweep();
    }
}

impl Writer {
    fn render(&mut self, series: &NamedSeries<'_>) -> Rendered {
        let NamedSeries { source, named: Named { name, labels, ucum, help, is_additive, origin, .. }, .. } = series;
        let counted_from = match origin {
            CounterOrigin::Boot => self.boot,
            CounterOrigin::Agent => self.agent_start,
            CounterOrigin::Moment(moment) => Some(nanoseconds(*moment)),
            CounterOrigin::Unknown => None,
        };
        let kind = match (kind(series), is_additive) {
            (MetricKind::Gauge, false) => DataKind::Gauge,
            (MetricKind::Gauge, true) => DataKind::UpDownCounter,
            (MetricKind::Counter, _) => DataKind::Counter,
            (MetricKind::Histogram, _) => DataKind::Histogram,
            (MetricKind::Summary, _) => DataKind::Summary,
        };
        let key = MetricKey { kind, name: name.clone(), unit: ucum.clone() };
        let metric = self.batch.metric(&source.collector, key, help);
        let distribution = match kind {
            DataKind::Gauge | DataKind::UpDownCounter => {
                return Rendered::Number { metric, fixed: FixedParts::new(PointFields::NUMBER, None, labels) };
            }
            DataKind::Counter => {
                return Rendered::Number { metric, fixed: FixedParts::new(PointFields::NUMBER, counted_from, labels) };
            }
            DataKind::Histogram => DistributionKind::Histogram,
            DataKind::Summary => DistributionKind::Summary,
        };
        let column = self.distributions.column(series, metric, distribution, counted_from);
        column.map_or(Rendered::Invalid, Rendered::Column)
    }

    fn put(&mut self, part: &Part<'_, Rendered>, resource: &EncodedResource, to: &mut Vec<Request>) {
        let Self { batch, distributions, time: module_time, .. } = self;
        let mut take = |batch: &mut Batch| to.extend(batch.take(resource));
        match *part {
            Part::Group => {
                distributions.finish(batch, &mut take);
                take(batch);
            }
            Part::Module(module) => {
                distributions.finish(batch, &mut take);
                distributions.begin(module);
                batch.begin(module.collector());
                *module_time = module.time;
            }
            Part::Point(Rendered::Number { metric, fixed }, number) => {
                if fixed.follow(batch.scope_version(metric)) {
                    batch.add(metric, Age::Former, *module_time, |points| {
                        fixed.put_end(nanoseconds(*module_time), PointFields::NUMBER, &[], points);
                        true
                    });
                }
                batch.add(metric, Age::Current, *module_time, |points| {
                    fixed.put_number(nanoseconds(*module_time), number, points);
                    true
                });
            }
            Part::Point(Rendered::Column(column), number) => distributions.set(column, number),
            Part::Ended(Rendered::Number { metric, fixed }, time) => {
                let is_former = fixed.follow(batch.scope_version(metric));
                let age = if is_former { Age::Former } else { Age::Current };
                batch.add(metric, age, time, |points| {
                    fixed.put_end(nanoseconds(time), PointFields::NUMBER, &[], points);
                    true
                });
            }
            Part::Ended(Rendered::Column(column), time) => distributions.end(column, time),
            Part::Point(Rendered::Invalid, _) | Part::Ended(Rendered::Invalid, _) => {}
        }
        if batch.is_full() {
            take(batch);
        }
    }
}

/// The kind of a series' metric. Columns are parts of one whatever the naming makes of it; a metric of unknown kind is a gauge.
fn kind(series: &NamedSeries<'_>) -> MetricKind {
    match series.series.column() {
        Column::Value => series.named.kind.unwrap_or(MetricKind::Gauge),
        Column::Bucket | Column::Quantile | Column::Sum | Column::Count => series.series.descriptor().kind,
    }
}

/// The settings on which names depend: tags and the host name are the resource's.
fn named_alike(settings: &NumericSettings) -> Arc<NumericSettings> {
    Arc::new(NumericSettings { tags: Arc::default(), host: "".into(), ..settings.clone() })
}

/// When the agent started, in nanoseconds since the Unix epoch, as it reports itself.
fn agent_start(sample: &Sample) -> Option<u64> {
    let agent = sample.modules.iter().find(|module| **module.name() == *AGENT)?;
    let start = agent.metrics().find(|metric| metric.name() == "start_time_seconds")?;
    let Value::Float(seconds) = start.value else { return None };
    Duration::try_from_secs_f64(*seconds).ok().map(nanoseconds)
}
