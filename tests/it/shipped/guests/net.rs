//! Guests of the interface `net`.

use super::{TOLD, measuring, number, storing_text, text};
use crate::guest::{Guest, HOST_RESULT};

const INTERFACE: &str = "gauged:plugin/net";

/// A conversation with the configured address, and an attempt at another.
pub fn talks() -> Guest {
    let (mut guest, [answer, denied]) = measuring("talks", ["answer", "denied"]);
    guest = guest
        .import(INTERFACE, "[static]connection.connect", "(func $connect (param i32 i32 i32 i32 i32))")
        .import(INTERFACE, "[method]connection.write", "(func $write (param i32 i32 i32 i32))")
        .import(INTERFACE, "[method]connection.read", "(func $read (param i32 i32 i32))")
        .import(INTERFACE, "[resource-drop]connection", "(func $close (param i32))");
    let [sent, other] = ["ping", "192.0.2.1:1"].map(|text| guest.text(text));
    let fine = format!("(if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))");
    guest.with("(global $handle (mut i32) (i32.const -1))").configure(&storing_text()).before_collect(&format!(
        "(call $connect (i32.load (i32.const {TOLD})) (i32.load (i32.const {told_length}))
                (i32.const 1) (i32.const 1500) (i32.const {HOST_RESULT}))
             {fine}
             (global.set $handle (i32.load (i32.const {payload})))
             (call $write (global.get $handle) (i32.const {}) (i32.const {}) (i32.const {HOST_RESULT}))
             {fine}
             (call $read (global.get $handle) (i32.const 100) (i32.const {HOST_RESULT}))
             {fine}
             {shown}
             (call $close (global.get $handle))
             (call $connect (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const {HOST_RESULT}))
             {refused}",
        sent.0,
        sent.1,
        other.0,
        other.1,
        told_length = TOLD + 4,
        payload = HOST_RESULT + 4,
        shown = text(answer, HOST_RESULT + 4),
        refused = number(
            denied,
            &format!(
                "(i64.extend_i32_u (select (i32.load8_u (i32.const {})) (i32.const 255)
                        (i32.load8_u (i32.const {HOST_RESULT}))))",
                HOST_RESULT + 4
            )
        ),
    ))
}

/// A connection to the configured address that is encrypted for `localhost`: the session, and a conversation over it.
pub fn encrypts() -> Guest {
    let (mut guest, [version, not_before, not_after, subject, issuer, end_point, answer]) =
        measuring("encrypts", ["version", "not_before", "not_after", "subject", "issuer", "end_point_bytes", "answer"]);
    guest = guest
        .import(INTERFACE, "[static]connection.connect", "(func $connect (param i32 i32 i32 i32 i32))")
        .import(INTERFACE, "[method]connection.start-tls", "(func $start_tls (param i32 i32 i32 i32))")
        .import(INTERFACE, "[method]connection.write", "(func $write (param i32 i32 i32 i32))")
        .import(INTERFACE, "[method]connection.read", "(func $read (param i32 i32 i32))")
        .import(INTERFACE, "[resource-drop]connection", "(func $close (param i32))");
    let [name, sent] = ["localhost", "ping"].map(|text| guest.text(text));
    let fine = format!("(if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))");
    // The channel, in the result.
    let channel = HOST_RESULT + 8;
    let loaded = |at: u32| format!("(i64.load (i32.const {}))", channel + at);
    let steps = [
        format!(
            "(call $connect (i32.load (i32.const {TOLD})) (i32.load (i32.const {})) (i32.const 0) (i32.const 0)
                (i32.const {HOST_RESULT}))
             {fine} (global.set $handle (i32.load (i32.const {})))
             (call $start_tls (global.get $handle) (i32.const {}) (i32.const {}) (i32.const {HOST_RESULT})) {fine}",
            TOLD + 4,
            HOST_RESULT + 4,
            name.0,
            name.1,
        ),
        text(version, channel),
        number(not_before, &loaded(8)),
        number(not_after, &loaded(16)),
        text(subject, channel + 24),
        text(issuer, channel + 32),
        // Whether there is an end point, and its length.
        format!("(if (i32.eqz (i32.load8_u (i32.const {}))) (then unreachable))", channel + 40),
        number(end_point, &format!("(i64.load32_u (i32.const {}))", channel + 48)),
        format!(
            "(call $write (global.get $handle) (i32.const {}) (i32.const {}) (i32.const {HOST_RESULT})) {fine}
             (call $read (global.get $handle) (i32.const 100) (i32.const {HOST_RESULT})) {fine}",
            sent.0, sent.1
        ),
        text(answer, HOST_RESULT + 4),
        "(call $close (global.get $handle))".to_owned(),
    ];
    guest.with("(global $handle (mut i32) (i32.const -1))").configure(&storing_text()).before_collect(&steps.concat())
}

/// A datagram to the configured address, the first bytes of the answer, and an attempt at another address.
pub fn datagrams() -> Guest {
    let (mut guest, [answer, length, denied]) = measuring("datagrams", ["answer", "length", "denied"]);
    guest = guest
        .import(INTERFACE, "[static]datagram-socket.connect", "(func $open (param i32 i32 i32 i32 i32))")
        .import(INTERFACE, "[method]datagram-socket.send", "(func $send (param i32 i32 i32 i32))")
        .import(INTERFACE, "[method]datagram-socket.receive", "(func $receive (param i32 i32 i32))")
        .import(INTERFACE, "[resource-drop]datagram-socket", "(func $close (param i32))");
    let [sent, other] = ["ping", "udp:192.0.2.1:1"].map(|text| guest.text(text));
    let fine = format!("(if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))");
    let steps = [
        format!(
            "(call $open (i32.load (i32.const {TOLD})) (i32.load (i32.const {})) (i32.const 1) (i32.const 1500)
                (i32.const {HOST_RESULT}))
             {fine} (global.set $handle (i32.load (i32.const {})))
             (call $send (global.get $handle) (i32.const {}) (i32.const {}) (i32.const {HOST_RESULT})) {fine}
             (call $receive (global.get $handle) (i32.const 3) (i32.const {HOST_RESULT})) {fine}",
            TOLD + 4,
            HOST_RESULT + 4,
            sent.0,
            sent.1,
        ),
        text(answer, HOST_RESULT + 4),
        number(length, &format!("(i64.load32_u (i32.const {}))", HOST_RESULT + 12)),
        format!(
            "(call $close (global.get $handle))
             (call $open (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const {HOST_RESULT}))",
            other.0, other.1
        ),
        number(
            denied,
            &format!(
                "(i64.extend_i32_u (select (i32.load8_u (i32.const {})) (i32.const 255)
                    (i32.load8_u (i32.const {HOST_RESULT}))))",
                HOST_RESULT + 4
            ),
        ),
    ];
    guest.with("(global $handle (mut i32) (i32.const -1))").configure(&storing_text()).before_collect(&steps.concat())
}
