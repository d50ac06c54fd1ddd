//! The agent's metrics under `node_exporter`'s names, compared with those of Debian's `node_exporter` on the same machine at the same
//! time: every series that both have, with its labels and its type. While the test puts load on disks, network, processes and
//! CPUs, `node_exporter` is scraped before and after a sample of the agent's. A counter must lie between the two scrapes in
//! every round; a gauge in three rounds of five, within its [`tolerance`].

mod comparison;
pub mod exporter;
pub mod load;
mod machine;
pub mod named;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use self::comparison::{Comparison, Round, row_about, tolerance};
use self::exporter::{Exporter, Scrape, Series};
use self::load::Load;
use self::named::ScrapedAgent;
use gauged::naming::node_exporter::{Relation, rows};

use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Agent, Sample, Setup};
use crate::mapping;
use crate::requirement;
use crate::skip;

const PLUGINS: [&str; 9] =
    ["disk", "filesystem", "kernel", "meminfo", "netstat", "network", "pressure", "temperature", "uptime"];

const ROUNDS: usize = 5;
/// In how many of them a gauge must match: it may change between two scrapes.
const ROUNDS_OF_GAUGES: usize = 3;

/// The allowed difference of a counter: digits that a float cannot hold; and idle time, which the kernel may lower.
fn slack(ours: &str, value: f64) -> f64 {
    let off = match ours {
        "cpu.idle_seconds_total" | "cpu.iowait_seconds_total" => 0.5,
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
fn report_absent(rounds: &[Round], counters: &BTreeMap<String, bool>) {
    let compared: BTreeSet<&str> =
        rounds.iter().flat_map(|round| round.compared.values()).map(|held| &*held.metric).collect();
    let equal = rows().filter_map(|row| match &row.relation {
        Relation::Equal(equal) => Some(equal.metric),
        Relation::Similar(_) | Relation::Missing => None,
    });
    let absent: Vec<&str> =
        equal.filter(|metric| counters.contains_key(*metric) && !compared.contains(metric)).collect();
    if !absent.is_empty() {
        skip::print(&format!("NOT COMPARED, since this machine has none of them: {}", absent.join(", ")));
    }
}

/// Options by which it leaves out nothing that it can read.
const OPTIONS: [&str; 6] = [
    "--collector.stat.softirq",
    "--collector.netdev.device-exclude=",
    "--collector.diskstats.device-exclude=",
    "--collector.netstat.fields=.*",
    "--collector.vmstat.fields=.*",
    // Another test compares these.
    "--no-collector.textfile",
];

/// Whether the agent alone has a series, for a reason.
fn is_additional(series: &Series, theirs: &Scrape) -> bool {
    // Collectors of later versions.
    // Debian's leaves out mounts below `/mnt` and `/media`, and such.
    let is_same_mount = |(name, labels): &Series| {
        name.starts_with("node_filesystem_") && labels.get("mountpoint") == series.1.get("mountpoint")
    };
    let is_other_mount = series.0.starts_with("node_filesystem_") && !theirs.series.keys().any(is_same_mount);
    let is_newer =
        ["node_pressure_irq_", "node_kernel_hung_", "node_softnet_"].iter().any(|begin| series.0.starts_with(begin));
    // Another test compares these.
    let is_of_processes = series.0.starts_with("node_processes_");
    is_other_mount || is_newer || is_of_processes
}

/// The mismatches of these rounds.
fn mismatches(rounds: &[Round], counters: &BTreeMap<String, bool>) -> Vec<String> {
    let mut wrong = Vec::new();
    let keys: BTreeSet<&Series> = rounds.iter().flat_map(|round| round.compared.keys()).collect();
    for key in keys {
        let all: Vec<&Comparison> = rounds.iter().filter_map(|round| round.compared.get(key)).collect();
        let metric = &all[0].metric;
        let is_counter = counters[metric];
        let off = |held: &&&Comparison| {
            let off =
                if is_counter { slack(metric, held.after) } else { tolerance(metric) + slack(metric, held.after) };
            !held.is_within(off)
        };
        let misses: Vec<&&Comparison> = all.iter().filter(off).collect();
        let may_miss = if is_counter { 0 } else { all.len().saturating_sub(ROUNDS_OF_GAUGES) };
        if let Some(miss) = misses.first().filter(|_| misses.len() > may_miss) {
            wrong.push(format!(
                "{key:?}, {metric}: {} of {} rounds; {} is not between {} and {}",
                misses.len(),
                all.len(),
                miss.ours,
                miss.before,
                miss.after
            ));
        }
    }
    let types: BTreeSet<&String> = rounds.iter().flat_map(|round| &round.other_types).collect();
    wrong.extend(types.into_iter().cloned());
    let missing = rounds.iter().flat_map(|round| &round.missing);
    wrong.extend(missing.map(|series| format!("{series:?}: the agent has no such series")));
    wrong
}

#[test]
fn named_metrics_equal_node_exporter() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let counters = mapping::metrics();
    let exporter = Exporter::start(&program, Path::new("/"), &OPTIONS);
    let mut scraped = ScrapedAgent::start(
        "[plugins.disk]\nconfig = { devices = {}, partitions = true }\n\
         [plugins.kernel]\nconfig = { softnet_per_cpu = true }\n\
         [plugins.netstat]\nconfig = { fields = {} }\n\
         [plugins.network]\nconfig = { interfaces = {} }\n",
        &PLUGINS,
        &[],
    );
    let is_whole = |sample: &Sample| {
        ["disk", "filesystem", "kernel", "meminfo", "netstat", "network"].iter().all(|name| sample.contains_key(*name))
    };
    scraped.agent.wait(is_whole);

    let load = Load::start(&scraped.setup.path(""));
    let (mut rounds, mut samples) = (Vec::new(), Vec::new());
    // A late result belongs to another moment than its sample, and is missing in the one before, so that round is repeated.
    for _ in 0..ROUNDS * 6 {
        let before = exporter.scrape();
        let Some(sample) = sample_after(&mut scraped.agent, now()).filter(is_whole) else { continue };
        let Some(named) = scraped.scrape(&sample) else { continue };
        let after = exporter.scrape();
        for name in before.names() {
            assert!(row_about(name).is_some(), "{name} is not in plugins/README.md");
        }
        let mut round = Round::compare(&before, &named, &after);
        round.additional.retain(|series| !is_additional(series, &before));
        assert_eq!(round.additional, Vec::<Series>::new(), "node_exporter has no such series");
        rounds.push(round);
        samples.push(named.scrape);
        if rounds.len() == ROUNDS {
            break;
        }
    }
    drop(load);
    assert_eq!(rounds.len(), ROUNDS, "the machine is too busy for samples in time\n{}", scraped.agent.log());

    report_absent(&rounds, &counters);
    let wrong = mismatches(&rounds, &counters);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), scraped.agent.log());
    for module in ["cpu", "disk", "filesystem", "host", "kernel", "load", "meminfo", "memory", "netstat", "network"] {
        let held = rounds[0].compared.values().filter(|held| held.metric.starts_with(&format!("{module}."))).count();
        assert!(held > 2, "only {held} of {module} were compared");
    }
    // The load has to be visible.
    let grown = |name: &str| samples[ROUNDS - 1].total(name) - samples[0].total(name);
    for (name, least) in [
        ("node_disk_written_bytes_total", 1e6),
        ("node_network_transmit_packets_total", 1000.0),
        ("node_netstat_Tcp_ActiveOpens", 20.0),
        ("node_netstat_Udp_OutDatagrams", 100.0),
        ("node_netstat_Udp_NoPorts", 10.0),
        ("node_forks_total", 20.0),
        ("node_context_switches_total", 1000.0),
    ] {
        assert!(grown(name) >= least, "{name} has grown by {} only", grown(name));
    }
    let spent = |mode: &str| {
        let is_spent = |(name, labels): &&Series| name == "node_cpu_seconds_total" && labels["mode"] == mode;
        let total = |at: usize| -> f64 {
            samples[at].series.iter().filter(|(series, _)| is_spent(series)).map(|(_, value)| value).sum()
        };
        total(ROUNDS - 1) - total(0)
    };
    // Under `nice` processor time has a mode of its own.
    let spent = spent("user") + spent("nice");
    assert!(spent >= 0.5, "only {spent} s of processor time were spent");
}

/// Processes are read one by one, which takes longer than a round on a busy machine: a late result does here.
#[test]
fn process_counts_equal_node_exporter() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let exporter = Exporter::start(&program, Path::new("/"), &["--collector.processes"]);
    let table = "[plugins.process]\ntimeout = \"10s\"\nread = [\"/proc/*/stat\"]\n";
    let mut scraped = ScrapedAgent::start(table, &["kernel", "process"], &[]);
    let is_about = |(name, _): &Series| name.starts_with("node_processes_");
    let round = || loop {
        let before = exporter.scrape();
        let sample = scraped.agent.wait(|sample| {
            let counted = |module: &str, metric: &str| sample.get(module).is_some_and(|own| own.contains_key(metric));
            counted("kernel", "threads") && counted("process", "processes")
        });
        if let Some(named) = scraped.scrape(&sample) {
            return Round::compare(&before, &named, &exporter.scrape());
        }
    };
    let rounds: Vec<Round> = std::iter::repeat_with(round).take(ROUNDS).collect();
    for round in &rounds {
        assert_eq!(round.other_types, BTreeSet::new());
        let missing: Vec<&Series> = round.missing.iter().filter(|series| is_about(series)).collect();
        assert_eq!(missing, Vec::<&Series>::new(), "the agent has no such series");
        let names: BTreeSet<&str> =
            round.compared.keys().filter(|series| is_about(series)).map(|(name, _)| &**name).collect();
        let expected =
            ["max_processes", "max_threads", "pids", "state", "threads"].map(|name| format!("node_processes_{name}"));
        assert_eq!(names, expected.iter().map(String::as_str).collect());
    }
    let is_off = |series: &Series, held: &Comparison| is_about(series) && !held.is_within(tolerance(&held.metric));
    let off = rounds.iter().filter(|round| round.compared.iter().any(|(series, held)| is_off(series, held))).count();
    assert!(off <= ROUNDS - ROUNDS_OF_GAUGES, "{off} of {ROUNDS} rounds");
}
