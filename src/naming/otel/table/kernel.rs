//! CPUs, memory, paging and processes.

use super::super::super::row::{Others, Pairs, Row, Whole, amount, counter, gauge, missing};

/// The number of a CPU.
const NUMBER: Pairs = &[("cpu", "cpu.logical_number")];
const TIME: &str = "Time of the CPUs in this mode since boot.";
const SHARE: &str = "Share of the CPUs' time in this mode, over the tick.";
const INTERRUPT: &str = "without soft interrupts, as in the Collector";
const SOFTIRQ: &str = "soft interrupts: a value of the Collector's, beside the conventions'";
const OF_ALL: &str = "of all devices together, without `system.device`";
const OVERLAP: &str = "the states overlap: they do not add up to `system.memory.limit`";

const fn time(mode: Pairs, metric: &'static str) -> Row {
    counter("system.cpu.time", metric).labels(mode).rename(NUMBER).part("cpu", Whole::Redundant).ucum("s").help(TIME)
}

const fn utilization(mode: Pairs, metric: &'static str) -> Row {
    let row = gauge("system.cpu.utilization", metric).labels(mode).rename(NUMBER).part("cpu", Whole::Redundant);
    row.ucum("1").unit(100.0).help(SHARE)
}

const fn memory(state: Pairs, metric: &'static str) -> Row {
    amount("system.memory.usage", metric).labels(state).ucum("By")
}

const fn slab(state: Pairs, metric: &'static str) -> Row {
    amount("system.memory.linux.slab.usage", metric).labels(state).ucum("By")
}

pub(super) const ROWS: &[Row] = &[
    gauge("system.uptime", "uptime.seconds").ucum("s"),
    amount("system.cpu.physical.count", "cpu.count_physical").ucum("{cpu}"),
    amount("system.cpu.logical.count", "cpu.count_logical").ucum("{cpu}"),
    time(&[("cpu.mode", "user")], "cpu.user_seconds_total")
        .remark("guests included; their own time keeps gauged's name"),
    time(&[("cpu.mode", "nice")], "cpu.nice_seconds_total"),
    time(&[("cpu.mode", "system")], "cpu.system_seconds_total"),
    time(&[("cpu.mode", "idle")], "cpu.idle_seconds_total"),
    time(&[("cpu.mode", "iowait")], "cpu.iowait_seconds_total"),
    time(&[("cpu.mode", "interrupt")], "cpu.irq_seconds_total").remark(INTERRUPT),
    time(&[("cpu.mode", "softirq")], "cpu.softirq_seconds_total").remark(SOFTIRQ),
    time(&[("cpu.mode", "steal")], "cpu.steal_seconds_total"),
    utilization(&[("cpu.mode", "user")], "cpu.user"),
    utilization(&[("cpu.mode", "nice")], "cpu.nice"),
    utilization(&[("cpu.mode", "system")], "cpu.system"),
    utilization(&[("cpu.mode", "idle")], "cpu.idle"),
    utilization(&[("cpu.mode", "iowait")], "cpu.iowait"),
    utilization(&[("cpu.mode", "interrupt")], "cpu.irq").remark(INTERRUPT),
    utilization(&[("cpu.mode", "softirq")], "cpu.softirq").remark(SOFTIRQ),
    utilization(&[("cpu.mode", "steal")], "cpu.steal"),
    gauge("system.cpu.frequency", "cpu.freq_current")
        .ucum("Hz")
        .unit(1e-6)
        .help("Mean frequency of the online CPUs, read every 10 s.")
        .remark("the mean of all CPUs, without their number"),
    gauge("system.cpu.load_average.1m", "load.1min").ucum("{thread}").remark("the Collector's; there is no convention"),
    gauge("system.cpu.load_average.5m", "load.5min").ucum("{thread}").remark("as above"),
    gauge("system.cpu.load_average.15m", "load.15min").ucum("{thread}").remark("as above"),
    memory(&[("system.memory.state", "used")], "memory.used").remark(OVERLAP),
    memory(&[("system.memory.state", "free")], "memory.free").or(&["meminfo.MemFree_bytes"]),
    memory(&[("system.memory.state", "buffers")], "memory.buffers").or(&["meminfo.Buffers_bytes"]),
    memory(&[("system.memory.state", "cached")], "memory.cached")
        .remark("with reclaimable caches of the kernel, as in the Collector"),
    amount("system.memory.limit", "memory.total").or(&["meminfo.MemTotal_bytes"]).ucum("By"),
    gauge("system.memory.utilization", "memory.percent")
        .labels(&[("system.memory.state", "used")])
        .ucum("1")
        .unit(100.0)
        .help("Used memory, as a share of the total.")
        .remark("of the state `used` only"),
    amount("system.memory.linux.available", "memory.available")
        .or(&["meminfo.MemAvailable_bytes"])
        .ucum("By")
        .remark("estimated where the kernel does not report it, before Linux 3.14"),
    amount("system.memory.linux.shared", "memory.shared").or(&["meminfo.Shmem_bytes"]).ucum("By"),
    slab(&[("system.memory.linux.slab.state", "reclaimable")], "meminfo.SReclaimable_bytes"),
    slab(&[("system.memory.linux.slab.state", "unreclaimable")], "meminfo.SUnreclaim_bytes"),
    amount("system.memory.linux.hugepages.limit", "meminfo.HugePages_Total").ucum("{page}"),
    amount("system.memory.linux.hugepages.usage", "meminfo.HugePages_Free")
        .labels(&[("system.memory.linux.hugepages.state", "free")])
        .ucum("{page}")
        .remark("of the state `free` only; used ones are the limit less these"),
    amount("system.memory.linux.hugepages.reserved", "meminfo.HugePages_Rsvd").ucum("{page}"),
    amount("system.memory.linux.hugepages.surplus", "meminfo.HugePages_Surp").ucum("{page}"),
    amount("system.memory.linux.hugepages.page_size", "meminfo.Hugepagesize_bytes").ucum("By"),
    missing("system.memory.linux.hugepages.utilization", "the quotient of the usage and the limit"),
    amount("system.paging.usage", "swap.used").labels(&[("system.paging.state", "used")]).ucum("By").remark(OF_ALL),
    amount("system.paging.usage", "swap.free")
        .or(&["meminfo.SwapFree_bytes"])
        .labels(&[("system.paging.state", "free")])
        .ucum("By"),
    gauge("system.paging.utilization", "swap.percent")
        .labels(&[("system.paging.state", "used")])
        .ucum("1")
        .unit(100.0)
        .help("Swap space in use, as a share of the total; 0 without swap space.")
        .remark("of the state `used` only; of all devices together"),
    counter("system.paging.faults", "kernel.major_page_faults_total")
        .labels(&[("system.paging.fault.type", "major")])
        .ucum("{fault}")
        .remark("the others are `kernel.page_faults_total`, which has all, less these"),
    counter("system.paging.operations", "kernel.swapped_in_pages_total")
        .labels(&[("system.paging.direction", "in")])
        .ucum("{operation}")
        .remark("pages of swap, without `system.paging.fault.type`; `swap.sin` in bytes keeps gauged's name"),
    counter("system.paging.operations", "kernel.swapped_out_pages_total")
        .labels(&[("system.paging.direction", "out")])
        .ucum("{operation}")
        .remark("as above; `swap.sout` in bytes keeps gauged's name"),
    amount("system.process.count", "process.processes_in_state")
        .rename(&[("state", "process.state")])
        .translate("state", &[("zombie", "defunct")], Others::Same)
        .ucum("{process}")
        .remark("also `uninterruptible`, `traced`, `idle` and `other`, for which there is no convention"),
    counter("system.process.created", "kernel.forks_total")
        .ucum("{process}")
        .remark("threads are among them, as in the Collector"),
    amount("system.process.limit", "kernel.pid_max")
        .or(&["process.pids_max"])
        .ucum("{thread}")
        .remark("`kernel.threads_max` is another limit"),
];
