//! The grants of plugins to files: those of the configuration, and the default ones of [`default`]. Decides by the text of a
//! path; the code that opens it makes sure that it leads there. [`network`] has the grants to the network.

pub(crate) mod default;
pub(crate) mod kind;
pub(crate) mod network;

use std::path::{Path, PathBuf};

use http::Method;

use self::default::{DEFAULT, DefaultGrant, DefaultGrants};
use self::network::Network;
use crate::address::Address;
use crate::hostpath::{self, Parts, Pattern};

/// The grants of one plugin.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    root: PathBuf,
    /// The default grants; none for an instance without grants.
    default: Option<&'static DefaultGrants>,
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
        let read = read.iter().map(Pattern::first_process_pattern).collect();
        Self { root: root.to_owned(), default: Some(&DEFAULT), read, usage: usage.to_vec(), network }
    }

    /// No grants at all.
    pub(crate) fn none() -> Self {
        let (read, usage) = (Vec::new(), Vec::new());
        Self { root: PathBuf::from("/"), default: None, read, usage, network: Network::default() }
    }

    /// The root directory of the measured host.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a file may be read. With [`Basis::Default`], only if every local user may read it.
    pub(crate) fn read(&self, path: &str) -> Result<Basis, PathRefusal> {
        self.check(path, Pattern::matches_parts, DefaultGrants::read)
    }

    /// Whether a directory may be listed: when it is granted itself, or a grant has a wildcard for the names in it.
    pub(crate) fn list(&self, path: &str) -> Result<Basis, PathRefusal> {
        self.check(path, is_listed, DefaultGrants::list)
    }

    /// Whether a path may be read or listed by its text alone, without access to a file system but `/proc`.
    pub(crate) fn covers(&self, path: &str) -> Result<Basis, PathRefusal> {
        self.decide(&hostpath::first_process_path(path), is_listed, DefaultGrants::list)
    }

    /// The default grant by which a path may be read or listed, if it is by one.
    pub(crate) fn default_grant(&self, path: &str) -> Option<DefaultGrant> {
        let is_default = self.decide(path, is_listed, DefaultGrants::list) == Ok(Basis::Default);
        self.default.filter(|_| is_default).and_then(|default| default.list(&Parts::new(path)))
    }

    /// Whether a file may be read by its text alone, without access to any file system: whether it belongs to the agent is for the
    /// caller to find out.
    pub(crate) fn reads_by_text(&self, path: &str) -> Option<Basis> {
        hostpath::check(path).ok().filter(|()| !is_own_link(path))?;
        self.match_patterns(path, Pattern::matches_parts, DefaultGrants::read)
    }

    /// The same for a path that may be read or listed.
    pub(crate) fn lists_by_text(&self, path: &str) -> Option<Basis> {
        hostpath::check(path).ok().filter(|()| !is_own_link(path))?;
        self.match_patterns(path, is_listed, DefaultGrants::list)
    }

    /// Whether a path is that of a process under a wildcard grant: a plugin that reads all processes also comes to the agent's
    /// own.
    pub(crate) fn is_any_process(&self, path: &str) -> bool {
        has_number(path) && self.read.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether the usage of the file system at a path is granted, be it the root of a mount or not.
    pub(crate) fn usage(&self, path: &str) -> Result<Basis, PathRefusal> {
        hostpath::check(path).map_err(PathRefusal::Malformed)?;
        let is_granted = self.usage.iter().any(|pattern| pattern.matches(path));
        is_granted.then_some(Basis::Configuration).ok_or(PathRefusal::Missing)
    }

    /// Whether the unix socket at a path may be connected to.
    pub(crate) fn connect_unix(&self, path: &str) -> Result<Basis, PathRefusal> {
        self.check_socket(path, self.network.connect(&Address::Unix(path.to_owned())))
    }

    /// Whether requests with this method may be sent to the unix socket at a path.
    pub(crate) fn fetch_unix(&self, path: &str, method: &Method) -> Result<Basis, PathRefusal> {
        self.check_socket(path, self.network.fetch_unix(path, method))
    }

    fn check_socket(&self, path: &str, is_granted: bool) -> Result<Basis, PathRefusal> {
        self.check_beginning(path)?;
        if !is_granted {
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
        self.is_own_in_proc(path) || self.is_own_process(path)
    }

    /// Decides by the text first: for a path that is not granted, no file system but `/proc` is accessed.
    fn check(
        &self,
        path: &str,
        covers: fn(&Pattern, &Parts<'_>) -> bool,
        find: fn(&DefaultGrants, &Parts<'_>) -> Option<DefaultGrant>,
    ) -> Result<Basis, PathRefusal> {
        let basis = self.decide(path, covers, find)?;
        if self.is_own_process(path) { Err(PathRefusal::Own) } else { Ok(basis) }
    }

    fn decide(
        &self,
        path: &str,
        covers: fn(&Pattern, &Parts<'_>) -> bool,
        find: fn(&DefaultGrants, &Parts<'_>) -> Option<DefaultGrant>,
    ) -> Result<Basis, PathRefusal> {
        self.check_beginning(path)?;
        self.match_patterns(path, covers, find).ok_or(PathRefusal::Missing)
    }

    fn match_patterns(
        &self,
        path: &str,
        covers: fn(&Pattern, &Parts<'_>) -> bool,
        find: fn(&DefaultGrants, &Parts<'_>) -> Option<DefaultGrant>,
    ) -> Option<Basis> {
        let path = Parts::new(path);
        if self.read.iter().any(|pattern| covers(pattern, &path)) {
            return Some(Basis::Configuration);
        }
        self.default.and_then(|default| find(default, &path)).map(|_| Basis::Default)
    }

    /// Refuses malformed paths and the agent's own process in `/proc`, without access to another file system.
    fn check_beginning(&self, path: &str) -> Result<(), PathRefusal> {
        hostpath::check(path).map_err(PathRefusal::Malformed)?;
        if self.is_own_in_proc(path) { Err(PathRefusal::Own) } else { Ok(()) }
    }

    fn is_own_in_proc(&self, path: &str) -> bool {
        is_own_link(path) || process_segment(path).is_some_and(|process| self.is_own_number("/proc", process))
    }

    /// Whether a path belongs to the agent or one of its threads in a process file system other than `/proc`, which
    /// `check_beginning` covers. May wait for a file system on the way.
    fn is_own_process(&self, path: &str) -> bool {
        // Hardly any path has a number but the one in /proc.
        has_number(path)
            && path.match_indices('/').map(|(end, _)| path.split_at(end)).any(|(directory, rest)| {
                let name = rest[1..].split('/').next().unwrap_or_default();
                directory != "/proc" && self.is_own_number(directory, name)
            })
    }

    /// Whether a name in a directory is the number of the agent or one of its threads. Each process file system has its own
    /// numbers, and a link `self` to the reader. Threads have directories that no listing shows.
    fn is_own_number(&self, directory: &str, name: &str) -> bool {
        is_number(name.as_bytes()) && hostpath::below(&self.root, directory).join("self/task").join(name).exists()
    }
}

/// Whether a segment of a path may be the number of a process.
fn is_number(segment: &[u8]) -> bool {
    !segment.is_empty() && segment.iter().all(u8::is_ascii_digit)
}

/// Whether a segment of an absolute path may be the number of a process.
fn has_number(path: &str) -> bool {
    let may_have = hostpath::has_segment_beginning(path, |first| first.is_ascii_digit());
    may_have && path.as_bytes().split(|&byte| byte == b'/').any(is_number)
}

/// The first segment below `/proc`.
fn process_segment(path: &str) -> Option<&str> {
    path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next())
}

/// Whether a path leads through the links of `/proc` to the reader itself.
fn is_own_link(path: &str) -> bool {
    matches!(process_segment(path), Some("self" | "thread-self"))
}

fn is_listed(pattern: &Pattern, directory: &Parts<'_>) -> bool {
    pattern.matches_parts(directory) || pattern.opens(directory.path)
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
    fn secrets_are_not_granted_by_default() {
        let grants = grants(&[]);
        for closed in [
            "/proc/cmdline",
            "/proc/kallsyms",
            "/proc/key-users",
            "/proc/locks",
            "/proc/1/net/arp",
            "/proc/1/net/if_inet6",
            "/proc/1/net/ip_vs",
            "/proc/1/net/route",
            "/proc/1/net/tcp",
            "/proc/1/status",
            "/proc/77/stat",
            "/proc/spl/kstat/zfs/dbgmsg",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/random/uuid",
            "/sys/block/nvme0n1/wwid",
            "/sys/block/sda/device/serial",
            "/sys/class/dmi/id/board_serial",
            "/sys/class/dmi/id/product_uuid",
            "/sys/class/drm/card0/edid",
            "/sys/class/hwmon/hwmon0/device/serial",
            "/sys/class/nvme/nvme0/serial",
            "/sys/class/power_supply/BAT0/serial_number",
            "/sys/class/powercap/intel-rapl:0/energy_uj",
            "/sys/fs/cgroup/a/cgroup.procs",
            "/sys/fs/cgroup/a/cgroup.threads",
            "/sys/kernel/debug/x",
            "/sys/module/x/parameters/key",
        ] {
            assert_eq!(grants.read(closed), Err(PathRefusal::Missing), "{closed}");
        }
    }

    #[test]
    fn default_grants_have_counters_of_all_subsystems() {
        let grants = grants(&[]);
        for open in [
            "/proc/schedstat",
            "/proc/sys/vm/swappiness",
            "/proc/sys/kernel/tainted",
            "/proc/sys/fs/aio-nr",
            "/proc/spl/kstat/zfs/arcstats",
            "/proc/1/net/bonding/bond0",
            "/proc/1/net/stat/nf_conntrack",
            "/sys/devices/system/edac/mc/mc0/ce_count",
            "/sys/devices/system/edac/mc/mc0/csrow0/ce_count",
            "/sys/class/net/bond0/bonding/slaves",
            "/sys/class/net/bonding_masters",
            "/sys/kernel/mm/ksm/pages_shared",
            "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/anon_fault_alloc",
            "/sys/devices/system/cpu/cpu0/cpuidle/state0/time",
            "/sys/block/md0/md/degraded",
            "/sys/block/zram0/mm_stat",
            "/sys/fs/btrfs/a-b/allocation/data/bytes_used",
            "/sys/fs/cgroup/cpuset.cpus.effective",
            "/sys/fs/cgroup/a/b/c/d/e/f/cgroup.events",
            "/sys/class/dmi/id/product_name",
        ] {
            assert_eq!(grants.read(open), Ok(Basis::Default), "{open}");
        }
        assert_eq!(grants.list("/sys/devices/system/edac/mc"), Ok(Basis::Default));
        assert_eq!(grants.list("/sys/fs/cgroup/a/b/c/d/e/f/g"), Err(PathRefusal::Missing), "too deep");
    }

    #[test]
    fn granted_networks_are_those_of_process_1() {
        let granted = grants(&["/proc/net/tcp*"]);
        assert_eq!(granted.read("/proc/1/net/tcp6"), Ok(Basis::Configuration));
        assert_eq!(granted.covers("/proc/net/tcp"), Ok(Basis::Configuration));
        assert_eq!(grants(&[]).covers("/proc/net/dev"), Ok(Basis::Default));
        assert_eq!(grants(&[]).covers("/proc/net/tcp"), Err(PathRefusal::Missing));
    }

    #[test]
    fn default_grant_of_a_path_is_named() {
        let read = grants(&["/proc/stat"]);
        let path = |path| read.default_grant(path).map(|grant| grant.path);
        assert_eq!(path("/proc/uptime"), Some("/proc/uptime"));
        assert_eq!(path("/sys/fs/cgroup/a/memory.max"), Some("/sys/fs/cgroup/**/memory.*"));
        assert_eq!(path("/proc/stat"), None, "the configuration has it");
        assert_eq!(path("/etc/shadow"), None);
        assert_eq!(Grants::none().default_grant("/proc/uptime"), None);
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
