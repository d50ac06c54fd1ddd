//! The samples of all fixture machines, with the plugins that measure hosts, and everything that is described.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gauged::agent::METRICS;
use gauged::collector::native::NATIVE;
use gauged::sample::{
    BucketBounds, CollectorVersion, CounterOrigin, Label, Labels, MetricKind, Module, ModuleSource, ModuleWriter,
    NativeMetric, Quantiles, Sample, SeriesAccount, Value, Values,
};

use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Setup, parse};
use crate::mapping;
use crate::natives;

/// The plugins that measure hosts.
pub const PLUGINS: [&str; 12] = [
    "cgroup",
    "disk",
    "filesystem",
    "hello",
    "kernel",
    "meminfo",
    "netstat",
    "network",
    "pressure",
    "process",
    "temperature",
    "uptime",
];

/// Nothing that can be measured is left out.
const CONFIGURATION: &str = r#"
[cpu]
per_core = true
[plugins.disk]
config = { devices = {}, partitions = true }
[plugins.filesystem]
usage = ["/", "/boot/efi", "/srv/data sets", "/srv/shared", "/srv/scratch"]
config = { mounts = {}, fstypes = {} }
[plugins.kernel]
config = { softnet_per_cpu = true }
[plugins.meminfo]
config = { numa = true }
[plugins.netstat]
config = { fields = {} }
[plugins.network]
config = { interfaces = {} }
[plugins.temperature]
config = { cooling_devices = {} }
"#;

/// Where a machine may have file systems besides `/`. Git keeps no empty directories.
const MOUNT_POINTS: [&str; 4] = ["boot/efi", "srv/data sets", "srv/shared", "srv/scratch"];

/// The sample of each fixture machine, by its name.
pub fn samples() -> &'static BTreeMap<String, Sample> {
    static SAMPLES: OnceLock<BTreeMap<String, Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let setup = Setup::with_config(CONFIGURATION);
        for name in PLUGINS {
            install(&built(name), &setup.plugin(name).with_extension("wasm"));
        }
        let measure = |machine: std::path::PathBuf| {
            let name = machine.file_name().expect("it has one").to_str().expect("text").to_owned();
            let copy = setup.path("machines").join(&name);
            fs::create_dir_all(&copy).expect("created");
            // With its links, as /sys has them.
            let status = Command::new("cp").arg("-a").arg(machine.join(".")).arg(&copy).status();
            assert!(status.is_ok_and(|status| status.success()), "{name} is copied");
            for point in MOUNT_POINTS {
                fs::create_dir_all(copy.join(point)).expect("created");
            }
            let output = setup.run(&["--once", "--root", copy.to_str().expect("text")]);
            let text = String::from_utf8(output.stdout).expect("JSON is text");
            assert!(!text.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let modules = parse(&text).into_iter().map(|(module, metrics)| {
                self::module(module, |values| {
                    for (key, value) in metrics {
                        let (metric, labels) = read_key(&key);
                        values.push_labelled(metric, &labels, self::value(&value));
                    }
                })
            });
            (name, Sample { modules: modules.collect(), ..Sample::default() })
        };
        natives::machines().into_iter().map(measure).collect()
    })
}

/// Every module with every metric that is described: of the agent and of the plugins in this repository. Texts of the agent are not
/// among them.
pub fn described() -> Vec<Arc<Module>> {
    let mut modules: BTreeMap<&str, Vec<&NativeMetric>> = BTreeMap::new();
    // A text has no unit.
    for metric in metrics().iter().filter(|metric| !metric.unit.is_empty()) {
        modules.entry(metric.module).or_default().push(metric);
    }
    let write = |(name, metrics): (&str, Vec<&NativeMetric>)| {
        module(name.to_owned(), |values| metrics.iter().for_each(|metric| values.push(metric.name, 1)))
    };
    modules.into_iter().map(write).collect()
}

/// A module with everything that may be odd: texts, bounds, numbers, names.
pub fn odd() -> Sample {
    static METRICS: [NativeMetric; 5] = [
        NativeMetric::gauge("odd", "Level", "%", "A \\ \"level\"\r\n\0 # of {100}, é.  ", ""),
        NativeMetric::counter("odd", "events", "", "", ""),
        NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("odd", "change", "ms", "Changes.", "") },
        NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("odd", "size", "KiBy", "Sizes.", "") },
        NativeMetric { kind: MetricKind::Summary, ..NativeMetric::gauge("odd", "offset", "", "Offsets.", "") },
    ];
    let texts = [
        "",
        "\0",
        "\r\n",
        "\n",
        "\\",
        "\\n",
        "\"",
        "\\\"",
        "é",
        "\u{1f980}",
        "a} 1",
        "{",
        ",",
        "=",
        " # x",
        "\u{2028}",
    ];
    let odd = |values: &mut Values<'_>| {
        for (at, text) in texts.iter().enumerate() {
            for labels in
                [[("b", *text), ("number", &*at.to_string())], [("camelCase", *text), ("le", &*at.to_string())]]
            {
                values.push_labelled("Level", &Labels::from(labels), 0.1);
            }
        }
        for (at, number) in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0, 1e17, 1e-5].into_iter().enumerate() {
            values.push_labelled("number", &[("at", &*at.to_string())].into(), Value::Float(number));
        }
        values.push("events", Value::Signed(-1));
        for (metric, bounds, sum) in [("change", &[-5.0, 0.0, 5.0][..], 3.0), ("size", &[0.001, 1.0, 1e6], f64::NAN)] {
            let (bounds, counts) = (BucketBounds::new(bounds).expect("rising"), vec![1; bounds.len() + 1]);
            values.push_histogram(metric, &[("a", "x")].into(), &bounds, &counts, sum).expect("a histogram");
        }
        let quantiles = Quantiles::new(&[0.0, 0.5, 1.0]).expect("rising");
        let measured = [None, Some(-1.0), Some(1e9)];
        values.push_summary("offset", &Labels::default(), &quantiles, &measured, (-1.0, 3)).expect("a summary");
    };
    let collector = CollectorVersion::native("test");
    let verbatim = ModuleSource { module: "scraped".into(), collector, step: Duration::ZERO, is_verbatim: true };
    let mut writer = ModuleWriter::new(verbatim, [], &SeriesAccount::standalone());
    // Names that are parts of the others in one of the formats.
    let names = ["gauged_odd_events", "gauged_odd_size_bytes_count", "a:b", "x.y", "x_y", "up_total", "ü", "1"];
    let (scraped, ()) = writer.write(Duration::ZERO, |values| names.iter().for_each(|name| values.push(name, 1)));
    let mut writer = ModuleWriter::new(source("odd".to_owned()), &METRICS, &SeriesAccount::standalone());
    Sample { modules: vec![writer.write(Duration::ZERO, odd).0, scraped], ..Sample::default() }
}

fn source(module: String) -> ModuleSource {
    let collector = CollectorVersion::native("test");
    ModuleSource { module: module.into(), collector, step: Duration::ZERO, is_verbatim: false }
}

/// A module of these values.
pub fn module(name: String, fill: impl FnOnce(&mut Values<'_>)) -> Arc<Module> {
    ModuleWriter::new(source(name), metrics(), &SeriesAccount::standalone()).write(Duration::ZERO, fill).0
}

/// The metrics of the agent and of the plugins.
pub fn metrics() -> &'static [NativeMetric] {
    static ALL: OnceLock<Vec<NativeMetric>> = OnceLock::new();
    ALL.get_or_init(|| {
        let own = NATIVE.iter().flat_map(|native| native.metrics).chain(METRICS).copied();
        let reports = mapping::plugins().values().flat_map(|report| report["metrics"].as_array().expect("a list"));
        let of_plugins = reports.map(|metric| {
            // Descriptors of the agent are part of the program.
            let text = |key: &str| &*metric[key].as_str().expect("text").to_owned().leak();
            let kinds = [MetricKind::Gauge, MetricKind::Counter, MetricKind::Histogram, MetricKind::Summary];
            let kind = kinds.into_iter().find(|kind| kind.name() == text("kind")).expect("a kind");
            let (module, name) = (text("module"), text("name"));
            let origin = match metric["counts_from"].as_str() {
                Some("boot") => CounterOrigin::Boot,
                // Any moment.
                Some("plugin") => CounterOrigin::Moment(Duration::from_secs(1)),
                _ => CounterOrigin::Unknown,
            };
            NativeMetric {
                kind,
                origin,
                ..NativeMetric::gauge(module, name, text("unit"), text("description"), "a plugin")
            }
        });
        own.chain(of_plugins).collect()
    })
}

/// A number, a truth or a text of a line.
pub fn value(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Bool(is_true) => Value::Boolean(*is_true),
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::Unsigned(number),
            (None, Some(number)) => Value::Signed(number),
            (None, None) => Value::Float(number.as_f64().expect("a number")),
        },
        serde_json::Value::String(text) => Value::from(&**text),
        _ => Value::Null,
    }
}

/// The name and the labels of a key.
pub fn read_key(key: &str) -> (&str, Labels) {
    let Some((name, rest)) = key.split_once('{') else { return (key, Labels::default()) };
    let mut rest = rest.strip_suffix('}').expect("it ends");
    let mut labels = Vec::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let (mut value, mut letters) = (String::new(), after.char_indices());
        let end = loop {
            match letters.next().expect("a value ends") {
                (at, '"') => break at,
                (_, '\\') => value.push(match letters.next().expect("an escaped letter").1 {
                    'n' => '\n',
                    letter => letter,
                }),
                (_, letter) => value.push(letter),
            }
        };
        labels.push(Label { name: label.to_owned().into(), value: value.into() });
        rest = after[end + 1..].trim_start_matches(',');
    }
    (name, labels.into_iter().collect())
}
