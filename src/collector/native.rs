//! The table of native collectors, and those of a running agent.

use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(not(target_os = "linux"))]
use super::portable::Portable;
use super::slow::SlowReadings;
use super::{Collector, FileProblem, host};
#[cfg(target_os = "linux")]
use super::{cpu, load, memory};
use crate::config::Config;
use crate::sample::{
    CollectorVersion, Labels, ModuleSource, ModuleWriter, NativeMetric, Sample, SeriesAccount, Text, Values,
};

/// The native collectors of this system, in the order of their modules in the sample.
#[cfg(target_os = "linux")]
pub const NATIVE: &[Native] = &[
    Native {
        name: "cpu",
        modules: &["cpu"],
        metrics: cpu::METRICS,
        is_enabled: |config| config.cpu.enabled,
        make: |config, slow| Box::new(cpu::Cpu::new(config, slow)),
    },
    Native {
        name: "load",
        modules: &["load"],
        metrics: load::METRICS,
        is_enabled: |config| config.load.enabled,
        make: |config, _| Box::new(load::Load::new(config)),
    },
    Native {
        name: "memory",
        modules: &["memory", memory::SWAP],
        metrics: memory::METRICS,
        is_enabled: |config| config.memory.enabled,
        make: |config, _| Box::new(memory::Memory::new(config)),
    },
    Native {
        name: "host",
        modules: &["host"],
        metrics: host::METRICS,
        is_enabled: |config| config.host.enabled,
        make: |_, slow| Box::new(host::Host::new(slow)),
    },
];

/// The native collectors of this system, in the order of their modules in the sample.
#[cfg(not(target_os = "linux"))]
pub const NATIVE: &[Native] = &[
    Native {
        name: "cpu",
        modules: &["cpu"],
        metrics: &[],
        is_enabled: |config| config.cpu.enabled,
        make: |_, _| Box::new(Portable::new()),
    },
    Native {
        name: "load",
        modules: &["load"],
        metrics: &[],
        is_enabled: |config| config.load.enabled,
        make: |_, _| Box::new(Portable::new()),
    },
    Native {
        name: "memory",
        modules: &["memory", "swap"],
        metrics: &[],
        is_enabled: |config| config.memory.enabled,
        make: |_, _| Box::new(Portable::new()),
    },
    Native {
        name: "host",
        modules: &["host"],
        metrics: host::METRICS,
        is_enabled: |config| config.host.enabled,
        make: |_, slow| Box::new(host::Host::new(slow)),
    },
];

/// An entry of the table: one collector.
#[derive(Debug)]
pub struct Native {
    /// The collector's name: its table in the configuration.
    pub name: &'static str,
    /// The names of its modules, in the order in which they are measured.
    pub modules: &'static [&'static str],
    /// Every metric of the collector, also those that this host cannot measure.
    pub metrics: &'static [NativeMetric],
    /// Whether the configuration has the collector enabled.
    pub is_enabled: fn(&Config) -> bool,
    /// Makes the collector, and starts the first interval of its rates.
    pub make: fn(&Config, &Arc<SlowReadings>) -> Box<dyn Collector>,
}

/// The native collectors of a running agent, with the modules that they fill.
pub struct Natives {
    collectors: Vec<RunningCollector>,
}

struct RunningCollector {
    name: &'static str,
    collector: Box<dyn Collector>,
    modules: Vec<ModuleWriter>,
    /// The labels of the agent's metrics about it.
    labels: Labels,
    /// How long it took at the last tick.
    duration: Duration,
    /// Whether all its sources could be read at the last tick.
    is_successful: bool,
}

impl RunningCollector {
    fn new(name: &'static str, modules: Vec<ModuleWriter>, collector: Box<dyn Collector>) -> Self {
        let labels = [("collector", name)].into();
        Self { name, collector, modules, labels, duration: Duration::ZERO, is_successful: false }
    }
}

/// The writers of the modules of a collector.
fn writers(native: &'static Native, config: &Config, account: &Arc<SeriesAccount>) -> Vec<ModuleWriter> {
    let version = CollectorVersion::native(native.name);
    let writer = |&module: &&'static str| {
        let (module, collector) = (module.into(), Arc::clone(&version));
        let source = ModuleSource { module, collector, step: config.interval, is_verbatim: false };
        ModuleWriter::new(source, native.metrics, account)
    };
    native.modules.iter().map(writer).collect()
}

impl Natives {
    /// Makes the enabled collectors without the thread for slow readings, as tests and benchmarks use them.
    #[must_use]
    pub fn new(config: &Config, account: &Arc<SeriesAccount>) -> Self {
        Self::with_slow(config, account, &SlowReadings::without_thread(config))
    }

    /// Makes the enabled collectors.
    #[must_use]
    pub fn with_slow(config: &Config, account: &Arc<SeriesAccount>, slow: &Arc<SlowReadings>) -> Self {
        let running = |native: &'static Native| {
            RunningCollector::new(native.name, writers(native, config, account), (native.make)(config, slow))
        };
        let is_enabled = |native: &&Native| (native.is_enabled)(config);
        Self { collectors: NATIVE.iter().filter(is_enabled).map(running).collect() }
    }

    /// The names of the modules that a configuration has enabled, in the order of a sample.
    pub(crate) fn enabled_modules(config: &Config) -> Vec<Text> {
        let enabled = NATIVE.iter().filter(|native| (native.is_enabled)(config));
        enabled.flat_map(|native| native.modules).map(|&module| module.into()).collect()
    }

    /// Follows another configuration. A collector that stays enabled goes on with the state that it has.
    pub(crate) fn reconfigure(
        &mut self,
        old: &Config,
        new: &Config,
        account: &Arc<SeriesAccount>,
        slow: &Arc<SlowReadings>,
    ) {
        let mut kept = std::mem::take(&mut self.collectors);
        for native in NATIVE.iter().filter(|native| (native.is_enabled)(new)) {
            let at = kept.iter().position(|running| running.name == native.name);
            let running = match at.map(|at| kept.swap_remove(at)) {
                Some(mut running) => {
                    running.collector.reconfigure(new);
                    if old.interval != new.interval {
                        running.modules = writers(native, new, account);
                    }
                    running
                }
                None => RunningCollector::new(native.name, writers(native, new, account), (native.make)(new, slow)),
            };
            self.collectors.push(running);
        }
    }

    /// The names of the modules, in the order of a sample.
    pub fn modules(&self) -> impl Iterator<Item = &Text> {
        self.collectors.iter().flat_map(|running| &running.modules).map(ModuleWriter::name)
    }

    /// Measures, and appends the modules to a sample.
    pub fn collect(&mut self, sample: &mut Sample) {
        for RunningCollector { collector, modules, duration, is_successful, .. } in &mut self.collectors {
            let began = Instant::now();
            *is_successful = true;
            for writer in modules {
                let name = writer.name().clone();
                let fill = |values: &mut Values<'_>| collector.collect(&name, values);
                let (module, read) = writer.write(sample.tick, fill);
                *is_successful &= read.is_ok();
                sample.modules.push(module);
            }
            *duration = began.elapsed();
        }
    }

    /// The collectors with a file that is of no use, in their order.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&'static str, &Arc<FileProblem>)> {
        self.collectors.iter().filter_map(|running| Some((running.name, running.collector.problem()?)))
    }

    /// Appends the agent's metrics about them.
    pub(crate) fn append_metrics(&self, agent: &mut Values<'_>) {
        for RunningCollector { collector, labels, duration, is_successful, .. } in &self.collectors {
            agent.push_labelled("collector_duration_seconds", labels, duration.as_secs_f64());
            agent.push_labelled("collector_success", labels, u64::from(*is_successful));
            agent.push_labelled("collector_skipped_lines_total", labels, collector.skipped_lines());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::collector::ReadError;
    use crate::config::Overrides;
    use crate::sample::{BucketBounds, MetricKind, Quantiles, Value};
    use crate::sink::{Style, encode};

    /// A collector with a histogram and a summary.
    struct Latencies {
        bounds: BucketBounds,
        quantiles: Quantiles,
        labels: Labels,
        slow: u64,
    }

    static METRICS: [NativeMetric; 2] =
        [described("wait_seconds", MetricKind::Histogram), described("size_bytes", MetricKind::Summary)];

    const fn described(name: &'static str, kind: MetricKind) -> NativeMetric {
        NativeMetric { kind, ..NativeMetric::gauge("latencies", name, "s", "A description.", "a source") }
    }

    impl Collector for Latencies {
        fn collect(&mut self, module: &str, values: &mut Values<'_>) -> Result<(), ReadError> {
            assert_eq!(module, "latencies");
            self.slow += 1;
            let counts = [2, 0, self.slow];
            values.push_histogram("wait_seconds", &self.labels, &self.bounds, &counts, 4.5).expect("valid");
            let observed = [Some(f64::NAN)];
            values.push_summary("size_bytes", &Labels::default(), &self.quantiles, &observed, (0.0, 0)).expect("valid");
            Ok(())
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn cpu_goes_on_when_per_cpu_times_change() {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join("proc")).expect("created");
        let write = |spent: u64| {
            let cpus = format!("cpu  {spent} 0 0 {spent} 0 0 0 0 0 0\ncpu0 {spent} 0 0 {spent} 0 0 0 0 0 0\n");
            fs::write(root.path().join("proc/stat"), cpus + "ctxt x\n").expect("written");
        };
        let overrides =
            Overrides { root: Some(root.path().into()), file: Some("/dev/null".into()), ..Overrides::default() };
        let totals = Config::load(&overrides).expect("valid");
        let mut each = totals.clone();
        each.cpu.per_core = true;
        write(100);
        let account = SeriesAccount::standalone();
        let slow = SlowReadings::without_thread(&totals);
        let mut natives = Natives::with_slow(&totals, &account, &slow);
        let mut before = &totals;
        let mut skipped = 0;
        for (number, config) in [&totals, &each, &each, &totals, &totals].into_iter().enumerate() {
            natives.reconfigure(before, config, &account, &slow);
            before = config;
            write(101 + number as u64);
            let mut sample = Sample::default();
            natives.collect(&mut sample);
            let metrics: Vec<_> = sample.modules[0].metrics().map(|metric| metric.key().to_string()).collect();
            assert_eq!(metrics.contains(&r#"user{cpu="0"}"#.to_owned()), config.cpu.per_core, "{number}");
            let percent = sample.modules[0].metrics().find(|metric| metric.name() == "percent").expect("one");
            assert_eq!(percent.value, &Value::Float(50.0), "{number}: since the tick before");
            let now = natives.collectors[0].collector.skipped_lines();
            assert!(now > skipped, "{number}: {now} after {skipped}");
            skipped = now;
        }
    }

    #[test]
    fn histograms_and_summaries_are_series() {
        let source = ModuleSource {
            module: "latencies".into(),
            collector: CollectorVersion::native("latencies"),
            step: std::time::Duration::from_secs(10),
            is_verbatim: false,
        };
        let writer = ModuleWriter::new(source, &METRICS, &SeriesAccount::standalone());
        let latencies = Latencies {
            bounds: BucketBounds::new(&[0.1, 1.0]).expect("rising"),
            quantiles: Quantiles::new(&[0.5]).expect("one"),
            labels: [("disk", "a")].into(),
            slow: 0,
        };
        let running = RunningCollector::new("latencies", vec![writer], Box::new(latencies));
        let mut natives = Natives { collectors: vec![running] };
        let mut sample = || {
            let mut sample = Sample::default();
            natives.collect(&mut sample);
            sample
        };
        let (first, second) = (sample(), sample());
        let mut line = Vec::new();
        encode(&second, Style::Line, &mut line);
        let expected = serde_json::json!({ "latencies": {
            (r#"wait_seconds_bucket{disk="a",le="0.1"}"#): 2,
            (r#"wait_seconds_bucket{disk="a",le="1"}"#): 2,
            (r#"wait_seconds_bucket{disk="a",le="+Inf"}"#): 4,
            (r#"wait_seconds_sum{disk="a"}"#): 4.5,
            (r#"wait_seconds_count{disk="a"}"#): 4,
            (r#"size_bytes{quantile="0.5"}"#): null,
            "size_bytes_sum": 0.0,
            "size_bytes_count": 0,
        }});
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&line).expect("JSON"), expected);
        let (first, second) = (&first.modules[0], &second.modules[0]);
        assert!(Arc::ptr_eq(first.schema(), second.schema()), "the second tick wrote numbers only");
        for metric in first.metrics().take(5) {
            assert_eq!(metric.series.metric_name(), "wait_seconds");
            assert_eq!(metric.series.descriptor().kind, MetricKind::Histogram);
        }
    }
}
