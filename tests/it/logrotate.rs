//! The real logrotate, with the configuration that is shipped, beside a running agent, in both its ways.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::harness::{Agent, Sample, Setup, parse, repository, wait_until};
use crate::requirement::{Program, program};

/// How often the file is rotated: more than once, so that old files are renamed, too.
const ROTATIONS: usize = 4;

fn timestamp(sample: &Sample) -> String {
    sample["agent"]["timestamp"].to_string()
}

fn file(setup: &Setup) -> PathBuf {
    setup.path("log/samples.ndjson")
}

/// An agent with a sink for logrotate, and another one for this test.
fn start(setup: &Setup) -> Agent {
    fs::create_dir(setup.path("log")).expect("created");
    fs::set_permissions(setup.path("log"), fs::Permissions::from_mode(0o750)).expect("set");
    let archive =
        format!("[sinks.archive]\nkind = \"file\"\nrotate_size = \"never\"\npath = \"{}\"\n", file(setup).display());
    let config = format!("interval = \"100ms\"\n[sinks.stdout]\nkind = \"stdout\"\n{archive}");
    fs::write(setup.path("gauged.toml"), config).expect("written");
    setup.start(&[])
}

/// Rotates the file with the shipped configuration, in which one line is replaced.
fn rotate(logrotate: &Program, setup: &Setup, agent: &Agent, line: &str, replacement: &str) {
    let shipped = fs::read_to_string(repository().join("deploy/logrotate/gauged")).expect("there");
    let signal = shipped.lines().find(|line| line.contains("systemctl kill")).expect("a signal").trim();
    let config = shipped
        .replace("/var/log/gauged", &setup.path("log").display().to_string())
        .replace(signal, &format!("kill -USR1 {}", agent.pid()))
        // There are several a day.
        .replace("dateext", "nodateext");
    assert!(config.contains(line), "{config}");
    let path = setup.path("logrotate.conf");
    fs::write(&path, config.replace(line, replacement)).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    let mut command = logrotate.command();
    command.arg("--force").arg("--state").arg(setup.path("state")).arg(&path);
    let output = command.stderr(std::process::Stdio::piped()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The timestamps of all lines, the oldest first.
fn timestamps(file: &Path) -> Vec<String> {
    // The newest is compressed at the next rotation only.
    let rotated = (2..=ROTATIONS).rev().map(|number| file.with_added_extension(format!("{number}.gz")));
    let mut text = String::new();
    for path in rotated {
        GzDecoder::new(File::open(path).expect("opened")).read_to_string(&mut text).expect("text");
    }
    text.push_str(&fs::read_to_string(file.with_added_extension("1")).expect("text"));
    // There may be none since the last rotation.
    text.push_str(&fs::read_to_string(file).unwrap_or_default());
    text.lines().map(|line| timestamp(&parse(line))).collect()
}

/// Rotates the file a few times; returns the timestamps in the files and on standard output.
fn rotated(logrotate: &Program, line: &str, replacement: &str) -> (Vec<String>, Vec<String>) {
    let setup = Setup::new();
    let mut agent = start(&setup);
    for _ in 0..ROTATIONS {
        wait_until("lines", || fs::read_to_string(file(&setup)).is_ok_and(|text| text.lines().count() > 2));
        rotate(logrotate, &setup, &agent, line, replacement);
    }
    agent.next();
    agent.next();
    let (status, _) = agent.terminate();
    assert!(status.success(), "{status}\n{}", agent.log());
    // And all samples are read.
    agent.wait_log("shutting down");
    assert!(!agent.log().contains("ERROR") && !agent.log().contains("WARN"), "{}", agent.log());
    (timestamps(&file(&setup)), agent.samples().iter().map(timestamp).collect())
}

#[test]
fn renaming_logrotate_loses_no_line() {
    let Some(logrotate) = program("logrotate") else { return };
    // The last one sends no signal.
    for (line, replacement) in [("nocreate", "nocreate"), ("nocreate", "create"), ("kill -USR1", "true")] {
        let (found, samples) = rotated(&logrotate, line, replacement);
        assert!(found.is_sorted() && samples.len() >= 2 * ROTATIONS, "{found:?}");
        let lost: Vec<&String> = samples.iter().filter(|sample| !found.contains(sample)).collect();
        assert!(lost.is_empty(), "{replacement}: {lost:?} are not in {found:?}");
    }
}

#[test]
fn copying_logrotate_leaves_whole_lines() {
    let Some(logrotate) = program("logrotate") else { return };
    let (found, samples) = rotated(&logrotate, "nocreate", "copytruncate");
    assert!(
        found.is_sorted() && found.iter().filter(|found| samples.contains(found)).count() >= ROTATIONS,
        "{found:?}"
    );
}
