//! The cost of plugins: a single one, from its artifact in the cache to a call; a tick with 1, 10, 100 and 1,000 of them,
//! each with twenty metrics, from the call to the JSON; and a start with a warm cache. The cost of one plugin is
//! the difference to a tick without any.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use criterion::{BenchmarkId, Criterion, Throughput};
use gauged::cli::{Cli, Command};
use gauged::clock::schedule::{Tick, wall_clock};
use gauged::config::{Config, Overrides, PluginConfig};
use gauged::plugin::harness::PluginHarness;
use gauged::plugin::{Plugins, Purpose};
use gauged::sample::{CollectorVersion, ModuleSource, ModuleWriter, Sample, SeriesAccount};
use gauged::sink::{Encoder, Style};
use tokio::runtime::{Builder, Runtime};

#[allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "the tests need more of it, and other things"
)]
#[path = "../tests/it/guest.rs"]
mod guest;

const METRICS: u32 = 20;

/// The benchmark is the program that it has run for compiling, as the agent is.
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("compile")
        && let Some(Command::Compile(options)) = Cli::parse().command
    {
        return gauged::plugin::compile(options.into());
    }
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}

/// A configuration with so many plugins, each a file of its own.
fn configure(directory: &Path, count: usize) -> Arc<Config> {
    let plugins = directory.join("plugins");
    std::fs::create_dir_all(&plugins).expect("created");
    for number in 0..count {
        let name = format!("p{number}");
        let file = plugins.join(format!("{name}.wasm"));
        std::fs::write(file, guest::Guest::new(&name).metrics(METRICS).module()).expect("written");
    }
    let file = directory.join("gauged.toml");
    let cache = directory.join("cache");
    std::fs::write(&file, format!("cache = {:?}\n", cache.display().to_string())).expect("written");
    Config::load(&Overrides { file: Some(file), ..Overrides::default() }).expect("right").into()
}

async fn load(config: &Arc<Config>) -> Plugins {
    let mut plugins = Plugins::new(config, Arc::default(), Vec::new(), gauged::agent::METRICS);
    plugins.start_thread().expect("a thread");
    assert!(plugins.settled(Duration::from_secs(60)).await.is_complete, "all of them are loaded");
    plugins
}

/// What ticks write to.
struct Output {
    agent: ModuleWriter,
    sample: Sample,
    encoder: Encoder,
    line: Vec<u8>,
    index: u64,
}

impl Output {
    fn new() -> Self {
        let collector = CollectorVersion::native("agent");
        let source =
            ModuleSource { module: "agent".into(), collector, step: Duration::from_secs(10), is_verbatim: false };
        let agent = ModuleWriter::new(source, gauged::agent::METRICS, &SeriesAccount::standalone());
        Self { agent, sample: Sample::default(), encoder: Encoder::default(), line: Vec::new(), index: 0 }
    }
}

/// Makes a sample of the plugins' modules and the agent's metrics about them.
async fn tick(plugins: &mut Plugins, Output { agent, sample, encoder, line, index }: &mut Output) {
    sample.modules.clear();
    sample.retained.clear();
    sample.tick = wall_clock();
    // Each is a tick of its own, at which all plugins are due.
    *index += 1;
    plugins.call(Tick { index: *index, previous: None, since_epoch: sample.tick }, None);
    plugins.wait_briefly();
    if plugins.is_awaited() {
        plugins.returned().await;
    }
    plugins.deliver(sample);
    let (module, _) = agent.write(sample.tick, |values| plugins.append_metrics(values, None));
    sample.modules.push(module);
    line.clear();
    encoder.encode(sample, Style::Line, line);
}

/// One plugin: loaded from its artifact and described, instantiated and configured, called.
fn single_plugin(criterion: &mut Criterion, runtime: &Runtime) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = configure(directory.path(), 1);
    let file = config.plugins_directory.as_ref().expect("beside the configuration").join("p0.wasm");
    let harness = PluginHarness::new(&config, Purpose::Serve).expect("this machine runs guests");
    let open = || async { harness.open("p0", Some(PluginConfig::default()), &file).await.expect("a plugin") };

    let mut group = criterion.benchmark_group("one plugin");
    let mut plugin = runtime.block_on(open());
    group.bench_function("load from artifact", |bencher| bencher.iter(|| runtime.block_on(open())));
    group.bench_function("instantiate", |bencher| {
        bencher.iter(|| runtime.block_on(plugin.configure()).expect("it starts"));
    });
    group.bench_function("call", |bencher| {
        bencher.iter(|| runtime.block_on(plugin.measure()).expect("it measures"));
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    single_plugin(criterion, &runtime);
    let mut group = criterion.benchmark_group("tick");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for count in [0, 1, 10, 100, 1000] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut plugins = runtime.block_on(load(&configure(directory.path(), count)));
        let mut output = Output::new();
        runtime.block_on(tick(&mut plugins, &mut output));
        assert_eq!(output.sample.modules.len(), count + 1, "all of them measured");
        group.throughput(Throughput::Elements(count.max(1) as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| runtime.block_on(tick(&mut plugins, &mut output)));
        });
        black_box(&output.line);
    }
    group.finish();

    let mut group = criterion.benchmark_group("start with a warm cache");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for count in [1, 100] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = configure(directory.path(), count);
        drop(runtime.block_on(load(&config)));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| runtime.block_on(load(&config)));
        });
    }
    group.finish();
}
