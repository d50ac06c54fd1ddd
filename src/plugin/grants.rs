//! The grants of plugins to files: the default ones, each with its reason, and those of the configuration. Decides by the text
//! of a path; the code that opens it makes sure that it leads there. [`network`] has the grants to the network.

pub(crate) mod kind;
pub(crate) mod network;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use self::network::Network;
use crate::address::Address;
use crate::hostpath::{self, Pattern};

/// Files that every plugin may read, as far as any local user may: kernel-wide counters and settings. Files about single
/// processes, users or secrets (`kallsyms`, `cmdline`, `environ`, `cgroup.procs`, `/sys/kernel/debug`, serial numbers) are not
/// among them.
const DEFAULT_READ: &[&str] = &[
    // Time since boot, and time spent idle.
    "/proc/uptime",
    // CPU times, context switches, forks, processes running and blocked.
    "/proc/stat",
    "/proc/loadavg",
    // Memory: totals, events, zones, fragmentation, kernel caches.
    "/proc/meminfo",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/proc/buddyinfo",
    "/proc/swaps",
    // Pressure stall information.
    "/proc/pressure/*",
    // Lists of CPUs, devices, file systems and modules.
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/filesystems",
    "/proc/modules",
    "/proc/partitions",
    "/proc/version",
    // Block devices: operations, bytes, time, arrays.
    "/proc/diskstats",
    "/proc/mdstat",
    // Interrupts.
    "/proc/interrupts",
    "/proc/softirqs",
    // Network counters and socket counts, as PID 1 sees them: /proc/net follows the reader's own namespace.
    "/proc/1/net/dev",
    "/proc/1/net/snmp",
    "/proc/1/net/snmp6",
    "/proc/1/net/netstat",
    "/proc/1/net/sockstat",
    "/proc/1/net/sockstat6",
    "/proc/1/net/softnet_stat",
    "/proc/1/net/protocols",
    // Mounts.
    "/proc/1/mounts",
    "/proc/1/mountinfo",
    // Limits and usage of the kernel: open files, inodes, entropy, connection tracking.
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/inode-nr",
    // Tasks found hanging, counted since Linux 6.14.
    "/proc/sys/kernel/hung_task_detect_count",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/kernel/random/entropy_avail",
    "/proc/sys/kernel/random/poolsize",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/proc/sys/net/netfilter/nf_conntrack_max",
    // Servers and clients of network file systems.
    "/proc/1/net/rpc/nfs",
    "/proc/1/net/rpc/nfsd",
    // CPU topology and frequency, and NUMA nodes.
    "/sys/devices/system/cpu/*",
    "/sys/devices/system/cpu/*/*",
    "/sys/devices/system/cpu/*/*/*",
    "/sys/devices/system/node/*",
    "/sys/devices/system/node/*/*",
    // Network interfaces: state, speed, counters. A link that was lost and is back between two ticks shows only in its count
    // of changes.
    "/sys/class/net/*/address",
    "/sys/class/net/*/carrier",
    "/sys/class/net/*/carrier_changes",
    "/sys/class/net/*/duplex",
    "/sys/class/net/*/flags",
    "/sys/class/net/*/mtu",
    "/sys/class/net/*/operstate",
    "/sys/class/net/*/speed",
    "/sys/class/net/*/statistics/*",
    "/sys/class/net/*/type",
    // Block devices: size, counters, kind.
    "/sys/block/*/size",
    "/sys/block/*/stat",
    "/sys/block/*/removable",
    "/sys/block/*/ro",
    "/sys/block/*/queue/*",
    // Sensors.
    "/sys/class/hwmon/*/*",
    "/sys/class/thermal/*/*",
    // Older drivers have the sensors in the directory of their device, whose disks are named below block.
    "/sys/class/hwmon/*/device/block/*",
    "/sys/class/hwmon/*/device/fan*",
    "/sys/class/hwmon/*/device/name",
    "/sys/class/hwmon/*/device/temp*",
    "/sys/class/power_supply/*/capacity",
    "/sys/class/power_supply/*/current_now",
    "/sys/class/power_supply/*/energy_full",
    "/sys/class/power_supply/*/energy_now",
    "/sys/class/power_supply/*/online",
    "/sys/class/power_supply/*/power_now",
    "/sys/class/power_supply/*/status",
    "/sys/class/power_supply/*/type",
    "/sys/class/power_supply/*/voltage_now",
];

/// The accounting files of control groups, versions 2 and 1; not the lists of their processes.
const DEFAULT_CGROUP_READ: [&str; 8] =
    ["blkio.*", "cgroup.stat", "cpu.*", "cpuacct.*", "hugetlb.*", "io.*", "memory.*", "pids.*"];

/// How deep control groups are read: a container in a pod in a slice, under a version 1 controller.
const CGROUP_DEPTH: usize = 6;

/// The default grants, shared by all plugins.
static DEFAULT: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let cgroups = (0..=CGROUP_DEPTH).flat_map(|depth| {
        let group = format!("/sys/fs/cgroup{}", "/*".repeat(depth));
        DEFAULT_CGROUP_READ.map(|name| format!("{group}/{name}"))
    });
    let paths = DEFAULT_READ.iter().map(|&path| path.to_owned()).chain(cgroups);
    paths.filter_map(|path| Pattern::new(path).ok()).collect()
});

/// The default grants without wildcards: most grants and most requests, found by hash.
static LITERAL: LazyLock<HashSet<&str>> =
    LazyLock::new(|| DEFAULT_READ.iter().copied().filter(|path| !path.contains('*')).collect());

/// The grants of one plugin.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    root: PathBuf,
    /// The default grants; empty for an instance without grants.
    default: &'static [Pattern],
    read: Vec<Pattern>,
    usage: Vec<Pattern>,
    network: Network,
}

/// The origin of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Every plugin has it.
    Default,
    /// The configuration has it, whether or not every plugin does.
    Configuration,
}

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathRefusal {
    /// It is not a normalized absolute path: the problem and the remedy.
    Malformed(&'static str),
    /// It belongs to the agent's own process, which no grant opens.
    Own,
    /// A grant is missing.
    Missing,
}

impl Grants {
    /// The default grants and these.
    pub(crate) fn new(root: &Path, read: &[Pattern], usage: &[Pattern], network: Network) -> Self {
        Self { root: root.to_owned(), default: &DEFAULT, read: read.to_vec(), usage: usage.to_vec(), network }
    }

    /// No grants at all.
    pub(crate) fn none() -> Self {
        let (read, usage) = (Vec::new(), Vec::new());
        Self { root: PathBuf::from("/"), default: &[], read, usage, network: Network::default() }
    }

    /// The root directory of the measured host.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a file may be read. With [`Basis::Default`], only if every local user may read it.
    pub(crate) fn read(&self, path: &str) -> Result<Basis, PathRefusal> {
        self.check(path, Pattern::matches)
    }

    /// Whether a directory may be listed: when it is granted itself, or a grant has a wildcard for the names in it.
    pub(crate) fn list(&self, path: &str) -> Result<Basis, PathRefusal> {
        self.check(path, is_listed)
    }

    /// Whether a path may be read or listed by its text alone, without access to a file system.
    pub(crate) fn covers(&self, path: &str) -> Option<Basis> {
        self.decide(path, is_listed).ok()
    }

    /// Whether a path is that of a process under a wildcard grant: a plugin that reads all processes also comes to the agent's
    /// own.
    pub(crate) fn is_any_process(&self, path: &str) -> bool {
        let is_number = |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        path.split('/').any(is_number) && self.read.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether the usage of the file system at a path is granted, be it the root of a mount or not.
    pub(crate) fn usage(&self, path: &str) -> Result<Basis, PathRefusal> {
        hostpath::check(path).map_err(PathRefusal::Malformed)?;
        let is_granted = self.usage.iter().any(|pattern| pattern.matches(path));
        is_granted.then_some(Basis::Configuration).ok_or(PathRefusal::Missing)
    }

    /// Whether the unix socket at a path may be connected to.
    pub(crate) fn connect_unix(&self, path: &str) -> Result<Basis, PathRefusal> {
        self.check_beginning(path)?;
        if !self.network.connect(&Address::Unix(path.to_owned())) {
            return Err(PathRefusal::Missing);
        }
        if self.is_own_process(path) { Err(PathRefusal::Own) } else { Ok(Basis::Configuration) }
    }

    /// The grants to the network.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Whether a path belongs to the agent's own process by now. Threads start at any moment, and their numbers can be guessed,
    /// so this is checked again between opening and reading.
    pub(crate) fn has_become_own(&self, path: &str) -> bool {
        self.check_beginning(path) == Err(PathRefusal::Own) || self.is_own_process(path)
    }

    /// Decides by the text first: for a path that is not granted, no file system but `/proc` is accessed.
    fn check(&self, path: &str, covers: fn(&Pattern, &str) -> bool) -> Result<Basis, PathRefusal> {
        let basis = self.decide(path, covers)?;
        if self.is_own_process(path) { Err(PathRefusal::Own) } else { Ok(basis) }
    }

    fn decide(&self, path: &str, covers: fn(&Pattern, &str) -> bool) -> Result<Basis, PathRefusal> {
        self.check_beginning(path)?;
        let is_covered = |patterns: &[Pattern]| patterns.iter().any(|pattern| covers(pattern, path));
        if is_covered(&self.read) {
            return Ok(Basis::Configuration);
        }
        let is_default = !self.default.is_empty() && LITERAL.contains(path) || is_covered(self.default);
        if is_default { Ok(Basis::Default) } else { Err(PathRefusal::Missing) }
    }

    /// Refuses malformed paths and the agent's own process in `/proc`, without access to another file system.
    fn check_beginning(&self, path: &str) -> Result<(), PathRefusal> {
        hostpath::check(path).map_err(PathRefusal::Malformed)?;
        let process = path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next());
        let is_own = |process| matches!(process, "self" | "thread-self") || self.is_own_number("/proc", process);
        if process.is_some_and(is_own) { Err(PathRefusal::Own) } else { Ok(()) }
    }

    /// Whether a path belongs to the agent or one of its threads in a process file system other than `/proc`, which
    /// `check_beginning` covers. May wait for a file system on the way.
    fn is_own_process(&self, path: &str) -> bool {
        path.match_indices('/').map(|(end, _)| path.split_at(end)).any(|(directory, rest)| {
            let name = rest[1..].split('/').next().unwrap_or_default();
            directory != "/proc" && self.is_own_number(directory, name)
        })
    }

    /// Whether a name in a directory is the number of the agent or one of its threads. Each process file system has its own
    /// numbers, and a link `self` to the reader. Threads have directories that no listing shows.
    fn is_own_number(&self, directory: &str, name: &str) -> bool {
        let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        is_number && hostpath::below(&self.root, directory).join("self/task").join(name).exists()
    }
}

fn is_listed(pattern: &Pattern, directory: &str) -> bool {
    pattern.matches(directory) || pattern.opens(directory)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grants(read: &[&str]) -> Grants {
        let read: Vec<Pattern> = read.iter().map(|&path| Pattern::new(path).expect(path)).collect();
        Grants::new(Path::new("/"), &read, &[], Network::default())
    }

    #[test]
    fn all_default_grants_are_patterns() {
        let cgroups = DEFAULT_CGROUP_READ.len() * (CGROUP_DEPTH + 1);
        assert_eq!(grants(&[]).default.len(), DEFAULT_READ.len() + cgroups);
    }

    #[test]
    fn kernel_wide_files_are_granted_by_default() {
        let grants = grants(&[]);
        assert_eq!(grants.read("/proc/uptime"), Ok(Basis::Default));
        assert_eq!(grants.list("/sys/class/net"), Ok(Basis::Default));
        assert_eq!(grants.read("/sys/fs/cgroup/system.slice/redis.service/memory.current"), Ok(Basis::Default));
        assert_eq!(grants.list("/sys/fs/cgroup/system.slice"), Ok(Basis::Default));
        for secret in
            ["/etc/shadow", "/proc/2/environ", "/proc/kcore", "/proc/1/environ", "/sys/class/dmi/id/product_serial"]
        {
            assert_eq!(grants.read(secret), Err(PathRefusal::Missing), "{secret}");
        }
        assert_eq!(grants.list("/sys/class/hwmon/hwmon0/device"), Ok(Basis::Default), "its names");
        assert_eq!(grants.read("/sys/class/hwmon/hwmon0/device/serial"), Err(PathRefusal::Missing));
        assert_eq!(grants.list("/proc"), Err(PathRefusal::Missing));
        assert_eq!(
            grants.read("/proc/../etc/shadow"),
            Err(PathRefusal::Malformed("has an empty, . or .. segment; write it without"))
        );
        assert_eq!(Grants::none().read("/proc/uptime"), Err(PathRefusal::Missing));
    }

    #[test]
    fn no_grant_opens_the_agents_own_process() {
        let grants = grants(&["/proc/*/stat", "/proc/*/task/*/stat", "/proc/self/mem", "/proc/*"]);
        let own = std::process::id();
        let thread = rustix::thread::gettid().as_raw_nonzero();
        for path in [
            "/proc/self/stat".to_owned(),
            "/proc/self/mem".to_owned(),
            "/proc/thread-self/stat".to_owned(),
            format!("/proc/{own}/stat"),
            format!("/proc/{thread}/stat"),
            format!("/proc/{own}/task/{thread}/stat"),
        ] {
            assert_eq!(grants.read(&path), Err(PathRefusal::Own), "{path}");
        }
        assert_eq!(grants.list(&format!("/proc/{own}")), Err(PathRefusal::Own));
        assert_eq!(grants.list("/proc"), Ok(Basis::Configuration), "the list of processes");
        assert!(grants.is_any_process(&format!("/proc/{own}/stat")));
        assert!(!grants.is_any_process("/proc/self/stat") && !grants.is_any_process(&format!("/proc/{own}/mem")));
    }

    #[test]
    fn own_process_is_found_below_the_root() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let read: Vec<Pattern> =
            ["/proc/*/stat", "/jail/proc/*/stat"].map(|path| Pattern::new(path).expect(path)).into();
        let grants = Grants::new(root.path(), &read, &[], Network::default());
        for own in ["proc/self/task/77", "jail/proc/self/task/78"] {
            std::fs::create_dir_all(root.path().join(own)).expect("created");
        }
        assert_eq!(grants.read("/proc/77/stat"), Err(PathRefusal::Own));
        assert_eq!(grants.read("/jail/proc/78/stat"), Err(PathRefusal::Own), "in any process file system");
        assert_eq!(grants.read("/proc/78/stat"), Ok(Basis::Configuration));
        let here = format!("/proc/{}/stat", std::process::id());
        assert_eq!(grants.read(&here), Ok(Basis::Configuration), "this number is another process there");

        let none = Grants::new(root.path(), &[], &[], Network::default());
        assert_eq!(none.read("/proc/77/stat"), Err(PathRefusal::Own), "no grant would help");
        assert_eq!(none.read("/jail/proc/78/stat"), Err(PathRefusal::Missing), "without access to it");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// A path passes exactly when a pattern covers it, however it is spelt. The words are few, so that most patterns cover
        /// some path.
        #[test]
        fn only_covered_paths_pass(
            patterns in prop::collection::vec("u?(/proc)?(/(a|b|\\*|a\\*|a\\*b|self|\\.\\.)){1,3}", 0..4),
            path in "(/proc(/self|/thread-self)?)?(/(a|b|aab?|7|\\.\\.|\\.|)){0,3}",
        ) {
            crate::plugin::fuzzing::grants(format!("{}\n{path}", patterns.join("\n")).as_bytes());
        }
    }
}
