//! The native collectors on fixture machines. Each folder in `tests/fixtures` with a `proc` is a machine: its `/proc` and
//! `/sys`, in `next/` the files that change until the next tick, and in `expected.json` the sample of that tick.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;
use gauged::agent::METRICS;
use gauged::collector::Collector;
use gauged::collector::bounds::{Bound, PARTS, TABLE};
use gauged::collector::native::{NATIVE, Natives};
use gauged::collector::portable::Portable;
use gauged::config::{Config, Overrides};
use gauged::sample::{
    CollectorVersion, Module, ModuleSource, ModuleWriter, NativeMetric, Sample, SeriesAccount, Value,
};
use gauged::sink::{Style, encode};

use crate::harness::{Sample as Parsed, Setup, repository};

fn config(root: &Path) -> Config {
    Config::load(&Overrides { root: Some(root.to_owned()), ..Overrides::default() }).expect("a valid configuration")
}

fn natives(config: &Config) -> Natives {
    Natives::new(config, &SeriesAccount::standalone())
}

fn collect(natives: &mut Natives) -> Sample {
    let mut sample = Sample::default();
    natives.collect(&mut sample);
    sample
}

/// Copies a folder's files and links into another folder. Existing files are overwritten in place, so that a program that has
/// them open reads the new content.
pub fn overlay(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("readable").map(|entry| entry.expect("readable").path()) {
        let target = to.join(entry.file_name().expect("it has a name"));
        if entry.is_symlink() {
            symlink(fs::read_link(&entry).expect("readable"), &target).expect("linked");
        } else if entry.is_dir() {
            fs::create_dir_all(&target).expect("created");
            overlay(&entry, &target);
        } else {
            fs::write(&target, fs::read(&entry).expect("readable")).expect("written");
        }
    }
}

/// The folders of the fixture machines.
pub fn machines() -> Vec<PathBuf> {
    let folder = repository().join("tests/fixtures");
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    // The other folders are released versions of the plugin interface.
    let machines: Vec<PathBuf> = entries.filter(|folder| folder.join("proc").is_dir()).collect();
    assert!(machines.len() >= 20);
    machines
}

#[test]
fn fixture_machines_match_expected_json() {
    for machine in machines() {
        let setup = tempfile::tempdir().expect("a temporary directory");
        overlay(&machine, setup.path());
        let mut config = config(setup.path());
        config.cpu.per_core = machine.ends_with("hotplug");
        let mut natives = natives(&config);
        if machine.join("next").is_dir() {
            overlay(&machine.join("next"), setup.path());
        }
        let mut text = Vec::new();
        encode(&collect(&mut natives), Style::Pretty, &mut text);
        expect_file![machine.join("expected.json")].assert_eq(&String::from_utf8(text).expect("JSON is text"));
    }
}

#[test]
fn unreadable_file_gives_null_metrics_until_readable() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let root = setup.path("host");
    fs::create_dir(&root).expect("created");
    overlay(&repository().join("tests/fixtures/server"), &root);
    let mut agent = setup.start(&["--root", "host"]);
    agent.wait(|sample| sample["load"]["1min"] == 0.42);
    // The file is emptied, not removed: the agent keeps it open.
    fs::write(root.join("proc/loadavg"), "").expect("written");
    agent.wait(|sample| sample["load"]["1min"].is_null());
    for _ in 0..5 {
        assert!(agent.next()["memory"]["total"].is_u64(), "other files are read as before");
    }
    fs::write(root.join("proc/loadavg"), "1.00 2.00 3.00 4/5 6\n").expect("written");
    agent.wait(|sample| sample["load"]["5min"] == 2.0);
    agent.wait_log("kernel file readable again file=host/proc/loadavg");
    let log = agent.log();
    assert_eq!(
        log.matches("kernel file not readable file=host/proc/loadavg reason=\"failed to parse it").count(),
        1,
        "{log}"
    );
}

#[test]
fn metrics_document_matches_the_code() {
    let mut text = "# Native metrics\n\nThe metrics that the agent measures without plugins, on Linux.\n\n\
                    - A metric that a host cannot measure is `null`.\n\
                    - Names and formulas of `cpu`, `load`, `memory` and `swap` are those of psutil 7.1. Units are UCUM; a text\n  \
                    has none. `freq_*` are means over CPUs, psutil's over the groups of CPUs that are scaled together.\n\
                    - With `[cpu] per_core = true`, `percent`, the modes and their seconds are also reported for each CPU, as\n  \
                    `percent{cpu=\"0\"}`.\n\
                    - `enabled = false` under `[cpu]`, `[load]`, `[memory]` or `[host]` leaves its modules out; `swap` belongs to\n  \
                    `[memory]`. The plugin [meminfo](plugins/meminfo) has all fields of `/proc/meminfo`.\n\
                    - The metrics of `host` have labels where the host has them: `uname_info{nodename=\"web-1\",…}`.\n\
                    - The metrics `collector_*` of `agent` have the label `collector`, those of one plugin\n  \
                    the label `plugin`, `module_age_seconds` the label `module`, and `build_info` the label `version`. Counters begin at 0\n  \
                    with the agent.\n"
        .to_owned();
    let metrics: Vec<&NativeMetric> = NATIVE.iter().flat_map(|native| native.metrics).chain(METRICS).collect();
    for module in ["cpu", "load", "memory", "swap", "host", "agent"] {
        let _ =
            write!(text, "\n## {module}\n\n| metric | kind | unit | description | source |\n|---|---|---|---|---|\n");
        for NativeMetric { name, kind, unit, description, source, .. } in
            metrics.iter().filter(|own| own.module == module)
        {
            let (kind, unit) = (kind.name(), if unit.is_empty() { String::new() } else { format!("`{unit}`") });
            let _ = writeln!(text, "| `{name}` | {kind} | {unit} | {description} | {source} |");
        }
    }
    text.push_str(
        "\n## Bounds\n\nA value outside of these is `null`, counts in `collector_skipped_lines_total`, and is reported once: the kernel file \
         is wrong.\n\n| module | metrics | least | greatest | source |\n|---|---|---|---|---|\n",
    );
    for (module, names, Bound { least, greatest, source, .. }) in TABLE {
        let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| {module} | {names} | {least:.0} | {greatest:.0} | {source} |");
    }
    text.push_str("\nNor is a part more than its whole:\n\n| module | parts | whole |\n|---|---|---|\n");
    for (module, parts, whole) in PARTS {
        let parts = parts.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| {module} | {parts} | `{whole}` |");
    }
    expect_file![repository().join("METRICS.md")].assert_eq(&text);
}

#[test]
fn metric_descriptions_match_measured_metrics() {
    let described: BTreeSet<(&str, &str)> =
        NATIVE.iter().flat_map(|native| native.metrics).map(|metric| (metric.module, metric.name)).collect();
    let mut config = config(Path::new("/"));
    config.cpu.per_core = true;
    let sample = collect(&mut natives(&config));
    let measured: BTreeSet<(&str, &str)> = sample
        .modules
        .iter()
        .flat_map(|module| module.metrics().map(|metric| (&**module.name(), metric.name())))
        .collect();
    assert_eq!(described, measured);
}

/// A number of a module, whatever its type.
fn number(modules: &[Arc<Module>], module: &str, metric: &str) -> f64 {
    let collected = modules.iter().find(|found| **found.name() == *module).expect("the module exists");
    let measured = collected.metrics().find(|found| found.name() == metric).expect("the metric exists");
    match measured.value {
        Value::Unsigned(value) => *value as f64,
        Value::Float(value) => *value,
        other => panic!("{module}.{metric} is {other:?}"),
    }
}

#[test]
fn portable_collector_agrees_with_linux_collectors() {
    let from_linux = collect(&mut natives(&config(Path::new("/")))).modules;
    let mut portable = Portable::new();
    let from_portable = ["cpu", "load", "memory", "swap"].map(|name| {
        let collector = CollectorVersion::native("portable");
        let source = ModuleSource { module: name.into(), collector, step: Duration::ZERO, is_verbatim: false };
        let mut writer = ModuleWriter::new(source, [], &SeriesAccount::standalone());
        let (module, read) = writer.write(Duration::ZERO, |values| portable.collect(name, values));
        read.expect("no error");
        module
    });
    for (module, metric) in [("memory", "total"), ("swap", "total"), ("load", "15min")] {
        assert_eq!(number(&from_portable, module, metric), number(&from_linux, module, metric), "{module}.{metric}");
    }
    // Other tests use memory between the two readings.
    let total = number(&from_linux, "memory", "total");
    for metric in ["available", "used", "free"] {
        let difference = (number(&from_portable, "memory", metric) - number(&from_linux, "memory", metric)).abs();
        assert!(difference < 0.1 * total, "memory.{metric} differs by {difference} bytes");
    }
}

#[test]
fn per_core_option_adds_each_cpu() {
    let setup = Setup::with_config("[cpu]\nper_core = true\n");
    let (sample, _): (Parsed, String) = setup.once();
    let cpus = sample["cpu"].keys().filter(|key| key.starts_with("percent{cpu=")).count();
    assert_eq!(sample["cpu"]["count_logical"], cpus);
    assert!(!Setup::new().once().0["cpu"].contains_key("percent{cpu=\"0\"}"));
}
