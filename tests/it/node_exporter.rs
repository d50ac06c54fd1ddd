//! The first-party plugins compared with Debian's `node_exporter` on the same machine at the same time: every row of the
//! table in plugins/README.md that calls two metrics equal. While the test puts load on disks, network, processes and
//! CPUs, `node_exporter` is scraped before and after a sample of the agent's. A counter must lie between the two scrapes in
//! every round; a gauge in three rounds of five, within its [`tolerance`].

mod comparison;
mod exporter;
mod load;
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use self::comparison::{Comparison, Round, flat, has_series, tolerance};
use self::exporter::{Exporter, Scrape};
use self::load::Load;
use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Agent, Sample, Setup};
use crate::mapping;
use crate::requirement;
use crate::skip;

const PLUGINS: [&str; 8] = ["disk", "filesystem", "kernel", "netstat", "network", "pressure", "temperature", "uptime"];

const ROUNDS: usize = 5;
/// In how many of them a gauge must match: it may change between two scrapes.
const ROUNDS_OF_GAUGES: usize = 3;

/// Rows that the fixture machine cannot have a series of, and any host has.
const ON_EVERY_HOST: [&str; 4] = ["node_time_*", "node_time_seconds", "node_timex_*", "node_uname_info"];

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
    let exporter = Exporter::start(&program, Path::new("/"), &["--collector.stat.softirq"]);
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
        rounds.push(Round::compare(&rows, rows.iter().filter(|row| row.is_equal()), &before, &flat(&sample), &after));
        samples.push(flat(&sample));
        if rounds.len() == ROUNDS {
            break;
        }
    }
    drop(load);
    assert_eq!(rounds.len(), ROUNDS, "the machine is too busy for samples in time\n{}", agent.log());

    report_absent(&rounds[0].absent);
    let scraped = exporter.scrape();
    let unmatched = rows.iter().filter(|row| ON_EVERY_HOST.contains(&row.theirs.as_str()));
    let unmatched: Vec<&str> =
        unmatched.filter(|row| !has_series(row, &rows, &scraped)).map(|row| row.theirs.as_str()).collect();
    assert!(unmatched.is_empty(), "node_exporter has no series of {unmatched:?}");
    let wrong = mismatches(&rounds, &counters);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), agent.log());
    for module in ["cpu", "disk", "filesystem", "kernel", "load", "memory", "netstat", "network"] {
        let held = rounds[0].compared.values().filter(|held| held.metric.starts_with(&format!("{module}."))).count();
        assert!(held > 2, "only {held} of {module} were compared");
    }
    // The load has to be visible.
    let total = |scrape: &Scrape, name: &str| scrape[name].iter().map(|(_, value)| value).sum::<f64>();
    let grown = |name: &str| total(&samples[ROUNDS - 1], name) - total(&samples[0], name);
    for (name, least) in [
        ("disk.written_bytes_total", 1e6),
        ("network.transmit_packets_total", 1000.0),
        ("netstat.Tcp_ActiveOpens_total", 20.0),
        ("netstat.Udp_OutDatagrams_total", 100.0),
        ("netstat.Udp_NoPorts_total", 10.0),
        ("kernel.forks_total", 20.0),
        ("kernel.context_switches_total", 1000.0),
    ] {
        assert!(grown(name) >= least, "{name} has grown by {} only", grown(name));
    }
    // Under `nice` processor time has a mode of its own.
    let spent = grown("cpu.user_seconds_total") + grown("cpu.nice_seconds_total");
    assert!(spent >= 0.5, "only {spent} s of processor time were spent");
}
