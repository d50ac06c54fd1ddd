//! A host and its samples: device metrics whose values move as those of a host do.

use std::sync::Arc;
use std::time::Duration;

use gauged::sample::{
    CollectorVersion, Labels, MetricKind, Module, ModuleSource, ModuleWriter, NativeMetric, Sample, SeriesAccount,
    Value, Values,
};

/// How a value moves from one sample to the next.
#[derive(Debug, Clone, Copy)]
enum Motion {
    /// A counter of whole numbers that grows by up to this.
    Grows(u32),
    /// A counter of seconds, in hundredths, which grows by up to so many.
    Seconds(u32),
    /// A gauge of up to this, in hundredths.
    Hundredths(u32),
    /// A gauge of bytes that moves by up to so many pages.
    Pages(u32),
    /// Always this.
    Stays(u32),
}

/// The metrics of a device, with their units.
const METRICS: [(&str, &str, Motion); 10] = [
    ("read_bytes_total", "By", Motion::Grows(100_000_000)),
    ("reads_total", "{operation}", Motion::Grows(5000)),
    ("read_time_seconds_total", "s", Motion::Seconds(1000)),
    ("io_in_progress", "{operation}", Motion::Stays(0)),
    ("utilisation_percent", "%", Motion::Hundredths(10_000)),
    ("await_seconds", "s", Motion::Hundredths(10)),
    ("sent_bytes_total", "By", Motion::Grows(1_000_000)),
    ("errors_total", "{error}", Motion::Stays(0)),
    ("used_bytes", "By", Motion::Pages(1000)),
    ("up", "1", Motion::Stays(1)),
];

/// The bytes of a page of memory.
const PAGE: u64 = 4096;

/// A host.
pub(super) struct Host {
    name: String,
    labels: Vec<Labels>,
    writer: ModuleWriter,
    agent: ModuleWriter,
    values: Vec<u64>,
    random: u64,
}

impl Host {
    /// A host with so many series, in tens.
    pub(super) fn new(number: usize, series: usize) -> Self {
        let metrics = METRICS.map(|(name, unit, _)| {
            let kind = if name.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
            NativeMetric { kind, ..NativeMetric::gauge("disk", name, unit, "The meaning.", "a file") }
        });
        // For as long as the program runs, once for each host.
        let metrics: &'static [NativeMetric] = metrics.to_vec().leak();
        let devices = series / METRICS.len();
        Self {
            name: format!("web-{number}.fra1.example.org"),
            labels: (0..devices).map(|device| [("device", &*format!("nvme{device}n1"))].into()).collect(),
            writer: writer("disk", metrics),
            agent: writer("agent", &[]),
            values: vec![1 << 30; devices * METRICS.len()],
            random: number as u64 + 1,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many series it has.
    pub(super) fn series(&self) -> usize {
        self.values.len()
    }

    /// The sample of a tick.
    pub(super) fn sample(&mut self, tick: Duration, interval: Duration) -> Sample {
        let Self { name, labels, writer, agent, values, random } = self;
        let fill = |to: &mut Values<'_>| {
            let rows = labels.iter().flat_map(|labels| METRICS.iter().map(move |metric| (labels, metric)));
            for ((labels, (name, _, motion)), value) in rows.zip(values) {
                to.push_labelled(name, labels, moved(*motion, value, random));
            }
        };
        let module = writer.write(tick, fill).0;
        let about: Arc<Module> = agent.write(tick, |to| to.push("hostname", Value::Text(name.clone().into()))).0;
        Sample { tick, interval, modules: [about, module].into(), ..Sample::default() }
    }
}

fn writer(module: &'static str, metrics: &'static [NativeMetric]) -> ModuleWriter {
    let (collector, step) = (CollectorVersion::native("bench"), Duration::from_secs(10));
    let source = ModuleSource { module: module.into(), collector, step, is_verbatim: false };
    ModuleWriter::new(source, metrics, &SeriesAccount::standalone())
}

/// The next value. Most counters of a host stand still most of the time.
fn moved(motion: Motion, value: &mut u64, random: &mut u64) -> Value {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let up_to = |most: u32| ((*random >> 40) * u64::from(most)) >> 24;
    let is_idle = (*random >> 33) & 3 != 0;
    match motion {
        Motion::Stays(always) => return Value::Unsigned(always.into()),
        Motion::Hundredths(most) => return Value::Float(up_to(most) as f64 / 100.0),
        _ if is_idle => {}
        Motion::Grows(most) | Motion::Seconds(most) => *value += up_to(most),
        Motion::Pages(most) => *value = *value / PAGE * PAGE + up_to(most) * PAGE,
    }
    match motion {
        Motion::Seconds(_) => Value::Float(*value as f64 / 100.0),
        _ => Value::Unsigned(*value),
    }
}
