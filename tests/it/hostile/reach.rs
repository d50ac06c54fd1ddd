//! Plugins that reach for what is not theirs, and that say what nobody wants to read.

use std::fs;
use std::os::unix::fs::symlink;

use crate::capabilities::reading_as;
use crate::guest::{ANSWER, Guest};
use crate::harness::{about, faults, value};
use crate::hostile::{INTERVAL, Ordeal, Reaction, endures, for_all};

/// A plugin that logs something, forever or so many times a call.
fn chatty(at: u32, length: u32, times: Option<u32>) -> Guest {
    let again =
        times.map_or("(i32.const 1)".to_owned(), |times| format!("(i32.lt_u (local.get $n) (i32.const {times}))"));
    let flood = format!(
        "(local $n i32)
         (loop $on (call $log (i32.const 3) (i32.const {at}) (i32.const {length}))
                   (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br_if $on {again}))"
    );
    Guest::new("bad")
        .import("gauged:plugin/log@0.1.0", "log", "(func $log (param i32 i32 i32))")
        .pages(100)
        .before_collect(&flood)
}

#[test]
fn message_flood_is_rate_limited() {
    let message = "\u{1b}[2J\u{1b}]0;owned\u{7}\nWARN plugin able: forged";
    let mut guest = chatty(60_000, message.len() as u32, None);
    // Texts lie one after the other: this one where the message is expected.
    guest.skip_texts_to(60_000);
    guest.text(message);
    let mut ordeal = Ordeal::new("timeout = \"100ms\"");
    ordeal.suffer(&guest.module(), &Reaction::Fault("timeout", "collect took longer than its timeout of 100ms"));
    let sample = ordeal.agent.wait(|sample| about(sample, "plugin_dropped_messages_total", "bad") >= Some(1000.0));
    assert_eq!(value(&sample, "bad"), None);
    let shown = r"ERROR plugin bad says: \u{1b}[2J\u{1b}]0;owned\u{7}\nWARN plugin able: forged";
    let lines = ordeal.agent.log_of("bad").iter().filter(|line| line.ends_with(shown)).count();
    assert!((20..=25).contains(&lines), "twenty, and one a second: {lines}");
    ordeal.recover();
}

#[test]
fn megabyte_messages_are_truncated() {
    let mut ordeal = Ordeal::new("");
    ordeal.put(&chatty(131_072, 1 << 20, Some(3)).module());
    ordeal.agent.wait(|sample| value(sample, "bad").is_some());
    ordeal.agent.wait_log("plugin bad says: ");
    let longest = ordeal.agent.log().lines().map(str::len).max();
    assert!(longest < Some(1200), "{longest:?}");
    ordeal.recover();
}

#[test]
fn messages_beyond_the_call_limit_are_refused() {
    let guest = chatty(131_072, 5 << 20, Some(1));
    endures(&guest.module(), "", &Reaction::Fault("oversize", "too much data"));
}

#[test]
fn messages_outside_guest_memory_are_refused() {
    let guest = chatty(0xffff_fff0, 100, Some(1));
    endures(&guest.module(), "", &Reaction::Fault("trap", "string pointer/length out of bounds"));
}

/// What a plugin that reads a file is told, with this configuration; nothing else happens.
fn is_told(path: &str, configuration: &str, answer: impl Into<serde_json::Value>) {
    endures(&reading_as("bad", "read", path).module(), configuration, &Reaction::Serves(answer.into()));
}

const OWN: &str = "no grant opens the agent's own process";
const ANY_PROCESS: &str =
    "read = [\"/proc/*/mem\", \"/proc/*/*\", \"/proc/*/*/*\", \"/proc/*/*/*/*\", \"/proc/*/*/*/*/*\"]";

#[test]
fn ungranted_files_are_not_read() {
    for_all(["/etc/shadow", "/proc/1/environ"], |path| is_told(path, "", format!("read = [\"{path}\"]")));
}

#[test]
fn unnormalized_paths_are_refused() {
    let wrong = |path: &str| format!("{path:?} has an empty, . or .. segment; write it without");
    for_all(["/proc/../etc/shadow", "/proc/./uptime", "//etc/shadow"], |path| {
        is_told(path, "read = [\"/etc/hostname\"]", wrong(path));
    });
}

#[test]
fn agents_own_process_is_closed_by_every_spelling() {
    let spellings =
        ["/proc/self/mem", "/proc/thread-self/mem", "/proc/self/task/1/mem", "/proc/self/root/proc/self/mem"];
    for_all(spellings, |path| is_told(path, ANY_PROCESS, OWN));
}

#[test]
fn agents_own_process_is_closed_by_pid() {
    for_all(["mem", "environ", "task/{pid}/mem", "root/etc/hostname", "cwd/gauged.toml"], |file| {
        let mut ordeal = Ordeal::new(ANY_PROCESS);
        let pid = ordeal.agent.pid().to_string();
        let path = format!("/proc/{pid}/{}", file.replace("{pid}", &pid));
        ordeal.suffer(&reading_as("bad", "read", &path).module(), &Reaction::Serves(OWN.into()));
        ordeal.recover();
    });
}

#[test]
fn symbolic_links_do_not_leave_a_grant() {
    for_all([("/etc/shadow", "read = [\"/etc/shadow\"]"), ("/proc/self/mem", OWN)], |(target, answer)| {
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let open = elsewhere.path().canonicalize().expect("it is there");
        symlink(target, open.join("link")).expect("linked");
        is_told(open.join("link").to_str().expect("text"), &format!("read = [\"{}/*\"]", open.display()), answer);
    });
}

#[test]
fn blocking_files_are_not_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = directory.path().canonicalize().expect("it is there");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, open.join("pipe"), mode).expect("made");
    let _listener = std::os::unix::net::UnixListener::bind(open.join("socket")).expect("bound");
    let configuration = format!("read = [\"{}/*\", \"/dev/*\"]", open.display());
    // The third of the reasons: neither a file nor a directory.
    for_all(["pipe", "socket", "/dev/zero"], |path| {
        is_told(open.join(path).to_str().expect("text"), &configuration, 3);
    });
}

#[test]
fn terabyte_file_is_not_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().canonicalize().expect("it is there").join("large");
    fs::File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("grown, but not on the disk");
    let path = path.to_str().expect("text");
    // The fourth of the reasons: too large.
    is_told(path, &format!("read = [\"{path}\"]"), 4);
}

#[test]
fn random_arguments_never_panic_the_host() {
    // At every call 500 texts without sense, made of what paths and addresses are made of, for every function that takes one.
    let call = "
        (func $next (result i32)
            (global.set $seed (i32.add (i32.mul (global.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
            (i32.shr_u (global.get $seed) (i32.const 16)))
        (func $text (result i32) (local $at i32) (local $end i32)
            (local.set $at (i32.const 131072))
            (local.set $end (i32.add (local.get $at) (i32.rem_u (call $next) (i32.const 40))))
            (loop $on
                (i32.store8 (local.get $at) (i32.load8_u (i32.add (i32.const LETTERS) (i32.rem_u (call $next) (i32.const COUNT)))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $on (i32.lt_u (local.get $at) (local.get $end))))
            (i32.sub (local.get $at) (i32.const 131072)))
        (global $seed (mut i32) (i32.const 1))
        (func $all (local $n i32) (local $length i32)
            (loop $on
                (local.set $length (call $text))
                (global.set $heap (i32.const 65536))
                (call $read (i32.const 131072) (local.get $length) (i32.const ANSWER))
                (call $list (i32.const 131072) (local.get $length) (i32.const ANSWER))
                (call $usage (i32.const 131072) (local.get $length) (i32.const ANSWER))
                (call $log (i32.const 3) (i32.const 131072) (local.get $length))
                (call $connect (i32.const 131072) (local.get $length) (i32.const 1) (call $next) (i32.const ANSWER))
                (call $fetch (i32.const 131072) (i32.rem_u (local.get $length) (i32.const 4))
                             (i32.const 131072) (local.get $length) (i32.const 0) (i32.const 0)
                             (i32.const 131072) (local.get $length) (i32.const 1) (call $next) (i32.const ANSWER))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $on (i32.lt_u (local.get $n) (i32.const 500)))))";
    let mut guest = Guest::new("bad");
    let letters = "//////...**::@[]%?#\\\"'{}=\0\n\u{1b} procselfthradsyunix0123456789-_h";
    let (at, count) = guest.text(letters);
    let call = call.replace("LETTERS", &at.to_string()).replace("COUNT", &count.to_string());
    let three = "(param i32 i32 i32)";
    let guest = guest
        .import("gauged:plugin/files@0.1.0", "read", &format!("(func $read {three})"))
        .import("gauged:plugin/files@0.1.0", "list", &format!("(func $list {three})"))
        .import("gauged:plugin/files@0.1.0", "usage", &format!("(func $usage {three})"))
        .import("gauged:plugin/log@0.1.0", "log", &format!("(func $log {three})"))
        .import("gauged:plugin/net@0.1.0", "[static]connection.connect", "(func $connect (param i32 i32 i32 i32 i32))")
        .import(
            "gauged:plugin/http@0.1.0",
            "fetch",
            "(func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))",
        )
        .with(&call.replace("ANSWER", &ANSWER.to_string()))
        .before_collect("(call $all)");
    let mut ordeal = Ordeal::at_interval(INTERVAL, "timeout = \"10s\"\nread = [\"/*\", \"/*/*\"]");
    ordeal.put(&guest.module());
    let mut answered = 0;
    while answered < 5 {
        let sample = ordeal.agent.next();
        answered += usize::from(value(&sample, "bad").is_some());
        for kind in ["panic", "trap", "oversize", "timeout", "load"] {
            assert_eq!(faults(&sample, "bad", kind), 0.0, "{}", ordeal.agent.log());
        }
    }
    ordeal.recover();
}
