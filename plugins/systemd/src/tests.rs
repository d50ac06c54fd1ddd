//! The plugin on scripted connections of a bus.

use gauged_plugin::testing::{Harness, Host, ScriptedConnection, assert_readme, assert_settings, expect};
use gauged_plugin::{Capability, OsError, PermissionError};

use self::message::{ByteOrder, Listed};
use self::peer::{answers, authenticated, error, get, list, number, question, signal, text};
use super::*;

mod failures;
mod message;
mod peer;
mod wire;

const LITTLE: ByteOrder = ByteOrder::Little;

/// The default of the setting `address`.
const ADDRESS: &str = "unix:/run/dbus/system_bus_socket";

const UNITS: [Listed<'_>; 7] = [
    ("ssh.service", "loaded", "active"),
    ("dev-vda.device", "loaded", "active"),
    ("old.service", "not-found", "inactive"),
    ("backup.timer", "loaded", "active"),
    ("ssh.socket", "loaded", "inactive"),
    ("backup.service", "loaded", "failed"),
    ("cron.service", "loaded", "reloading"),
];

fn start(connections: impl IntoIterator<Item = ScriptedConnection>, config: &str) -> Harness<Systemd> {
    let mut host = Host::new();
    for connection in connections {
        host.connection(ADDRESS, connection);
    }
    Harness::start(host, config).expect("the configuration is right")
}

/// The plugin with one unit, whose list is asked for as the only question, several times.
fn single_unit(times: u32) -> ScriptedConnection {
    let units = [("a.target", "loaded", "active")];
    (0..times).map(|tick| 2 + 4 * tick).fold(authenticated(), |connection, first| {
        connection.expects(question(first)).replies(answers(LITTLE, first, &units))
    })
}

#[test]
fn units_and_their_properties_are_measured() {
    for order in [LITTLE, ByteOrder::Big] {
        let asked = [
            get(6, "backup.service", "Service", "Type"),
            get(7, "backup.timer", "Timer", "LastTriggerUSec"),
            get(8, "cron.service", "Service", "Type"),
            get(9, "ssh.service", "Service", "Type"),
            get(10, "ssh.socket", "Socket", "NAccepted"),
            get(11, "ssh.socket", "Socket", "NConnections"),
            get(12, "ssh.socket", "Socket", "NRefused"),
        ];
        // In another order, with a signal between them.
        let told = [
            number(order, 12, "u", 3),
            text(order, 6, "oneshot"),
            number(order, 7, "t", 1_790_000_000_250_000),
            signal(),
            text(order, 8, "forking"),
            number(order, 10, "u", 4001),
            text(order, 9, "notify"),
            number(order, 11, "u", 2),
        ];
        let connection = authenticated().expects(question(2)).replies(answers(order, 2, &UNITS));
        let mut systemd = start([connection.expects(asked.concat()).replies(told.concat())], "{}");
        let sample = systemd.tick().expect("a sample").render();
        let is_zero = |line: &&str| !line.starts_with("systemd.unit_state") || line.ends_with(" true");
        let shown: Vec<&str> = sample.lines().filter(is_zero).collect();
        expect![[r#"
            systemd.socket_accepted_connections_total{name="ssh.socket"} 4001
            systemd.socket_current_connections{name="ssh.socket"} 2
            systemd.socket_refused_connections_total{name="ssh.socket"} 3
            systemd.system_running true
            systemd.system_state "running"
            systemd.timer_last_trigger_seconds{name="backup.timer"} 1790000000.25
            systemd.unit_state{name="backup.service",state="failed",type="oneshot"} true
            systemd.unit_state{name="backup.timer",state="active"} true
            systemd.unit_state{name="ssh.service",state="active",type="notify"} true
            systemd.unit_state{name="ssh.socket",state="inactive"} true
            systemd.units{state="activating"} 0
            systemd.units{state="active"} 3
            systemd.units{state="deactivating"} 0
            systemd.units{state="failed"} 1
            systemd.units{state="inactive"} 2
            systemd.units{state="reloading"} 1
            systemd.version{version="252.39-1~deb12u1"} 252.39
            systemd.virtualization_info{virtualization_type="kvm"} 1"#]]
        .assert_eq(&shown.join("\n"));
        // Five states of five units; that of `reloading` is none of them.
        assert_eq!(sample.lines().filter(|line| line.starts_with("systemd.unit_state{")).count(), 25);
        assert_eq!(systemd.host().warnings(), Vec::<&str>::new());
    }
}

#[test]
fn options_ask_for_more_properties() {
    let units = [("a.service", "loaded", "active"), ("b.service", "loaded", "inactive")];
    let asked = [
        get(6, "a.service", "Service", "Type"),
        get(7, "a.service", "Service", "NRestarts"),
        get(8, "a.service", "Service", "TasksCurrent"),
        get(9, "a.service", "Service", "TasksMax"),
        get(10, "a.service", "Unit", "ActiveEnterTimestamp"),
        get(11, "b.service", "Service", "Type"),
        get(12, "b.service", "Service", "NRestarts"),
        get(13, "b.service", "Service", "TasksCurrent"),
        get(14, "b.service", "Service", "TasksMax"),
    ];
    let told = [
        text(LITTLE, 6, "simple"),
        number(LITTLE, 7, "u", 5),
        number(LITTLE, 8, "t", 12),
        number(LITTLE, 9, "t", 4915),
        number(LITTLE, 10, "t", 1_789_999_999_500_000),
        text(LITTLE, 11, "simple"),
        number(LITTLE, 12, "u", 0),
        // A service that does not run has no control group, and one without a limit has none.
        number(LITTLE, 13, "t", u64::MAX),
        number(LITTLE, 14, "t", u64::MAX),
    ];
    let connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    let config = r#"{"restarts": true, "start_times": true, "tasks": true}"#;
    let mut systemd = start([connection.expects(asked.concat()).replies(told.concat())], config);
    let sample = systemd.tick().expect("a sample").render();
    let lines: Vec<&str> = sample.lines().filter(|line| line.contains("unit_") || line.contains("restarts")).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.contains("unit_state")).collect();
    expect![[r#"
        systemd.service_restarts_total{name="a.service"} 5
        systemd.service_restarts_total{name="b.service"} 0
        systemd.unit_start_time_seconds{name="a.service"} 1789999999.5
        systemd.unit_start_time_seconds{name="b.service"} 0
        systemd.unit_tasks_current{name="a.service"} 12
        systemd.unit_tasks_max{name="a.service"} 4915"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn patterns_select_loaded_units() {
    let names = |config: &str| {
        let units = [
            ("a.target", "loaded", "active"),
            ("b.path", "loaded", "active"),
            ("c.path", "masked", "inactive"),
            ("dev-x.swap", "loaded", "active"),
            ("d.slice", "loaded", "active"),
        ];
        let connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
        let sample = start([connection], config).tick().expect("a sample");
        let is_active = |key: &&String| key.contains("unit_state") && key.contains("\"active\"");
        let names = sample.keys().filter(is_active).filter_map(|key| Some(key.split('"').nth(1)?.to_owned()));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("{}"), "a.target b.path dev-x.swap");
    assert_eq!(names(r#"{"units": {}}"#), "a.target b.path d.slice dev-x.swap");
    assert_eq!(names(r#"{"units": {"include": ["*.path", "a*"], "exclude": ["b*"]}}"#), "a.target");
}

#[test]
fn connection_and_types_are_kept() {
    let units = [("a.service", "loaded", "active")];
    let mut connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    connection = connection.expects(get(6, "a.service", "Service", "Type")).replies(text(LITTLE, 6, "simple"));
    for first in [7, 11] {
        connection = connection.expects(question(first)).replies(answers(LITTLE, first, &units));
    }
    // Later the unit's file may be another one.
    connection = connection.expects(question(15)).replies(answers(LITTLE, 15, &units));
    connection = connection.expects(get(19, "a.service", "Service", "Type")).replies(text(LITTLE, 19, "exec"));
    let mut systemd = start([connection], "{}");
    let key = |kind: &str| format!(r#"systemd.unit_state{{name="a.service",state="active",type="{kind}"}}"#);
    for _ in 0..3 {
        assert_eq!(systemd.tick().expect("a sample")[&key("simple")], true);
    }
    let later = systemd.tick_after(std::time::Duration::from_secs(600)).expect("a sample");
    assert_eq!(later[&key("exec")], true);
}

/// A systemd that is too slow to tell a type again. Right: the series keeps the type that was known.
#[test]
fn old_type_holds_until_there_is_another() {
    let units = [("a.service", "loaded", "active")];
    let ask = |serial| get(serial, "a.service", "Service", "Type");
    let mut connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    connection = connection.expects(ask(6)).replies(text(LITTLE, 6, "simple"));
    connection = connection.expects(question(7)).replies(answers(LITTLE, 7, &units)).expects(ask(11));
    let next = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    let next = next.expects(ask(6)).replies(text(LITTLE, 6, "exec"));
    let mut systemd = start([connection, next], "{}");
    for kind in ["simple", "simple", "exec"] {
        let sample = systemd.tick_after(std::time::Duration::from_secs(600)).expect("a sample");
        let key = format!(r#"systemd.unit_state{{name="a.service",state="active",type="{kind}"}}"#);
        assert!(sample.contains_key(&*key), "{kind}: {sample:?}");
    }
    assert_eq!(systemd.host().warnings().len(), 1, "it was late once");
}

#[test]
fn units_beyond_the_limit_are_reported() {
    let units = [("c.target", "loaded", "active"), ("a.target", "loaded", "active"), ("b.target", "loaded", "failed")];
    let connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    let mut systemd = start([connection], r#"{"max_units": 2}"#);
    let sample = systemd.tick().expect("a sample");
    assert!(sample.keys().any(|key| key.contains("b.target")) && !sample.keys().any(|key| key.contains("c.target")));
    assert_eq!(sample[r#"systemd.units{state="active"}"#], 2);
    let why = "WARN without the other units: systemd is malformed: 1 more units are selected than the 2 that are measured; \
               select fewer by `units`, or raise `max_units` and the plugin's `limits`";
    assert_eq!(systemd.host().warnings(), [why]);
}

/// 10,000 units are listed, of which most are excluded: one reply of megabytes, in many parts.
#[test]
fn ten_thousand_units_are_listed() {
    let names: Vec<String> = (0..10_000).map(|at| format!("run-container-{at:032}.scope")).collect();
    let mut units: Vec<Listed<'_>> = names.iter().map(|name| (&**name, "loaded", "active")).collect();
    units.push(("a.target", "loaded", "failed"));
    let bytes = answers(LITTLE, 2, &units);
    assert!(bytes.len() > 2_000_000, "{}", bytes.len());
    let connection = bytes.chunks(10_007).fold(authenticated().expects(question(2)), ScriptedConnection::replies);
    let mut systemd = start([connection], "{}");
    let sample = systemd.tick().expect("a sample");
    assert!(systemd.plugin().bus.as_ref().is_some_and(|bus| bus.received_capacity() == 0), "the memory is free again");
    assert_eq!(
        (&sample[r#"systemd.units{state="active"}"#], &sample[r#"systemd.units{state="failed"}"#]),
        (&gauged_plugin::Value::Natural(10_000), &gauged_plugin::Value::Natural(1))
    );
    assert_eq!(sample.len(), 5 + 5 + 4);
}

/// More calls than may be under way at a time.
#[test]
fn properties_are_asked_in_a_window() {
    use crate::dbus::bus::WINDOW;
    let names: Vec<String> = (0..200).map(|at| format!("unit-{at:03}.timer")).collect();
    let units: Vec<Listed<'_>> = names.iter().map(|name| (&**name, "loaded", "active")).collect();
    let mut connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    let ask = |at: usize| get(6 + u32::try_from(at).expect("few"), &names[at], "Timer", "LastTriggerUSec");
    let tell = |at: usize| number(LITTLE, 6 + u32::try_from(at).expect("few"), "t", at as u64 * 1_000_000);
    let (mut sent, mut told) = (0, 0);
    while told < names.len() {
        let until = names.len().min(told + WINDOW);
        if sent < until {
            connection = connection.expects((sent..until).map(ask).collect::<Vec<_>>().concat());
            sent = until;
        }
        // The next ones are asked for when half of them are told.
        let some = if sent < names.len() { sent - WINDOW / 2 } else { names.len() };
        connection = connection.replies((told..some).map(tell).collect::<Vec<_>>().concat());
        told = some;
    }
    let sample = start([connection], "{}").tick().expect("a sample");
    assert_eq!(sample[r#"systemd.timer_last_trigger_seconds{name="unit-199.timer"}"#], 199.0);
}

#[test]
fn private_socket_is_asked_anew_at_each_tick() {
    let address = "unix:/run/systemd/private";
    let mut host = Host::new();
    for _ in 0..2 {
        let connection = ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n").replies("OK 0123\r\n");
        let connection = connection.expects("BEGIN\r\n").expects(question(1));
        host.connection(address, connection.replies(answers(LITTLE, 1, &[("a.target", "loaded", "active")])));
    }
    let mut systemd = Harness::<Systemd>::start(host, &format!(r#"{{"address": "{address}"}}"#)).expect("valid");
    for _ in 0..2 {
        assert_eq!(systemd.tick().expect("a sample").len(), 5 + 5 + 4);
    }
}

#[test]
fn invalid_settings_name_their_key() {
    for (config, key) in [
        (r#"{"max_units": 0}"#, "max_units"),
        (r#"{"max_units": 50001}"#, "max_units"),
        (r#"{"address": "localhost:1"}"#, "address"),
        (r#"{"unit": {}}"#, "unit"),
    ] {
        let Err(Error::InvalidConfig(errors)) = Harness::<Systemd>::start(Host::new(), config) else {
            panic!("{config} is valid");
        };
        assert_eq!(errors[0].key, key);
    }
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Systemd>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Systemd>("{}");
}
