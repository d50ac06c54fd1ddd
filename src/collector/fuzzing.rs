//! The fuzz targets of the native collectors: each parser, and all collectors on a host whose files have any content. The
//! targets of the parsers are beside them.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use super::cpu::fuzz_stat as stat;
pub(crate) use super::load::fuzz as loadavg;
pub(crate) use super::memory::fuzz as memory;
use super::native::{NATIVE, Natives};
pub(crate) use super::topology::fuzz as cpuinfo;
use crate::config::{Config, CpuConfig, Overrides};
use crate::fuzzing::checks::check_module;
use crate::hostpath::below;
use crate::sample::{Module, Sample, SeriesAccount, Value};

/// The files of the host in the order of the input, which separates them by NUL. The first is `/proc/stat` at the second
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

/// Two samples of a host: both are valid, have the metrics that are described, and percentages are from 0 to 100.
pub(crate) fn natives(bytes: &[u8]) {
    HOST.with_borrow_mut(|host| {
        let mut contents = bytes.splitn(FILES.len(), |&byte| byte == 0);
        let next_stat = contents.next().unwrap_or_default();
        for at in 1..FILES.len() {
            // A file that is not in the input does not exist on this host.
            host.write(at, contents.next());
        }
        let overrides =
            Overrides { file: Some("/dev/null".into()), root: Some(host.root.clone()), ..Overrides::default() };
        let cpu = CpuConfig { per_core: true, ..CpuConfig::default() };
        let config = Config { cpu, ..Config::load(&overrides).expect("a valid configuration") };
        let mut natives = Natives::new(&config, &SeriesAccount::standalone());
        host.write(0, Some(next_stat));
        let mut sample = Sample::default();
        for _ in 0..2 {
            // As the agent does, so that the memory of the previous tick is used again.
            sample.clear();
            natives.collect(&mut sample);
            sample.modules.iter().for_each(|module| check(module));
            let names = sample.modules.iter().flat_map(|module| {
                let unlabelled = module.metrics().filter(|metric| metric.labels().is_empty());
                unlabelled.map(|metric| (&**module.name(), metric.name()))
            });
            let described = NATIVE.iter().flat_map(|native| native.metrics).map(|metric| (metric.module, metric.name));
            assert!(names.eq(described), "the described metrics are collected");
        }
    });
}

fn check(module: &Module) {
    check_module(module);
    for metric in module.metrics() {
        let is_share = NATIVE.iter().flat_map(|native| native.metrics).any(|described| {
            // A made-up guest time may exceed the user time that contains it.
            described.unit == "%" && described.name == metric.name() && !metric.name().starts_with("guest")
        });
        if let Value::Float(value) = *metric.value {
            assert!(!is_share || (0.0..=100.0).contains(&value), "{metric:?} is not a percentage");
        }
    }
}

thread_local! {
    static HOST: RefCell<HostRoot> = RefCell::new(HostRoot::new());
}

/// A directory that is the root of a host.
struct HostRoot {
    root: PathBuf,
    /// The content of each file, so that only changes are written.
    contents: [Option<Vec<u8>>; FILES.len()],
}

impl HostRoot {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("gauged-fuzz-{}", std::process::id()));
        for path in FILES {
            let path = below(&root, path);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("created");
        }
        Self { root, contents: Default::default() }
    }

    fn write(&mut self, at: usize, content: Option<&[u8]>) {
        // The first two entries are the same file.
        if at > 1 && self.contents[at].as_deref() == content {
            return;
        }
        let path = below(&self.root, FILES[at]);
        match content {
            Some(content) => fs::write(path, content).expect("written"),
            // The file may not exist.
            None => drop(fs::remove_file(path)),
        }
        self.contents[at] = content.map(<[u8]>::to_vec);
    }
}

impl Drop for HostRoot {
    fn drop(&mut self) {
        // A directory that stays costs only disk space.
        let _ = fs::remove_dir_all(&self.root);
    }
}
