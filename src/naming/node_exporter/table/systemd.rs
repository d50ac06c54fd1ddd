//! systemd and its units, of a collector that is off by default there.

use super::super::super::row::{Row, counter, gauge};

const PROPERTY: &str = "with the setting of the plugin; off by default there, too";

pub(super) const ROWS: &[Row] = &[
    gauge("node_systemd_unit_state", "systemd.unit_state")
        .remark("an empty label `type` is left out; the plugin needs a grant for the bus"),
    gauge("node_systemd_units", "systemd.units"),
    gauge("node_systemd_system_running", "systemd.system_running"),
    gauge("node_systemd_version", "systemd.version"),
    gauge("node_systemd_virtualization_info", "systemd.virtualization_info"),
    gauge("node_systemd_timer_last_trigger_seconds", "systemd.timer_last_trigger_seconds"),
    counter("node_systemd_socket_accepted_connections_total", "systemd.socket_accepted_connections_total"),
    gauge("node_systemd_socket_current_connections", "systemd.socket_current_connections"),
    gauge("node_systemd_socket_refused_connections_total", "systemd.socket_refused_connections_total"),
    counter("node_systemd_service_restart_total", "systemd.service_restarts_total").remark(PROPERTY),
    gauge("node_systemd_unit_start_time_seconds", "systemd.unit_start_time_seconds").remark(PROPERTY),
    gauge("node_systemd_unit_tasks_current", "systemd.unit_tasks_current").remark(PROPERTY),
    gauge("node_systemd_unit_tasks_max", "systemd.unit_tasks_max").remark(PROPERTY),
];
