//! Plugins that read files without a grant, flood the log, or pass hostile arguments to the host.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::time::Instant;

use crate::capabilities::file_guest_as;
use crate::guest::{Guest, HOST_RESULT};
use crate::harness::{fault_count, plugin_metric, value};
use crate::hostile::{HostileTest, INTERVAL, Outcome, assert_outcome, in_parallel};

/// A plugin that logs the text at an address, so many times a call or without end.
fn flooding(at: u32, length: u32, times: Option<u32>) -> Guest {
    let goes_on =
        times.map_or("(i32.const 1)".to_owned(), |times| format!("(i32.lt_u (local.get $n) (i32.const {times}))"));
    let flood = format!(
        "(local $n i32)
         (loop $on (call $log (i32.const 3) (i32.const {at}) (i32.const {length}))
                   (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br_if $on {goes_on}))"
    );
    Guest::new("bad")
        .import("gauged:plugin/log", "log", "(func $log (param i32 i32 i32))")
        .pages(200)
        .before_collect(&flood)
}

#[test]
fn message_flood_is_rate_limited() {
    let message = "\u{1b}[2J\u{1b}]0;owned\u{7}\nWARN plugin able: forged";
    let mut guest = flooding(60_000, message.len() as u32, None);
    // The text is put at the address that is logged.
    guest.skip_texts_to(60_000);
    guest.text(message);
    let (mut test, began) = (HostileTest::at_interval("100ms", "timeout = \"400ms\""), Instant::now());
    test.expect(&guest.module(), &Outcome::Fault("timeout", "collect took longer than its timeout of 400ms"));
    let sample =
        test.agent.wait(|sample| plugin_metric(sample, "plugin_dropped_messages_total", "bad") >= Some(1000.0));
    assert_eq!(value(&sample, "bad"), None);
    let shown = r#"ERROR plugin message plugin=bad text="\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\nWARN plugin able: forged""#;
    let lines = test.agent.wait_log_lines(shown, 20).len();
    let allowed = 21 + began.elapsed().as_secs() as usize;
    assert!(lines <= allowed, "{lines} lines, and 20 and one a second are allowed: {allowed}");
    test.replace_and_check();
}

#[test]
fn megabyte_messages_are_truncated() {
    let mut test = HostileTest::new("");
    test.install(&flooding(131_072, 1 << 20, Some(3)).module());
    test.agent.wait(|sample| value(sample, "bad").is_some());
    test.agent.wait_log("plugin message plugin=bad ");
    let longest = test.agent.log().lines().map(str::len).max();
    assert!(longest < Some(2400), "{longest:?}");
    test.replace_and_check();
}

#[test]
fn messages_beyond_the_call_limit_are_refused() {
    let guest = flooding(131_072, 9 << 20, Some(1));
    assert_outcome(&guest.module(), "", &Outcome::Fault("oversize", "too much data"));
}

#[test]
fn messages_outside_guest_memory_are_refused() {
    let guest = flooding(0xffff_fff0, 100, Some(1));
    assert_outcome(&guest.module(), "", &Outcome::Fault("trap", "string pointer/length out of bounds"));
}

/// Asserts the result of reading a file with this configuration.
fn assert_read(path: &str, configuration: &str, result: impl Into<serde_json::Value>) {
    assert_outcome(&file_guest_as("bad", "read", path).module(), configuration, &Outcome::Serves(result.into()));
}

const OWN_PROCESS: &str = "no grant opens the agent's own process";
const ANY_PROCESS: &str =
    "read = [\"/proc/*/mem\", \"/proc/*/*\", \"/proc/*/*/*\", \"/proc/*/*/*/*\", \"/proc/*/*/*/*/*\"]";

#[test]
fn ungranted_files_are_not_read() {
    in_parallel(["/etc/shadow", "/proc/1/environ"], |path| assert_read(path, "", path));
}

#[test]
fn unnormalized_paths_are_refused() {
    let refusal = |path: &str| format!("{path:?} has an empty, . or .. segment; write it without");
    in_parallel(["/proc/../etc/shadow", "/proc/./uptime", "//etc/shadow"], |path| {
        assert_read(path, "read = [\"/etc/hostname\"]", refusal(path));
    });
}

#[test]
fn agents_own_process_is_closed_by_every_spelling() {
    let spellings =
        ["/proc/self/mem", "/proc/thread-self/mem", "/proc/self/task/1/mem", "/proc/self/root/proc/self/mem"];
    in_parallel(spellings, |path| assert_read(path, ANY_PROCESS, OWN_PROCESS));
}

#[test]
fn agents_own_process_is_closed_by_pid() {
    in_parallel(["mem", "environ", "task/{pid}/mem", "root/etc/hostname", "cwd/gauged.toml"], |file| {
        let mut test = HostileTest::new(ANY_PROCESS);
        let pid = test.agent.pid().to_string();
        let path = format!("/proc/{pid}/{}", file.replace("{pid}", &pid));
        test.expect(&file_guest_as("bad", "read", &path).module(), &Outcome::Serves(OWN_PROCESS.into()));
        test.replace_and_check();
    });
}

#[test]
fn magic_links_are_not_followed() {
    // Another process, which has a file open that is granted.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let granted = directory.path().canonicalize().expect("it exists");
    fs::write(granted.join("open"), "content").expect("written");
    symlink("/proc/self/fd/0", granted.join("link")).expect("linked");
    let file = fs::File::open(granted.join("open")).expect("open");
    let other = format!("/proc/{}", std::process::id());
    let paths = [
        "/dev/stdin".to_owned(),
        "/dev/fd/1".to_owned(),
        granted.join("link").to_str().expect("text").to_owned(),
        format!("{other}/fd/{}", file.as_raw_fd()),
        format!("{other}/root{}/open", granted.display()),
        format!("{other}/cwd/Cargo.toml"),
        format!("{other}/root/proc/uptime"),
    ];
    let table = format!(
        "read = [\"/dev/*\", \"/dev/fd/*\", \"/proc/*/fd/*\", \"/proc/*/cwd/*\", \"/proc/*/root/proc/*\", \
         \"/proc/*/root{0}/*\", \"{0}/*\", \"/proc/uptime\"]",
        granted.display()
    );
    in_parallel(paths, |path| {
        let why = format!("{path:?} leads through a magic link to what a process has open (fd, cwd, root, exe …)");
        assert_read(&path, &table, why);
    });
}

#[test]
fn symbolic_links_do_not_leave_a_grant() {
    in_parallel([("/etc/shadow", "/etc/shadow"), ("/proc/self/mem", OWN_PROCESS)], |(target, result)| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let granted = directory.path().canonicalize().expect("it exists");
        symlink(target, granted.join("link")).expect("linked");
        assert_read(
            granted.join("link").to_str().expect("text"),
            &format!("read = [\"{}/*\"]", granted.display()),
            result,
        );
    });
}

#[test]
fn blocking_files_are_not_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let granted = directory.path().canonicalize().expect("it exists");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, granted.join("pipe"), mode).expect("made");
    let _listener = std::os::unix::net::UnixListener::bind(granted.join("socket")).expect("bound");
    let configuration = format!("read = [\"{}/*\", \"/dev/*\"]", granted.display());
    // Case 6 of the interface's error: neither a file nor a directory.
    in_parallel(["pipe", "socket", "/dev/zero"], |path| {
        assert_read(granted.join(path).to_str().expect("text"), &configuration, 6);
    });
}

#[test]
fn terabyte_file_is_not_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().canonicalize().expect("it exists").join("large");
    fs::File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let path = path.to_str().expect("text");
    // Case 7 of the interface's error: too large.
    assert_read(path, &format!("read = [\"{path}\"]"), 7);
}

#[test]
fn random_arguments_never_panic_the_host() {
    // At every call 500 random texts, made of the characters of paths and addresses, for every function that takes a text.
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
                (call $read (i32.const 131072) (local.get $length) (i32.const HOST_RESULT))
                (call $list (i32.const 131072) (local.get $length) (i32.const HOST_RESULT))
                (call $usage (i32.const 131072) (local.get $length) (i32.const HOST_RESULT))
                (call $stat (i32.const 131072) (local.get $length) (i32.const HOST_RESULT))
                (call $read_link (i32.const 131072) (local.get $length) (i32.const HOST_RESULT))
                (i32.store (i32.const 131064) (i32.const 131072))
                (i32.store (i32.const 131068) (local.get $length))
                (call $read_many (i32.const 131064) (i32.const 1) (call $next) (i32.const HOST_RESULT))
                (call $log (i32.const 3) (i32.const 131072) (local.get $length))
                (call $connect (i32.const 131072) (local.get $length) (i32.const 1) (call $next) (i32.const HOST_RESULT))
                (call $fetch (i32.const 131072) (i32.rem_u (local.get $length) (i32.const 4))
                             (i32.const 131072) (local.get $length) (i32.const 0) (i32.const 0)
                             (i32.const 131072) (local.get $length)
                             (i32.const 1) (i32.const 1) (call $next) (i32.const 1) (call $next)
                             (i32.rem_u (local.get $length) (i32.const 2)) (i32.const 131072) (local.get $length)
                             (i32.const HOST_RESULT))
                (call $datagrams (i32.const 131072) (local.get $length) (i32.const 1) (call $next) (i32.const HOST_RESULT))
                (call $query_link (i32.const 131072) (local.get $length) (i32.const HOST_RESULT))
                (call $query_driver (i32.const 131072) (local.get $length) (i32.const HOST_RESULT))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $on (i32.lt_u (local.get $n) (i32.const 500)))))";
    let mut guest = Guest::new("bad");
    let letters = "//////...**::@[]%?#\\\"'{}=\0\n\u{1b} procselfthradsyunix0123456789-_h";
    let (at, count) = guest.text(letters);
    let call = call.replace("LETTERS", &at.to_string()).replace("COUNT", &count.to_string());
    let three = "(param i32 i32 i32)";
    let guest = guest
        .import("gauged:plugin/files", "read", &format!("(func $read {three})"))
        .import("gauged:plugin/files", "list", &format!("(func $list {three})"))
        .import("gauged:plugin/files", "usage", &format!("(func $usage {three})"))
        .import("gauged:plugin/files", "stat", &format!("(func $stat {three})"))
        .import("gauged:plugin/files", "read-link", &format!("(func $read_link {three})"))
        .import("gauged:plugin/files", "read-many", "(func $read_many (param i32 i32 i32 i32))")
        .import("gauged:plugin/log", "log", &format!("(func $log {three})"))
        .import("gauged:plugin/net", "[static]connection.connect", "(func $connect (param i32 i32 i32 i32 i32))")
        .import("gauged:plugin/net", "[static]datagram-socket.connect", "(func $datagrams (param i32 i32 i32 i32 i32))")
        .import("gauged:plugin/system", "query-link", &format!("(func $query_link {three})"))
        .import("gauged:plugin/system", "query-driver", &format!("(func $query_driver {three})"))
        .import("gauged:plugin/http", "fetch", &format!("(func $fetch (param{}))", " i32".repeat(17)))
        .with(&call.replace("HOST_RESULT", &HOST_RESULT.to_string()))
        .before_collect("(call $all)");
    let mut test = HostileTest::at_interval(INTERVAL, "timeout = \"10s\"\nread = [\"/*\", \"/*/*\"]");
    test.install(&guest.module());
    let mut returned = 0;
    while returned < 5 {
        let sample = test.agent.next();
        returned += usize::from(value(&sample, "bad").is_some());
        for kind in ["panic", "trap", "oversize", "timeout", "load"] {
            assert_eq!(fault_count(&sample, "bad", kind), 0.0, "{}", test.agent.log());
        }
    }
    test.replace_and_check();
}
