//! The log: its form, its levels, and texts from outside that look like lines of it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;

use crate::guest::Guest;
use crate::harness::{Setup, value};

/// A text that would forge a line and colour a terminal: the name of a file, a directory, or a message.
const FORGED: &str =
    "x\n2026-01-01T00:00:00.000000Z ERROR agent failed reason=forged\r\u{1b}[31m\u{202e}\u{9b}1m \"x\" plugin=y";

/// A setup in which the log has [`FORGED`] in several fields.
fn forging_setup(configuration: &str) -> Setup {
    let setup = Setup::with_config(configuration);
    fs::write(setup.plugin(&format!("{FORGED}.wasm")), "x").expect("written");
    fs::create_dir(setup.plugin(&format!("{FORGED}2.wasm"))).expect("created");
    Guest::new("talks").version("1").logs(2, FORGED).error(3, FORGED).install(&setup.plugin("talks.wasm"));
    Guest::new("fails").configure_error(0, FORGED).install(&setup.plugin("fails.wasm"));
    setup
}

/// Asserts that the characters of a log are plain: no control character but the ends of lines, and nothing invisible.
fn assert_plain(log: &str) {
    let is_plain = |character: char| !character.is_control() && !('\u{200b}'..='\u{202f}').contains(&character);
    assert!(log.lines().all(|line| line.chars().all(is_plain)) && !log.contains('\r'), "{log:?}");
}

#[test]
fn names_and_messages_cannot_forge_text_lines() {
    let (_, log) = forging_setup("").once();
    assert_plain(&log);
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines {
        let (time, rest) = line.split_once(' ').expect("a time and more");
        assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z') && !line.starts_with("2026-01-01"));
        assert!(["ERROR ", " WARN ", " INFO "].iter().any(|level| rest.starts_with(level)), "{line}");
        assert!(!rest.starts_with("ERROR"), "{line}");
    }
    let file = r#"file="plugins/x\n2026-01-01T00:00:00.000000Z ERROR agent failed reason=forged\r\u{1b}[31m\u{202e}\u{9b}1m \"x\" plugin=y.wasm""#;
    let rejected = lines.iter().filter(|line| line.contains("plugin rejected") && line.contains(file));
    assert_eq!(rejected.count(), 1, "{log}");
    // The message of the trial and of the sample, the error of `collect`, the two files, the error of `configure`.
    assert_eq!(lines.iter().filter(|line| line.contains("reason=forged")).count(), 6, "{log}");
}

#[test]
fn json_lines_parse() {
    let (_, log) = forging_setup("[log]\nformat = \"json\"\n").once();
    assert_plain(&log);
    let mut files = Vec::new();
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let text = |key: &str| object[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"));
        assert!(text("time").ends_with('Z') && ["warn", "info"].contains(&text("level")), "{line}");
        assert!(!text("message").contains("forged"), "{line}");
        files.extend(object["file"].as_str().map(str::to_owned));
    }
    assert!(files.contains(&format!("plugins/{FORGED}.wasm")), "{files:?}");
}

#[test]
fn directory_name_cannot_forge_a_line() {
    let setup = Setup::new();
    let output = setup.run(&["--once", "--plugins", FORGED]);
    let log = String::from_utf8(output.stderr).expect("text");
    assert_plain(&log);
    assert!(
        matches!(&*log.lines().collect::<Vec<_>>(), [line] if line.contains("plugins directory not readable")),
        "{log}"
    );
}

/// The log of one sample, with a plugin that logs at each level, at this level.
fn log_at_level(key: &str, variable: Option<&str>) -> String {
    let setup = Setup::with_config(key);
    for (number, level) in ["debug", "info", "warn", "error"].iter().enumerate() {
        Guest::new(level).logs(number as u32, "hello").install(&setup.plugin(&format!("{level}.wasm")));
    }
    let output = setup.command(&["--once"]).envs(variable.map(|level| ("GAUGED_LOG", level))).output();
    let output = output.expect("it runs");
    assert!(output.status.success());
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn level_comes_from_variable_then_key() {
    // How many of the levels are logged.
    for (key, variable, logged) in [
        ("", None, 3),
        ("[log]\nlevel = \"debug\"\n", None, 4),
        ("[log]\nlevel = \"warn\"\n", None, 2),
        ("[log]\nlevel = \"error\"\n", None, 1),
        ("[log]\nlevel = \"error\"\n", Some("debug"), 4),
        ("[log]\nlevel = \"debug\"\n", Some("error"), 1),
        ("[log]\nlevel = \"warn\"\n", Some(""), 2),
        ("", Some("info"), 3),
    ] {
        let log = log_at_level(key, variable);
        let levels = [("ERROR", "error"), (" WARN", "warn"), (" INFO", "info"), ("DEBUG", "debug")];
        for (number, (level, plugin)) in levels.into_iter().enumerate() {
            let has_line = log.contains(&format!(" {level} plugin message plugin={plugin} text=hello"));
            assert_eq!(has_line, number < logged, "{level} with {key:?} and {variable:?} in {log}");
        }
    }
}

#[test]
fn wrong_level_or_format_is_an_error() {
    let setup = Setup::with_config("[log]\nlevel = \"trace\"\nformat = \"xml\"\ncolour = true\n");
    let output = setup.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "gauged.toml:2: log.level: \"trace\" is not a level; use error, warn, info or debug\n\
                    gauged.toml:3: log.format: \"xml\" is not a format; use text or json\n\
                    gauged.toml:4: log.colour: unknown key; remove it, or use one of level, format\n";
    assert_eq!(String::from_utf8(output.stderr).expect("text"), expected);

    for arguments in [&["check"][..], &["--once"]] {
        let output = Setup::new().command(arguments).env("GAUGED_LOG", "verbose").output().expect("it runs");
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true));
        let expected = "environment: $GAUGED_LOG: \"verbose\" is not a level; use error, warn, info or debug\n";
        assert_eq!(String::from_utf8(output.stderr).expect("text"), expected);
    }
}

/// The log of one sample that is written to a file; `stream` makes `$JOURNAL_STREAM` of its device and inode.
fn log_to_file(configuration: &str, stream: impl FnOnce(u64, u64) -> String) -> String {
    let setup = Setup::with_config(configuration);
    fs::write(setup.plugin("bad.wasm"), "x").expect("written");
    for (level, name) in [(1, "good"), (3, "loud")] {
        Guest::new(name).logs(level, "hello").install(&setup.plugin(&format!("{name}.wasm")));
    }
    let path = setup.path("log");
    let file = File::create(&path).expect("created");
    let metadata = file.metadata().expect("known");
    let mut command = setup.command(&["--once"]);
    command.env("JOURNAL_STREAM", stream(metadata.dev(), metadata.ino())).stderr(file);
    let output = command.output().expect("it runs");
    assert!(value(&crate::harness::parse(&String::from_utf8_lossy(&output.stdout)), "good").is_some());
    fs::read_to_string(path).expect("text")
}

#[test]
fn journal_gets_priorities_instead_of_times() {
    let log = log_to_file("[log]\nlevel = \"debug\"\n", |device, inode| format!("{device}:{inode}"));
    for expected in [
        "<4> WARN plugin rejected plugin=bad ",
        "<6> INFO plugin loaded plugin=good ",
        "<6> INFO plugin message plugin=good ",
        "<3>ERROR plugin message plugin=loud ",
    ] {
        assert!(log.lines().any(|line| line.starts_with(expected)), "{expected} in {log}");
    }
    assert!(log.lines().all(|line| line.starts_with('<')), "{log}");
    let log = log_to_file("[log]\nformat = \"json\"\n", |device, inode| format!("{device}:{inode}"));
    let parses = |line: &str| {
        line.strip_prefix("<4>")
            .or(line.strip_prefix("<6>"))
            .or(line.strip_prefix("<3>"))
            .is_some_and(|object| serde_json::from_str::<Value>(object).is_ok())
    };
    assert!(log.lines().count() > 2 && log.lines().all(parses), "{log}");
}

#[test]
fn log_outside_the_journal_keeps_its_times() {
    // The variable is inherited by programs whose standard error was redirected.
    let log = log_to_file("", |device, inode| format!("{device}:{}", inode + 1));
    assert!(log.lines().count() > 2 && log.lines().all(|line| line.starts_with("20")), "{log}");
}
