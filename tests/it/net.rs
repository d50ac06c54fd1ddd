//! Connections of guests to TCP servers and unix sockets, in clear and over TLS, and datagrams.

pub mod tls_server;
mod start_tls;
pub mod datagrams;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::mpsc;

use rustix::process::geteuid;
use serde_json::Value;

use crate::guest::{Guest, HOST_RESULT, SECOND_VALUE, VALUE};
use crate::harness::{Sample, Setup, parse, value};
use crate::server::{Server, closed_port, unix_echo};
use crate::skip::skip;

/// The cases of the error in the interface `net`.
pub const DENIED: u32 = 0;
const FORBIDDEN: u32 = 1;
const INVALID_ADDRESS: u32 = 2;
const NOT_PERMITTED: u32 = 3;
pub const RESOLVE: u32 = 5;
const NOT_FOUND: u32 = 6;
const REFUSED: u32 = 7;
const UNREACHABLE: u32 = 8;
const RESET: u32 = 9;
const TLS: u32 = 10;
const TOO_LARGE: u32 = 11;
const EXHAUSTED: u32 = 12;
pub const TIMEOUT: u32 = 13;
const IO: u32 = 14;

/// The errors whose text, or missing grant, is the second of their texts, after the code or the kind.
const OF_SEVERAL_TEXTS: u32 = 1 << DENIED | 1 << NOT_PERMITTED | 1 << REFUSED | 1 << UNREACHABLE | 1 << RESET | 1 << IO;

/// The errors without a text.
const WITHOUT_TEXT: u32 = 1 << NOT_FOUND | 1 << TOO_LARGE | 1 << TIMEOUT;

/// The metric `case` without an error.
pub const SUCCESS: u32 = 100;

/// A guest with functions for a connection: `$connect`, `$write` and `$read`. After each of them `$check` sets the metric
/// `case` to [`SUCCESS`] or the number of the error, sets `value` to the text of the error, and returns whether there was none.
/// The handle of the connection is in `$handle`.
fn connecting_guest(address: &str, timeout_ms: Option<u32>, sent: &str) -> Guest {
    connecting_guest_as("caller", address, timeout_ms, sent)
}

pub fn connecting_guest_as(module: &str, address: &str, timeout_ms: Option<u32>, sent: &str) -> Guest {
    let interface = "gauged:plugin/net";
    let mut guest = Guest::new(module)
        .second("case")
        .import(interface, "[static]connection.connect", "(func $net_connect (param i32 i32 i32 i32 i32))")
        .import(interface, "[method]connection.write", "(func $net_write (param i32 i32 i32 i32))")
        .import(interface, "[method]connection.read", "(func $net_read (param i32 i32 i32))")
        .import(interface, "[resource-drop]connection", "(func $close (param i32))");
    let ((at, length), (sent_at, sent_length)) = (guest.text(address), guest.text(sent));
    let (is_some, timeout) = (u32::from(timeout_ms.is_some()), timeout_ms.unwrap_or(0));
    guest.with(&format!(
        "(global $handle (mut i32) (i32.const -1))
         (func $connect
            (call $net_connect (i32.const {at}) (i32.const {length}) (i32.const {is_some}) (i32.const {timeout})
                (i32.const {HOST_RESULT}))
            (if (i32.eqz (i32.load8_u (i32.const {HOST_RESULT})))
                (then (global.set $handle (i32.load (i32.const {error}))))))
         (func $write
            (call $net_write (global.get $handle) (i32.const {sent_at}) (i32.const {sent_length}) (i32.const {HOST_RESULT})))
         (func $read (param $most i32)
            (call $net_read (global.get $handle) (local.get $most) (i32.const {HOST_RESULT})))
         (func $show (param $from i32)
            (i32.store (i32.const {VALUE}) (i32.const 4))
            (i32.store (i32.const {value}) (i32.load (local.get $from)))
            (i32.store (i32.const {value_length}) (i32.load (i32.add (local.get $from) (i32.const 4)))))
         (func $is_of (param $errors i32) (result i32)
            (i32.and (i32.shr_u (local.get $errors) (i32.load8_u (i32.const {error}))) (i32.const 1)))
         (func $check (result i32)
            (i32.store (i32.const {VALUE}) (i32.const 0))
            (i64.store (i32.const {value}) (i64.const 0))
            (if (result i32) (i32.load8_u (i32.const {HOST_RESULT}))
                (then
                    (i32.store (i32.const {case}) (i32.load8_u (i32.const {error})))
                    (if (i32.eqz (call $is_of (i32.const {WITHOUT_TEXT})))
                        (then (call $show (select (i32.const {second}) (i32.const {message})
                            (call $is_of (i32.const {OF_SEVERAL_TEXTS}))))))
                    i32.const 0)
                (else
                    (i32.store (i32.const {case}) (i32.const {SUCCESS}))
                    i32.const 1)))",
        error = HOST_RESULT + 4,
        message = HOST_RESULT + 8,
        second = HOST_RESULT + 16,
        value = VALUE + 8,
        value_length = VALUE + 12,
        case = SECOND_VALUE + 8,
    ))
}

/// Instructions that make the bytes of the last `$read` the guest's value.
fn show_read() -> String {
    format!("(call $show (i32.const {}))", HOST_RESULT + 4)
}

/// A guest that connects, sends `ping`, makes the reply its value, and closes the connection, at every tick.
fn ping_guest(address: &str, timeout_ms: Option<u32>) -> Guest {
    ping_guest_as("caller", address, timeout_ms)
}

/// The same guest with another module.
pub fn ping_guest_as(module: &str, address: &str, timeout_ms: Option<u32>) -> Guest {
    connecting_guest_as(module, address, timeout_ms, "ping").before_collect(&format!(
        "(call $connect)
         (if (call $check) (then
            (call $write)
            (if (call $check) (then
                (call $read (i32.const 100))
                (if (call $check) (then {}))))
            (call $close (global.get $handle))))",
        show_read()
    ))
}

fn outcome(sample: &Sample) -> Option<(u32, Value)> {
    module_outcome(sample, "caller")
}

/// The metrics `case` and `value` of a module.
pub fn module_outcome(sample: &Sample, module: &str) -> Option<(u32, Value)> {
    Some((sample.get(module)?.get("case")?.as_u64()? as u32, value(sample, module)?))
}

/// A setup whose guest has these grants.
fn granting(granted: &[&str]) -> Setup {
    Setup::with_config(&format!("[plugins.caller]\ntimeout = \"10s\"\nconnect = {granted:?}\n"))
}

/// Runs a guest once; returns `case` and `value`.
fn run(setup: &Setup, guest: &Guest) -> (u32, Value) {
    guest.install(&setup.plugin("caller.wasm"));
    let (sample, log) = setup.once();
    outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}"))
}

fn contains(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.contains(text))
}

#[test]
fn connection_sends_and_receives_bytes() {
    let server = Server::echo();
    let port = server.port();
    for (granted, address) in [
        (format!("127.0.0.1:{port}"), format!("[::ffff:127.0.0.1]:{port}")),
        (format!("LocalHost:{port}"), format!("localhost:{port}")),
    ] {
        assert_eq!(run(&granting(&[&granted]), &ping_guest(&address, None)), (SUCCESS, "ping".into()));
    }
}

#[test]
fn only_granted_addresses_are_connected_to() {
    let server = Server::echo();
    let port = server.port();
    let setup = granting(&["db:5432", "127.0.0.1:1", "unix:/run/db/*"]);
    for (address, missing) in [
        (&*format!("127.0.0.1:{port}"), &*format!("127.0.0.1:{port}")),
        ("DB:5433", "db:5433"),
        ("169.254.169.254:80", "169.254.169.254:80"),
        ("unix:/run/other", "unix:/run/other"),
    ] {
        assert_eq!(run(&setup, &ping_guest(address, None)), (DENIED, missing.into()));
    }
    for address in ["db", "db:0", "127.1:1", "unix:run/db/x", "unix:/run/db/../x", "db:5432@127.0.0.1:1"] {
        let (case, message) = run(&setup, &ping_guest(address, None));
        assert!(case == INVALID_ADDRESS && contains(&message, address), "{address}: {message}");
    }
    assert_eq!(run(&setup, &ping_guest("unix:/proc/self/cwd/x", None)).0, FORBIDDEN);
    assert_eq!(server.connections(), 0);

    let refused = format!("127.0.0.1:{}", closed_port());
    let (case, message) = run(&granting(&[&refused]), &ping_guest(&refused, None));
    assert_eq!((case, message), (REFUSED, "Connection refused".into()));
}

#[test]
fn unix_sockets_need_a_matching_grant() {
    let sockets = tempfile::tempdir().expect("a directory");
    let root = sockets.path().canonicalize().expect("it exists");
    for directory in ["run/open", "run/closed"] {
        fs::create_dir_all(root.join(directory)).expect("created");
        unix_echo(&root.join(directory).join("socket"));
    }
    fs::write(root.join("run/open/file"), "").expect("written");
    symlink("socket", root.join("run/open/within")).expect("linked");
    symlink("../closed/socket", root.join("run/open/out")).expect("linked");
    symlink("../closed", root.join("run/open/directory")).expect("linked");
    symlink("/run/open/socket", root.join("run/open/absolute")).expect("linked");
    // By the root of another process, which leads to the granted socket.
    let magic = format!("/proc/{}/root{}/run/open/socket", std::process::id(), root.display());
    symlink(magic, root.join("run/open/magic")).expect("linked");
    let setup = granting(&["unix:/run/open/*", "unix:/run/open/directory/*"]);
    let connect = |path: &str| {
        ping_guest(&format!("unix:{path}"), None).install(&setup.plugin("caller.wasm"));
        let (sample, log) = setup.once_with(&["--root", root.to_str().expect("text")]);
        outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}"))
    };
    assert_eq!(connect("/run/open/socket"), (SUCCESS, "ping".into()));
    assert_eq!(connect("/run/open/within"), (SUCCESS, "ping".into()));
    assert_eq!(connect("/run/open/absolute"), (SUCCESS, "ping".into()), "the link is that host's");
    let missing = "unix:/run/closed/socket";
    assert_eq!(connect("/run/open/out"), (DENIED, missing.into()));
    assert_eq!(connect("/run/open/directory/socket"), (DENIED, missing.into()));
    assert_eq!(connect("/run/open/file"), (REFUSED, "the file is not a socket".into()));
    for path in ["/run/open/none", "/run/open/magic"] {
        assert_eq!(connect(path), (NOT_FOUND, 0.into()), "{path}: that host has no processes");
    }

    let own_root = granting(&[&format!("unix:{}/run/open/*", root.display())]);
    ping_guest(&format!("unix:{}/run/open/magic", root.display()), None).install(&own_root.plugin("caller.wasm"));
    let (sample, log) = own_root.once();
    let (case, message) = outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}"));
    assert!(case == FORBIDDEN && contains(&message, "magic link"), "{case} {message}");
}

#[test]
fn refused_unix_socket_is_not_permitted() {
    if !geteuid().is_root() {
        return skip("refused_unix_socket_is_not_permitted", "another user is needed");
    }
    let sockets = tempfile::tempdir().expect("a directory");
    let socket = sockets.path().join("socket");
    unix_echo(&socket);
    let address = format!("unix:{}", socket.display());
    let setup = granting(&[&address]);
    ping_guest(&address, None).install(&setup.plugin("caller.wasm"));
    for (at, mode) in [(&*socket, 0o600), (sockets.path(), 0o700)] {
        fs::set_permissions(sockets.path(), fs::Permissions::from_mode(0o755)).expect("set");
        fs::set_permissions(at, fs::Permissions::from_mode(mode)).expect("set");
        let output = setup.command_without_root(&["--once"]).output().expect("it runs");
        let [sample, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        let (case, message) = outcome(&parse(&sample)).unwrap_or_else(|| panic!("{sample}\n{log}"));
        assert_eq!((case, message), (NOT_PERMITTED, "Permission denied".into()), "{log}");
    }
}

#[test]
fn reset_connection_differs_from_closed() {
    let server = Server::start(|mut stream| {
        // Bytes that were not read reset a connection that is closed.
        let _ = stream.read(&mut [0]);
    });
    let address = server.address.to_string();
    let expected = (RESET, "Connection reset by peer".into());
    assert_eq!(run(&granting(&[&address]), &ping_guest(&address, None)), expected);
}

#[test]
fn connection_operations_have_a_deadline() {
    let silent = Server::start(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let address = silent.address.to_string();
    let setup = Setup::with_config(&format!(
        "interval = \"200ms\"\n[plugins.caller]\ntimeout = \"1s\"\nconnect = [\"{address}\"]\n"
    ));
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    for timeout in [Some(20), None] {
        ping_guest(&address, timeout).install(&setup.plugin("caller.wasm"));
        let sample = agent.wait(|sample| outcome(sample).is_some());
        assert_eq!(outcome(&sample), Some((TIMEOUT, 0.into())), "{}", agent.log());
        fs::remove_file(setup.plugin("caller.wasm")).expect("removed");
        agent.wait(|sample| outcome(sample).is_none());
    }
    agent.assert_never_absent("good");

    // A peer that reads nothing: the buffers fill, and a write waits.
    let stubborn = Server::start(|stream| {
        let _ = stream.peek(&mut [0]);
        std::thread::park();
    });
    let address = stubborn.address.to_string();
    let guest = connecting_guest(&address, Some(200), &"x".repeat(60_000)).before_collect(
        "(call $connect)
         (if (call $check) (then (loop $on (call $write) (br_if $on (call $check)))))",
    );
    assert_eq!(run(&granting(&[&address]), &guest), (TIMEOUT, 0.into()));
}

#[test]
fn connection_lives_as_long_as_its_guest() {
    let (sender, ends) = mpsc::channel();
    let server = Server::start(move |stream| {
        let (mut from, mut to) = (&stream, &stream);
        let _ = std::io::copy(&mut from, &mut to);
        let _ = sender.send(());
    });
    let address = server.address.to_string();
    let setup = Setup::with_config(&format!("interval = \"100ms\"\n[plugins.caller]\nconnect = [\"{address}\"]\n"));
    let guest = connecting_guest(&address, None, "ping").before_collect(&format!(
        "(if (i32.lt_s (global.get $handle) (i32.const 0)) (then
            (call $connect) (if (i32.eqz (call $check)) (then unreachable))))
         (call $write)
         (if (call $check) (then (call $read (i32.const 100)) (if (call $check) (then {}))))",
        show_read()
    ));
    guest.install(&setup.plugin("caller.wasm"));
    let mut agent = setup.start(&[]);
    for _ in 0..3 {
        let sample = agent.wait(|sample| outcome(sample).is_some());
        assert_eq!(outcome(&sample), Some((SUCCESS, "ping".into())), "{}", agent.log());
    }
    assert_eq!(server.connections(), 1);
    fs::remove_file(setup.plugin("caller.wasm")).expect("removed");
    ends.recv_timeout(crate::harness::DEADLINE).expect("the connection is closed with the guest");
    agent.next();
}

#[test]
fn open_connections_per_guest_are_limited() {
    let server = Server::start(|mut stream| {
        let _ = stream.read(&mut [0]);
    });
    let address = server.address.to_string();
    // One more than the limit.
    let guest = connecting_guest(&address, None, "").before_collect(
        "(local $left i32) (local.set $left (i32.const 17))
         (loop $on
            (call $connect)
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $on (i32.and (call $check) (i32.ne (local.get $left) (i32.const 0)))))",
    );
    let setup = granting(&[&address]);
    let (case, message) = run(&setup, &guest);
    assert!(case == EXHAUSTED && contains(&message, "16 connections and sockets are open"), "{message}");
    assert_eq!(server.connections(), 16, "the excess connection is not attempted");
    // After one is closed, another can be opened.
    let again = guest.with("(func $again (call $close (global.get $handle)) (call $connect) (drop (call $check)))");
    let again = again.after_collect("(call $again)");
    assert_eq!(run(&setup, &again), (SUCCESS, 0.into()));
}

#[test]
fn read_returns_at_most_the_requested_bytes() {
    let server = Server::echo();
    let address = server.address.to_string();
    let setup = granting(&[&address]);
    let reading = |most: u32, after: &str| {
        connecting_guest(&address, None, "ping").before_collect(&format!(
            "(call $connect) (if (i32.eqz (call $check)) (then unreachable))
             (call $write) (if (i32.eqz (call $check)) (then unreachable))
             (call $read (i32.const {most})) (if (call $check) (then {after}))
             (call $close (global.get $handle))"
        ))
    };
    assert_eq!(run(&setup, &reading(2, &show_read())), (SUCCESS, "pi".into()));
    assert_eq!(run(&setup, &reading(u32::MAX, &show_read())), (SUCCESS, "ping".into()));
    assert_eq!(run(&setup, &reading(0, &show_read())).0, IO);

    let closing = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 4]);
    });
    let address = closing.address.to_string();
    assert_eq!(run(&granting(&[&address]), &ping_guest(&address, None)), (SUCCESS, "".into()), "closed by the peer");
}
