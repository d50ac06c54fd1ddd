//! Files and figures that are damaged in ways of their own, with what is still right.

use gauged_plugin::testing::not_permitted;

use super::*;

/// Lines that are torn, or of a device that is not understood. Right:
/// amounts that are not there are not known, instead of zeros, and sums without a part of theirs neither; by device, the others are.
#[test]
fn torn_line_leaves_no_sum_too_small() {
    const DISK: &str = "259:0 rbytes=1449984 wbytes=3145728 rios=18 wios=24 dbytes=0 dios=0\n";
    let all = ["io_read_bytes_total", "io_write_bytes_total", "io_reads_total", "io_writes_total"];
    let stat = "/sys/fs/cgroup/system.slice/web.service/io.stat";
    for (torn, known) in [
        ("8:0 rbytes=1449984\n", &all[..1]),
        ("8:0 rbytes=1449984 wbytes=0 rios=18 wi\n", &[]),
        // The file ends within a line: 1449 of 1449984.
        ("8:0 rbytes=1449984 wbytes=0 rios=18 wios=2", &[]),
        ("8:0 rbytes=1449", &[]),
        ("8:0", &[]),
        ("8", &[]),
        ("sda rbytes=1 wbytes=2 rios=3 wios=4\n", &[]),
        ("\u{ff}\0 :: x=y -1\n", &[]),
        ("8:0 ", &all[..]),
        ("", &all),
    ] {
        let sample = |config: &str| {
            let mut host = host(&[("system.slice/web.service", 1)]);
            host.file("/proc/diskstats", " 259 0 nvme0n1 5 0 40 1\n 8 0 sda 1\n").file(stat, format!("{DISK}{torn}"));
            let mut cgroup = start(host, config);
            let sample = cgroup.tick().expect("a sample");
            assert_eq!(cgroup.host().warnings().is_empty(), known == all, "{torn:?}: {:?}", cgroup.host().warnings());
            sample
        };
        let (summed, by_device) = (sample("{}"), sample(r#"{"io": "device"}"#));
        for metric in all {
            let key = format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\"}}");
            assert_eq!(summed.contains_key(&key), known.contains(&metric), "{torn:?}: {metric}");
            let key = format!("cgroup.{metric}{{cgroup=\"system.slice/web.service\",device=\"nvme0n1\"}}");
            assert!(by_device.contains_key(&key), "{torn:?}: {metric}");
        }
    }
}

/// A group that used more than the CPUs of its host have. Right: no share of the tick.
#[test]
fn more_than_all_cpus_is_no_percent() {
    let mut host = host(&[("a.service", 0)]);
    host.file("/proc/stat", "cpu 9 9 9\ncpu0 4 4 4\ncpu1 5 5 5\nbtime 7\n");
    let mut cgroup = start(host, "{}");
    cgroup.tick().expect("a sample");
    // Two CPUs have 20 s in a tick of 10 s, and a read may be late by another one.
    let percents = [40_000_000, 81_000_000].map(|usage| {
        add_group(cgroup.host(), "a.service", usage);
        cgroup.tick().expect("a sample").get(r#"cgroup.cpu_percent{cgroup="a.service"}"#).cloned()
    });
    assert_eq!(percents, [Some(Value::Number(400.0)), None]);
}

/// A host with many containers, each with an odd file. Right: one kind of report for all of them, since each kind is a line of the log.
#[test]
fn odd_files_of_many_groups_are_one_report() {
    let names: Vec<String> = (0..20).map(|at| format!("system.slice/docker-{at}.scope")).collect();
    let mut host = host(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
    for name in &names {
        host.file(&format!("/sys/fs/cgroup/{name}/memory.current"), "many\n");
        host.file_fails(&format!("/sys/fs/cgroup/{name}/memory.stat"), not_permitted());
    }
    let mut cgroup = start(host, "{}");
    assert_eq!(cgroup.tick().expect("a sample")["cgroup.groups"], 20);
    let messages = cgroup.host().messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().all(|message| message.contains("/sys/fs/cgroup/*/memory.")), "{messages:?}");
}

/// A mount of control groups that is gone for a moment. Right: an error that may pass, and the groups with their files.
#[test]
fn groups_missing_for_a_tick_come_back() {
    let whole = host(&[("a.service", 1)]);
    let mut cgroup = start(whole.clone(), "{}");
    cgroup.tick().expect("a sample");
    *cgroup.host() = Host::new();
    assert!(matches!(cgroup.tick_after(Duration::from_secs(60)), Err(Error::Unavailable(_))));
    *cgroup.host() = whole;
    assert_eq!(groups(&cgroup.tick().expect("a sample")), ["a.service"]);
}
