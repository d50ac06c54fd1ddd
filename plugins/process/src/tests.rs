//! The plugin on fixture machines.

use std::time::Duration;

use gauged_plugin::testing::{Host, Observed, Running, expect, hold_file, hold_readme};
use gauged_plugin::{Capability, Value};

use super::*;

const WEB: &str = r#"{"groups": {
    "nginx": {"name": "nginx"},
    "workers": {"name": "nginx", "command": "*worker process"},
    "shop": {"command": "*java* -Dname=shop *"},
    "firefox": {"name": "Web Content*"},
    "postgres": {"name": "postgres"}
}}"#;

const SHOP: &str = r#"{"groups": {"shop": {"command": "*-Dname=shop*"}}}"#;

fn start(host: Host, config: &str) -> Running<Process> {
    Running::start(host, config).expect("the configuration is right")
}

fn web(config: &str) -> Running<Process> {
    start(Host::at("fixtures/web-1"), config)
}

/// A process of this name that has used so much CPU time.
fn stat(pid: u32, name: &str, cpu_ticks: u64, start_ticks: u64) -> String {
    format!("{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 {cpu_ticks} 0 0 0 20 0 2 0 {start_ticks} 4096 1 0\n")
}

/// A host with one process, and with what all hosts have.
fn small(pid: u32, name: &str, cpu_ticks: u64, start_ticks: u64) -> Host {
    let mut host = Host::new();
    host.file("/proc/loadavg", "0 0 0 1/10 99\n").file("/proc/stat", "btime 1000\n");
    process(&mut host, pid, name, cpu_ticks, start_ticks);
    host
}

fn process(host: &mut Host, pid: u32, name: &str, cpu_ticks: u64, start_ticks: u64) {
    host.file(&format!("/proc/{pid}/stat"), stat(pid, name, cpu_ticks, start_ticks));
    host.file(&format!("/proc/{pid}/status"), format!("Name:\t{name}\nVmRSS:\t 4 kB\nVmSwap:\t 0 kB\n"));
    host.file(&format!("/proc/{pid}/fd/0"), "");
}

fn ends(host: &mut Host, pid: u32) {
    for file in ["stat", "status", "fd/0", "fd", "cmdline"] {
        host.file_fails(&format!("/proc/{pid}/{file}"), files::Error::NotFound);
    }
}

fn cpu(sample: &Observed) -> &gauged_plugin::Value {
    &sample[r#"process.group_cpu_seconds_total{group="a"}"#]
}

#[test]
fn a_server_is_as_its_fixture_says() {
    let sample = web(WEB).tick().expect("a sample");
    hold_file("fixtures/web-1/expected", &sample.render());
}

#[test]
fn an_old_kernel_is_understood() {
    let config = r#"{"groups": {"mysql": {"name": "mysqld"}, "all of it": {"command": "*--datadir=/var/lib/mysql"}}}"#;
    let sample = start(Host::at("fixtures/old-1"), config).tick().expect("a sample");
    hold_file("fixtures/old-1/expected", &sample.render());
}

#[test]
fn without_any_grant_there_are_totals() {
    let mut host = Host::at("fixtures/web-1");
    host.deny(&Capability::Read("/proc".to_owned())).deny(&Capability::Read("/proc/*/*".to_owned()));
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
        needs.into_iter().map(|need| need.capability.grant()).collect::<Vec<_>>()
    };
    assert_eq!(reads("{}"), [r#"read = ["/proc/*/stat"]"#]);
    let (status, fd) = (r#"read = ["/proc/*/status"]"#, r#"read = ["/proc/*/fd"]"#);
    assert_eq!(reads(r#"{"groups": {"a": {"name": "a"}}}"#)[1..], [status, fd]);
    assert_eq!(reads(SHOP)[1..], [status, fd, r#"read = ["/proc/*/cmdline"]"#]);
}

#[test]
fn what_is_not_granted_is_left_out_and_the_rest_is_there() {
    let mut host = Host::at("fixtures/web-1");
    for file in ["status", "fd", "cmdline"] {
        host.deny(&Capability::Read(format!("/proc/*/{file}")));
    }
    let mut process = start(host, WEB);
    let sample = process.tick().expect("a sample");
    let of_groups: Vec<_> = sample.keys().filter(|key| key.contains("group=\"")).map(String::as_str).collect();
    assert!(!of_groups.iter().any(|key| key.contains("shop") || key.contains("workers")), "not known: {of_groups:?}");
    let nginx: Vec<_> = of_groups.iter().filter(|key| key.contains("\"nginx\"")).collect();
    assert_eq!(nginx.len(), 5, "neither memory but the address space nor open files: {nginx:?}");
    assert_eq!(sample[r#"process.group_processes{group="nginx"}"#], 3);
    assert_eq!(sample["process.processes"], 12);
    assert!(process.host().messages().is_empty(), "the agent tells what is not granted");
}

#[test]
fn the_agent_is_counted() {
    let mut host = Host::at("fixtures/web-1");
    let own = files::Error::Denied("no grant opens the agent's own process".to_owned());
    host.file_fails("/proc/4711/stat", own);
    let sample = start(host, WEB).tick().expect("a sample");
    assert_eq!(sample["process.processes"], 13);
    assert_eq!(sample[r#"process.processes_in_state{state="running"}"#], 2);
}

#[test]
fn where_the_kernel_hides_processes_there_are_totals_and_a_word() {
    let mut host = Host::at("fixtures/web-1");
    host.file_fails("/proc/812/stat", files::Error::Io("Operation not permitted (os error 1)".to_owned()));
    let mut plugin = start(host, WEB);
    for _ in 0..2 {
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample["process.threads"], 187);
        assert!(!sample.keys().any(|key| key.contains("group") || key.contains("processes")), "not all: {sample:?}");
    }
    assert_eq!(plugin.host().messages(), [format!("WARN {HIDDEN}")]);

    let mut broken = Host::at("fixtures/web-1");
    broken.file_fails("/proc/812/stat", files::Error::Io("Input/output error (os error 5)".to_owned()));
    let why = "failed to read /proc/812/stat: Input/output error (os error 5)";
    assert_eq!(start(broken, WEB).tick(), Err(Error::Unavailable(why.to_owned())));
}

#[test]
fn cpu_time_of_a_group_does_not_fall() {
    let mut host = small(10, "a", 500, 70);
    process(&mut host, 11, "a", 100, 70);
    process(&mut host, 12, "b", 9999, 70);
    let mut plugin = start(host, r#"{"groups": {"a": {"name": "a"}}}"#);
    let sample = plugin.tick().expect("a sample");
    assert_eq!((cpu(&sample), sample.get(r#"process.group_cpu_percent{group="a"}"#)), (&Value::Float(6.0), None));

    // One goes on, one ends.
    process(plugin.host(), 10, "a", 700, 70);
    ends(plugin.host(), 11);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(*cpu(&sample), 8.0);
    assert_eq!(sample[r#"process.group_cpu_percent{group="a"}"#], 20.0);
    assert_eq!(sample[r#"process.group_processes{group="a"}"#], 1);

    // A number is used again, by another process of the same name: what it has used is all new.
    process(plugin.host(), 10, "a", 50, 9000);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(*cpu(&sample), 8.5);
    assert_eq!(sample[r#"process.group_start_time_seconds{group="a"}"#], 1090.0);

    // Another becomes one of them: what it used before it did is not theirs.
    process(plugin.host(), 12, "a", 10_099, 70);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 9.5);

    // All have ended.
    ends(plugin.host(), 10);
    ends(plugin.host(), 12);
    process(plugin.host(), 13, "b", 0, 70);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(
        (cpu(&sample), &sample[r#"process.group_processes{group="a"}"#]),
        (&Value::Float(9.5), &Value::Unsigned(0))
    );
    assert_eq!(sample.get(r#"process.group_start_time_seconds{group="a"}"#), None);
}

#[test]
fn a_tick_that_was_given_up_counts_nothing_twice() {
    let mut host = small(10, "a", 100, 70);
    process(&mut host, 11, "a", 100, 70);
    process(&mut host, 12, "a", 100, 70);
    let mut plugin = start(host, r#"{"groups": {"a": {"name": "a"}}}"#);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 3.0);
    process(plugin.host(), 10, "a", 150, 70);
    plugin.host().file_fails("/proc/11/stat", files::Error::Timeout);
    assert_eq!(plugin.tick(), Err(Error::Unavailable("/proc/11/stat did not answer in time".to_owned())));
    process(plugin.host(), 11, "a", 150, 70);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 4.0);
}

#[test]
fn a_command_line_is_read_again_when_it_may_have_changed() {
    let count = |plugin: &mut Running<Process>| {
        plugin.tick().expect("a sample").get(r#"process.group_processes{group="shop"}"#).cloned()
    };
    let mut host = small(10, "sh", 0, 70);
    host.file("/proc/10/cmdline", "sh\0-c\0exec java\0");
    let mut plugin = start(host, SHOP);
    assert_eq!(count(&mut plugin), Some(Value::Unsigned(0)));
    // It has become another program between two ticks.
    plugin.host().file("/proc/10/cmdline", "java\0-Dname=shop\0");
    assert_eq!(count(&mut plugin), Some(Value::Unsigned(1)));
    // From now on it is known.
    plugin.host().file_fails("/proc/10/cmdline", files::Error::Timeout);
    assert_eq!(count(&mut plugin), Some(Value::Unsigned(1)));
    // Until its name changes.
    process(plugin.host(), 10, "java", 0, 70);
    plugin.host().file("/proc/10/cmdline", "java\0");
    assert_eq!(count(&mut plugin), Some(Value::Unsigned(0)));
}

#[test]
fn a_process_that_does_not_tell_its_command_line_is_asked_three_times() {
    let mut host = small(10, "stuck", 0, 70);
    process(&mut host, 11, "java", 0, 70);
    host.file_fails("/proc/10/cmdline", files::Error::Timeout).file("/proc/11/cmdline", "java\0-Dname=shop\0");
    let mut plugin = start(host, r#"{"groups": {"shop": {"command": "*shop*"}, "stuck": {"name": "stuck"}}}"#);
    for _ in 0..3 {
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample.get(r#"process.group_processes{group="shop"}"#), None, "nobody knows");
        assert_eq!(sample[r#"process.group_processes{group="stuck"}"#], 1, "this one is known by its name");
    }
    let sample = plugin.tick().expect("a sample");
    assert_eq!(sample[r#"process.group_processes{group="shop"}"#], 1);
    assert_eq!(sample[r#"process.group_open_fds{group="stuck"}"#], 1);
    let why = "WARN /proc/10/cmdline did not answer in time; therefore groups that it may belong to are missing";
    assert_eq!(plugin.host().messages(), [why]);
}

#[test]
fn one_command_line_that_cannot_be_read_does_not_hide_a_group_for_good() {
    let mut host = small(10, "kept", 0, 70);
    process(&mut host, 11, "java", 0, 70);
    host.file_fails("/proc/10/cmdline", files::Error::Io("Permission denied (os error 13)".to_owned()));
    host.file("/proc/11/cmdline", "java\0-Dname=shop\0");
    let mut plugin = start(host, SHOP);
    for known in [None, None, None, Some(Value::Unsigned(1))] {
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample.get(r#"process.group_processes{group="shop"}"#).cloned(), known);
    }
    let why = "WARN failed to read /proc/10/cmdline: Permission denied (os error 13); therefore groups that it may belong to \
               are missing";
    assert_eq!(plugin.host().messages(), [why]);

    // What nobody may read stays unknown.
    let mut host = small(10, "java", 0, 70);
    host.deny(&Capability::Read("/proc/*/cmdline".to_owned()));
    let mut plugin = start(host, SHOP);
    for _ in 0..5 {
        assert_eq!(plugin.tick().expect("a sample").get(r#"process.group_processes{group="shop"}"#), None);
    }
}

#[test]
fn open_files_of_other_users_are_not_guessed() {
    let mut host = Host::at("fixtures/web-1");
    host.file_fails("/proc/814/fd", files::Error::Io("Permission denied (os error 13)".to_owned()));
    host.file_fails("/proc/815/fd", files::Error::Io("Permission denied (os error 13)".to_owned()));
    let mut plugin = start(host, WEB);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(sample.get(r#"process.group_open_fds{group="nginx"}"#), None);
    assert_eq!(sample[r#"process.group_open_fds{group="shop"}"#], 6);
    let why = "WARN failed to read /proc/814/fd: Permission denied (os error 13) (to see the files of other users takes \
               root, or CAP_SYS_PTRACE); therefore the open files of its groups are missing";
    assert_eq!(plugin.host().messages(), [why]);

    let mut host = Host::at("fixtures/web-1");
    host.file_fails("/proc/1040/fd", files::Error::TooLarge(10_000));
    host.file_fails("/proc/1040/cmdline", files::Error::TooLarge(1 << 20));
    let mut plugin = start(host, r#"{"groups": {"java": {"name": "java"}, "shop": {"command": "*shop*"}}}"#);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(sample.get(r#"process.group_open_fds{group="java"}"#), None);
    assert_eq!(
        sample[r#"process.group_processes{group="shop"}"#], 0,
        "of that length, a command line is taken for none"
    );
    let why = "WARN a process has more than 10000 open files; therefore the open files of its groups are missing";
    assert_eq!(plugin.host().messages(), [why]);
}

#[test]
fn when_the_host_was_booted_is_read_again_after_a_minute() {
    let mut plugin = start(small(10, "a", 0, 250), r#"{"groups": {"a": {"name": "a"}}}"#);
    let started = |plugin: &mut Running<Process>, after| {
        let sample = plugin.tick_after(Duration::from_secs(after)).expect("a sample");
        sample[r#"process.group_start_time_seconds{group="a"}"#].clone()
    };
    assert_eq!(started(&mut plugin, 0), 1002.5);
    plugin.host().file("/proc/stat", "cpu 1 2 3\nbtime 2000\n");
    assert_eq!(started(&mut plugin, 59), 1002.5);
    assert_eq!(started(&mut plugin, 1), 2002.5);
    plugin.host().file("/proc/stat", "cpu 1 2 3\n");
    let error = plugin.tick_after(Duration::from_secs(60));
    assert_eq!(error, Err(Error::Internal("/proc/stat: has no line btime".to_owned())));
}

#[test]
fn what_is_not_understood_is_told() {
    for (path, text, why) in [
        ("/proc/loadavg", "0 0 0\n", "ends before the number of threads"),
        ("/proc/loadavg", "0 0 0 1 2\n", "1 is not how many threads of how many run"),
        ("/proc/sys/kernel/pid_max", "many\n", "many is not a number (the only one)"),
        ("/proc/10/stat", "10 a\n", "has no name in parentheses"),
    ] {
        let mut host = small(10, "a", 0, 70);
        host.file(path, text);
        assert_eq!(start(host, "{}").tick(), Err(Error::Internal(format!("{path}: {why}"))));
    }
    let mut host = small(10, "a", 0, 70);
    host.file("/proc/10/status", "VmRSS:\t many kB\nVmSwap:\t 1 kB\n");
    let sample = start(host, r#"{"groups": {"a": {"name": "a"}}}"#).tick().expect("a sample");
    assert_eq!(sample.get(r#"process.group_resident_bytes{group="a"}"#), None);
}

#[test]
fn wrong_settings_are_told() {
    let many: Vec<_> = (0..65).map(|at| format!("\"g{at}\": {{\"name\": \"a\"}}")).collect();
    for (groups, key, message) in [
        (r#""a": {}"#, "groups.a", "has neither a name nor a command; write at least one of them"),
        (r#""a": {"user": "x"}"#, "groups.a.user", "unknown key; remove it, or use one of name, command"),
        (
            r#""a": {"name": "prometheus-node-exporter"}"#,
            "groups.a.name",
            "the kernel keeps 15 bytes of a name; write the beginning and *, or a command",
        ),
        (&*many.join(","), "groups", "there are more than 64; leave some out"),
    ] {
        let config = format!("{{\"groups\": {{{groups}}}}}");
        let Err(Error::InvalidConfig(errors)) = Running::<Process>::start(Host::new(), &config) else {
            panic!("{key}")
        };
        assert_eq!((&*errors[0].key, &*errors[0].message), (key, message));
    }
    web(r#"{"groups": {"a": {"name": "prometheus-node"}, "b": {"name": "prometheus-nod*"}}}"#);
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Process>();
}
