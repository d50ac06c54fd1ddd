//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// Linux 5.10: no line `full` for the CPU, which is of 5.13, and no file for interrupts, which is of 6.1. Reported in
/// jamespwilliams/psitop#2, `prometheus/node_exporter#3259` and netdata/netdata#15729. Right: the resources that are there,
/// without a warning. `full` of the CPU is never measured, because Documentation/accounting/psi.rst calls it undefined for a
/// host.
#[test]
fn resources_of_all_kernels_are_measured() {
    let some = "some avg10=0.10 avg60=0.21 avg300=0.25 total=73759571709\n";
    for cpu in [some.to_owned(), some.to_owned() + "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"] {
        let mut host = Host::new();
        host.file("/proc/pressure/cpu", cpu)
            .file("/proc/pressure/memory", file(5, 3))
            .file("/proc/pressure/io", file(9, 7));
        let mut pressure = start(host);
        let sample = pressure.tick().expect("a sample");
        assert_eq!(sample[r#"pressure.some_seconds_total{resource="cpu"}"#], 73_759.571_709);
        assert_eq!(sample.keys().filter(|key| key.starts_with("pressure.full_seconds_total")).count(), 2);
        assert!(!sample.keys().any(|key| key.contains("irq")) && pressure.host().messages().is_empty());
    }
}

/// Android closes the files to apps. Derived from giampaolo/psutil#2195. Right: an error that names the reason, not a kernel
/// without accounting.
#[test]
fn refused_pressure_is_not_absent() {
    let mut host = Host::new();
    for resource in ["cpu", "memory", "io"] {
        host.file_fails(&format!("/proc/pressure/{resource}"), not_permitted());
    }
    let mut pressure = start(host);
    for _ in 0..2 {
        assert_not_permitted(&pressure.tick(), "/proc/pressure/cpu");
    }
}
