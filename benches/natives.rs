//! The cost of a tick, and as a floor the cost of reading the same files.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use gauged::collector::native::Natives;
use gauged::config::{Config, Overrides};
use gauged::sample::{Sample, SeriesAccount};
use gauged::sink::{Encoder, Style};

/// The files that are read at every tick. `/proc/vmstat` is only read on a host with swap.
const FILES: [&str; 3] = ["/proc/stat", "/proc/loadavg", "/proc/meminfo"];

fn natives() -> Natives {
    let config = Config::load(&Overrides::default()).expect("a valid configuration");
    Natives::new(&config, &SeriesAccount::standalone())
}

fn native(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("natives");

    let mut names: Vec<&str> = FILES.to_vec();
    let has_swap = std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    if has_swap {
        names.push("/proc/vmstat");
    }
    let files: Vec<File> = names.iter().map(|name| File::open(Path::new(name)).expect(name)).collect();
    let mut buffer = vec![0; 64 << 10];
    group.bench_function("floor: bare preads", |bencher| {
        bencher.iter(|| {
            for file in &files {
                black_box(file.read_at(&mut buffer, 0).expect("readable"));
            }
        });
    });

    let (mut natives, mut sample) = (natives(), Sample::default());
    group.bench_function("read and parse", |bencher| {
        bencher.iter(|| {
            sample.modules.clear();
            natives.collect(&mut sample);
        });
    });

    let (mut encoder, mut line) = (Encoder::default(), Vec::new());
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            line.clear();
            encoder.encode(&sample, Style::Line, &mut line);
        });
    });
    group.finish();
}

criterion_group!(benches, native);
criterion_main!(benches);
