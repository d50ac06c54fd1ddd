//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// Sandboxes of gVisor write zeros for what they do not count. Reported in google/gvisor#126 and #9967. Right: what is there, the
/// boot time above all; no threads, because a host on which an agent runs has some (`nr_threads` in the kernel's
/// fs/proc/loadavg.c).
#[test]
fn sandbox_without_counts_has_no_threads() {
    let mut host = Host::new();
    let interrupts = "0 ".repeat(1024);
    host.file("/proc/loadavg", "0.00 0.00 0.00 0/0 0\n").file(
        "/proc/stat",
        format!(
            "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\nintr 0 {}\nctxt 0\nbtime 1706898049\nprocesses 0\n\
             procs_running 0\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
            interrupts.trim_end()
        ),
    );
    let mut kernel = start(host, "{}");
    let sample = kernel.tick().expect("a sample");
    assert_eq!(
        (&sample["kernel.boot_time_seconds"], sample.get("kernel.threads")),
        (&Value::Natural(1_706_898_049), None)
    );
    assert!(kernel.host().messages().iter().all(|message| !message.starts_with("WARN")), "nothing to fix");
}

/// The queues of all kernels: 9 columns in Linux 2.6.23, 10 in RHEL 6 and 7, 11 since 3.13, 13 in RHEL 8.5 and since 5.10, 15 in
/// newer ones. Reported in `prometheus/node_exporter#1625`, prometheus/procfs#473 and sysstat/sysstat#315. Right: by the position
/// of each column in `softnet_seq_show` of the kernel's net/core/net-procfs.c; columns that a kernel does not have are left out.
#[test]
fn queues_of_all_kernels_are_read() {
    for (columns, rps, flow_limit, backlog) in [
        (9, None, None, None),
        (10, Some(9_u64), None, None),
        (11, Some(9), Some(10_u64), None),
        (13, Some(9), Some(10), Some(11_u64)),
        (15, Some(9), Some(10), Some(11)),
    ] {
        let line: Vec<String> = (0..columns).map(|column| format!("{column:08x}")).collect();
        let mut host = Host::new();
        host.file(SOFTNET, line.join(" ") + "\n");
        let sample = start(host, "{}").tick().expect("a sample");
        assert_eq!(
            (&sample["kernel.softnet_dropped_total"], &sample["kernel.softnet_times_squeezed_total"]),
            (&Value::Natural(1), &Value::Natural(2))
        );
        for (metric, value) in [
            ("softnet_received_rps_total", rps),
            ("softnet_flow_limit_total", flow_limit),
            ("softnet_backlog", backlog),
        ] {
            assert_eq!(
                sample.get(&format!("kernel.{metric}")),
                value.map(Value::Natural).as_ref(),
                "{columns}: {metric}"
            );
        }
    }
}

/// Android closes most files of the kernel to apps. Reported in giampaolo/psutil#2195 and aristocratos/bpytop#144. Right: an
/// error that names the reason, or whatever file is open.
#[test]
fn refused_kernel_files_are_not_absent() {
    let mut host = Host::new();
    for path in ["/proc/stat", "/proc/vmstat", "/proc/loadavg", "/proc/sys/fs/file-nr", "/proc/sys/kernel/pid_max"] {
        host.file_fails(path, not_permitted());
    }
    let mut kernel = start(host, "{}");
    assert_not_permitted(&kernel.tick(), "/proc/stat");
    kernel.host().file("/proc/sys/kernel/random/entropy_avail", "256\n");
    let sample = kernel.tick().expect("a sample");
    assert_eq!((sample.len(), &sample["kernel.entropy_available_bits"]), (1, &Value::Natural(256)));
}
