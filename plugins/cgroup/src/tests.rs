//! The plugin on fixture machines.

use std::fmt::Write as _;
use std::time::Duration;

use gauged_plugin::testing::{Host, Observed, Running, hold_file, hold_readme};
use gauged_plugin::{Capability, Value};

use super::*;

const WEB: &str = "/sys/fs/cgroup/system.slice/web.service";

fn start(host: Host, config: &str) -> Running<Cgroup> {
    Running::start(host, config).expect("the configuration is right")
}

/// A host of version 2 that has these groups, each with so many microseconds of CPU time.
fn host(groups: &[(&str, u64)]) -> Host {
    let mut host = Host::new();
    host.file("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    for (group, usage) in groups {
        has(&mut host, group, *usage);
    }
    host
}

fn has(host: &mut Host, group: &str, usage: u64) {
    let stat = format!("usage_usec {usage}\nuser_usec 1\nsystem_usec 2\n");
    host.file(&format!("/sys/fs/cgroup/{group}/cpu.stat"), stat);
}

fn groups(sample: &Observed) -> Vec<&str> {
    let usage = sample.keys().filter_map(|key| key.strip_prefix("cgroup.cpu_usage_seconds_total{cgroup=\""));
    usage.filter_map(|rest| rest.strip_suffix("\"}")).collect()
}

#[test]
fn a_node_of_version_2_is_as_its_fixture_says() {
    let sample = start(Host::at("fixtures/node-1"), "{}").tick().expect("a sample");
    hold_file("fixtures/node-1/expected", &sample.render());
}

#[test]
fn an_old_host_of_version_1_is_as_its_fixture_says() {
    let sample = start(Host::at("fixtures/old-1"), "{}").tick().expect("a sample");
    hold_file("fixtures/old-1/expected", &sample.render());
}

#[test]
fn a_hybrid_host_is_as_its_fixture_says() {
    let sample = start(Host::at("fixtures/hybrid"), "{}").tick().expect("a sample");
    hold_file("fixtures/hybrid/expected", &sample.render());
}

#[test]
fn transfers_are_told_by_device_where_that_is_wanted() {
    let config = r#"{"groups": {"include": ["*containerd.service", "*docker-*.scope"]}, "io": "device"}"#;
    let sample = start(Host::at("fixtures/node-1"), config).tick().expect("a sample");
    let bytes: String =
        sample.render().lines().filter(|line| line.contains("_bytes_total")).fold(String::new(), |mut lines, line| {
            let _ = writeln!(lines, "{line}");
            lines
        });
    hold_file("fixtures/node-1/expected-devices", &bytes);
}

#[test]
fn the_walk_is_kept_for_half_a_minute() {
    let mut cgroup = start(host(&[("system.slice/web.service", 1_000_000)]), "{}");
    let at =
        |cgroup: &mut Running<Cgroup>, after: u64| cgroup.tick_after(Duration::from_secs(after)).expect("a sample");
    assert_eq!(groups(&at(&mut cgroup, 0)), ["system.slice/web.service"]);
    has(cgroup.host(), "system.slice/db.service", 0);
    let sample = at(&mut cgroup, 29);
    assert_eq!(groups(&sample), ["system.slice/web.service"], "not looked for");
    assert_eq!(groups(&at(&mut cgroup, 1)), ["system.slice/db.service", "system.slice/web.service"]);

    // One that is gone is left out at once, and makes it look for others.
    for path in [format!("{WEB}/cpu.stat"), WEB.to_owned()] {
        cgroup.host().file_fails(&path, files::Error::NotFound);
    }
    has(cgroup.host(), "system.slice/new.service", 0);
    let sample = at(&mut cgroup, 1);
    assert_eq!((groups(&sample), &sample["cgroup.groups"]), (vec!["system.slice/db.service"], &Value::Unsigned(1)));
    assert_eq!(groups(&at(&mut cgroup, 1)), ["system.slice/db.service", "system.slice/new.service"]);
}

#[test]
fn a_group_that_accounts_nothing_does_not_pass_for_gone() {
    let mut host = Host::new();
    host.file("/sys/fs/cgroup/cpu/a.service/cpuacct.usage", "1000000000\n");
    for group in ["a.service", "b.service"] {
        host.file(&format!("/sys/fs/cgroup/unified/{group}/cgroup.procs"), "");
    }
    let mut cgroup = start(host, "{}");
    for _ in 0..2 {
        let sample = cgroup.tick().expect("a sample");
        assert_eq!((groups(&sample), &sample["cgroup.groups"]), (vec!["a.service"], &Value::Unsigned(1)));
        cgroup.host().file("/sys/fs/cgroup/cpu/new.service/cpuacct.usage", "1\n");
    }
}

#[test]
fn cpu_percent_is_of_one_cpu_and_of_the_tick() {
    let mut cgroup = start(host(&[("a.service", 1_000_000)]), "{}");
    let percent = |cgroup: &mut Running<Cgroup>| {
        cgroup.tick().expect("a sample").get(r#"cgroup.cpu_percent{cgroup="a.service"}"#).cloned()
    };
    assert_eq!(percent(&mut cgroup), None);
    has(cgroup.host(), "a.service", 16_000_000);
    assert_eq!(percent(&mut cgroup), Some(Value::Float(150.0)));
    // The service was restarted, and its group made anew.
    has(cgroup.host(), "a.service", 4);
    cgroup.restarted();
    assert_eq!(percent(&mut cgroup), None);
}

#[test]
fn more_groups_than_a_sample_has_room_for_are_left_out_and_told() {
    let names: Vec<String> = (0..4000).map(|at| format!("g{at:04}.service")).collect();
    let many: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut cgroup = start(host(&many), "{}");
    for _ in 0..2 {
        let sample = cgroup.tick().expect("a sample");
        let (Value::Unsigned(measured), Value::Unsigned(left_out)) =
            (&sample["cgroup.groups"], &sample["cgroup.groups_left_out"])
        else {
            panic!("counts");
        };
        assert_eq!(measured + left_out, 4000);
        assert!(*left_out > 0 && sample.len() > METRICS_FULL);
    }
    let told = cgroup.host().messages();
    assert!(told.len() == 1 && told[0].contains("more groups than a sample has room for"), "{told:?}");
}

#[test]
fn a_host_without_control_groups_is_not_supported() {
    let unsupported = |host| match start(host, "{}").tick() {
        Err(Error::Unsupported(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(unsupported(Host::new()), "/sys/fs/cgroup is not there: this host has no control groups");
    let mut empty = Host::new();
    empty.file("/sys/fs/cgroup/systemd/tasks", "1\n");
    assert_eq!(unsupported(empty), "/sys/fs/cgroup has no control groups that account anything");
}

#[test]
fn nothing_deeper_is_looked_at_than_all_may_read() {
    let deep = "a.slice/b.slice/c.slice/d.slice/e.slice/f.service";
    let mut host = host(&[(deep, 1), ("a.slice/b.slice/c.slice/d.slice/e.slice/f.slice/g.service", 1)]);
    // As the agent would.
    host.deny(&Capability::Read("/sys/fs/cgroup/*/*/*/*/*/*/*".to_owned()));
    has(&mut host, "a.slice/x.service", 1);
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(groups(&sample), ["a.slice/x.service"], "the files of a group at the limit were denied by this test");
}

#[test]
fn settings_are_checked() {
    for (config, key) in
        [(r#"{"io": "all"}"#, "io"), (r#"{"group": {}}"#, "group"), (r#"{"groups": {"only": []}}"#, "groups.only")]
    {
        let Err(Error::InvalidConfig(errors)) = Running::<Cgroup>::start(Host::new(), config) else {
            panic!("{config}")
        };
        assert_eq!(errors[0].key, key);
    }
    let sample = start(Host::at("fixtures/node-1"), r#"{"groups": {}}"#).tick().expect("a sample");
    assert!(groups(&sample).contains(&"kubepods.slice") && groups(&sample).len() > 15, "all of them: {sample:?}");
}

#[test]
fn what_is_not_understood_is_left_out_and_told_once() {
    let key = |metric: &str| format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"}}");
    for (name, text, lost, why) in [
        ("cpu.stat", "usage_usec much\n", "cpu_usage_seconds_total", " line 1: much is not a number (usage_usec)"),
        ("cpu.stat", "nr_periods 1\nthrottled_time\n", "cpu_periods_total", " line 2: ends before throttled_time"),
        ("memory.current", "\n", "memory_current_bytes", ": ends before the only one"),
        ("memory.max", "most\n", "memory_max_bytes", ": most is not a number (the only one)"),
        ("memory.stat", "anon -1\n", "memory_anon_bytes", " line 1: -1 is not a number (anon)"),
        ("memory.stat", "file 1\nanon -1\n", "memory_file_bytes", " line 2: -1 is not a number (anon)"),
        ("io.stat", "rbytes=1\n", "io_read_bytes_total", " line 1: rbytes=1 is of no device"),
        (
            "io.stat",
            "8:0 rbytes=1 wbytes=2\nsda rbytes=1\n",
            "io_read_bytes_total",
            " line 2: sda is not the number of a device",
        ),
        ("io.stat", "8:0 rbytes=x\n", "io_read_bytes_total", " line 1: x is not a number (rbytes)"),
        ("blkio.throttle.io_serviced", "8:0\n", "io_reads_total", " line 1: ends before the operation"),
        ("blkio.throttle.io_serviced", "8:0 Read\n", "io_reads_total", " line 1: ends before how much was read"),
    ] {
        let mut host = host(&[("system.slice/db.service", 1), ("system.slice/web.service", 1)]);
        host.file(&format!("{WEB}/pids.current"), "1 2\n");
        host.file(&format!("{WEB}/{name}"), text);
        let mut cgroup = start(host, "{}");
        for _ in 0..2 {
            let sample = cgroup.tick().expect("the others");
            assert_eq!(sample.get(&key(lost)), None, "{name}: {text}");
            assert_eq!(sample[&key("pids_current")], 1, "the group's other files");
            assert!(groups(&sample).contains(&"system.slice/db.service"), "other groups");
            assert_eq!(sample["cgroup.groups"], 2);
        }
        let told = cgroup.host().messages();
        assert!(told.len() == 1 && told[0].starts_with(&format!("WARN {WEB}/{name}{why}; ")), "{told:?}");
    }
}

/// In version 1 bytes and operations are told by files of their own.
#[test]
fn half_of_what_was_transferred_is_not_told_as_nothing() {
    let key = |metric: &str| format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"}}");
    let mut host = host(&[("system.slice/web.service", 1)]);
    let file = |name: &str| format!("{WEB}/blkio.throttle.{name}");
    host.file(&file("io_service_bytes"), "8:0 Read 4096\n").file(&file("io_serviced"), "8:0 Read 1\n");
    let mut cgroup = start(host, "{}");
    assert_eq!(cgroup.tick().expect("a sample")[&key("io_reads_total")], 1);
    cgroup.host().file(&file("io_serviced"), "8:0 Read some\n");
    let sample = cgroup.tick().expect("a sample");
    assert_eq!((sample.get(&key("io_read_bytes_total")), sample.get(&key("io_reads_total"))), (None, None));
    cgroup.host().file_fails(&file("io_serviced"), files::Error::Io("No such device (os error 19)".to_owned()));
    let sample = cgroup.tick().expect("a sample");
    assert_eq!((sample.get(&key("io_read_bytes_total")), sample.get(&key("io_reads_total"))), (None, None));
}

#[test]
fn a_file_that_does_not_answer_costs_the_tick_and_one_that_cannot_be_read_only_itself() {
    let mut cgroup = start(host(&[("system.slice/web.service", 1)]), "{}");
    let memory = format!("{WEB}/memory.current");
    cgroup.host().file(&memory, "4096\n");
    let key = r#"cgroup.memory_current_bytes{cgroup="system.slice/web.service"}"#;
    assert_eq!(cgroup.tick().expect("a sample")[key], 4096);
    cgroup.host().file_fails(&memory, files::Error::Io("No such device (os error 19)".to_owned()));
    let sample = cgroup.tick().expect("a sample");
    assert_eq!((sample.get(key), groups(&sample)), (None, vec!["system.slice/web.service"]));
    cgroup.host().file_fails(&memory, files::Error::Timeout);
    assert_eq!(cgroup.tick(), Err(Error::Unavailable(format!("{memory} did not answer in time"))));
}

#[test]
fn defaults_take_services_and_containers_and_nothing_of_what_is_in_them() {
    let Settings { groups, .. } = Settings::default();
    let pod = "kubepods/burstable/pod1a2b";
    for group in [
        "system.slice/nginx.service",
        "system.slice/system-getty.slice/getty@tty1.service",
        "user.slice/user-0.slice/user@0.service",
        "system.slice/docker-1a2b.scope",
        "machine.slice/libpod-1a2b.scope",
        "machine.slice/machine-web.scope",
        "docker/1a2b",
        "lxc/web",
        "lxc.payload.web",
        pod,
        "kubepods/pod1a2b/3c4d",
        &format!("{pod}/3c4d"),
        "kubepods.slice/kubepods-pod1a.slice",
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1a.slice/crio-3c.scope",
    ] {
        assert!(groups.picks(group), "{group}");
    }
    for group in [
        "system.slice",
        "init.scope",
        "user.slice/user-0.slice/session-3.scope",
        "user.slice/user-0.slice/user@0.service/app.slice/dbus.service",
        "system.slice/docker-1a2b.scope/system.slice/nginx.service",
        "machine.slice/libpod-conmon-1a2b.scope",
        "docker",
        "docker/1a2b/init",
        "lxc.payload.web/system.slice/nginx.service",
        "kubepods.slice",
        "kubepods/burstable",
        &format!("{pod}/3c4d/init"),
        "system.slice/data.mount",
    ] {
        assert!(!groups.picks(group), "{group}");
    }
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Cgroup>();
}
