//! systemd, as far as the plugin asks it: a few units that never change. It answers on a socket of its own, as a bus would, or as a
//! client of a real bus.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::message::{Body, ByteOrder, Listed, Message, path};

/// The value of a property.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Text(&'static str),
    U32(u64),
    U64(u64),
}

/// A property: its interface without `org.freedesktop.systemd1.`, its name and value.
pub type Property = (&'static str, &'static str, Value);

/// The properties of the manager.
const MANAGER: [Property; 3] = [
    ("Manager", "Version", Value::Text("252.39-1~deb12u1")),
    ("Manager", "SystemState", Value::Text("degraded")),
    ("Manager", "Virtualization", Value::Text("kvm")),
];

/// A time that is no whole number of seconds.
const TIME: u64 = 1_790_000_000_123_456;

/// The units: name, whether it is loaded, state, properties.
pub const UNITS: [(&str, &str, &str, &[Property]); 11] = [
    (
        "ssh.service",
        "loaded",
        "active",
        &[
            ("Service", "Type", Value::Text("notify")),
            ("Service", "NRestarts", Value::U32(3)),
            ("Service", "TasksCurrent", Value::U64(7)),
            ("Service", "TasksMax", Value::U64(4915)),
            ("Unit", "ActiveEnterTimestamp", Value::U64(TIME)),
        ],
    ),
    (
        "backup.service",
        "loaded",
        "failed",
        &[
            ("Service", "Type", Value::Text("oneshot")),
            ("Service", "NRestarts", Value::U32(0)),
            ("Service", "TasksCurrent", Value::U64(u64::MAX)),
            ("Service", "TasksMax", Value::U64(u64::MAX)),
        ],
    ),
    (
        "getty@tty1.service",
        "loaded",
        "activating",
        &[
            ("Service", "Type", Value::Text("idle")),
            ("Service", "NRestarts", Value::U32(4_000_000_000)),
            ("Service", "TasksCurrent", Value::U64(1)),
            ("Service", "TasksMax", Value::U64(1 << 40)),
        ],
    ),
    (
        "web.service",
        "loaded",
        "reloading",
        &[
            ("Service", "Type", Value::Text("notify-reload")),
            ("Service", "NRestarts", Value::U32(1)),
            ("Service", "TasksCurrent", Value::U64(20)),
            ("Service", "TasksMax", Value::U64(100)),
        ],
    ),
    ("gone.service", "not-found", "inactive", &[]),
    (
        "backup.timer",
        "loaded",
        "active",
        &[("Timer", "LastTriggerUSec", Value::U64(TIME + 1)), ("Unit", "ActiveEnterTimestamp", Value::U64(TIME + 2))],
    ),
    ("new.timer", "loaded", "inactive", &[("Timer", "LastTriggerUSec", Value::U64(0))]),
    (
        "ssh.socket",
        "loaded",
        "active",
        &[
            ("Socket", "NAccepted", Value::U32(4001)),
            ("Socket", "NConnections", Value::U32(2)),
            ("Socket", "NRefused", Value::U32(5)),
            ("Unit", "ActiveEnterTimestamp", Value::U64(TIME + 3)),
        ],
    ),
    (r"system-\x2d.target", "loaded", "active", &[("Unit", "ActiveEnterTimestamp", Value::U64(TIME + 4))]),
    ("dev-vda.device", "loaded", "active", &[]),
    ("-.mount", "loaded", "active", &[("Mount", "Type", Value::Text("ext4"))]),
];

/// A call that was received.
#[derive(Debug)]
pub struct Call {
    pub serial: u32,
    sender: String,
    path: String,
    pub member: String,
    arguments: Vec<String>,
}

/// A connection, of which either end may be a client.
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    pub fn send(&mut self, bytes: &[u8]) {
        // The other end may be gone.
        let _ = self.0.get_mut().write_all(bytes);
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|&count| count > 0).map(|_| line)
    }

    /// Lets a client in, as a bus does. None if it is gone.
    pub fn authenticate(&mut self) -> Option<()> {
        (self.line()? == "\0AUTH EXTERNAL\r\n").then_some(())?;
        self.send(b"DATA\r\n");
        (self.line()? == "DATA\r\n").then_some(())?;
        self.send(b"OK 0123456789abcdef0123456789abcdef\r\n");
        (self.line()? == "BEGIN\r\n").then_some(())
    }

    /// Becomes a client of a bus, with a name.
    fn join(address: &Path, name: &str) -> Self {
        let mut bus = Self(BufReader::new(UnixStream::connect(address).expect("a bus")));
        bus.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        while !bus.line().expect("it lets the service in").starts_with("OK") {}
        let request = Body::new(ByteOrder::Little, "su", |body| {
            body.text(name);
            body.number(0, 4);
        });
        let nothing = Body::new(ByteOrder::Little, "", |_| {});
        for (serial, member, body) in [(1, "Hello", nothing), (2, "RequestName", request)] {
            let call = Message { kind: 1, serial, reply_to: None, ..Message::reply(ByteOrder::Little, 1, body) };
            let call = call.with(1, "/org/freedesktop/DBus").with(2, "org.freedesktop.DBus").with(3, member);
            bus.send(&call.with(6, "org.freedesktop.DBus").to_bytes());
        }
        bus
    }

    /// The next call. None if the other end is gone.
    pub fn call(&mut self) -> Option<Call> {
        loop {
            let mut head = [0; 16];
            self.0.read_exact(&mut head).ok()?;
            assert_eq!(head[0], b'l', "the clients of this test are little-endian");
            let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four")) as usize;
            let (body_bytes, field_bytes) = (number(4), number(12).next_multiple_of(8));
            let mut rest = vec![0; field_bytes + body_bytes];
            self.0.read_exact(&mut rest).ok()?;
            let (fields, body) = rest.split_at(field_bytes);
            let mut call = Call {
                serial: u32::try_from(number(8)).expect("32 bits"),
                sender: String::new(),
                path: String::new(),
                member: String::new(),
                arguments: Vec::new(),
            };
            let mut at = 0;
            while at + 8 <= number(12) {
                let (code, kind) = (fields[at], fields[at + 2]);
                let (value, length) = match kind {
                    b'g' => (at + 5, fields[at + 4] as usize),
                    b'u' => (at + 4, 3),
                    _ => (at + 8, u32::from_le_bytes(fields[at + 4..at + 8].try_into().expect("four")) as usize),
                };
                let text = || String::from_utf8_lossy(&fields[value..value + length]).into_owned();
                match code {
                    1 => call.path = text(),
                    3 => call.member = text(),
                    7 => call.sender = text(),
                    _ => {}
                }
                at = (value + length + 1).next_multiple_of(8);
            }
            let mut at = 0;
            while at + 4 <= body.len() {
                let length = u32::from_le_bytes(body[at..at + 4].try_into().expect("four")) as usize;
                let text = body.get(at + 4..at + 4 + length).unwrap_or_default();
                call.arguments.push(String::from_utf8_lossy(text).into_owned());
                at = (at + 4 + length + 1).next_multiple_of(4);
            }
            // Others are replies and signals of a bus.
            if head[1] == 1 {
                return Some(call);
            }
        }
    }

    /// Answers calls until the other end is gone.
    pub fn serve(&mut self, order: ByteOrder) {
        while let Some(call) = self.call() {
            self.send(&answer(order, &call));
        }
    }
}

/// systemd's answer to a call, or that of a bus to `Hello`.
pub fn answer(order: ByteOrder, call: &Call) -> Vec<u8> {
    let reply = |body| Message::reply(order, call.serial, body);
    let message = match (&*call.member, &call.arguments[..]) {
        ("Hello", []) => reply(Body::new(order, "s", |body| body.text(":1.7"))),
        ("ListUnits", []) => {
            let units: Vec<Listed<'_>> = UNITS.iter().map(|&(name, load, state, _)| (name, load, state)).collect();
            reply(Body::list(order, &units))
        }
        ("Get", [interface, name]) => match property(&call.path, interface, name) {
            Some(Value::Text(text)) => reply(Body::text(order, text)),
            Some(Value::U32(number)) => reply(Body::number(order, "u", number)),
            Some(Value::U64(number)) => reply(Body::number(order, "t", number)),
            None => Message::error(order, call.serial, "org.freedesktop.DBus.Error.UnknownProperty", name),
        },
        (member, _) => Message::error(order, call.serial, "org.freedesktop.DBus.Error.UnknownMethod", member),
    };
    // On a bus a reply needs its destination.
    let is_on_a_bus = !call.sender.is_empty();
    if is_on_a_bus { message.with(6, &call.sender).to_bytes() } else { message.to_bytes() }
}

fn property(object: &str, interface: &str, name: &str) -> Option<Value> {
    let interface = interface.strip_prefix("org.freedesktop.systemd1.")?;
    let unit = UNITS.iter().find(|(unit, ..)| path(unit) == object).map(|(.., properties)| *properties);
    let mut properties = unit.unwrap_or(&MANAGER).iter();
    properties.find(|property| (property.0, property.1) == (interface, name)).map(|property| property.2)
}

/// A socket on which a function has each connection.
pub fn listen(socket: &Path, serve: impl Fn(Connection) + Send + Sync + 'static) {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).expect("a socket");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(Connection(BufReader::new(stream))));
        }
    });
}

/// systemd on a bus, until it is dropped.
pub struct Service(UnixStream);

impl Service {
    pub fn start(bus: &Path, order: ByteOrder) -> Self {
        let mut connection = Connection::join(bus, "org.freedesktop.systemd1");
        let stream = connection.0.get_ref().try_clone().expect("a descriptor");
        thread::spawn(move || connection.serve(order));
        Self(stream)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}
