//! Access of guests to the host: files, the log, WASI.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::time::Instant;

use rustix::process::geteuid;

use crate::guest::{Guest, HOST_RESULT, VALUE, VERSION, install};
use crate::harness::{NOBODY, Setup, fault_count, parse, plugin_metric, repository, value};
use crate::skip::skip;

/// The number of the error `not-permitted` of the interface `files`.
const NOT_PERMITTED: u32 = 4;

/// The number of the error `timeout`.
pub const FILE_TIMEOUT: u32 = 8;

/// A guest that calls a function of the interface `files`: `read`, `list`, `stat`, `read-link` or `usage`. Its value is the
/// content, the path in the link, or the number of bytes; of an error the missing grant's target, the reason why no grant helps,
/// or the number of the error.
pub fn file_guest(function: &str, path: &str) -> Guest {
    file_guest_as("reader", function, path)
}

/// The same guest with another module.
pub fn file_guest_as(module: &str, function: &str, path: &str) -> Guest {
    let mut guest = Guest::new(module).import("gauged:plugin/files", function, "(func $call (param i32 i32 i32))");
    let (at, length) = guest.text(path);
    let text_at = |from: u32| {
        format!(
            "(i32.store (i32.const {}) (i32.load (i32.const {from})))
             (i32.store (i32.const {}) (i32.load (i32.const {})))",
            VALUE + 8,
            VALUE + 12,
            from + 4
        )
    };
    let number_at = |from: u32| {
        format!(
            "(i32.store (i32.const {VALUE}) (i32.const 0))
             (i64.store (i32.const {}) (i64.load (i32.const {from})))",
            VALUE + 8
        )
    };
    guest.before_collect(&format!(
        "(call $call (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))
         (i32.store (i32.const {VALUE}) (i32.const 4))
         (if (i32.load8_u (i32.const {HOST_RESULT}))
            (then (if (i32.lt_u (i32.load8_u (i32.const {error})) (i32.const 3))
                (then (if (i32.load8_u (i32.const {error})) (then {reason}) (else {target})))
                (else (i32.store (i32.const {VALUE}) (i32.const 0))
                      (i64.store (i32.const {payload}) (i64.load8_u (i32.const {error}))))))
            (else {content}))",
        error = HOST_RESULT + 8,
        payload = VALUE + 8,
        target = text_at(HOST_RESULT + 24),
        reason = text_at(HOST_RESULT + 16),
        content = match function {
            "usage" => number_at(HOST_RESULT + 8),
            "stat" => number_at(HOST_RESULT + 24),
            _ => text_at(HOST_RESULT + 8),
        },
    ))
}

/// Reads a file as a guest with this configuration; returns the content or the error, and the log.
fn read(path: &str, configuration: &str) -> (serde_json::Value, String) {
    let setup = Setup::with_config(configuration);
    file_guest("read", path).install(&setup.plugin("reader.wasm"));
    let (sample, log) = setup.once();
    (value(&sample, "reader").unwrap_or_else(|| panic!("{sample:?}\n{log}")), log)
}

#[test]
fn kernel_files_are_read_without_a_grant() {
    let (content, _) = read("/proc/uptime", "");
    let seconds = content.as_str().expect("text").split(' ').next().expect("a word").parse::<f64>();
    assert!(seconds.is_ok_and(|seconds| seconds > 0.0), "{content}");
    assert_eq!(read("/proc/mdstat/x", "").0, "/proc/mdstat/x");
}

#[test]
fn guest_reads_the_network_of_process_1() {
    let setup = Setup::new();
    for (file, content) in
        [("proc/1/net/dev", "interfaces"), ("proc/1/mounts", "mounts"), ("proc/1/net/tcp", "sockets")]
    {
        let file = setup.path("host").join(file);
        fs::create_dir_all(file.parent().expect("has one")).expect("created");
        fs::write(file, content).expect("written");
    }
    let read = |path: &str, configuration: &str| {
        file_guest("read", path).install(&setup.plugin("reader.wasm"));
        fs::write(setup.path("gauged.toml"), configuration).expect("written");
        let output = setup.command_without_root(&["--once", "--root", "host"]).output().expect("it runs");
        let [sample, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        value(&parse(&sample), "reader").unwrap_or_else(|| panic!("{log}"))
    };
    assert_eq!(read("/proc/net/dev", ""), "interfaces");
    assert_eq!(read("/proc/mounts", ""), "mounts");
    assert_eq!(read("/proc/net/tcp", ""), "/proc/1/net/tcp");
    assert_eq!(read("/proc/net/tcp", "[plugins.reader]\nread = [\"/proc/net/tcp\"]\n"), "sockets");
    assert_eq!(read("/proc/1/net/tcp", "[plugins.reader]\nread = [\"/proc/net/*\"]\n"), "sockets");
}

#[test]
fn files_beyond_the_defaults_need_a_grant() {
    for path in ["/etc/passwd", "/proc/kcore", "/proc/1/environ", "/proc/cmdline", "/sys/class/dmi/id/board_serial"] {
        assert_eq!(read(path, "").0, path);
    }
    assert_eq!(
        read("/proc/../etc/passwd", "").0,
        "\"/proc/../etc/passwd\" has an empty, . or .. segment; write it without"
    );
    assert_eq!(read("proc/uptime", "").0, "\"proc/uptime\" is not absolute; begin it with /");
}

#[test]
fn file_of_root_needs_more_than_a_grant() {
    if !geteuid().is_root() {
        return skip("file_of_root_needs_more_than_a_grant", "another user is needed");
    }
    let setup = Setup::new();
    let file = setup.path("host/proc/mdstat");
    fs::create_dir_all(file.parent().expect("has one")).expect("created");
    fs::write(&file, "content").expect("written");
    file_guest("read", "/proc/mdstat").install(&setup.plugin("reader.wasm"));
    let read = |mode: u32, user: u32| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
        chown(&file, Some(user), Some(user)).expect("set");
        let output = setup.command_without_root(&["--once", "--root", "host"]).output().expect("it runs");
        let [sample, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        (value(&parse(&sample), "reader").unwrap_or_else(|| panic!("{log}")), log.contains("access denied"))
    };
    assert_eq!(read(0o444, 0), ("content".into(), false));
    assert_eq!(read(0o400, 0), (NOT_PERMITTED.into(), false), "no grant helps");
    assert_eq!(read(0o400, NOBODY), ("/proc/mdstat".into(), true), "its own, which not every user may read");
}

#[test]
fn grant_opens_only_matching_paths() {
    let configuration = "[plugins.reader]\nread = [\"/etc/host*\", \"/proc/*/mem\", \"/proc/*/*/stat\"]\n";
    assert!(read("/etc/hostname", configuration).0.as_str().is_some_and(|content| !content.starts_with('/')));
    assert_eq!(read("/etc/passwd", configuration).0, "/etc/passwd");
    assert_eq!(read("/etc/host-there-is-not", configuration).0, 3, "not found");
    for own in ["/proc/self/mem", "/proc/thread-self/mem", "/proc/self/task/stat"] {
        assert_eq!(read(own, configuration).0, "no grant opens the agent's own process", "{own}");
    }
}

#[test]
fn directories_are_listed_under_wildcard_grants() {
    let setup = Setup::new();
    file_guest("list", "/etc").install(&setup.plugin("reader.wasm"));
    assert_eq!(value(&setup.once().0, "reader"), Some("/etc".into()));
    file_guest("read", "/sys/class/net").install(&setup.plugin("reader.wasm"));
    assert_eq!(value(&setup.once().0, "reader"), Some("/sys/class/net".into()));
    // The value is the number of names.
    let mut list = Guest::new("reader").import("gauged:plugin/files", "list", "(func $list (param i32 i32 i32))");
    let (at, length) = list.text("/sys/class/net");
    let call = format!(
        "(call $list (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))
         (i32.store (i32.const {}) (i32.load (i32.const {})))
         (if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))",
        VALUE + 8,
        HOST_RESULT + 12
    );
    list.before_collect(&call).install(&setup.plugin("reader.wasm"));
    let interfaces = std::fs::read_dir("/sys/class/net").expect("readable").count();
    assert_eq!(value(&setup.once().0, "reader"), Some(interfaces.into()));
}

#[test]
fn missing_grants_are_reported_with_their_remedy() {
    let setup = Setup::new();
    Guest::new("needy").needs("read", "/etc/shadow", "count the users").install(&setup.plugin("needy.wasm"));
    let (sample, log) = setup.once();
    let line = r#"grants missing plugin=needy count=1 reason="to count the users" remedy="write under [plugins.needy]: read = [\"/etc/shadow\"], and"#;
    assert!(log.contains(line), "{log}");
    assert_eq!(value(&sample, "needy"), Some(1.into()), "it serves without the grant");

    let setup = Setup::with_config("[plugins.needy]\nread = [\"/etc/*\"]\n");
    Guest::new("needy").needs("read", "/etc/shadow", "count the users").install(&setup.plugin("needy.wasm"));
    assert!(!setup.once().1.contains("grants missing"));

    let setup = Setup::with_config("[plugins.needy]\nread = [\"/etc/*\"]\n");
    Guest::new("needy").needs("read", "/root/x", "count").install(&setup.plugin("needy.wasm"));
    let line = r#"grants missing plugin=needy count=1 reason="to count" remedy="write under [plugins.needy]: read = [\"/etc/*\", \"/root/x\"], and"#;
    let log = setup.once().1;
    assert!(log.contains(line), "{log}");
}

#[test]
fn missing_grants_of_idle_plugins_are_one_line() {
    let setup = Setup::new();
    std::fs::copy(repository().join("plugins/redis.wasm"), setup.plugin("redis.wasm"))
        .expect("plugins/build.sh made it");
    let log = setup.once().1;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("plugin=redis")).collect();
    assert!(matches!(lines[..], [line] if line.contains("INFO plugin idle") && line.contains("connect = [")), "{log}");
}

/// A guest that logs a message a thousand times at each call.
fn flooding(message: &str) -> Guest {
    let mut guest = Guest::new("chatty").import("gauged:plugin/log", "log", "(func $log (param i32 i32 i32))");
    let (at, length) = guest.text(message);
    let flood = format!(
        "(func $flood (local $left i32) (local.set $left (i32.const 1000))
            (loop $on (call $log (i32.const 2) (i32.const {at}) (i32.const {length}))
                      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                      (br_if $on (local.get $left))))"
    );
    guest.with(&flood).before_collect("(call $flood)")
}

#[test]
fn guest_messages_are_escaped_and_rate_limited() {
    let setup = Setup::new();
    flooding("watch\nout \u{1b}[31m").install(&setup.plugin("chatty.wasm"));
    let (sample, log) = setup.once();
    assert!(value(&sample, "chatty").is_some(), "{log}");
    let lines = log.matches(r#"WARN plugin message plugin=chatty text="watch\\nout \\u{1b}[31m"#).count();
    assert!((1..=25).contains(&lines), "{lines} lines:\n{log}");
}

#[test]
fn restart_does_not_reset_the_message_limit() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    flooding("again").before_collect("(call $flood) unreachable").install(&setup.plugin("chatty.wasm"));
    let (mut agent, began) = (setup.start(&[]), Instant::now());
    agent.wait(|sample| fault_count(sample, "chatty", "trap") >= 3.0);
    let lines = agent.wait_log_lines("plugin message plugin=chatty", 20).len();
    let allowed = 21 + began.elapsed().as_secs() as usize;
    assert!(lines <= allowed, "{lines} lines, and 20 and one a second are allowed: {allowed}");
}

#[test]
fn components_are_loaded_like_modules() {
    let setup = Setup::new();
    install(&Guest::new("ready").component(), &setup.plugin("ready.wasm"));
    assert_eq!(value(&setup.once().0, "ready"), Some(1.into()));
}

/// A guest that imports WASI, as those of most toolchains do.
fn wasi_guest() -> Guest {
    Guest::new("wasi")
        .import("wasi:cli/environment@0.2.3", "get-environment", "(func $environment (param i32))")
        .import("wasi:random/random@0.2.3", "get-random-u64", "(func $random (result i64))")
        .import("wasi:clocks/monotonic-clock@0.2.3", "now", "(func $now (result i64))")
        .import("wasi:cli/stdout@0.2.3", "get-stdout", "(func $stdout (result i32))")
        .import("wasi:cli/stderr@0.2.3", "get-stderr", "(func $stderr (result i32))")
        .import(
            "wasi:io/streams@0.2.3",
            "[method]output-stream.blocking-write-and-flush",
            "(func $write (param i32 i32 i32 i32))",
        )
        .import("wasi:filesystem/preopens@0.2.3", "get-directories", "(func $directories (param i32))")
        .import("wasi:cli/exit@0.2.3", "exit", "(func $exit (param i32))")
}

fn importing_wasi(body: &str) -> Vec<u8> {
    wasi_guest().before_collect(body).component_with_wasi()
}

/// A guest that writes these texts to standard output or error before each call.
fn writing(guest: Guest, texts: &[(&str, &str)]) -> Guest {
    texts.iter().rev().fold(guest, |mut guest, (stream, text)| {
        let (at, length) = guest.text(text);
        guest.before_collect(&format!(
            "(call $write (call ${stream}) (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))
             (if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))"
        ))
    })
}

#[test]
fn wasi_output_is_logged_by_line() {
    let setup = Setup::new();
    let texts = [
        ("stdout", "first\nsec"),
        ("stderr", "Traceback (most recent call last):\n  File \"measure.py\", line 7\nKey"),
        ("stdout", "ond\n\n"),
        ("stderr", "Error: 'a'"),
    ];
    install(&writing(wasi_guest(), &texts).component_with_wasi(), &setup.plugin("wasi.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "wasi"), Some(1.into()), "{log}");
    let messages: Vec<&str> = log.lines().filter(|line| line.contains("plugin message")).collect();
    for (level, text) in [
        ("INFO", "text=first"),
        ("INFO", "text=second"),
        ("WARN", "text=\"Traceback (most recent call last):\""),
        ("WARN", "text=\"  File \\\"measure.py\\\", line 7\""),
        ("WARN", "KeyError: 'a'"),
    ] {
        assert!(messages.iter().any(|line| line.contains(level) && line.contains(text)), "{text} is not in {log}");
    }
    assert_eq!(messages.len(), 10, "five in the trial, and five in the sample: {log}");
}

/// A guest that imports WASI preview 1, as a core module.
fn preview_1_guest() -> Guest {
    let module = "wasi_snapshot_preview1";
    Guest::new("old")
        .import(module, "fd_write", "(func $fd_write (param i32 i32 i32 i32) (result i32))")
        .import(module, "environ_sizes_get", "(func $environ (param i32 i32) (result i32))")
        .import(module, "clock_time_get", "(func $clock (param i32 i64 i32) (result i32))")
        .import(module, "random_get", "(func $random (param i32 i32) (result i32))")
        .import(module, "path_open", "(func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))")
        .import(module, "fd_prestat_get", "(func $prestat (param i32 i32) (result i32))")
        .import(module, "proc_exit", "(func $exit (param i32))")
}

#[test]
fn preview_1_modules_are_wrapped() {
    let mut guest = preview_1_guest();
    let (first, second) = (guest.text("printed in "), guest.text("two pieces\n"));
    let pieces = guest.list(&[first.0, first.1, second.0, second.1]);
    let result = HOST_RESULT;
    let guest = guest.before_collect(&format!(
        "(i64.store (i32.const 0) (i64.const 77)) (i64.store (i32.const 8) (i64.const 78))
         (if (call $fd_write (i32.const 1) (i32.const {pieces}) (i32.const 2) (i32.const {result})) (then unreachable))
         (if (i32.ne (i32.load (i32.const {result})) (i32.const 22)) (then unreachable))
         (if (i32.ne (call $fd_write (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8)) (then unreachable))
         (if (call $environ (i32.const {result}) (i32.const {length})) (then unreachable))
         (if (i64.ne (i64.load (i32.const {result})) (i64.const 0)) (then unreachable))
         (if (call $clock (i32.const 0) (i64.const 0) (i32.const {result})) (then unreachable))
         (if (i64.lt_u (i64.load (i32.const {result})) (i64.const 1700000000000000000)) (then unreachable))
         (if (call $random (i32.const {result}) (i32.const 8)) (then unreachable))
         (if (i64.eqz (i64.load (i32.const {result}))) (then unreachable))
         (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)
            (i64.const 0) (i32.const 0) (i32.const 0))) (then unreachable))
         (if (i32.ne (call $prestat (i32.const 3) (i32.const 0)) (i32.const 8)) (then unreachable))
         (if (i64.ne (i64.load (i32.const 0)) (i64.const 77)) (then unreachable))
         (if (i64.ne (i64.load (i32.const 8)) (i64.const 78)) (then unreachable))",
        length = result + 4,
    ));
    let setup = Setup::new();
    guest.install(&setup.plugin("old.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "old"), Some(1.into()), "{log}");
    assert!(log.contains("plugin message plugin=old text=\"printed in two pieces\""), "{log}");
}

/// The runtime of Go is up only after `_initialize`, which asks for what preview 1 has.
#[test]
fn preview_1_runtime_initializes_before_memory_use() {
    let is_up = "(if (i32.eqz (global.get $is_up)) (then unreachable))";
    let guest = preview_1_guest()
        .with(&format!(
            "(global $is_up (mut i32) (i32.const 0))
             (func (export \"_initialize\")
               (if (call $environ (i32.const {HOST_RESULT}) (i32.const {HOST_RESULT})) (then unreachable))
               (if (call $clock (i32.const 1) (i64.const 0) (i32.const {HOST_RESULT})) (then unreachable))
               (if (call $random (i32.const {HOST_RESULT}) (i32.const 32)) (then unreachable))
               (global.set $is_up (i32.const 1)))"
        ))
        .before_realloc(is_up)
        .before_collect(is_up);
    let setup = Setup::new();
    guest.install(&setup.plugin("old.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "old"), Some(1.into()), "{log}");
}

/// A runtime that collects garbage asks for the time in any call, also in those in which the host may not be called.
#[test]
fn preview_1_works_without_host_in_closed_calls() {
    let mut guest = preview_1_guest();
    let lost = guest.text("lost");
    let pieces = guest.list(&[lost.0, lost.1]);
    let closed = format!(
        "(if (call $clock (i32.const 0) (i64.const 0) (i32.const {HOST_RESULT})) (then unreachable))
         (if (i64.lt_u (i64.load (i32.const {HOST_RESULT})) (i64.const 1700000000000000000)) (then unreachable))
         (if (call $clock (i32.const 1) (i64.const 0) (i32.const {HOST_RESULT})) (then unreachable))
         (if (call $random (i32.const {HOST_RESULT}) (i32.const 16)) (then unreachable))
         (if (i64.eq (i64.load (i32.const {HOST_RESULT})) (i64.load (i32.const {}))) (then unreachable))
         (if (call $fd_write (i32.const 2) (i32.const {pieces}) (i32.const 1) (i32.const {HOST_RESULT})) (then unreachable))
         (if (i32.ne (i32.load (i32.const {HOST_RESULT})) (i32.const 4)) (then unreachable))",
        HOST_RESULT + 8,
    );
    let post = format!("(func (export \"cabi_post_gauged:plugin/collector@{VERSION}#collect\") (param i32) {closed})");
    let initialize = format!(
        "(func (export \"_initialize\")
           (if (call $clock (i32.const 0) (i64.const 0) (i32.const {HOST_RESULT})) (then unreachable)))"
    );
    let setup = Setup::new();
    guest.with(&initialize).with(&post).before_realloc(&closed).install(&setup.plugin("old.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "old"), Some(1.into()), "{log}");
    assert!(!log.contains("lost"), "{log}");
}

#[test]
fn preview_1_exit_is_a_trap() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    preview_1_guest().before_collect("(call $exit (i32.const 1))").install(&setup.plugin("old.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait_log("the guest exited");
}

/// Also where the plugin may pass few bytes in a call of the host.
#[test]
fn long_prints_are_no_faults() {
    let config = ["old", "wasi"].map(|plugin| format!("[plugins.{plugin}.limits]\nresult = \"64KiB\"\n"));
    let setup = Setup::with_config(&config.concat());
    let traceback = "x".repeat(4090) + "\nend\n";
    install(&writing(wasi_guest(), &[("stderr", &traceback)]).component_with_wasi(), &setup.plugin("wasi.wasm"));
    let mut guest = preview_1_guest().pages(10);
    let end = guest.text("end\n");
    let pieces = guest.list(&[65_536, 300_000, end.0, end.1]);
    let print = format!(
        "(if (call $fd_write (i32.const 1) (i32.const {pieces}) (i32.const 2) (i32.const {HOST_RESULT})) (then unreachable))
         (if (i32.ne (i32.load (i32.const {HOST_RESULT})) (i32.const 300004)) (then unreachable))"
    );
    guest.before_collect(&print).install(&setup.plugin("old.wasm"));
    let (sample, log) = setup.once();
    for plugin in ["old", "wasi"] {
        assert_eq!(value(&sample, plugin), Some(1.into()), "{log}");
    }
    let has_end = |line: &str| line.contains("plugin message plugin=wasi text=end");
    assert!(log.lines().any(has_end), "{log}");
}

#[test]
fn wasi_output_before_a_trap_is_logged() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let guest = writing(wasi_guest().before_collect("unreachable"), &[("stderr", "fatal: no memory")]);
    install(&guest.component_with_wasi(), &setup.plugin("wasi.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait_log("plugin message plugin=wasi text=\"fatal: no memory\"");
    agent.wait(|sample| fault_count(sample, "wasi", "trap") >= 1.0);
}

#[test]
fn wasi_output_has_the_log_rate_limit() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let text = "line\n".repeat(200) + &"x".repeat(3000);
    install(&writing(wasi_guest(), &[("stdout", &text)]).component_with_wasi(), &setup.plugin("wasi.wasm"));
    let (mut agent, began) = (setup.start(&[]), Instant::now());
    agent
        .wait(|sample| plugin_metric(sample, "plugin_dropped_messages_total", "wasi").is_some_and(|lost| lost > 400.0));
    let lines = agent.wait_log_lines("plugin message plugin=wasi", 20).len();
    let allowed = 21 + began.elapsed().as_secs() as usize;
    assert!(lines <= allowed, "{lines} lines, and 20 and one a second are allowed: {allowed}");
}

#[test]
fn wasi_imports_are_inert_stubs() {
    let setup = Setup::new();
    let body = format!(
        "(call $environment (i32.const {HOST_RESULT}))
         (if (i32.load (i32.const {})) (then unreachable))
         (call $directories (i32.const {HOST_RESULT}))
         (if (i32.load (i32.const {})) (then unreachable))
         (if (i64.eq (call $random) (call $random)) (then unreachable))
         (if (i64.gt_u (call $now) (call $now)) (then unreachable))
         (call $write (call $stdout) (i32.const 1024) (i32.const 4) (i32.const {HOST_RESULT}))
         (if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))",
        HOST_RESULT + 4,
        HOST_RESULT + 4
    );
    install(&importing_wasi(&body), &setup.plugin("wasi.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "wasi"), Some(1.into()), "{log}");
}

#[test]
fn oversized_wasi_type_is_refused() {
    let name = "a".repeat(4000);
    let package = format!(
        "package test:evil;
        world plugin {{ include gauged:plugin/plugin@{VERSION}; import wasi:evil/e@0.2.0; }}
        package wasi:evil@0.2.0 {{
            interface e {{ record r {{ {name}: u8 }} type t = tuple<r, r, r, r, r>; f: func() -> t; }}
        }}"
    );
    let setup = Setup::new();
    let guest = Guest::new("evil").import("wasi:evil/e@0.2.0", "f", "(func (param i32))");
    install(&guest.component_of(&package), &setup.plugin("evil.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "evil"), None);
    assert!(log.contains("the import wasi:evil/e@0.2.0 f returns a larger type than any of WASI"), "{log}");
}

#[test]
fn guest_exit_is_a_trap() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    install(&importing_wasi("(call $exit (i32.const 0))"), &setup.plugin("wasi.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| fault_count(sample, "wasi", "trap") >= 1.0);
    agent.wait_log("the guest exited");
    assert_eq!(plugin_metric(&agent.next(), "plugin_up", "wasi"), Some(0.0));
}
