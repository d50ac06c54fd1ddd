//! The module `systemd`: units and their states, timers, sockets and services, as systemd itself reports them over the system
//! bus. Changes nothing: every call reads. Knows nothing of the use of processors and memory, which `cgroup` measures.

mod dbus;
mod system;
mod metrics;
mod property;
mod units;

use dbus::bus::{Bus, Failure};
use gauged_plugin::select::Selection;
use gauged_plugin::service::Deadline;
use gauged_plugin::skipped::Skip;
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about, net};
use metrics::METRICS;
use property::Properties;
use system::{Refusal, System};
use units::Units;

/// The end of the address of systemd's own socket, on which nobody has a name.
const PRIVATE: &str = "/systemd/private";

/// The units that are left out by default: what the kernel, and not an administrator, makes; as in `node_exporter`.
const DEFAULT_EXCLUDED: [&str; 5] = ["*.automount", "*.device", "*.mount", "*.scope", "*.slice"];

/// The most units that can be set: a list of as many is as long as a message may be.
const LARGEST_MAX_UNITS: usize = 50_000;

gauged_plugin::settings! {
    /// Units with metrics of their own, all if it is empty; `*` stands for any text. With a table `units` both of its defaults are gone.
    "units.include": "list of patterns" = "[]";
    /// Units without metrics of their own; it wins over `include`.
    "units.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDED);
    /// Whether restarts of services are measured (`service_restarts_total`): a call to systemd for each service.
    "restarts": "boolean" = "false";
    /// Whether the times at which units became active are measured (`unit_start_time_seconds`): a call to systemd for each active unit.
    "start_times": "boolean" = "false";
    /// Whether the tasks of services and their limits are measured (`unit_tasks_current`, `unit_tasks_max`): two calls for each service.
    "tasks": "boolean" = "false";
    /// The most units with metrics of their own, by name, from 1 to 50,000; with more than 2,000 the plugin needs higher `limits`, of nine
    /// metrics for each.
    "max_units": "integer" = "2000";
    /// The socket: that of the system bus, or for root systemd's own, `unix:/run/systemd/private`.
    // The bus listens there on every distribution; `/var/run` leads there.
    "address": "text" = "\"unix:/run/dbus/system_bus_socket\"";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    units: Selection,
    restarts: bool,
    start_times: bool,
    tasks: bool,
    max_units: usize,
    address: String,
}

struct Systemd {
    settings: Settings,
    /// The connection, which is kept from tick to tick.
    bus: Option<Bus>,
    properties: Properties,
}

/// What one tick has found.
struct Measured {
    system: System,
    units: Units,
}

impl Plugin for Systemd {
    const ABOUT: About = about!("States of systemd and its units, restarts of services, timers and sockets.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        if !(1..=LARGEST_MAX_UNITS).contains(&settings.max_units) {
            return Err(Error::invalid("max_units", format!("write a number from 1 to {LARGEST_MAX_UNITS}")));
        }
        if !settings.address.starts_with("unix:/") {
            return Err(Error::invalid("address", "write unix: and the path of a socket"));
        }
        Ok(Self { settings, bus: None, properties: Properties::default() })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::connect(&*self.settings.address, "ask systemd about its units")]
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let deadline = Deadline::new(tick);
        let measured = self.measure(tick, deadline)?;
        measured.system.set_metrics(sample);
        measured.units.set_metrics(sample);
        if measured.units.left_out > 0 {
            let why = format!(
                "{} more units are selected than the {} that are measured",
                measured.units.left_out, self.settings.max_units
            );
            let remedy = "select fewer by `units`, or raise `max_units` and the plugin's `limits`";
            Skip::malformed("systemd", "", why).with_remedy(remedy).report("the other units");
        }
        self.properties.keep(measured.units);
        Ok(())
    }
}

gauged_plugin::export!(Systemd);

impl Systemd {
    /// Whether the socket is that of a bus, on which clients have names.
    fn is_bus(&self) -> bool {
        !self.settings.address.ends_with(PRIVATE)
    }

    /// Asks over the kept connection. One that has failed since, as when the bus was started again, is replaced at once.
    fn measure(&mut self, tick: Tick, deadline: Deadline) -> Result<Measured, Error> {
        if let Some(bus) = self.bus.take() {
            match self.ask(bus, tick, deadline) {
                Err(Refusal::Bus(Failure::Connection(failure))) if failure.error != net::Error::Timeout => {}
                asked => return asked.map_err(|refusal| refusal.into_error(&self.settings.address)),
            }
        }
        self.properties.forget_absent();
        let asked = Bus::open(&self.settings.address, self.is_bus())
            .map_err(Refusal::Bus)
            .and_then(|bus| self.ask(bus, tick, deadline));
        asked.map_err(|refusal| refusal.into_error(&self.settings.address))
    }

    fn ask(&mut self, mut bus: Bus, tick: Tick, deadline: Deadline) -> Result<Measured, Refusal> {
        let Self { settings, properties, .. } = self;
        let (system, mut units) = system::ask(&mut bus, &settings.units, settings.max_units)?;
        match properties.ask(&mut bus, &mut units, settings, tick, deadline) {
            Ok(()) => {}
            // The states are known, and the connection is of no more use.
            Err(Failure::Connection(failure)) if failure.error == net::Error::Timeout => {
                property::report_late();
                return Ok(Measured { system, units });
            }
            Err(failure) => return Err(failure.into()),
        }
        // systemd sends signals to each client of its own socket, and would have to keep them until the next tick.
        if self.is_bus() {
            self.bus = Some(bus);
        }
        Ok(Measured { system, units })
    }
}

#[cfg(test)]
mod tests;
