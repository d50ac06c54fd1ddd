//! Peers that send for ever. The client's libraries loop over interim responses, chunks and records of TLS that bring the guest
//! nothing: neither the plugin that asked nor another one may wait for them.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::guest::{Guest, HOST_RESULT};
use crate::harness::{Agent, Sample, Setup, all_faults, fault_count, plugin_metric, value};
use crate::http::tls::tls_config;
use crate::http::{Fetch, PROTOCOL, TIMEOUT, TOO_LARGE, module_outcome, outcome};
use crate::net::connecting_guest_as;
use crate::server::{Server, read_request};

const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// How many results of each plugin a test waits for.
const RESULTS: usize = 3;

/// An agent in which a plugin of its own fetches from each of these servers at each tick, beside the plugin `good`.
fn start(servers: &[Server]) -> (Setup, Agent) {
    let mut toml = "interval = \"1s\"\n".to_owned();
    for (name, server) in names(servers).zip(servers) {
        toml += &table(&name, &format!("http://{}", server.address));
    }
    let setup = Setup::with_config(&toml);
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    for (name, server) in names(servers).zip(servers) {
        let guest = Fetch::get(format!("http://{}", server.address)).guest_as(&name);
        guest.install(&setup.plugin(&format!("{name}.wasm")));
    }
    (setup, agent)
}

fn table(plugin: &str, origin: &str) -> String {
    format!("[plugins.{plugin}]\ntimeout = \"900ms\"\nfetch = [\"{origin}\"]\n")
}

fn names(servers: &[Server]) -> impl Iterator<Item = String> {
    (0..servers.len()).map(|number| format!("p{number}"))
}

/// Waits until each plugin has had a few results, and asserts that these are errors of its cases, that no plugin had a fault, and
/// that neither ticks nor the plugin `good` were disturbed.
fn assert_only_fetches_end(agent: &mut Agent, cases: &[(String, &[u64])]) {
    let results = |agent: &Agent, name: &str| -> Vec<u64> {
        agent.samples().iter().filter_map(|sample| Some(module_outcome(sample, name)?.0)).collect()
    };
    while !cases.iter().all(|(name, _)| results(agent, name).len() >= RESULTS) {
        let sample = agent.next();
        assert_eq!(all_faults(&sample), 0.0, "{}", agent.log());
    }
    for (name, expected) in cases {
        let results = results(agent, name);
        assert!(results.iter().all(|case| expected.contains(case)), "{name}: {results:?}, not {expected:?}");
    }
    agent.assert_undisturbed(&["good"]);
}

#[test]
fn endless_responses_end_only_their_fetch() {
    let joined = |parts: &[&str]| parts.concat();
    // The start of a response, what follows over and over, and the possible errors.
    let floods: [(String, &str, &[u64]); 12] = [
        (String::new(), INTERIM, &[TOO_LARGE]),
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n", &[TOO_LARGE]),
        (INTERIM.to_owned(), "\r\n", &[TOO_LARGE]),
        (joined(&[INTERIM, "HTTP/1.1 103 Early Hints\r\nx: "]), "y", &[TOO_LARGE]),
        (joined(&[INTERIM, "HTTP/1.1 200 OK\r\n"]), "x: y\r\n", &[PROTOCOL]),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), "body", &[TOO_LARGE, TIMEOUT]),
        (CHUNKED.to_owned(), "1\r\nx\r\n", &[TOO_LARGE, TIMEOUT]),
        (CHUNKED.to_owned(), "0", &[TIMEOUT]),
        (joined(&[CHUNKED, "1"]), " ", &[TIMEOUT]),
        (joined(&[CHUNKED, "1;"]), "x", &[PROTOCOL]),
        (joined(&[CHUNKED, "0\r\n"]), "x: y\r\n", &[PROTOCOL]),
        (joined(&[CHUNKED, "0\r\nx: "]), "y", &[PROTOCOL]),
    ];
    let servers: Vec<Server> = floods.iter().map(|(first, then, _)| Server::endless(first, then)).collect();
    let (_setup, mut agent) = start(&servers);
    let cases: Vec<_> = names(&servers).zip(floods.map(|(_, _, cases)| cases)).collect();
    assert_only_fetches_end(&mut agent, &cases);
}

#[test]
fn endless_interim_responses_delay_no_other_plugin() {
    let servers: Vec<Server> = (0..8).map(|_| Server::endless("", "HTTP/1.1 103 \r\n\r\n")).collect();
    let (_setup, mut agent) = start(&servers);
    let cases: Vec<(_, &[u64])> = names(&servers).map(|name| (name, [TOO_LARGE].as_slice())).collect();
    assert_only_fetches_end(&mut agent, &cases);
}

#[test]
fn slow_interim_responses_are_a_timeout() {
    let slow = Server::start(|mut stream| {
        read_request(&mut stream);
        let _ = stream.set_nodelay(true);
        for byte in INTERIM.bytes().cycle() {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    let servers = [slow];
    let (_setup, mut agent) = start(&servers);
    assert_only_fetches_end(&mut agent, &[("p0".to_owned(), &[TIMEOUT])]);
}

#[test]
fn interim_responses_come_before_a_large_body() {
    // As many as fit into the limit for heads, and a body that does not.
    let head = format!("{}HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", INTERIM.repeat(1000));
    let server = Server::responding([head.into_bytes(), vec![b'x'; 200_000]].concat());
    let origin = format!("http://{}", server.address);
    let setup = Setup::with_config(&format!("[plugins.fetcher]\ntimeout = \"10s\"\nfetch = [\"{origin}\"]\n"));
    let length = format!("(i64.load32_u (i32.const {}))", HOST_RESULT + 24);
    Fetch::get(origin).showing(&length).guest().pages(16).install(&setup.plugin("fetcher.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(outcome(&sample), Some((200, 200_000.into())), "{log}");
}

#[test]
fn endless_stream_delays_no_other_plugin() {
    let server = Server::endless("", "x");
    let address = server.address.to_string();
    let setup = Setup::with_config(&format!(
        "interval = \"1s\"\n[plugins.reader]\ntimeout = \"500ms\"\nconnect = [\"{address}\"]\n"
    ));
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    // It reads for ever, into the same memory.
    let guest = connecting_guest_as("reader", &address, None, "\r\n\r\n");
    let reading = "(call $connect) (call $write)
        (loop $on (global.set $heap (i32.const 65536)) (call $read (i32.const 65536)) (br $on))";
    let first_measures = format!("(if (global.get $calls) (then {reading})) (global.set $calls (i32.const 1))");
    guest
        .with("(global $calls (mut i32) (i32.const 0))")
        .before_collect(&first_measures)
        .install(&setup.plugin("reader.wasm"));
    let sample = agent.wait(|sample| fault_count(sample, "reader", "timeout") >= 2.0);
    assert_eq!(
        plugin_metric(&sample, "plugin_faults_total", "reader"),
        Some(fault_count(&sample, "reader", "timeout"))
    );
    agent.assert_undisturbed(&["good"]);
}

/// The tickets of a session that a server sends after a handshake.
const TICKETS: usize = 200_000;

#[test]
fn endless_tls_records_end_only_their_fetch() {
    let setup = Setup::new();
    let mut config = tls_config(&setup, 2035);
    config.send_tls13_tickets = TICKETS;
    let config = Arc::new(config);
    let silent_after_tickets = Server::start(move |stream| send_tickets(&config, stream));
    // A handshake of which no message ever ends.
    let endless_handshake = Server::start(|mut stream: TcpStream| {
        let record = [&[22, 3, 3, 0, 4, 2, 0, 0xff, 0xff][..], &[22, 3, 3, 0, 1, 0].repeat(4000)].concat();
        while stream.write_all(&record).is_ok() {}
    });
    let servers = [silent_after_tickets, endless_handshake];
    let mut toml = "interval = \"1s\"\n".to_owned();
    for (name, server) in names(&servers).zip(&servers) {
        let url = format!("https://localhost:{}", server.port());
        toml += &table(&name, &url);
        Fetch::get(url).guest_as(&name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    fs::write(setup.path("gauged.toml"), toml).expect("written");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut command = setup.command(&[]);
    command.env("SSL_CERT_FILE", setup.path("authority.pem")).env_remove("SSL_CERT_DIR");
    let mut agent = Agent::start(command);
    agent.wait(|sample: &Sample| value(sample, "good").is_some());
    // A fast server fills the buffer for messages before the time is up.
    let cases: [(_, &[u64]); 2] = [("p0".to_owned(), &[TIMEOUT, PROTOCOL]), ("p1".to_owned(), &[crate::http::TLS])];
    assert_only_fetches_end(&mut agent, &cases);
}

/// Shakes hands, sends the tickets, and nothing else until the client closes the connection.
fn send_tickets(config: &Arc<ServerConfig>, stream: TcpStream) {
    let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
    let mut stream = StreamOwned::new(connection, stream);
    while !read_request(&mut stream).is_empty() {}
}
