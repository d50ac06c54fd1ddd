//! The plugin on fixture machines.

use gauged_plugin::testing::{Host, Running, hold_file, hold_readme};
use gauged_plugin::{Capability, Value, files};

use super::*;

const HEADING: &str = "Inter-|   Receive                                                |  Transmit\n \
    face |bytes    packets errs drop fifo frame compressed multicast|\
    bytes    packets errs drop fifo colls carrier compressed\n";

fn start(host: Host, config: &str) -> Running<Network> {
    Running::start(host, config).expect("the configuration is right")
}

/// A host with the interface `eth0`, which has carried so many bytes and packets in either direction.
fn host(received: [u64; 2], sent: [u64; 2]) -> Host {
    let mut host = Host::new();
    carried(&mut host, received, sent);
    host.file("/sys/class/net/eth0/operstate", "up\n").file("/sys/class/net/eth0/speed", "1000\n");
    host
}

fn carried(host: &mut Host, [received, packets]: [u64; 2], [sent, sent_packets]: [u64; 2]) {
    let line = format!("eth0:{received} {packets} 0 0 0 0 0 0 {sent} {sent_packets} 0 0 0 0 0 0\n");
    host.file("/proc/1/net/dev", format!("{HEADING}{line}"));
}

fn key(metric: &str) -> String {
    format!("network.{metric}{{device=\"eth0\"}}")
}

/// A server with a bond of which one interface is off, a tunnel and a container; and the same 10 s later, when the tunnel
/// was set up anew.
#[test]
fn a_server_is_as_its_fixture_says() {
    let mut host = Host::at("fixtures/web-1");
    let off = files::Error::Io("Invalid argument (os error 22)".to_owned());
    host.file_fails("/sys/class/net/eno2/speed", off);
    let mut network = start(host, "{}");
    let first = network.tick().expect("a sample");
    assert!(!first.keys().any(|key| key.contains("utilisation") || key.contains("veth")), "{first:?}");
    hold_file("fixtures/web-1/expected", &first.render());

    let later = std::fs::read_to_string("fixtures/web-1-later/proc/1/net/dev").expect("readable");
    network.host().file("/proc/1/net/dev", later);
    network.restarted();
    hold_file("fixtures/web-1-later/expected", &network.tick().expect("a sample").render());
}

/// Linux 2.6.32: no space after the colon, a driver that does not tell its state, a speed of 16 bits, and a counter that is
/// nearly full.
#[test]
fn an_old_server_is_as_its_fixture_says() {
    let sample = start(Host::at("fixtures/old-db"), "{}").tick().expect("a sample");
    hold_file("fixtures/old-db/expected", &sample.render());
}

#[test]
fn settings_choose() {
    let chosen = |config| {
        let sample = start(Host::at("fixtures/web-1"), config).tick().expect("a sample");
        let prefix = "network.receive_bytes_total{device=\"";
        let devices = sample.keys().filter_map(|key| key.strip_prefix(prefix)?.strip_suffix("\"}").map(str::to_owned));
        devices.collect::<Vec<_>>()
    };
    assert_eq!(chosen(r#"{"interfaces": {"include": ["e*", "veth*"], "exclude": ["eno2"]}}"#), ["eno1", "veth1c0de42"]);
    assert_eq!(chosen(r#"{"interfaces": {}}"#).len(), 7);
    let Err(Error::InvalidConfig(errors)) = Running::<Network>::start(Host::new(), r#"{"iface": {}}"#) else {
        panic!("it has no such key");
    };
    assert_eq!(errors[0].message, "unknown key; remove it, or use one of interfaces");
}

#[test]
fn rates_begin_anew_with_the_interface() {
    let mut network = start(host([1000, 10], [500, 5]), "{}");
    assert_eq!(network.tick().expect("a sample").get(&key("receive_bytes_per_second")), None);

    carried(network.host(), [1000 + 625_000_000, 110], [500 + 125_000_000, 25]);
    let sample = network.tick().expect("a sample");
    assert_eq!(sample[&key("receive_bytes_per_second")], 62_500_000.0);
    assert_eq!(sample[&key("transmit_packets_per_second")], 2.0);
    assert_eq!(sample[&key("receive_utilisation_percent")], 50.0);
    assert_eq!(sample[&key("transmit_utilisation_percent")], 10.0);

    // Taken away and put back within a tick.
    carried(network.host(), [0, 0], [500 + 125_000_000, 25]);
    network.restarted();
    let sample = network.tick().expect("a sample");
    assert_eq!((sample.get(&key("receive_bytes_per_second")), &sample[&key("up")]), (None, &Value::Boolean(true)));

    network.host().file("/proc/1/net/dev", HEADING);
    assert!(network.tick().expect("no interfaces").is_empty());
}

#[test]
fn a_link_is_as_the_kernel_says() {
    let (yes, no) = (Some(Value::Boolean(true)), Some(Value::Boolean(false)));
    for (state, flags, up, carrier) in [
        ("up", "0x1003", &yes, &yes),
        ("unknown", "0x9", &yes, &yes),
        ("dormant", "0x1003", &no, &yes),
        ("lowerlayerdown", "0x1003", &no, &no),
        ("down", "0x1003", &no, &no),
        ("down", "0x1002", &no, &None),
        ("notpresent", "nonsense", &no, &None),
    ] {
        let mut host = host([1, 1], [1, 1]);
        host.file("/sys/class/net/eth0/operstate", format!("{state}\n"));
        host.file("/sys/class/net/eth0/flags", format!("{flags}\n"));
        let sample = start(host, "{}").tick().expect("a sample");
        let (is_up, has_carrier) = (sample.get(&key("up")), sample.get(&key("carrier")));
        assert_eq!((is_up, has_carrier), (up.as_ref(), carrier.as_ref()), "{state} {flags}");
    }
}

#[test]
fn speed_is_asked_for_when_the_link_changes_and_once_a_minute() {
    let mut network = start(host([1, 1], [1, 1]), "{}");
    let mut speed = |state: &str, mbits: u64| {
        network.host().file("/sys/class/net/eth0/operstate", format!("{state}\n"));
        network.host().file("/sys/class/net/eth0/speed", format!("{mbits}\n"));
        let sample = network.tick().expect("a sample");
        sample.get(&key("speed_bytes_per_second")).cloned()
    };
    let mbits = |mbits: u64| Some(Value::Unsigned(mbits * 125_000));
    assert_eq!(speed("up", 1000), mbits(1000));
    assert_eq!(speed("up", 100), mbits(1000), "the driver was not asked");
    assert_eq!(speed("down", 10), mbits(10));
    assert_eq!(speed("up", 100), mbits(100));
    let later: Vec<_> = (0..6).map(|_| speed("up", 1000)).collect();
    assert_eq!(later[4..], [mbits(100), mbits(1000)]);
}

/// `/sys` is of the agent's container, and `/proc/1` of the host.
#[test]
fn links_of_another_namespace_are_left_out() {
    let mut other = host([1, 1], [1, 1]);
    other.file("/sys/class/net/lo/operstate", "unknown\n");
    let sample = start(other, "{}").tick().expect("a sample");
    assert_eq!((sample.get(&key("up")), sample.len()), (None, 16));

    let mut unmounted = host([1, 1], [1, 1]);
    unmounted.file_fails("/sys/class/net", files::Error::NotFound);
    let sample = start(unmounted, "{}").tick().expect("a sample");
    assert_eq!((sample.get(&key("up")), sample.len()), (None, 16));
}

#[test]
fn links_that_may_not_be_read_are_left_out() {
    let mut closed = host([1, 1], [1, 1]);
    closed.deny(&Capability::Read("/sys/class/net".to_owned()));
    assert_eq!(start(closed, "{}").tick().expect("a sample").len(), 16);
}

#[test]
fn speeds_that_mean_none_are_none() {
    for (text, speed) in [("1000", Some(125_000_000_u64)), ("800000", Some(100_000_000_000)), ("10", Some(1_250_000))] {
        let mut host = host([1, 1], [1, 1]);
        host.file("/sys/class/net/eth0/speed", format!("{text}\n"));
        let sample = start(host, "{}").tick().expect("a sample");
        assert_eq!(sample.get(&key("speed_bytes_per_second")).cloned(), speed.map(Value::Unsigned), "{text}");
    }
    for text in ["-1", "0", "65535", "4294967295", "", "fast"] {
        let mut host = host([1, 1], [1, 1]);
        host.file("/sys/class/net/eth0/speed", format!("{text}\n"));
        let sample = start(host, "{}").tick().expect("a sample");
        assert_eq!(sample.get(&key("speed_bytes_per_second")), None, "{text}");
    }
}

#[test]
fn what_is_no_table_is_told() {
    let short = HEADING.replace("packets errs drop fifo colls", "errs drop fifo colls");
    for (text, why) in [
        (String::new(), ": has no heading"),
        ("Inter-|\neth0: 1 2 3\n".to_owned(), " line 2: has no column receive bytes"),
        (short, " line 2: has no column transmit packets"),
        (format!("{HEADING}eth0: 1 2 3\n"), " line 3: ends before receive drop"),
        (format!("{HEADING}eth0: 1 2 3 4 5 6 7 8 9 x\n"), " line 3: x is not a number (transmit packets)"),
    ] {
        let mut host = Host::new();
        host.file("/proc/1/net/dev", text.clone());
        assert_eq!(start(host, "{}").tick(), Err(Error::Internal(format!("/proc/1/net/dev{why}"))), "{text}");
    }
    assert!(matches!(start(Host::new(), "{}").tick(), Err(Error::Unavailable(_))));
}

#[test]
fn columns_go_by_their_names() {
    let mut host = Host::new();
    let text = "Inter-| Receive | Transmit\n face |later packets bytes|packets bytes more\neth0: 1 2 3 4 5 6\n";
    host.file("/proc/1/net/dev", text);
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(sample.len(), 4);
    assert_eq!(sample[&key("receive_bytes_total")], 3_u64);
    assert_eq!(sample[&key("transmit_packets_total")], 4_u64);
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Network>();
}
