//! The first-party plugins held against Debian's `node_exporter` on the same machine at the same time, metric by metric:
//! each row of the table in plugins/README.md that calls two metrics equal. While the test makes work for disks, network,
//! processes and CPUs, `node_exporter` is asked before and after a sample of the agent's. What only grows must lie between
//! its two answers, every time; what goes up and down must lie between them in three rounds of five, give or take what
//! [`tolerance`] says.

mod exporter;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use self::exporter::{Exporter, Labels, Scrape, series};
use self::load::Load;
use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Agent, Host, Sample, repository};
use crate::mapping::{self, Row};

const PLUGINS: [&str; 8] = ["disk", "filesystem", "kernel", "netstat", "network", "pressure", "temperature", "uptime"];

const ROUNDS: usize = 5;
/// In how many of them a gauge has to be right: it may have been elsewhere between two looks.
const ROUNDS_OF_GAUGES: usize = 3;

/// What a gauge may be off by, in its own unit. All others are settings, sizes and states, and must be equal.
fn tolerance(ours: &str) -> f64 {
    match ours {
        // Other programs of the machine write files as well.
        "filesystem.free_bytes" | "filesystem.available_bytes" => 64e6,
        "filesystem.free_inodes" => 2000.0,
        "disk.io_in_progress" => 64.0,
        "kernel.threads_running" | "kernel.threads_blocked" => 16.0,
        "kernel.files_allocated" => 512.0,
        // What is asked makes connections of its own.
        "netstat.Tcp_CurrEstab" | "kernel.conntrack_entries" => 32.0,
        "netstat.sockstat_TCP_mem_pages" | "netstat.sockstat_UDP_mem_pages" => 2048.0,
        "netstat.sockstat_TCP_mem_bytes" | "netstat.sockstat_UDP_mem_bytes" => 2048.0 * 4096.0,
        _ if ours.starts_with("netstat.sockstat_") => 32.0,
        _ if ours.starts_with("memory.") || ours.starts_with("swap.") => 64e6,
        _ if ours.starts_with("load.") => 0.5,
        _ if ours.starts_with("temperature.") && ours.ends_with("celsius") => 5.0,
        "temperature.fan_rpm" => 200.0,
        _ => 0.0,
    }
}

/// What a counter may be off by: digits that a float does not hold; of CPU time a hundredth of a second for each CPU, since
/// they add up what the kernel has rounded for each; and idle time, which falls by itself.
fn slack(ours: &str, value: f64) -> f64 {
    let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
    let off = match ours {
        "cpu.idle_seconds_total" | "cpu.iowait_seconds_total" => 0.5,
        _ if ours.starts_with("cpu.") => 0.01 * cpus,
        _ => 0.0,
    };
    value.abs() * 1e-12 + off + 1e-6
}

/// One value of ours between two of theirs.
struct Held {
    metric: String,
    before: f64,
    ours: f64,
    after: f64,
}

impl Held {
    /// Whether it is right, give or take this much.
    fn is_within(&self, off: f64) -> bool {
        (self.before.min(self.after) - off..=self.before.max(self.after) + off).contains(&self.ours)
    }
}

/// What was found in one round.
#[derive(Default)]
struct Round {
    /// By our full key.
    held: BTreeMap<String, Held>,
    /// Rows of which `node_exporter` tells nothing here.
    untold: BTreeSet<String>,
    /// Series of theirs that we do not have.
    missing: Vec<String>,
}

impl Round {
    fn compare(rows: &[Row], before: &Scrape, ours: &Scrape, after: &Scrape) -> Self {
        let mut round = Self::default();
        for row in rows.iter().filter(|row| row.is_equal()) {
            let (_, selected) = series(&row.theirs);
            let names: Vec<&String> =
                before.keys().filter(|name| row.is_about(name) && is_best(rows, row, name)).collect();
            if names.is_empty() {
                round.untold.insert(row.theirs.clone());
            }
            for name in names {
                let here = row.name_here(name).expect("the row has one");
                let (metric, fixed) = series(&here);
                let own = ours.get(&metric).map(|own| with(own, &fixed)).unwrap_or_default();
                let [before, after] = [before, after].map(|scrape| {
                    let told = scrape.get(name).map(|told| with(told, &selected)).unwrap_or_default();
                    told.into_iter().filter(|(_, value)| is_told(&metric, *value)).collect::<Vec<_>>()
                });
                let mut covered = BTreeSet::new();
                for (labels, value) in &own {
                    let [theirs_before, theirs_after] = [&before, &after].map(|told| sum(told, labels));
                    let (Some(theirs_before), Some(theirs_after)) = (theirs_before, theirs_after) else { continue };
                    covered
                        .extend(before.iter().enumerate().filter(|(_, (of, _))| agree(of, labels)).map(|(at, _)| at));
                    let (low, high) = (theirs_before * row.factor(), theirs_after * row.factor());
                    let held = Held { metric: metric.clone(), before: low, ours: *value, after: high };
                    round.held.insert(format!("{name} as {here} {labels:?}"), held);
                }
                for (_, (labels, _)) in before.iter().enumerate().filter(|(at, _)| !covered.contains(at)) {
                    if !is_mounted_elsewhere(&metric, labels, &own) {
                        round.missing.push(format!("{name} {labels:?}"));
                    }
                }
            }
        }
        round
    }
}

/// Whether no other row is more about a name.
fn is_best(rows: &[Row], row: &Row, name: &str) -> bool {
    rows.iter().all(|other| !other.is_about(name) || other.precision() <= row.precision())
}

/// Those of the series that have these labels, without them.
fn with(series: &[(Labels, f64)], fixed: &Labels) -> Vec<(Labels, f64)> {
    let has = |labels: &Labels| fixed.iter().all(|(name, value)| labels.get(name) == Some(value));
    let without = |labels: &Labels| labels.clone().into_iter().filter(|(name, _)| !fixed.contains_key(name)).collect();
    series.iter().filter(|(labels, _)| has(labels)).map(|(labels, value)| (without(labels), *value)).collect()
}

/// Whether two sets of labels say nothing different.
fn agree(one: &Labels, other: &Labels) -> bool {
    one.iter().all(|(name, value)| other.get(name).is_none_or(|others| others == value))
}

/// Theirs for one of ours: what they tell apart and we do not, such as CPUs, taken together.
fn sum(theirs: &[(Labels, f64)], ours: &Labels) -> Option<f64> {
    let matching: Vec<f64> = theirs.iter().filter(|(labels, _)| agree(labels, ours)).map(|(_, value)| *value).collect();
    (!matching.is_empty()).then(|| matching.iter().sum())
}

/// A speed that the driver does not know is below zero with them.
fn is_told(metric: &str, value: f64) -> bool {
    metric != "network.speed_bytes_per_second" || value > 0.0
}

/// What is mounted twice is listed twice by them.
fn is_mounted_elsewhere(metric: &str, theirs: &Labels, ours: &[(Labels, f64)]) -> bool {
    let device = theirs.get("device");
    metric.starts_with("filesystem.") && ours.iter().any(|(labels, _)| labels.get("device") == device)
}

/// A sample in the form of theirs.
fn flat(sample: &Sample) -> Scrape {
    let mut scrape = Scrape::new();
    for (module, metrics) in sample {
        for (key, value) in metrics {
            let value = value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))));
            let (name, labels) = series(key);
            if let Some(value) = value {
                scrape.entry(format!("{module}.{name}")).or_default().push((labels, value));
            }
        }
    }
    scrape
}

/// Results that came too late for their tick.
fn late(sample: &Sample) -> f64 {
    let is_late = |key: &str| key.starts_with("plugin_late_total") || key.starts_with("plugin_skipped_total");
    sample["agent"].iter().filter(|(key, _)| is_late(key)).filter_map(|(_, value)| value.as_f64()).sum()
}

/// A sample whose tick is after this moment, and in which nothing is of a tick before.
fn sample_after(agent: &mut Agent, moment: f64) -> Option<Sample> {
    let sample = agent.wait(|sample| sample["agent"]["timestamp"].as_f64() > Some(moment));
    let [.., before, _] = agent.seen() else { return None };
    (late(before) == late(&sample)).then_some(sample)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn install_all(host: &Host, plugins: &[&str]) {
    for name in plugins {
        install(&built(name), &host.plugin(name).with_extension("wasm"));
    }
}

/// Says what this machine could not show, where nobody overlooks it: what is printed is shown of tests that fail only.
fn say_untested(what: &BTreeSet<String>) {
    if !what.is_empty() {
        let what: Vec<&str> = what.iter().map(String::as_str).collect();
        let _ =
            writeln!(std::io::stderr(), "\nNOT COMPARED HERE, since this machine has none of it: {}", what.join(", "));
    }
}

/// What was wrong in these rounds.
fn verdicts(rounds: &[Round], counters: &BTreeMap<String, bool>) -> Vec<String> {
    let mut wrong = Vec::new();
    let keys: BTreeSet<&String> = rounds.iter().flat_map(|round| round.held.keys()).collect();
    for key in keys {
        let all: Vec<&Held> = rounds.iter().filter_map(|round| round.held.get(key)).collect();
        let metric = &all[0].metric;
        let is_counter = counters[metric];
        let off = |held: &&&Held| {
            let off =
                if is_counter { slack(metric, held.after) } else { tolerance(metric) + slack(metric, held.after) };
            !held.is_within(off)
        };
        let misses: Vec<&&Held> = all.iter().filter(|held| off(held)).collect();
        let may_miss = if is_counter { 0 } else { all.len().saturating_sub(ROUNDS_OF_GAUGES) };
        if let Some(miss) = misses.first().filter(|_| misses.len() > may_miss) {
            wrong.push(format!(
                "{key}: {} of {} rounds; {} is not between {} and {}",
                misses.len(),
                all.len(),
                miss.ours,
                miss.before,
                miss.after
            ));
        }
    }
    wrong.extend(
        rounds.iter().flat_map(|round| &round.missing).map(|key| format!("{key}: there is no such thing here")),
    );
    wrong
}

#[test]
fn every_figure_is_node_exporters() {
    let rows = mapping::rows("node_exporter");
    let counters = mapping::metrics();
    let exporter = Exporter::start(&["--collector.stat.softirq"]);
    let host = Host::configured(
        "interval = \"1s\"\n\
         [plugins.disk]\nconfig = { devices = {}, partitions = true }\n\
         [plugins.network]\nconfig = { interfaces = {} }\n",
    );
    install_all(&host, &PLUGINS);
    let mut agent = host.start(&[]);
    agent.wait(|sample| {
        ["disk", "filesystem", "kernel", "netstat", "network"].iter().all(|name| sample.contains_key(*name))
    });

    let load = Load::start(&host.path(""));
    let (mut rounds, mut samples) = (Vec::new(), Vec::new());
    // A busy machine may be late; what is late is of another moment than the sample.
    for _ in 0..ROUNDS * 6 {
        let before = exporter.scrape();
        let Some(sample) = sample_after(&mut agent, now()) else { continue };
        let after = exporter.scrape();
        for name in before.keys().filter(|name| name.starts_with("node_")) {
            assert!(rows.iter().any(|row| row.is_about(name)), "{name} is not in plugins/README.md");
        }
        rounds.push(Round::compare(&rows, &before, &flat(&sample), &after));
        samples.push(flat(&sample));
        if rounds.len() == ROUNDS {
            break;
        }
    }
    drop(load);
    assert_eq!(rounds.len(), ROUNDS, "the machine is too busy for samples in time\n{}", agent.log());

    say_untested(&rounds[0].untold);
    let wrong = verdicts(&rounds, &counters);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), agent.log());
    for module in ["cpu", "disk", "filesystem", "kernel", "load", "memory", "netstat", "network"] {
        let held = rounds[0].held.values().filter(|held| held.metric.starts_with(&format!("{module}."))).count();
        assert!(held > 2, "only {held} of {module} were compared");
    }
    // The work that was made has to show.
    let total = |scrape: &Scrape, name: &str| scrape[name].iter().map(|(_, value)| value).sum::<f64>();
    for (name, least) in [
        ("disk.written_bytes_total", 1e6),
        ("network.transmit_packets_total", 1000.0),
        ("netstat.Tcp_ActiveOpens_total", 20.0),
        ("netstat.Udp_OutDatagrams_total", 100.0),
        ("netstat.Udp_NoPorts_total", 10.0),
        ("kernel.forks_total", 20.0),
        ("kernel.context_switches_total", 1000.0),
        ("cpu.user_seconds_total", 0.5),
    ] {
        let grown = total(&samples[ROUNDS - 1], name) - total(&samples[0], name);
        assert!(grown >= least, "{name} has grown by {grown} only");
    }
}

/// Few machines that run tests have sensors; here both measure a machine of files.
#[test]
fn sensors_are_node_exporters_on_a_machine_of_files() {
    let machine = tempfile::tempdir().expect("a temporary directory");
    let root = machine.path();
    let fixture = repository().join("plugins/temperature/fixtures/web-1/sys");
    let copied = Command::new("cp").arg("-r").arg(fixture).arg(root).status();
    assert!(copied.is_ok_and(|status| status.success()), "it is copied");
    // It reads no zone without, and we have no use for it.
    for zone in
        fs::read_dir(root.join("sys/class/thermal")).expect("readable").map(|entry| entry.expect("readable").path())
    {
        fs::write(zone.join("policy"), "step_wise\n").expect("written");
    }
    let sys = format!("--path.sysfs={}", root.join("sys").display());
    let only = ["--collector.disable-defaults", "--collector.hwmon", "--collector.thermal_zone", &sys];
    let exporter = Exporter::start(&only);
    let host = Host::configured("[plugins.temperature]\nconfig = { cooling_devices = {} }\n");
    install_all(&host, &["temperature"]);
    let said = host.run(&["--once", "--root", root.to_str().expect("text")]);
    let sample = crate::harness::parse(&String::from_utf8_lossy(&said.stdout));
    let told = exporter.scrape();
    let rows: Vec<Row> = mapping::rows("node_exporter").into_iter().filter(is_sensor).collect();
    let round = Round::compare(&rows, &told, &flat(&sample), &told);
    assert!(round.held.len() > 10, "{}: {:?}", round.held.len(), String::from_utf8_lossy(&said.stderr));
    let wrong: Vec<String> = round
        .held
        .iter()
        .filter(|(_, held)| !held.is_within(1e-6))
        .map(|(key, held)| format!("{key}: {} is not {}", held.ours, held.before))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(round.missing, Vec::<String>::new());
    assert_eq!(round.untold, BTreeSet::new());
}

fn is_sensor(row: &Row) -> bool {
    row.ours.as_ref().is_some_and(|ours| ours.starts_with("temperature."))
}
