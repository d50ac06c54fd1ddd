//! Starts threads, and explains why one does not start: which limit of the host is reached, with its numbers, and what raises
//! it. Every start can be tried again, since the shortage may pass.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::Builder;

use rustix::process::{Resource, getrlimit};

/// How many processes are counted against the limit of their user: a few tens of milliseconds.
const MAX_PROCESSES: usize = 2000;

/// How many threads may be missing from a limit that counts as reached: the kernel counts those that have just ended for a
/// moment, when nobody sees them any more.
const MARGIN: u64 = 4;

/// The numbers below this one are given to no process after the first time around (`RESERVED_PIDS` of the kernel).
const RESERVED_PIDS: u64 = 300;

/// The capabilities that lift the limit of a user's processes: `CAP_SYS_ADMIN` and `CAP_SYS_RESOURCE` (capabilities(7)).
const EXEMPTING: u64 = 1 << 21 | 1 << 24;

const RAISE_GROUP: &str = "raise TasksMax of the unit, or pids.max of the control group";
const RAISE_USER: &str = "raise LimitNPROC of the unit, or ulimit -u";
const RAISE_THREADS: &str = "raise kernel.threads-max, or end other processes";
const RAISE_PIDS: &str = "raise kernel.pid_max, or end other processes";
const FREE_MEMORY: &str = "free memory, or raise MemoryMax of the unit";

/// Starts a thread that nobody waits for.
///
/// # Errors
///
/// When the host has no more threads. The text names the limit that is reached; [`remedy`] has the way out.
pub(crate) fn start(name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start_built(Builder::new().name(name.to_owned()), run)
}

/// Starts a thread that takes over a state. The state stays where it is if that fails; where there is none, the thread has it
/// already, and nothing is started.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn hand_over<T: Send + 'static>(
    name: &'static str,
    state: &mut Option<T>,
    run: impl FnOnce(T) + Send + 'static,
) -> io::Result<()> {
    hand_over_built(Builder::new().name(name.to_owned()), state, run)
}

fn hand_over_built<T: Send + 'static>(
    builder: Builder,
    state: &mut Option<T>,
    run: impl FnOnce(T) + Send + 'static,
) -> io::Result<()> {
    if state.is_none() {
        return Ok(());
    }
    let (sender, receiver) = sync_channel(1);
    start_built(builder, move || {
        if let Ok(state) = receiver.recv() {
            run(state);
        }
    })?;
    // The thread waits for it, and the channel has a place.
    let _ = state.take().map(|state| sender.send(state));
    Ok(())
}

fn start_built(builder: Builder, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    builder.spawn(run).map(drop).map_err(|error| {
        let limit = getrlimit(Resource::Nproc).current;
        let shortage = ThreadShortage::explain(&error, &Limit::read_all(Path::new("/"), limit));
        io::Error::new(error.kind(), shortage)
    })
}

/// The error of a process that was not started, with the limit that is reached where the kernel only says to try again. It has no
/// numbers: the text of an attempt that is repeated stays the same.
pub(crate) fn process_error(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::WouldBlock {
        return error;
    }
    let limits = Limit::read_all(Path::new("/"), getrlimit(Resource::Nproc).current);
    let shortage = match limits.into_iter().find(Limit::is_reached) {
        Some(Limit { name, remedy, .. }) => ThreadShortage { reason: format!("{error}: reached {name}"), remedy },
        None => {
            ThreadShortage { reason: format!("{error}: memory is short, or a limit was reached"), remedy: FREE_MEMORY }
        }
    };
    io::Error::new(error.kind(), shortage)
}

/// The remedy for an error of [`start`].
#[must_use]
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    known_remedy(error).unwrap_or(FREE_MEMORY)
}

/// The remedy for an error of [`start`] or [`process_error`]; none for another one.
pub(crate) fn known_remedy(error: &io::Error) -> Option<&'static str> {
    let shortage = error.get_ref().and_then(|inner| inner.downcast_ref::<ThreadShortage>());
    shortage.map(|shortage| shortage.remedy)
}

/// Why a thread did not start.
#[derive(Debug)]
struct ThreadShortage {
    reason: String,
    remedy: &'static str,
}

impl ThreadShortage {
    /// Names the first limit that is reached. Without one it is memory: the kernel has the same error for both.
    fn explain(error: &io::Error, limits: &[Limit]) -> Self {
        if let Some(limit) = limits.iter().find(|limit| limit.is_reached()) {
            return Self { reason: format!("{error}: reached {limit}"), remedy: limit.remedy };
        }
        let limits: Vec<String> = limits.iter().map(Limit::to_string).collect();
        let known = if limits.is_empty() { "no limit is known".to_owned() } else { limits.join(", ") };
        Self {
            reason: format!("{error}: memory is short, or a limit was reached for a moment ({known})"),
            remedy: FREE_MEMORY,
        }
    }
}

impl fmt::Display for ThreadShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for ThreadShortage {}

/// A limit of threads, and how many there are. The kernel counts a process as one thread or more.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    name: String,
    used: u64,
    max: u64,
    remedy: &'static str,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, used, max, .. } = self;
        write!(f, "{name}: {used} of {max}")
    }
}

impl Limit {
    fn is_reached(&self) -> bool {
        self.used + MARGIN >= self.max
    }

    /// The limits that this process runs under, the narrowest kind first. Those that cannot be read are left out.
    fn read_all(root: &Path, user_limit: Option<u64>) -> Vec<Self> {
        let mut limits = Self::read_groups(root);
        // The processes are counted only where that decides.
        if !limits.iter().any(Self::is_reached) {
            limits.extend(user_limit.and_then(|max| Self::read_user(root, max)));
        }
        let threads = read(root, "proc/loadavg").and_then(|text| all_threads(&text));
        let kernel = |file: &str| read(root, file).and_then(|text| number(&text));
        if let (Some(used), Some(max)) = (threads, kernel("proc/sys/kernel/threads-max")) {
            limits.push(Self { name: "kernel.threads-max".to_owned(), used, max, remedy: RAISE_THREADS });
        }
        if let (Some(used), Some(max)) = (threads, kernel("proc/sys/kernel/pid_max")) {
            let name = format!("kernel.pid_max less {RESERVED_PIDS}");
            limits.push(Self { name, used, max: max.saturating_sub(RESERVED_PIDS), remedy: RAISE_PIDS });
        }
        limits
    }

    /// The limits of the control group and of those above it.
    fn read_groups(root: &Path) -> Vec<Self> {
        let Some(group) = read(root, "proc/self/cgroup").and_then(|text| PidsGroup::parse(&text)) else {
            return Vec::new();
        };
        let base = root.join(group.mount);
        let directory = base.join(&group.path);
        let groups = directory.ancestors().take_while(|directory| directory.starts_with(&base));
        let limit = |directory: &Path| {
            let kept = |file: &str| fs::read_to_string(directory.join(file)).ok().and_then(|text| number(&text));
            let (used, max) = (kept("pids.current")?, kept("pids.max")?);
            let path = directory.strip_prefix(&base).unwrap_or(directory).display();
            Some(Self { name: format!("pids.max of control group /{path}"), used, max, remedy: RAISE_GROUP })
        };
        groups.filter_map(limit).collect()
    }

    /// The limit of this user. None where it does not bind: for root, and with certain capabilities.
    fn read_user(root: &Path, max: u64) -> Option<Self> {
        let own = read(root, "proc/self/status").and_then(|text| ProcessStatus::parse(&text))?;
        if own.is_exempt(&read(root, "proc/self/uid_map").unwrap_or_default()) {
            return None;
        }
        let processes = fs::read_dir(root.join("proc")).ok()?.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.parse::<u32>().ok()
        });
        let statuses = processes.take(MAX_PROCESSES).filter_map(|process| {
            ProcessStatus::parse(&read(root, &format!("proc/{process}/status"))?)
                .filter(|status| status.user == own.user)
        });
        let name = format!("RLIMIT_NPROC of user {}", own.user);
        Some(Self { name, used: statuses.map(|status| status.threads).sum(), max, remedy: RAISE_USER })
    }
}

/// A file of the kernel's; none if it cannot be read.
fn read(root: &Path, file: &str) -> Option<String> {
    fs::read_to_string(root.join(file)).ok()
}

/// The number in a file. None for the word `max`, which is no limit.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number of threads on the host, from `/proc/loadavg`: `0.20 0.18 0.12 1/80 11206`.
fn all_threads(loadavg: &str) -> Option<u64> {
    loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// The control group that counts the threads of this process.
#[derive(Debug, PartialEq, Eq)]
struct PidsGroup {
    /// The mount of its hierarchy.
    mount: &'static str,
    path: PathBuf,
}

impl PidsGroup {
    /// Parses `/proc/self/cgroup` (cgroups(7)): a hierarchy with the controller `pids`, otherwise that of version 2.
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let find = |mount, is_right: fn(&str) -> bool| {
            let (_, path) = lines.clone().find(|(controllers, _)| is_right(controllers))?;
            let path = path.trim_start_matches('/');
            // A group outside of the namespace cannot be seen from here; the root of the mount can.
            let path = if path.split('/').any(|part| part == "..") { "" } else { path };
            Some(Self { mount, path: path.into() })
        };
        let version1 = find("sys/fs/cgroup/pids", |controllers| controllers.split(',').any(|name| name == "pids"));
        version1.or_else(|| find("sys/fs/cgroup", str::is_empty))
    }
}

/// A part of `/proc/PID/status`.
#[derive(Debug, PartialEq, Eq)]
struct ProcessStatus {
    /// The real user.
    user: u32,
    threads: u64,
    /// The effective capabilities.
    capabilities: u64,
}

impl ProcessStatus {
    fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
            rest.split_ascii_whitespace().next()
        };
        Some(Self {
            user: field("Uid:")?.parse().ok()?,
            threads: field("Threads:")?.parse().ok()?,
            capabilities: u64::from_str_radix(field("CapEff:")?, 16).ok()?,
        })
    }

    /// Whether the limit of a user's processes does not bind this one. Capabilities within a user namespace lift nothing
    /// (`copy_process` of the kernel).
    fn is_exempt(&self, uid_map: &str) -> bool {
        let is_initial = uid_map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
        is_initial && (self.user == 0 || self.capabilities & EXEMPTING != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any machine has addresses for.
    const IMPOSSIBLE_STACK: usize = 1 << 60;

    #[test]
    fn a_state_is_handed_over_once() {
        let (sender, receiver) = sync_channel(2);
        let mut state = Some(7);
        for _ in 0..2 {
            let sender = sender.clone();
            hand_over("test", &mut state, move |state| sender.send(state).expect("received")).expect("a thread");
        }
        drop(sender);
        assert_eq!((state, receiver.iter().collect::<Vec<i32>>()), (None, vec![7]));
    }

    #[test]
    fn a_failed_start_keeps_state_and_kind() {
        let mut state = Some(7);
        let builder = Builder::new().stack_size(IMPOSSIBLE_STACK);
        let error = hand_over_built(builder, &mut state, |_| {}).expect_err("too large");
        assert_eq!((state, error.kind()), (Some(7), io::ErrorKind::WouldBlock));
        assert!(error.to_string().contains("memory is short"), "{error}");
        assert_eq!(remedy(&error), FREE_MEMORY);
    }

    #[test]
    fn pids_group_is_found_in_both_versions() {
        let group = |mount, path: &str| Some(PidsGroup { mount, path: path.into() });
        let version1 = "9:name=systemd:/x\n8:pids,cpu:/system.slice/a.service\n0::/\n";
        assert_eq!(PidsGroup::parse(version1), group("sys/fs/cgroup/pids", "system.slice/a.service"));
        assert_eq!(PidsGroup::parse("0::/a:b/c\n"), group("sys/fs/cgroup", "a:b/c"));
        assert_eq!(PidsGroup::parse("0::/../outside\n"), group("sys/fs/cgroup", ""));
        assert_eq!(PidsGroup::parse("8:cpu:/\n"), None);
    }

    #[test]
    fn threads_of_the_host_are_in_loadavg() {
        assert_eq!(all_threads("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!((all_threads(""), all_threads("1 2 3 4 5")), (None, None));
    }

    #[test]
    fn status_has_user_threads_and_capabilities() {
        let text = "Name:\tx\nUid:\t5\t6\t7\t8\nThreads:\t9\nCapEff:\t0000000001000000\n";
        let status = ProcessStatus::parse(text).expect("complete");
        assert_eq!(status, ProcessStatus { user: 5, threads: 9, capabilities: 1 << 24 });
        assert_eq!(ProcessStatus::parse("Uid:\t5\n"), None);
    }

    #[test]
    fn exemption_needs_the_initial_namespace() {
        let status = |user, capabilities| ProcessStatus { user, threads: 1, capabilities };
        let (initial, other) = ("         0          0 4294967295\n", "0 1000 1\n");
        assert!(status(0, 0).is_exempt(initial) && status(5, 1 << 24).is_exempt(initial));
        assert!(!status(5, 1).is_exempt(initial) && !status(0, u64::MAX).is_exempt(other));
    }

    /// A machine with these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("below the root")).expect("created");
            fs::write(path, text).expect("written");
        }
        root
    }

    fn explain(machine: &tempfile::TempDir, user_limit: Option<u64>) -> (String, &'static str) {
        let error = io::Error::other("refused");
        let shortage = ThreadShortage::explain(&error, &Limit::read_all(machine.path(), user_limit));
        (shortage.reason, shortage.remedy)
    }

    #[test]
    fn the_limit_of_a_parent_group_is_named() {
        let machine = machine(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/pids.max", "max\n"),
            ("sys/fs/cgroup/a/b/pids.current", "3\n"),
            ("sys/fs/cgroup/a/pids.max", "5\n"),
            ("sys/fs/cgroup/a/pids.current", "5\n"),
        ]);
        let reason = "refused: reached pids.max of control group /a: 5 of 5".to_owned();
        assert_eq!(explain(&machine, None), (reason, RAISE_GROUP));
    }

    #[test]
    fn the_limit_of_the_user_counts_own_threads() {
        let status = |user: u32, threads: u32| format!("Uid:\t{user}\t0\t0\t0\nThreads:\t{threads}\nCapEff:\t0\n");
        let machine = machine(&[
            ("proc/self/status", &status(5, 2)),
            ("proc/10/status", &status(5, 2)),
            ("proc/11/status", &status(6, 50)),
            ("proc/12/status", &status(5, 1)),
        ]);
        let reason = "refused: reached RLIMIT_NPROC of user 5: 3 of 3".to_owned();
        assert_eq!(explain(&machine, Some(3)), (reason, RAISE_USER));
        let (reason, remedy) = explain(&machine, Some(3 + MARGIN + 1));
        assert!(reason.contains("memory is short") && reason.contains("RLIMIT_NPROC of user 5: 3 of 8"), "{reason}");
        assert_eq!(remedy, FREE_MEMORY);
    }

    #[test]
    fn the_limits_of_the_kernel_are_named() {
        let (load, threads, pids) = ("proc/loadavg", "proc/sys/kernel/threads-max", "proc/sys/kernel/pid_max");
        let full = machine(&[(load, "0 0 0 1/700 9\n"), (threads, "700\n"), (pids, "32768\n")]);
        assert_eq!(explain(&full, None), ("refused: reached kernel.threads-max: 700 of 700".to_owned(), RAISE_THREADS));
        let full = machine(&[(load, "0 0 0 1/700 9\n"), (threads, "9000\n"), (pids, "1000\n")]);
        assert_eq!(
            explain(&full, None),
            ("refused: reached kernel.pid_max less 300: 700 of 700".to_owned(), RAISE_PIDS)
        );
        let (reason, _) = explain(&machine(&[]), None);
        assert_eq!(reason, "refused: memory is short, or a limit was reached for a moment (no limit is known)");
    }
}
