//! The plugin on fixture machines: a new kernel, and an old one without software interrupt counts, firewall and some
//! queue columns.

use gauged_plugin::Value;
use gauged_plugin::files;
use gauged_plugin::testing::{Harness, Host, assert_golden, assert_readme_metrics};

use super::*;

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
    assert_eq!(sample.get("kernel.conntrack_entries"), Some(&Value::Unsigned(65_536)));
}

#[test]
fn malformed_kernel_file_is_an_internal_error() {
    for (path, text, why) in [
        ("/proc/stat", "", "/proc/stat: has none of the lines ctxt, intr and processes"),
        ("/proc/stat", "ctxt x\n", "/proc/stat line 1: x is not a number (ctxt)"),
        ("/proc/stat", "intr\n", "/proc/stat line 1: missing intr"),
        ("/proc/vmstat", "pgfault -1\n", "/proc/vmstat line 1: -1 is not a number (pgfault)"),
        ("/proc/loadavg", "0.1 0.2\n", "/proc/loadavg: missing the number of threads"),
        ("/proc/loadavg", "0.1 0.2 0.3 4 5\n", "/proc/loadavg: 4 is not a number of threads"),
        ("/proc/sys/fs/file-nr", "5 0\n", "/proc/sys/fs/file-nr: missing open files"),
        ("/proc/sys/kernel/pid_max", "", "/proc/sys/kernel/pid_max: missing value"),
        (SOFTNET, "00000001 00000002\n", "/proc/1/net/softnet_stat line 1: missing the third column"),
        (SOFTNET, "0 0 0\n0 zz 0\n", "/proc/1/net/softnet_stat line 2: zz is not a hexadecimal number"),
    ] {
        let mut host = web();
        host.file(path, text);
        assert_eq!(start(host, "{}").tick(), Err(Error::Internal(why.to_owned())), "{path} {text:?}");
    }
    let mut host = web();
    host.file_fails("/proc/stat", files::Error::NotFound);
    assert_eq!(start(host, "{}").tick(), Err(Error::Unavailable("/proc/stat does not exist".to_owned())));
}

#[test]
fn readme_lists_the_metrics() {
    assert_readme_metrics::<Kernel>();
}
