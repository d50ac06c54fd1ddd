//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use super::*;

/// A sandbox of gVisor counts no threads. Reported in google/gvisor#126. Right: none of its two numbers, without a warning, for
/// there is nothing to fix; its processes are counted.
#[test]
fn sandbox_without_counts_has_no_threads() {
    let mut host = small(10, "a", 0, 70);
    host.file("/proc/loadavg", "0.00 0.00 0.00 0/0 0\n");
    let mut process = start(host, "{}");
    let sample = process.tick().expect("a sample");
    assert_eq!((sample.get("process.threads"), sample.get("process.threads_runnable")), (None, None));
    assert_eq!(sample["process.processes"], 2);
    assert!(process.host().warnings().is_empty());
    // Nothing is left without a grant.
    process.host().deny(&Capability::read("/proc"));
    let nothing = Error::Unavailable("/proc/loadavg: counts no threads".to_owned());
    assert_eq!(process.tick(), Err(nothing));
    // With its processes hidden, one line has the reason.
    let mut host = Host::new();
    host.file("/proc/loadavg", "0.00 0.00 0.00 0/0 0\n");
    let mut process = start(host, "{}");
    assert_eq!(process.tick(), Err(Error::Unavailable("/proc: has no process 1".to_owned())));
    assert!(process.host().warnings().is_empty(), "{:?}", process.host().warnings());
}

/// Linux 2.6.32 scales the CPU time of a process by numbers that overflow, so that it jumps by years. Reported in
/// sysstat/sysstat#8, and for a counter that fell in distributed-system-analysis/pbench#799. Right: no share of the tick that all
/// CPUs of the largest machine cannot give; at the next tick it is measured again.
#[test]
fn cpu_time_that_jumps_has_no_percent() {
    let percent = |sample: &SampleMap| sample.get(r#"process.group_cpu_percent{group="a"}"#).cloned();
    for jumped in [1_000_000_000_000_000, 1 << 62] {
        let mut process = start(small(10, "a", 100, 70), r#"{"groups": {"a": {"name": "a"}}}"#);
        process.tick().expect("a sample");
        let shares = [jumped, jumped + 1000, 50].map(|cpu_ticks| {
            add_process(process.host(), 10, "a", cpu_ticks, 70);
            percent(&process.tick().expect("a sample"))
        });
        assert_eq!(shares, [None, Some(Value::Number(100.0)), Some(Value::Number(0.0))], "{jumped}");
    }
}
