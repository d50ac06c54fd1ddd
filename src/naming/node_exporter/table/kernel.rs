//! CPUs, memory and the kernel's own counters.

use super::super::super::row::{Others, Pairs, Row, Whole, counter, gauge, missing, similar, untyped};

const CPU: &str = "Time of the CPU in this mode since boot.";
const GUEST: &str = "Time of the CPU in virtual machines since boot; it is part of the modes user and nice, too.";
const PER_CPU: &str = "per CPU; the series of all CPUs is left out";
const SOFTNET: &str = "per CPU, with `softnet_per_cpu`; otherwise it keeps gauged's name";

const fn cpu(mode: Pairs, metric: &'static str) -> Row {
    counter("node_cpu_seconds_total", metric).labels(mode).part("cpu", Whole::LeftOut).help(CPU)
}

const fn guest(mode: Pairs, metric: &'static str) -> Row {
    counter("node_cpu_guest_seconds_total", metric).labels(mode).part("cpu", Whole::LeftOut).help(GUEST)
}

/// A field of the memory that the agent measures itself, and the plugin `meminfo` as well.
const fn own(name: &'static str, metric: &'static str, alternatives: &'static [&'static str]) -> Row {
    gauge(name, metric).or(alternatives)
}

const fn softnet(row: Row) -> Row {
    row.part("cpu", Whole::OwnName).remark(SOFTNET)
}

pub(super) const ROWS: &[Row] = &[
    gauge("node_boot_time_seconds", "kernel.boot_time_seconds"),
    gauge("node_time_seconds", "agent.timestamp").remark("the time of the tick"),
    gauge("node_timex_sync_status", "kernel.clock_synchronised"),
    gauge("node_timex_offset_seconds", "kernel.clock_offset_seconds"),
    gauge("node_timex_frequency_adjustment_ratio", "kernel.clock_frequency_ratio"),
    gauge("node_timex_maxerror_seconds", "kernel.clock_maximum_error_seconds"),
    gauge("node_timex_estimated_error_seconds", "kernel.clock_estimated_error_seconds"),
    gauge("node_timex_status", "kernel.clock_status"),
    gauge("node_timex_loop_time_constant", "kernel.clock_time_constant"),
    gauge("node_timex_tick_seconds", "kernel.clock_tick_seconds"),
    gauge("node_timex_tai_offset_seconds", "kernel.clock_tai_offset_seconds"),
    missing("node_timex_pps_*", "not collected yet: signals of one pulse a second"),
    counter("node_context_switches_total", "cpu.ctx_switches").or(&["kernel.context_switches_total"]),
    counter("node_intr_total", "cpu.interrupts").or(&["kernel.interrupts_total"]),
    counter("node_forks_total", "kernel.forks_total"),
    gauge("node_procs_running", "kernel.threads_running"),
    gauge("node_procs_blocked", "kernel.threads_blocked"),
    counter("node_softirqs_total", "kernel.softirqs_by_vector_total").translate(
        "vector",
        // The kernel's name since 4.5.
        &[("irq_poll", "block_iopoll")],
        Others::Same,
    ),
    cpu(&[("mode", "user")], "cpu.user_seconds_total").remark(PER_CPU),
    cpu(&[("mode", "nice")], "cpu.nice_seconds_total"),
    cpu(&[("mode", "system")], "cpu.system_seconds_total"),
    cpu(&[("mode", "idle")], "cpu.idle_seconds_total"),
    cpu(&[("mode", "iowait")], "cpu.iowait_seconds_total"),
    cpu(&[("mode", "irq")], "cpu.irq_seconds_total"),
    cpu(&[("mode", "softirq")], "cpu.softirq_seconds_total"),
    cpu(&[("mode", "steal")], "cpu.steal_seconds_total"),
    guest(&[("mode", "user")], "cpu.guest_seconds_total").remark(PER_CPU),
    guest(&[("mode", "nice")], "cpu.guest_nice_seconds_total"),
    similar(
        "node_cpu_scaling_frequency_hertz",
        "cpu.freq_current",
        "in MHz, the mean of all CPUs; from `/proc/cpuinfo` where it has them",
    ),
    similar("node_cpu_scaling_frequency_min_hertz", "cpu.freq_min", "in MHz, the mean of all CPUs"),
    similar("node_cpu_scaling_frequency_max_hertz", "cpu.freq_max", "in MHz, the mean of all CPUs"),
    missing(
        "node_cpu_frequency_*",
        "the hardware's limits, which do not change; `cpu.freq_min` and `cpu.freq_max` are those in force",
    ),
    missing("node_cpu_core_throttles_total", "not collected yet; the files are open to every plugin"),
    missing("node_cpu_package_throttles_total", "not collected yet; the files are open to every plugin"),
    missing("node_cpu_*", "isolated CPUs and governors: settings"),
    gauge("node_load1", "load.1min"),
    gauge("node_load5", "load.5min"),
    gauge("node_load15", "load.15min"),
    own("node_memory_MemTotal_bytes", "memory.total", &["meminfo.MemTotal_bytes"]),
    own("node_memory_MemAvailable_bytes", "memory.available", &["meminfo.MemAvailable_bytes"])
        .remark("estimated where the kernel does not report it, before Linux 3.14"),
    own("node_memory_MemFree_bytes", "memory.free", &["meminfo.MemFree_bytes"]),
    own("node_memory_Active_bytes", "memory.active", &["meminfo.Active_bytes"]),
    own("node_memory_Inactive_bytes", "memory.inactive", &["meminfo.Inactive_bytes"]),
    own("node_memory_Buffers_bytes", "memory.buffers", &["meminfo.Buffers_bytes"]),
    gauge("node_memory_Cached_bytes", "meminfo.Cached_bytes")
        .remark("`memory.cached` includes reclaimable kernel caches (`SReclaimable`), and keeps gauged's name"),
    own("node_memory_Shmem_bytes", "memory.shared", &["meminfo.Shmem_bytes"]),
    own("node_memory_Slab_bytes", "memory.slab", &["meminfo.Slab_bytes"]),
    own("node_memory_SwapTotal_bytes", "swap.total", &["meminfo.SwapTotal_bytes"]),
    own("node_memory_SwapFree_bytes", "swap.free", &["meminfo.SwapFree_bytes"]),
    gauge("node_memory_*", "meminfo.*").remark("all fields, also those of newer kernels"),
    gauge("node_memory_numa_HugePages_*", "meminfo_numa.HugePages_*").remark("with `numa = true`"),
    gauge("node_memory_numa_*", "meminfo_numa.*_bytes").remark("with `numa = true`"),
    missing(
        "node_memory_numa_*_total",
        "not collected yet, and off by default there: `/sys/devices/system/node/*/numastat` is open to every plugin",
    ),
    untyped("node_vmstat_pgfault", "kernel.page_faults_total"),
    untyped("node_vmstat_pgmajfault", "kernel.major_page_faults_total"),
    untyped("node_vmstat_pgpgin", "kernel.paged_in_bytes_total").unit(1024.0).help("KiB read from disks into memory."),
    untyped("node_vmstat_pgpgout", "kernel.paged_out_bytes_total")
        .unit(1024.0)
        .help("KiB written from memory to disks."),
    untyped("node_vmstat_pswpin", "kernel.swapped_in_pages_total").remark("`swap.sin` in bytes keeps gauged's name"),
    untyped("node_vmstat_pswpout", "kernel.swapped_out_pages_total").remark("`swap.sout` in bytes keeps gauged's name"),
    counter("node_kernel_hung_tasks_total", "kernel.hung_tasks_total"),
    untyped("node_vmstat_oom_kill", "kernel.oom_kills_total"),
    missing(
        "node_vmstat_*",
        "not collected yet; node_exporter has them by request only; `/proc/vmstat` is open to every plugin",
    ),
    gauge("node_filefd_allocated", "kernel.files_allocated"),
    gauge("node_filefd_maximum", "kernel.files_max"),
    gauge("node_entropy_available_bits", "kernel.entropy_available_bits"),
    gauge("node_entropy_pool_size_bits", "kernel.entropy_pool_bits"),
    gauge("node_nf_conntrack_entries", "kernel.conntrack_entries"),
    gauge("node_nf_conntrack_entries_limit", "kernel.conntrack_max"),
    missing(
        "node_nf_conntrack_stat_*",
        "not collected yet; `kernel.conntrack_used_percent` rises before connections are dropped",
    ),
    softnet(counter("node_softnet_processed_total", "kernel.softnet_processed_total")),
    softnet(counter("node_softnet_dropped_total", "kernel.softnet_dropped_total")),
    softnet(counter("node_softnet_times_squeezed_total", "kernel.softnet_times_squeezed_total")),
    softnet(counter("node_softnet_received_rps_total", "kernel.softnet_received_rps_total")),
    softnet(counter("node_softnet_flow_limit_count_total", "kernel.softnet_flow_limit_total")),
    softnet(gauge("node_softnet_backlog_len", "kernel.softnet_backlog")),
    missing("node_softnet_*", "collisions, which drivers no longer count"),
    counter("node_pressure_cpu_waiting_seconds_total", "pressure.some_seconds_total").select(&[("resource", "cpu")]),
    counter("node_pressure_io_waiting_seconds_total", "pressure.some_seconds_total").select(&[("resource", "io")]),
    counter("node_pressure_io_stalled_seconds_total", "pressure.full_seconds_total").select(&[("resource", "io")]),
    counter("node_pressure_memory_waiting_seconds_total", "pressure.some_seconds_total")
        .select(&[("resource", "memory")]),
    counter("node_pressure_memory_stalled_seconds_total", "pressure.full_seconds_total")
        .select(&[("resource", "memory")]),
    counter("node_pressure_irq_stalled_seconds_total", "pressure.full_seconds_total").select(&[("resource", "irq")]),
];
