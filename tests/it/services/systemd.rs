//! The plugin `systemd`: against Debian's `dbus-daemon` and beside Debian's `node_exporter`, with a service that answers as systemd
//! does; and against sockets that misbehave.

#[path = "../../../plugins/systemd/src/tests/message.rs"]
mod message;
mod peer;

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::message::{Body, ByteOrder, Listed, Message};
use self::peer::{Service, answer, listen};
use super::{Daemon, assert_well, host};
use crate::harness::{Agent, Sample, Setup};
use crate::node_exporter::exporter::{Exporter, Series};
use crate::node_exporter::named::ScrapedAgent;
use crate::requirement::{self, Program};

/// The table of the plugin for a socket.
fn table(socket: &Path, timeout: &str, settings: &str) -> String {
    let address = format!("unix:{}", socket.display());
    format!(
        "[plugins.systemd]\ntimeout = \"{timeout}\"\nconnect = [\"{address}\"]\nconfig = {{ address = \"{address}\"{settings} }}\n"
    )
}

fn state<'a>(sample: &'a Sample, name: &str, state: &str, kind: &str) -> Option<&'a Value> {
    let kind = if kind.is_empty() { String::new() } else { format!(",type=\"{kind}\"") };
    sample.get("systemd")?.get(&format!("unit_state{{name=\"{name}\",state=\"{state}\"{kind}}}"))
}

/// An agent with the plugin, and one beside it.
fn agent(socket: &Path, timeout: &str) -> (Setup, Agent) {
    let setup = host(&["systemd"], &table(socket, timeout, ""));
    let agent = setup.start(&[]);
    (setup, agent)
}

fn is_measured(sample: &Sample) -> bool {
    sample.get("systemd").is_some_and(|metrics| metrics.contains_key("system_running"))
}

#[test]
fn systemd_units_of_both_byte_orders_are_measured() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, order) in [("little", ByteOrder::Little), ("big", ByteOrder::Big)] {
        let socket = directory.path().join(name);
        listen(&socket, move |mut connection| {
            let _ = connection.authenticate().map(|()| connection.serve(order));
        });
        let (_setup, mut agent) = agent(&socket, "2s");
        let sample = agent.wait(is_measured);
        let metrics = &sample["systemd"];
        assert_eq!(state(&sample, "ssh.service", "active", "notify"), Some(&true.into()), "{metrics:?}");
        assert_eq!(state(&sample, "ssh.service", "failed", "notify"), Some(&false.into()));
        assert_eq!(state(&sample, "backup.timer", "active", ""), Some(&true.into()));
        assert_eq!(metrics[r#"timer_last_trigger_seconds{name="backup.timer"}"#].as_f64(), Some(1_790_000_000.123_457));
        assert_eq!(metrics[r#"socket_accepted_connections_total{name="ssh.socket"}"#], 4001);
        assert_eq!(metrics[r#"units{state="active"}"#], 6);
        assert_eq!((&metrics["system_state"], &metrics["system_running"]), (&"degraded".into(), &false.into()));
        assert!(
            !metrics.keys().any(|key| key.contains("gone.service") || key.contains("dev-vda.device")),
            "{metrics:?}"
        );
        assert_well(&mut agent, &["systemd"]);
    }
}

/// Ten thousand units, of which nearly all are excluded, in one message.
#[test]
fn long_lists_of_units_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    listen(&socket, |mut connection| {
        let names: Vec<String> = (0..10_000).map(|at| format!("run-{at:060}.mount")).collect();
        let mut units: Vec<Listed<'_>> = names.iter().map(|name| (&**name, "loaded", "active")).collect();
        units.push(("multi-user.target", "loaded", "active"));
        let list = Body::list(ByteOrder::Little, &units);
        let _ = connection.authenticate();
        while let Some(call) = connection.call() {
            let bytes = match &*call.member {
                "ListUnits" => Message::reply(ByteOrder::Little, call.serial, list.clone()).to_bytes(),
                _ => answer(ByteOrder::Little, &call),
            };
            connection.send(&bytes);
        }
    });
    let (_setup, mut agent) = agent(&socket, "5s");
    let sample = agent.wait(is_measured);
    assert_eq!(sample["systemd"][r#"units{state="active"}"#], 10_001);
    assert_eq!(state(&sample, "multi-user.target", "active", ""), Some(&true.into()));
    assert_well(&mut agent, &["systemd"]);
}

/// What a socket does with a client that it has let in.
type Misbehave = Box<dyn Fn(&mut peer::Connection) + Send + Sync>;

/// Each socket misbehaves until another one at its place answers as systemd does.
#[test]
fn misbehaving_bus_costs_nothing_but_its_metrics() {
    let directory = tempfile::tempdir().expect("a directory");
    let order = ByteOrder::Little;
    let half = Message::reply(order, 2, Body::list(order, &[("a.target", "loaded", "active")])).to_bytes();
    let half = half[..60].to_vec();
    let mut endless = Message::reply(order, 2, Body::text(order, "a")).to_bytes();
    endless[4..8].copy_from_slice(&(64_u32 << 20).to_le_bytes());
    let ways: [(&str, Misbehave, &str); 6] = [
        ("silence", Box::new(|connection| while connection.call().is_some() {}), "did not respond in time"),
        (
            "garbage",
            Box::new(|connection| {
                connection.call();
                connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }),
            "is no message of D-Bus: it does not begin as a message",
        ),
        (
            "a message of 64 MiB",
            Box::new(move |connection| {
                connection.call();
                connection.send(&endless);
            }),
            "is no message of D-Bus: it is longer than 16 MiB",
        ),
        (
            "the end within a message",
            Box::new(move |connection| {
                let hello = connection.call().expect("a call");
                connection.send(&answer(order, &hello));
                connection.call();
                connection.send(&half);
            }),
            " broke: it was closed",
        ),
        (
            "errors",
            Box::new(move |connection| {
                let hello = connection.call().expect("a call");
                connection.send(&answer(order, &hello));
                while let Some(call) = connection.call() {
                    let name = "org.freedesktop.DBus.Error.NameHasNoOwner";
                    connection.send(&Message::error(order, call.serial, name, "no such name").to_bytes());
                }
            }),
            "is org.freedesktop.systemd1: systemd is starting again, or does not run this host",
        ),
        ("an early end", Box::new(|_| {}), " broke: it was closed"),
    ];
    for (at, (way, misbehave, why)) in ways.into_iter().enumerate() {
        let socket = directory.path().join(at.to_string());
        listen(&socket, move |mut connection| {
            let _ = connection.authenticate().map(|()| misbehave(&mut connection));
        });
        let (_setup, mut agent) = agent(&socket, "400ms");
        agent.wait_log(why);
        assert!(!agent.log().contains("panicked"), "{way}: {}", agent.log());
        listen(&socket, move |mut connection| {
            let _ = connection.authenticate().map(|()| connection.serve(order));
        });
        agent.wait(is_measured);
        assert_well(&mut agent, &["systemd"]);
    }
}

#[test]
fn bus_that_is_not_there_is_awaited() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let (_setup, mut agent) = agent(&socket, "2s");
    agent.wait_log("the socket does not exist");
    // A socket of a bus that has ended.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    agent.wait_log("Connection refused");
    listen(&socket, |mut connection| {
        let _ = connection.authenticate().map(|()| connection.serve(ByteOrder::Little));
    });
    agent.wait(is_measured);
    assert_well(&mut agent, &["systemd"]);
}

/// A configuration for a bus at this path, which lets everybody do everything.
fn bus_configuration(directory: &Path, socket: &Path) -> PathBuf {
    let file = directory.join("bus.conf");
    let text = format!(
        "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
         <allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
         </policy></busconfig>",
        socket.display()
    );
    std::fs::write(&file, text).expect("written");
    file
}

/// Starts a bus, and waits until it accepts connections.
fn start_bus(program: &Program, configuration: &Path, socket: &Path) -> Daemon {
    let mut command = program.command();
    command.arg(format!("--config-file={}", configuration.display())).args(["--nofork", "--nopidfile"]);
    Daemon::start_until(command, || UnixStream::connect(socket).is_ok())
}

#[test]
fn systemd_series_equal_node_exporter_on_real_bus() {
    let Some(bus) = requirement::program("dbus-daemon") else { return };
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let _bus = start_bus(&bus, &bus_configuration(directory.path(), &socket), &socket);
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let _service = Service::start(&socket, order);
        let mut command = program.command();
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", socket.display()));
        let options = [
            "--collector.disable-defaults",
            "--collector.systemd",
            // Debian's leaves out targets as well.
            r"--collector.systemd.unit-exclude=.+\.(automount|device|mount|scope|slice)",
            "--collector.systemd.enable-restarts-metrics",
            "--collector.systemd.enable-start-time-metrics",
            "--collector.systemd.enable-task-metrics",
        ];
        let exporter = Exporter::start_command(command, Path::new("/"), &options);
        let settings = ", restarts = true, start_times = true, tasks = true";
        let mut scraped = ScrapedAgent::start(&table(&socket, "2s", settings), &["systemd"], &[]);
        let ours = loop {
            let sample = scraped.agent.wait(is_measured);
            if let Some(named) = scraped.scrape(&sample) {
                break named.scrape;
            }
        };
        let theirs = exporter.scrape();
        let is_about = |(name, _): &&Series| name.starts_with("node_systemd_");
        let keys: BTreeSet<&Series> = theirs.series.keys().chain(ours.series.keys()).filter(is_about).collect();
        let mut compared = 0;
        for key in keys {
            // Of a later version.
            if key.0 == "node_systemd_virtualization_info" && !theirs.types.contains_key(&key.0) {
                continue;
            }
            let [there, here] = [&theirs, &ours].map(|scrape| (scrape.series.get(key), scrape.types.get(&key.0)));
            assert_eq!(here, there, "{key:?}");
            compared += 1;
        }
        // 8 units of five states, 6 counts, and their properties.
        assert!(compared >= 40 + 6 + 20, "only {compared} series were compared");
    }
}

#[test]
fn restarted_bus_is_asked_again() {
    let Some(program) = requirement::program("dbus-daemon") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let configuration = bus_configuration(directory.path(), &socket);
    let bus = start_bus(&program, &configuration, &socket);
    let (_setup, mut agent) = agent(&socket, "2s");
    agent.wait_log("nobody on unix:");
    let service = Service::start(&socket, ByteOrder::Little);
    agent.wait(is_measured);

    // systemd is started again, and then the bus.
    drop(service);
    agent.wait(|sample| !sample.contains_key("systemd"));
    let service = Service::start(&socket, ByteOrder::Little);
    agent.wait(is_measured);
    drop(bus);
    agent.wait(|sample| !sample.contains_key("systemd"));
    drop(service);
    let _bus = start_bus(&program, &configuration, &socket);
    let _service = Service::start(&socket, ByteOrder::Little);
    agent.wait(is_measured);
    assert_well(&mut agent, &["systemd"]);
}
