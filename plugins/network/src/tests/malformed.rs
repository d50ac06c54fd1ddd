//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

/// RHEL 7 with an alias, and a name that is not UTF-8, which no listing has.
/// Right: the links of all interfaces that have one.
#[test]
fn odd_names_cost_no_links() {
    let healthy = "wan: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n";
    for (odd, own) in [
        (&b"wan:1: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n"[..], None),
        (b"caf\xe9: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n", None),
        // Lines that are not understood may be any interface.
        (b"lan\xff 1 2 0 0\n", Some("lan")),
        (b"lan: 1 2 3\n", Some("lan")),
        (b"\xff\x00 :: x=y -1\n", Some("lan")),
    ] {
        let mut host = Host::new();
        host.file("/proc/1/net/dev", [HEADER.as_bytes(), odd, healthy.as_bytes()].concat());
        for name in ["wan"].into_iter().chain(own) {
            host.file(&format!("/sys/class/net/{name}/operstate"), "up\n");
            host.file(&format!("/sys/class/net/{name}/mtu"), "1500\n");
        }
        let mut network = start(host, "{}");
        for _ in 0..2 {
            let sample = network.tick().expect("a sample");
            let name = String::from_utf8_lossy(odd);
            assert_eq!(sample[r#"network.up{device="wan"}"#], true, "{name}");
            assert_eq!(sample[r#"network.mtu_bytes{device="wan"}"#], 1500, "{name}");
        }
    }
}

/// The difference of two network namespaces is reported, once it is no interface that was just added.
#[test]
fn links_of_another_namespace_are_reported() {
    let mut other = host([1, 1], [1, 1]);
    other.file("/sys/class/net/eth7/operstate", "up\n");
    let mut network = start(other, "{}");
    network.tick().expect("a sample");
    assert!(network.host().messages().is_empty());
    network.tick().expect("a sample");
    let why = "WARN without the links of interfaces: /sys/class/net is malformed: has other interfaces than /proc/1/net/dev, such as \
               eth7; mount the host's /sys for the agent";
    assert_eq!(network.host().messages(), [why]);
}

/// A driver that writes another word. Right: without that attribute, and a report of it.
#[test]
fn odd_attribute_is_reported() {
    let mut host = host([1, 1], [1, 1]);
    host.file("/sys/class/net/eth0/mtu", "large\n").file("/sys/class/net/eth0/speed", "-1\n");
    let mut network = start(host, "{}");
    let sample = network.tick().expect("a sample");
    assert_eq!((sample.get(&key("mtu_bytes")), &sample[&key("up")]), (None, &Value::Boolean(true)));
    let why = "WARN without mtu of eth0: /sys/class/net/eth0/mtu is malformed: large is not a number (mtu)";
    assert_eq!(network.host().messages(), [why]);
}

/// A packet counter that moves further within a tick than any interface carries. Right: no rates.
#[test]
fn packets_that_jump_have_no_rates() {
    let mut network = start(host([1000, 10], [500, 5]), "{}");
    network.host().file_fails("/sys/class/net/eth0/speed", files::Error::NotFound);
    network.tick().expect("a sample");
    set_counters(network.host(), [1000, 10 + 200_000_000_000], [500, 5]);
    assert!(!network.tick().expect("a sample").contains_key(&key("receive_packets_per_second")));
}
