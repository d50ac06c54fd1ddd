//! Event streams: they end with what let their clients in, and slow clients get new samples.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};

use super::peer::{HttpAgent, connect, connect_shallow, own_address};
use super::security::{Authority, TOKEN, start_with_tls, write_secret};
use crate::harness::{Setup, wait_until};

/// A stream of which the first event has been read.
fn open_stream<S: Read + Write>(mut stream: S, token: &str) -> BufReader<S> {
    let request = format!("GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).expect("read"), 0, "no event");
    }
    reader
}

/// Reads to the last chunk of a stream. It fails when the stream goes on.
fn expect_end(mut stream: impl Read) {
    let (mut rest, mut part) = (Vec::new(), [0; 4096]);
    while !rest.ends_with(b"\r\n0\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(0) => panic!("the connection is closed within the response"),
            Ok(length) => rest.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
        assert!(rest.len() < 1 << 20, "the stream goes on");
    }
}

#[test]
fn stream_ends_with_its_token() {
    let (setup, address) = (Setup::new(), own_address());
    let file = setup.path("token");
    write_secret(&file, TOKEN);
    let keys = format!("token_file = \"{}\"", file.display());
    let agent = HttpAgent::configure(&setup, address, &keys).start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.next();
    let stream = open_stream(connect(address), TOKEN);
    let other = TOKEN.replace('0', "f");
    write_secret(&file, &other);
    server.reload_files();
    expect_end(stream);
    open_stream(connect(address), &other);
}

#[test]
fn stream_ends_with_its_certificate() {
    let authority = Authority::new();
    let mut server = start_with_tls(&authority, |_| String::new());
    let stream = open_stream(authority.connect(server.address, None).expect("trusted"), "");
    authority.write(&server.setup);
    server.reload_files();
    expect_end(stream);
    open_stream(authority.connect(server.address, None).expect("trusted"), "");
}

#[test]
fn stream_ends_with_its_address() {
    let mut server = HttpAgent::start("");
    let stream = open_stream(connect(server.address), "");
    let kept = own_address();
    server.reload(kept, "");
    expect_end(stream);
    open_stream(connect(kept), "");
}

#[test]
fn streams_end_with_the_server() {
    let mut server = HttpAgent::start("exclude = [\"agent.*\"]");
    let socket = server.setup.path("http.sock");
    let listen = format!("[http]\nlisten = [\"{}\", \"unix:{}\"]", server.address, socket.display());
    HttpAgent::write(&server.setup, &listen);
    server.reload_files();
    server.agent.wait_log("configuration reloaded changed=http");
    let local = std::os::unix::net::UnixStream::connect(&socket).expect("connected");
    let streams = (open_stream(connect(server.address), ""), open_stream(local, ""));
    HttpAgent::write(&server.setup, "");
    server.reload_files();
    expect_end(streams.0);
    expect_end(streams.1);
    wait_until("the socket is removed", || !fs::exists(&socket).expect("looked for"));
}

#[test]
fn stream_survives_a_change_of_series() {
    let mut server = HttpAgent::start("");
    let mut stream = open_stream(connect(server.address), "");
    server.reload(server.address, "exclude = [\"cpu.*\"]");
    let mut line = String::new();
    while !line.starts_with("data: ") || line.contains("\"cpu\"") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).expect("read"), 0, "it has ended");
    }
}

/// The times of the events in a text, each with the position of its end.
fn event_times(text: &str) -> Vec<(usize, f64)> {
    let mut end = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        end += line.len();
        (end, line)
    });
    let sample = |line: &str| serde_json::from_str::<serde_json::Value>(line.trim().strip_prefix("data: ")?).ok();
    lines.filter_map(|(end, line)| Some((end, sample(line)?["agent"]["timestamp"].as_f64()?))).collect()
}

#[test]
fn slow_client_gets_new_samples() {
    // As much as its own queue, the kernel and one event may have.
    const OLD_BYTES: usize = 64 << 10;
    let mut server = HttpAgent::start("");
    let mut stream = connect_shallow(server.address);
    stream.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let is_behind = |sample: &crate::harness::Sample| sample["agent"]["http_dropped_events_total"].as_u64() >= Some(12);
    let now = server.agent.wait(is_behind)["agent"]["timestamp"].as_f64().expect("a time");
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    let new = loop {
        let length = stream.read(&mut part).expect("read");
        assert_ne!(length, 0, "it has ended");
        text.extend_from_slice(&part[..length]);
        let times = event_times(&String::from_utf8_lossy(&text));
        if let Some(at) = times.iter().position(|(_, time)| *time >= now) {
            break times[..at].last().map_or(0, |(end, _)| *end);
        }
    };
    assert!(new <= OLD_BYTES, "{new} bytes of old samples");
}
