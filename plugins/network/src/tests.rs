//! The plugin on fixture machines.

use gauged_plugin::testing::{
    Harness, Host, SampleMap, assert_damage_is_contained_for, assert_golden, assert_line_damage_is_contained,
    assert_lines_are_independent, assert_readme, assert_settings, not_permitted,
};
use gauged_plugin::{Capability, OsError, Value, files};

use super::*;

mod malformed;
mod worlds;

const HEADER: &str = "Inter-|   Receive                                                |  Transmit\n \
    face |bytes    packets errs drop fifo frame compressed multicast|\
    bytes    packets errs drop fifo colls carrier compressed\n";

fn start(host: Host, config: &str) -> Harness<Network> {
    Harness::start(host, config).expect("the configuration is right")
}

/// A host with the interface `eth0` and its bytes and packets in both directions.
fn host(received: [u64; 2], sent: [u64; 2]) -> Host {
    let mut host = Host::new();
    set_counters(&mut host, received, sent);
    host.file("/sys/class/net/eth0/operstate", "up\n").file("/sys/class/net/eth0/speed", "1000\n");
    host
}

fn set_counters(host: &mut Host, [received, packets]: [u64; 2], [sent, sent_packets]: [u64; 2]) {
    let line = format!("eth0:{received} {packets} 0 0 0 0 0 0 {sent} {sent_packets} 0 0 0 0 0 0\n");
    host.file("/proc/1/net/dev", format!("{HEADER}{line}"));
}

fn key(metric: &str) -> String {
    format!("network.{metric}{{device=\"eth0\"}}")
}

/// A server with a bond (one interface disabled), a tunnel and a container; and the same 10 s later with a recreated
/// tunnel.
#[test]
fn server_matches_its_golden_files() {
    let mut host = Host::from_fixture("fixtures/web-1");
    let off = files::Error::Io(OsError::new("EINVAL", "Invalid argument"));
    host.file_fails("/sys/class/net/eno2/speed", off);
    let mut network = start(host, "{}");
    let first = network.tick().expect("a sample");
    assert!(!first.keys().any(|key| key.contains("utilisation") || key.contains("veth")), "{first:?}");
    assert_golden("fixtures/web-1/expected", &first.render());

    let later = std::fs::read_to_string("fixtures/web-1-later/proc/1/net/dev").expect("readable");
    network.host().file("/proc/1/net/dev", later);
    network.allow_counter_reset();
    assert_golden("fixtures/web-1-later/expected", &network.tick().expect("a sample").render());
}

/// Linux 2.6.32: no space after the colon, a driver without a state, a 16-bit speed, and a counter below zero.
#[test]
fn old_server_matches_its_golden_file() {
    let sample = start(Host::from_fixture("fixtures/old-db"), "{}").tick().expect("a sample");
    assert_golden("fixtures/old-db/expected", &sample.render());
}

#[test]
fn settings_select_interfaces() {
    let chosen = |config| {
        let sample = start(Host::from_fixture("fixtures/web-1"), config).tick().expect("a sample");
        let prefix = "network.receive_bytes_total{device=\"";
        let devices = sample.keys().filter_map(|key| key.strip_prefix(prefix)?.strip_suffix("\"}").map(str::to_owned));
        devices.collect::<Vec<_>>()
    };
    assert_eq!(chosen(r#"{"interfaces": {"include": ["e*", "veth*"], "exclude": ["eno2"]}}"#), ["eno1", "veth1c0de42"]);
    assert_eq!(chosen(r#"{"interfaces": {}}"#).len(), 7);
    let Err(Error::InvalidConfig(errors)) = Harness::<Network>::start(Host::new(), r#"{"iface": {}}"#) else {
        panic!("the key is unknown");
    };
    assert_eq!(errors[0].message, "unknown key; remove it, or use one of interfaces");
}

#[test]
fn recreated_interface_restarts_rates() {
    let mut network = start(host([1000, 10], [500, 5]), "{}");
    assert_eq!(network.tick().expect("a sample").get(&key("receive_bytes_per_second")), None);

    set_counters(network.host(), [1000 + 625_000_000, 110], [500 + 125_000_000, 25]);
    let sample = network.tick().expect("a sample");
    assert_eq!(sample[&key("receive_bytes_per_second")], 62_500_000.0);
    assert_eq!(sample[&key("transmit_packets_per_second")], 2.0);
    assert_eq!(sample[&key("receive_utilisation_percent")], 50.0);
    assert_eq!(sample[&key("transmit_utilisation_percent")], 10.0);

    // Removed and recreated within a tick.
    set_counters(network.host(), [0, 0], [500 + 125_000_000, 25]);
    network.allow_counter_reset();
    let sample = network.tick().expect("a sample");
    assert_eq!((sample.get(&key("receive_bytes_per_second")), &sample[&key("up")]), (None, &Value::Boolean(true)));

    network.host().file("/proc/1/net/dev", HEADER);
    assert!(network.tick().expect("no interfaces").is_empty());
}

#[test]
fn operstate_decides_up_and_carrier() {
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
fn speed_is_cached_until_the_link_changes() {
    let mut network = start(host([1, 1], [1, 1]), "{}");
    let mut speed = |state: &str, mbits: u64| {
        network.host().file("/sys/class/net/eth0/operstate", format!("{state}\n"));
        network.host().file("/sys/class/net/eth0/speed", format!("{mbits}\n"));
        let sample = network.tick().expect("a sample");
        sample.get(&key("speed_bytes_per_second")).cloned()
    };
    let mbits = |mbits: u64| Some(Value::Natural(mbits * 125_000));
    assert_eq!(speed("up", 1000), mbits(1000));
    assert_eq!(speed("up", 100), mbits(1000), "cached");
    assert_eq!(speed("down", 10), mbits(10));
    assert_eq!(speed("up", 100), mbits(100));
    let later: Vec<_> = (0..6).map(|_| speed("up", 1000)).collect();
    assert_eq!(later[4..], [mbits(100), mbits(1000)]);
}

/// `/sys` belongs to the agent's container, and `/proc/1` to the host.
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
fn denied_links_are_left_out() {
    let mut closed = host([1, 1], [1, 1]);
    closed.deny(&Capability::read("/sys/class/net"));
    assert_eq!(start(closed, "{}").tick().expect("a sample").len(), 16);

    let mut refused = host([1, 1], [1, 1]);
    refused.file_fails("/sys/class/net", not_permitted());
    let mut refused = start(refused, "{}");
    for _ in 0..2 {
        assert_eq!(refused.tick().expect("a sample").get(&key("up")), None);
    }
    let messages = refused.host().messages();
    assert!(messages.len() == 1 && messages[0].starts_with("WARN without the links of interfaces: "), "{messages:?}");
}

#[test]
fn invalid_speeds_are_left_out() {
    for (text, speed) in [("1000", Some(125_000_000_u64)), ("800000", Some(100_000_000_000)), ("10", Some(1_250_000))] {
        let mut host = host([1, 1], [1, 1]);
        host.file("/sys/class/net/eth0/speed", format!("{text}\n"));
        let sample = start(host, "{}").tick().expect("a sample");
        assert_eq!(sample.get(&key("speed_bytes_per_second")).cloned(), speed.map(Value::Natural), "{text}");
    }
    for text in ["-1", "0", "65535", "4294967295", "", "fast"] {
        let mut host = host([1, 1], [1, 1]);
        host.file("/sys/class/net/eth0/speed", format!("{text}\n"));
        let sample = start(host, "{}").tick().expect("a sample");
        assert_eq!(sample.get(&key("speed_bytes_per_second")), None, "{text}");
    }
}

#[test]
fn unknown_header_is_an_error() {
    let short = HEADER.replace("packets errs drop fifo colls", "errs drop fifo colls");
    for (text, why) in [
        ("Inter-|\neth0: 1 2 3\n".to_owned(), " line 2: has no column receive bytes"),
        (short, " line 2: has no column transmit packets"),
    ] {
        let mut host = Host::new();
        host.file("/proc/1/net/dev", text.clone());
        assert_eq!(start(host, "{}").tick(), Err(Error::Failed(format!("/proc/1/net/dev{why}"))), "{text}");
    }
    for text in ["", "Inter-|\n"] {
        let mut host = Host::new();
        host.file("/proc/1/net/dev", text);
        assert!(matches!(start(host, "{}").tick(), Err(Error::Failed(_))), "{text}");
    }
    assert!(matches!(start(Host::new(), "{}").tick(), Err(Error::Unavailable(_))));
}

/// Linux 2.6.32 and 3.10: aliases, in which the last colon touches the number.
#[test]
fn alias_is_an_interface_of_its_own() {
    let mut host = Host::new();
    let names = ["lo:", "ibr10:30:", "ibr10:", "tun10001:1:", "eth0:1:"];
    let line = |(at, name): (usize, &&str)| format!("{name}{} 2 0 0 0 0 0 0 {at} 4 0 15 0 0 0 0\n", 4_046_496_815 + at);
    host.file("/proc/1/net/dev", HEADER.to_owned() + &names.iter().enumerate().map(line).collect::<String>());
    let sample = start(host, "{}").tick().expect("a sample");
    for (at, name) in names.iter().enumerate() {
        let name = name.strip_suffix(':').expect("a colon");
        let key = |metric: &str| format!("network.{metric}{{device=\"{name}\"}}");
        assert_eq!(sample[&key("receive_bytes_total")], 4_046_496_815 + at as u64);
        assert_eq!(sample[&key("transmit_dropped_total")], 15);
    }
}

#[test]
fn unreadable_line_costs_only_its_interface() {
    let healthy = "eth1: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n";
    for (line, why) in [
        ("eth0: 1 2 3\n", "line 3 is truncated: has fewer than 16 columns"),
        ("eth0 1 2 3\n", "line 3 is malformed: has no colon"),
        (": 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n", "is not the name of an interface"),
        ("eth0: 1 2 0 0 0 0 0 0 -3 4 0 0 0 0 0 0\n", "without transmit_bytes_total of eth0: "),
    ] {
        let mut host = Host::new();
        host.file("/proc/1/net/dev", format!("{HEADER}{line}{healthy}{healthy}"));
        let mut network = start(host, "{}");
        let sample = network.tick().expect("a sample");
        assert_eq!(sample[r#"network.receive_bytes_total{device="eth1"}"#], 1);
        assert_eq!(sample.get(&key("transmit_bytes_total")), None, "{line}");
        assert_eq!(sample.get(&key("receive_bytes_total")).is_some(), line.contains("-3"), "{line}");
        assert!(network.host().messages()[0].contains(why), "{:?}: {why}", network.host().messages());
    }
}

/// A driver that is reset reports zeros for a tick; another has counters of 32 bits.
#[test]
fn counters_that_dip_have_no_rate() {
    let mut network = start(host([398_444_176_031, 0], [4_258_368_365, 0]), "{}");
    network.tick().expect("a sample");
    let rates = |network: &mut Harness<Network>, received: u64, sent: u64| {
        network.allow_counter_reset();
        set_counters(network.host(), [received, 0], [sent, 0]);
        let sample = network.tick().expect("a sample");
        ["receive_bytes_per_second", "transmit_bytes_per_second"].map(|metric| sample.get(&key(metric)).cloned())
    };
    assert_eq!(rates(&mut network, 0, 44_815_312), [None, None]);
    assert_eq!(rates(&mut network, 398_445_176_031, 45_815_312), [None, None]);
    assert_eq!(rates(&mut network, 398_446_176_031, 46_815_312), [100_000.0; 2].map(|rate| Some(Value::Number(rate))));
    // A jump without a fall before: 10 Gbit in each of 10 s on a link of 1 Gbit/s is possible for a virtual one, not a hundred.
    assert_eq!(rates(&mut network, 398_446_176_031 + 125_000_000_000, 46_815_312), [None, None]);
}

#[test]
fn carrier_changes_are_counted() {
    let mut host = host([1, 1], [1, 1]);
    host.file("/sys/class/net/eth0/carrier_changes", "4\n");
    let mut network = start(host, "{}");
    assert_eq!(network.tick().expect("a sample")[&key("carrier_changes_total")], 4);
    network.host().file("/sys/class/net/eth0/carrier_changes", "6\n");
    assert_eq!(network.tick().expect("a sample")[&key("carrier_changes_total")], 6, "lost and back within a tick");
}

#[test]
fn names_that_are_not_utf_8_stay_apart() {
    let mut host = Host::new();
    let mut text = HEADER.as_bytes().to_vec();
    for name in [b"caf\xe9", b"caf\xe8"] {
        text.extend([&name[..], b": 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n"].concat());
    }
    host.file("/proc/1/net/dev", text);
    assert_eq!(start(host, "{}").tick().expect("a sample").len(), 32);
}

#[test]
fn damaged_file_costs_only_its_metrics() {
    for machine in ["web-1", "old-db"] {
        let host = Host::from_fixture(&format!("fixtures/{machine}"));
        assert_lines_are_independent::<Network>(&without_links(&host), "{}", "/proc/1/net/dev", 2);
        assert_line_damage_is_contained::<Network>(
            &without_links(&host),
            "{}",
            "/proc/1/net/dev",
            2,
            interface_metrics,
        );
        assert_damage_is_contained_for::<Network, _>(&host, "{}", |path| {
            let mut parts = path.rsplit('/');
            let (file, interface) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let metrics = match file {
                "operstate" => &["up", "carrier", "mtu_bytes", "speed_bytes_per_second"][..],
                "flags" => &["carrier"],
                "mtu" => &["mtu_bytes"],
                "speed" => &["speed_bytes_per_second"],
                "dev" => return vec!["*".to_owned()],
                _ => &[],
            };
            metrics.iter().map(|metric| format!("{metric}{{device=\"{interface}\"}}")).collect()
        });
    }
}

/// The metrics of the interface in a line.
fn interface_metrics(line: &str) -> Vec<String> {
    let (name, _) = line.rsplit_once(':').expect("a colon");
    vec![format!("*{{device=\"{}\"}}", name.trim())]
}

/// A line that is no interface may be any, so that the links of the others stay.
#[test]
fn garbled_line_costs_no_links_of_others() {
    let host = Host::from_fixture("fixtures/web-1");
    let mut plugin = start(host.clone(), "{}");
    let whole = plugin.tick().expect("a sample");
    let text = String::from_utf8(std::fs::read("fixtures/web-1/proc/1/net/dev").expect("readable")).expect("text");
    for line in text.lines().skip(2) {
        let (name, _) = line.split_once(':').expect("a colon");
        let damaged = [name.to_owned(), format!("{name}: 1 2"), "\u{ff}\0 :: x=y -1".to_owned(), format!("{name} : 1")];
        for damaged in damaged {
            plugin.host().file("/proc/1/net/dev", text.replace(line, &damaged));
            plugin.allow_counter_reset();
            let sample = plugin.tick().expect("a sample");
            let is_own = |key: &str| key.contains(&format!("device=\"{}\"", name.trim()));
            for (key, value) in whole.iter().filter(|(key, _)| !is_own(key)) {
                assert_eq!(sample.get(key), Some(value), "{damaged:?}: {key}");
            }
        }
    }
}

/// Without an interface the links are not used, since they may be of another namespace.
fn without_links(host: &Host) -> Host {
    let mut host = host.clone();
    host.file_fails("/sys/class/net", files::Error::NotFound);
    host
}

#[test]
fn columns_are_found_by_name() {
    let mut host = Host::new();
    let text = "Inter-| Receive | Transmit\n face |later packets bytes|packets bytes more\neth0: 1 2 3 4 5 6\n";
    host.file("/proc/1/net/dev", text);
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(sample.len(), 4);
    assert_eq!(sample[&key("receive_bytes_total")], 3_u64);
    assert_eq!(sample[&key("transmit_packets_total")], 4_u64);
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Network>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Network>("{}");
}
