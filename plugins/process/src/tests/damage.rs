//! Damaged files: each costs the metrics that it gives, and no other.

use gauged_plugin::testing::assert_damage_is_contained;

use super::*;

#[test]
fn damaged_file_costs_only_its_metrics() {
    for config in ["{}", WEB] {
        assert_damage_is_contained::<Process>(&Host::from_fixture("fixtures/web-1"), config, |path| {
            match path.rsplit('/').next().unwrap_or_default() {
                "loadavg" => &["threads", "threads_runnable"],
                "threads-max" => &["threads_max"],
                "pid_max" => &["pids_max"],
                "status" => &["group_resident_bytes{*", "group_swapped_bytes{*"],
                // A process that cannot be identified may be in any group.
                "cmdline" => &["group_*"],
                "stat" if path == "/proc/stat" => &["group_start_time_seconds{*"],
                "stat" => &["processes", "processes_in_state{*", "group_*"],
                _ => &[],
            }
        });
    }
}

#[test]
fn unreadable_tick_counts_no_cpu_time_twice() {
    for (garbled, has_group) in
        [("torn", false), ("10 (a) S 1 1 1 0 -1 4194560 0 0 0 0 x 0 0 0 20 0 2 0 70 4096 1 0\n", true)]
    {
        let mut plugin = start(small(10, "a", 5000, 70), r#"{"groups": {"a": {"name": "a"}}}"#);
        assert_eq!(*cpu(&plugin.tick().expect("a sample")), 50.0);
        plugin.host().file("/proc/10/stat", garbled);
        let sample = plugin.tick().expect("a sample");
        assert_eq!(sample.contains_key(r#"process.group_processes{group="a"}"#), has_group, "{garbled}");
        assert!(!sample.contains_key(r#"process.group_cpu_seconds_total{group="a"}"#), "{garbled}");
        let percent = |sample: &SampleMap| sample.get(r#"process.group_cpu_percent{group="a"}"#).cloned();
        add_process(plugin.host(), 10, "a", 5200, 70);
        let sample = plugin.tick().expect("a sample");
        assert_eq!((cpu(&sample), percent(&sample)), (&Value::Number(52.0), None), "{garbled}");
        add_process(plugin.host(), 10, "a", 5300, 70);
        assert_eq!(percent(&plugin.tick().expect("a sample")), Some(Value::Number(10.0)), "{garbled}");
    }
}

#[test]
fn impossible_cpu_time_is_left_out() {
    let mut host = small(10, "a", 500, 70);
    host.file("/proc/stat", "cpu 9\ncpu0 4\ncpu1 5\nbtime 1000\n");
    let mut plugin = start(host, r#"{"groups": {"a": {"name": "a"}}}"#);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 5.0);
    // Two CPUs have 20 s in a tick; a read may be late by another tick.
    add_process(plugin.host(), 10, "a", 500 + 5000, 70);
    assert!(!plugin.tick().expect("a sample").keys().any(|key| key.contains("group_cpu")));
    add_process(plugin.host(), 10, "a", 600, 70);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 6.0);
    // A process that is new, with more than there was since the boot.
    add_process(plugin.host(), 11, "a", u64::MAX >> 2, 70);
    assert!(!plugin.tick().expect("a sample").keys().any(|key| key.contains("group_cpu")));
    add_process(plugin.host(), 11, "a", 100, 70);
    assert_eq!(*cpu(&plugin.tick().expect("a sample")), 7.0);
}

#[test]
fn impossible_figures_of_groups_are_left_out() {
    let mut host = small(10, "a", 0, 70);
    host.file("/proc/10/status", "VmRSS:\t 18014398509481983 kB\nVmSwap:\t x kB\n");
    // It starts in the year 5138.
    add_process(&mut host, 11, "b", 0, 10_000_000_000_000);
    let mut plugin = start(host, r#"{"groups": {"a": {"name": "a"}, "b": {"name": "b"}}}"#);
    let sample = plugin.tick().expect("a sample");
    let has = |metric: &str, group: &str| sample.contains_key(&format!("process.{metric}{{group=\"{group}\"}}"));
    assert!(!has("group_resident_bytes", "a") && !has("group_swapped_bytes", "a") && has("group_virtual_bytes", "a"));
    assert!(!has("group_start_time_seconds", "b") && has("group_start_time_seconds", "a"));
    let warnings: Vec<String> = plugin.host().warnings().iter().map(|&warning| warning.to_owned()).collect();
    let reported = |lost: &str, word: &str| {
        let lost = format!("WARN without {lost} of groups: /proc/*/status");
        warnings.iter().any(|warning| warning.starts_with(&lost) && warning.contains(word))
    };
    plugin.host().file("/proc/11/stat", stat(11, "b", 0, 70).replace(" 0 20 0 2 ", " 0 20 0 -2 "));
    plugin.tick().expect("a sample");
    let why = "WARN without threads of groups: /proc/*/stat is malformed: /proc/11/stat has no number";
    assert!(plugin.host().warnings().iter().any(|warning| warning.starts_with(why)), "{:?}", plugin.host().warnings());
    assert!(reported("resident memory", "18446744073709550592 is impossible"));
    assert!(reported("swapped memory", "x is not a number"));
}
