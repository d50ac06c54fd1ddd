//! What plugins report instead of metrics: parts of the measured data that they leave out, and errors that are no faults.

use std::fs;

use crate::first_party::built;
use crate::guest::{Guest, HOST_RESULT, OTHER_RESULT, VALUE};
use crate::harness::{Setup, lines_about, plugin_metric, value};

/// The parameters of `log.skip`.
const SKIP: &str = "(func $skip (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))";

/// A report of a part: its line, word, reason by its number in the interface, message, remedy and loss.
type Part<'a> = (u32, &'a str, u32, &'a str, &'a str, &'a str);

/// A guest that leaves out these parts of `/proc/stat` at each call.
fn skipping(parts: &[Part<'_>]) -> Guest {
    let mut guest = Guest::new("skips").import("gauged:plugin/log", "skip", SKIP);
    let source = guest.text("/proc/stat");
    let calls = parts.iter().map(|(line, word, reason, message, remedy, lost)| {
        let [word, message, remedy, lost] = [word, message, remedy, lost].map(|text| guest.text(text));
        format!(
            "(call $skip (i32.const {}) (i32.const {}) (i32.const {line}) (i32.const {}) (i32.const {})
                         (i32.const {reason}) (i32.const {}) (i32.const {}) (i32.const {}) (i32.const {})
                         (i32.const {}) (i32.const {}))",
            source.0, source.1, word.0, word.1, message.0, message.1, remedy.0, remedy.1, lost.0, lost.1
        )
    });
    let calls: String = calls.collect();
    guest.before_collect(&calls)
}

const PARTS: [Part<'_>; 4] = [
    (7, "-5", 2, "-5 is impossible: fans reach 40,000; it failed", "", "forks_total"),
    (0, "", 0, "does not exist", "", "softirqs"),
    (0, "", 1, "Permission denied", "run the agent as root", "secrets"),
    (9, "1\n2", 3, "ends too early", "", "the rest"),
];

#[test]
fn skipped_parts_are_reported_once_and_counted() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    skipping(&PARTS).install(&setup.plugin("skips.wasm"));
    let mut agent = setup.start(&[]);
    // Three at each call: an absent part is not counted.
    let sample = agent.wait(|sample| plugin_metric(sample, "plugin_skipped_lines_total", "skips") >= Some(9.0));
    assert_eq!(plugin_metric(&sample, "plugin_skipped_lines_total", "skips").map(|count| count % 3.0), Some(0.0));
    assert_eq!(value(&sample, "skips"), Some(1.into()));
    let lines = agent.wait_plugin_log("skips", 4);
    let left_out: Vec<&str> = lines.iter().filter_map(|line| line.split_once(" WARN ")).map(|(_, rest)| rest).collect();
    assert_eq!(
        left_out,
        [
            r#"plugin values left out plugin=skips file=/proc/stat line=7 word=-5 kind=malformed reason="-5 is impossible: fans reach 40,000; it failed" left_out=forks_total"#,
            r#"plugin values left out plugin=skips file=/proc/stat kind="not permitted" reason="Permission denied" left_out=secrets remedy="run the agent as root""#,
            r#"plugin values left out plugin=skips file=/proc/stat line=9 word="1\\n2" kind=truncated reason="ends too early" left_out="the rest""#,
        ]
    );
    // Neither another version nor a fault renews the reports.
    skipping(&PARTS).version("2.0.0").install(&setup.plugin("skips.wasm"));
    agent.wait_log("plugin replaced");
    agent.wait(|sample| plugin_metric(sample, "plugin_skipped_lines_total", "skips") >= Some(30.0));
    assert_eq!(agent.log().matches("plugin values left out").count(), 3, "{}", agent.log());
}

#[test]
fn absent_parts_are_shown_at_debug_level() {
    let setup = Setup::with_config("[log]\nlevel = \"debug\"\n");
    skipping(&PARTS[1..2]).install(&setup.plugin("skips.wasm"));
    let (sample, log) = setup.once();
    let line = r#"DEBUG plugin values left out plugin=skips file=/proc/stat kind=missing reason="does not exist" left_out=softirqs"#;
    assert!(log.contains(line), "{log}");
    assert_eq!(plugin_metric(&sample, "plugin_skipped_lines_total", "skips"), Some(0.0));
}

#[test]
fn skipped_parts_cannot_flood_the_log() {
    let setup = Setup::with_config("[plugins.skips.limits]\nlog_lines = 6000\n");
    let names: Vec<String> = (0..500).map(|number| format!("metric_{number}")).collect();
    let parts: Vec<Part<'_>> = names.iter().map(|name| (1, "x", 2, "x is odd", "", &**name)).collect();
    skipping(&parts).install(&setup.plugin("skips.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(log.matches("WARN plugin values left out").count(), 100, "{log}");
    assert_eq!(log.matches("WARN further plugin values left out not reported plugin=skips").count(), 1);
    assert!(plugin_metric(&sample, "plugin_skipped_lines_total", "skips") >= Some(500.0));
}

#[test]
fn skipped_parts_wait_for_log_lines() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    // More absent parts than kinds are remembered, and more others than lines come at once.
    let names: Vec<String> = (0..150).map(|number| format!("metric_{number}")).collect();
    let absent = names.iter().map(|name| (0, "", 0, "does not exist", "", &**name));
    let odd = names[..24].iter().map(|name| (1, "x", 2, "x is odd", "", &**name));
    skipping(&absent.chain(odd).collect::<Vec<_>>()).install(&setup.plugin("skips.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait_log_for("all of them", |log| (log.matches("WARN plugin values left out").count() == 24).then_some(()));
    let sample = agent.wait(|sample| plugin_metric(sample, "plugin_skipped_lines_total", "skips") >= Some(48.0));
    assert_eq!(plugin_metric(&sample, "plugin_dropped_messages_total", "skips"), Some(0.0), "{}", agent.log());
}

/// A guest that counts its calls, and returns an error at the calls of these numbers: the case in the interface, and the text.
fn failing_at(calls: &[u32], case: u32, message: &str) -> Guest {
    let mut guest = Guest::new("fails");
    let text = guest.text(message);
    let fail = |call: &u32| {
        format!("(if (i64.eq (global.get $calls) (i64.const {call})) (then (return (i32.const {OTHER_RESULT}))))")
    };
    let fails = calls.iter().map(fail).collect::<Vec<_>>().concat();
    guest
        .patch(OTHER_RESULT, &[1, case, text.0, text.1])
        .with("(global $calls (mut i64) (i64.const 0))")
        .before_collect(&format!(
            "(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
             (i64.store (i32.const {}) (global.get $calls)) {fails}",
            VALUE + 8
        ))
}

#[test]
fn repeated_error_is_logged_once_and_keeps_instance() {
    for (case, message) in [(3, "plugin unavailable"), (4, "plugin returned an error")] {
        let setup = Setup::with_config("interval = \"100ms\"\n");
        failing_at(&[3, 4, 5, 8], case, "out of order").install(&setup.plugin("fails.wasm"));
        let mut agent = setup.start(&[]);
        // Without a fresh start the calls are counted on.
        let sample = agent.wait(|sample| value(sample, "fails").is_some_and(|calls| calls.as_u64() >= Some(9)));
        assert_eq!(plugin_metric(&sample, "plugin_errors_total", "fails"), Some(4.0));
        assert_eq!(plugin_metric(&sample, "plugin_faults_total", "fails"), Some(0.0));
        let measured: Vec<u64> = agent
            .samples()
            .iter()
            .filter_map(|sample| value(sample, "fails")?.as_u64())
            .filter(|&call| call < 9)
            .collect();
        assert_eq!(measured, [2, 6, 7], "the first call is the trial");
        let log = agent.wait_log_for("both recoveries", |log| {
            (log.matches("plugin available again plugin=fails").count() == 2).then(|| log.to_owned())
        });
        let line = format!(" WARN {message} plugin=fails reason=\"out of order\" remedy=");
        let consequence = "its metrics are missing until a call succeeds";
        let lines = lines_about(&log, "fails");
        let errors = lines.iter().filter(|line_| line_.contains(&line) && line_.contains(consequence)).count();
        assert_eq!(errors, 2, "three errors in a row are one line\n{log}");
    }
}

#[test]
fn trial_returning_an_error_keeps_its_instance() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    failing_at(&[1], 4, "not yet").install(&setup.plugin("fails.wasm"));
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| value(sample, "fails").is_some());
    assert_eq!(value(&sample, "fails"), Some(2.into()), "{}", agent.log());
    assert!(agent.log().contains("plugin loaded"));
}

/// A guest whose text is a piece of a file, and which is unavailable with the number of the error.
fn reading_at(path: &str, offset: u64, max_bytes: u32) -> Guest {
    let mut guest =
        Guest::new("pieces").import("gauged:plugin/files", "read-at", "(func $read_at (param i32 i32 i64 i32 i32))");
    let path = guest.text(path);
    let call = format!(
        "(call $read_at (i32.const {}) (i32.const {}) (i64.const {}) (i32.const {max_bytes}) (i32.const {HOST_RESULT}))
         (if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))
         (i32.store (i32.const {VALUE}) (i32.const 4))
         (i64.store (i32.const {}) (i64.load (i32.const {})))",
        path.0,
        path.1,
        offset.cast_signed(),
        VALUE + 8,
        HOST_RESULT + 8,
    );
    guest.before_collect(&call)
}

#[test]
fn files_are_read_in_pieces() {
    let setup = Setup::new();
    let file = setup.path("numbers");
    fs::write(&file, "0123456789").expect("written");
    fs::write(setup.path("gauged.toml"), format!("[plugins.pieces]\nread = [{:?}]\n", file.display()))
        .expect("written");
    let path = file.display().to_string();
    for (offset, max_bytes, piece) in [
        (0, 4, "0123"),
        (4, 100, "456789"),
        (10, 4, ""),
        (11, 4, ""),
        (0, 0, ""),
        (u64::MAX, u32::MAX, ""),
        (i64::MAX.unsigned_abs(), 1, ""),
    ] {
        reading_at(&path, offset, max_bytes).install(&setup.plugin("pieces.wasm"));
        let (sample, log) = setup.once();
        assert_eq!(value(&sample, "pieces"), Some(piece.into()), "{offset} {max_bytes}\n{log}");
    }
    // A file of the kernel, which has no size.
    reading_at("/proc/filesystems", 1, 4).install(&setup.plugin("pieces.wasm"));
    assert_eq!(value(&setup.once().0, "pieces"), Some("odev".into()));
}

#[test]
fn long_mountinfo_is_cut_within_the_memory() {
    let setup = Setup::new();
    // Thirteen megabytes: the mounts of a host of containers, some with names that are not UTF-8.
    let layers = "/var/lib/docker/overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ:".repeat(2000);
    let line =
        |number: u32| format!("{number} 1 0:7 / /m{number} rw - overlay overlay rw,lowerdir={layers}\n").into_bytes();
    let mut mounts: Vec<u8> = (0..130).flat_map(line).collect();
    let (begin, bytes) = (mounts.len() / 2, 100);
    for at in 0..5 {
        mounts[begin - at * bytes * 1000] = 0xe9;
    }
    assert!(mounts.len() > 13_000_000);
    fs::create_dir_all(setup.path("host/proc/1")).expect("created");
    fs::write(setup.path("host/proc/1/mountinfo"), mounts).expect("written");
    fs::write(setup.plugin("filesystem.wasm"), built("filesystem")).expect("copied");
    let (sample, log) = setup.once_with(&["--root", "host"]);
    assert_eq!(plugin_metric(&sample, "plugin_faults_total", "filesystem"), Some(0.0), "{log}");
    assert!(log.contains("kind=truncated reason=\"is longer than the 8 MiB that are read\""), "{log}");
}
