//! The plugin on fixture machines: a new kernel, and an old one without software interrupt counts, firewall and some
//! queue columns.

use gauged_plugin::Value;
use gauged_plugin::testing::{
    Harness, Host, assert_damage_is_contained, assert_golden, assert_readme, assert_settings,
};

use super::*;

mod malformed;
mod worlds;

const SOFTNET: &str = "/proc/1/net/softnet_stat";

fn start(host: Host, config: &str) -> Harness<Kernel> {
    Harness::start(host, config).expect("the configuration is right")
}

fn web() -> Host {
    Host::from_fixture("fixtures/web-1")
}

/// A line of `softnet_stat` as in new kernels.
fn softnet_line(processed: u64, waiting: u64, cpu: u64) -> String {
    let columns = [processed, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, waiting, cpu, 0, 0].map(|column| format!("{column:08x}"));
    columns.join(" ") + "\n"
}

#[test]
fn machines_match_their_golden_files() {
    for machine in ["web-1", "db-2"] {
        let sample = start(Host::from_fixture(&format!("fixtures/{machine}")), "{}").tick().expect("a sample");
        assert_golden(&format!("fixtures/{machine}/expected"), &sample.render());
    }
}

#[test]
fn wrapped_32_bit_counters_continue() {
    let mut host = web();
    host.file(SOFTNET, softnet_line(0xffff_fff0, 0, 0) + &softnet_line(100, 2, 1));
    let mut kernel = start(host, "{}");
    assert_eq!(kernel.tick().expect("a sample")["kernel.softnet_processed_total"], 0xffff_fff0_u64 + 100);

    kernel.host().file(SOFTNET, softnet_line(0x10, 0, 0) + &softnet_line(200, 3, 1));
    let sample = kernel.tick().expect("a sample");
    assert_eq!(sample["kernel.softnet_processed_total"], (1_u64 << 32) + 0x10 + 200);
    assert_eq!(sample["kernel.softnet_backlog"], 3);

    // An offline CPU keeps its count and continues when it is back.
    kernel.host().file(SOFTNET, softnet_line(300, 4, 1));
    let sample = kernel.tick().expect("a sample");
    assert_eq!(sample["kernel.softnet_processed_total"], (1_u64 << 32) + 0x10 + 300);
    assert_eq!(sample["kernel.softnet_backlog"], 4);
    kernel.host().file(SOFTNET, softnet_line(0x20, 0, 0) + &softnet_line(300, 0, 1));
    assert_eq!(kernel.tick().expect("a sample")["kernel.softnet_processed_total"], (1_u64 << 32) + 0x20 + 300);
}

#[test]
fn unnamed_cpu_lines_restart_when_one_is_missing() {
    let mut host = web();
    host.file(SOFTNET, "00000005 00000000 00000000\n00000064 00000000 00000000\n");
    let mut kernel = start(host, "{}");
    assert_eq!(kernel.tick().expect("a sample")["kernel.softnet_processed_total"], 105);
    kernel.allow_counter_reset();
    kernel.host().file(SOFTNET, "00000003 00000000 00000000\n");
    assert_eq!(kernel.tick().expect("a sample")["kernel.softnet_processed_total"], 3);
}

#[test]
fn per_cpu_setting_reports_queues_by_cpu() {
    let sample = start(web(), r#"{"softnet_per_cpu": true}"#).tick().expect("a sample");
    assert_eq!(sample[r#"kernel.softnet_dropped_total{cpu="2"}"#], 9);
    assert_eq!(sample[r#"kernel.softnet_backlog{cpu="0"}"#], 3);
    assert_eq!(sample.get("kernel.softnet_dropped_total"), None);
    let Err(Error::InvalidConfig(errors)) = Harness::<Kernel>::start(web(), r#"{"softnet": true}"#) else {
        panic!("the key is unknown");
    };
    assert_eq!(errors[0].key, "softnet");
}

#[test]
fn missing_kernel_features_are_left_out() {
    let mut host = Host::new();
    host.file("/proc/stat", "ctxt 7\nsoftirq 30 10 20\n");
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(sample.render(), "kernel.context_switches_total 7\nkernel.softirqs_total 30\n");
}

#[test]
fn changed_limit_is_read_within_a_minute() {
    let mut kernel = start(web(), "{}");
    kernel.tick().expect("a sample");
    kernel.host().file("/proc/sys/kernel/pid_max", "32768\n");
    let mut at = |seconds| {
        let sample = kernel.tick_after(std::time::Duration::from_secs(seconds)).expect("a sample");
        sample["kernel.pid_max"].clone()
    };
    assert_eq!(at(59), 4_194_304);
    assert_eq!(at(1), 32_768);
}

#[test]
fn zero_conntrack_limit_has_no_percent() {
    let mut host = web();
    host.file("/proc/sys/net/netfilter/nf_conntrack_max", "0\n");
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(sample.get("kernel.conntrack_used_percent"), None);
    assert_eq!(sample.get("kernel.conntrack_entries"), Some(&Value::Natural(65_536)));
}

/// A vendor's kernel prints forks past 2^31 with a sign, and others do so with other counters.
#[test]
fn unreadable_line_costs_only_its_metric() {
    let whole = start(web(), "{}").tick().expect("a sample");
    let stat = std::fs::read_to_string("fixtures/web-1/proc/stat").expect("readable");
    let line_of = |key: &str| stat.lines().find(|line| line.split(' ').next() == Some(key)).expect("a line").to_owned();
    for (key, replaced, lost, why) in [
        ("processes", "processes -2049562273", "forks_total", "-2049562273 is not a number (processes)"),
        ("procs_blocked", "procs_blocked -1", "threads_blocked", "-1 is not a number (procs_blocked)"),
        ("intr", "intr 98446744073709551616 1", "interrupts_total", "98446744073709551616 is not a number (intr)"),
        ("intr", "intr 18446744073709551615", "interrupts_total", "18446744073709551615 is impossible (intr)"),
        ("intr", "intr", "interrupts_total", "missing intr"),
        ("ctxt", "ctxt x", "context_switches_total", "x is not a number (ctxt)"),
        ("softirq", "softirq -3 1 2 3 4 5 6 7 8 9 10", "softirqs_total", "-3 is not a number (softirq)"),
    ] {
        let mut host = web();
        host.file("/proc/stat", stat.replace(&line_of(key), replaced));
        let mut kernel = start(host, "{}");
        for _ in 0..2 {
            let sample = kernel.tick().expect("a sample");
            for (name, value) in &*whole {
                let is_lost = *name == format!("kernel.{lost}");
                let is_vector = key == "softirq" && name.contains("by_vector");
                assert!(is_vector || sample.get(name) == Some(value).filter(|_| !is_lost), "{replaced}: {name}");
            }
        }
        let messages = kernel.host().messages();
        let has_reason =
            messages[0].contains(&format!("without {lost}: /proc/stat line ")) && messages[0].contains(why);
        assert!(messages.len() == 1 && has_reason, "{messages:?}");
    }
}

#[test]
fn odd_vectors_cost_only_themselves() {
    let mut host = web();
    host.file("/proc/stat", "ctxt 7\nsoftirq 100 1 2 3 -4 5 6 7 8 9 10\n");
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(sample["kernel.softirqs_total"], 100);
    assert_eq!(sample.get(r#"kernel.softirqs_by_vector_total{vector="net_rx"}"#), None);
    assert_eq!(sample[r#"kernel.softirqs_by_vector_total{vector="rcu"}"#], 10);
    // Of eleven, nobody knows which is new.
    let mut host = web();
    host.file("/proc/stat", "softirq 100 1 2 3 4 5 6 7 8 9 10 11\n");
    let sample = start(host, "{}").tick().expect("a sample");
    assert!(!sample.keys().any(|key| key.contains("by_vector")) && sample.contains_key("kernel.softirqs_total"));
}

#[test]
fn malformed_kernel_file_costs_its_metrics() {
    for (path, text, lost, why) in [
        ("/proc/stat", "", "context_switches_total", "/proc/stat is truncated: is empty"),
        ("/proc/stat", "cpu 1\n", "forks_total", "/proc/stat is malformed: has none of the lines ctxt, intr and"),
        ("/proc/vmstat", "pgfault -1\n", "page_faults_total", "/proc/vmstat line 1 is malformed: -1 is not a number"),
        ("/proc/loadavg", "0.1 0.2\n", "threads", "/proc/loadavg is truncated: missing the number of threads"),
        ("/proc/loadavg", "0.1 0.2 0.3 4 5\n", "threads", "/proc/loadavg is malformed: 4 is not a number of threads"),
        ("/proc/sys/fs/file-nr", "5 0\n", "files_max", "/proc/sys/fs/file-nr is malformed: has no limit"),
        ("/proc/sys/fs/inode-nr", "5\n", "inodes_free", "/proc/sys/fs/inode-nr is truncated: missing inodes"),
        ("/proc/sys/kernel/pid_max", "", "pid_max", "/proc/sys/kernel/pid_max is truncated: missing value"),
        (SOFTNET, "00000001 00000002\n", "softnet_processed_total", "line 1 is truncated: missing the third column"),
        (
            SOFTNET,
            "0 0 0\n0 zz 0\n",
            "softnet_dropped_total",
            "line 2 is malformed: zz is not a hexadecimal number of 1 digits",
        ),
    ] {
        let mut host = web();
        host.file(path, text);
        let mut kernel = start(host, "{}");
        let sample = kernel.tick().expect("a sample");
        assert_eq!(sample.get(&format!("kernel.{lost}")), None, "{path} {text:?}");
        assert!(sample.contains_key("kernel.entropy_available_bits"));
        assert!(kernel.host().messages().iter().any(|message| message.contains(why)), "{why}");
    }
    // In use is known, although the limit is not.
    let mut host = web();
    host.file("/proc/sys/fs/file-nr", "5 0\n");
    assert_eq!(start(host, "{}").tick().expect("a sample")["kernel.files_allocated"], 5);
}

#[test]
fn kernel_without_any_file_is_an_error() {
    let why = "/proc/stat does not exist".to_owned();
    assert_eq!(start(Host::new(), "{}").tick(), Err(Error::Unavailable(why)));
}

/// RHEL 7 has ten columns, Linux 4.17 eleven, Linux 5.10 thirteen.
#[test]
fn softnet_of_old_kernels_has_fewer_metrics() {
    let mut host = web();
    host.file(SOFTNET, "00029620 00000000 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000007\n");
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(sample["kernel.softnet_processed_total"], 0x29620);
    assert_eq!(sample["kernel.softnet_received_rps_total"], 7);
    assert_eq!((sample.get("kernel.softnet_flow_limit_total"), sample.get("kernel.softnet_backlog")), (None, None));
}

#[test]
fn hung_tasks_are_counted() {
    let mut host = web();
    host.file("/proc/sys/kernel/hung_task_detect_count", "3\n");
    assert_eq!(start(host, "{}").tick().expect("a sample")["kernel.hung_tasks_total"], 3);
}

/// A sandbox of gVisor: zeros, and few files.
#[test]
fn sandbox_is_measured_as_far_as_it_goes() {
    let mut host = Host::new();
    host.file(
        "/proc/stat",
        "cpu  0 0 0 0 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime 1764100000\nprocesses 0\nsoftirq 0 0 0 0\n",
    );
    host.file("/proc/loadavg", "0.00 0.00 0.00 0/0 0\n");
    let mut kernel = start(host, "{}");
    let sample = kernel.tick().expect("a sample");
    assert_eq!(sample["kernel.boot_time_seconds"], 1_764_100_000);
    assert_eq!(sample.get("kernel.threads"), None, "0/0 counts nothing");
    assert!(!kernel.host().messages().iter().any(|message| message.starts_with("WARN")), "nothing to fix");
}

#[test]
fn damaged_file_costs_only_its_metrics() {
    for machine in ["web-1", "db-2"] {
        assert_damage_is_contained::<Kernel>(&Host::from_fixture(&format!("fixtures/{machine}")), "{}", |path| {
            match path {
                "/proc/stat" => &[
                    "interrupts_*",
                    "context_*",
                    "boot_*",
                    "forks_*",
                    "threads_running",
                    "threads_blocked",
                    "softirqs_*",
                ][..],
                "/proc/vmstat" => &["*page*", "swapped*", "oom*"],
                "/proc/sys/fs/file-nr" => &["files_*"],
                "/proc/sys/fs/inode-nr" => &["inodes*"],
                "/proc/loadavg" => &["threads"],
                "/proc/sys/kernel/threads-max" => &["threads_max"],
                "/proc/sys/kernel/pid_max" => &["pid_max"],
                "/proc/sys/kernel/random/poolsize" => &["entropy_pool_bits"],
                "/proc/sys/kernel/random/entropy_avail" => &["entropy_available_bits"],
                "/proc/sys/net/netfilter/nf_conntrack_max" => &["conntrack_max", "conntrack_used_percent"],
                "/proc/sys/net/netfilter/nf_conntrack_count" => &["conntrack_entries", "conntrack_used_percent"],
                SOFTNET => &["softnet_*"],
                _ => &[],
            }
        });
    }
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Kernel>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Kernel>("{}");
}
