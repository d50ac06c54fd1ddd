//! The capability `system`: sockets, the clock and interfaces of the running kernel, through plugins of the repository.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use rustix::io::Errno;
use serde_json::{Value, json};

use crate::first_party::built;
use crate::guest::{Guest, install};
use crate::harness::{Sample, Setup};
use crate::missing_calls::start_without;

/// A setup with a plugin of the repository.
fn setup(plugin: &str, configuration: &str) -> Setup {
    let setup = Setup::with_config(configuration);
    install(&built(plugin), &setup.plugin(plugin).with_extension("wasm"));
    setup
}

fn metric(sample: &Sample, module: &str, name: &str) -> Option<Value> {
    sample.get(module)?.get(name).cloned()
}

#[test]
fn listeners_are_found_with_their_queues() {
    let tcp = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).expect("bound"));
    let udp = ["127.0.0.1:0", "[::1]:0"].map(|address| UdpSocket::bind(address).expect("bound"));
    let connect = |to: SocketAddr| TcpStream::connect(to).expect("the kernel accepts it");
    let addresses = [&tcp[0], &tcp[1]].map(|listener| listener.local_addr().expect("bound"));
    let _waiting = [connect(addresses[0]), connect(addresses[0]), connect(addresses[1])];
    let ports = [addresses[0].port(), addresses[1].port()];
    let datagrams = [&udp[0], &udp[1]].map(|socket| socket.local_addr().expect("bound").port());
    // Nobody listens on this one: it is bound for a moment only.
    let free = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
    let configuration = format!(
        "[plugins.ports]\nread = [\"/proc/net/*\"]\n\
         config = {{ listen = [{}, \"tcp6:{}\", \"udp:{}\", \"udp6:{}\", {free}] }}\n",
        ports[0], ports[1], datagrams[0], datagrams[1]
    );
    let (sample, log) = setup("ports", &configuration).once();
    let found = |name: &str, port: u16, protocol: &str| {
        metric(&sample, "ports", &format!("{name}{{port=\"{port}\",protocol=\"{protocol}\"}}"))
    };
    for (port, protocol) in [(ports[0], "tcp"), (ports[1], "tcp6"), (datagrams[0], "udp"), (datagrams[1], "udp6")] {
        assert_eq!(found("listening", port, protocol), Some(json!(true)), "{protocol}: {sample:?}\n{log}");
    }
    assert_eq!(found("listening", free, "tcp"), Some(json!(false)));
    assert_eq!(found("accept_queue", ports[0], "tcp"), Some(json!(2)));
    assert_eq!(found("accept_queue", ports[1], "tcp6"), Some(json!(1)));
}

#[test]
fn listeners_without_their_grant_are_denied() {
    let (_, log) = setup("ports", "[plugins.ports]\nconfig = { listen = [80] }\n").once();
    assert!(log.contains("is missing the grant read = [\\\"/proc/1/net/tcp\\\"]"), "{log}");
}

/// As in a container in which the agent is process 1.
#[test]
fn process_1_agent_reports_no_missing_grant() {
    let setup = setup("ports", "[plugins.ports]\nread = [\"/proc/net/*\"]\nconfig = { listen = [80] }\n");
    std::fs::create_dir_all(setup.path("host/proc/self/task/1")).expect("created");
    let (_, log) = setup.once_with(&["--root", "host"]);
    assert!(log.contains("plugin loaded plugin=ports"), "{log}");
    assert!(!log.contains("missing the grant") && !log.contains("grants missing"), "{log}");
    let need = |target: &str| {
        let guest = Guest::new("decent").needs("read", target, "list sockets");
        std::fs::write(setup.path("decent.wasm"), guest.module()).expect("written");
        let arguments = ["plugin", "test", "decent.wasm", "--json", "--runs", "1", "--root", "host"];
        let grants = ["--grant", "read=/proc/net/tcp", "--grant", "read=/proc/1/status"];
        let output = setup.run(&[&arguments[..], &grants].concat());
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        [report["needs"][0]["granted"].clone(), report["needs"][0]["why"].clone()]
    };
    assert_eq!(need("/proc/net/tcp"), [json!("configuration"), Value::Null]);
    assert_eq!(need("/proc/net/udp"), [json!("no"), Value::Null]);
    let why = "belongs to the agent's own process, which no grant opens";
    assert_eq!(need("/proc/1/status"), [json!("never"), json!(why)]);
}

#[test]
fn sockets_are_counted_by_state_without_a_grant() {
    let _listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (sample, log) = setup("netstat", "[plugins.netstat]\nconfig = { tcp_states = true }\n").once();
    let listening = metric(&sample, "netstat", "tcp_sockets{state=\"listen\"}").and_then(|count| count.as_u64());
    assert!(listening >= Some(1), "{sample:?}\n{log}");
    assert!(!log.contains("denied") && !log.contains("grants missing"), "{log}");
}

/// What adjtimex returns, and its record.
fn adjtimex() -> (i32, libc::timex) {
    #[expect(unsafe_code, reason = "a record of numbers, and a call that reads")]
    // SAFETY: all bits of the record may be zero, and the kernel writes one record.
    unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        let state = libc::adjtimex(&raw mut timex);
        (state, timex)
    }
}

#[test]
fn clock_is_that_of_adjtimex() {
    let (state, timex) = adjtimex();
    let (sample, log) = setup("kernel", "").once();
    let clock =
        |name: &str| metric(&sample, "kernel", &format!("clock_{name}")).unwrap_or_else(|| panic!("{name}: {log}"));
    assert_eq!(clock("synchronised"), json!(state != 5));
    assert_eq!(clock("tai_offset_seconds"), json!(timex.tai));
    assert_eq!(clock("time_constant"), json!(timex.constant));
    let near = |name: &str, expected: f64, off: f64| {
        let found = clock(name).as_f64().expect("a number");
        assert!((found - expected).abs() <= off, "{name}: {found} is not {expected}");
    };
    near("tick_seconds", timex.tick as f64 / 1e6, 1e-9);
    near("frequency_ratio", 1.0 + timex.freq as f64 / 65536e6, 1e-9);
    // It rises while nothing corrects the clock.
    near("maximum_error_seconds", timex.maxerror as f64 / 1e6, 1.0);
}

#[test]
fn copied_hosts_have_no_clock() {
    let machine = crate::harness::repository().join("tests/fixtures/server");
    let (sample, log) = setup("kernel", "").once_with(&["--root", machine.to_str().expect("text")]);
    let metrics = sample.get("kernel").unwrap_or_else(|| panic!("{log}"));
    assert!(!metrics.is_empty() && !metrics.keys().any(|name| name.starts_with("clock_")), "{metrics:?}");
}

#[test]
fn sandbox_without_a_query_costs_its_metrics() {
    // glibc calls the newer one.
    for (call, error) in [(libc::SYS_clock_adjtime, Errno::NOSYS), (libc::SYS_clock_adjtime, Errno::PERM)] {
        let setup = setup("kernel", "interval = \"200ms\"\n");
        let mut agent = start_without(call, error, setup.command(&[]));
        let sample = agent.wait(|sample| sample.contains_key("kernel"));
        assert!(metric(&sample, "kernel", "clock_status").is_none(), "{sample:?}");
        assert!(metric(&sample, "kernel", "context_switches_total").is_some());
        let is_reported = agent.log().contains("the state of the clock");
        assert_eq!(is_reported, error == Errno::PERM, "{}", agent.log());
        agent.terminate();
    }
}

#[test]
fn scripts_answer_for_the_kernel() {
    let setup = setup("netstat", "");
    let script = "config = { tcp_states = true }\n\
        [[run]]\nsockets.tcp = { counts = { established = 7, listen = 2 } }\nsockets.tcp6 = { counts = { listen = 1 } }\n\
        [[run]]\nsockets.tcp = { error = \"not-supported\" }\n";
    std::fs::write(setup.path("states.toml"), script).expect("written");
    let output = setup.run(&["plugin", "test", "plugins/netstat.wasm", "--script", "states.toml", "--update"]);
    let golden = std::fs::read_to_string(setup.path("states.golden"))
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    for line in ["netstat.tcp_sockets{state=\"established\"} 7", "netstat.tcp_sockets{state=\"listen\"} 3"] {
        assert!(golden.contains(line), "{line} in {golden}");
    }
    // The second run falls back to a file that is not granted.
    assert_eq!(golden.matches("established").count(), 1, "{golden}");
}
