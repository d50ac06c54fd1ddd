//! Collectors without any counterpart.

use super::super::super::row::{Row, missing};

pub(super) const ROWS: &[Row] = &[
    missing("node_interrupts_total", "not collected yet, and off by default there; `cpu.interrupts` has their sum"),
    missing("node_processes_*", "not collected yet, and off by default there: states of threads"),
    missing("node_time_*", "clock sources and time zones, which do not change"),
    missing("node_os_*", "not collected yet: when the support of the system ends"),
    missing("node_dmi_info", "not collected yet: names and versions; `/sys/class/dmi/id/` is open to every plugin"),
    missing("node_selinux_*", "not collected yet: a setting; `/sys/fs/selinux/enforce` is open to every plugin"),
    missing(
        "node_schedstat_*",
        "not collected yet; `/proc/schedstat` is open to every plugin, and `pressure.some_seconds_total` is the time in which tasks wait for CPUs",
    ),
    missing("node_md_*", "not collected yet: software RAID; `/proc/mdstat` is open to every plugin"),
    missing("node_nfs_*", "not collected yet; `/proc/1/net/rpc/nfs` is open to every plugin"),
    missing("node_nfsd_*", "not collected yet; `/proc/1/net/rpc/nfsd` is open to every plugin"),
    missing("node_power_supply_*", "not collected yet: batteries; most of their files are open to every plugin"),
    missing("node_edac_*", "not collected yet: memory errors; `/sys/devices/system/edac/` is open to every plugin"),
    missing(
        "node_bonding_*",
        "not collected yet; `/sys/class/net/*/bonding/` is open to every plugin, and `network.carrier` has each part of a bond",
    ),
    missing("node_ipvs_*", "not collected yet: load balancing; `/proc/1/net/ip_vs_stats` is open to every plugin"),
    missing(
        "node_xfs_*",
        "not collected yet: work inside of the file system; `/proc/fs/xfs/` and `/sys/fs/xfs/` are open to every plugin",
    ),
    missing("node_bcache_*", "as above, in `/sys/fs/bcache/`"),
    missing("node_bcachefs_*", "not collected yet: work inside of the file system"),
    missing("node_btrfs_*", "as above, in `/sys/fs/btrfs/`"),
    missing("node_zfs_*", "as above, in `/proc/spl/kstat/zfs/`"),
    missing(
        "node_nvme_info",
        "not collected yet: names and versions; most of them are open to every plugin in `/sys/class/nvme/`",
    ),
    missing("node_rapl_*", "readable by root only"),
    missing("node_infiniband_*", "not collected yet; `/sys/class/infiniband/` is open to every plugin"),
    missing("node_fibrechannel_*", "not collected yet; `/sys/class/fc_host/*/statistics/` is open to every plugin"),
    missing("node_tape_*", "not collected yet; `/sys/class/scsi_tape/*/stats/` is open to every plugin"),
    missing(
        "node_watchdog_*",
        "not collected yet: settings of watchdogs; `/sys/class/watchdog/` is open to every plugin",
    ),
    missing("node_exporter_*", "node_exporter's own version; `agent.build_info` has the agent's"),
    missing("go_*", "node_exporter's own; gauged is not written in Go"),
    missing("process_*", "not collected yet: further metrics of the agent's own process"),
    missing("promhttp_*", "node_exporter's own: its HTTP server"),
];
