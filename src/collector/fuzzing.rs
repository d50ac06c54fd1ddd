//! The fuzz targets of the native collectors: each parser, and all collectors on a host whose files have any content. The
//! targets of the parsers are beside them.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::bounds::{PARTS, TABLE};
pub(crate) use super::cpu::fuzz_stat as stat;
use super::frequency::fuzz as frequency;
pub(crate) use super::identity::fuzz_os_release as os_release;
pub(crate) use super::load::fuzz as loadavg;
pub(crate) use super::memory::fuzz as memory;
use super::native::{NATIVE, Natives};
use super::topology::fuzz as topology;
use crate::config::{Config, CpuConfig, Overrides};
use crate::fuzzing::checks::check_module;
use crate::hostpath::below;
use crate::sample::{Module, Sample, SeriesAccount, Value};

/// The files of the host in the order of the input, which separates them by NUL. The first is `/proc/stat` at the second
/// reading.
const FILES: [&str; 16] = [
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
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpufreq/policy0/affected_cpus",
    "/proc/sys/kernel/osrelease",
    "/etc/os-release",
];

/// The content of each file. One without does not exist on this host.
type Contents<'a> = [Option<&'a [u8]>; FILES.len()];

/// `/proc/cpuinfo` as both of its readers see it.
pub(crate) fn cpuinfo(bytes: &[u8]) {
    frequency(bytes);
    topology(bytes);
}

/// Samples of a host whose files have this content.
pub(crate) fn natives(bytes: &[u8]) {
    let mut parts = bytes.splitn(FILES.len(), |&byte| byte == 0);
    let mut contents: Contents<'_> = std::array::from_fn(|_| parts.next());
    contents[0] = contents[0].or(Some(b""));
    measure(&contents);
}

/// Two samples of a host: both are valid, have the metrics that are described, and no value outside its bounds.
fn measure(contents: &Contents<'_>) {
    HOST.with_borrow_mut(|host| {
        for (at, content) in contents.iter().enumerate().skip(1) {
            host.write(at, *content);
        }
        let overrides =
            Overrides { file: Some("/dev/null".into()), root: Some(host.root.clone()), ..Overrides::default() };
        let cpu = CpuConfig { per_core: true, ..CpuConfig::default() };
        let config = Config { cpu, ..Config::load(&overrides).expect("a valid configuration") };
        let mut natives = Natives::new(&config, &SeriesAccount::standalone());
        host.write(0, contents[0]);
        let mut sample = Sample::default();
        for _ in 0..2 {
            // As the agent does, so that the memory of the previous tick is used again.
            sample.clear();
            natives.collect(&mut sample);
            sample.modules.iter().for_each(|module| check(module));
            let names = sample.modules.iter().flat_map(|module| {
                // Those of the host are there for their labels.
                let is_host = **module.name() == *"host";
                let unlabelled = module.metrics().filter(move |metric| is_host || metric.labels().is_empty());
                unlabelled.map(|metric| (&**module.name(), metric.name()))
            });
            let described = NATIVE.iter().flat_map(|native| native.metrics).map(|metric| (metric.module, metric.name));
            assert!(names.eq(described), "the described metrics are collected");
        }
    });
}

fn check(module: &Module) {
    check_module(module);
    let own = || TABLE.iter().filter(|(name, ..)| **module.name() == **name);
    for metric in module.metrics() {
        let (_, _, bound) = own().find(|(_, names, _)| names.contains(&metric.name())).expect("each has bounds");
        assert!(number(metric.value).is_none_or(|value| bound.holds(value)), "{metric:?} is outside {bound:?}");
    }
    let value = |name: &str| {
        let metric = module.metrics().find(|metric| metric.name() == name && metric.labels().is_empty());
        number(metric.expect("it is described").value)
    };
    for (_, parts, whole) in PARTS.iter().filter(|(name, ..)| **module.name() == **name) {
        for part in *parts {
            let is_more = value(part).zip(value(whole)).is_some_and(|(part, whole)| part > whole);
            assert!(!is_more, "{part} is more than {whole}: {module:?}");
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match *value {
        Value::Unsigned(value) => Some(value as f64),
        Value::Float(value) => Some(value),
        Value::Null => None,
        ref other => panic!("{other:?} is no number"),
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
        // Tests run on several threads of one process.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("gauged-fuzz-{}-{number}", std::process::id()));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A host on which everything is as it should be.
    const GOOD: [&str; FILES.len()] = [
        "cpu  1100 10 550 20900 30 0 5 7 3 2\ncpu0 600 5 300 10400 15 0 3 4 2 1\ncpu1 500 5 250 10500 15 0 2 3 1 1\nintr 4400 1\nctxt 91000\nsoftirq 110 1\n",
        "cpu  1000 10 500 20000 30 0 5 7 3 2\ncpu0 500 5 250 10000 15 0 3 4 2 1\ncpu1 500 5 250 10000 15 0 2 3 1 1\nintr 4000 1\nctxt 90000\nsoftirq 100 1\n",
        "0.10 0.20 0.30 1/200 5000\n",
        "MemTotal: 4000000 kB\nMemFree: 1000000 kB\nMemAvailable: 2000000 kB\nBuffers: 100000 kB\nCached: 900000 kB\nActive: 700000 kB\nInactive: 600000 kB\nActive(file): 5000 kB\nInactive(file): 5000 kB\nSwapTotal: 1000 kB\nSwapFree: 900 kB\nShmem: 10000 kB\nSlab: 200000 kB\nSReclaimable: 100000 kB\n",
        "nr_free_pages 7\npswpin 12\npswpout 13\n",
        "Node 0, zone DMA\n        low 5\n",
        "processor : 0\nphysical id : 0\ncpu cores : 2\ncpu MHz : 2000.0\n\n",
        "0\n",
        "2000000\n",
        "800000\n",
        "3000000\n",
        "",
        "0-1\n",
        "0 1\n",
        "6.1.0-13-amd64\n",
        "ID=debian\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n",
    ];

    /// Words that files have had in the place of a number, and their like.
    fn odd_word() -> impl Strategy<Value = String> {
        let fixed = [
            "",
            "-1",
            "-2049562273",
            "0",
            "nan",
            "inf",
            "1e400",
            "0x10",
            "12abc",
            "1.5",
            "\0",
            "\u{fffd}",
            "N/A",
            "<unknown>",
            "18446744073709551615",
            "18446744073709346016",
            "18446744073709551616",
            "98446744073709551616",
            "9223372036854775807",
            "9223372036854775808",
            "4294967295",
            "2147483648",
        ];
        prop_oneof![
            proptest::sample::select(fixed.to_vec()).prop_map(str::to_owned),
            any::<u64>().prop_map(|number| number.to_string()),
            (0_u32..64).prop_map(|bits| (1_u64 << bits).to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
        ]
    }

    /// What happens to a file.
    #[derive(Debug, Clone)]
    enum Damage {
        Removed,
        Cut(usize),
        Doubled,
        OtherEnds,
        /// Another word in the place of one.
        Word(usize, String),
        /// Another line in the place of one.
        Line(usize, String),
    }

    impl Damage {
        fn apply(&self, content: &str) -> Option<String> {
            let replace = |parts: Vec<&str>, at: usize, with: &str| {
                let at = at % parts.len().max(1);
                parts.iter().enumerate().map(|(number, part)| if number == at { with } else { part }).collect()
            };
            Some(match self {
                Self::Removed => return None,
                Self::Cut(at) => content[..content.floor_char_boundary(at % (content.len() + 1))].to_owned(),
                Self::Doubled => content.repeat(2),
                Self::OtherEnds => content.replace('\n', "\r\n"),
                Self::Word(at, word) => {
                    // The words, and what is between them.
                    let is_between = |character: char| character.is_whitespace() || character == '/';
                    let words = content.split_inclusive(is_between).flat_map(|word| {
                        let end = word.trim_end_matches(is_between).len();
                        [&word[..end], &word[end..]]
                    });
                    replace(words.collect(), at * 2, word)
                }
                Self::Line(at, line) => replace(content.split_inclusive('\n').collect(), *at, &format!("{line}\n")),
            })
        }
    }

    fn damage() -> impl Strategy<Value = (usize, Damage)> {
        let damage = prop_oneof![
            1 => Just(Damage::Removed),
            1 => any::<usize>().prop_map(Damage::Cut),
            1 => Just(Damage::Doubled),
            1 => Just(Damage::OtherEnds),
            8 => (0_usize..60, odd_word()).prop_map(|(at, word)| Damage::Word(at, word)),
            2 => (0_usize..20, ".{0,20}").prop_map(|(at, line)| Damage::Line(at, line)),
        ];
        (0..FILES.len(), damage)
    }

    proptest! {
        #[test]
        fn published_values_are_within_their_bounds(damages in prop::collection::vec(damage(), 0..6)) {
            let mut contents = GOOD.map(|content| Some(content.to_owned()));
            for (file, damage) in &damages {
                contents[*file] = contents[*file].as_deref().and_then(|content| damage.apply(content));
            }
            let mut contents: Contents<'_> = std::array::from_fn(|at| contents[at].as_ref().map(String::as_bytes));
            contents[0] = contents[0].or(Some(b""));
            measure(&contents);
        }
    }
}
