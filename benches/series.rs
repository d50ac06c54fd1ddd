//! The cost of a module with 5,000 labelled series when some of them change each tick: by position, when nothing changes; with
//! one more at the front; with a tenth that is new; without those of one device; in another order. As a ceiling, a module whose
//! series are all new.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gauged::sample::{CollectorVersion, Labels, Module, ModuleSource, ModuleWriter, SeriesAccount};

const SERIES: usize = 5000;

/// The labels of the series with these numbers.
fn labels(numbers: impl IntoIterator<Item = usize>) -> Vec<Labels> {
    let label =
        |number: usize| [("cgroup", &*format!("/system.slice/service-{number}.scope")), ("mode", "user")].into();
    numbers.into_iter().map(label).collect()
}

fn write(writer: &mut ModuleWriter, labels: &[Labels]) -> Arc<Module> {
    let tick = Duration::from_secs(1_700_000_000);
    let fill = |values: &mut gauged::sample::Values<'_>| {
        for (labels, value) in labels.iter().zip(0_u64..) {
            values.push_labelled("cpu_seconds_total", labels, value);
        }
    };
    writer.write(tick, fill).0
}

fn series(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("5,000 series");
    group.throughput(Throughput::Elements(SERIES as u64)).sample_size(20).measurement_time(Duration::from_secs(3));
    let first = labels(0..SERIES);
    let writer = || {
        let (module, collector) = ("m".into(), CollectorVersion::native("bench"));
        let source = ModuleSource { module, collector, step: Duration::from_secs(10), is_verbatim: false };
        ModuleWriter::new(source, [], &SeriesAccount::standalone())
    };
    // Each writer has had one tick.
    let warm = || {
        let mut writer = writer();
        let module = write(&mut writer, &first);
        (writer, module)
    };
    for (name, second) in [
        ("unchanged", labels(0..SERIES)),
        ("one more at the front", labels([SERIES].into_iter().chain(0..SERIES))),
        ("a tenth new", labels((0..SERIES).map(|at| if at % 10 == 3 { at + SERIES } else { at }))),
        ("twenty in a row gone", labels((0..SERIES).filter(|at| !(1000..1020).contains(at)))),
        ("in reverse order", labels((0..SERIES).rev())),
    ] {
        group.bench_function(name, |bencher| {
            let measured = |(mut writer, module): (ModuleWriter, Arc<Module>)| {
                let written = write(&mut writer, &second);
                // Dropping is not measured.
                (writer, module, written)
            };
            bencher.iter_batched(warm, measured, BatchSize::LargeInput);
        });
    }
    group.bench_function("all new", |bencher| {
        bencher.iter_batched(writer, |mut writer| (write(&mut writer, &first), writer), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, series);
criterion_main!(benches);
