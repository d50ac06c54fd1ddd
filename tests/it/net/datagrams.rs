//! Datagrams of guests over UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    DENIED, EXHAUSTED, INVALID_ADDRESS, REFUSED, SUCCESS, TIMEOUT, TOO_LARGE, contains, granting, module_outcome, run,
};
use crate::guest::{COLLECT_RESULT, Guest, HOST_RESULT, SECOND_VALUE, VALUE};
use crate::harness::{DEADLINE, Setup};
use crate::server::{Server, udp_echo, udp_echo_at};
use crate::skip::skip;

/// A guest with functions for a socket: `$open`, `$send` and `$receive`, which keeps its handle in `$handle`. After each of them `$check`
/// sets `case` and `value`, as for a connection.
fn sending_guest(address: &str, timeout_ms: Option<u32>, sent: &str) -> Guest {
    let interface = "gauged:plugin/net";
    let mut guest = super::connecting_guest(address, timeout_ms, sent)
        .import(interface, "[static]datagram-socket.connect", "(func $udp_connect (param i32 i32 i32 i32 i32))")
        .import(interface, "[method]datagram-socket.send", "(func $udp_send (param i32 i32 i32 i32))")
        .import(interface, "[method]datagram-socket.receive", "(func $udp_receive (param i32 i32 i32))")
        .import(interface, "[resource-drop]datagram-socket", "(func $udp_close (param i32))");
    let ((at, length), (sent_at, sent_length)) = (guest.text(address), guest.text(sent));
    let (is_some, timeout) = (u32::from(timeout_ms.is_some()), timeout_ms.unwrap_or(0));
    guest.with(&format!(
        "(func $open
            (call $udp_connect (i32.const {at}) (i32.const {length}) (i32.const {is_some}) (i32.const {timeout})
                (i32.const {HOST_RESULT}))
            (if (i32.eqz (i32.load8_u (i32.const {HOST_RESULT})))
                (then (global.set $handle (i32.load (i32.const {payload}))))))
         (func $send
            (call $udp_send (global.get $handle) (i32.const {sent_at}) (i32.const {sent_length}) (i32.const {HOST_RESULT})))
         (func $receive (param $most i32)
            (call $udp_receive (global.get $handle) (local.get $most) (i32.const {HOST_RESULT})))",
        payload = HOST_RESULT + 4,
    ))
}

/// A guest that opens a socket, sends `ping`, makes the datagram that it receives its value and the length of that its `case`, and closes
/// the socket, at every tick.
pub fn ping_guest(address: &str, timeout_ms: Option<u32>) -> Guest {
    sending_guest(address, timeout_ms, "ping").before_collect(&receiving(100))
}

fn receiving(most: u32) -> String {
    format!(
        "(call $open)
         (if (call $check) (then
            (call $send)
            (if (call $check) (then
                (call $receive (i32.const {most}))
                (if (call $check) (then
                    {}
                    (i32.store (i32.const {}) (i32.load (i32.const {})))))))
            (call $udp_close (global.get $handle))))",
        super::show_read(),
        SECOND_VALUE + 8,
        HOST_RESULT + 12,
    )
}

/// A socket that the test answers with.
fn peer() -> (UdpSocket, String) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(DEADLINE)).expect("set");
    let address = format!("udp:{}", socket.local_addr().expect("bound"));
    (socket, address)
}

fn ping(address: &str) -> (u32, Value) {
    run(&granting(&[address]), &ping_guest(address, None))
}

#[test]
fn datagrams_are_sent_and_received() {
    let port = udp_echo().port();
    for address in [format!("udp:127.0.0.1:{port}"), format!("udp:LocalHost:{port}")] {
        assert_eq!(ping(&address), (4, "ping".into()), "{address}");
    }
}

#[test]
fn datagrams_are_sent_over_ipv6() {
    let Ok(address) = udp_echo_at((Ipv6Addr::LOCALHOST, 0).into()) else {
        return skip("datagrams_are_sent_over_ipv6", "there is no IPv6");
    };
    assert_eq!(ping(&format!("udp:{address}")), (4, "ping".into()));
}

#[test]
fn datagrams_need_a_grant_of_their_own() {
    let address = udp_echo();
    let (tcp, udp) = (address.to_string(), format!("udp:{address}"));
    let setup = granting(&[&tcp, "udp:127.0.0.1:1", "udp:time.example:123"]);
    assert_eq!(run(&setup, &ping_guest(&udp, None)), (DENIED, (&*udp).into()));
    assert_eq!(run(&setup, &ping_guest("udp:Time.Example:124", None)), (DENIED, "udp:time.example:124".into()));
    let (_, log) = setup.once();
    let line = "connect = [\\\"127.0.0.1:";
    assert!(log.contains(line) && log.contains(", \\\"udp:time.example:124\\\"], and reload the agent"), "{log}");
    let server = Server::echo();
    let address = server.address.to_string();
    let setup = granting(&[&format!("udp:{address}")]);
    assert_eq!(run(&setup, &super::ping_guest(&address, None)), (DENIED, address.into()));
    assert_eq!(server.connections(), 0);
}

#[test]
fn address_of_another_kind_is_refused() {
    let setup = granting(&["127.0.0.1:9", "udp:127.0.0.1:9", "unix:/run/a"]);
    for address in ["127.0.0.1:9", "unix:/run/a", "udp:127.0.0.1", "udp:239.1.2.3:9", "udp:255.255.255.255:9"] {
        let (case, message) = run(&setup, &ping_guest(address, None));
        assert!(case == INVALID_ADDRESS && contains(&message, address), "{address}: {message}");
    }
    let (case, message) = run(&setup, &super::ping_guest("udp:127.0.0.1:9", None));
    assert!(case == INVALID_ADDRESS && contains(&message, "open a datagram-socket"), "{message}");
}

#[test]
fn grant_for_several_hosts_is_invalid() {
    for address in ["udp:239.1.2.3:9", "udp:[ff02::1]:9", "udp:255.255.255.255:9"] {
        let output = granting(&[address]).run(&["check"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && errors.contains("is the address of several hosts"), "{errors}");
    }
}

#[test]
fn peer_without_a_socket_refuses() {
    let (socket, address) = peer();
    drop(socket);
    assert_eq!(ping(&address), (REFUSED, "Connection refused".into()));
}

#[test]
fn silent_peer_times_out() {
    let (_socket, address) = peer();
    assert_eq!(run(&granting(&[&address]), &ping_guest(&address, Some(100))), (TIMEOUT, 0.into()));
    let setup = Setup::with_config(&format!("[plugins.caller]\ntimeout = \"1s\"\nconnect = [{address:?}]\n"));
    assert_eq!(run(&setup, &ping_guest(&address, None)), (TIMEOUT, 0.into()), "the budget of the call");
}

#[test]
fn long_datagram_is_reported_as_cut_off() {
    let address = format!("udp:{}", udp_echo());
    let setup = granting(&[&address]);
    let guest = |most| sending_guest(&address, None, "ping").before_collect(&receiving(most));
    assert_eq!(run(&setup, &guest(3)), (4, "pin".into()));
    assert_eq!(run(&setup, &guest(0)), (4, "".into()));
    assert_eq!(run(&setup, &guest(u32::MAX)), (4, "ping".into()));
}

#[test]
fn longest_datagram_passes_but_longer_is_refused() {
    let address = format!("udp:{}", udp_echo());
    let guest = |length: u32| {
        sending_guest(&address, None, "").collect(&format!(
            "(call $open) (if (i32.eqz (call $check)) (then unreachable))
             (call $udp_send (global.get $handle) (i32.const 65536) (i32.const {length}) (i32.const {HOST_RESULT}))
             (if (call $check) (then
                (call $receive (i32.const 70000))
                (if (call $check) (then
                    (i64.store (i32.const {value}) (i64.load32_u (i32.const {received}))))))
              (else (i64.store (i32.const {value}) (i64.load32_u (i32.const {limit})))))
             (call $udp_close (global.get $handle))
             i32.const {COLLECT_RESULT}",
            value = VALUE + 8,
            received = HOST_RESULT + 12,
            limit = HOST_RESULT + 8,
        ))
    };
    let setup = granting(&[&address]);
    assert_eq!(run(&setup, &guest(65_507)), (SUCCESS, 65_507.into()));
    assert_eq!(run(&setup, &guest(65_508)), (TOO_LARGE, 65_507.into()));
    assert_eq!(run(&setup, &guest(0)), (SUCCESS, 0.into()), "an empty one is a datagram, too");
}

#[test]
fn datagrams_of_strangers_are_dropped() {
    let (socket, address) = peer();
    let (sender, answered) = mpsc::channel();
    thread::spawn(move || {
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        while let Ok((_, from)) = socket.recv_from(&mut [0; 100]) {
            // On the same machine, datagrams arrive in the order in which they are sent.
            for _ in 0..10 {
                stranger.send_to(b"evil", from).expect("sent");
            }
            socket.send_to(b"pong", from).expect("sent");
            let _ = sender.send(());
        }
    });
    assert_eq!(ping(&address), (4, "pong".into()));
    answered.try_recv().expect("strangers have sent");
}

#[test]
fn sockets_and_connections_share_a_limit() {
    let server = Server::start(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let (tcp, udp) = (server.address.to_string(), format!("udp:{}", udp_echo()));
    let mut guest = sending_guest(&udp, None, "");
    let (at, length) = guest.text(&tcp);
    let connect = format!(
        "(call $net_connect (i32.const {at}) (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const {HOST_RESULT}))"
    );
    // Ten connections, and then one socket more than there may be, at the first call.
    let guest = guest.collect(&format!(
        "(local $left i32) (local.set $left (i32.const 10))
         (if (i32.lt_s (global.get $handle) (i32.const 0)) (then
            (loop $on
                {connect} (if (i32.eqz (call $check)) (then unreachable))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $on (local.get $left)))
            (local.set $left (i32.const 7))
            (loop $on
                (call $open)
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $on (i32.and (call $check) (i32.ne (local.get $left) (i32.const 0)))))
            (if (local.get $left) (then unreachable))))
         i32.const {COLLECT_RESULT}"
    ));
    let setup = granting(&[&tcp, &udp]);
    let (case, message) = run(&setup, &guest);
    assert!(case == EXHAUSTED && contains(&message, "16 connections and sockets are open"), "{case} {message}");
    let again = guest.after_collect("(call $udp_close (global.get $handle)) (call $open) (drop (call $check))");
    assert_eq!(run(&setup, &again).0, SUCCESS, "one was closed");
}

#[test]
fn socket_lives_as_long_as_its_guest() {
    let (socket, address) = peer();
    let setup = Setup::with_config(&format!("interval = \"100ms\"\n[plugins.caller]\nconnect = [{address:?}]\n"));
    let guest = sending_guest(&address, None, "ping").collect(&format!(
        "(if (i32.lt_s (global.get $handle) (i32.const 0)) (then
            (call $open) (if (i32.eqz (call $check)) (then unreachable))))
         (call $send) (if (i32.eqz (call $check)) (then unreachable))
         i32.const {COLLECT_RESULT}"
    ));
    guest.install(&setup.plugin("caller.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| module_outcome(sample, "caller").is_some());
    // The first ones are those of the trial.
    let from = || socket.recv_from(&mut [0; 100]).expect("a datagram").1;
    let mut sources = vec![from()];
    while sources.iter().filter(|source| Some(*source) == sources.last()).count() < 3 {
        sources.push(from());
    }
    let kept = *sources.last().expect("one");
    std::fs::remove_file(setup.plugin("caller.wasm")).expect("removed");
    agent.wait(|sample| module_outcome(sample, "caller").is_none());
    // Once the socket is closed, its host refuses what the peer sends to it.
    socket.connect(kept).expect("connected");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
    let until = Instant::now() + DEADLINE;
    let is_refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    while !socket.send(b"x").is_err_and(is_refused) && !socket.recv(&mut [0; 100]).is_err_and(is_refused) {
        assert!(Instant::now() < until, "the socket is closed with its guest");
    }
}
