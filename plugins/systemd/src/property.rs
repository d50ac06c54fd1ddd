//! Properties of units that systemd is asked for, one call each: the objects have hundreds, and systemd reads control groups for some.

use gauged_plugin::service::Deadline;
use gauged_plugin::skipped::Skip;
use gauged_plugin::{Descriptor, Sample, Tick};

use crate::Settings;
use crate::dbus::bus::{Bus, Failure};
use crate::dbus::message::{Call, ErrorReply};
use crate::dbus::reader::Value;
use crate::metrics::{
    ACCEPTED, CONNECTIONS, LAST_TRIGGER, REFUSED, RESTARTS, TASKS_CURRENT, TASKS_MAX, UNIT_START_TIME,
};
use crate::system::{ACCESS_DENIED, PROPERTIES, SYSTEMD};
use crate::units::{Unit, UnitType, Units};

/// A property, and the metric that it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Property {
    interface: &'static str,
    name: &'static str,
    /// None for the type of a unit, which is a label.
    metric: Option<Descriptor>,
    /// Whether it is a time in microseconds.
    is_time: bool,
}

const fn number(interface: &'static str, name: &'static str, metric: Descriptor) -> Property {
    Property { interface, name, metric: Some(metric), is_time: false }
}

const fn time(interface: &'static str, name: &'static str, metric: Descriptor) -> Property {
    Property { is_time: true, ..number(interface, name, metric) }
}

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const MOUNT: &str = "org.freedesktop.systemd1.Mount";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
const TIMER: &str = "org.freedesktop.systemd1.Timer";

static SERVICE_TYPE: Property = Property { interface: SERVICE, name: "Type", metric: None, is_time: false };
static MOUNT_TYPE: Property = Property { interface: MOUNT, name: "Type", metric: None, is_time: false };
/// Since systemd 235.
static SERVICE_RESTARTS: Property = number(SERVICE, "NRestarts", RESTARTS);
static START_TIME: Property = time(UNIT, "ActiveEnterTimestamp", UNIT_START_TIME);
static TASKS: [Property; 2] = [number(SERVICE, "TasksCurrent", TASKS_CURRENT), number(SERVICE, "TasksMax", TASKS_MAX)];
static TIMER_TRIGGER: Property = time(TIMER, "LastTriggerUSec", LAST_TRIGGER);
/// The last one since systemd 239.
static SOCKET_CONNECTIONS: [Property; 3] = [
    number(SOCKET, "NAccepted", ACCEPTED),
    number(SOCKET, "NConnections", CONNECTIONS),
    number(SOCKET, "NRefused", REFUSED),
];

/// The value of a number that systemd does not know, or that has no limit.
const UNKNOWN: u64 = u64::MAX;

/// The longest type of a unit.
const MAX_TYPE_BYTES: usize = 64;

/// The age from which on a type is asked for again: it changes with the file of its unit.
const TYPES_MAX_AGE_NS: u64 = 600_000_000_000;

/// The calls between two looks at the time.
const CALLS_AT_ONCE: usize = 256;

/// Errors for units that are gone since they were listed.
const GONE: [&str; 3] = [
    "org.freedesktop.systemd1.NoSuchUnit",
    "org.freedesktop.DBus.Error.UnknownObject",
    "org.freedesktop.DBus.Error.UnknownInterface",
];

const UNKNOWN_PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";

impl Property {
    #[allow(clippy::cast_precision_loss, reason = "exact for 285 years after 1970")]
    pub(crate) fn set_metric(&self, unit: &Unit, value: u64, sample: &mut Sample) {
        let Some(metric) = self.metric else { return };
        let labels = [("name", &*unit.name)];
        let mut row = sample.labelled(&labels);
        if self.is_time {
            row.set(metric, value as f64 / 1e6);
        } else {
            row.set(metric, value);
        }
    }
}

/// The properties that a unit is asked for.
fn wanted(unit: &Unit, settings: &Settings, now_ns: u64) -> Vec<&'static Property> {
    let mut wanted: Vec<&Property> = Vec::new();
    let is_service = unit.has_suffix(".service");
    let is_known = unit.kind.as_ref().is_some_and(|kind| now_ns.saturating_sub(kind.asked_ns) < TYPES_MAX_AGE_NS);
    if !is_known {
        wanted.extend(is_service.then_some(&SERVICE_TYPE));
        wanted.extend(unit.has_suffix(".mount").then_some(&MOUNT_TYPE));
    }
    if is_service {
        wanted.extend(settings.restarts.then_some(&SERVICE_RESTARTS));
        wanted.extend(TASKS.iter().filter(|_| settings.tasks));
    }
    wanted.extend((settings.start_times && unit.is_active()).then_some(&START_TIME));
    wanted.extend(unit.has_suffix(".timer").then_some(&TIMER_TRIGGER));
    wanted.extend(SOCKET_CONNECTIONS.iter().filter(|_| unit.has_suffix(".socket")));
    wanted
}

/// Reports that there was no time for all properties.
pub(crate) fn report_late() {
    let skip = Skip::malformed("systemd", "", "did not tell all properties of units in time");
    skip.with_remedy("raise `timeout`, or select fewer units by `units`").report("properties of units");
}

/// What is known of properties from tick to tick.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    /// The types of units, by name. One that is old holds until there is another.
    types: Vec<(String, UnitType)>,
    /// Those that this version of systemd does not have.
    absent: Vec<&'static str>,
}

impl Properties {
    /// Forgets what was absent: another version of systemd may be there.
    pub(crate) fn forget_absent(&mut self) {
        self.absent.clear();
    }

    /// Keeps the types of a tick's units for the next one.
    pub(crate) fn keep(&mut self, units: Units) {
        let types = units.selected.into_iter().filter_map(|unit| Some((unit.name, unit.kind?)));
        self.types = types.collect();
    }

    /// Asks for the properties of the selected units, as long as there is time.
    pub(crate) fn ask(
        &mut self,
        bus: &mut Bus,
        units: &mut Units,
        settings: &Settings,
        tick: Tick,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let mut asked: Vec<(usize, &'static Property)> = Vec::new();
        for (at, unit) in units.selected.iter_mut().enumerate() {
            let known = self.types.binary_search_by(|(name, _)| name.cmp(&unit.name));
            unit.kind = known.ok().and_then(|known| self.types.get(known)).map(|(_, kind)| kind.clone());
            asked.extend(wanted(unit, settings, tick.monotonic_ns).into_iter().map(|property| (at, property)));
            if settings.start_times && !unit.is_active() {
                unit.values.push((&START_TIME, 0));
            }
        }
        for (number, some) in asked.chunks(CALLS_AT_ONCE).enumerate() {
            if number > 0 && deadline.has_passed() {
                report_late();
                break;
            }
            self.ask_some(bus, units, some, tick)?;
        }
        Ok(())
    }

    fn ask_some(
        &mut self,
        bus: &mut Bus,
        units: &mut Units,
        asked: &[(usize, &'static Property)],
        tick: Tick,
    ) -> Result<(), Failure> {
        let is_there = |property: &Property| !self.absent.contains(&property.name);
        let asked: Vec<_> = asked.iter().copied().filter(|(_, property)| is_there(property)).collect();
        let paths: Vec<String> = asked.iter().map(|&(at, _)| units.selected[at].path.clone()).collect();
        let arguments: Vec<_> = asked.iter().map(|(_, property)| [property.interface, property.name]).collect();
        let call =
            |(path, arguments)| Call { destination: SYSTEMD, path, interface: PROPERTIES, member: "Get", arguments };
        let calls = paths.iter().map(|path| &**path).zip(arguments.iter().map(|pair| &pair[..]));
        let calls: Vec<Call<'_>> = calls.map(call).collect();
        bus.call_all(&calls, |number, reply| {
            let Some((unit, property)) = asked.get(number).map(|&(at, property)| (&mut units.selected[at], property))
            else {
                return Ok(());
            };
            match reply {
                Ok(body) => match body.reader("v")?.variant()? {
                    Value::Text(text) if property.metric.is_none() => {
                        let is_type = (1..=MAX_TYPE_BYTES).contains(&text.len());
                        let kind = || UnitType { name: text.to_owned(), asked_ns: tick.monotonic_ns };
                        unit.kind = is_type.then(kind);
                    }
                    Value::Unsigned(value) if property.metric.is_some() && value != UNKNOWN => {
                        unit.values.push((property, value));
                    }
                    _ => {}
                },
                Err(ErrorReply { name, .. }) if name == UNKNOWN_PROPERTY => {
                    if !self.absent.contains(&property.name) {
                        self.absent.push(property.name);
                    }
                }
                Err(ErrorReply { name, .. }) if GONE.contains(&&*name) => {}
                Err(ErrorReply { name, text }) => {
                    let skip = if name == ACCESS_DENIED {
                        Skip::not_permitted(
                            "systemd",
                            &text,
                            "permit it by the policy of the bus, or by the security module",
                        )
                    } else {
                        Skip::malformed("systemd", property.name, [&*name, ": ", &*text].concat())
                    };
                    skip.report(property.name);
                }
            }
            Ok(())
        })
    }
}
