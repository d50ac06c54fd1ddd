//! The plugin on fixture machines.

use std::time::Duration;

use gauged_plugin::testing::{
    Harness, Host, SampleMap, assert_golden, assert_readme, assert_settings, expect, not_permitted,
};
use gauged_plugin::{Capability, OsError, PermissionError, Value};

use super::*;

mod damage;
mod open_files;
mod worlds;

const WEB: &str = r#"{"groups": {
    "nginx": {"name": "nginx"},
    "workers": {"name": "nginx", "command": "*worker process"},
    "shop": {"command": "*java* -Dname=shop *"},
    "firefox": {"name": "Web Content*"},
    "postgres": {"name": "postgres"}
}}"#;

const SHOP: &str = r#"{"groups": {"shop": {"command": "*-Dname=shop*"}}}"#;

fn start(host: Host, config: &str) -> Harness<Process> {
    Harness::start(host, config).expect("the configuration is right")
}

fn web(config: &str) -> Harness<Process> {
    start(Host::from_fixture("fixtures/web-1"), config)
}

/// The `stat` file of a process.
fn stat(pid: u32, name: &str, cpu_ticks: u64, start_ticks: u64) -> String {
    format!("{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 {cpu_ticks} 0 0 0 20 0 2 0 {start_ticks} 4096 1 0\n")
}

/// A host with one process and the system-wide files.
fn small(pid: u32, name: &str, cpu_ticks: u64, start_ticks: u64) -> Host {
    let mut host = Host::new();
    host.file("/proc/loadavg", "0 0 0 1/10 99\n").file("/proc/stat", "btime 1000\n");
    add_process(&mut host, 1, "init", 0, 0);
    add_process(&mut host, pid, name, cpu_ticks, start_ticks);
    host
}

fn add_process(host: &mut Host, pid: u32, name: &str, cpu_ticks: u64, start_ticks: u64) {
    host.file(&format!("/proc/{pid}/stat"), stat(pid, name, cpu_ticks, start_ticks));
    host.file(&format!("/proc/{pid}/status"), format!("Name:\t{name}\nVmRSS:\t 4 kB\nVmSwap:\t 0 kB\n"));
    host.file(&format!("/proc/{pid}/fd/0"), "");
}

fn remove_process(host: &mut Host, pid: u32) {
    for file in ["stat", "status", "fd/0", "fd", "cmdline"] {
        host.file_fails(&format!("/proc/{pid}/{file}"), files::Error::NotFound);
    }
}

fn cpu(sample: &SampleMap) -> &gauged_plugin::Value {
    &sample[r#"process.group_cpu_seconds_total{group="a"}"#]
}

#[test]
fn server_matches_its_golden_file() {
    let sample = web(WEB).tick().expect("a sample");
    assert_golden("fixtures/web-1/expected", &sample.render());
}

#[test]
fn old_kernel_matches_its_golden_file() {
    let config = r#"{"groups": {"mysql": {"name": "mysqld"}, "all of it": {"command": "*--datadir=/var/lib/mysql"}}}"#;
    let sample = start(Host::from_fixture("fixtures/old-1"), config).tick().expect("a sample");
    assert_golden("fixtures/old-1/expected", &sample.render());
}

#[test]
fn totals_need_no_grant() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.deny(&Capability::read("/proc")).deny(&Capability::read("/proc/*/*"));
    let mut process = start(host, WEB);
    for _ in 0..2 {
        expect![[r"
            process.pids_max 4194304
            process.threads 187
            process.threads_max 125587
            process.threads_runnable 2
        "]]
        .assert_eq(&process.tick().expect("a sample").render());
    }
    let reads = |config| {
        let needs = web(config).needs();
        needs.into_iter().map(|need| need.capability.grant_line()).collect::<Vec<_>>()
    };
    assert_eq!(reads("{}"), [r#"read = ["/proc/*/stat"]"#]);
    let (status, fd) = (r#"read = ["/proc/*/status"]"#, r#"read = ["/proc/*/fd"]"#);
    assert_eq!(reads(r#"{"groups": {"a": {"name": "a"}}}"#)[1..], [status, fd]);
    assert_eq!(reads(SHOP)[1..], [status, fd, r#"read = ["/proc/*/cmdline"]"#]);
}

#[test]
fn denied_files_cost_only_their_metrics() {
    let mut host = Host::from_fixture("fixtures/web-1");
    for file in ["status", "fd", "cmdline"] {
        host.deny(&Capability::read(format!("/proc/*/{file}")));
    }
    let mut process = start(host, WEB);
    let sample = process.tick().expect("a sample");
    let of_groups: Vec<_> = sample.keys().filter(|key| key.contains("group=\"")).map(String::as_str).collect();
    assert!(
        !of_groups.iter().any(|key| key.contains("shop") || key.contains("workers")),
        "unknown groups: {of_groups:?}"
    );
    let nginx: Vec<_> = of_groups.iter().filter(|key| key.contains("\"nginx\"")).collect();
    assert_eq!(nginx.len(), 5, "no resident or swapped memory, no open files: {nginx:?}");
    assert_eq!(sample[r#"process.group_processes{group="nginx"}"#], 3);
    assert_eq!(sample["process.processes"], 12);
    assert!(process.host().messages().is_empty(), "the agent reports missing grants");
}

#[test]
fn agent_process_is_counted() {
    let mut host = Host::from_fixture("fixtures/web-1");
    let own = files::Error::Forbidden("no grant opens the agent's own process".to_owned());
    host.file_fails("/proc/4711/stat", own);
    let sample = start(host, WEB).tick().expect("a sample");
    assert_eq!(sample["process.processes"], 13);
    assert_eq!(sample[r#"process.processes_in_state{state="running"}"#], 2);
}

#[test]
fn hidden_processes_leave_totals_and_one_warning() {
    let hidden = PermissionError::new("EPERM", "/proc is mounted with hidepid", "run the agent as root");
    // With hidepid=1 the files of others are not permitted, with hidepid=2 not even their directories are there.
    let mut without_permission = small(812, "agent", 0, 70);
    without_permission.file_fails("/proc/1/stat", files::Error::NotPermitted(hidden));
    let mut without_names = Host::new();
    without_names.file("/proc/loadavg", "0 0 0 1/10 99\n");
    add_process(&mut without_names, 812, "agent", 0, 70);
    for (host, why) in [
        (without_permission, "/proc is mounted with hidepid; run the agent as root"),
        (without_names, "has no process 1"),
    ] {
        let mut plugin = start(host, r#"{"groups": {"nginx": {"name": "nginx"}}}"#);
        for _ in 0..2 {
            let sample = plugin.tick().expect("a sample");
            assert_eq!(sample["process.threads"], 10);
            assert!(
                !sample.keys().any(|key| key.contains("group") || key.contains("processes")),
                "not all: {sample:?}"
            );
        }
        let why = format!("WARN without the states of processes, and the groups: /proc is not permitted: {why}");
        assert_eq!(plugin.host().warnings(), [why]);
    }
}

#[test]
fn unreadable_process_leaves_groups_out() {
    for (error, why) in [
        (not_permitted(), "not permitted: Permission denied; run it as root"),
        (files::Error::Io(OsError::new("EIO", "Input/output error")), "malformed: Input/output error (EIO)"),
    ] {
        let mut host = Host::from_fixture("fixtures/web-1");
        host.file_fails("/proc/812/stat", error);
        let mut plugin = start(host, WEB);
        for _ in 0..2 {
            let sample = plugin.tick().expect("a sample");
            assert_eq!(sample["process.processes"], 12);
            assert_eq!(sample[r#"process.processes_in_state{state="unknown"}"#], 1);
            assert!(!sample.keys().any(|key| key.contains("group=")), "it may belong to any: {sample:?}");
        }
        let lost = "the states of such processes, and the groups that they may belong to";
        assert_eq!(plugin.host().messages(), [format!("WARN without {lost}: /proc/*/stat is {why}")]);
    }
}

#[test]
fn ended_process_is_not_counted() {
    let whole = web(WEB).tick().expect("a sample");
    let mut host = Host::from_fixture("fixtures/web-1");
    // Between the list and the open, between the open and the read, and while it is read.
    add_process(&mut host, 5001, "nginx", 7, 70);
    remove_process(&mut host, 5001);
    let gone = || files::Error::NotFound;
    host.file_fails("/proc/5002/stat", gone()).file("/proc/5003/stat", "");
    let mut plugin = start(host, WEB);
    assert_eq!(plugin.tick().expect("a sample").render(), whole.render());
    assert!(plugin.host().messages().is_empty());
    for file in ["status", "fd", "cmdline"] {
        plugin.host().file_fails(&format!("/proc/814/{file}"), gone());
    }
    let sample = plugin.tick().expect("a sample");
    assert_eq!(sample[r#"process.group_processes{group="nginx"}"#], 3);
    assert!(sample.contains_key(r#"process.group_open_fds{group="nginx"}"#) && plugin.host().messages().is_empty());
}

#[test]
fn malformed_stat_costs_only_its_process() {
    let whole = web(WEB).tick().expect("a sample");
    let mut host = Host::from_fixture("fixtures/web-1");
    host.file("/proc/5000/stat", "\0\u{fffd} torn");
    let mut plugin = start(host, WEB);
    for _ in 0..2 {
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample["process.processes"], 13);
        assert_eq!(sample[r#"process.processes_in_state{state="unknown"}"#], 1);
        // It may be in any group: nobody knows that nginx is down.
        for (key, value) in whole.iter().filter(|(key, _)| *key != "process.processes" && !key.contains("group=")) {
            assert_eq!(&sample[key], value, "{key}");
        }
        assert!(!sample.keys().any(|key| key.contains("group=")), "{sample:?}");
    }
    let why = "WARN without the states of such processes, and the groups that they may belong to: /proc/*/stat is malformed: \
               /proc/5000/stat has no name in parentheses";
    assert_eq!(plugin.host().warnings(), [why]);
}

#[test]
fn short_stat_costs_only_missing_columns() {
    let mut host = small(10, "a", 500, 70);
    host.file("/proc/11/stat", "11 (a) S 1 1 1 0 -1 4194560 0 0 0 0 x 0 0 0 20 0 2\n");
    let sample = start(host, r#"{"groups": {"a": {"name": "a"}, "init": {"name": "init"}}}"#).tick().expect("a sample");
    let got = |metric: &str, group: &str| sample.get(&format!("process.{metric}{{group=\"{group}\"}}")).cloned();
    assert_eq!(
        (got("group_processes", "a"), got("group_threads", "a")),
        (Some(Value::Natural(2)), Some(Value::Natural(4)))
    );
    for metric in ["group_cpu_seconds_total", "group_virtual_bytes", "group_start_time_seconds"] {
        assert_eq!((got(metric, "a"), got(metric, "init").is_some()), (None, true), "{metric}");
    }
}

#[test]
fn lack_of_time_leaves_the_number_of_processes() {
    let mut host = small(10, "a", 0, 70);
    for pid in 100..100 + 3 * u32::try_from(PROCESSES_PER_BATCH).expect("few") {
        add_process(&mut host, pid, "a", 0, 70);
    }
    let config = r#"{"groups": {"a": {"name": "a"}}}"#;
    // A clock that has stopped does not end the reading, and neither does one that is missing.
    host.file("/proc/uptime", "100.00 1.00\n");
    assert_eq!(start(host.clone(), config).tick().expect("a sample")[r#"process.group_processes{group="a"}"#], 769);
    host.file_fails("/proc/300/stat", files::Error::Timeout);
    let mut plugin = start(host, config);
    for _ in 0..2 {
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample["process.processes"], 770);
        assert!(!sample.keys().any(|key| key.contains("state=") || key.contains("group=")), "{sample:?}");
    }
    let why =
        "WARN without the states of processes, and the groups: /proc/*/stat is truncated: did not respond in time";
    assert_eq!(plugin.host().warnings(), [why]);
}

#[test]
fn list_limit_costs_only_processes() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.file_fails("/proc", files::Error::TooLarge(10_000));
    let mut plugin = start(host, WEB);
    for _ in 0..2 {
        assert_eq!(plugin.tick().expect("a sample")["process.threads"], 187);
    }
    let why = "WARN without the processes: /proc is truncated: has more than 10000 names";
    assert_eq!(plugin.host().warnings(), [why]);
}

#[test]
fn group_cpu_time_never_falls() {
    let mut host = small(10, "a", 500, 70);
    add_process(&mut host, 11, "a", 100, 70);
    add_process(&mut host, 12, "b", 9999, 70);
    let mut plugin = start(host, r#"{"groups": {"a": {"name": "a"}}}"#);
    let sample = plugin.tick().expect("a sample");
    assert_eq!((cpu(&sample), sample.get(r#"process.group_cpu_percent{group="a"}"#)), (&Value::Number(6.0), None));

    // One process continues, one ends.
    add_process(plugin.host(), 10, "a", 700, 70);
    remove_process(plugin.host(), 11);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(*cpu(&sample), 8.0);
    assert_eq!(sample[r#"process.group_cpu_percent{group="a"}"#], 20.0);
    assert_eq!(sample[r#"process.group_processes{group="a"}"#], 1);

    // A PID is reused by another process of the same name: all of its CPU time is new.
    add_process(plugin.host(), 10, "a", 50, 9000);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(*cpu(&sample), 8.5);
    assert_eq!(sample[r#"process.group_start_time_seconds{group="a"}"#], 1090.0);

    // A process joins the group: its earlier CPU time does not count.
    add_process(plugin.host(), 12, "a", 10_099, 70);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 9.5);

    // All processes end.
    remove_process(plugin.host(), 10);
    remove_process(plugin.host(), 12);
    add_process(plugin.host(), 13, "b", 0, 70);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(
        (cpu(&sample), &sample[r#"process.group_processes{group="a"}"#]),
        (&Value::Number(9.5), &Value::Natural(0))
    );
    assert_eq!(sample.get(r#"process.group_start_time_seconds{group="a"}"#), None);
}

#[test]
fn aborted_tick_counts_no_cpu_time_twice() {
    let mut host = small(10, "a", 100, 70);
    add_process(&mut host, 11, "a", 100, 70);
    add_process(&mut host, 12, "a", 100, 70);
    let mut plugin = start(host, r#"{"groups": {"a": {"name": "a"}}}"#);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 3.0);
    add_process(plugin.host(), 10, "a", 150, 70);
    plugin.host().file_fails("/proc/11/stat", files::Error::Timeout);
    assert!(!plugin.tick().expect("a sample").keys().any(|key| key.contains("group=")), "not all were read");
    plugin.allow_counter_reset();
    add_process(plugin.host(), 11, "a", 150, 70);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 4.0);
}

#[test]
fn command_line_is_reread_after_exec() {
    let count = |plugin: &mut Harness<Process>| {
        plugin.tick().expect("a sample").get(r#"process.group_processes{group="shop"}"#).cloned()
    };
    let mut host = small(10, "sh", 0, 70);
    host.file("/proc/10/cmdline", "sh\0-c\0exec java\0");
    let mut plugin = start(host, SHOP);
    assert_eq!(count(&mut plugin), Some(Value::Natural(0)));
    // The process executes another program between two ticks.
    plugin.host().file("/proc/10/cmdline", "java\0-Dname=shop\0");
    assert_eq!(count(&mut plugin), Some(Value::Natural(1)));
    // From the second read that agrees on, the command line is cached.
    assert_eq!(count(&mut plugin), Some(Value::Natural(1)));
    plugin.host().file_fails("/proc/10/cmdline", files::Error::Timeout);
    assert_eq!(count(&mut plugin), Some(Value::Natural(1)));
    // Until its name changes.
    add_process(plugin.host(), 10, "java", 0, 70);
    plugin.host().file("/proc/10/cmdline", "java\0");
    assert_eq!(count(&mut plugin), Some(Value::Natural(0)));
}

#[test]
fn unresponsive_command_line_is_read_three_times() {
    let mut host = small(10, "stuck", 0, 70);
    add_process(&mut host, 11, "java", 0, 70);
    host.file_fails("/proc/10/cmdline", files::Error::Timeout).file("/proc/11/cmdline", "java\0-Dname=shop\0");
    let mut plugin = start(host, r#"{"groups": {"shop": {"command": "*shop*"}, "stuck": {"name": "stuck"}}}"#);
    for _ in 0..3 {
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample.get(r#"process.group_processes{group="shop"}"#), None, "the group is unknown");
        assert_eq!(sample[r#"process.group_processes{group="stuck"}"#], 1, "a match by name");
    }
    let sample = plugin.tick().expect("a sample");
    assert_eq!(sample[r#"process.group_processes{group="shop"}"#], 1);
    assert_eq!(sample[r#"process.group_open_fds{group="stuck"}"#], 1);
    let why =
        "WARN without the groups that a process may belong to: /proc/*/cmdline is truncated: did not respond in time";
    assert_eq!(plugin.host().warnings(), [why]);
}

#[test]
fn unreadable_command_line_hides_a_group_temporarily() {
    let mut host = small(10, "kept", 0, 70);
    add_process(&mut host, 11, "java", 0, 70);
    host.file_fails("/proc/10/cmdline", not_permitted());
    host.file("/proc/11/cmdline", "java\0-Dname=shop\0");
    let mut plugin = start(host, SHOP);
    for known in [None, None, None, Some(Value::Natural(1))] {
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample.get(r#"process.group_processes{group="shop"}"#).cloned(), known);
    }
    let why = "WARN without the groups that a process may belong to: /proc/*/cmdline is not permitted: Permission denied; run it as root";
    assert_eq!(plugin.host().warnings(), [why]);

    // Without a grant the group stays unknown.
    let mut host = small(10, "java", 0, 70);
    host.deny(&Capability::read("/proc/*/cmdline"));
    let mut plugin = start(host, SHOP);
    for _ in 0..5 {
        assert_eq!(plugin.tick().expect("a sample").get(r#"process.group_processes{group="shop"}"#), None);
    }
}

#[test]
fn boot_time_is_reread_after_a_minute() {
    let mut plugin = start(small(10, "a", 0, 250), r#"{"groups": {"a": {"name": "a"}}}"#);
    let started = |plugin: &mut Harness<Process>, after| {
        let sample = plugin.tick_after(Duration::from_secs(after)).expect("a sample");
        sample[r#"process.group_start_time_seconds{group="a"}"#].clone()
    };
    assert_eq!(started(&mut plugin, 0), 1002.5);
    plugin.host().file("/proc/stat", "cpu 1 2 3\nbtime 2000\n");
    assert_eq!(started(&mut plugin, 59), 1002.5);
    assert_eq!(started(&mut plugin, 1), 2002.5);
    plugin.host().file("/proc/stat", "cpu 1 2 3\n");
    let sample = plugin.tick_after(Duration::from_secs(60)).expect("a sample");
    assert_eq!(sample.get(r#"process.group_start_time_seconds{group="a"}"#), None);
    assert_eq!(sample[r#"process.group_processes{group="a"}"#], 1);
    let why = "WARN without group_start_time_seconds: /proc/stat is malformed: missing line btime";
    assert_eq!(plugin.host().warnings(), [why]);
}

#[test]
fn malformed_system_file_costs_only_its_metrics() {
    for (path, text, lost, why, missing) in [
        ("/proc/loadavg", "0 0 0\n", "threads", "truncated: missing the number of threads", "process.threads"),
        ("/proc/loadavg", "0 0 0 1/x 2\n", "threads", "malformed: x is not a number of threads", "process.threads"),
        (
            "/proc/sys/kernel/pid_max",
            "many\n",
            "pids_max",
            "malformed: many is not a number (value)",
            "process.pids_max",
        ),
    ] {
        let mut host = small(10, "a", 0, 70);
        host.file(path, text);
        let mut plugin = start(host.clone(), "{}");
        let sample = plugin.tick().expect("a sample");
        assert_eq!((sample.get(missing), &sample["process.processes"]), (None, &Value::Natural(2)));
        assert_eq!(plugin.host().warnings()[0], format!("WARN without {lost}: {path} is {why}"));
    }
    let mut host = Host::new();
    host.file("/proc/loadavg", "0 0 0\n").deny(&Capability::read("/proc"));
    let why = "/proc/loadavg: missing the number of threads".to_owned();
    assert_eq!(start(host, "{}").tick(), Err(Error::Failed(why)), "without any metric");
}

#[test]
fn malformed_memory_is_left_out() {
    let mut host = small(10, "a", 0, 70);
    host.file("/proc/10/status", "VmRSS:\t many kB\nVmSwap:\t 1 kB\n");
    let sample = start(host, r#"{"groups": {"a": {"name": "a"}}}"#).tick().expect("a sample");
    assert_eq!(sample.get(r#"process.group_resident_bytes{group="a"}"#), None);
}

#[test]
fn invalid_settings_name_their_key() {
    let many: Vec<_> = (0..65).map(|at| format!("\"g{at}\": {{\"name\": \"a\"}}")).collect();
    for (groups, key, message) in [
        (r#""a": {}"#, "groups.a", "has neither name nor command; set at least one"),
        (r#""a": {"user": "x"}"#, "groups.a.user", "unknown key; remove it, or use one of name, command"),
        (
            r#""a": {"name": "prometheus-node-exporter"}"#,
            "groups.a.name",
            "the kernel keeps 15 bytes of a name; use a prefix followed by *, or a command",
        ),
        (&*many.join(","), "groups", "has more than 64 groups; remove some"),
    ] {
        let config = format!("{{\"groups\": {{{groups}}}}}");
        let Err(Error::InvalidConfig(errors)) = Harness::<Process>::start(Host::new(), &config) else {
            panic!("{key}")
        };
        assert_eq!((&*errors[0].key, &*errors[0].message), (key, message));
    }
    web(r#"{"groups": {"a": {"name": "prometheus-node"}, "b": {"name": "prometheus-nod*"}}}"#);
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Process>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Process>("{}");
}
