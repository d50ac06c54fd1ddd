//! The agent and `node_exporter` on the fixture machine `two-sockets`, series by series: it has the parts that machines that
//! run tests lack, and nothing on it changes. Every metric of `node_exporter` has a row in the table in plugins/README.md,
//! every row has a metric there, and the values are equal where a row calls them so.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::comparison::{Comparison, Round, flat, has_series, tolerance};
use super::exporter::{Exporter, Scrape};
use super::{PLUGINS, install_all};
use crate::harness::{Setup, parse, repository};
use crate::mapping::{self, Row};
use crate::requirement::{self, Program};

/// The collectors that are on by default and read files that a fixture machine can have.
const COLLECTORS: [&str; 33] = [
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

/// Options by which it leaves out nothing that it can read.
const OPTIONS: [&str; 5] = [
    "--collector.stat.softirq",
    "--collector.netdev.device-exclude=",
    "--collector.diskstats.device-exclude=",
    "--collector.netstat.fields=.*",
    "--collector.vmstat.fields=.*",
];

/// The agent's counterpart of these options.
const CONFIGURATION: &str = r"
[cpu]
per_core = true
[plugins.disk]
config = { devices = {}, partitions = true }
[plugins.kernel]
config = { softnet_per_cpu = true }
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
const ABSENT: [(&str, &[&str]); 2] = [
    (
        "it comes from the host that runs the test, not from a file below the machine's root",
        &[
            "node_selinux_*",
            "node_systemd_*",
            "node_textfile_*",
            "node_time_*",
            "node_time_seconds",
            "node_timex_*",
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
            "node_rapl_*",
            "node_tape_*",
            "node_zfs_*",
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
    ours: Scrape,
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

    fn compare(&self, rows: &[Row], compared: &[&Row]) -> Round {
        Round::compare(rows, compared.iter().copied(), &self.before, &self.ours, &self.after)
    }
}

/// The agent's sample of the machine.
fn sample(root: &Path, configuration: &str) -> Scrape {
    let setup = Setup::with_config(&format!("{configuration}{GRANTS}"));
    install_all(&setup, &PLUGINS);
    let output = setup.run(&["--once", "--root", root.to_str().expect("text")]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !log.contains("WARN") && !log.contains("ERROR"), "{log}");
    flat(&parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The allowed difference: of file systems, which are those of the host that runs the test, and of digits that a float
/// cannot hold.
fn slack(compared: &Comparison) -> f64 {
    let changing = if compared.metric.starts_with("filesystem.") { tolerance(&compared.metric) } else { 0.0 };
    changing + compared.after.abs() * 1e-12 + 1e-9
}

fn is_held(compared: &Comparison) -> bool {
    compared.is_within(slack(compared))
}

/// Rows and metrics of `node_exporter` that do not belong together.
fn unmatched(rows: &[Row], scraped: &Scrape) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in scraped.keys().filter(|name| !rows.iter().any(|row| row.is_about(name))) {
        wrong.push(format!("{name} has no row"));
    }
    let absent = |row: &str| ABSENT.iter().find(|(_, rows)| rows.contains(&row)).map(|(why, _)| *why);
    for row in rows.iter().filter(|row| !OF_SOME_VERSIONS.contains(&row.theirs.as_str())) {
        let is_there = has_series(row, rows, scraped);
        match absent(&row.theirs) {
            None if !is_there => wrong.push(format!("{} has no series on the machine, and no reason why", row.theirs)),
            Some(why) if is_there => wrong.push(format!("{} is on the machine, although {why}", row.theirs)),
            _ => {}
        }
    }
    let is_row = |theirs: &str| rows.iter().any(|row| row.theirs == theirs);
    let excused = ABSENT.iter().flat_map(|(_, rows)| *rows).chain(&OF_SOME_VERSIONS);
    wrong.extend(excused.filter(|theirs| !is_row(theirs)).map(|theirs| format!("{theirs} is no row of the table")));
    wrong
}

#[test]
fn fixture_machine_series_equal_node_exporter() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let measured = Measured::new(&program, &OPTIONS, CONFIGURATION);
    let rows = mapping::rows("node_exporter");
    let mut wrong = unmatched(&rows, &measured.before);
    let mapped: Vec<&Row> = rows.iter().filter(|row| row.ours.is_some()).collect();
    let Round { compared, missing, additional, .. } = measured.compare(&rows, &mapped);
    assert!(compared.len() > 1000, "only {} series were compared", compared.len());
    wrong.extend(missing.iter().map(|key| format!("{key}: the agent has no such series")));
    wrong.extend(additional.iter().map(|key| format!("{key}: node_exporter has no such series")));
    for row in mapped {
        let compared = measured.compare(&rows, &[row]).compared;
        if row.is_equal() {
            let off = compared.iter().filter(|(_, compared)| !is_held(compared));
            wrong.extend(off.map(|(key, held)| format!("{key}: {} is not {}", held.ours, held.before)));
        } else if compared.values().all(is_held) {
            wrong.push(format!("{} differs from {:?} in nothing", row.theirs, row.ours));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn default_settings_omit_documented_devices_only() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let measured = Measured::new(&program, &[], "");
    let rows = mapping::rows("node_exporter");
    let mapped: Vec<&Row> = rows.iter().filter(|row| row.ours.is_some()).collect();
    let missing = measured.compare(&rows, &mapped).missing;
    let documented = [r#""device": "zram0""#, r#""device": "vethc0ffee0""#, r#""type": "Processor""#];
    let (omitted, others): (Vec<_>, Vec<_>) =
        missing.iter().partition(|key| documented.iter().any(|device| key.contains(device)));
    assert_eq!(others, Vec::<&String>::new());
    // Newer versions omit the first as well.
    for device in &documented[1..] {
        assert!(omitted.iter().any(|key| key.contains(device)), "{device} is not omitted: {omitted:?}");
    }
}
