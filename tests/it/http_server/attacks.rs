//! Peers that send too much, too slowly, or no HTTP. During each attack a genuine scraper is answered, ticks are on time, and the
//! agent's memory stays within bounds.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gauged::process::raise_descriptor_limit;
use socket2::{Domain, Socket, Type};

use super::peer::{EndAtDrop, HttpAgent, Response, connect, own_address, read_all};
use crate::harness::{Agent, DEADLINE, Setup};
use crate::run::MAX_SHUTDOWN;

/// How much memory an attack may cost: 128 connections with headers of 16 KiB, and some responses.
const ATTACK_KB: u64 = 6 << 10;

/// How many peers attack at a time.
const PEERS: usize = 1000;

/// An agent under attack.
struct AttackTest {
    server: HttpAgent,
    /// Its memory before.
    peak_kb: u64,
}

impl AttackTest {
    fn new() -> Self {
        Self::with(HttpAgent::start(""))
    }

    fn with(mut server: HttpAgent) -> Self {
        raise_descriptor_limit();
        server.agent.next();
        server.expect_scrapes();
        let peak_kb = server.peak_kb();
        Self { server, peak_kb }
    }

    /// Asserts that the agent is as well as before, during the attack and after it.
    fn expect_unharmed(&mut self) {
        self.server.expect_scrapes();
        for _ in 0..4 {
            self.server.agent.next();
        }
        self.server.agent.assert_undisturbed(&[]);
        let peak_kb = self.server.peak_kb();
        assert!(peak_kb <= self.peak_kb + ATTACK_KB, "{peak_kb} kB, and {} kB before", self.peak_kb);
    }

    /// Connections that have each sent this.
    fn peers(&self, count: usize, sent: &[u8]) -> Vec<TcpStream> {
        let peer = |_| {
            let mut stream = connect(self.server.address);
            // It may have had to make room by then.
            let _ = stream.write_all(sent);
            stream
        };
        (0..count).map(peer).collect()
    }
}

#[test]
fn thousand_silent_connections_do_not_disturb() {
    let mut test = AttackTest::new();
    let peers = test.peers(PEERS, b"");
    test.expect_unharmed();
    test.server.wait_rejected("displaced", 1);
    drop(peers);
}

#[test]
fn slow_headers_do_not_disturb() {
    let mut test = AttackTest::new();
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut peers = test.peers(PEERS, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
        let (has_ended, _end) = (&has_ended, EndAtDrop(&has_ended));
        scope.spawn(move || {
            while !has_ended.load(Ordering::Relaxed) {
                for peer in &mut peers {
                    let _ = peer.write_all(b"X");
                }
                // The rhythm of the peers: nothing is waited for.
                thread::sleep(Duration::from_millis(50));
            }
        });
        test.expect_unharmed();
    });
}

#[test]
fn slow_and_endless_bodies_do_not_disturb() {
    let mut test = AttackTest::new();
    let slow = test.peers(200, b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx");
    let endless: Vec<_> = (0..4)
        .map(|_| {
            let mut peer = connect(test.server.address);
            let head = "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
            peer.write_all(head.as_bytes()).expect("sent");
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            // Until the server does not take more.
            thread::spawn(move || while peer.write_all(chunk.as_bytes()).is_ok() {})
        })
        .collect();
    test.expect_unharmed();
    for peer in endless {
        peer.join().expect("no panic");
    }
    drop(slow);
}

#[test]
fn huge_requests_are_rejected() {
    let mut test = AttackTest::new();
    let long = "x".repeat(1 << 20);
    let many = "X: y\r\n".repeat(2000);
    for request in [
        format!("GET /{long} HTTP/1.1\r\n"),
        format!("GET /?{long} HTTP/1.1\r\n"),
        format!("GET / HTTP/1.1\r\nX: {long}\r\n"),
        format!("GET / HTTP/1.1\r\n{many}"),
        format!("{long} / HTTP/1.1\r\n"),
    ] {
        let mut peer = connect(test.server.address);
        // The server closes the connection before it has read everything.
        let _ = peer.write_all(request.as_bytes());
        let _ = peer.write_all(b"Host: localhost\r\n\r\n");
        let answer = read_all(&mut peer);
        if !answer.is_empty() {
            let status = Response::parse(&answer).status;
            assert!(matches!(status, 400 | 414 | 431), "{status}");
        }
    }
    test.server.wait_rejected("too_large", 4);
    test.expect_unharmed();
}

#[test]
fn garbage_and_other_protocols_are_rejected() {
    let mut test = AttackTest::new();
    let client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(40);
    let garbage: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let attempts: [&[u8]; 7] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0",
        &client_hello,
        &garbage,
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ];
    for attempt in attempts {
        let mut peer = connect(test.server.address);
        let _ = peer.write_all(attempt);
        let _ = peer.shutdown(Shutdown::Write);
        let answer = String::from_utf8_lossy(&read_all(&mut peer)).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    test.server.wait_rejected("malformed", attempts.len() as u64 - 1);
    test.expect_unharmed();
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let mut test = AttackTest::new();
    let request = "GET /v1/sample HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Peers that send many requests and read no response.
    let greedy: Vec<_> = (0..4)
        .map(|_| {
            let mut peer = connect(test.server.address);
            let requests = request.repeat(1000);
            thread::spawn(move || while peer.write_all(requests.as_bytes()).is_ok() {})
        })
        .collect();
    test.expect_unharmed();
    let mut peer = connect(test.server.address);
    peer.write_all(request.repeat(20).as_bytes()).expect("sent");
    peer.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let answers = String::from_utf8(read_all(&mut peer)).expect("text");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 21);
    test.server.agent.terminate();
    for peer in greedy {
        peer.join().expect("no panic");
    }
}

#[test]
fn greedy_pipelines_do_not_delay_others() {
    let mut test = AttackTest::new();
    let (address, has_ended) = (test.server.address, AtomicBool::new(false));
    thread::scope(|scope| {
        let (has_ended, _end) = (&has_ended, EndAtDrop(&has_ended));
        let requests = "GET /v1/sample?pretty HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
        // Peers that send many requests at once, and read all responses.
        let mut streams: Vec<_> = (0..100).map(|_| (connect(address), 0)).collect();
        for (stream, _) in &streams {
            stream.set_nonblocking(true).expect("set");
        }
        scope.spawn(move || {
            let mut part = vec![0; 1 << 16];
            while !has_ended.load(Ordering::Relaxed) {
                for (stream, sent) in &mut streams {
                    *sent += stream.write(&requests.as_bytes()[*sent..]).unwrap_or(0);
                    *sent %= requests.len();
                    let _ = stream.read(&mut part);
                }
            }
        });
        test.expect_unharmed();
    });
}

#[test]
fn half_closed_peers_get_their_answer() {
    let test = AttackTest::new();
    let mut peer = connect(test.server.address);
    peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    peer.shutdown(Shutdown::Write).expect("open");
    assert_eq!(Response::read(&mut peer).status, 200);
}

#[test]
fn slow_readers_do_not_disturb() {
    let mut test = AttackTest::new();
    let requests = "GET /v1/sample?pretty HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(300);
    let peers = test.peers(200, requests.as_bytes());
    test.expect_unharmed();
    drop(peers);
}

#[test]
fn requests_do_not_delay_the_end() {
    let mut test = AttackTest::new();
    let (address, has_ended) = (test.server.address, AtomicBool::new(false));
    let silent = test.peers(100, b"GET /metrics");
    let mut stream = connect(address);
    stream.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    thread::scope(|scope| {
        let _end = EndAtDrop(&has_ended);
        for _ in 0..4 {
            scope.spawn(|| {
                while !has_ended.load(Ordering::Relaxed) {
                    if let Ok(mut peer) = TcpStream::connect(address) {
                        let _ =
                            peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                        let answer = read_all(&mut peer);
                        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "half an answer");
                    }
                }
            });
        }
        test.server.expect_scrapes();
        let (status, took) = test.server.agent.terminate();
        assert!(status.success() && took < MAX_SHUTDOWN, "{status} after {took:?}\n{}", test.server.agent.log());
    });
    assert!(read_all(&mut stream).starts_with(b"HTTP/1.1 200 OK"), "the stream has ended");
    drop(silent);
}

#[test]
fn slow_peer_of_another_host_keeps_its_place() {
    let mut test = AttackTest::new();
    let genuine = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Not where the others come from.
    genuine.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).expect("loopback");
    genuine.set_read_timeout(Some(DEADLINE)).expect("set");
    genuine.connect(&test.server.address.into()).expect("connected");
    let mut genuine = TcpStream::from(genuine);
    genuine.write_all(b"GET /version HTTP/1.1\r\n").expect("sent");
    test.server.agent.wait(|sample| sample["agent"]["http_connections"] == 1);
    let peers = test.peers(PEERS, b"");
    test.server.wait_rejected("displaced", 300);
    genuine.write_all(b"Host: localhost\r\nConnection: close\r\n\r\n").expect("its place is kept");
    assert_eq!(Response::read(&mut genuine).status, 200);
    drop(peers);
}

#[test]
fn silent_connections_leave_descriptors_to_others() {
    let setup = Setup::new();
    let address = own_address();
    HttpAgent::configure(&setup, address, "");
    let script = "ulimit -n 120 && exec \"$0\"";
    let agent = Agent::start(setup.command_of("sh".as_ref(), &["-c", script, env!("CARGO_BIN_EXE_gauged")]));
    let mut test = AttackTest::with(HttpAgent { setup, agent, address });
    let peers = test.peers(300, b"");
    test.expect_unharmed();
    drop(peers);
}
