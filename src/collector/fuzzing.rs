//! What the fuzzer runs of the native collectors: each parser by itself, beside which it is written, and all collectors
//! over a whole host whose files say anything.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use super::Collector;
pub(crate) use super::cpu::{fuzz_cpuinfo as cpuinfo, fuzz_stat as stat};
pub(crate) use super::load::fuzz as loadavg;
pub(crate) use super::memory::fuzz as memory;
use super::native::NATIVE;
use crate::config::{Config, Overrides};
use crate::fuzzing::checks::check_module;
use crate::hostpath::below;
use crate::sample::{Module, Sample, Value};

/// The files of the host, in the order in which the input has them, a NUL between two. The first is that of the second
/// reading.
const FILES: [&str; 12] = [
    "/proc/stat",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/proc/cpuinfo",
    "/sys/devices/system/cpu/cpu0/topology/core_cpus_list",
    "/sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
    "/sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq",
    "/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq",
    "/proc/self/auxv",
];

/// Two samples of a host: whatever it says, they are maps of maps, of the same metrics, and percentages are some.
pub(crate) fn natives(bytes: &[u8]) {
    HOST.with_borrow_mut(|host| {
        let mut contents = bytes.splitn(FILES.len(), |&byte| byte == 0);
        let next_stat = contents.next().unwrap_or_default();
        for at in 1..FILES.len() {
            // What the input does not say this host does not have.
            host.hold(at, contents.next());
        }
        let overrides =
            Overrides { file: Some("/dev/null".into()), root: Some(host.root.clone()), ..Overrides::default() };
        let config = Config { cpu_per_core: true, ..Config::load(&overrides).expect("nothing is wrong") };
        let mut collectors: Vec<Box<dyn Collector>> = NATIVE.iter().map(|native| (native.make)(&config)).collect();
        host.hold(0, Some(next_stat));
        let mut sample = Sample::default();
        for _ in 0..2 {
            // What the tick before has left behind makes no difference.
            sample.clear();
            for collector in &mut collectors {
                collector.collect(&mut sample);
            }
            sample.modules.iter().for_each(check);
            let names = sample.modules.iter().flat_map(|module| {
                let unlabelled = module.metrics().filter(|metric| metric.labels.is_empty());
                unlabelled.map(|metric| (&*module.name, metric.name))
            });
            let described = NATIVE.iter().flat_map(|native| native.metrics).map(|metric| (metric.module, metric.name));
            assert!(names.eq(described), "the metrics are those that are described");
        }
    });
}

fn check(module: &Module) {
    check_module(module);
    for metric in module.metrics() {
        let is_share = NATIVE.iter().flat_map(|native| native.metrics).any(|described| {
            // What guests had is part of what programs had only where the kernel says so.
            described.unit == "%" && described.name == metric.name && !metric.name.starts_with("guest")
        });
        if let Value::Float(value) = *metric.value {
            assert!(!is_share || (0.0..=100.0).contains(&value), "{metric:?} is no percentage");
        }
    }
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::new());
}

/// A directory that is the root of a host, and what its files hold, so that only what is new is written.
struct Host {
    root: PathBuf,
    held: [Option<Vec<u8>>; FILES.len()],
}

impl Host {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("gauged-fuzz-{}", std::process::id()));
        for path in FILES {
            let path = below(&root, path);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("created");
        }
        Self { root, held: Default::default() }
    }

    fn hold(&mut self, at: usize, content: Option<&[u8]>) {
        // The first two are one file, which is another each time.
        if at > 1 && self.held[at].as_deref() == content {
            return;
        }
        let path = below(&self.root, FILES[at]);
        match content {
            Some(content) => fs::write(path, content).expect("written"),
            // It may not have been there before.
            None => drop(fs::remove_file(path)),
        }
        self.held[at] = content.map(<[u8]>::to_vec);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing but disk space is lost when it stays.
        let _ = fs::remove_dir_all(&self.root);
    }
}
