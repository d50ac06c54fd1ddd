//! The scan for sensors, fans, zones and cooling devices, with their names and limits. See the kernel's
//! `Documentation/hwmon/sysfs-interface.rst` and `Documentation/driver-api/thermal/sysfs-api.rst`.

use gauged_plugin::bounds::{Bound, CELSIUS_LIMIT, COOLING_LEVEL};
use gauged_plugin::kernel::File;
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{Descriptor, files};

use super::{
    CELSIUS, COOLING, COOLING_MAX, FAN, FAN_ALARM, FAN_RPM, SENSOR, SENSOR_ALARM, SENSOR_CRITICAL, SENSOR_MAX,
    Settings, Source, ZONE,
};

const HWMON: &str = "/sys/class/hwmon";
const THERMAL: &str = "/sys/class/thermal";

/// The kernel writes temperatures in thousandths of a degree.
const PER_DEGREE: f64 = 1000.0;

/// The names in the two directories.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listing {
    chips: Vec<String>,
    thermal: Vec<String>,
}

impl Listing {
    pub(crate) fn read(skipped: &mut Skipped) -> Self {
        let mut list = |path, lost| skipped.keep(files::list_if_exists(path), lost).flatten().unwrap_or_default();
        Self { chips: list(HWMON, "chips"), thermal: list(THERMAL, "zones and cooling devices") }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chips.is_empty() && self.thermal.is_empty()
    }

    /// The selected sources.
    pub(crate) fn sources(&self, settings: &Settings, skipped: &mut Skipped) -> Vec<Source> {
        let mut sources = Vec::new();
        for hwmon in &self.chips {
            if let Some(chip) = Chip::read(hwmon, skipped).filter(|chip| settings.chips.includes(&chip.name)) {
                chip.sources(&mut sources, skipped);
            }
        }
        for entry in &self.thermal {
            let directory = format!("{THERMAL}/{entry}");
            // Without a type it has a number still.
            let kind = read_text(&format!("{directory}/type"), skipped);
            let kind_label = kind.clone().map(|kind| ("type", kind));
            let kind = kind.unwrap_or_default();
            let labels = |name, number: &str| [(name, number.to_owned())].into_iter().chain(kind_label).collect();
            if let Some(zone) = entry.strip_prefix("thermal_zone")
                && settings.zones.includes(&kind)
            {
                let source = source(ZONE, format!("{directory}/temp"), labels("zone", zone));
                sources.push(Source { per_unit: PER_DEGREE, bound: &CELSIUS, ..source });
            } else if let Some(device) = entry.strip_prefix("cooling_device")
                && settings.cooling_devices.includes(&kind)
            {
                let most = read_number(&format!("{directory}/max_state"), 1.0, &COOLING_LEVEL, skipped);
                let limits = most.map(|most| (COOLING_MAX, most)).into_iter().collect();
                let source = source(COOLING, format!("{directory}/cur_state"), labels("device", device));
                sources.push(Source { limits, ..source });
            }
        }
        sources
    }
}

/// A chip with sensors.
struct Chip<'a> {
    /// `hwmon3`.
    hwmon: &'a str,
    directory: String,
    files: Vec<String>,
    name: String,
    /// The disk that the chip is part of.
    disk: Option<String>,
}

impl<'a> Chip<'a> {
    /// Reads a chip; `None` if it was removed meanwhile, or cannot be read.
    fn read(hwmon: &'a str, skipped: &mut Skipped) -> Option<Self> {
        let mut directory = format!("{HWMON}/{hwmon}");
        let mut files = skipped.keep(files::list_if_exists(&directory), format_args!("the sensors of {hwmon}"))??;
        let device = format!("{directory}/device");
        let has = |files: &[String], name: &str| files.iter().any(|file| file == name);
        let mut disk = None;
        if has(&files, "device") {
            let device_files = skipped.optional(files::list(&device), format_args!("the disk of {hwmon}"));
            let device_files = device_files.unwrap_or_default();
            disk = disk_of(&device, &device_files, skipped);
            // Until about Linux 3.13 the sensors were in the device's directory.
            if !has(&files, "name") && has(&device_files, "name") {
                (directory, files) = (device, device_files);
            }
        }
        let name = read_text(&format!("{directory}/name"), skipped).unwrap_or_else(|| hwmon.to_owned());
        Some(Self { hwmon, directory, files, name, disk })
    }

    fn sources(&self, sources: &mut Vec<Source>, skipped: &mut Skipped) {
        for file in &self.files {
            let Some(sensor) = file.strip_suffix("_input") else { continue };
            if is_numbered(sensor, "temp") {
                let limits = [(SENSOR_MAX, "max"), (SENSOR_CRITICAL, "crit")];
                let limits = limits.into_iter().filter_map(|(limit, attribute)| {
                    let path = self.attribute(sensor, attribute)?;
                    Some((limit, read_number(&path, PER_DEGREE, &CELSIUS_LIMIT, skipped)?))
                });
                let limits = limits.collect();
                let alarms = ["alarm", "max_alarm", "crit_alarm", "emergency_alarm"];
                let source = self.source([SENSOR, SENSOR_ALARM], sensor, &alarms, skipped);
                sources.push(Source { limits, per_unit: PER_DEGREE, bound: &CELSIUS, ..source });
            } else if is_numbered(sensor, "fan") {
                let source = self.source([FAN, FAN_ALARM], sensor, &["alarm", "min_alarm"], skipped);
                sources.push(Source { bound: &FAN_RPM, ..source });
            }
        }
    }

    /// A source of a metric and its alarm. `alarms` are the attributes that may have it.
    fn source(&self, [metric, alarm]: [Descriptor; 2], sensor: &str, alarms: &[&str], skipped: &mut Skipped) -> Source {
        let mut labels = vec![("chip", self.name.clone()), ("sensor", sensor.to_owned())];
        let label = self.attribute(sensor, "label").and_then(|path| read_text(&path, skipped));
        labels.extend(label.map(|label| ("label", label)));
        labels.extend(self.disk.clone().map(|disk| ("disk", disk)));
        labels.push(("hwmon", self.hwmon.to_owned()));
        let path = format!("{}/{sensor}_input", self.directory);
        let fault = self.attribute(sensor, "fault");
        let alarms: Vec<_> = alarms.iter().filter_map(|alarm| self.attribute(sensor, alarm)).collect();
        Source { fault, alarm: (!alarms.is_empty()).then_some(alarm), alarms, ..source(metric, path, labels) }
    }

    /// The path of a sensor's attribute, if it exists.
    fn attribute(&self, sensor: &str, attribute: &str) -> Option<String> {
        let file = format!("{sensor}_{attribute}");
        let exists = self.files.contains(&file);
        exists.then(|| format!("{}/{file}", self.directory))
    }
}

/// A source without limits and alarms.
fn source(metric: Descriptor, path: String, labels: Vec<(&'static str, String)>) -> Source {
    Source {
        metric,
        path,
        per_unit: 1.0,
        bound: &COOLING_LEVEL,
        labels,
        limits: Vec::new(),
        fault: None,
        alarm: None,
        alarms: Vec::new(),
    }
}

/// The disk of a device: a block device, or an NVM Express controller with namespaces such as `nvme0n1`, or `nvme0c0n1` if
/// several controllers share them.
fn disk_of(device: &str, names: &[String], skipped: &mut Skipped) -> Option<String> {
    if names.iter().any(|name| name == "block") {
        let listed = skipped.optional(files::list(&format!("{device}/block")), "the disk of a sensor")?;
        return listed.into_iter().next();
    }
    names.iter().find_map(|name| {
        let rest = name.strip_prefix("nvme")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let is_namespace = digits > 0 && matches!(rest.as_bytes().get(digits), Some(b'n' | b'c'));
        is_namespace.then(|| name[.."nvme".len() + digits].to_owned())
    })
}

/// Whether a name is `kind` and a number: `temp1`.
fn is_numbered(name: &str, kind: &str) -> bool {
    let number = name.strip_prefix(kind).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text of a file, if readable and not empty.
fn read_text(path: &str, skipped: &mut Skipped) -> Option<String> {
    let text = skipped.optional(files::read_text(path), "a name")?;
    let text = text.trim_ascii();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The number in a file in units of `per_unit`, if readable and possible.
fn read_number(path: &str, per_unit: f64, bound: &Bound, skipped: &mut Skipped) -> Option<f64> {
    let file = skipped.optional(File::read(path), "a limit")?;
    bound.check(file.number::<f64>().ok()? / per_unit)
}
