//! The metrics of the module `systemd`.

gauged_plugin::metrics! {
    module "systemd";
    /// Version of systemd.
    VERSION: gauge "version" in "1" by {"version": "Version as the distribution has it, such as `252.39-1~deb12u1`"};
    /// State of the system, as `systemctl is-system-running` has it: `running`, `degraded` if a unit has failed, `starting`, or another word.
    SYSTEM_STATE: gauge "system_state" in "1";
    /// Whether the system is up, and no unit has failed.
    SYSTEM_RUNNING: gauge "system_running" in "1";
    /// Always 1; the label has the virtualisation that the system runs under.
    VIRTUALIZATION: gauge "virtualization_info" in "1" by {"virtualization_type": "Kind of the virtual machine or container, such as `kvm`; `none` on hardware"};
    /// Units in this state, of all units that are loaded or referred to.
    UNITS: gauge "units" in "{unit}" by {"state": "`active`, `activating`, `deactivating`, `inactive`, `failed`, or another word"};
    /// Whether the unit is in this state: 1 for one of its series, and 0 for the others.
    UNIT_STATE: gauge "unit_state" in "1" by {
        "name": "Name of the unit",
        "state": "`active`, `activating`, `deactivating`, `inactive` or `failed`",
        "type": "Type of a service, such as `notify`, or of a mounted file system",
    };
    /// Time at which the unit became active, in seconds since the Unix epoch; 0 while it is not active.
    UNIT_START_TIME: gauge "unit_start_time_seconds" in "s" by {"name": "Name of the unit"};
    /// Processes and threads of the service.
    TASKS_CURRENT: gauge "unit_tasks_current" in "{task}" by {"name": "Name of the service"};
    /// Limit of the service's processes and threads; left out without a limit.
    TASKS_MAX: gauge "unit_tasks_max" in "{task}" by {"name": "Name of the service"};
    /// Restarts of the service by systemd, since it was started by somebody.
    RESTARTS: counter "service_restarts_total" in "{restart}" by {"name": "Name of the service"};
    /// Time at which the timer elapsed last, in seconds since the Unix epoch; 0 before the first time.
    LAST_TRIGGER: gauge "timer_last_trigger_seconds" in "s" by {"name": "Name of the timer"};
    /// Connections that the socket accepted.
    ACCEPTED: counter "socket_accepted_connections_total" in "{connection}" by {"name": "Name of the socket"};
    /// Connections of the socket that are open, if systemd starts a service for each.
    CONNECTIONS: gauge "socket_current_connections" in "{connection}" by {"name": "Name of the socket"};
    /// Connections that the socket refused, because too many were open.
    REFUSED: counter "socket_refused_connections_total" in "{connection}" by {"name": "Name of the socket"};
}
