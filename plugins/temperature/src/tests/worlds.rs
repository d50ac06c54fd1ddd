//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use gauged_plugin::testing::{assert_not_permitted, not_permitted};

use super::*;

/// An open thermal diode reads as 127 °C or -62 °C, and an unconnected fan as any speed; the driver sets `temp1_fault`. Reported
/// in UshakovVasilii/gnome-shell-extension-freon#122, openbmc/openbmc#2329 and lm-sensors/lm-sensors#421. Right: no value and no
/// alarm, since Documentation/hwmon/sysfs-interface.rst says that "the measurement for that channel should not be trusted".
#[test]
fn faulty_sensor_is_left_out() {
    let mut host = host_with_sensors(3);
    let chip = "/sys/class/hwmon/hwmon0";
    host.file(&path(2), "127000\n").file(&format!("{chip}/temp2_fault"), "1\n");
    host.file(&format!("{chip}/temp2_alarm"), "1\n").file(&format!("{chip}/temp3_fault"), "0\n");
    for (fan, fault) in [(1, 0), (2, 1)] {
        host.file(&format!("{chip}/fan{fan}_input"), "1100\n");
        host.file(&format!("{chip}/fan{fan}_fault"), format!("{fault}\n"));
    }
    let mut temperature = start(host, "{}");
    let sample = temperature.tick().expect("a sample");
    assert_eq!(sensors(&sample), [1, 3]);
    assert!(!sample.keys().any(|key| key.contains("alarm") || key.contains("fan2")), "{sample:?}");
    assert!(sample.keys().any(|key| key.contains("fan_rpm{") && key.contains("fan1")), "{sample:?}");
    // Once it is connected it is measured, and a flag that is unreadable says nothing.
    for text in ["0\n", "\n", "N/A\n"] {
        temperature.host().file(&path(2), "41000\n").file(&format!("{chip}/temp2_fault"), text);
        assert_eq!(temperature.tick().expect("a sample")[&key(2)], 41.0, "{text:?}");
    }
}

#[test]
fn damaged_fault_flag_costs_only_its_sensor() {
    let mut host = host_with_sensors(3);
    for (sensor, fault) in [(1, 0), (2, 1)] {
        host.file(&format!("/sys/class/hwmon/hwmon0/temp{sensor}_fault"), format!("{fault}\n"));
    }
    assert_damage_is_contained_for::<Temperature, _>(&host, "{}", |path| {
        let sensor = path.rsplit('/').next().and_then(|file| file.split('_').next()).unwrap_or_default();
        vec![if sensor == "name" { "*".to_owned() } else { format!("*sensor=\"{sensor}\"*") }]
    });
}

/// Android closes `/sys/class/thermal` to apps, as a whole or file by file. Reported in jxlarrea/kiosk-satellite#138 and
/// projectceladon/device-androidia#328. Right: an error that names the reason, not a host without sensors.
#[test]
fn refused_sensors_are_not_absent() {
    let mut host = Host::new();
    host.file("/proc/uptime", "900000.00 10.00\n").file_fails("/sys/class/thermal", not_permitted());
    assert_not_permitted(&start(host, "{}").tick(), "/sys/class/thermal");

    let mut host = Host::new();
    for zone in 0..2 {
        host.file(&format!("/sys/class/thermal/thermal_zone{zone}/temp"), "41000\n");
        host.file_fails(&format!("/sys/class/thermal/thermal_zone{zone}/type"), not_permitted());
    }
    let temp = "/sys/class/thermal/thermal_zone0/temp";
    host.file_fails(temp, not_permitted());
    let mut temperature = start(host, "{}");
    let sample = temperature.tick().expect("the other zone");
    assert_eq!(sample.keys().collect::<Vec<_>>(), [r#"temperature.zone_celsius{zone="1"}"#], "it has no known type");
    let is_reported = |message: &String| message.starts_with(&format!("WARN without zone_celsius: {temp}"));
    assert!(temperature.host().messages().iter().any(is_reported), "{:?}", temperature.host().messages());
    temperature.host().file_fails("/sys/class/thermal/thermal_zone1/temp", not_permitted());
    for _ in 0..2 {
        assert_not_permitted(&temperature.tick(), temp);
    }
}

/// A kernel of a vendor writes degrees where Linux has thousandths. Reported in longsleep/build-pine64-image#21. Right:
/// thousandths, by the kernel's Documentation/driver-api/thermal/sysfs-api.rst, because nothing in the file names another unit. A
/// zone that is off (`THERMAL_TEMP_INVALID`, -274 °C) is left out.
#[test]
fn zone_in_degrees_is_passed_on() {
    let mut host = Host::new();
    for (zone, temp) in [(0, "65\n"), (1, "41000\n"), (2, "-274000\n")] {
        host.file(&format!("/sys/class/thermal/thermal_zone{zone}/type"), "cpu_therm\n");
        host.file(&format!("/sys/class/thermal/thermal_zone{zone}/temp"), temp);
    }
    let sample = start(host, "{}").tick().expect("a sample");
    let zone = |number: u32| sample.get(&format!("temperature.zone_celsius{{zone=\"{number}\",type=\"cpu_therm\"}}"));
    assert!(zone(0).is_some_and(|value| *value == 0.065) && zone(1).is_some_and(|value| *value == 41.0));
    assert_eq!(zone(2), None);
}

/// A virtual NVM Express disk has no sensor and reports 0 kelvins, for its temperature and its limits. Reported in
/// oxidecomputer/propolis#1213 (also on AWS), linux-nvme/nvme-cli#884 and olehj/disklocation#409. Right: none of them, for the
/// specification has 0 where nothing is reported; a cold room is measured.
#[test]
fn absolute_zero_is_no_temperature() {
    let chip = "/sys/class/hwmon/hwmon0";
    let mut host = Host::new();
    host.file(&format!("{chip}/name"), "nvme\n");
    for (file, text) in [("temp1_input", "-273150"), ("temp2_input", "-40000"), ("temp2_crit", "-273150")] {
        host.file(&format!("{chip}/{file}"), format!("{text}\n"));
    }
    let sample = start(host, "{}").tick().expect("a sample");
    let expected = "temperature.sensor_celsius{chip=\"nvme\",sensor=\"temp2\",hwmon=\"hwmon0\"} -40\n";
    assert_eq!(sample.render(), expected);
}
