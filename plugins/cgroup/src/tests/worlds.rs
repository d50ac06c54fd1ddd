//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// `OpenVZ` closes each hierarchy of version 1 to users without privileges. Reported in netdata/netdata#4909. Right: an error
/// that names the reason, at each tick, and not zero groups.
#[test]
fn refused_hierarchies_are_not_empty() {
    let mut host = Host::new();
    for controller in ["cpu,cpuacct", "memory", "devices"] {
        host.file(&format!("/sys/fs/cgroup/{controller}/vz/cpuacct.usage"), "1\n");
        host.file_fails(&format!("/sys/fs/cgroup/{controller}"), not_permitted());
    }
    let mut cgroup = start(host, r#"{"groups": {}}"#);
    for _ in 0..2 {
        assert_not_permitted(&cgroup.tick(), "/sys/fs/cgroup/memory");
    }
    // One that is open has groups.
    cgroup.host().file("/sys/fs/cgroup/pids/vz/pids.current", "7\n");
    assert_eq!(cgroup.tick().expect("a sample")[r#"cgroup.pids_current{cgroup="vz"}"#], 7);
}

/// Containers without root: the groups of other users are closed, as directories or file by file. Reported in
/// google/cadvisor#3728 and netdata/netdata#11069. Right: the other groups, and a word on those that are closed. They are not
/// gone, so that the list of groups stays.
#[test]
fn refused_groups_are_not_gone() {
    let mine = "user.slice/user-1000.slice/user@1000.service/user.slice/docker-7a.scope";
    let other = "user.slice/user-1001.slice/user@1001.service/user.slice/docker-9c.scope";
    let mut host = host(&[(mine, 1_000_000), (other, 1), ("system.slice/web.service", 1)]);
    host.file_fails(&format!("/sys/fs/cgroup/{other}/cpu.stat"), not_permitted());
    host.file("/sys/fs/cgroup/user.slice/user-1002.slice/cpu.stat", "usage_usec 1\n");
    host.file_fails("/sys/fs/cgroup/user.slice/user-1002.slice", not_permitted());
    let mut cgroup = start(host, r#"{"groups": {"include": ["*.scope"]}}"#);
    for tick in 0..3 {
        let sample = cgroup.tick().expect("a sample");
        assert_eq!((groups(&sample), &sample["cgroup.groups"]), (vec![mine], &Value::Natural(1)));
        if tick == 0 {
            add_group(cgroup.host(), "system.slice/new.scope", 1);
        }
    }
    let messages = cgroup.host().messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().any(|message| message.contains(&format!("/{other}/cpu.stat"))), "{messages:?}");

    cgroup.host().file_fails(&format!("/sys/fs/cgroup/{mine}/cpu.stat"), not_permitted());
    assert_not_permitted(&cgroup.tick_after(Duration::from_secs(1)), mine);
}

/// A group without a limit: the greatest number that fits, less a page of 4 or 64 KiB, or all of it (Linux 2.6.32 and 3.10).
/// Reported in google/cadvisor#685. Right: no limit.
#[test]
fn unlimited_memory_has_no_limit() {
    for limit in ["9223372036854775807", "9223372036854771712", "9223372036854710272", "max"] {
        let mut host = Host::new();
        host.file("/sys/fs/cgroup/memory/a.service/memory.usage_in_bytes", "4096\n");
        host.file("/sys/fs/cgroup/memory/a.service/memory.limit_in_bytes", format!("{limit}\n"));
        let mut cgroup = start(host, "{}");
        let sample = cgroup.tick().expect("a sample");
        assert_eq!(sample[r#"cgroup.memory_current_bytes{cgroup="a.service"}"#], 4096);
        assert_eq!(sample.get(r#"cgroup.memory_max_bytes{cgroup="a.service"}"#), None, "{limit}");
        assert!(cgroup.host().messages().is_empty(), "{limit}");
    }
}

/// The CPU time of a group jumps by 55 years for a tick and is back, or falls. Reported in google/cadvisor#3611,
/// kubernetes/kubernetes#114057 and systemd/systemd#749 (61,445,968,456 %). Right: no share of the tick that no machine could
/// give, in neither of the two ticks, and then as ever.
#[test]
fn cpu_time_that_jumps_has_no_percent() {
    for jumped in [1_730_000_000_000_000, 781_274] {
        let mut cgroup = start(host(&[("a.service", 16_405_214)]), "{}");
        cgroup.tick().expect("a sample");
        cgroup.allow_counter_reset();
        let percents = [jumped, 16_405_214, 21_405_214].map(|usage| {
            add_group(cgroup.host(), "a.service", usage);
            let sample = cgroup.tick().expect("a sample");
            cgroup.allow_counter_reset();
            sample.get(r#"cgroup.cpu_percent{cgroup="a.service"}"#).cloned()
        });
        assert_eq!(percents, [None, None, Some(Value::Number(50.0))], "{jumped}");
    }
}
