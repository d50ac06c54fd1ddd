//! The request that is being written. Points are collected by metric, whatever their order in a sample: a metric is in a request
//! once, with its name, description and unit, and so is the scope that it belongs to.

use std::time::Duration;

use prost::Message as _;

use super::kept::{Handle, Kept};
use super::messages::InstrumentationScope;
use super::point::ScopeVersion;
use super::wire::{Wire, field_bytes, key, put_bytes, put_head};
use crate::naming::otel::SCHEMA_URL;
use crate::sample::{CollectorVersion, Text};
use crate::sink::gzip::Gzip;
use crate::sink::request::Request;

/// How many bytes of points a request has at most, before compression. Receivers take 4 MiB and more; a request that is sent again is
/// sent as a whole, and a record of the spool is a part of a segment.
const MAX_POINTS_BYTES: usize = 512 << 10;

/// Numbers of fields: a request's resources, a resource's attributes and scopes, and a scope's own and its metrics.
const RESOURCE_METRICS: u8 = 1;
const RESOURCE: u8 = 1;
const SCOPE_METRICS: u8 = 2;
const SCOPE: u8 = 1;
const METRICS: u8 = 2;
/// That of a resource as well as of a scope.
const SCHEMA: u8 = 3;

/// The kind of a metric's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DataKind {
    Gauge,
    /// A sum that only grows.
    Counter,
    /// A sum that may rise and fall.
    UpDownCounter,
    Histogram,
    Summary,
}

impl DataKind {
    /// The field of a metric that has the data.
    fn field(self) -> u8 {
        match self {
            Self::Gauge => 5,
            Self::Counter | Self::UpDownCounter => 7,
            Self::Histogram => 9,
            Self::Summary => 11,
        }
    }

    /// The fields after the points: the temporality, which is cumulative, and whether a sum is monotonic.
    fn rest(self) -> &'static [u8] {
        const TEMPORALITY: u8 = key(2, Wire::Varint);
        const IS_MONOTONIC: u8 = key(3, Wire::Varint);
        match self {
            Self::Gauge | Self::Summary => &[],
            Self::Counter => &[TEMPORALITY, 2, IS_MONOTONIC, 1],
            Self::UpDownCounter | Self::Histogram => &[TEMPORALITY, 2],
        }
    }
}

/// The identity of a metric. Two of one name with other units or kinds are two metrics of a request, as OTLP has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MetricKey {
    pub(super) kind: DataKind,
    pub(super) name: Text,
    pub(super) unit: Text,
}

/// A scope: a collector with its version.
#[derive(Debug)]
struct Scope {
    version: Text,
    /// How many other versions there were before.
    number: ScopeVersion,
    /// As a field of a request.
    field: Box<[u8]>,
    /// That of the version before, for the ends of its series.
    former: Box<[u8]>,
}

impl Scope {
    fn new(collector: &CollectorVersion) -> Self {
        let CollectorVersion { name, version } = collector;
        let scope = InstrumentationScope { name: name.to_string(), version: version.to_string() };
        let mut field = Vec::new();
        put_bytes(&mut field, SCOPE, &scope.encode_to_vec());
        Self { version: version.clone(), number: 0, field: field.into(), former: Box::default() }
    }
}

/// Whether points are of a scope's version or of the one before, whose series end when there is another one: to a receiver those of
/// the new version are other series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    Former,
    Current,
}

/// The points of a metric in this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Written {
    scope: usize,
    age: Age,
    metric: usize,
}

impl Written {
    /// Whether the points are of the same version of a scope.
    fn is_beside(&self, other: &Self) -> bool {
        (self.scope, self.age) == (other.scope, other.age)
    }
}

/// A metric with its points in this request.
#[derive(Debug)]
struct Metric {
    scope: Handle,
    kind: DataKind,
    /// Name, description and unit.
    head: Box<[u8]>,
    /// By age.
    points: [Vec<u8>; 2],
}

impl Metric {
    /// The description is that of the first series: series of one metric may have their own.
    fn new(scope: Handle, metric: &MetricKey, description: &str) -> Self {
        let MetricKey { kind, name, unit } = metric;
        let mut head = Vec::new();
        for (number, text) in [(1, &**name), (2, description), (3, unit)] {
            put_bytes(&mut head, number, text.as_bytes());
        }
        Self { scope, kind: *kind, head: head.into(), points: [Vec::new(), Vec::new()] }
    }

    fn data_bytes(&self, age: Age) -> usize {
        self.points[age as usize].len() + self.kind.rest().len()
    }

    fn bytes(&self, age: Age) -> usize {
        self.head.len() + field_bytes(self.data_bytes(age))
    }

    fn put(&self, age: Age, to: &mut Vec<u8>) {
        put_head(to, METRICS, self.bytes(age));
        to.extend_from_slice(&self.head);
        put_head(to, self.kind.field(), self.data_bytes(age));
        to.extend_from_slice(&self.points[age as usize]);
        to.extend_from_slice(self.kind.rest());
    }
}

/// The attributes of the sender, as a field of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EncodedResource(Box<[u8]>);

impl EncodedResource {
    pub(super) fn new(resource: &super::messages::Resource) -> Self {
        let mut field = Vec::new();
        put_bytes(&mut field, RESOURCE, &resource.encode_to_vec());
        Self(field.into())
    }
}

/// The scopes and metrics of all series, and the points of the request that is being written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By the name of the collector.
    scopes: Kept<Text, Scope>,
    metrics: Kept<(usize, MetricKey), Metric>,
    /// The metrics with points.
    written: Vec<Written>,
    points: u32,
    points_bytes: usize,
    newest: Duration,
    /// Whether the names are those of the conventions.
    is_conventional: bool,
    plain: Vec<u8>,
    gzip: Gzip,
}

impl Batch {
    /// Sets whether the names of metrics follow the semantic conventions.
    pub(super) fn follow(&mut self, is_conventional: bool) {
        self.is_conventional = is_conventional;
    }

    /// Begins a module of a collector, which may have another version now.
    pub(super) fn begin(&mut self, collector: &CollectorVersion) {
        if let Some(scope) = self.scopes.find_mut(&collector.name).filter(|scope| scope.version != collector.version) {
            let next = Scope::new(collector);
            let former = std::mem::replace(&mut scope.field, next.field);
            (scope.version, scope.former, scope.number) = (next.version, former, scope.number.wrapping_add(1));
        }
    }

    /// The version of a metric's scope.
    pub(super) fn scope_version(&self, metric: &Handle) -> ScopeVersion {
        let scope = self.metrics.get(metric.place()).and_then(|metric| self.scopes.get(metric.scope.place()));
        scope.map_or(0, |scope| scope.number)
    }

    /// A metric of a collector.
    pub(super) fn metric(&mut self, collector: &CollectorVersion, metric: MetricKey, description: &str) -> Handle {
        let scope = self.scopes.handle(collector.name.clone(), |_| Scope::new(collector));
        self.metrics.handle((scope.place(), metric), |(_, metric)| Metric::new(scope, metric, description))
    }

    /// Adds a point of a metric, which `put` appends; it returns whether there is one.
    pub(super) fn add(
        &mut self,
        metric: &Handle,
        age: Age,
        time: Duration,
        put: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let Some(Metric { scope, points, .. }) = self.metrics.get_mut(metric.place()) else { return false };
        let points = &mut points[age as usize];
        let before = points.len();
        if !put(points) {
            points.truncate(before);
            return false;
        }
        if before == 0 {
            self.written.push(Written { scope: scope.place(), age, metric: metric.place() });
        }
        self.points += 1;
        self.points_bytes += points.len() - before;
        self.newest = self.newest.max(time);
        true
    }

    /// Whether the request has as many points as one may have.
    pub(super) fn is_full(&self) -> bool {
        self.points_bytes >= MAX_POINTS_BYTES
    }

    /// Ends the request. None without a point.
    pub(super) fn take(&mut self, resource: &EncodedResource) -> Option<Request> {
        if self.points == 0 {
            return None;
        }
        self.written.sort_unstable();
        self.plain.clear();
        self.put(resource);
        for Written { age, metric, .. } in self.written.drain(..) {
            if let Some(metric) = self.metrics.get_mut(metric) {
                metric.points[age as usize].clear();
            }
        }
        let request = Request {
            time: std::mem::take(&mut self.newest),
            points: std::mem::take(&mut self.points),
            is_last: false,
            body: self.gzip.compress(&self.plain),
        };
        self.points_bytes = 0;
        Some(request)
    }

    fn put(&mut self, resource: &EncodedResource) {
        let Self { scopes, metrics, written, plain, .. } = self;
        let scope_schema = if self.is_conventional { SCHEMA_URL } else { "" };
        let schema_bytes = if self.is_conventional { field_bytes(SCHEMA_URL.len()) } else { 0 };
        let field = |written: &Written| {
            let scope = scopes.get(written.scope)?;
            Some(if written.age == Age::Current { &scope.field } else { &scope.former })
        };
        let scope_bytes = |of_scope: &[Written]| {
            let metrics = of_scope.iter().filter_map(|written| Some(metrics.get(written.metric)?.bytes(written.age)));
            let scope = of_scope.first().and_then(field).map_or(0, |field| field.len());
            scope + metrics.map(field_bytes).sum::<usize>() + schema_bytes
        };
        let by_scope = || written.chunk_by(Written::is_beside);
        let all_scopes: usize = by_scope().map(|of_scope| field_bytes(scope_bytes(of_scope))).sum();
        put_head(plain, RESOURCE_METRICS, resource.0.len() + all_scopes + field_bytes(SCHEMA_URL.len()));
        plain.extend_from_slice(&resource.0);
        for of_scope in by_scope() {
            put_head(plain, SCOPE_METRICS, scope_bytes(of_scope));
            if let Some(field) = of_scope.first().and_then(field) {
                plain.extend_from_slice(field);
            }
            for written in of_scope {
                if let Some(metric) = metrics.get(written.metric) {
                    metric.put(written.age, plain);
                }
            }
            put_bytes(plain, SCHEMA, scope_schema.as_bytes());
        }
        put_bytes(plain, SCHEMA, SCHEMA_URL.as_bytes());
    }

    /// Forgets the metrics and scopes of series that are gone.
    pub(super) fn sweep(&mut self) {
        self.metrics.sweep();
        self.scopes.sweep();
    }

    /// How many scopes and metrics there are.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.scopes.len(), self.metrics.len())
    }
}
