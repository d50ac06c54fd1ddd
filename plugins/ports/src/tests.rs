//! The plugin on fixture machines.

use gauged_plugin::testing::{Host, Running, expect, hold_file, hold_readme};

use super::*;

/// What can be written, in each way in which it can be.
const WEB: &str =
    r#"{"listen": [22, "80", "tcp6:80", "tcp:443", "tcp6:443", 5432, 6379, "udp:53", "udp:546", "udp6:53"]}"#;

const MIB: files::Error = files::Error::TooLarge(1 << 20);

fn start(host: Host, config: &str) -> Running<Ports> {
    Running::start(host, config).expect("the configuration is right")
}

#[test]
fn a_server_is_as_its_fixture_says() {
    let sample = start(Host::at("fixtures/web-1"), WEB).tick().expect("a sample");
    hold_file("fixtures/web-1/expected", &sample.render());
}

#[test]
fn an_old_kernel_without_ipv6_is_understood() {
    let sample = start(Host::at("fixtures/old-1"), r#"{"listen": [22, 80, 3306, "udp:111", "udp6:111"]}"#).tick();
    hold_file("fixtures/old-1/expected", &sample.expect("a sample").render());
}

#[test]
fn a_service_comes_and_goes() {
    let mut ports = start(Host::at("fixtures/web-1"), r#"{"listen": ["tcp6:443"]}"#);
    let key = r#"ports.listening{port="443",protocol="tcp6"}"#;
    assert_eq!(ports.tick().expect("a sample")[key], true);
    let heading = "  sl  local_address  remote_address  st tx_queue rx_queue\n";
    ports.host().file("/proc/1/net/tcp6", heading);
    let sample = ports.tick().expect("a sample");
    assert_eq!(sample[key], false);
    assert_eq!(sample.get(r#"ports.accept_queue{port="443",protocol="tcp6"}"#), None);
}

#[test]
fn what_a_table_that_is_too_large_would_tell_is_unknown() {
    let mut host = Host::at("fixtures/web-1");
    host.file_fails("/proc/1/net/tcp", MIB);
    let mut ports = start(host, r#"{"listen": [22, 80, "tcp6:443", "udp:53"]}"#);
    let sample = ports.tick().expect("a sample");
    // Port 22 is in the other table as well; whether anything listens on port 80 nobody can tell.
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
    let why = "WARN /proc/1/net/tcp has so many connections that it exceeds the 1048576 bytes that are read; ports that \
               only this table tells of are missing";
    assert_eq!(ports.host().messages(), [why], "told once");

    ports.host().file("/proc/1/net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue\n");
    assert_eq!(ports.tick().expect("a sample")[r#"ports.listening{port="80",protocol="tcp"}"#], false);
    ports.host().file_fails("/proc/1/net/tcp", files::Error::Timeout);
    ports.tick().expect("a sample");
    assert_eq!(ports.host().messages().len(), 2, "it is news again");
}

#[test]
fn a_missing_grant_is_named() {
    let mut host = Host::at("fixtures/web-1");
    host.deny(&gauged_plugin::Capability::Read("/proc/1/net/*".to_owned()));
    let error = start(host, r#"{"listen": [80]}"#).tick();
    assert_eq!(error, Err(Error::Denied(Need::read("/proc/1/net/tcp", "see which ports are listened on"))));
    let needs = |config| start(Host::new(), config).needs().len();
    assert_eq!((needs(r#"{"listen": [80]}"#), needs(r#"{"listen": ["udp6:53"]}"#), needs(WEB)), (2, 1, 4));
}

#[test]
fn wrong_settings_are_told() {
    for (config, key, message) in [
        ("{}", "listen", "has no ports; write those to watch, such as [80, \"udp:53\"]"),
        (r#"{"listen": []}"#, "listen", "has no ports; write those to watch, such as [80, \"udp:53\"]"),
        (r#"{"listen": [80, 443, "tcp:80"]}"#, "listen[2]", "tcp:80 is there twice; remove one"),
        (r#"{"listen": [80], "port": 1}"#, "port", "unknown key; remove it, or use one of listen"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Running::<Ports>::start(Host::new(), config) else {
            panic!("{config}")
        };
        assert_eq!((&*errors[0].key, &*errors[0].message), (key, message), "{config}");
    }
    for port in ["0", "65536", "-1", "80.5", "\"http\"", "\"sctp:80\"", "\"tcp:+80\"", "\"tcp:\"", "\"\"", "[80]"] {
        let config = format!("{{\"listen\": [22, {port}]}}");
        let Err(Error::InvalidConfig(errors)) = Running::<Ports>::start(Host::new(), &config) else { panic!("{port}") };
        assert_eq!(errors[0].key, "listen[1]");
        assert!(errors[0].message.contains("expected a port from 1 to 65535, or a text"), "{}", errors[0].message);
    }
}

#[test]
fn what_is_no_table_is_told() {
    let heading = "  sl  local_address rem_address   st tx_queue rx_queue\n";
    for (text, why) in [
        ("", ": is empty"),
        ("nonsense\n", " line 1: is not the heading of a table of sockets"),
        ("   0: 00000000:0050 00000000:0000 0A 0:0\n", " line 1: is not the heading of a table of sockets"),
        (&*format!("{heading}   0: 00000000:0050\n"), " line 2: ends before the remote address"),
        (&*format!("{heading}   0: 00000000 00000000 0A 0:0\n"), " line 2: 00000000 is not an address with a port"),
        (&*format!("{heading}   0: 0:10000 0:0 0A 0:0\n"), " line 2: 0:10000 is not an address with a port"),
        (&*format!("{heading}   0: 0:50 0:0 0A 0\n"), " line 2: 0 are not two queues"),
    ] {
        let mut host = Host::new();
        host.file("/proc/1/net/tcp", text);
        let why = format!("/proc/1/net/tcp{why}");
        assert_eq!(start(host, r#"{"listen": [80]}"#).tick(), Err(Error::Internal(why)), "{text:?}");
    }
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Ports>();
}
