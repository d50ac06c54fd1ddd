//! The cost of a sample for network sinks: 500 series like those of a host, as requests that are compressed. The first line of each
//! protocol has the size of a point.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gauged::sample::{
    CollectorVersion, Labels, MetricKind, Module, ModuleSource, ModuleWriter, NativeMetric, Sample, SeriesAccount,
    Value,
};
use gauged::sink::benchmark::encoder;

/// The protocols.
const PROTOCOLS: [&str; 4] = ["remote_write", "influx", "otlp", "open_falcon"];

/// Five modules like that of a plugin, each with ten metrics of ten devices.
const MODULES: [&str; 5] = ["disk", "network", "filesystem", "cgroup", "process"];
const DEVICES: usize = 10;
const SERIES: usize = MODULES.len() * DEVICES * METRICS.len();

/// Metrics with their units and largest values; a counter among whole numbers grows.
const METRICS: [(&str, &str, f64); 10] = [
    ("read_bytes_total", "By", 1e12),
    ("reads_total", "{operation}", 1e9),
    ("read_time_seconds_total", "s", 1e5),
    ("io_in_progress", "{operation}", 3.0),
    ("utilisation_percent", "%", 100.0),
    ("await_seconds", "s", 0.1),
    ("bytes_per_second", "By/s", 1e8),
    ("errors_total", "{error}", 0.0),
    ("used_bytes", "By", 1e11),
    ("up", "1", 1.0),
];

/// Samples of some ticks, ten seconds apart.
fn samples(ticks: u64) -> Vec<Sample> {
    let metrics = MODULES.iter().flat_map(|module| {
        METRICS.map(|(name, unit, _)| {
            let kind = if name.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
            NativeMetric { kind, ..NativeMetric::gauge(module, name, unit, "The meaning.", "a file") }
        })
    });
    let metrics: &'static [NativeMetric] = metrics.collect::<Vec<_>>().leak();
    let account = SeriesAccount::standalone();
    let mut writers = MODULES.map(|module| {
        let (collector, step) = (CollectorVersion::native("bench"), Duration::from_secs(10));
        let source = ModuleSource { module: module.into(), collector, step, is_verbatim: false };
        ModuleWriter::new(source, metrics, &account)
    });
    let labels: Vec<Labels> = (0..DEVICES).map(|device| [("device", &*format!("nvme{device}n1"))].into()).collect();
    let mut random = 1;
    let mut sample = |tick: u64| {
        let time = Duration::from_secs(1_795_000_000 + 10 * tick);
        let mut module = |writer: &mut ModuleWriter| -> Arc<Module> {
            let fill = |values: &mut gauged::sample::Values<'_>| {
                for labels in &labels {
                    for (name, _, most) in METRICS {
                        values.push_labelled(name, labels, value(&mut random, most));
                    }
                }
            };
            writer.write(time, fill).0
        };
        Sample { tick: time, modules: writers.iter_mut().map(&mut module).collect(), ..Sample::default() }
    };
    (0..ticks).map(&mut sample).collect()
}

/// Any value up to this one: a whole number where that is a large or small one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive")]
fn value(random: &mut u64, most: f64) -> Value {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let number = (*random >> 11) as f64 / (1_u64 << 53) as f64 * most;
    let has_hundredths = most == 100.0 || most == 1e5;
    match most {
        _ if has_hundredths => Value::Float((number * 100.0).round() / 100.0),
        0.1 | 1e8 => Value::Float(number),
        _ => Value::Unsigned(number.round() as u64),
    }
}

fn requests(criterion: &mut Criterion) {
    let samples = samples(4);
    let mut group = criterion.benchmark_group("requests of 500 series");
    group.throughput(Throughput::Elements(SERIES as u64)).sample_size(50).measurement_time(Duration::from_secs(3));
    for protocol in PROTOCOLS {
        let mut encode = encoder(protocol).expect("a protocol");
        let (points, bytes) = encode(&samples[0]);
        // In `open_falcon`, the space of these devices is one series, as they have no mount; `agent.alive` is one more.
        assert!(points.abs_diff(SERIES) < 10, "{points}");
        println!("{protocol}: {:.1} bytes a point", bytes as f64 / points as f64);
        let mut tick = 0;
        group.bench_function(protocol, |bencher| {
            bencher.iter(|| {
                tick += 1;
                encode(&samples[tick % samples.len()])
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
