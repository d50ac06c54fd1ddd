//! Buses that are not there, do not respond, or say something else.

use gauged_plugin::testing::read_config;

use super::*;

fn unavailable(systemd: &mut Harness<Systemd>) -> String {
    match systemd.tick() {
        Err(Error::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn broken_connection_is_replaced_within_the_tick() {
    // Closed between ticks, reset at the next write, and closed in the middle of a message.
    let half = answers(LITTLE, 6, &[("a.target", "loaded", "active")]);
    for broken in [
        single_unit(1).expects(question(6)).closes(),
        single_unit(1).fails(net::Error::Reset(OsError::new("EPIPE", "Broken pipe"))),
        single_unit(1).expects(question(6)).replies(&half[..100]).closes(),
    ] {
        let mut systemd = start([broken, single_unit(2)], "{}");
        for _ in 0..3 {
            assert_eq!(systemd.tick().expect("a sample").len(), 14);
        }
        assert_eq!(systemd.host().messages(), Vec::<&str>::new());
    }
}

#[test]
fn bus_that_ends_for_good_is_unavailable() {
    let mut systemd = start([single_unit(1).closes()], "{}");
    systemd.tick().expect("a sample");
    assert!(unavailable(&mut systemd).contains("Connection refused"), "nobody listens");
    let closed = authenticated().expects(question(2)).closes();
    let why = "the connection to unix:/run/dbus/system_bus_socket broke: it was closed";
    assert_eq!(unavailable(&mut start([closed], "{}")), why);
}

#[test]
fn silent_bus_is_asked_again_on_another_connection() {
    // Silent at the authentication, in the middle of a line, at the first question, in the middle of a reply.
    let half = answers(LITTLE, 2, &[("a.target", "loaded", "active")]);
    for silent in [
        ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n"),
        ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n").replies("DA"),
        authenticated().expects(question(2)),
        authenticated().expects(question(2)).replies(&half[..50]),
    ] {
        let mut systemd = start([silent, single_unit(1)], "{}");
        assert_eq!(unavailable(&mut systemd), "unix:/run/dbus/system_bus_socket did not respond in time");
        assert_eq!(systemd.tick().expect("a sample").len(), 14);
    }
    // A second connection would have no time left.
    let mut systemd = start([single_unit(1).expects(question(6)), single_unit(1)], "{}");
    systemd.tick().expect("a sample");
    assert_eq!(unavailable(&mut systemd), "unix:/run/dbus/system_bus_socket did not respond in time");
    assert_eq!(systemd.tick().expect("a sample").len(), 14);
}

/// A systemd that is too slow to tell all properties within the call. Right: the states, and the types that it has told.
#[test]
fn silence_about_properties_leaves_the_states() {
    let units = [("a.service", "loaded", "active"), ("b.service", "loaded", "failed")];
    let asked = |first| [get(first, "a.service", "Service", "Type"), get(first + 1, "b.service", "Service", "Type")];
    let slow = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    let slow = slow.expects(asked(6).concat()).replies(text(LITTLE, 6, "simple"));
    let next = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    let next = next.expects(get(6, "b.service", "Service", "Type")).replies(text(LITTLE, 6, "exec"));
    let mut systemd = start([slow, next], "{}");
    let sample = systemd.tick().expect("the states");
    assert_eq!(sample[r#"systemd.unit_state{name="a.service",state="active",type="simple"}"#], true);
    assert_eq!(sample[r#"systemd.unit_state{name="b.service",state="failed"}"#], true);
    assert_eq!(systemd.host().warnings().len(), 1);
    let sample = systemd.tick().expect("a sample");
    assert_eq!(sample[r#"systemd.unit_state{name="a.service",state="active",type="simple"}"#], true);
    assert_eq!(sample[r#"systemd.unit_state{name="b.service",state="failed",type="exec"}"#], true);
}

#[test]
fn garbage_is_no_message() {
    let question_then = |bytes: Vec<u8>| authenticated().expects(question(2)).replies(bytes);
    let mut long = answers(LITTLE, 2, &[]);
    long[7] = 0x7f;
    let of_other_types = [text(LITTLE, 2, "a list"), answers(LITTLE, 2, &[])].concat();
    let many_signals = vec![signal(); 10_001].concat();
    for (connection, why) in [
        (question_then(b"HTTP/1.1 400 Bad Request\r\n".to_vec()), "it does not begin as a message"),
        (question_then(long), "it is longer than 16 MiB"),
        (question_then(of_other_types), "it has values of other types"),
        (question_then(text(LITTLE, 1, "late")), "it is a reply to no call"),
        (question_then([list(LITTLE, 2, &[]), list(LITTLE, 2, &[])].concat()), "it is a reply to no call"),
        (question_then(text(LITTLE, 99, "early")), "it is a reply to no call"),
        (question_then(many_signals), "it is one of too many signals"),
        (
            ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n").replies("220 mail ready\r\n"),
            "it does not authenticate as a bus does",
        ),
    ] {
        let mut systemd = start([connection, single_unit(1)], "{}");
        let expected = format!("what unix:/run/dbus/system_bus_socket sent is no message of D-Bus: {why}");
        assert_eq!(unavailable(&mut systemd), expected);
        assert_eq!(systemd.tick().expect("a sample").len(), 14, "over another connection");
    }
    let endless = ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n").replies(vec![b'x'; 5000]);
    assert!(unavailable(&mut start([endless], "{}")).contains("sent more than 4096 bytes"));
}

#[test]
fn host_without_systemd_is_unavailable() {
    for name in ["org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.ServiceUnknown"] {
        let errors: Vec<Vec<u8>> = (2..6).map(|serial| error(serial, name, "no such name")).collect();
        let connection = authenticated().expects(question(2)).replies(errors.concat());
        let why = "nobody on unix:/run/dbus/system_bus_socket is org.freedesktop.systemd1: systemd is starting again, or does not \
                   run this host";
        assert_eq!(unavailable(&mut start([connection], "{}")), why);
    }
    let mut host = Host::new();
    host.connection_fails(ADDRESS, net::Error::NotFound);
    let mut systemd = Harness::<Systemd>::start(host, "{}").expect("valid");
    let why = "failed to reach unix:/run/dbus/system_bus_socket: the socket does not exist";
    assert_eq!(unavailable(&mut systemd), why);
}

#[test]
fn errors_of_the_bus_name_their_cause() {
    let errors = |name: &'static str| {
        let errors: Vec<Vec<u8>> = (2..6).map(|serial| error(serial, name, "for a reason")).collect();
        start([authenticated().expects(question(2)).replies(errors.concat())], "{}").tick()
    };
    assert_eq!(
        errors("org.freedesktop.DBus.Error.AccessDenied"),
        Err(Error::Failed("the bus does not permit the agent's user to list units: for a reason".to_owned()))
    );
    let why = "systemd did not list its units: org.freedesktop.DBus.Error.LimitsExceeded: for a reason";
    assert_eq!(errors("org.freedesktop.DBus.Error.LimitsExceeded"), Err(Error::Unavailable(why.to_owned())));

    let rejected = ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n").replies("REJECTED ANONYMOUS\r\n");
    let why = "unix:/run/dbus/system_bus_socket does not accept the agent's user; run the agent as another one";
    assert_eq!(start([rejected], "{}").tick(), Err(Error::Failed(why.to_owned())));

    let authenticated =
        ScriptedConnection::new().expects("\0AUTH EXTERNAL\r\n").replies("OK 01\r\n").expects("BEGIN\r\n");
    let hello = crate::dbus::message::Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
        arguments: &[],
    };
    let full = error(1, "org.freedesktop.DBus.Error.LimitsExceeded", "too many clients");
    let refused = authenticated.expects(hello.encode(1, crate::dbus::ByteOrder::Little)).replies(full);
    let why = "unix:/run/dbus/system_bus_socket does not let the agent in: org.freedesktop.DBus.Error.LimitsExceeded: too many clients";
    assert_eq!(unavailable(&mut start([refused], "{}")), why);
}

#[test]
fn missing_grant_and_refused_socket_need_somebody() {
    let mut host = Host::new();
    host.deny(&Capability::connect(ADDRESS));
    let denied = Harness::<Systemd>::start(host, "{}").expect("valid").tick();
    assert_eq!(denied, Err(Error::Denied(Need::connect(ADDRESS, "ask systemd about its units"))));
    let mut host = Host::new();
    let permission = PermissionError::new("EACCES", "Permission denied", "run the agent as root");
    host.connection_fails(ADDRESS, net::Error::NotPermitted(permission));
    let Err(Error::Failed(why)) = Harness::<Systemd>::start(host, "{}").expect("valid").tick() else { panic!() };
    assert!(why.contains("failed to reach unix:/run/dbus/system_bus_socket: Permission denied"), "{why}");
}

/// A unit that is gone, a property that an old systemd does not have, and one that the bus refuses.
#[test]
fn refused_properties_cost_only_themselves() {
    let units = [("a.service", "loaded", "active"), ("b.socket", "loaded", "active"), ("c.timer", "loaded", "active")];
    let unknown = "org.freedesktop.DBus.Error.UnknownProperty";
    let questions = |first: u32| {
        [
            get(first, "a.service", "Service", "Type"),
            get(first + 1, "b.socket", "Socket", "NAccepted"),
            get(first + 2, "b.socket", "Socket", "NConnections"),
        ]
        .concat()
    };
    let told = [
        error(6, "org.freedesktop.systemd1.NoSuchUnit", "it is gone"),
        number(LITTLE, 7, "u", 9),
        error(8, "org.freedesktop.DBus.Error.AccessDenied", "not you"),
        error(9, unknown, "NRefused"),
        number(LITTLE, 10, "s", 0),
    ];
    let mut malformed = told.to_vec();
    // A time that is a text.
    malformed[4] = text(LITTLE, 10, "yesterday");
    let connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    let connection = connection
        .expects(
            [questions(6), get(9, "b.socket", "Socket", "NRefused"), get(10, "c.timer", "Timer", "LastTriggerUSec")]
                .concat(),
        )
        .replies(malformed.concat());
    // The property that is unknown is not asked for again.
    let connection = connection.expects(question(11)).replies(answers(LITTLE, 11, &units));
    let connection =
        connection.expects([questions(15), get(18, "c.timer", "Timer", "LastTriggerUSec")].concat()).replies(
            [
                text(LITTLE, 15, "simple"),
                number(LITTLE, 16, "u", 9),
                number(LITTLE, 17, "u", 1),
                number(LITTLE, 18, "t", 5_000_000),
            ]
            .concat(),
        );
    let mut systemd = start([connection], "{}");
    let sample = systemd.tick().expect("a sample");
    assert_eq!(sample[r#"systemd.unit_state{name="a.service",state="active"}"#], true);
    assert_eq!(sample[r#"systemd.socket_accepted_connections_total{name="b.socket"}"#], 9);
    assert!(
        !sample.keys().any(|key| key.contains("current_conn") || key.contains("refused") || key.contains("timer_last"))
    );
    let why = "WARN without NConnections: systemd is not permitted: not you; permit it by the policy of the bus, or by the \
               security module";
    assert_eq!(systemd.host().warnings(), [why]);
    let sample = systemd.tick().expect("a sample");
    assert_eq!(sample[r#"systemd.socket_current_connections{name="b.socket"}"#], 1);
    assert_eq!(sample[r#"systemd.timer_last_trigger_seconds{name="c.timer"}"#], 5.0);
    assert_eq!(sample[r#"systemd.unit_state{name="a.service",state="active",type="simple"}"#], true);
}

/// Times that run short leave out properties, not units.
#[test]
fn properties_are_left_out_when_time_is_short() {
    let names: Vec<String> = (0..300).map(|at| format!("unit-{at:03}.timer")).collect();
    let units: Vec<Listed<'_>> = names.iter().map(|name| (&**name, "loaded", "active")).collect();
    let ask = |at: usize| get(6 + u32::try_from(at).expect("few"), &names[at], "Timer", "LastTriggerUSec");
    let tell = |at: usize| number(LITTLE, 6 + u32::try_from(at).expect("few"), "t", 7_000_000);
    let mut connection = authenticated().expects(question(2)).replies(answers(LITTLE, 2, &units));
    // Windows of 64, each of which begins when half of the one before is told.
    for at in (0..256).step_by(32) {
        let (from, until) = if at == 0 { (0, 64) } else { (at + 32, (at + 64).min(256)) };
        if from < until {
            connection = connection.expects((from..until).map(ask).collect::<Vec<_>>().concat());
        }
        connection = connection.replies((at..at + 32).map(tell).collect::<Vec<_>>().concat());
    }
    let mut host = Host::new();
    host.file("/proc/uptime", "100.00 1.00\n").connection(ADDRESS, connection);
    let tick = Tick { unix_ms: 0, monotonic_ns: 1_000_000_000, budget_ms: 1000, interval_ms: 10_000 };
    let deadline = host.run(|| Deadline::new(tick));
    host.file("/proc/uptime", "101.00 1.00\n");
    let measured = host.run(|| {
        let mut systemd = read_config::<Systemd>("{}").and_then(Systemd::configure).expect("the defaults are valid");
        systemd.measure(tick, deadline).expect("a sample")
    });
    let with_values = measured.units.selected.iter().filter(|unit| !unit.values.is_empty()).count();
    assert_eq!((measured.units.selected.len(), with_values), (300, 256));
    let why = "WARN without properties of units: systemd is malformed: did not tell all properties of units in time; raise \
               `timeout`, or select fewer units by `units`";
    assert_eq!(host.warnings(), [why]);
}
