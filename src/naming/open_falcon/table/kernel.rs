//! CPUs, memory, limits, protocols, and what the agent's configuration asks for.

use super::super::super::row::{Row, counter, gauge, missing, similar};

const TICK: &str = "over the tick, where the agent has the last second of the step";
const AVAILABLE: &str = "by the kernel's estimate, as in agents since 2019; where there is none, before Linux 3.14, the agent adds free, buffers and cache";
const SEGMENT: &str = "by default those that mean loss or a limit; all with `more = [\"TcpExt_*\"]`";

/// A share of the CPUs' time. One of a single CPU keeps our name, which is the same.
const fn cpu(name: &'static str, metric: &'static str) -> Row {
    gauge(name, metric).remark(TICK)
}

pub(super) const ROWS: &[Row] = &[
    missing("agent.alive", "sent with every sample by a sink of kind `open_falcon`"),
    cpu("cpu.idle", "cpu.idle"),
    similar("cpu.busy", "cpu.percent", "without waiting for I/O; 100 less `cpu.idle` is the same"),
    cpu("cpu.user", "cpu.user"),
    cpu("cpu.nice", "cpu.nice"),
    cpu("cpu.system", "cpu.system"),
    cpu("cpu.iowait", "cpu.iowait"),
    cpu("cpu.irq", "cpu.irq"),
    cpu("cpu.softirq", "cpu.softirq"),
    cpu("cpu.steal", "cpu.steal"),
    cpu("cpu.guest", "cpu.guest"),
    counter("cpu.switches", "cpu.ctx_switches").or(&["kernel.context_switches_total"]),
    gauge("load.1min", "load.1min"),
    gauge("load.5min", "load.5min"),
    gauge("load.15min", "load.15min"),
    gauge("mem.memtotal", "memory.total").or(&["meminfo.MemTotal_bytes"]),
    gauge("mem.memused", "memory.used").remark(AVAILABLE),
    gauge("mem.memfree", "memory.available").or(&["meminfo.MemAvailable_bytes"]).remark("as above"),
    gauge("mem.memused.percent", "memory.percent").remark("as above"),
    missing("mem.memfree.percent", "100 less `memory.percent`"),
    gauge("mem.swaptotal", "swap.total").or(&["meminfo.SwapTotal_bytes"]),
    gauge("mem.swapused", "swap.used"),
    gauge("mem.swapfree", "swap.free").or(&["meminfo.SwapFree_bytes"]),
    gauge("mem.swapused.percent", "swap.percent"),
    missing("mem.swapfree.percent", "100 less `swap.percent`"),
    gauge("kernel.maxfiles", "kernel.files_max"),
    gauge("kernel.files.allocated", "kernel.files_allocated"),
    gauge("kernel.files.left", "kernel.files_left"),
    gauge("kernel.maxproc", "kernel.pid_max").or(&["process.pids_max"]),
    counter("TcpExt.*", "netstat.TcpExt_*_total").remark(SEGMENT),
    counter("snmp.Udp.*", "netstat.Udp_*_total"),
    gauge("ss.estab", "netstat.Tcp_CurrEstab"),
    gauge("ss.closed", "netstat.sockstat_TCP_closed"),
    gauge("ss.orphaned", "netstat.sockstat_TCP_orphan"),
    gauge("ss.timewait", "netstat.sockstat_TCP_tw"),
    missing(
        "ss.synrecv",
        "needs a list of all connections; `netstat.TcpExt_TCPReqQFullDrop_total` counts those dropped for lack of space",
    ),
    missing("ss.slabinfo.timewait", "readable by root only; `netstat.sockstat_TCP_tw` has the same"),
    gauge("net.port.listen", "ports.listening")
        .select(&[("protocol", "tcp")])
        .remark("of TCP only, where the agent looks for either"),
    gauge("net.port.listen", "ports.listening").remark("with the tag `protocol` for the others: `udp`, `tcp6`, `udp6`"),
    gauge("proc.num", "process.group_processes")
        .rename(&[("group", "name")])
        .remark("without zombies; also of groups by command line, which have the tag `cmdline` there"),
    missing("du.bs", "walks whole directory trees, without a bound on time; `filesystem` measures mounts"),
    gauge("url.check.health", "http_check.up")
        .rename(&[("target", "url")])
        .remark("without the tags `timeout` and `src`; up is what the target is configured to return"),
    missing("gpu.*", "needs the driver's library; a plugin cannot load it"),
];
