//! The rules of the socket: who may connect, whose it is, and what becomes of clients that misbehave.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use rustix::process::geteuid;

use super::{REQUEST, exchange, make_directory, setup_with, status, wait_status};
use crate::harness::{Agent, NOBODY, Setup, wait_until};
use crate::run::{assert_ends_in_time, thread_names};

fn has_tick(status: &serde_json::Value) -> bool {
    !status["agent"]["tick"].is_null()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

#[test]
fn socket_is_private_and_removed_at_the_end() {
    let setup = setup_with("interval = \"200ms\"\n");
    let socket = setup.path("run/status.sock");
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a tick", has_tick);
    assert_eq!((mode(&socket), fs::metadata(&socket).expect("there").uid()), (0o600, geteuid().as_raw()));
    let log = agent.log();
    assert_ends_in_time(agent);
    assert!(!socket.exists() && !log.contains("socket"), "{log}");
}

#[test]
fn dead_socket_is_replaced() {
    let setup = setup_with("interval = \"200ms\"\n");
    let socket = setup.path("run/status.sock");
    drop(UnixListener::bind(&socket).expect("bound"));
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a tick", has_tick);
    assert_ends_in_time(agent);
    assert!(!socket.exists());
}

#[test]
fn live_socket_is_left_alone_with_one_line() {
    let setup = setup_with("interval = \"200ms\"\n");
    let first = setup.start(&[]);
    wait_status(&setup, &first, "a tick", has_tick);
    let mut second = setup.start(&[]);
    second.wait_log(" INFO status socket left to another agent socket=");
    for _ in 0..5 {
        second.next();
    }
    assert_eq!(second.log().matches("status socket").count(), 1, "{}", second.log());
    assert_ends_in_time(second);
    let pid = first.pid();
    wait_status(&setup, &first, "the first one", |status| status["agent"]["pid"] == pid);
}

#[test]
fn socket_is_taken_once_the_other_agent_ends() {
    let setup = setup_with("interval = \"200ms\"\n");
    let first = setup.start(&[]);
    wait_status(&setup, &first, "a tick", has_tick);
    let mut second = setup.start(&[]);
    second.wait_log("status socket left to another agent");
    assert_ends_in_time(first);
    let pid = second.pid();
    wait_status(&setup, &second, "the second one", |status| status["agent"]["pid"] == pid);
    second.wait_log(" INFO status socket opened socket=");
}

#[test]
fn socket_of_a_successor_is_left_in_place() {
    let setup = setup_with("interval = \"200ms\"\n");
    let socket = setup.path("run/status.sock");
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a tick", has_tick);
    fs::remove_file(&socket).expect("removed");
    let _successor = UnixListener::bind(&socket).expect("bound");
    assert_ends_in_time(agent);
    assert!(socket.exists());
}

#[test]
fn removed_socket_is_opened_again() {
    let setup = setup_with("interval = \"200ms\"\n");
    let socket = setup.path("run/status.sock");
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a tick", has_tick);
    fs::remove_file(&socket).expect("removed");
    wait_status(&setup, &agent, "another socket", has_tick);
}

#[test]
fn foreign_file_is_left_alone_with_a_warning() {
    let setup = setup_with("interval = \"200ms\"\n");
    let socket = setup.path("run/status.sock");
    fs::write(&socket, "mine").expect("written");
    let mut agent = setup.start(&[]);
    let line = agent.wait_log_lines(" WARN status socket not opened ", 1).remove(0);
    assert!(line.contains("remedy=\"move it away, or name another socket with --socket\""), "{line}");
    agent.next();
    assert_ends_in_time(agent);
    assert_eq!(fs::read_to_string(&socket).expect("there"), "mine");
}

#[test]
fn missing_directory_means_no_socket() {
    let setup = Setup::new();
    let mut agent = setup.start(&["--interval", "200ms"]);
    agent.next();
    assert!(!thread_names(agent.pid()).contains(&"status".to_owned()) && !setup.path("run").exists());
    assert!(!agent.log().contains("socket"), "{}", agent.log());
    // One that is named is missed.
    let mut named = setup.start(&["--interval", "200ms", "--socket", "nowhere/status.sock"]);
    let line = named.wait_log_lines(" WARN status socket not opened ", 1).remove(0);
    assert!(line.contains("remedy=\"create its directory, or name another socket with --socket\""), "{line}");
    named.next();
}

#[test]
fn named_socket_wins() {
    let setup = setup_with("interval = \"200ms\"\n");
    let _agent = setup.start(&["--socket", "my.sock"]);
    wait_until("an answer", || status(&setup, &["--socket", "my.sock"]).code == Some(0));
    assert_eq!(mode(&setup.path("my.sock")), 0o600);
    assert!(!setup.path("run/status.sock").exists());
    assert_eq!(status(&setup, &[]).code, Some(2));
}

#[test]
fn users_runtime_directory_gets_a_private_one() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    fs::create_dir(setup.path("user")).expect("created");
    let command = |arguments: &[&str]| {
        let mut command = setup.command(arguments);
        command.env_remove("RUNTIME_DIRECTORY").env("XDG_RUNTIME_DIR", setup.path("user"));
        command
    };
    if Path::new("/run/gauged").exists() {
        return crate::skip::skip("users_runtime_directory_gets_a_private_one", "this host has a /run/gauged");
    }
    let _agent = Agent::start(command(&[]));
    wait_until("an answer", || command(&["status"]).output().expect("it runs").status.code() == Some(0));
    assert_eq!(mode(&setup.path("user/gauged")), 0o700);
    assert_eq!(mode(&setup.path("user/gauged/status.sock")), 0o600);
}

#[test]
fn single_samples_and_checks_open_no_socket() {
    let setup = setup_with("interval = \"200ms\"\n");
    let opened = setup.path("run");
    let before = fs::metadata(&opened).expect("there").mtime_nsec();
    setup.once();
    for arguments in [&["check"][..], &["plugin", "list"], &["status"]] {
        setup.run(arguments);
    }
    assert_eq!(fs::metadata(&opened).expect("there").mtime_nsec(), before, "nothing was made or removed in it");
}

#[test]
fn foreign_users_may_not_ask() {
    if !geteuid().is_root() {
        return crate::skip::skip("foreign_users_may_not_ask", "only root can be another user");
    }
    let setup = setup_with("interval = \"200ms\"\n");
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a tick", has_tick);
    let ask = || {
        let output = setup.command_without_root(&["status"]).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, error) = ask();
    assert!(code == Some(2) && error.contains("is another user's: permission denied; run this as root"), "{error}");
    // Behind the permissions is a second line of defence.
    let socket = setup.path("run/status.sock");
    std::os::unix::fs::chown(&socket, Some(NOBODY), None).expect("changed");
    let (code, error) = ask();
    assert!(code == Some(2) && error.contains("only the agent's user and root may ask"), "{error}");
}

#[test]
fn misbehaving_clients_do_not_disturb() {
    let setup = setup_with("interval = \"200ms\"\n");
    let socket = setup.path("run/status.sock");
    let mut agent = setup.start(&[]);
    wait_status(&setup, &agent, "a tick", has_tick);
    assert!(exchange(&socket, b"hello\n").contains("unknown request; send the line status/1"));
    assert!(exchange(&socket, b"\xff\0\n").contains("unknown request"));
    assert!(!exchange(&socket, &vec![b'x'; 10 << 20]).contains("\"agent\""));
    let silent: Vec<UnixStream> = (0..30).map(|_| UnixStream::connect(&socket).expect("connected")).collect();
    assert_eq!(status(&setup, &[]).code, Some(0), "behind those that say nothing");
    assert!(exchange(&socket, REQUEST).contains("\"agent\""));
    drop(silent);
    agent.next();
    agent.assert_no_gaps();
    assert_eq!(agent.samples().last().expect("seen")["agent"]["dropped_samples_total"], 0);
    let _waiting = UnixStream::connect(&socket).expect("connected");
    assert_ends_in_time(agent);
}

#[test]
fn a_hundred_clients_are_all_answered() {
    let setup = setup_with("interval = \"200ms\"\n");
    let socket = setup.path("run/status.sock");
    let agent = setup.start(&[]);
    wait_status(&setup, &agent, "a tick", has_tick);
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let socket = socket.clone();
            thread::spawn(move || exchange(&socket, REQUEST))
        })
        .collect();
    for client in clients {
        let answer = client.join().expect("no panic");
        let document: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(document["format"], 1, "{answer}");
    }
}

#[test]
fn socket_path_that_is_too_long_is_reported() {
    let setup = Setup::new();
    make_directory(&setup);
    let mut agent = setup.start(&["--interval", "200ms", "--socket", &format!("run/{}", "x".repeat(120))]);
    let line = agent.wait_log_lines(" WARN status socket not opened ", 1).remove(0);
    assert!(line.contains("name a shorter path with --socket"), "{line}");
    agent.next();
}
