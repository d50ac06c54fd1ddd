//! Which sensors, fans, zones and cooling devices there are, what they are called, and their limits. The names of the files
//! are in the kernel's `Documentation/hwmon/sysfs-interface.rst` and `Documentation/driver-api/thermal/sysfs-api.rst`.

use gauged_plugin::kernel::File;
use gauged_plugin::{Descriptor, Error, files};

use super::{
    COOLING, COOLING_MAX, FAN, FAN_ALARM, SENSOR, SENSOR_ALARM, SENSOR_CRITICAL, SENSOR_MAX, Settings, Source, ZONE,
};

const HWMON: &str = "/sys/class/hwmon";
const THERMAL: &str = "/sys/class/thermal";

/// The kernel writes temperatures in thousandths of a degree.
const PER_DEGREE: f64 = 1000.0;

/// What is in the two directories.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listing {
    chips: Vec<String>,
    thermal: Vec<String>,
}

impl Listing {
    pub(crate) fn read() -> Result<Self, Error> {
        let chips = files::list_if_there(HWMON)?.unwrap_or_default();
        Ok(Self { chips, thermal: files::list_if_there(THERMAL)?.unwrap_or_default() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chips.is_empty() && self.thermal.is_empty()
    }

    /// All that is to be measured.
    pub(crate) fn sources(&self, settings: &Settings) -> Result<Vec<Source>, Error> {
        let mut sources = Vec::new();
        for hwmon in &self.chips {
            if let Some(chip) = Chip::find(hwmon)? {
                if settings.chips.picks(&chip.name) {
                    chip.sources(&mut sources);
                }
            }
        }
        for entry in &self.thermal {
            let directory = format!("{THERMAL}/{entry}");
            let Some(kind) = word(&format!("{directory}/type")) else { continue };
            if let Some(zone) = entry.strip_prefix("thermal_zone") {
                if settings.zones.picks(&kind) {
                    let labels = vec![("zone", zone.to_owned()), ("type", kind)];
                    sources.push(Source { per_unit: PER_DEGREE, ..source(ZONE, format!("{directory}/temp"), labels) });
                }
            } else if let Some(device) = entry.strip_prefix("cooling_device") {
                if settings.cooling_devices.picks(&kind) {
                    let labels = vec![("device", device.to_owned()), ("type", kind)];
                    let most = number(&format!("{directory}/max_state"));
                    let limits = most.map(|most| (COOLING_MAX, most)).into_iter().collect();
                    sources.push(Source { limits, ..source(COOLING, format!("{directory}/cur_state"), labels) });
                }
            }
        }
        Ok(sources)
    }
}

/// A chip with sensors.
struct Chip<'a> {
    /// `hwmon3`.
    hwmon: &'a str,
    directory: String,
    files: Vec<String>,
    name: String,
    /// What it is part of, as far as a disk is concerned.
    disk: Option<String>,
}

impl<'a> Chip<'a> {
    /// None when it has gone meanwhile.
    fn find(hwmon: &'a str) -> Result<Option<Self>, Error> {
        let mut directory = format!("{HWMON}/{hwmon}");
        let Some(mut files) = files::list_if_there(&directory)? else { return Ok(None) };
        let device = format!("{directory}/device");
        let has = |files: &[String], name: &str| files.iter().any(|file| file == name);
        let mut disk = None;
        if has(&files, "device") {
            let of_device = files::list(&device).unwrap_or_default();
            disk = disk_of(&device, &of_device);
            // Until about Linux 3.13 drivers had the sensors there.
            if !has(&files, "name") && has(&of_device, "name") {
                (directory, files) = (device, of_device);
            }
        }
        let name = word(&format!("{directory}/name")).unwrap_or_else(|| hwmon.to_owned());
        Ok(Some(Self { hwmon, directory, files, name, disk }))
    }

    fn sources(&self, sources: &mut Vec<Source>) {
        for file in &self.files {
            let Some(sensor) = file.strip_suffix("_input") else { continue };
            if is_numbered(sensor, "temp") {
                let limits = [(SENSOR_MAX, "max"), (SENSOR_CRITICAL, "crit")];
                let limits = limits.into_iter().filter_map(|(limit, attribute)| {
                    Some((limit, number(&self.attribute(sensor, attribute)?)? / PER_DEGREE))
                });
                let limits = limits.collect();
                let alarms = self.alarms(sensor, &["alarm", "max_alarm", "crit_alarm", "emergency_alarm"]);
                sources.push(Source {
                    limits,
                    per_unit: PER_DEGREE,
                    ..self.source(SENSOR, sensor, SENSOR_ALARM, alarms)
                });
            } else if is_numbered(sensor, "fan") {
                sources.push(self.source(FAN, sensor, FAN_ALARM, self.alarms(sensor, &["alarm", "min_alarm"])));
            }
        }
    }

    fn source(&self, metric: Descriptor, sensor: &str, alarm: Descriptor, alarms: Vec<String>) -> Source {
        let mut labels = vec![("chip", self.name.clone()), ("sensor", sensor.to_owned())];
        let label = self.attribute(sensor, "label").and_then(|path| word(&path));
        labels.extend(label.map(|label| ("label", label)));
        labels.extend(self.disk.clone().map(|disk| ("disk", disk)));
        labels.push(("hwmon", self.hwmon.to_owned()));
        let path = format!("{}/{sensor}_input", self.directory);
        Source { alarm: (!alarms.is_empty()).then_some(alarm), alarms, ..source(metric, path, labels) }
    }

    fn alarms(&self, sensor: &str, attributes: &[&str]) -> Vec<String> {
        attributes.iter().filter_map(|attribute| self.attribute(sensor, attribute)).collect()
    }

    /// Where an attribute of a sensor is, if it has it.
    fn attribute(&self, sensor: &str, attribute: &str) -> Option<String> {
        let file = format!("{sensor}_{attribute}");
        let is_there = self.files.contains(&file);
        is_there.then(|| format!("{}/{file}", self.directory))
    }
}

/// Something that has a value and nothing else.
fn source(metric: Descriptor, path: String, labels: Vec<(&'static str, String)>) -> Source {
    Source { metric, path, per_unit: 1.0, labels, limits: Vec::new(), alarm: None, alarms: Vec::new() }
}

/// The disk that a device is: one that has a block device, or an NVM Express controller, which has namespaces `nvme0n1`, or
/// `nvme0c0n1` where several controllers share them.
fn disk_of(device: &str, names: &[String]) -> Option<String> {
    if names.iter().any(|name| name == "block") {
        return files::list(&format!("{device}/block")).ok()?.into_iter().next();
    }
    names.iter().find_map(|name| {
        let rest = name.strip_prefix("nvme")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let is_namespace = digits > 0 && matches!(rest.as_bytes().get(digits), Some(b'n' | b'c'));
        is_namespace.then(|| name[.."nvme".len() + digits].to_owned())
    })
}

/// Whether a name is this and a number: `temp1`.
fn is_numbered(name: &str, kind: &str) -> bool {
    let number = name.strip_prefix(kind).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text of a file, if it can be read and there is any.
fn word(path: &str) -> Option<String> {
    let text = files::read_text(path).ok()?;
    let text = text.trim_ascii();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(path: &str) -> Option<f64> {
    File::read(path).ok()?.number().ok()
}
