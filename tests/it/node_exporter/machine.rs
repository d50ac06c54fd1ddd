//! The agent and `node_exporter` on the fixture machine `two-sockets`, series by series: it has the parts that machines that
//! run tests lack, and nothing on it changes. Every metric of `node_exporter` has a row in the table of the naming, every row has
//! a metric there, and name, labels, type and value are equal where a row calls them so.

use std::fs;
use std::path::Path;
use std::process::Command;

use gauged::naming::node_exporter::{Relation, Row, rows};

use super::comparison::{Comparison, Round, matches, row_about, tolerance};
use super::exporter::{Exporter, Labels, Scrape, Series};
use super::named::{Named, ScrapedAgent};
use super::{OPTIONS, PLUGINS};
use crate::harness::{Sample, repository};
use crate::requirement::{self, Program};

/// The collectors that are on by default and read files that a fixture machine can have, and one about memory nodes.
const COLLECTORS: [&str; 34] = [
    "arp",
    "bonding",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "hwmon",
    "ipvs",
    "loadavg",
    "mdadm",
    "meminfo",
    "meminfo_numa",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "schedstat",
    "sockstat",
    "softnet",
    "stat",
    "thermal_zone",
    "udp_queues",
    "vmstat",
    "xfs",
];

/// The agent's counterpart of [`OPTIONS`].
const CONFIGURATION: &str = r"
[plugins.disk]
config = { devices = {}, partitions = true }
[plugins.kernel]
config = { softnet_per_cpu = true }
[plugins.meminfo]
config = { numa = true }
[plugins.netstat]
config = { fields = {} }
[plugins.network]
config = { interfaces = {} }
[plugins.temperature]
config = { cooling_devices = {} }
";

/// The agent takes these directories for mounts only if they are granted.
const GRANTS: &str = r#"
[plugins.filesystem]
usage = ["/", "/boot/efi", "/srv/data sets", "/srv/shared", "/srv/scratch"]
"#;

/// Where the machine has file systems besides `/`. Git keeps no empty directories.
const MOUNT_POINTS: [&str; 4] = ["boot/efi", "srv/data sets", "srv/shared", "srv/scratch"];

/// Rows that have a series on the machine by some versions of `node_exporter` only: older ones do not know it, or newer ones
/// ask the host that runs the test for it.
const OF_SOME_VERSIONS: [&str; 9] = [
    "node_arp_entries",
    "node_filesystem_*",
    "node_kernel_hung_tasks_total",
    "node_pressure_irq_stalled_seconds_total",
    "node_softnet_*",
    "node_softnet_backlog_len",
    "node_softnet_flow_limit_count_total",
    "node_softnet_received_rps_total",
    "node_watchdog_*",
];

/// Other rows without a series on the machine, and why.
const ABSENT: [(&str, &[&str]); 3] = [
    (
        "it comes from the host that runs the test, not from a file below the machine's root",
        &[
            "node_selinux_*",
            "node_textfile_mtime_seconds",
            "node_textfile_scrape_error",
            "node_time_*",
            "node_time_seconds",
            "node_timex_estimated_error_seconds",
            "node_timex_frequency_adjustment_ratio",
            "node_timex_loop_time_constant",
            "node_timex_maxerror_seconds",
            "node_timex_offset_seconds",
            "node_timex_pps_*",
            "node_timex_status",
            "node_timex_sync_status",
            "node_timex_tai_offset_seconds",
            "node_timex_tick_seconds",
            "node_uname_info",
        ],
    ),
    (
        "the machine does not have it, and neither do the plugins",
        &[
            "node_bcache_*",
            "node_bcachefs_*",
            "node_btrfs_*",
            "node_fibrechannel_*",
            "node_infiniband_*",
            "node_os_*",
            "node_rapl_*",
            "node_tape_*",
            "node_zfs_*",
        ],
    ),
    (
        "its collector is off by default there",
        &[
            "node_interrupts_total",
            "node_processes_*",
            "node_processes_max_processes",
            "node_processes_max_threads",
            "node_processes_pids",
            "node_processes_state",
            "node_processes_threads",
            "node_systemd_service_restart_total",
            "node_systemd_socket_accepted_connections_total",
            "node_systemd_socket_current_connections",
            "node_systemd_socket_refused_connections_total",
            "node_systemd_system_running",
            "node_systemd_timer_last_trigger_seconds",
            "node_systemd_unit_start_time_seconds",
            "node_systemd_unit_state",
            "node_systemd_unit_tasks_current",
            "node_systemd_unit_tasks_max",
            "node_systemd_units",
            "node_systemd_version",
            "node_systemd_virtualization_info",
            "node_tcp_connection_states",
        ],
    ),
];

/// A copy of the machine.
fn machine() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    let machine = repository().join("tests/fixtures/two-sockets/.");
    // With its links, as /sys has them.
    let status = Command::new("cp").arg("-a").arg(machine).arg(copy.path()).status();
    assert!(status.is_ok_and(|status| status.success()), "it is copied");
    for point in MOUNT_POINTS {
        fs::create_dir_all(copy.path().join(point)).expect("created");
    }
    copy
}

/// A sample of the agent's, and the scrapes of `node_exporter` before and after it.
struct Measured {
    before: Scrape,
    ours: Named,
    after: Scrape,
}

impl Measured {
    /// Lets both measure the machine, with these options and this configuration.
    fn new(program: &Program, options: &[&str], configuration: &str) -> Self {
        let machine = machine();
        let collectors = COLLECTORS.map(|collector| format!("--collector.{collector}"));
        // What it has from the kernel otherwise is the host's.
        let fixed = ["--collector.disable-defaults", "--no-collector.netdev.netlink"];
        let options: Vec<&str> =
            fixed.iter().chain(options).copied().chain(collectors.iter().map(String::as_str)).collect();
        let exporter = Exporter::start(program, machine.path(), &options);
        let before = exporter.scrape();
        let ours = sample(machine.path(), configuration);
        Self { before, ours, after: exporter.scrape() }
    }

    fn compare(&self) -> Round {
        Round::compare(&self.before, &self.ours, &self.after)
    }

    /// The values of a metric of `node_exporter`'s, and those of ours, sorted.
    fn values(&self, theirs: &str, ours: &str) -> [Vec<f64>; 2] {
        let there = self.before.series.iter().filter(|((name, _), _)| name == theirs).map(|(_, value)| *value);
        let here = self.ours.metrics.iter().filter(|(_, metric)| *metric == ours);
        let here = here.map(|(series, _)| self.ours.scrape.series[series]);
        [there.collect(), here.collect()].map(|mut values: Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            values
        })
    }
}

/// The agent's sample of the machine.
fn sample(root: &Path, configuration: &str) -> Named {
    let arguments = ["--root", root.to_str().expect("text")];
    let mut scraped = ScrapedAgent::start(&format!("{configuration}{GRANTS}"), &PLUGINS, &arguments);
    let is_whole = |sample: &Sample| PLUGINS.iter().all(|name| sample.contains_key(*name));
    let named = loop {
        let sample = scraped.agent.wait(is_whole);
        if let Some(named) = scraped.scrape(&sample) {
            break named;
        }
    };
    let log = scraped.agent.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    named
}

/// The allowed difference: of file systems, which are those of the host that runs the test, and of digits that a float
/// cannot hold.
fn slack(compared: &Comparison) -> f64 {
    let changing = if compared.metric.starts_with("filesystem.") { tolerance(&compared.metric) } else { 0.0 };
    changing + compared.after.abs() * 1e-12 + 1e-9
}

/// Whether a row has a series in a scrape.
fn has_series(row: &Row, scraped: &Scrape) -> bool {
    let has_labels =
        |labels: &Labels| row.labels.iter().all(|(name, value)| labels.get(*name).is_some_and(|own| own == value));
    let is_best = |name: &str| row_about(name).is_some_and(|best| best.name == row.name);
    scraped.series.keys().any(|(name, labels)| matches(row.name, name) && is_best(name) && has_labels(labels))
}

/// Rows and metrics of `node_exporter` that do not belong together.
fn unmatched(scraped: &Scrape) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in scraped.names().into_iter().filter(|name| row_about(name).is_none()) {
        wrong.push(format!("{name} has no row"));
    }
    let is_theirs = |row: &&Row| {
        let is_own = ["node_scrape_", "process_"].iter().any(|begin| row.name.starts_with(begin));
        !is_own && !OF_SOME_VERSIONS.contains(&row.name)
    };
    let absent = |row: &str| ABSENT.iter().find(|(_, rows)| rows.contains(&row)).map(|(why, _)| *why);
    for row in rows().filter(is_theirs) {
        let is_there = has_series(row, scraped);
        match absent(row.name) {
            None if !is_there => wrong.push(format!("{} has no series on the machine, and no reason why", row.name)),
            Some(why) if is_there => wrong.push(format!("{} is on the machine, although {why}", row.name)),
            _ => {}
        }
    }
    let is_row = |theirs: &str| rows().any(|row| row.name == theirs);
    let excused = ABSENT.iter().flat_map(|(_, rows)| *rows).chain(&OF_SOME_VERSIONS);
    wrong.extend(excused.filter(|theirs| !is_row(theirs)).map(|theirs| format!("{theirs} is no row of the table")));
    wrong
}

/// Series that `node_exporter` does not have on the machine: rows without a series there, or of a version that does not know them.
fn is_of_no_version((name, _): &Series, scraped: &Scrape) -> bool {
    let is_known = scraped.names().contains(&**name);
    let row = row_about(name).expect("the naming has it of a row").name;
    !is_known && (OF_SOME_VERSIONS.contains(&row) || ABSENT.iter().any(|(_, rows)| rows.contains(&row)))
}

#[test]
fn fixture_machine_series_equal_node_exporter() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let measured = Measured::new(&program, &OPTIONS, CONFIGURATION);
    let mut wrong = unmatched(&measured.before);
    let Round { compared, other_types, missing, additional } = measured.compare();
    assert!(compared.len() > 1000, "only {} series were compared", compared.len());
    wrong.extend(other_types);
    wrong.extend(missing.iter().map(|series| format!("{series:?}: the agent has no such series")));
    let additional = additional.iter().filter(|series| !is_of_no_version(series, &measured.before));
    wrong.extend(additional.map(|series| format!("{series:?}: node_exporter has no such series")));
    let off = compared.iter().filter(|(_, held)| !held.is_within(slack(held)));
    wrong.extend(off.map(|(series, held)| format!("{series:?}: {} is not {}", held.ours, held.before)));
    for row in rows() {
        if let Relation::Similar(metric) = row.relation {
            let [theirs, ours] = measured.values(row.name, metric);
            if theirs.is_empty() || ours.is_empty() || theirs == ours {
                wrong.push(format!("{} differs from {metric} in nothing: {theirs:?}, {ours:?}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn default_settings_omit_documented_devices_only() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let settings =
        "[plugins.kernel]\nconfig = { softnet_per_cpu = true }\n[plugins.meminfo]\nconfig = { numa = true }\n";
    let measured = Measured::new(&program, &[], settings);
    let missing = measured.compare().missing;
    let missing: Vec<String> = missing.iter().map(|series| format!("{series:?}")).collect();
    let documented = [r#""device": "zram0""#, r#""device": "vethc0ffee0""#, r#""type": "Processor""#];
    let (omitted, others): (Vec<_>, Vec<_>) =
        missing.iter().partition(|key| documented.iter().any(|device| key.contains(device)));
    assert_eq!(others, Vec::<&String>::new());
    // Newer versions omit the first as well.
    for device in &documented[1..] {
        assert!(omitted.iter().any(|key| key.contains(device)), "{device} is not omitted: {omitted:?}");
    }
}
