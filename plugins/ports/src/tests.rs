//! The plugin on fixture machines.

use gauged_plugin::testing::{
    Harness, Host, assert_damage_is_contained, assert_golden, assert_readme, assert_settings, expect,
};
use gauged_plugin::{PermissionError, Value};

use super::*;

/// All forms of a port.
const WEB: &str =
    r#"{"listen": [22, "80", "tcp6:80", "tcp:443", "tcp6:443", 5432, 6379, "udp:53", "udp:546", "udp6:53"]}"#;

fn start(host: Host, config: &str) -> Harness<Ports> {
    Harness::start(host, config).expect("the configuration is right")
}

#[test]
fn server_matches_its_golden_file() {
    let sample = start(Host::from_fixture("fixtures/web-1"), WEB).tick().expect("a sample");
    assert_golden("fixtures/web-1/expected", &sample.render());
}

#[test]
fn kernel_without_ipv6_matches_its_golden_file() {
    let sample =
        start(Host::from_fixture("fixtures/old-1"), r#"{"listen": [22, 80, 3306, "udp:111", "udp6:111"]}"#).tick();
    assert_golden("fixtures/old-1/expected", &sample.expect("a sample").render());
}

/// The listening sockets in the file of a table, as the kernel lists them.
fn listed(host: &str, table: SocketTable) -> Vec<system::Listener> {
    let file = std::fs::read_to_string(format!("{host}{}", table.path())).unwrap_or_default();
    let number = |text: &str| u32::from_str_radix(text, 16).expect("a number");
    let listener = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, port) = columns[1].split_once(':').expect("a port");
        let (_, queued) = columns[4].split_once(':').expect("two queues");
        let is_listening = columns[3] == if is_tcp(table) { "0A" } else { "07" };
        is_listening.then(|| system::Listener {
            address: String::new(),
            port: u16::try_from(number(port)).expect("a port"),
            device: 0,
            queued: number(queued),
            queue_limit: None,
            user: 0,
            inode: 0,
        })
    };
    file.lines().skip(1).filter_map(listener).collect()
}

#[test]
fn query_has_the_results_of_the_files() {
    let read = start(Host::from_fixture("fixtures/web-1"), WEB).tick().expect("a sample");
    let mut host = Host::new();
    for table in SocketTable::ALL {
        let sockets = listed("fixtures/web-1", table);
        assert!(!sockets.is_empty(), "{table:?}");
        host.listeners(table, sockets);
    }
    let queried = start(host, WEB).tick().expect("a sample");
    assert_eq!(queried.render(), read.render());
}

#[test]
fn incomplete_list_is_read_from_the_file() {
    let mut host = Host::from_fixture("fixtures/web-1");
    let read = start(host.clone(), WEB).tick().expect("a sample");
    for table in SocketTable::ALL {
        host.sockets_fail(table, system::Error::Timeout);
    }
    assert_eq!(start(host, WEB).tick().expect("a sample").render(), read.render());
}

#[test]
fn stopped_service_is_not_listening() {
    let mut ports = start(Host::from_fixture("fixtures/web-1"), r#"{"listen": ["tcp6:443"]}"#);
    let key = r#"ports.listening{port="443",protocol="tcp6"}"#;
    assert_eq!(ports.tick().expect("a sample")[key], true);
    let header = "  sl  local_address  remote_address  st tx_queue rx_queue\n";
    ports.host().file("/proc/1/net/tcp6", header);
    let sample = ports.tick().expect("a sample");
    assert_eq!(sample[key], false);
    assert_eq!(sample.get(r#"ports.accept_queue{port="443",protocol="tcp6"}"#), None);
}

#[test]
fn unreadable_table_leaves_its_ports_out() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.file_fails("/proc/1/net/tcp", files::Error::Timeout);
    let mut ports = start(host, r#"{"listen": [22, 80, "tcp6:443", "udp:53"]}"#);
    let sample = ports.tick().expect("a sample");
    // Port 22 is in the other table as well; the state of port 80 is unknown.
    expect![[r#"
        ports.accept_queue{port="443",protocol="tcp6"} 0
        ports.listening{port="22",protocol="tcp"} true
        ports.listening{port="443",protocol="tcp6"} true
        ports.listening{port="53",protocol="udp"} true
        ports.table_error{table="tcp"} true
        ports.table_error{table="tcp6"} false
        ports.table_error{table="udp"} false
        ports.table_error{table="udp6"} false
    "#]]
    .assert_eq(&sample.render());
    ports.tick().expect("a sample");
    let why = "/proc/1/net/tcp is truncated: did not respond in time";
    assert_eq!(ports.host().messages(), [format!("WARN without {LOST}: {why}")], "one warning");
    ports.host().file("/proc/1/net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue\n");
    assert_eq!(ports.tick().expect("a sample")[r#"ports.listening{port="80",protocol="tcp"}"#], false);
}

#[test]
fn long_table_is_read_as_far_as_needed() {
    // A hundred thousand connections, and nothing after the first pieces is looked at: the last line is none.
    let row = |at| format!("{at:4}: 0A00020F:01BB 0B000000:{at:05X} 01 0:0 0 0 0 0 0 1\n");
    let rows = (0..100_000).map(row).collect::<Vec<_>>().concat();
    let table =
        format!("  sl  local_address rem_address   st\n   0: 00000000:01BB 00000000:0000 0A 0:0\n{rows}nonsense");
    assert!(table.len() > 4 << 20, "longer than what is read at a time");
    let mut host = Host::new();
    host.file("/proc/1/net/tcp", table).file("/proc/1/net/tcp6", "  sl  local_address\n");
    let mut ports = start(host, r#"{"listen": [443, 80]}"#);
    let sample = ports.tick().expect("a sample");
    assert_eq!(sample[r#"ports.listening{port="443",protocol="tcp"}"#], true);
    assert_eq!(sample[r#"ports.listening{port="80",protocol="tcp"}"#], false);
    assert!(ports.host().messages().is_empty());
}

#[test]
fn missing_grant_is_named() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.deny(&gauged_plugin::Capability::read("/proc/1/net/*"));
    let error = start(host, r#"{"listen": [80]}"#).tick();
    assert_eq!(error, Err(Error::Denied(Need::read("/proc/1/net/tcp", "find listening ports"))));
    let needs = |config| start(Host::new(), config).needs().len();
    assert_eq!((needs(r#"{"listen": [80]}"#), needs(r#"{"listen": ["udp6:53"]}"#), needs(WEB)), (2, 1, 4));
}

#[test]
fn invalid_settings_name_their_key() {
    for (config, key, message) in [
        ("{}", "listen", "lists no ports; list the ports to watch, such as [80, \"udp:53\"]"),
        (r#"{"listen": []}"#, "listen", "lists no ports; list the ports to watch, such as [80, \"udp:53\"]"),
        (r#"{"listen": [80, 443, "tcp:80"]}"#, "listen[2]", "tcp:80 is listed twice; remove one"),
        (r#"{"listen": [80], "port": 1}"#, "port", "unknown key; remove it, or use one of listen"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Harness::<Ports>::start(Host::new(), config) else {
            panic!("{config}")
        };
        assert_eq!((&*errors[0].key, &*errors[0].message), (key, message), "{config}");
    }
    for port in ["0", "65536", "-1", "80.5", "\"http\"", "\"sctp:80\"", "\"tcp:+80\"", "\"tcp:\"", "\"\"", "[80]"] {
        let config = format!("{{\"listen\": [22, {port}]}}");
        let Err(Error::InvalidConfig(errors)) = Harness::<Ports>::start(Host::new(), &config) else { panic!("{port}") };
        assert_eq!(errors[0].key, "listen[1]");
        assert!(errors[0].message.contains("expected a port from 1 to 65535, or a text"), "{}", errors[0].message);
    }
}

#[test]
fn malformed_line_leaves_missing_ports_out() {
    let header = "  sl  local_address rem_address   st tx_queue rx_queue\n";
    for (text, why) in [
        (String::new(), " is truncated: is empty"),
        (
            format!("{header}   0: 00000000:01BB 00000000:0000 0A 0:0\n   1: 0000\n"),
            " line 3 is malformed: missing the state",
        ),
    ] {
        let mut host = Host::new();
        host.file("/proc/1/net/tcp", text).file("/proc/1/net/tcp6", header);
        let mut ports = start(host, r#"{"listen": [443, 80]}"#);
        let sample = ports.tick().expect("a sample");
        assert_eq!(sample.get(r#"ports.listening{port="80",protocol="tcp"}"#), None, "{why}");
        assert_eq!(sample.get(r#"ports.listening{port="443",protocol="tcp"}"#).is_some(), !why.contains("empty"));
        assert_eq!(sample[r#"ports.table_error{table="tcp"}"#], true);
        let message = &ports.host().messages()[0];
        assert_eq!(*message, format!("WARN without {LOST}: /proc/1/net/tcp{why}"));
    }
}

#[test]
fn malformed_queue_leaves_only_the_queue_out() {
    let mut host = Host::new();
    host.file("/proc/1/net/tcp6", "  sl  local_address\n   0: 0:50 0:0 0A x\n   1: 0:50 0:0 0A 0:1\n");
    let sample = start(host, r#"{"listen": ["tcp6:80"]}"#).tick().expect("a sample");
    assert_eq!(sample[r#"ports.listening{port="80",protocol="tcp6"}"#], true);
    assert_eq!(sample.get(r#"ports.accept_queue{port="80",protocol="tcp6"}"#), None);
}

#[test]
fn damaged_table_costs_only_its_ports() {
    for (machine, config) in [("web-1", WEB), ("old-1", r#"{"listen": [22, 80, 3306, "udp:111", "udp6:111"]}"#)] {
        let host = Host::from_fixture(&format!("fixtures/{machine}"));
        assert_damage_is_contained::<Ports>(&host, config, |path| match path {
            // A port of TCP may be in either table.
            "/proc/1/net/tcp" => &["*protocol=\"tcp\"*", "table_error{table=\"tcp\"}"],
            "/proc/1/net/tcp6" => &["*protocol=\"tcp*", "table_error{table=\"tcp6\"}"],
            "/proc/1/net/udp" => &["*protocol=\"udp\"*", "table_error{table=\"udp\"}"],
            "/proc/1/net/udp6" => &["*protocol=\"udp*", "table_error{table=\"udp6\"}"],
            _ => &[],
        });
    }
}

/// Tables without even a header, of WSL 1 and early gVisor: microsoft/WSL#2084, google/gvisor#98. Right: the state is not known.
#[test]
fn empty_table_leaves_its_ports_out() {
    let mut host = Host::new();
    host.file("/proc/1/net/tcp", "").file("/proc/1/net/tcp6", "");
    let mut ports = start(host, r#"{"listen": [22]}"#);
    for _ in 0..2 {
        expect![[r#"
            ports.table_error{table="tcp"} true
            ports.table_error{table="tcp6"} true
        "#]]
        .assert_eq(&ports.tick().expect("a sample").render());
    }
    assert_eq!(ports.host().messages().len(), 2);
}

#[test]
fn hidden_table_is_not_an_absent_one() {
    let key = r#"ports.listening{port="443",protocol="tcp6"}"#;
    let config = r#"{"listen": ["tcp6:443"]}"#;
    let mut host = Host::new();
    host.file_fails(
        "/proc/1/net/tcp6",
        files::Error::NotPermitted(PermissionError::new("EPERM", "/proc is mounted with hidepid", "run it as root")),
    );
    let mut ports = start(host, config);
    for _ in 0..2 {
        let sample = ports.tick().expect("a sample");
        assert_eq!((sample.get(key), &sample[r#"ports.table_error{table="tcp6"}"#]), (None, &Value::Boolean(true)));
    }
    let why = "/proc/1/net/tcp6 is not permitted: /proc is mounted with hidepid; run it as root";
    assert_eq!(ports.host().messages(), [format!("WARN without {LOST}: {why}")], "once");

    // Without IPv6 only its table is missing.
    for (path, config) in [("/proc/1/net/dev", config), ("/proc/1/net/tcp", r#"{"listen": [80, "tcp6:443"]}"#)] {
        let mut host = Host::new();
        host.file(path, "  sl  local_address\n");
        let mut ports = start(host, config);
        assert_eq!(ports.tick().expect("a sample")[key], false, "{path}");
        assert!(ports.host().messages().is_empty());
    }
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Ports>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Ports>("{\"listen\": [80]}");
}
