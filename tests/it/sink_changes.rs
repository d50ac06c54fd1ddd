//! Sinks that a reload renames, replaces, removes or cannot open, while samples wait for them.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader};
use std::process::Stdio;

use rustix::process::Signal;

#[cfg(target_os = "linux")]
use crate::fuse::DeadMount;
use crate::harness::{Agent, Sample, Setup, parse, wait_until};
#[cfg(target_os = "linux")]
use crate::namespaces::run_in_namespaces;
use crate::sinks::{RELOADED, STDOUT, file_table, lines, reload, sink_metric, write};

/// An agent whose standard output is a pipe that nobody reads yet, with these sinks.
fn start_unread(setup: &Setup, sinks: &str) -> (Agent, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    write(setup, &format!("interval = \"100ms\"\n{sinks}"));
    (Agent::start_with_output(setup.command(&[]), Stdio::from(writer)), reader)
}

/// Waits until samples wait for standard output, by the lines of a file.
fn wait_for_backlog(setup: &Setup, sink: &str, archive: &str) {
    wait_until("samples wait", || {
        lines(&setup.path(archive)).last().is_some_and(|sample| {
            sink_metric(sample, "sink_queue_samples", &format!("sink=\"{sink}\"")).is_some_and(|waiting| waiting > 2.0)
        })
    });
}

fn timestamp(sample: &Sample) -> f64 {
    sample["agent"]["timestamp"].as_f64().expect("a time")
}

/// The samples of standard output to its end: whole lines, in order, none twice.
fn read_in_order(reader: PipeReader) -> Vec<f64> {
    let printed: Vec<f64> =
        BufReader::new(reader).lines().map(|line| timestamp(&parse(&line.expect("text")))).collect();
    assert!(printed.windows(2).all(|pair| pair[0] < pair[1]), "{printed:?}");
    printed
}

fn named_stdout(name: &str) -> String {
    format!("[sinks.{name}]\nkind = \"stdout\"\n")
}

#[test]
fn renamed_sink_keeps_its_lines_whole() {
    let setup = Setup::new();
    let archive = file_table(&setup, "archive", "");
    let (mut agent, reader) = start_unread(&setup, &format!("{}{archive}", named_stdout("a")));
    wait_for_backlog(&setup, "a", "archive.ndjson");
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{}{archive}", named_stdout("b")), RELOADED);
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{archive}"), RELOADED);
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{}{archive}", named_stdout("c")), RELOADED);
    wait_for_backlog(&setup, "c", "archive.ndjson");
    let reading = std::thread::spawn(move || read_in_order(reader));
    wait_until("the backlog is gone", || {
        lines(&setup.path("archive.ndjson"))
            .last()
            .is_some_and(|sample| sink_metric(sample, "sink_queue_samples", "sink=\"c\"") == Some(0.0))
    });
    assert!(agent.terminate().0.success());
    assert!(reading.join().expect("no panic").len() > 5);
}

#[test]
fn unopened_sink_leaves_all_outputs_as_they_are() {
    let setup = Setup::new();
    write(&setup, &format!("interval = \"100ms\"\n{}", named_stdout("a")));
    let mut agent = setup.start(&[]);
    agent.next();
    let missing = format!("kind = \"file\"\npath = \"{}\"\n", setup.path("nowhere/x").display());
    let toml = format!("interval = \"100ms\"\n[load]\nenabled = false\n[sinks.a]\n{missing}{}", named_stdout("b"));
    reload(&setup, &mut agent, &toml, "configuration reloaded in part");
    // The rest is in effect, and each sample is printed once, by the sink of before.
    let after = agent.wait(|sample| !sample.contains_key("load"));
    assert!(sink_metric(&after, "sink_up", "sink=\"a\"").is_some());
    assert!(sink_metric(&after, "sink_up", "sink=\"b\"").is_none());
    agent.next();
    let ticks: Vec<f64> = agent.samples().iter().map(timestamp).collect();
    assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
    let log = agent.log();
    assert!(log.contains("sink=a reason=\"failed to open ") && log.contains("all outputs stay as they are"), "{log}");
    assert!(log.contains("refused=\"sinks.a, sinks.b\""), "{log}");
    assert!(agent.terminate().0.success());
}

#[test]
fn refused_sink_is_a_problem_with_its_reason() {
    let setup = Setup::new();
    fs::create_dir(setup.path("run")).expect("created");
    write(&setup, &format!("interval = \"100ms\"\n{STDOUT}"));
    let mut agent = setup.start(&[]);
    agent.next();
    let missing = format!("[sinks.new]\nkind = \"file\"\npath = \"{}\"\n", setup.path("nowhere/x").display());
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{STDOUT}{missing}"), "configuration reloaded in part");
    wait_until("the status has it", || {
        let text = String::from_utf8_lossy(&setup.run(&["status"]).stdout).into_owned();
        text.contains("configuration: sinks.new was refused: failed to open ") && text.contains("remedy: create")
    });
}

#[test]
fn removed_output_does_not_end_the_agent() {
    let setup = Setup::new();
    let archive = file_table(&setup, "archive", "");
    let (mut agent, reader) = start_unread(&setup, &format!("{STDOUT}{archive}"));
    wait_for_backlog(&setup, "stdout", "archive.ndjson");
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{archive}"), RELOADED);
    drop(reader);
    let before = lines(&setup.path("archive.ndjson")).len();
    wait_until("lines of the other sink", || lines(&setup.path("archive.ndjson")).len() > before + 5);
    // What waited for it is lost, and counted.
    let last = lines(&setup.path("archive.ndjson")).pop().expect("a line");
    assert!(last["agent"]["dropped_samples_total"].as_u64().is_some_and(|lost| lost > 2), "{last:?}");
    assert!(agent.terminate().0.success());
}

#[test]
fn waiting_samples_follow_a_changed_on_closed() {
    let setup = Setup::new();
    let archive = file_table(&setup, "archive", "");
    let (mut agent, reader) = start_unread(&setup, &format!("{STDOUT}{archive}"));
    wait_for_backlog(&setup, "stdout", "archive.ndjson");
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{STDOUT}on_closed = \"continue\"\n{archive}"), RELOADED);
    drop(reader);
    agent.wait_log("samples lost: standard output not writable");
    let before = lines(&setup.path("archive.ndjson")).len();
    wait_until("lines of the other sink", || lines(&setup.path("archive.ndjson")).len() > before + 5);
    assert!(agent.terminate().0.success());
}

#[test]
fn closed_output_lets_other_sinks_finish() {
    let setup = Setup::new();
    let archive = file_table(&setup, "archive", "");
    let (mut agent, reader) = start_unread(&setup, &format!("{STDOUT}{archive}"));
    wait_for_backlog(&setup, "stdout", "archive.ndjson");
    drop(reader);
    let (status, _) = agent.wait_exit();
    let log = agent.log();
    assert!(status.success() && log.contains("shutting down") && !log.contains("ERROR"), "{status}\n{log}");
    let ticks: Vec<f64> = lines(&setup.path("archive.ndjson")).iter().map(timestamp).collect();
    let steps: Vec<f64> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| *step > 0.0), "{ticks:?}");
}

#[test]
fn counters_outlast_another_target() {
    let setup = Setup::new();
    let table = |file: &str| {
        format!("interval = \"100ms\"\n{STDOUT}[sinks.x]\nkind = \"file\"\npath = \"{}\"\n", setup.path(file).display())
    };
    write(&setup, &table("one"));
    let mut agent = setup.start(&[]);
    let delivered =
        |sample: &Sample| sink_metric(sample, "sink_delivered_samples_total", "sink=\"x\"").unwrap_or_default();
    agent.wait(|sample| delivered(sample) >= 5.0);
    reload(&setup, &mut agent, &table("two"), RELOADED);
    wait_until("the other file", || lines(&setup.path("two")).len() > 2);
    agent.next();
    agent.next();
    let counts: Vec<f64> = agent.samples().iter().map(delivered).collect();
    assert!(counts.is_sorted(), "{counts:?}");
}

#[test]
fn stalled_sink_is_reported_and_down() {
    let setup = Setup::new();
    fs::create_dir(setup.path("run")).expect("created");
    let archive = file_table(&setup, "archive", "");
    let (mut agent, reader) = start_unread(&setup, &format!("{STDOUT}queue_samples = 60\n{archive}"));
    agent.wait_log("WARN sink takes no samples sink=stdout");
    agent.wait_log("ERROR samples lost: queue of the sink full sink=stdout");
    let output = setup.run(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("! sink stdout: it takes no samples"), "{text}");
    assert!(text.contains("  stdout   stdout  down "), "{text}");
    let mut reader = BufReader::new(reader);
    let reading = std::thread::spawn(move || while reader.read_line(&mut String::new()).is_ok_and(|read| read > 0) {});
    agent.wait_log("sink takes samples again sink=stdout");
    wait_until("it is up", || {
        lines(&setup.path("archive.ndjson"))
            .last()
            .is_some_and(|sample| sink_metric(sample, "sink_up", "sink=\"stdout\"") == Some(1.0))
    });
    assert!(agent.terminate().0.success());
    reading.join().expect("no panic");
    assert_eq!(agent.log().matches("queue of the sink full").count(), 1, "it is reported once");
}

#[test]
fn left_out_series_are_reported() {
    let setup = Setup::new();
    write(&setup, &format!("interval = \"100ms\"\n{STDOUT}{}", file_table(&setup, "few", "max_series = 3")));
    let mut agent = setup.start(&[]);
    agent.wait_log("WARN series above max_series left out sink=few left_out=");
    assert!(agent.terminate().0.success());
    let line = lines(&setup.path("few.ndjson")).pop().expect("a line");
    assert!(line["agent"].contains_key("timestamp") && line["agent"].contains_key("hostname"), "{line:?}");
    assert_eq!(line.values().map(std::collections::BTreeMap::len).sum::<usize>(), 5);
}

#[test]
#[cfg(target_os = "linux")]
fn hanging_file_does_not_end_reloads() {
    run_in_namespaces("sink_changes::hanging_file_does_not_end_reloads", || {
        let setup = Setup::new();
        fs::create_dir(setup.path("dead")).expect("created");
        let mut mount = DeadMount::over(&setup.path("dead"))?;
        write(&setup, &format!("interval = \"100ms\"\n{STDOUT}"));
        let mut agent = setup.start(&[]);
        agent.next();
        let dead = format!("[sinks.dead]\nkind = \"file\"\npath = \"{}\"\n", setup.path("dead/x").display());
        write(&setup, &format!("interval = \"100ms\"\n{STDOUT}{dead}"));
        agent.signal(Signal::HUP);
        agent.wait_log("the file system does not respond: sinks.dead is being opened");
        // Without it the next reload is carried out.
        reload(&setup, &mut agent, &format!("interval = \"100ms\"\n[load]\nenabled = false\n{STDOUT}"), RELOADED);
        agent.wait(|sample| !sample.contains_key("load"));
        agent.assert_no_gaps();
        assert!(agent.terminate().0.success());
        mount.end();
        Ok(())
    });
}

#[test]
fn output_file_is_not_doubled_by_reloads() {
    let setup = Setup::new();
    let output = setup.path("output");
    write(&setup, &format!("interval = \"100ms\"\n{}", named_stdout("a")));
    let mut agent = Agent::start_with_output(setup.command(&[]), File::create(&output).expect("created").into());
    wait_until("a line", || !lines(&output).is_empty());
    for name in ["b", "c", "d"] {
        reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{}", named_stdout(name)), RELOADED);
    }
    let before = lines(&output).len();
    wait_until("more lines", || lines(&output).len() > before + 3);
    assert!(agent.terminate().0.success());
    let ticks: Vec<f64> = lines(&output).iter().map(timestamp).collect();
    assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
}
