//! The first-party plugins compared with Debian's `node_exporter` on the same machine at the same time: every row of the
//! table in plugins/README.md that calls two metrics equal. While the test puts load on disks, network, processes and
//! CPUs, `node_exporter` is scraped before and after a sample of the agent's. A counter must lie between the two scrapes in
//! every round; a gauge in three rounds of five, within its [`tolerance`].

mod exporter;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use self::exporter::{Exporter, Labels, Scrape, series};
use self::load::Load;
use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Agent, Sample, Setup, repository};
use crate::mapping::{self, Row};
use crate::requirement;
use crate::skip;

const PLUGINS: [&str; 8] = ["disk", "filesystem", "kernel", "netstat", "network", "pressure", "temperature", "uptime"];

const ROUNDS: usize = 5;
/// In how many of them a gauge must match: it may change between two scrapes.
const ROUNDS_OF_GAUGES: usize = 3;

/// The allowed difference of a gauge, in its own unit. All others are settings, sizes and states, and must be equal.
fn tolerance(ours: &str) -> f64 {
    match ours {
        // Other programs of the machine write files as well.
        "filesystem.free_bytes" | "filesystem.available_bytes" => 64e6,
        "filesystem.free_inodes" => 2000.0,
        "disk.io_in_progress" => 64.0,
        "kernel.threads_running" | "kernel.threads_blocked" => 16.0,
        "kernel.files_allocated" => 512.0,
        // A scrape makes connections of its own.
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

/// The allowed difference of a counter: digits that a float cannot hold; for CPU time a hundredth of a second for each CPU,
/// since `node_exporter` adds up rounded times; and idle time, which the kernel may lower.
fn slack(ours: &str, value: f64) -> f64 {
    let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
    let off = match ours {
        "cpu.idle_seconds_total" | "cpu.iowait_seconds_total" => 0.5,
        _ if ours.starts_with("cpu.") => 0.01 * cpus,
        _ => 0.0,
    };
    value.abs() * 1e-12 + off + 1e-6
}

/// One value of the agent's between two of `node_exporter`'s.
struct Comparison {
    metric: String,
    before: f64,
    ours: f64,
    after: f64,
}

impl Comparison {
    /// Whether it lies between them, with this tolerance.
    fn is_within(&self, off: f64) -> bool {
        (self.before.min(self.after) - off..=self.before.max(self.after) + off).contains(&self.ours)
    }
}

/// The results of one round.
#[derive(Default)]
struct Round {
    /// By the agent's full key.
    compared: BTreeMap<String, Comparison>,
    /// Rows for which `node_exporter` has no series on this machine.
    absent: BTreeSet<String>,
    /// Series of `node_exporter` that the agent does not have.
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
                round.absent.insert(row.theirs.clone());
            }
            for name in names {
                let here = row.name_here(name).expect("the row has one");
                let (metric, fixed) = series(&here);
                let own = ours.get(&metric).map(|own| with(own, &fixed)).unwrap_or_default();
                let [before, after] = [before, after].map(|scrape| {
                    let scraped = scrape.get(name).map(|scraped| with(scraped, &selected)).unwrap_or_default();
                    scraped.into_iter().filter(|(_, value)| is_known(&metric, *value)).collect::<Vec<_>>()
                });
                let mut covered = BTreeSet::new();
                for (labels, value) in &own {
                    let [theirs_before, theirs_after] = [&before, &after].map(|scrape| sum(scrape, labels));
                    let (Some(theirs_before), Some(theirs_after)) = (theirs_before, theirs_after) else { continue };
                    covered
                        .extend(before.iter().enumerate().filter(|(_, (of, _))| agree(of, labels)).map(|(at, _)| at));
                    let (low, high) = (theirs_before * row.factor(), theirs_after * row.factor());
                    let compared = Comparison { metric: metric.clone(), before: low, ours: *value, after: high };
                    round.compared.insert(format!("{name} as {here} {labels:?}"), compared);
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

/// Whether no other row matches a name more precisely.
fn is_best(rows: &[Row], row: &Row, name: &str) -> bool {
    rows.iter().all(|other| !other.is_about(name) || other.precision() <= row.precision())
}

/// The series that have these labels, returned without them.
fn with(series: &[(Labels, f64)], fixed: &Labels) -> Vec<(Labels, f64)> {
    let has = |labels: &Labels| fixed.iter().all(|(name, value)| labels.get(name) == Some(value));
    let without = |labels: &Labels| labels.clone().into_iter().filter(|(name, _)| !fixed.contains_key(name)).collect();
    series.iter().filter(|(labels, _)| has(labels)).map(|(labels, value)| (without(labels), *value)).collect()
}

/// Whether two sets of labels have no label with different values.
fn agree(one: &Labels, other: &Labels) -> bool {
    one.iter().all(|(name, value)| other.get(name).is_none_or(|others| others == value))
}

/// The sum of the `node_exporter` series for one of the agent's, which may combine several, such as CPUs.
fn sum(theirs: &[(Labels, f64)], ours: &Labels) -> Option<f64> {
    let matching: Vec<f64> = theirs.iter().filter(|(labels, _)| agree(labels, ours)).map(|(_, value)| *value).collect();
    (!matching.is_empty()).then(|| matching.iter().sum())
}

/// Whether the value is known: `node_exporter` gives an unknown speed as a negative number.
fn is_known(metric: &str, value: f64) -> bool {
    metric != "network.speed_bytes_per_second" || value > 0.0
}

/// Whether the device is listed at another mount point: `node_exporter` lists a device twice that is mounted twice.
fn is_mounted_elsewhere(metric: &str, theirs: &Labels, ours: &[(Labels, f64)]) -> bool {
    let device = theirs.get("device");
    metric.starts_with("filesystem.") && ours.iter().any(|(labels, _)| labels.get("device") == device)
}

/// A sample in the form of a scrape.
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

/// The number of results that were late or skipped so far.
fn late(sample: &Sample) -> f64 {
    let is_late = |key: &str| key.starts_with("plugin_late_total") || key.starts_with("plugin_skipped_total");
    sample["agent"].iter().filter(|(key, _)| is_late(key)).filter_map(|(_, value)| value.as_f64()).sum()
}

/// A sample whose tick is after this moment, if no result in it belongs to an earlier tick.
fn sample_after(agent: &mut Agent, moment: f64) -> Option<Sample> {
    let sample = agent.wait(|sample| sample["agent"]["timestamp"].as_f64() > Some(moment));
    let [.., before, _] = agent.samples() else { return None };
    (late(before) == late(&sample)).then_some(sample)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn install_all(setup: &Setup, plugins: &[&str]) {
    for name in plugins {
        install(&built(name), &setup.plugin(name).with_extension("wasm"));
    }
}

/// Reports the metrics that this machine does not have.
fn report_absent(absent: &BTreeSet<String>) {
    if !absent.is_empty() {
        let names: Vec<&str> = absent.iter().map(String::as_str).collect();
        skip::print(&format!("NOT COMPARED, since this machine has none of them: {}", names.join(", ")));
    }
}

/// The mismatches of these rounds.
fn mismatches(rounds: &[Round], counters: &BTreeMap<String, bool>) -> Vec<String> {
    let mut wrong = Vec::new();
    let keys: BTreeSet<&String> = rounds.iter().flat_map(|round| round.compared.keys()).collect();
    for key in keys {
        let all: Vec<&Comparison> = rounds.iter().filter_map(|round| round.compared.get(key)).collect();
        let metric = &all[0].metric;
        let is_counter = counters[metric];
        let off = |held: &&&Comparison| {
            let off =
                if is_counter { slack(metric, held.after) } else { tolerance(metric) + slack(metric, held.after) };
            !held.is_within(off)
        };
        let misses: Vec<&&Comparison> = all.iter().filter(|held| off(held)).collect();
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
        rounds.iter().flat_map(|round| &round.missing).map(|key| format!("{key}: the agent has no such series")),
    );
    wrong
}

#[test]
fn plugin_metrics_equal_node_exporter() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let rows = mapping::rows("node_exporter");
    let counters = mapping::metrics();
    let exporter = Exporter::start(&program, &["--collector.stat.softirq"]);
    let setup = Setup::with_config(
        "interval = \"1s\"\n\
         [plugins.disk]\nconfig = { devices = {}, partitions = true }\n\
         [plugins.network]\nconfig = { interfaces = {} }\n",
    );
    install_all(&setup, &PLUGINS);
    let mut agent = setup.start(&[]);
    agent.wait(|sample| {
        ["disk", "filesystem", "kernel", "netstat", "network"].iter().all(|name| sample.contains_key(*name))
    });

    let load = Load::start(&setup.path(""));
    let (mut rounds, mut samples) = (Vec::new(), Vec::new());
    // A late result belongs to another moment than its sample, so that round is repeated.
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

    report_absent(&rounds[0].absent);
    let wrong = mismatches(&rounds, &counters);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), agent.log());
    for module in ["cpu", "disk", "filesystem", "kernel", "load", "memory", "netstat", "network"] {
        let held = rounds[0].compared.values().filter(|held| held.metric.starts_with(&format!("{module}."))).count();
        assert!(held > 2, "only {held} of {module} were compared");
    }
    // The load has to be visible.
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

/// Few machines that run tests have sensors, so both measure a fixture machine.
#[test]
fn sensors_equal_node_exporter_on_a_fixture_machine() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let machine = tempfile::tempdir().expect("a temporary directory");
    let root = machine.path();
    let fixture = repository().join("plugins/temperature/fixtures/web-1/sys");
    let copied = Command::new("cp").arg("-r").arg(fixture).arg(root).status();
    assert!(copied.is_ok_and(|status| status.success()), "it is copied");
    // node_exporter reads no zone without this file.
    for zone in
        fs::read_dir(root.join("sys/class/thermal")).expect("readable").map(|entry| entry.expect("readable").path())
    {
        fs::write(zone.join("policy"), "step_wise\n").expect("written");
    }
    let sys = format!("--path.sysfs={}", root.join("sys").display());
    let only = ["--collector.disable-defaults", "--collector.hwmon", "--collector.thermal_zone", &sys];
    // It passes on the level -1 of a device that does not cool, which is left out here.
    fs::write(root.join("sys/class/thermal/cooling_device2/cur_state"), "0\n").expect("written");
    let exporter = Exporter::start(&program, &only);
    let setup = Setup::with_config("[plugins.temperature]\nconfig = { cooling_devices = {} }\n");
    install_all(&setup, &["temperature"]);
    let output = setup.run(&["--once", "--root", root.to_str().expect("text")]);
    let sample = crate::harness::parse(&String::from_utf8_lossy(&output.stdout));
    let scraped = exporter.scrape();
    let rows: Vec<Row> = mapping::rows("node_exporter").into_iter().filter(is_sensor).collect();
    let round = Round::compare(&rows, &scraped, &flat(&sample), &scraped);
    assert!(round.compared.len() > 10, "{}: {:?}", round.compared.len(), String::from_utf8_lossy(&output.stderr));
    let wrong: Vec<String> = round
        .compared
        .iter()
        .filter(|(_, held)| !held.is_within(1e-6))
        .map(|(key, held)| format!("{key}: {} is not {}", held.ours, held.before))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(round.missing, Vec::<String>::new());
    assert_eq!(round.absent, BTreeSet::new());
}

fn is_sensor(row: &Row) -> bool {
    row.ours.as_ref().is_some_and(|ours| ours.starts_with("temperature."))
}
