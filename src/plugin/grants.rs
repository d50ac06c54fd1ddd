//! What plugins may touch: the grants that all have from the start, each with its reason, and those that the
//! configuration adds. Decides by the text of a path; that the text says where the path leads is the business of who
//! opens it.

use std::path::{Path, PathBuf};

use crate::hostpath::{self, Pattern};

/// Files that every plugin may read: kernel-wide counters and settings that any local user may read too. What tells of
/// single processes, of users or of secrets (`kallsyms`, `cmdline`, `environ`, `/sys/kernel/debug`, serial numbers in
/// `/sys/class/dmi`) is not among them.
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
    "/proc/pagetypeinfo",
    "/proc/swaps",
    // Pressure stall information.
    "/proc/pressure/*",
    // Which CPUs, devices, file systems and modules there are.
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
    // What is mounted where.
    "/proc/1/mounts",
    "/proc/1/mountinfo",
    // Limits and levels of the kernel: open files, inodes, entropy, connection tracking.
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/kernel/random/entropy_avail",
    "/proc/sys/kernel/random/poolsize",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/proc/sys/net/netfilter/nf_conntrack_max",
    // Servers and clients of network file systems.
    "/proc/net/rpc/nfs",
    "/proc/net/rpc/nfsd",
    // CPU topology and frequency, and NUMA nodes.
    "/sys/devices/system/cpu/*",
    "/sys/devices/system/cpu/*/*",
    "/sys/devices/system/cpu/*/*/*",
    "/sys/devices/system/node/*",
    "/sys/devices/system/node/*/*",
    // Network interfaces: state, speed, counters.
    "/sys/class/net/*/address",
    "/sys/class/net/*/carrier",
    "/sys/class/net/*/duplex",
    "/sys/class/net/*/flags",
    "/sys/class/net/*/mtu",
    "/sys/class/net/*/operstate",
    "/sys/class/net/*/speed",
    "/sys/class/net/*/statistics/*",
    "/sys/class/net/*/type",
    // Block devices: size, counters, what they are.
    "/sys/block/*/size",
    "/sys/block/*/stat",
    "/sys/block/*/removable",
    "/sys/block/*/ro",
    "/sys/block/*/queue/*",
    // Sensors.
    "/sys/class/hwmon/*/*",
    "/sys/class/thermal/*/*",
    "/sys/class/power_supply/*/*",
    // Control groups: the accounting of services and containers, version 2 and 1, to the depth of a container in a pod
    // in a slice.
    "/sys/fs/cgroup/*",
    "/sys/fs/cgroup/*/*",
    "/sys/fs/cgroup/*/*/*",
    "/sys/fs/cgroup/*/*/*/*",
    "/sys/fs/cgroup/*/*/*/*/*",
    "/sys/fs/cgroup/*/*/*/*/*/*",
];

/// What one plugin may touch on the file system.
#[derive(Debug, Clone)]
pub(super) struct Grants {
    root: PathBuf,
    read: Vec<Pattern>,
    usage: Vec<Pattern>,
}

/// Why a path may not be touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not a path in the only spelling there is; what is wrong with it.
    Malformed(&'static str),
    /// It is the agent's own, which no grant opens.
    Own,
    /// A grant is missing.
    Missing,
}

impl Grants {
    /// The grants of a plugin for which the configuration adds these.
    pub(super) fn new(root: &Path, read: &[Pattern], usage: &[Pattern]) -> Self {
        let default = DEFAULT_READ.iter().filter_map(|&path| Pattern::new(path).ok());
        Self { root: root.to_owned(), read: default.chain(read.iter().cloned()).collect(), usage: usage.to_vec() }
    }

    /// No grants at all.
    pub(super) fn none() -> Self {
        Self { root: PathBuf::from("/"), read: Vec::new(), usage: Vec::new() }
    }

    /// Where the measured host's root is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a file may be read.
    pub(super) fn read(&self, path: &str) -> Result<(), Refusal> {
        self.check(path, &self.read, Pattern::matches)
    }

    /// Whether a directory may be listed: when it is granted itself, and when a grant leaves open the names in it.
    pub(super) fn list(&self, path: &str) -> Result<(), Refusal> {
        self.check(path, &self.read, |pattern, path| pattern.matches(path) || pattern.opens(path))
    }

    /// Whether the usage of the file system at a path may be seen, be it the root of a mount or not.
    pub(super) fn usage(&self, path: &str) -> Result<(), Refusal> {
        self.check(path, &self.usage, Pattern::matches)
    }

    fn check(&self, path: &str, patterns: &[Pattern], covers: fn(&Pattern, &str) -> bool) -> Result<(), Refusal> {
        hostpath::check(path).map_err(Refusal::Malformed)?;
        if self.is_own_process(path) {
            return Err(Refusal::Own);
        }
        if patterns.iter().any(|pattern| covers(pattern, path)) { Ok(()) } else { Err(Refusal::Missing) }
    }

    /// Whether a path is in the `/proc` directory of the agent or of one of its threads.
    fn is_own_process(&self, path: &str) -> bool {
        let Some(process) = path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next()) else { return false };
        if matches!(process, "self" | "thread-self") {
            return true;
        }
        // The measured host may number processes differently from where the agent runs: its own `self` knows. Threads
        // have directories too, which no listing shows.
        process.bytes().all(|byte| byte.is_ascii_digit())
            && [&*self.root, Path::new("/")]
                .iter()
                .any(|root| hostpath::below(root, "/proc/self/task").join(process).exists())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grants(read: &[&str]) -> Grants {
        let read: Vec<Pattern> = read.iter().map(|&path| Pattern::new(path).expect(path)).collect();
        Grants::new(Path::new("/"), &read, &[])
    }

    #[test]
    fn all_default_grants_are_patterns() {
        assert_eq!(grants(&[]).read.len(), DEFAULT_READ.len());
    }

    #[test]
    fn kernel_wide_files_are_granted_from_the_start() {
        let grants = grants(&[]);
        assert_eq!(grants.read("/proc/uptime"), Ok(()));
        assert_eq!(grants.list("/sys/class/net"), Ok(()));
        for secret in
            ["/etc/shadow", "/proc/2/environ", "/proc/kcore", "/proc/1/environ", "/sys/class/dmi/id/product_serial"]
        {
            assert_eq!(grants.read(secret), Err(Refusal::Missing), "{secret}");
        }
        assert_eq!(grants.list("/proc"), Err(Refusal::Missing));
        assert_eq!(
            grants.read("/proc/../etc/shadow"),
            Err(Refusal::Malformed("has an empty, . or .. segment; write it without"))
        );
        assert_eq!(Grants::none().read("/proc/uptime"), Err(Refusal::Missing));
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
            assert_eq!(grants.read(&path), Err(Refusal::Own), "{path}");
        }
        assert_eq!(grants.list(&format!("/proc/{own}")), Err(Refusal::Own));
        assert_eq!(grants.list("/proc"), Ok(()), "the numbers of all processes");
    }

    proptest! {
        /// A path outside all patterns never passes, however it is spelt.
        #[test]
        fn only_what_a_pattern_covers_passes(path in "(/(etc|\\.\\.|\\.||a|b[ab]{0,2}|self|proc)){1,5}/?") {
            let grants = grants(&["/etc/a*/b"]);
            if grants.read(&path).is_ok() {
                let granted = path.strip_prefix("/etc/a").and_then(|rest| rest.strip_suffix("/b")).is_some();
                prop_assert!(granted || DEFAULT_READ.contains(&&*path), "{path}");
            }
        }
    }
}
