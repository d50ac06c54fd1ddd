//! The plugin on fixture machines.

use std::fmt::Write as _;
use std::time::Duration;

use gauged_plugin::testing::{
    Harness, Host, SampleMap, assert_damage_is_contained_for, assert_golden, assert_readme, assert_settings,
    not_permitted, read_config,
};
use gauged_plugin::{Capability, OsError, Value};

use super::*;

mod malformed;
mod worlds;

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
    assert_eq!((groups(&sample), &sample["cgroup.groups"]), (vec!["system.slice/db.service"], &Value::Natural(1)));
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
        assert_eq!((groups(&sample), &sample["cgroup.groups"]), (vec!["a.service"], &Value::Natural(1)));
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
    assert_eq!(percent(&mut cgroup), Some(Value::Number(150.0)));
    // The service restarted with a new group.
    add_group(cgroup.host(), "a.service", 4);
    cgroup.allow_counter_reset();
    assert_eq!(percent(&mut cgroup), None);
}

#[test]
fn excess_groups_are_left_out_and_reported_once() {
    let names: Vec<String> = (0..600).map(|at| format!("g{at:04}.service")).collect();
    let many: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut host = host(&many);
    let disks: Vec<String> = (0..10).map(|disk| format!("8:{disk} rbytes=1 wbytes=1 rios=1 wios=1\n")).collect();
    for name in &names {
        host.file(&format!("/sys/fs/cgroup/{name}/io.stat"), disks.concat());
    }
    let mut cgroup = start(host, r#"{"io": "device"}"#);
    for _ in 0..2 {
        let sample = cgroup.tick().expect("a sample");
        let (Value::Natural(measured), Value::Natural(left_out)) =
            (&sample["cgroup.groups"], &sample["cgroup.groups_left_out"])
        else {
            panic!("counts");
        };
        assert_eq!(measured + left_out, 600);
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
    assert_eq!(unsupported(Host::new()), "/sys/fs/cgroup does not exist: no control groups are mounted there");
    let mut empty = Host::new();
    empty.file("/sys/fs/cgroup/systemd/tasks", "1\n");
    assert_eq!(unsupported(empty), "/sys/fs/cgroup has no control groups with accounting");
}

#[test]
fn walk_stops_at_the_granted_depth() {
    let deep = "a.slice/b.slice/c.slice/d.slice/e.slice/f.service";
    let mut host = host(&[(deep, 1), ("a.slice/b.slice/c.slice/d.slice/e.slice/f.slice/g.service", 1)]);
    // As in the agent.
    host.deny(&Capability::read("/sys/fs/cgroup/*/*/*/*/*/*/*"));
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
fn unreadable_value_costs_only_itself() {
    let key = |metric: &str| format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"}}");
    for (name, text, lost, why) in [
        (
            "cpu.stat",
            "usage_usec much\n",
            "cpu_usage_seconds_total",
            " line 1 is malformed: much is not a number (usage_usec)",
        ),
        ("cpu.stat", "nr_periods 1\nthrottled_time\n", "cpu_throttled_seconds_total", " line 2 is truncated: missing"),
        ("memory.current", "\n", "memory_current_bytes", " is truncated: missing value"),
        (
            "memory.current",
            "18446744073709551615\n",
            "memory_current_bytes",
            " is malformed: 18446744073709551615 is impossible",
        ),
        ("memory.max", "most\n", "memory_max_bytes", " is malformed: most is not a number (value)"),
        ("memory.stat", "file 1\nanon -1\n", "memory_anon_bytes", " line 2 is malformed: -1 is not a number (anon)"),
        (
            "io.stat",
            "8:0 rbytes=1 wbytes=2 rios=1 wios=1\nsda rbytes=1\n",
            "io_read_bytes_total",
            " line 2 is malformed: sda is not a device number",
        ),
        (
            "io.stat",
            "8:0 rbytes=x wbytes=0 rios=1 wios=0\n",
            "io_read_bytes_total",
            " line 1 is malformed: x is not a number (io_read_bytes",
        ),
        ("blkio.throttle.io_serviced", "8:0\n", "io_reads_total", " line 1 is truncated: missing the operation"),
        ("blkio.throttle.io_serviced", "8:0 Read\n", "io_reads_total", " line 1 is truncated: missing io_reads_total"),
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
        let (at, cause) = why.split_once(": ").expect("a cause");
        let expected = format!("/sys/fs/cgroup/*/{name}{at}: {WEB}/{name}: {cause}");
        assert!(messages.len() == 1 && messages[0].contains(&expected), "{messages:?}: {expected}");
    }
    let mut host = host(&[("system.slice/web.service", 1)]);
    host.file(&format!("{WEB}/memory.stat"), "file 1\nanon -1\n");
    assert_eq!(start(host, "{}").tick().expect("a sample")[&key("memory_file_bytes")], 1);
}

/// Hidden paths of `NVMe` multipath and devices of ZFS have no number, and a device without transfers may lack its line end.
#[test]
fn device_without_a_number_costs_no_other() {
    const ODD: &str = "(unknown) rbytes=0 wbytes=0 rios=6 wios=0 dbytes=0 dios=0\n";
    const DISK: &str = "259:0 rbytes=1449984 wbytes=3145728 rios=18 wios=24 dbytes=0 dios=0 cost.usage=7 rbps=max\n";
    let key = |metric: &str, device: &str| format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"{device}}}");
    let nvme = ",device=\"nvme0n1\"";
    for text in [DISK.to_owned() + ODD, ODD.to_owned() + DISK, [ODD, DISK, ODD].concat(), DISK.to_owned() + "252:0 "] {
        for (config, device) in [("{}", ""), (r#"{"io": "device"}"#, nvme)] {
            let mut host = host(&[("system.slice/web.service", 1)]);
            host.file("/proc/diskstats", " 259 0 nvme0n1 5 0 40 1\n   8 16 sdb 1\n")
                .file(&format!("{WEB}/io.stat"), text.clone());
            let mut cgroup = start(host, config);
            let sample = cgroup.tick().expect("a sample");
            assert_eq!(sample[&key("io_read_bytes_total", device)], 1_449_984, "{text}");
            assert_eq!(sample[&key("io_writes_total", device)], 24, "{text}");
            assert!(cgroup.host().messages().is_empty(), "nothing to fix: {:?}", cgroup.host().messages());
        }
    }
    let mut host = host(&[("system.slice/web.service", 1)]);
    host.file("/proc/diskstats", "   8 16 sdb 1\n").file(&format!("{WEB}/io.stat"), "8:0 8:16 rbytes=352256 rios=10\n");
    let sample = start(host, r#"{"io": "device"}"#).tick().expect("a sample");
    assert_eq!(sample[&key("io_read_bytes_total", ",device=\"sdb\"")], 352_256);
}

#[test]
fn device_without_a_number_in_version_1() {
    let rows =
        |name: &str, read: u64| format!("{name} Read {read}\n{name} Write 7\n{name} Discard 0\n{name} Total 9\n");
    let text = |read: u64| rows("(unknown)", 3) + &rows("259:0", read) + "Total 9\n";
    let mut host = host(&[("system.slice/web.service", 1)]);
    host.file(&format!("{WEB}/blkio.throttle.io_service_bytes_recursive"), text(1_449_984));
    host.file(&format!("{WEB}/blkio.throttle.io_serviced_recursive"), text(18));
    let sample = start(host, "{}").tick().expect("a sample");
    let key = |metric: &str| format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"}}");
    assert_eq!(
        (&sample[&key("io_read_bytes_total")], &sample[&key("io_reads_total")]),
        (&Value::Natural(1_449_984), &Value::Natural(18))
    );
}

/// In version 1 bytes and operations are in separate files.
#[test]
fn io_files_give_their_own_amounts() {
    let key = |metric: &str| format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"}}");
    let mut host = host(&[("system.slice/web.service", 1)]);
    let file = |name: &str| format!("{WEB}/blkio.throttle.{name}");
    host.file(&file("io_service_bytes"), "8:0 Read 4096\n").file(&file("io_serviced"), "8:0 Read 1\n");
    let mut cgroup = start(host, "{}");
    let amounts = |cgroup: &mut Harness<Cgroup>| {
        let sample = cgroup.tick().expect("a sample");
        ["io_read_bytes_total", "io_reads_total"].map(|metric| sample.get(&key(metric)).cloned())
    };
    let (bytes, one) = (Some(Value::Natural(4096)), Some(Value::Natural(1)));
    assert_eq!(amounts(&mut cgroup), [bytes.clone(), one]);
    cgroup.host().file(&file("io_serviced"), "8:0 Read some\n");
    assert_eq!(amounts(&mut cgroup), [bytes.clone(), None]);
    cgroup.host().file_fails(&file("io_serviced"), files::Error::Io(OsError::new("ENODEV", "No such device")));
    assert_eq!(amounts(&mut cgroup), [bytes, None]);
}

#[test]
fn timeout_costs_what_comes_after_it() {
    let mut cgroup = start(host(&[("system.slice/db.service", 1), ("system.slice/web.service", 1)]), "{}");
    let memory = "/sys/fs/cgroup/system.slice/db.service/memory.current";
    cgroup.host().file(memory, "4096\n");
    let key = r#"cgroup.memory_current_bytes{cgroup="system.slice/db.service"}"#;
    assert_eq!(cgroup.tick().expect("a sample")[key], 4096);
    cgroup.host().file_fails(memory, files::Error::Io(OsError::new("ENODEV", "No such device")));
    let sample = cgroup.tick().expect("a sample");
    assert_eq!((sample.get(key), groups(&sample).len()), (None, 2));
    cgroup.host().file_fails(memory, files::Error::Timeout);
    let sample = cgroup.tick().expect("a sample");
    assert_eq!(
        (groups(&sample), &sample["cgroup.groups_left_out"]),
        (vec!["system.slice/db.service"], &Value::Natural(1))
    );
    cgroup.host().file_fails("/sys/fs/cgroup/system.slice/db.service/cpu.stat", files::Error::Timeout);
    assert!(matches!(cgroup.tick(), Err(Error::Unavailable(_))), "nothing is measured");
}

#[test]
fn refused_directory_costs_only_its_groups() {
    let mut host = host(&[("system.slice/web.service", 1), ("machine.slice/a.scope", 1)]);
    host.file_fails("/sys/fs/cgroup/machine.slice", not_permitted());
    let mut cgroup = start(host, "{}");
    assert_eq!(groups(&cgroup.tick().expect("a sample")), ["system.slice/web.service"]);
    assert!(cgroup.host().messages()[0].contains(
        "without the groups below: /sys/fs/cgroup/* is not permitted: /sys/fs/cgroup/machine.slice: Permission"
    ));
}

#[test]
fn damaged_file_costs_only_its_metrics() {
    for machine in ["node-1", "old-1"] {
        let host = Host::from_fixture(&format!("fixtures/{machine}"));
        let config =
            r#"{"groups": {"include": ["*/docker-*.scope", "*/containerd.service", "machine.slice/*", "docker/*"]}}"#;
        assert_damage_is_contained_for::<Cgroup, _>(&host, config, |path| {
            let (directory, file) = path.rsplit_once('/').expect("a path");
            if path == "/proc/diskstats" {
                return vec!["io_*".to_owned()];
            }
            let group = directory.trim_start_matches("/sys/fs/cgroup").trim_start_matches('/');
            let metrics = match file.split('.').next().unwrap_or_default() {
                "cpu" | "cpuacct" => "cpu_",
                "memory" => "memory_",
                "io" | "blkio" => "io_",
                "pids" => "pids_",
                _ => return Vec::new(),
            };
            // In version 1 the controller is the first part of the path.
            let group = if machine == "old-1" { group.split_once('/').map_or("", |(_, group)| group) } else { group };
            let group = group.replace('\\', "\\\\");
            vec![format!("{metrics}*{{cgroup=\"{group}\"}}")]
        });
    }
}

#[test]
fn containers_are_selected_in_every_scheme() {
    let Settings { groups, .. } = read_config::<Cgroup>("{}").expect("valid defaults");
    for group in [
        // containerd and others with a path for systemd, but without it.
        "system.slice/containerd.service/kubepods-burstable-pod1a.slice:cri-containerd:3c4d",
        "kubepods-besteffort-pod1a.slice:cri-containerd:3c4d",
        "system.slice:docker:3c4d",
        "kubepods-pod1a.slice:crio:3c4d",
        "user.slice:libpod:3c4d",
        "kubepods/burstable/pod1a/crio-3c4d",
        "kubelet/kubepods/besteffort/pod1a/3c4d",
        "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod1a.slice",
        "user.slice/user-1000.slice/user@1000.service/user.slice/docker-3c4d.scope",
        "user.slice/user-1000.slice/user@1000.service/user.slice/libpod-3c4d.scope",
        "machine.slice/machine-libpod_pod_1a.slice",
        "machine.slice/machine-libpod_pod_1a.slice/libpod-3c4d.scope",
        "libpod_parent/libpod-3c4d",
        "system.slice/nerdctl-3c4d.scope",
        "k8s.io/3c4d",
        "default/3c4d",
        "garden/3c4d",
        "garden/good/3c4d",
        "system.slice/garden.service/garden/3c4d",
        "lxc.payload/web",
        "lxc/101",
        "qemu.slice/100.scope",
        "machine/qemu-1-vm.libvirt-qemu",
        "ecs/1a/3c4d",
    ] {
        assert!(groups.includes(group), "{group}");
    }
    for group in [
        "kubepods-besteffort-pod1a.slice:cri-containerd:3c4d/init",
        "kubepods/burstable/pod1a/crio-conmon-3c4d",
        "libpod_parent/conmon",
        "garden/good",
        "garden/bad",
        "lxc/101/ns",
        "lxc.monitor.web",
        "k8s.io",
    ] {
        assert!(!groups.includes(group), "{group}");
    }
}

#[test]
fn default_selection_is_services_and_containers() {
    let Settings { groups, .. } = read_config::<Cgroup>("{}").expect("valid defaults");
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
fn readme_lists_metrics_and_settings() {
    assert_readme::<Cgroup>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Cgroup>("{}");
}
