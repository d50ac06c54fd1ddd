//! Limits of time: peers that neither send nor read are cut off, and silent streams are kept open.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use super::peer::{HttpAgent, connect, connect_shallow, own_address, read_all, read_response};
use crate::harness::Setup;

/// Longer than the limit for headers, and shorter than the next one.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn silent_peer_is_cut_off_in_time() {
    let mut server = HttpAgent::start("");
    let mut peer = connect(server.address);
    peer.set_read_timeout(Some(HEAD_PATIENCE)).expect("set");
    peer.write_all(b"GET /metrics HTTP/1.1\r\nHost").expect("sent");
    assert_eq!(read_all(&mut peer), b"");
    server.wait_rejected("timeout", 1);
}

#[test]
fn unread_response_is_cut_off() {
    let mut server = HttpAgent::start("");
    let mut peer = connect_shallow(server.address);
    // More than the kernel keeps of their responses.
    peer.write_all("GET /v1/sample?pretty HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4000).as_bytes()).expect("sent");
    server.wait_rejected("timeout", 1);
}

#[test]
fn unread_stream_is_cut_off() {
    let mut server = HttpAgent::start("");
    let mut peer = connect_shallow(server.address);
    peer.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    server.wait_rejected("timeout", 1);
    server.agent.wait(|sample| sample["agent"]["http_streams"] == 0);
}

#[test]
fn idle_connection_ends() {
    let mut server = HttpAgent::start("");
    let mut peer = connect(server.address);
    peer.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    assert_eq!(read_response(&mut peer).status, 200);
    assert!(read_all(&mut peer).is_empty(), "it ends");
    let sample = server.agent.next();
    assert_eq!(sample["agent"]["http_rejected_total{reason=\"timeout\"}"], 0, "that is no fault");
}

#[test]
fn silent_stream_gets_comments() {
    let setup = Setup::new();
    let address = own_address();
    let configuration = format!("interval = \"1h\"\n[http]\nlisten = [\"{address}\"]\n");
    std::fs::write(setup.path("gauged.toml"), configuration).expect("written");
    let mut agent = setup.start(&[]);
    agent.wait_log("HTTP address opened");
    let mut stream = connect(address);
    stream.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("read"));
    assert!(lines.any(|line| line == ":"));
}
