//! The files that the kernel serves from its own counters, without waiting for a device, a process's lock or another machine:
//! they are read on the guest thread, which spares the price of another one. A kind of them that turns out slow is not, for a
//! while.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::own_tasks;
use super::stopwatch::Stopwatch;

/// The longest that an operation may hold up the guest thread without a consequence: a hundred times as long as most take, and
/// short beside the 20 ms for which a sample waits at least. An operation in which the thread neither worked for that long nor
/// waited does not count: it had no processor, and on a busy host that would make all kinds slow, which costs twice as much.
const SLOW: Duration = Duration::from_millis(5);

/// How long a kind is slow after an operation that was. One operation in ten minutes that holds up other plugins is no burden,
/// also where the cause lasts, and a host that was busy for a moment has the cheaper way back soon.
const PERIOD: Duration = Duration::from_secs(600);

/// The kinds of files, by the place in which the kernel keeps their counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KernelFile {
    /// The list of processes.
    Processes,
    /// A file right in `/proc`.
    Global,
    /// A setting or counter below `/proc/sys`.
    Setting,
    /// The pressure of the whole host.
    Pressure,
    /// The network of the first process.
    Network,
    /// The state of one process.
    Process,
    /// A block device.
    Block,
    /// CPUs, memory and their nodes.
    System,
    /// A control group: its statistics may wait for a lock of all groups.
    ControlGroup,
    /// The counters of a network interface.
    Interface,
}

impl KernelFile {
    /// All kinds, in the order of their declaration.
    const ALL: [Self; 10] = [
        Self::Processes,
        Self::Global,
        Self::Setting,
        Self::Pressure,
        Self::Network,
        Self::Process,
        Self::Block,
        Self::System,
        Self::ControlGroup,
        Self::Interface,
    ];

    /// The kind of a path. None for all paths whose operations may wait.
    pub(crate) fn classify(path: &str) -> Option<Self> {
        if path == "/proc" {
            return Some(Self::Processes);
        }
        if let Some(rest) = path.strip_prefix("/proc/") {
            let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
            return match rest.split_once('/') {
                None => (!is_number(rest)).then_some(Self::Global),
                Some(("sys", _)) => Some(Self::Setting),
                Some(("pressure", _)) => Some(Self::Pressure),
                Some(("1", rest)) if rest.starts_with("net/") => Some(Self::Network),
                // These do not take the lock that a process holds while it waits, unlike `cmdline` and others.
                Some((process, "stat" | "status")) if is_number(process) => Some(Self::Process),
                Some(_) => None,
            };
        }
        let rest = path.strip_prefix("/sys/")?;
        if let Some(device) = rest.strip_prefix("block/") {
            // Arrays, caches and drivers have locks of their own, which are held while a disk does not respond.
            let part = device.split('/').nth(1).unwrap_or_default();
            (!matches!(part, "bcache" | "device" | "md")).then_some(Self::Block)
        } else if let Some(system) = rest.strip_prefix("devices/system/") {
            // The controllers of memory are devices.
            (!system.starts_with("edac/")).then_some(Self::System)
        } else if rest.starts_with("fs/cgroup") {
            Some(Self::ControlGroup)
        } else {
            // Other files, such as the speed, ask the interface's driver.
            let (_interface, attribute) = rest.strip_prefix("class/net/")?.split_once('/')?;
            let is_counter =
                attribute.starts_with("statistics/") || matches!(attribute, "carrier_changes" | "flags" | "operstate");
            is_counter.then_some(Self::Interface)
        }
    }

    /// The kind of a path whose state is asked for, which takes no lock where its content may.
    pub(crate) fn classify_status(path: &str) -> Option<Self> {
        let process = path.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/fd"));
        if process.is_some_and(own_tasks::is_number) { Some(Self::Process) } else { Self::classify(path) }
    }

    /// Whether operations on this kind have been slow, and have to run on another thread.
    pub(crate) fn is_slow(self, now: Instant) -> bool {
        SLOW_KINDS.is_slow(self, since_origin(now))
    }

    /// Runs an operation on a file of this kind on the guest thread. While it does not return, the kind is slow for the thread
    /// that replaces this one.
    pub(crate) fn run<T>(self, stopwatch: &mut Stopwatch, operation: impl FnOnce() -> T) -> T {
        let _busy = SLOW_KINDS.begin(self, since_origin(stopwatch.now()));
        self.timed(stopwatch, operation)
    }

    /// Runs an operation on a file of this kind on any thread, and records how long it takes. One on another thread than the
    /// guests' is timed, too: while the cause lasts, that one is not held up again.
    pub(crate) fn timed<T>(self, stopwatch: &mut Stopwatch, operation: impl FnOnce() -> T) -> T {
        let start = stopwatch.now();
        let done = operation();
        let end = stopwatch.lap();
        let took = end.saturating_duration_since(start);
        // A thread that was ready to run all the time, and had no processor, has waited for the host and not for the kernel's file.
        // Earlier operations of its turn count as well: there is at most a millisecond of them.
        if took > SLOW && stopwatch.has_worked_or_waited(SLOW) {
            SLOW_KINDS.record(self, took, since_origin(end));
        }
        done
    }
}

/// The slow kinds of this process. They belong to the kernel, not to a plugin or an agent, of which there is one: passed on from
/// there, every constructor on the way would know them for the sake of this file.
static SLOW_KINDS: SlowKinds = SlowKinds::new();

/// The moment from which times in [`SLOW_KINDS`] count.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn since_origin(now: Instant) -> Duration {
    now.saturating_duration_since(*ORIGIN)
}

/// The kinds that are slow at present. Times are durations since any fixed moment.
struct SlowKinds {
    /// Until when each kind is slow, in milliseconds.
    until_ms: [AtomicU64; KernelFile::ALL.len()],
    /// Since when an operation on each kind is under way on the guest thread, in milliseconds; [`NEVER`] when none is. That
    /// thread has one at a time.
    busy_since_ms: [AtomicU64; KernelFile::ALL.len()],
}

/// No moment.
const NEVER: u64 = u64::MAX;

/// An operation under way, until this is dropped.
struct Busy<'a>(&'a AtomicU64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(NEVER, Ordering::Relaxed);
    }
}

impl SlowKinds {
    const fn new() -> Self {
        Self {
            until_ms: [const { AtomicU64::new(0) }; KernelFile::ALL.len()],
            busy_since_ms: [const { AtomicU64::new(NEVER) }; KernelFile::ALL.len()],
        }
    }

    /// Records that an operation begins on the guest thread.
    fn begin(&self, kind: KernelFile, now: Duration) -> Busy<'_> {
        let since = &self.busy_since_ms[kind as usize];
        since.store(milliseconds(now), Ordering::Relaxed);
        Busy(since)
    }

    /// Records an operation that took so long, and has just ended.
    fn record(&self, kind: KernelFile, took: Duration, now: Duration) {
        if took > SLOW {
            self.until_ms[kind as usize].fetch_max(milliseconds(now.saturating_add(PERIOD)), Ordering::Relaxed);
        }
    }

    fn is_slow(&self, kind: KernelFile, now: Duration) -> bool {
        let now = milliseconds(now);
        let busy_ms = now.saturating_sub(self.busy_since_ms[kind as usize].load(Ordering::Relaxed));
        now < self.until_ms[kind as usize].load(Ordering::Relaxed) || busy_ms > milliseconds(SLOW)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_are_in_the_order_of_their_numbers() {
        for (at, kind) in KernelFile::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn only_kernel_counters_have_a_kind() {
        for (fast, kind) in [
            ("/proc", KernelFile::Processes),
            ("/proc/stat", KernelFile::Global),
            ("/proc/sys/fs/file-nr", KernelFile::Setting),
            ("/proc/pressure/cpu", KernelFile::Pressure),
            ("/proc/1/net/dev", KernelFile::Network),
            ("/proc/12/stat", KernelFile::Process),
            ("/proc/12/status", KernelFile::Process),
            ("/sys/class/net/lo/statistics/rx_bytes", KernelFile::Interface),
            ("/sys/class/net/lo/operstate", KernelFile::Interface),
            ("/sys/class/net/lo/carrier_changes", KernelFile::Interface),
            ("/sys/block/sda/stat", KernelFile::Block),
            ("/sys/devices/system/node/node0/numastat", KernelFile::System),
            ("/sys/fs/cgroup/a/io.stat", KernelFile::ControlGroup),
        ] {
            assert_eq!(KernelFile::classify(fast), Some(kind), "{fast}");
        }
        for slow in [
            "/proc/1",
            "/proc/1/root/mnt/x",
            "/proc/12/cmdline",
            "/proc/12/net/dev",
            "/proc/12/root/stat",
            "/proc/a/stat",
            "/sys/class/hwmon/hwmon0/temp1_input",
            "/sys/class/net/lo/speed",
            "/sys/class/net/lo",
            "/sys/block/md0/md/sync_action",
            "/sys/block/sda/device/state",
            "/sys/devices/system/edac/mc/mc0/ce_count",
            "/mnt/x",
            "/sys",
        ] {
            assert_eq!(KernelFile::classify(slow), None, "{slow}");
        }
    }

    #[test]
    fn only_the_state_of_descriptors_is_quick() {
        assert_eq!(KernelFile::classify("/proc/12/fd"), None);
        assert_eq!(KernelFile::classify_status("/proc/12/fd"), Some(KernelFile::Process));
        assert_eq!(KernelFile::classify_status("/proc/stat"), Some(KernelFile::Global));
        for other in ["/proc//fd", "/proc/12/fd/3", "/proc/12/root/fd", "/proc/12/cwd", "/mnt/12/fd"] {
            assert_eq!(KernelFile::classify_status(other), None, "{other}");
        }
    }

    #[test]
    fn slow_operation_marks_its_kind_for_a_period() {
        let (kinds, now) = (SlowKinds::new(), Duration::from_secs(3));
        kinds.record(KernelFile::ControlGroup, SLOW, now);
        assert!(!kinds.is_slow(KernelFile::ControlGroup, now), "just quick enough");
        kinds.record(KernelFile::ControlGroup, SLOW + Duration::from_nanos(1), now);
        let slow: Vec<_> = KernelFile::ALL.into_iter().filter(|&kind| kinds.is_slow(kind, now)).collect();
        assert_eq!(slow, [KernelFile::ControlGroup]);
        // A quick one in between changes nothing.
        kinds.record(KernelFile::ControlGroup, Duration::ZERO, now + PERIOD / 2);
        assert!(kinds.is_slow(KernelFile::ControlGroup, now + PERIOD * 99 / 100));
        assert!(!kinds.is_slow(KernelFile::ControlGroup, now + PERIOD));
    }

    #[test]
    fn operation_that_does_not_return_marks_its_kind() {
        let (kinds, now) = (SlowKinds::new(), Duration::from_secs(3));
        let busy = kinds.begin(KernelFile::ControlGroup, now);
        assert!(!kinds.is_slow(KernelFile::ControlGroup, now + SLOW));
        let later = now + 10 * PERIOD;
        assert!(kinds.is_slow(KernelFile::ControlGroup, later) && !kinds.is_slow(KernelFile::Global, later));
        drop(busy);
        assert!(!kinds.is_slow(KernelFile::ControlGroup, later));
    }

    proptest! {
        /// A kind is slow if and only if an operation of it was slow less than a period ago.
        #[test]
        fn kind_is_slow_after_recent_slow_operations(
            operations in proptest::collection::vec((0..KernelFile::ALL.len(), 0_u64..10, 0_u64..300_000), 1..50),
        ) {
            let (kinds, mut now) = (SlowKinds::new(), Duration::ZERO);
            let mut last_slow = [None; KernelFile::ALL.len()];
            for (kind, took_ms, pause_ms) in operations {
                now += Duration::from_millis(pause_ms);
                kinds.record(KernelFile::ALL[kind], Duration::from_millis(took_ms), now);
                if took_ms > 5 {
                    last_slow[kind] = Some(now);
                }
                for (kind, last) in KernelFile::ALL.into_iter().zip(last_slow) {
                    let is_recent = last.is_some_and(|last| now < last + PERIOD);
                    prop_assert_eq!(kinds.is_slow(kind, now), is_recent);
                }
            }
        }
    }
}
