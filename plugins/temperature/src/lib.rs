//! The module `temperature`: what sensors, fans and the kernel's thermal zones tell, from `/sys/class/hwmon` and
//! `/sys/class/thermal`. Knows which there are by looking, and nothing of what they are good for.

mod scan;

use gauged_plugin::kernel::File;
use gauged_plugin::select::Selection;
use gauged_plugin::{About, Descriptor, Error, Plugin, Sample, Tick, files};
use scan::Listing;

gauged_plugin::metrics! {
    module "temperature";
    /// What a sensor measures.
    SENSOR: gauge "sensor_celsius" in "Cel";
    /// The temperature that its maker, driver or administrator calls high; out of reach, or 0, where nobody has.
    SENSOR_MAX: gauge "sensor_max_celsius" in "Cel";
    /// The temperature at which the hardware is in danger, or protects itself.
    SENSOR_CRITICAL: gauge "sensor_critical_celsius" in "Cel";
    /// Whether the chip itself says that a limit was passed; left out where it does not say.
    SENSOR_ALARM: gauge "sensor_alarm" in "1";
    /// How often a fan turns in a minute; 0 means that it stands still.
    FAN: gauge "fan_rpm" in "{revolution}/min";
    /// Whether the chip itself says that a fan is too slow; left out where it does not say.
    FAN_ALARM: gauge "fan_alarm" in "1";
    /// What the kernel takes for the temperature of a part of the machine, and cools it by.
    ZONE: gauge "zone_celsius" in "Cel";
    /// How much a device cools, from 0, not at all; a processor cools by working less.
    COOLING: gauge "cooling_state" in "1";
    /// The most that a device can cool.
    COOLING_MAX: gauge "cooling_max_state" in "1";
}

/// How long the sensors, their names and limits are taken to be as they were. What comes and goes as a whole is seen at
/// once.
const SCANNED_NS: u64 = 60_000_000_000;

/// How long after the boot drivers may still be on their way.
const BOOT_SECONDS: f64 = 120.0;

/// There is one for each CPU, and reading them all takes longer than what they tell is worth.
const COOLED_CPUS: [&str; 1] = ["Processor"];

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    chips: Selection,
    zones: Selection,
    cooling_devices: Selection,
}

impl Default for Settings {
    fn default() -> Self {
        let cooling_devices = Selection::except(&COOLED_CPUS);
        Self { chips: Selection::default(), zones: Selection::default(), cooling_devices }
    }
}

/// Something that has one value, and where it is.
#[derive(Debug)]
struct Source {
    metric: Descriptor,
    path: String,
    /// What the kernel counts one as: temperatures come in thousandths.
    per_unit: f64,
    labels: Vec<(&'static str, String)>,
    limits: Vec<(Descriptor, f64)>,
    alarm: Option<Descriptor>,
    /// Where the chip says so.
    alarms: Vec<String>,
}

struct Temperature {
    settings: Settings,
    listing: Listing,
    sources: Vec<Source>,
    scanned_ns: Option<u64>,
    /// The path of the one that took all the time there was when it was last asked for.
    late: String,
}

impl Plugin for Temperature {
    const ABOUT: About =
        About { version: env!("CARGO_PKG_VERSION"), description: "Temperatures, fans and cooling.", metrics: METRICS };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, listing: Listing::default(), sources: Vec::new(), scanned_ns: None, late: String::new() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let listing = Listing::read()?;
        if listing.is_empty() {
            return Err(nothing_there()?);
        }
        let is_recent = self.scanned_ns.is_some_and(|scanned| tick.monotonic_ns - scanned < SCANNED_NS);
        if !is_recent || listing != self.listing {
            self.sources = listing.sources(&self.settings)?;
            (self.listing, self.scanned_ns) = (listing, Some(tick.monotonic_ns));
        }
        // Those that it left no time come first, and it comes last.
        let late = self.sources.iter().position(|source| source.path == self.late);
        let (last, first) = self.sources.split_at(late.map_or(0, |late| late + 1));
        for source in first.iter().chain(last) {
            match source.measure(sample) {
                // What is not there is looked for anew.
                Err(files::Error::NotFound) => self.scanned_ns = None,
                Err(files::Error::Timeout) => {
                    self.late.clone_from(&source.path);
                    break;
                }
                // Others are asleep, or there is nothing connected to them.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

gauged_plugin::export!(Temperature);

impl Source {
    fn measure(&self, sample: &mut Sample) -> Result<(), files::Error> {
        let Ok(value) = File::read(&self.path).map_err(|failure| failure.error)?.number::<f64>() else { return Ok(()) };
        let labels: Vec<(&str, &str)> = self.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut row = sample.labelled(&labels);
        row.set(self.metric, value / self.per_unit);
        for &(limit, value) in &self.limits {
            row.set(limit, value);
        }
        let Some(alarm) = self.alarm else { return Ok(()) };
        let mut is_alarmed = None;
        for path in &self.alarms {
            match File::read(path).map_err(|failure| failure.error) {
                Ok(file) => {
                    let is_set = file.number::<f64>().ok().map(|state| state > 0.0);
                    is_alarmed = is_alarmed.max(is_set);
                }
                Err(files::Error::Timeout) => return Err(files::Error::Timeout),
                Err(_) => {}
            }
        }
        row.set(alarm, is_alarmed);
        Ok(())
    }
}

/// Why there is nothing to measure: soon after the boot it may still come.
fn nothing_there() -> Result<Error, Error> {
    let uptime: f64 = File::read("/proc/uptime")?.fields().number("seconds since boot")?;
    Ok(if uptime < BOOT_SECONDS {
        Error::Unavailable("there is no sensor yet, and the host has just been started".to_owned())
    } else {
        Error::Unsupported("this host has no sensors: /sys/class/hwmon and /sys/class/thermal are empty".to_owned())
    })
}

#[cfg(test)]
mod tests;
