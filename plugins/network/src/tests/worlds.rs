//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// A bond whose driver adds years of traffic within a minute, and a card whose packet counter does. Reported in
/// `prometheus/node_exporter#1849` (471 Tbit/s) and strizhechenko/netutils-linux#195. Right: the counters as they are, but no
/// rates that no link carries; they are back at the next tick.
#[test]
fn counters_that_jump_have_no_rates() {
    for (received, sent) in [
        ([1_567_490_476_219_662_000, 70], [500, 5]),
        ([1000, 10], [500, 3_900_000_000_000_000]),
        // In its top bit: a number below zero.
        ([u64::MAX - 7, 70], [500, 5]),
    ] {
        let mut network = start(host([1000, 10], [500, 5]), "{}");
        network.tick().expect("a sample");
        set_counters(network.host(), received, sent);
        let sample = network.tick().expect("a sample");
        let has_rates = |sample: &SampleMap| sample.keys().any(|key| key.contains("receive_bytes_per_second"));
        assert!(!has_rates(&sample), "{received:?} {sent:?}");
        set_counters(network.host(), received.map(|count| count.saturating_add(1)), sent);
        let is_possible = received[0] < 1 << 63;
        assert_eq!(has_rates(&network.tick().expect("a sample")), is_possible, "{received:?} {sent:?}");
    }
}

/// A counter of an interface that fell below zero, which prints as nearly 2^64. Derived from firedancer-io/firedancer#3288, whose
/// network stack counts so. Right: the other counters of the interface, and their rates.
#[test]
fn counter_below_zero_costs_only_itself() {
    let mut network = start(host([1000, 10], [500, 5]), "{}");
    network.tick().expect("a sample");
    let line = format!("eth0:2000 20 0 0 0 0 0 0 {} 15 0 13238092583294635771 0 0 0 0\n", u64::MAX);
    network.host().file("/proc/1/net/dev", format!("{HEADER}{line}"));
    let sample = network.tick().expect("a sample");
    for left_out in ["transmit_bytes_total", "transmit_dropped_total", "transmit_bytes_per_second"] {
        assert_eq!(sample.get(&key(left_out)), None, "{left_out}");
    }
    assert_eq!(sample[&key("transmit_packets_total")], 15);
    assert_eq!(
        ["receive_bytes_per_second", "transmit_packets_per_second"].map(|rate| sample[&key(rate)].clone()),
        [Value::Number(100.0), Value::Number(1.0)]
    );
}

/// Android closes `/proc/net/dev` to apps. Reported in nicolargo/glances#2111 and giampaolo/psutil#2743. Right: an error that
/// names the reason, at each tick, and not a host without interfaces.
#[test]
fn refused_table_is_not_an_empty_one() {
    let mut host = Host::new();
    host.file_fails("/proc/1/net/dev", not_permitted());
    let mut network = start(host, "{}");
    for _ in 0..2 {
        assert_not_permitted(&network.tick(), "/proc/1/net/dev");
    }
}
