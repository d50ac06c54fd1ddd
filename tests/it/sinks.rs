//! Sinks: several at a time, the series that each has, what a reload changes, and sinks that fail or hang.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

#[cfg(target_os = "linux")]
use crate::fuse::DeadMount;
use crate::harness::{Agent, Sample, Setup, parse, wait_until};
#[cfg(target_os = "linux")]
use crate::namespaces::run_in_namespaces;

pub fn write(setup: &Setup, toml: &str) {
    fs::write(setup.path("gauged.new"), toml).expect("written");
    fs::rename(setup.path("gauged.new"), setup.path("gauged.toml")).expect("moved");
}

pub fn reload(setup: &Setup, agent: &mut Agent, toml: &str, message: &str) {
    write(setup, toml);
    let before = agent.log().matches(message).count();
    agent.signal(Signal::HUP);
    agent.wait_log_for(message, |log| (log.matches(message).count() > before).then_some(()));
}

pub const RELOADED: &str = " configuration reloaded changed=";

pub fn sink_metric(sample: &Sample, metric: &str, labels: &str) -> Option<f64> {
    sample["agent"].get(&format!("{metric}{{{labels}}}"))?.as_f64()
}

/// The whole lines of a file.
pub fn lines(path: &Path) -> Vec<Sample> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(parse).collect()
}

fn keys(sample: &Sample) -> Vec<String> {
    let modules = sample.iter();
    modules.flat_map(|(module, metrics)| metrics.keys().map(move |metric| format!("{module}.{metric}"))).collect()
}

/// The table of a sink of kind file.
pub fn file_table(setup: &Setup, name: &str, more: &str) -> String {
    format!("[sinks.{name}]\nkind = \"file\"\npath = \"{}\"\n{more}\n", setup.path(&format!("{name}.ndjson")).display())
}

pub const STDOUT: &str = "[sinks.stdout]\nkind = \"stdout\"\n";

#[test]
fn sinks_have_the_series_that_are_selected() {
    let setup = Setup::new();
    let toml = format!(
        "interval = \"100ms\"\n[metrics]\nexclude = [\"swap.*\", \"agent.collector_*{{collector=\\\"load\\\"}}\"]\n{STDOUT}{}{}",
        file_table(&setup, "some", "include = [\"load.*min\", \"memory.f*\"]"),
        file_table(&setup, "few", "exclude = [\"agent.*\", \"cpu.*\", \"memory.*\", \"host.*\"]\nmax_series = 2"),
    );
    write(&setup, &toml);
    let mut agent = setup.start(&[]);
    let printed = agent.wait(|sample| sink_metric(sample, "sink_left_out_series", "sink=\"few\"") == Some(3.0));
    assert!(printed.contains_key("cpu") && !printed.contains_key("swap"), "{printed:?}");
    let is_of_load = |key: &&String| key.contains("collector=\"load\"");
    assert_eq!(keys(&printed).iter().find(is_of_load), None);
    assert!(agent.terminate().0.success());
    let expected = |sample: &Sample, names: &[&str]| assert_eq!(keys(sample), names, "{sample:?}");
    let some = ["agent.hostname", "agent.timestamp", "load.15min", "load.1min", "load.5min", "memory.free"];
    for sample in &lines(&setup.path("some.ndjson")) {
        expected(sample, &some);
    }
    // The lines have the order of the collector, and this test that of their names.
    for sample in &lines(&setup.path("few.ndjson")) {
        expected(sample, &["load.1min", "load.5min"]);
    }
    assert!(!lines(&setup.path("some.ndjson")).is_empty() && !lines(&setup.path("few.ndjson")).is_empty());
    let (once, _) = setup.once();
    assert!(!once.contains_key("swap") && once.contains_key("cpu"), "what holds for all outputs holds for one sample");
    assert!(once["agent"].keys().all(|metric| !metric.starts_with("sink_")), "it opens no sink");
}

#[test]
fn sinks_count_their_samples() {
    let setup = Setup::new();
    write(&setup, &format!("interval = \"100ms\"\n{STDOUT}{}", file_table(&setup, "archive", "")));
    let mut agent = setup.start(&[]);
    let first = agent.next();
    for sink in ["stdout", "archive"] {
        let counter = |metric: &str, labels: &str| sink_metric(&first, metric, &format!("sink=\"{sink}\"{labels}"));
        assert_eq!(counter("sink_up", ""), Some(1.0));
        assert_eq!(counter("sink_delivered_samples_total", ""), Some(0.0));
        for reason in ["queue_full", "failed"] {
            assert_eq!(counter("sink_dropped_samples_total", &format!(",reason=\"{reason}\"")), Some(0.0), "{reason}");
        }
        assert_eq!(counter("sink_errors_total", ",reason=\"no_space\""), Some(0.0));
        assert_eq!((counter("sink_queue_samples", ""), counter("sink_queue_bytes", "")), (Some(0.0), Some(0.0)));
    }
    let later = agent.wait(|sample| {
        ["stdout", "archive"]
            .iter()
            .all(|sink| sink_metric(sample, "sink_delivered_samples_total", &format!("sink=\"{sink}\"")) >= Some(3.0))
    });
    for sink in ["sink=\"stdout\"", "sink=\"archive\""] {
        let last = sink_metric(&later, "sink_last_success_timestamp_seconds", sink).expect("a time");
        let tick = later["agent"]["timestamp"].as_f64().expect("a time");
        assert!((tick - last).abs() < 60.0, "{last} at {tick}");
        assert!(sink_metric(&later, "sink_duration_seconds", sink).is_some_and(|duration| duration > 0.0));
    }
    assert_eq!(later["agent"]["dropped_samples_total"], 0);
}

#[test]
fn closed_output_is_survived_where_configured() {
    let setup = Setup::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let toml = |on_closed: &str| {
        format!("interval = \"100ms\"\n{STDOUT}on_closed = {on_closed:?}\n{}", file_table(&setup, "archive", ""))
    };
    write(&setup, &toml("continue"));
    let mut agent = Agent::start_with_output(setup.command(&[]), Stdio::from(writer));
    let archive = setup.path("archive.ndjson");
    wait_until("a line", || !lines(&archive).is_empty());
    drop(reader);
    agent.wait_log("samples lost: standard output not writable");
    wait_until("lost samples are counted", || {
        lines(&archive).last().is_some_and(|sample| {
            sink_metric(sample, "sink_up", "sink=\"stdout\"") == Some(0.0)
                && sink_metric(sample, "sink_errors_total", "sink=\"stdout\",reason=\"closed\"") >= Some(3.0)
                && sink_metric(sample, "sink_dropped_samples_total", "sink=\"stdout\",reason=\"failed\"") >= Some(3.0)
        })
    });
    assert_eq!(agent.log().matches("standard output not writable").count(), 1, "it is reported once");
    reload(&setup, &mut agent, &toml("end"), RELOADED);
    let (status, _) = agent.wait_exit();
    assert!(status.success(), "{status}\n{}", agent.log());
}

#[test]
fn reload_adds_changes_and_removes_sinks() {
    let setup = Setup::new();
    let kept = file_table(&setup, "kept", "");
    write(&setup, &format!("interval = \"100ms\"\n{STDOUT}{kept}"));
    let mut agent = setup.start(&[]);
    agent.next();
    let added = file_table(&setup, "added", "include = [\"load.*\"]");
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{STDOUT}{kept}{added}"), RELOADED);
    agent.wait(|sample| sink_metric(sample, "sink_delivered_samples_total", "sink=\"added\"") >= Some(2.0));
    assert!(lines(&setup.path("added.ndjson")).iter().all(|sample| sample.contains_key("load") && sample.len() == 2));
    // Another selection is in effect from one line to the next, in the same file.
    let changed = file_table(&setup, "added", "include = [\"memory.*\"]");
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{STDOUT}{kept}{changed}"), RELOADED);
    wait_until("the other selection", || {
        lines(&setup.path("added.ndjson")).last().is_some_and(|sample| sample.contains_key("memory"))
    });
    // Without standard output nothing is printed; the other sinks go on.
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{kept}"), RELOADED);
    let before = lines(&setup.path("kept.ndjson")).len();
    wait_until("lines of the other sink", || lines(&setup.path("kept.ndjson")).len() > before + 3);
    reload(&setup, &mut agent, &format!("interval = \"100ms\"\n{kept}{STDOUT}"), RELOADED);
    let back = agent.wait(|sample| {
        let delivered = sink_metric(sample, "sink_delivered_samples_total", "sink=\"stdout\"");
        sink_metric(sample, "sink_up", "sink=\"added\"").is_none() && delivered == Some(1.0)
    });
    let tick = |sample: &Sample| sample["agent"]["timestamp"].as_f64().expect("a time");
    let all: Vec<f64> = lines(&setup.path("kept.ndjson")).iter().map(tick).collect();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    assert!(agent.terminate().0.success());
    assert!(lines(&setup.path("kept.ndjson")).iter().any(|sample| tick(sample) == tick(&back)));
    assert_eq!(
        agent.log().matches("WARN").count(),
        agent.log().matches("host name missing").count(),
        "{}",
        agent.log()
    );
}

#[test]
fn sinks_are_shown_with_their_problems() {
    let setup = Setup::new();
    fs::create_dir(setup.path("run")).expect("created");
    let toml = format!(
        "interval = \"100ms\"\n{STDOUT}[sinks.lost]\nkind = \"file\"\npath = \"{}\"\n",
        setup.path("nowhere/samples.ndjson").display()
    );
    write(&setup, &toml);
    let mut agent = setup.start(&[]);
    agent.wait_log("samples lost: file not writable");
    wait_until("the status has it", || {
        let output = setup.run(&["status"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let has_sinks = text.contains("  lost    file    down ") && text.contains("  stdout  stdout  up ");
        has_sinks && text.contains("! sink lost: ") && output.status.code() == Some(1)
    });
    fs::create_dir(setup.path("nowhere")).expect("created");
    agent.wait_log("file of samples writable again");
    wait_until("the problem is over", || {
        let output = setup.run(&["status"]);
        output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("sink lost")
    });
    agent.wait(|sample| sink_metric(sample, "sink_up", "sink=\"lost\"") == Some(1.0));
}

#[test]
fn invalid_sinks_are_configuration_errors() {
    let setup = Setup::new();
    let path = format!("path = \"{}\"", setup.path("x").display());
    for (toml, error) in [
        ("[sinks.a]", "sinks.a: has no kind; write kind = \"stdout\", or one of file, remote_write"),
        ("[sinks.a]\nkind = \"moon\"", "sinks.a.kind: \"moon\" is not one of the values; use stdout, file"),
        ("[sinks.a]\nkind = \"file\"", "sinks.a.path: is missing; add path = "),
        (
            "[sinks.a]\nkind = \"stdout\"\nkeep = 3",
            "sinks.a.keep: is for sinks of kind file, and this one is of kind stdout; remove the key, or set kind = \"file\"",
        ),
        (
            "[sinks.a]\nkind = \"stdout\"\nqueue_samples = 0",
            "sinks.a.queue_samples: \"0\" is out of bounds; write a whole number",
        ),
        (
            "[sinks.a]\nkind = \"stdout\"\nqueue_bytes = \"1B\"",
            "sinks.a.queue_bytes: \"1B\" is out of bounds; it has to be",
        ),
        ("[sinks.a]\nkind = \"stdout\"\nfrom = 1", "sinks.a.from: unknown key; remove it, or use one of kind, include"),
        ("[sinks.\"a b\"]\nkind = \"stdout\"", "sinks.a b: not a sink's name; "),
        (
            "[sinks.a]\nkind = \"stdout\"\n[sinks.b]\nkind = \"stdout\"",
            "sinks.b: is a second sink with the same target beside ",
        ),
        (
            "[metrics]\ninclude = [\"cpu\"]",
            "metrics.include: \"cpu\" has no dot between module and metric; write cpu.*",
        ),
        ("[metrics]\nprefix = \"my-host\"", "metrics.prefix: \"my-host\" is not a prefix; "),
        ("[tags]\n\"a-b\" = \"x\"", "tags.a-b: not a label's name; "),
        ("[tags]\ninstance = \"x\"", "tags.instance: is a label that has a meaning of its own; "),
        ("[tags]\ndc = \"\"", "tags.dc: \"\" is not a tag's value; "),
    ] {
        write(&setup, &format!("{toml}\n"));
        let output = setup.run(&["check"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && errors.contains(error), "{toml}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{toml}: {errors}");
    }
    let both = format!("[sinks.a]\nkind = \"file\"\n{path}\n[sinks.b]\nkind = \"file\"\n{path}\n");
    write(&setup, &both);
    let errors = String::from_utf8(setup.run(&["check"]).stderr).expect("text");
    assert!(errors.contains("sinks.b: is a second sink with the same target"), "{errors}");
}

#[test]
#[cfg(target_os = "linux")]
fn hanging_sink_affects_only_itself() {
    run_in_namespaces("sinks::hanging_sink_affects_only_itself", || {
        let setup = Setup::new();
        fs::create_dir(setup.path("dead")).expect("created");
        let mut mount = DeadMount::over(&setup.path("dead"))?;
        let toml = format!(
            "interval = \"100ms\"\n{STDOUT}[sinks.dead]\nkind = \"file\"\npath = \"{}\"\nqueue_samples = 4\n{}",
            setup.path("dead/samples.ndjson").display(),
            file_table(&setup, "archive", ""),
        );
        write(&setup, &toml);
        let mut agent = setup.start(&[]);
        let dropped = |sample: &Sample| {
            sink_metric(sample, "sink_dropped_samples_total", "sink=\"dead\",reason=\"queue_full\"").unwrap_or_default()
        };
        let full = agent.wait(|sample| dropped(sample) >= 5.0);
        assert_eq!(sink_metric(&full, "sink_queue_samples", "sink=\"dead\""), Some(4.0));
        for sink in ["sink=\"stdout\"", "sink=\"archive\""] {
            assert_eq!(
                sink_metric(&full, "sink_dropped_samples_total", &format!("{sink},reason=\"queue_full\"")),
                Some(0.0)
            );
            assert_eq!(sink_metric(&full, "sink_up", sink), Some(1.0));
        }
        agent.assert_no_gaps();
        let status = agent.terminate();
        mount.end();
        assert!(status.0.success() && agent.log().contains("sinks=dead"), "{:?}\n{}", status, agent.log());
        Ok(())
    });
}

#[test]
fn flood_of_samples_stays_within_the_queue() {
    let setup = Setup::new();
    // Nobody reads the pipe.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let archive = file_table(&setup, "archive", "");
    write(&setup, &format!("interval = \"100ms\"\n{STDOUT}queue_bytes = \"64KiB\"\nqueue_samples = 36000\n{archive}"));
    let mut agent = Agent::start_with_output(setup.command(&[]), Stdio::from(writer));
    let mut most = 0.0_f64;
    wait_until("samples are dropped", || {
        let lines = lines(&setup.path("archive.ndjson"));
        let bytes = lines.iter().filter_map(|sample| sink_metric(sample, "sink_queue_bytes", "sink=\"stdout\""));
        most = bytes.fold(most, f64::max);
        lines.last().is_some_and(|sample| {
            sink_metric(sample, "sink_dropped_samples_total", "sink=\"stdout\",reason=\"queue_full\"") >= Some(3.0)
        })
    });
    assert!(most > 0.0 && most <= 65_536.0, "{most}");
    agent.signal(Signal::TERM);
    agent.wait_exit();
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert!(text.lines().count() > 1 && agent.log().contains("sinks=stdout"), "{}", agent.log());
}

#[test]
fn agent_without_stdout_prints_nothing() {
    let setup = Setup::new();
    write(&setup, &format!("interval = \"100ms\"\n{}", file_table(&setup, "archive", "")));
    let output = setup.path("output");
    let mut agent = Agent::start_with_output(setup.command(&[]), File::create(&output).expect("created").into());
    wait_until("lines", || lines(&setup.path("archive.ndjson")).len() > 3);
    assert!(agent.terminate().0.success());
    assert_eq!(fs::read_to_string(&output).expect("text"), "");
}
