//! The cost of a scrape: 300 series like those of a host, rendered again with new values, in both formats; the first rendering,
//! which makes the names; and a rendering after one module has got another series.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gauged::exposition::{Exposition, ExpositionSettings, Format};
use gauged::naming::Naming;
use gauged::sample::{
    CollectorVersion, Labels, MetricKind, Module, ModuleSource, ModuleWriter, NativeMetric, Sample, SeriesAccount,
    Value,
};

/// Six modules like that of a plugin, each with ten metrics of five devices.
const MODULES: [&str; 6] = ["disk", "network", "filesystem", "cgroup", "process", "pressure"];
const DEVICES: usize = 5;
const SERIES: usize = MODULES.len() * DEVICES * METRICS.len();

const METRICS: [(&str, &str, f64); 10] = [
    ("read_bytes_total", "By", 123_456_789_012.0),
    ("reads_total", "{operation}", 1_234_567.0),
    ("read_time_seconds_total", "s", 1234.567),
    ("io_in_progress", "{operation}", 2.0),
    ("utilisation_percent", "%", 12.345_678_9),
    ("await_seconds", "s", 0.001_234_5),
    ("bytes_per_second", "By/s", 98_765.432_1),
    ("queue_length", "{operation}", 0.312_5),
    ("used_bytes", "By", 8_589_934_592.0),
    ("up", "1", 1.0),
];

/// Modules with their values.
struct Machine {
    writers: Vec<ModuleWriter>,
    labels: Vec<Labels>,
}

impl Machine {
    fn new() -> Self {
        let metrics = MODULES.iter().flat_map(|module| {
            METRICS.map(|(name, unit, _)| {
                let kind = if name.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
                let description = "The meaning, in one sentence of usual length.";
                NativeMetric { kind, ..NativeMetric::gauge(module, name, unit, description, "a file") }
            })
        });
        let metrics: &'static [NativeMetric] = metrics.collect::<Vec<_>>().leak();
        let account = SeriesAccount::standalone();
        let writer = |module: &'static str| {
            let collector = CollectorVersion::native("bench");
            let source =
                ModuleSource { module: module.into(), collector, step: Duration::from_secs(10), is_verbatim: false };
            ModuleWriter::new(source, metrics, &account)
        };
        let label = |device: usize| Labels::from([("device", &*format!("nvme{device}n1")), ("mode", "user")]);
        Self { writers: MODULES.map(writer).into(), labels: (0..DEVICES).map(label).collect() }
    }

    /// The sample of a tick; the first module may have a metric more.
    fn sample(&mut self, tick: u64, is_extended: bool) -> Sample {
        let labels = &self.labels;
        let write = |(at, writer): (usize, &mut ModuleWriter)| -> Arc<Module> {
            let fill = |values: &mut gauged::sample::Values<'_>| {
                for labels in labels {
                    for (name, _, number) in METRICS {
                        values.push_labelled(name, labels, value(number, tick));
                    }
                }
                if is_extended && at == 0 {
                    values.push("another", 1);
                }
            };
            writer.write(Duration::from_secs(tick), fill).0
        };
        Sample { modules: self.writers.iter_mut().enumerate().map(write).collect(), ..Sample::default() }
    }
}

/// A value of a tick: a whole number, or any other.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the whole numbers are small")]
fn value(number: f64, tick: u64) -> Value {
    if number.fract() == 0.0 { Value::Unsigned(number as u64 + tick) } else { Value::Float(number + tick as f64) }
}

fn exposition() -> Exposition {
    let (is_selected, prefix) = (Box::new(|_: &str, _: &gauged::sample::Series| true), "gauged".into());
    Exposition::new(ExpositionSettings {
        naming: Naming::Gauged,
        prefix,
        tags: Vec::new(),
        is_selected,
        max_series: 10_000,
    })
}

fn scrapes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exposition of 300 series");
    group.throughput(Throughput::Elements(SERIES as u64)).sample_size(50).measurement_time(Duration::from_secs(3));
    let mut machine = Machine::new();
    let samples = [1, 2].map(|tick| machine.sample(tick, false));
    let extended = machine.sample(3, true);
    let mut text = Vec::new();
    for (name, format) in [("text", Format::Text), ("OpenMetrics", Format::OpenMetrics)] {
        let (mut exposition, mut at) = (exposition(), 0);
        group.bench_function(format!("hot, {name}"), |bencher| {
            bencher.iter(|| {
                text.clear();
                at = 1 - at;
                exposition.render(&samples[at], format, None, &mut text);
            });
        });
    }
    assert_eq!(text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"gauged_")).count(), SERIES);
    group.bench_function("first", |bencher| {
        bencher.iter_batched(
            exposition,
            |mut exposition| {
                text.clear();
                exposition.render(&samples[0], Format::Text, None, &mut text);
                exposition
            },
            BatchSize::LargeInput,
        );
    });
    let mut exposition = exposition();
    let mut tick = 0;
    group.bench_function("one more series or one less", |bencher| {
        bencher.iter(|| {
            text.clear();
            tick += 1;
            let sample = if tick % 2 == 0 { &samples[0] } else { &extended };
            exposition.render(sample, Format::Text, None, &mut text);
        });
    });
    group.finish();
}

criterion_group!(benches, scrapes);
criterion_main!(benches);
