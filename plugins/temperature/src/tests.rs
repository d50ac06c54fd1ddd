//! The plugin on fixture machines.

use gauged_plugin::testing::{
    Harness, Host, SampleMap, assert_damage_is_contained_for, assert_golden, assert_readme, assert_settings,
    not_permitted,
};
use gauged_plugin::{Capability, OsError, files};

use super::*;

mod malformed;
mod worlds;

const ASLEEP: &str = "Resource temporarily unavailable";

fn start(host: Host, config: &str) -> Harness<Temperature> {
    Harness::start(host, config).expect("the configuration is right")
}

/// A host with sensors of 20 °C, 21 °C and so on.
fn host_with_sensors(sensors: usize) -> Host {
    let mut host = Host::new();
    host.file("/sys/class/hwmon/hwmon0/name", "k10temp\n");
    for sensor in 1..=sensors {
        host.file(&path(sensor), format!("{}000\n", 19 + sensor));
    }
    host
}

fn path(sensor: usize) -> String {
    format!("/sys/class/hwmon/hwmon0/temp{sensor}_input")
}

fn key(sensor: usize) -> String {
    format!("temperature.sensor_celsius{{chip=\"k10temp\",sensor=\"temp{sensor}\",hwmon=\"hwmon0\"}}")
}

/// The sensors in a sample.
fn sensors(sample: &SampleMap) -> Vec<usize> {
    (1..10).filter(|&sensor| sample.contains_key(&key(sensor))).collect()
}

/// A server with all kinds of sensors, one of them asleep.
#[test]
fn server_matches_its_golden_file() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.file_fails("/sys/class/thermal/thermal_zone1/temp", files::Error::Io(OsError::new("EAGAIN", ASLEEP)));
    assert_golden("fixtures/web-1/expected", &start(host, "{}").tick().expect("a sample").render());
}

/// Linux 2.6.32 with two processors and the sensors in the device directories.
#[test]
fn old_server_matches_its_golden_file() {
    let sample = start(Host::from_fixture("fixtures/old-db"), "{}").tick().expect("a sample");
    assert_golden("fixtures/old-db/expected", &sample.render());
}

#[test]
fn settings_select_chips_zones_and_cooling() {
    let config = r#"{
        "chips": {"include": ["nvme", "drivetemp"]}, "zones": {"exclude": ["*"]}, "cooling_devices": {"include": ["Pro*"]}
    }"#;
    let sample = start(Host::from_fixture("fixtures/web-1"), config).tick().expect("a sample");
    let of = |text: &str| sample.keys().filter(|key| key.contains(text)).count();
    assert_eq!((of("{chip=\"nvme\""), of("{chip=\"drivetemp\""), of("type=\"Processor\"")), (6, 3, 4));
    assert_eq!(sample.len(), 13);
    let Err(Error::InvalidConfig(errors)) = Harness::<Temperature>::start(Host::new(), r#"{"fans": true}"#) else {
        panic!("the key is unknown");
    };
    assert_eq!(errors[0].message, "unknown key; remove it, or use one of chips, zones, cooling_devices");
}

#[test]
fn added_and_removed_sensors_are_noticed() {
    let mut temperature = start(host_with_sensors(2), "{}");
    assert_eq!(sensors(&temperature.tick().expect("a sample")), [1, 2]);

    // A removed sensor is missing at once and causes a new scan.
    temperature.host().file_fails(&path(1), files::Error::NotFound);
    assert_eq!(sensors(&temperature.tick().expect("a sample")), [2]);
    temperature.host().file("/sys/class/hwmon/hwmon0/name", "zenpower\n");
    assert!(sensors(&temperature.tick().expect("a sample")).is_empty(), "a renamed chip");

    // An added chip is found at once, an added sensor of a chip within a minute.
    temperature.host().file("/sys/class/hwmon/hwmon1/name", "nvme\n");
    temperature.host().file("/sys/class/hwmon/hwmon1/temp1_input", "40000\n");
    assert_eq!(temperature.tick().expect("a sample").len(), 2);
    temperature.host().file("/sys/class/hwmon/hwmon1/temp2_input", "41000\n");
    let later: Vec<_> = (0..6).map(|_| temperature.tick().expect("a sample").len()).collect();
    assert_eq!(later, [2, 2, 2, 2, 2, 3]);
}

#[test]
fn unresponsive_sensor_affects_others_for_one_tick() {
    let mut host = host_with_sensors(3);
    host.file_fails(&path(2), files::Error::Timeout);
    let mut temperature = start(host, "{}");
    assert_eq!(sensors(&temperature.tick().expect("a sample")), [1]);
    // Also after a new scan.
    for _ in 0..8 {
        assert_eq!(sensors(&temperature.tick().expect("a sample")), [1, 3]);
    }
    temperature.host().file(&path(2), "21500\n");
    assert_eq!(temperature.tick().expect("a sample")[&key(2)], 21.5);
}

#[test]
fn unreadable_sensor_is_left_out() {
    for error in [
        files::Error::Io(OsError::new("EAGAIN", ASLEEP)),
        files::Error::Denied(Capability::read("/")),
        files::Error::WrongType,
    ] {
        let mut host = host_with_sensors(3);
        host.file_fails(&path(2), error);
        assert_eq!(sensors(&start(host, "{}").tick().expect("a sample")), [1, 3]);
    }
    for text in ["", "N/A\n", "\0\n"] {
        let mut host = host_with_sensors(3);
        host.file(&path(2), text);
        assert_eq!(sensors(&start(host, "{}").tick().expect("a sample")), [1, 3]);
    }
}

/// The firmware of Raspberry Pi, drivers that return an error as a value, and tachometers that count one period.
#[test]
fn impossible_values_are_left_out() {
    let mut host = Host::new();
    for (at, kind, text) in [(0, "cpu-thermal", "-650788984"), (1, "gpu-thermal", "41000"), (2, "dead", "-274000")] {
        host.file(&format!("/sys/class/thermal/thermal_zone{at}/type"), kind);
        host.file(&format!("/sys/class/thermal/thermal_zone{at}/temp"), format!("{text}\n"));
    }
    host.file("/sys/class/thermal/cooling_device0/type", "fan\n");
    host.file("/sys/class/thermal/cooling_device0/cur_state", "-1\n");
    host.file("/sys/class/thermal/cooling_device0/max_state", "3\n");
    host.file("/sys/class/hwmon/hwmon0/name", "w83627hf\n");
    for (name, text) in [
        ("temp1_input", "-40000"),
        ("temp1_max", "-999000"),
        ("temp1_crit", "65261850"),
        ("temp2_input", "2147483647"),
        // nct6793 on a server.
        ("temp15_input", "3892313987"),
        ("fan4_input", "65535"),
        ("fan1_input", "1350000"),
        ("fan2_input", "-1"),
        ("fan3_input", "38000"),
    ] {
        host.file(&format!("/sys/class/hwmon/hwmon0/{name}"), format!("{text}\n"));
    }
    let mut temperature = start(host, "{}");
    let sample = temperature.tick().expect("a sample");
    let hwmon = |metric: &str, sensor: &str| {
        format!("temperature.{metric}{{chip=\"w83627hf\",sensor=\"{sensor}\",hwmon=\"hwmon0\"}}")
    };
    let expected = [
        r#"temperature.cooling_max_state{device="0",type="fan"}"#.to_owned(),
        hwmon("fan_rpm", "fan3"),
        hwmon("sensor_celsius", "temp1"),
        hwmon("sensor_critical_celsius", "temp1"),
        r#"temperature.zone_celsius{zone="1",type="gpu-thermal"}"#.to_owned(),
    ];
    assert_eq!(sample.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    assert_eq!(sample[&expected[4]], 41.0);
    let why = "without zone_celsius: /sys/class/thermal/thermal_zone0/temp is malformed: -650788984 is impossible";
    assert!(temperature.host().messages().iter().any(|message| message.contains(why)));
}

#[test]
fn refused_directory_leaves_the_other() {
    for (refused, kept) in [("/sys/class/hwmon", "zone_celsius"), ("/sys/class/thermal", "sensor_celsius")] {
        let mut host = Host::from_fixture("fixtures/web-1");
        host.file_fails(refused, not_permitted());
        let sample = start(host, "{}").tick().expect("a sample");
        assert!(sample.keys().any(|key| key.contains(kept)), "{refused}");
    }
}

#[test]
fn damaged_file_costs_only_its_sensor() {
    for machine in ["web-1", "old-db"] {
        assert_damage_is_contained_for::<Temperature, _>(
            &Host::from_fixture(&format!("fixtures/{machine}")),
            "{}",
            |path| {
                let parts: Vec<&str> = path.split('/').collect();
                let (directory, file) = (parts[4], parts[parts.len() - 1]);
                let number = directory.trim_start_matches(|first: char| !first.is_ascii_digit());
                let sensor = file.split('_').next().unwrap_or_default();
                match (parts[3], file) {
                    ("hwmon", "name") => vec![format!("*hwmon=\"{directory}\"}}")],
                    ("hwmon", _) => vec![format!("*sensor=\"{sensor}\"*hwmon=\"{directory}\"}}")],
                    _ if directory.starts_with("thermal_zone") => vec![format!("zone_*zone=\"{number}\"*")],
                    _ => vec![format!("cooling_*device=\"{number}\"*")],
                }
            },
        );
    }
}

#[test]
fn sensor_without_a_known_disk_is_measured() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.deny(&Capability::read("/sys/class/hwmon/*/device"));
    let sample = start(host, "{}").tick().expect("a sample");
    let key = r#"temperature.sensor_celsius{chip="drivetemp",sensor="temp1",hwmon="hwmon2"}"#;
    assert_eq!(sample[key], 33.0);
}

#[test]
fn host_without_sensors_is_unsupported_after_boot() {
    for (uptime, is_supported) in [("30.00 10.00\n", true), ("120.00 10.00\n", false)] {
        let mut host = Host::new();
        host.file("/proc/uptime", uptime);
        match start(host, "{}").tick() {
            Err(Error::Unavailable(_)) => assert!(is_supported, "{uptime}"),
            Err(Error::Unsupported(_)) => assert!(!is_supported, "{uptime}"),
            other => panic!("{other:?}"),
        }
    }
    let mut host = Host::new();
    host.file("/proc/uptime", "900000.00 10.00\n").file("/sys/class/hwmon/hwmon0/name", "acpi_power\n");
    assert!(start(host, "{}").tick().expect("a chip without temperatures").is_empty());
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Temperature>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Temperature>("{}");
}
