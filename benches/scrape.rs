//! The cost of a plugin with many metrics: the plugin `prometheus`, as `plugins/build.sh` has built it, scrapes a server in this
//! process, and a plugin without work of its own returns as many. The first is request, parsing and conversion, the second the
//! agent's own part: to take the metrics out of the guest, and to find their series. Each is a call of its own, by a warm instance.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use criterion::{BenchmarkId, Criterion, Throughput};
use gauged::cli::{Cli, Command};
use gauged::config::{Config, Overrides};
use gauged::plugin::Purpose;
use gauged::plugin::harness::{LoadedPlugin, PluginHarness};
use tokio::runtime::{Builder, Runtime};

#[allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "the tests need more of it, and other things"
)]
#[path = "../tests/it/guest.rs"]
mod guest;

/// As many as the plugin is promised to scrape in 20 ms.
const SERIES: usize = 10_000;

/// The lines of a histogram: buckets, sum and count.
const BUCKETS: [&str; 11] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"];
const HISTOGRAM: usize = BUCKETS.len() + 2;

/// The counters of a family.
const COUNTERS: usize = 20;

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

/// So many lines as those of a service: a tenth of the families are histograms, the others counters with four labels.
fn exposition() -> String {
    let (mut text, mut series, mut family) = (String::new(), 0, 0);
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a string grows");
    while series < SERIES {
        if family % 10 == 9 {
            let name = format!("app_request_{family}_duration_seconds");
            line(format_args!("# HELP {name} Time that requests of kind {family} took.\n# TYPE {name} histogram"));
            let labels = "handler=\"/api/v1/query/0\",method=\"GET\"";
            for (count, bound) in BUCKETS.iter().enumerate() {
                line(format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {}", count * 7));
            }
            line(format_args!("{name}_sum{{{labels}}} {family}.375\n{name}_count{{{labels}}} 70"));
            series += HISTOGRAM;
        } else {
            let name = format!("app_requests_{family}_total");
            line(format_args!("# HELP {name} Number of requests of kind {family}.\n# TYPE {name} counter"));
            for number in 0..COUNTERS.min(SERIES - series) {
                let labels =
                    format!("handler=\"/api/v1/query/{number}\",method=\"GET\",code=\"200\",zone=\"eu-{family}\"");
                line(format_args!("{name}{{{labels}}} {}.25", family * 1000 + number));
                series += 1;
            }
        }
        family += 1;
    }
    text
}

/// A server that sends a text to each client.
fn serve(text: &str) -> SocketAddr {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    let response = [head.as_bytes(), text.as_bytes()].concat();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(&response);
            }
        }
    });
    address
}

/// A directory with the two plugins, and their configuration.
fn configure(directory: &Path, address: SocketAddr) -> Config {
    let plugins = directory.join("plugins");
    std::fs::create_dir_all(&plugins).expect("created");
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/prometheus.wasm");
    let built =
        std::fs::read(&built).unwrap_or_else(|error| panic!("{}: {error}; run plugins/build.sh", built.display()));
    std::fs::write(plugins.join("prometheus.wasm"), built).expect("written");
    let series = u32::try_from(SERIES).expect("few");
    let idle = guest::Guest::new("idle").metrics(series).pages(32);
    std::fs::write(plugins.join("idle.wasm"), idle.module()).expect("written");
    let (file, cache) = (directory.join("gauged.toml"), directory.join("cache"));
    let toml = format!(
        "cache = {:?}\n[plugins.idle]\n[plugins.prometheus]\ntimeout = \"60s\"\nfetch = [\"http://{address}\"]\n\
         config = {{ targets = [{{ url = \"http://{address}/metrics\" }}] }}\n",
        cache.display().to_string()
    );
    std::fs::write(&file, toml).expect("written");
    Config::load(&Overrides { file: Some(file), ..Overrides::default() }).expect("right")
}

/// A plugin that has measured once, and so many metrics.
async fn open(harness: &PluginHarness, config: &Config, name: &str) -> LoadedPlugin {
    let file = config.plugins_directory.as_ref().expect("beside the configuration").join(name).with_extension("wasm");
    let mut plugin = harness.open(name, config.plugins.get(name).cloned(), &file).await.expect("a plugin");
    let first = plugin.measure().await.expect("it measures");
    let metrics: usize = first.modules.iter().map(|module| module.len()).sum();
    assert!(metrics >= SERIES && first.dropped == 0, "{metrics} metrics, {} dropped", first.dropped);
    plugin
}

fn benches(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = configure(directory.path(), serve(&exposition()));
    let harness = PluginHarness::new(&config, Purpose::Serve).expect("this machine runs guests");
    let mut group = criterion.benchmark_group("10,000 series");
    group.throughput(Throughput::Elements(SERIES as u64)).sample_size(30).measurement_time(Duration::from_secs(5));
    for name in ["prometheus", "idle"] {
        let mut plugin = runtime.block_on(open(&harness, &config, name));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| runtime.block_on(plugin.measure()).expect("it measures"));
        });
    }
    group.finish();
}
