//! The plugin on fixture machines.

use std::fmt::Write as _;
use std::time::Duration;

use gauged_plugin::testing::{Harness, Host, SampleMap, assert_golden, assert_readme_metrics};
use gauged_plugin::{Capability, Value};

use super::*;

const WEB: &str = "/sys/fs/cgroup/system.slice/web.service";

fn start(host: Host, config: &str) -> Harness<Cgroup> {
    Harness::start(host, config).expect("the configuration is right")
}

/// A host with version 2 and these groups, each with its CPU time in microseconds.
fn host(groups: &[(&str, u64)]) -> Host {
    let mut host = Host::new();
    host.file("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    for (group, usage) in groups {
        add_group(&mut host, group, *usage);
    }
    host
}

fn add_group(host: &mut Host, group: &str, usage: u64) {
    let stat = format!("usage_usec {usage}\nuser_usec 1\nsystem_usec 2\n");
    host.file(&format!("/sys/fs/cgroup/{group}/cpu.stat"), stat);
}

fn groups(sample: &SampleMap) -> Vec<&str> {
    let usage = sample.keys().filter_map(|key| key.strip_prefix("cgroup.cpu_usage_seconds_total{cgroup=\""));
    usage.filter_map(|rest| rest.strip_suffix("\"}")).collect()
}

#[test]
fn version_2_node_matches_its_golden_file() {
    let sample = start(Host::from_fixture("fixtures/node-1"), "{}").tick().expect("a sample");
    assert_golden("fixtures/node-1/expected", &sample.render());
}

#[test]
fn version_1_host_matches_its_golden_file() {
    let sample = start(Host::from_fixture("fixtures/old-1"), "{}").tick().expect("a sample");
    assert_golden("fixtures/old-1/expected", &sample.render());
}

#[test]
fn hybrid_host_matches_its_golden_file() {
    let sample = start(Host::from_fixture("fixtures/hybrid"), "{}").tick().expect("a sample");
    assert_golden("fixtures/hybrid/expected", &sample.render());
}

#[test]
fn device_setting_reports_io_per_device() {
    let config = r#"{"groups": {"include": ["*containerd.service", "*docker-*.scope"]}, "io": "device"}"#;
    let sample = start(Host::from_fixture("fixtures/node-1"), config).tick().expect("a sample");
    let bytes: String =
        sample.render().lines().filter(|line| line.contains("_bytes_total")).fold(String::new(), |mut lines, line| {
            let _ = writeln!(lines, "{line}");
            lines
        });
    assert_golden("fixtures/node-1/expected-devices", &bytes);
}

#[test]
fn group_list_is_cached_for_30_seconds() {
    let mut cgroup = start(host(&[("system.slice/web.service", 1_000_000)]), "{}");
    let at =
        |cgroup: &mut Harness<Cgroup>, after: u64| cgroup.tick_after(Duration::from_secs(after)).expect("a sample");
    assert_eq!(groups(&at(&mut cgroup, 0)), ["system.slice/web.service"]);
    add_group(cgroup.host(), "system.slice/db.service", 0);
    let sample = at(&mut cgroup, 29);
    assert_eq!(groups(&sample), ["system.slice/web.service"], "list still cached");
    assert_eq!(groups(&at(&mut cgroup, 1)), ["system.slice/db.service", "system.slice/web.service"]);

    // A removed group is left out at once and causes a new walk.
    for path in [format!("{WEB}/cpu.stat"), WEB.to_owned()] {
        cgroup.host().file_fails(&path, files::Error::NotFound);
    }
    add_group(cgroup.host(), "system.slice/new.service", 0);
    let sample = at(&mut cgroup, 1);
    assert_eq!((groups(&sample), &sample["cgroup.groups"]), (vec!["system.slice/db.service"], &Value::Unsigned(1)));
    assert_eq!(groups(&at(&mut cgroup, 1)), ["system.slice/db.service", "system.slice/new.service"]);
}

#[test]
fn group_without_accounting_causes_no_rescan() {
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
fn cpu_percent_is_per_cpu_and_tick() {
    let mut cgroup = start(host(&[("a.service", 1_000_000)]), "{}");
    let percent = |cgroup: &mut Harness<Cgroup>| {
        cgroup.tick().expect("a sample").get(r#"cgroup.cpu_percent{cgroup="a.service"}"#).cloned()
    };
    assert_eq!(percent(&mut cgroup), None);
    add_group(cgroup.host(), "a.service", 16_000_000);
    assert_eq!(percent(&mut cgroup), Some(Value::Float(150.0)));
    // The service restarted with a new group.
    add_group(cgroup.host(), "a.service", 4);
    cgroup.allow_counter_reset();
    assert_eq!(percent(&mut cgroup), None);
}

#[test]
fn excess_groups_are_left_out_and_reported_once() {
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
        assert!(*left_out > 0 && sample.len() > MAX_METRICS);
    }
    let messages = cgroup.host().messages();
    assert!(messages.len() == 1 && messages[0].contains("groups exceed the sample's limit of metrics"), "{messages:?}");
}

#[test]
fn host_without_control_groups_is_unsupported() {
    let unsupported = |host| match start(host, "{}").tick() {
        Err(Error::Unsupported(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(unsupported(Host::new()), "/sys/fs/cgroup does not exist: this host has no control groups");
    let mut empty = Host::new();
    empty.file("/sys/fs/cgroup/systemd/tasks", "1\n");
    assert_eq!(unsupported(empty), "/sys/fs/cgroup has no control groups with accounting");
}

#[test]
fn walk_stops_at_the_granted_depth() {
    let deep = "a.slice/b.slice/c.slice/d.slice/e.slice/f.service";
    let mut host = host(&[(deep, 1), ("a.slice/b.slice/c.slice/d.slice/e.slice/f.slice/g.service", 1)]);
    // As in the agent.
    host.deny(&Capability::Read("/sys/fs/cgroup/*/*/*/*/*/*/*".to_owned()));
    add_group(&mut host, "a.slice/x.service", 1);
    let sample = start(host, "{}").tick().expect("a sample");
    assert_eq!(groups(&sample), ["a.slice/x.service"], "a group at the depth limit is denied");
}

#[test]
fn invalid_settings_name_their_key() {
    for (config, key) in
        [(r#"{"io": "all"}"#, "io"), (r#"{"group": {}}"#, "group"), (r#"{"groups": {"only": []}}"#, "groups.only")]
    {
        let Err(Error::InvalidConfig(errors)) = Harness::<Cgroup>::start(Host::new(), config) else {
            panic!("{config}")
        };
        assert_eq!(errors[0].key, key);
    }
    let sample = start(Host::from_fixture("fixtures/node-1"), r#"{"groups": {}}"#).tick().expect("a sample");
    assert!(groups(&sample).contains(&"kubepods.slice") && groups(&sample).len() > 15, "all groups: {sample:?}");
}

#[test]
fn unparsable_file_is_left_out_and_reported_once() {
    let key = |metric: &str| format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"}}");
    for (name, text, lost, why) in [
        ("cpu.stat", "usage_usec much\n", "cpu_usage_seconds_total", " line 1: much is not a number (usage_usec)"),
        ("cpu.stat", "nr_periods 1\nthrottled_time\n", "cpu_periods_total", " line 2: missing throttled_time"),
        ("memory.current", "\n", "memory_current_bytes", ": missing value"),
        ("memory.max", "most\n", "memory_max_bytes", ": most is not a number (value)"),
        ("memory.stat", "anon -1\n", "memory_anon_bytes", " line 1: -1 is not a number (anon)"),
        ("memory.stat", "file 1\nanon -1\n", "memory_file_bytes", " line 2: -1 is not a number (anon)"),
        ("io.stat", "rbytes=1\n", "io_read_bytes_total", " line 1: rbytes=1 has no device"),
        (
            "io.stat",
            "8:0 rbytes=1 wbytes=2\nsda rbytes=1\n",
            "io_read_bytes_total",
            " line 2: sda is not a device number",
        ),
        ("io.stat", "8:0 rbytes=x\n", "io_read_bytes_total", " line 1: x is not a number (rbytes)"),
        ("blkio.throttle.io_serviced", "8:0\n", "io_reads_total", " line 1: missing the operation"),
        ("blkio.throttle.io_serviced", "8:0 Read\n", "io_reads_total", " line 1: missing the amount read"),
    ] {
        let mut host = host(&[("system.slice/db.service", 1), ("system.slice/web.service", 1)]);
        host.file(&format!("{WEB}/pids.current"), "1 2\n");
        host.file(&format!("{WEB}/{name}"), text);
        let mut cgroup = start(host, "{}");
        for _ in 0..2 {
            let sample = cgroup.tick().expect("a sample");
            assert_eq!(sample.get(&key(lost)), None, "{name}: {text}");
            assert_eq!(sample[&key("pids_current")], 1, "the group's other files");
            assert!(groups(&sample).contains(&"system.slice/db.service"), "other groups");
            assert_eq!(sample["cgroup.groups"], 2);
        }
        let messages = cgroup.host().messages();
        let expected = format!("WARN {WEB}/{name}{why}; ");
        assert!(messages.len() == 1 && messages[0].starts_with(&expected), "{messages:?}");
    }
}

/// In version 1 bytes and operations are in separate files.
#[test]
fn partial_io_files_report_no_io() {
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
fn only_a_timeout_fails_the_whole_tick() {
    let mut cgroup = start(host(&[("system.slice/web.service", 1)]), "{}");
    let memory = format!("{WEB}/memory.current");
    cgroup.host().file(&memory, "4096\n");
    let key = r#"cgroup.memory_current_bytes{cgroup="system.slice/web.service"}"#;
    assert_eq!(cgroup.tick().expect("a sample")[key], 4096);
    cgroup.host().file_fails(&memory, files::Error::Io("No such device (os error 19)".to_owned()));
    let sample = cgroup.tick().expect("a sample");
    assert_eq!((sample.get(key), groups(&sample)), (None, vec!["system.slice/web.service"]));
    cgroup.host().file_fails(&memory, files::Error::Timeout);
    assert_eq!(cgroup.tick(), Err(Error::Unavailable(format!("{memory} did not respond in time"))));
}

#[test]
fn default_selection_is_services_and_containers() {
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
        assert!(groups.includes(group), "{group}");
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
        assert!(!groups.includes(group), "{group}");
    }
}

#[test]
fn readme_lists_the_metrics() {
    assert_readme_metrics::<Cgroup>();
}
