//! A bus on a scripted connection, on which systemd answers.

use gauged_plugin::testing::ScriptedConnection;

use super::message::{Body, ByteOrder, Listed, Message, path};
use crate::dbus;
use crate::dbus::message::Call;
use crate::system::{PROPERTIES, SYSTEMD};

/// A reply as the bus passes it on.
fn sent(message: Message) -> Vec<u8> {
    message.with(7, ":1.2").with(6, ":1.42").to_bytes()
}

pub(super) fn text(order: ByteOrder, to: u32, value: &str) -> Vec<u8> {
    sent(Message::reply(order, to, Body::text(order, value)))
}

pub(super) fn number(order: ByteOrder, to: u32, kind: &str, value: u64) -> Vec<u8> {
    sent(Message::reply(order, to, Body::number(order, kind, value)))
}

pub(super) fn list(order: ByteOrder, to: u32, units: &[Listed<'_>]) -> Vec<u8> {
    sent(Message::reply(order, to, Body::list(order, units)))
}

pub(super) fn error(to: u32, name: &str, why: &str) -> Vec<u8> {
    sent(Message::error(ByteOrder::Little, to, name, why))
}

pub(super) fn signal() -> Vec<u8> {
    let order = ByteOrder::Little;
    let body = Body::new(order, "s", |body| body.text(":1.42"));
    let signal = Message { kind: 4, reply_to: None, ..Message::reply(order, 9, body) };
    sent(signal.with(1, "/org/freedesktop/DBus").with(2, "org.freedesktop.DBus").with(3, "NameAcquired"))
}

/// A call of the plugin's.
fn call(serial: u32, path: &str, interface: &str, member: &str, arguments: &[&str]) -> Vec<u8> {
    Call { destination: SYSTEMD, path, interface, member, arguments }.encode(serial, dbus::ByteOrder::Little)
}

/// The question for a property of a unit.
pub(super) fn get(serial: u32, unit: &str, interface: &str, property: &str) -> Vec<u8> {
    call(serial, &path(unit), PROPERTIES, "Get", &[&format!("org.freedesktop.systemd1.{interface}"), property])
}

/// The first question of a tick, whose calls are numbered from here on.
pub(super) fn question(first: u32) -> Vec<u8> {
    let object = "/org/freedesktop/systemd1";
    let manager = "org.freedesktop.systemd1.Manager";
    let mut bytes = call(first, object, manager, "ListUnits", &[]);
    for (at, property) in (first + 1..).zip(["Version", "SystemState", "Virtualization"]) {
        bytes.extend(call(at, object, PROPERTIES, "Get", &[manager, property]));
    }
    bytes
}

/// The answers to it.
pub(super) fn answers(order: ByteOrder, first: u32, units: &[Listed<'_>]) -> Vec<u8> {
    let texts = [(1, "252.39-1~deb12u1"), (2, "running"), (3, "kvm")];
    let texts = texts.map(|(at, value)| text(order, first + at, value));
    [list(order, first, units), texts.concat()].concat()
}

/// A connection that authenticates, on which the plugin's first call has the number 2.
pub(super) fn authenticated() -> ScriptedConnection {
    let hello = Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
        arguments: &[],
    };
    let name = Body::new(ByteOrder::Little, "s", |body| body.text(":1.42"));
    let name = sent(Message::reply(ByteOrder::Little, 1, name));
    let connection = ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n").replies("DATA\r\n").expects("DATA\r\n");
    let connection = connection.replies("OK 0123456789abcdef0123456789abcdef\r\n").expects("BEGIN\r\n");
    connection.expects(hello.encode(1, dbus::ByteOrder::Little)).replies([name, signal()].concat())
}
