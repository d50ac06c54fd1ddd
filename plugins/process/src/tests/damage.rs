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
