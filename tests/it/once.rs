//! `gauged --once`.

use std::io::Read as _;
use std::process::Stdio;

use crate::guest::Guest;
use crate::harness::{Setup, parse, value};

#[test]
fn piped_output_is_one_line_with_native_modules() {
    let output = Setup::new().run(&["--once"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let sample = parse(&text);

    let agent = &sample["agent"];
    assert_eq!(agent["interval"], 10);
    assert_eq!(agent["version"], env!("CARGO_PKG_VERSION"));
    assert!(agent["hostname"].as_str().is_some_and(|name| !name.is_empty()));
    let percent = sample["cpu"]["percent"].as_f64().expect("measured over a window");
    let idle = sample["cpu"]["idle"].as_f64().expect("measured") + sample["cpu"]["iowait"].as_f64().expect("measured");
    assert!((percent + idle - 100.0).abs() < 0.3, "{percent} % busy and {idle} % idle");
    assert!(sample["load"]["1min"].as_f64().is_some());
    let memory_bytes = |metric: &str| sample["memory"][metric].as_u64().expect(metric);
    assert_eq!(memory_bytes("used"), memory_bytes("total") - memory_bytes("available"));
    assert!(sample["swap"].contains_key("sin"));
}

#[test]
fn cpu_is_measured_over_250_ms() {
    let setup = Setup::new();
    let start = std::time::Instant::now();
    setup.once();
    assert!(start.elapsed() >= std::time::Duration::from_millis(250));
}

#[test]
fn pretty_option_prints_several_lines() {
    let output = Setup::new().run(&["--once", "--pretty"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with("{\n  \"agent\": {\n    \"timestamp\":"), "{text}");
    parse(&text);
}

#[test]
fn terminal_output_is_pretty_printed() {
    let setup = Setup::new();
    // script(1) runs a command on a terminal and prints its output.
    let command = format!("{} --once", env!("CARGO_BIN_EXE_gauged"));
    let mut script = std::process::Command::new("script");
    let output = script.args(["-qec", &command, "/dev/null"]).current_dir(setup.path("")).stdin(Stdio::null()).output();
    let text = String::from_utf8(output.expect("script(1) of util-linux runs").stdout).expect("text");
    assert!(text.contains("{\r\n  \"agent\": {\r\n"), "{text}");
}

#[test]
fn sample_waits_for_plugins_to_load() {
    let setup = Setup::new();
    Guest::new("one").value(7).install(&setup.plugin("one.wasm"));
    Guest::new("two").install(&setup.plugin("two.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(value(&sample, "one"), Some(7.into()), "{log}");
    assert_eq!(value(&sample, "two"), Some(1.into()), "{log}");
}

#[test]
fn closed_output_pipe_exits_with_0() {
    let setup = Setup::new();
    let mut child =
        setup.command(&["--once"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let status = child.wait().expect("it ends");
    let mut log = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
    assert!(status.success() && log.is_empty(), "{log}");
}

#[test]
fn full_output_device_exits_with_1() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = Setup::new().command(&["--once"]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));
}

#[test]
fn root_option_selects_the_measured_host() {
    // A missing file is no warning: kernels differ.
    let setup = Setup::with_config("log.level = \"debug\"\n");
    let root = setup.path("host");
    std::fs::create_dir_all(root.join("proc")).expect("created");
    std::fs::write(root.join("proc/loadavg"), "1.50 2.25 3.00 4/567 890\n").expect("written");
    let (sample, log) = setup.once_with(&["--root", "host"]);
    assert_eq!(sample["load"]["5min"], 2.25);
    assert!(sample["memory"]["total"].is_null() && sample["cpu"]["percent"].is_null());
    let missing: Vec<&str> = log.lines().filter(|line| line.contains("host/proc/meminfo")).collect();
    assert!(!missing.is_empty() && missing.iter().all(|line| line.contains(" DEBUG ")), "{log}");
}
