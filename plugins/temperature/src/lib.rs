//! The module `temperature`: sensors, fans, thermal zones and cooling devices, from `/sys/class/hwmon` and
//! `/sys/class/thermal`.

mod scan;

use gauged_plugin::bounds::{Bound, CELSIUS, FAN_RPM, UPTIME_SECONDS};
use gauged_plugin::kernel::{Error as ParseError, File, Number};
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::{Cause as _, Reason, Skipped};
use gauged_plugin::{About, Descriptor, Error, Plugin, Sample, Tick, about, files};
use scan::Listing;

gauged_plugin::metrics! {
    module "temperature" by {"chip": "Driver of the chip", "sensor": "Name of the sensor, such as `temp1`", "label": "The driver's name of the sensor", "disk": "Name of the disk that it measures", "hwmon": "The kernel's number of the chip"};
    /// Temperature of the sensor.
    SENSOR: gauge "sensor_celsius" in "Cel";
    /// High limit of the sensor, set by its maker, driver or administrator; out of reach, or 0, if not set.
    SENSOR_MAX: gauge "sensor_max_celsius" in "Cel";
    /// Critical limit of the sensor: the hardware is in danger, or protects itself.
    SENSOR_CRITICAL: gauge "sensor_critical_celsius" in "Cel";
    /// Whether the chip reports a passed limit; left out if it reports no alarms.
    SENSOR_ALARM: gauge "sensor_alarm" in "1";
    /// Speed of the fan; 0 means that it stands still.
    FAN: gauge "fan_rpm" in "{revolution}/min";
    /// Whether the chip reports that a fan is too slow; left out if it reports no alarms.
    FAN_ALARM: gauge "fan_alarm" in "1";
    module "temperature" by {"zone": "Number of the zone", "type": "Type of the zone"};
    /// Temperature of a thermal zone, by which the kernel controls cooling.
    ZONE: gauge "zone_celsius" in "Cel";
    module "temperature" by {"device": "Number of the device", "type": "Type of the device"};
    /// Cooling level of a device, 0 for none; a processor cools by working less.
    COOLING: gauge "cooling_state" in "1";
    /// Highest cooling level of a device.
    COOLING_MAX: gauge "cooling_max_state" in "1";
}

/// The time between scans for sensors, names and limits. Added and removed chips cause a scan at once.
const SCAN_INTERVAL_NS: u64 = 60_000_000_000;

/// The time after boot during which drivers may still be loading.
const DRIVER_GRACE_SECONDS: f64 = 120.0;

/// Cooling devices with one entry per CPU, not worth the time of reading them all.
const DEFAULT_EXCLUDED_COOLING: [&str; 1] = ["Processor"];

gauged_plugin::settings! {
    /// Chips to measure by their driver, all if it is empty; `*` stands for any text.
    "chips.include": "list of patterns" = "[]";
    /// Chips to leave out; it wins over `include`.
    "chips.exclude": "list of patterns" = "[]";
    /// Thermal zones to measure by their type, all if it is empty.
    "zones.include": "list of patterns" = "[]";
    /// Thermal zones to leave out; it wins over `include`.
    "zones.exclude": "list of patterns" = "[]";
    /// Cooling devices to measure by their type, all if it is empty. With a table `cooling_devices` both of its defaults are gone.
    "cooling_devices.include": "list of patterns" = "[]";
    /// Cooling devices to leave out; it wins over `include`.
    "cooling_devices.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDED_COOLING);
}

/// The configuration.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    chips: Selection,
    zones: Selection,
    cooling_devices: Selection,
}

/// A file with one value, and its metric.
#[derive(Debug)]
struct Source {
    metric: Descriptor,
    path: String,
    /// The kernel's value of one unit: 1000 for temperatures.
    per_unit: f64,
    bound: &'static Bound,
    labels: Vec<(&'static str, String)>,
    limits: Vec<(Descriptor, f64)>,
    /// The path of the file that is 1 while the value is not to be trusted: an open diode, a fan that is not connected.
    fault: Option<String>,
    alarm: Option<Descriptor>,
    /// The paths of its alarm files.
    alarms: Vec<String>,
}

#[derive(Default)]
struct Temperature {
    settings: Settings,
    listing: Listing,
    sources: Vec<Source>,
    scanned_ns: Option<u64>,
    /// Whether there were sensors before: they are not missing for good then.
    had_sensors: bool,
    /// The path of the source that timed out last.
    last_timeout: String,
    skipped: Skipped,
}

impl Plugin for Temperature {
    const ABOUT: About = about!("Temperatures, fans and cooling.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, ..Self::default() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let listing = Listing::read(&mut self.skipped);
        if listing.is_empty() {
            self.skipped.finish(sample)?;
            if self.had_sensors {
                return Err(Error::Unavailable("this host has no sensors any more".to_owned()));
            }
            return Err(no_sensors_error(&mut self.skipped));
        }
        self.had_sensors = true;
        let is_recent = self.scanned_ns.is_some_and(|scanned| tick.monotonic_ns - scanned < SCAN_INTERVAL_NS);
        if !is_recent || listing != self.listing {
            self.sources = listing.sources(&self.settings, &mut self.skipped);
            (self.listing, self.scanned_ns) = (listing, Some(tick.monotonic_ns));
        }
        // The source that timed out last comes last.
        let late = self.sources.iter().position(|source| source.path == self.last_timeout);
        let (last, first) = self.sources.split_at(late.map_or(0, |late| late + 1));
        let mut refused = None;
        for source in first.iter().chain(last) {
            match source.measure(sample, &mut self.skipped) {
                // A removed sensor causes a new scan.
                Err(files::Failure { error: files::Error::NotFound, .. }) => self.scanned_ns = None,
                Err(files::Failure { error: files::Error::Timeout, .. }) => {
                    self.last_timeout.clone_from(&source.path);
                    break;
                }
                Err(failure) if failure.skip().reason == Reason::NotPermitted => {
                    refused.get_or_insert_with(|| failure.clone());
                    self.skipped.lose(failure, source.metric.name);
                }
                // The sensor sleeps, or its input is not connected.
                Ok(()) | Err(_) => {}
            }
        }
        // Sensors that are all asleep are no error.
        drop(self.skipped.finish(sample));
        match refused {
            Some(failure) if sample.is_empty() => Err(failure.into()),
            _ => Ok(()),
        }
    }
}

gauged_plugin::export!(Temperature);

impl Source {
    /// The value in the metric's unit, if it is possible.
    fn value(&self, file: &File) -> Result<f64, ParseError> {
        let number: f64 = file.number()?;
        let impossible =
            || file.error(format_args!("{} is impossible: {}", file.text().trim_ascii(), self.bound.reason));
        self.bound.check(number / self.per_unit).ok_or_else(impossible)
    }

    fn measure(&self, sample: &mut Sample, skipped: &mut Skipped) -> Result<(), files::Failure> {
        let file = File::read(&self.path)?;
        let fault = self.fault.as_deref().map_or(Ok(None), |path| is_set(path, skipped))?;
        if fault == Some(true) {
            return Ok(());
        }
        // A device that does not cool at all may say so: intel_powerclamp.
        let is_off = self.metric == COOLING && file.text().trim_ascii() == "-1";
        let value = if is_off { None } else { skipped.keep(self.value(&file), self.metric.name) };
        if value.is_none() && !is_off {
            return Ok(());
        }
        let mut row = sample.row(self.labels.clone());
        row.set(self.metric, value);
        for &(limit, value) in &self.limits {
            row.set(limit, value);
        }
        let Some(alarm) = self.alarm else { return Ok(()) };
        let mut is_alarmed = None;
        for path in &self.alarms {
            is_alarmed = is_alarmed.max(is_set(path, skipped)?);
        }
        row.set(alarm, is_alarmed);
        Ok(())
    }
}

/// Whether a flag is set; `None` if that is not known. Only a timeout is an error: it uses up the time of other files.
fn is_set(path: &str, skipped: &mut Skipped) -> Result<Option<bool>, files::Failure> {
    let read = File::read(path);
    if read.as_ref().is_err_and(|failure| failure.error == files::Error::Timeout) {
        return read.map(|_| None);
    }
    let file = skipped.optional(read, "an alarm or a fault");
    Ok(file.and_then(|file| file.number::<f64>().ok()).map(|state| state > 0.0))
}

/// The error for a host without sensors, which is temporary soon after boot.
fn no_sensors_error(skipped: &mut Skipped) -> Error {
    let file = skipped.read("/proc/uptime", "the time since boot");
    let uptime = file.and_then(|file| UPTIME_SECONDS.check(f64::parse(file.fields().next()?)?));
    if uptime.is_some_and(|uptime| uptime < DRIVER_GRACE_SECONDS) {
        Error::Unavailable("no sensors yet; the host has just booted".to_owned())
    } else {
        Error::Unsupported("this host has no sensors: /sys/class/hwmon and /sys/class/thermal are empty".to_owned())
    }
}

#[cfg(test)]
mod tests;
