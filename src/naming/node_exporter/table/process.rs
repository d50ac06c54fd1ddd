//! The system's identity, processes, files of other programs, and the agent itself where `node_exporter` reports on itself.

use super::super::super::row::{Others, Pairs, Row, counter, gauge};

/// The kernel's letters for the states of processes.
const STATES: Pairs = &[
    ("running", "R"),
    ("sleeping", "S"),
    ("uninterruptible", "D"),
    ("stopped", "T"),
    ("traced", "t"),
    ("zombie", "Z"),
    ("idle", "I"),
];
const PLUGIN: Pairs = &[("plugin", "collector")];
const OWN: &str = "of the agent's process";
const COLLECTORS: &str = "of native collectors, and of plugins under their names";

pub(super) const ROWS: &[Row] = &[
    gauge("node_uname_info", "host.uname_info"),
    gauge("node_os_info", "host.os_info").remark("empty labels are left out"),
    gauge("node_os_version", "host.os_version").remark("empty labels are left out"),
    gauge("node_processes_threads", "kernel.threads").or(&["process.threads"]),
    gauge("node_processes_max_threads", "kernel.threads_max").or(&["process.threads_max"]),
    gauge("node_processes_max_processes", "kernel.pid_max").or(&["process.pids_max"]),
    gauge("node_processes_pids", "process.processes"),
    gauge("node_processes_state", "process.processes_in_state")
        .translate("state", STATES, Others::Unknown)
        .remark("also states in which there is no process"),
    gauge("node_scrape_collector_success", "agent.collector_success")
        .remark("of native collectors; `gauged_agent_plugin_up` is that of plugins, and 0 also where nobody wants one"),
    gauge("node_scrape_collector_duration_seconds", "agent.collector_duration_seconds")
        .or(&["agent.plugin_duration_seconds"])
        .rename(PLUGIN)
        .help("How long the last call of the collector took.")
        .remark(COLLECTORS),
    gauge("node_textfile_mtime_seconds", "textfile.mtime_seconds"),
    gauge("node_textfile_scrape_error", "textfile.scrape_error")
        .remark("a line that is not understood costs itself, and not its file"),
    counter("process_cpu_seconds_total", "agent.cpu_seconds_total").remark(OWN),
    gauge("process_resident_memory_bytes", "agent.resident_memory_bytes").remark(OWN),
    gauge("process_open_fds", "agent.open_fds").remark(OWN),
    gauge("process_start_time_seconds", "agent.start_time_seconds").remark(OWN),
];
