//! The plugin on fixture machines.

use gauged_plugin::testing::{Host, Observed, Running, hold_file, hold_readme};
use gauged_plugin::{Capability, files};

use super::*;

const ASLEEP: &str = "Resource temporarily unavailable (os error 11)";

fn start(host: Host, config: &str) -> Running<Temperature> {
    Running::start(host, config).expect("the configuration is right")
}

/// A host with as many sensors of 20 °C, 21 °C and so on.
fn with_sensors(sensors: usize) -> Host {
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

/// Which sensors are in a sample.
fn told(sample: &Observed) -> Vec<usize> {
    (1..10).filter(|&sensor| sample.contains_key(&key(sensor))).collect()
}

/// A server with all kinds of sensors, of which one sleeps.
#[test]
fn a_server_is_as_its_fixture_says() {
    let mut host = Host::at("fixtures/web-1");
    host.file_fails("/sys/class/thermal/thermal_zone1/temp", files::Error::Io(ASLEEP.to_owned()));
    hold_file("fixtures/web-1/expected", &start(host, "{}").tick().expect("a sample").render());
}

/// Linux 2.6.32 with two processors, whose drivers keep the sensors with the device.
#[test]
fn an_old_server_is_as_its_fixture_says() {
    let sample = start(Host::at("fixtures/old-db"), "{}").tick().expect("a sample");
    hold_file("fixtures/old-db/expected", &sample.render());
}

#[test]
fn settings_choose() {
    let config = r#"{
        "chips": {"include": ["nvme", "drivetemp"]}, "zones": {"exclude": ["*"]}, "cooling_devices": {"include": ["Pro*"]}
    }"#;
    let sample = start(Host::at("fixtures/web-1"), config).tick().expect("a sample");
    let of = |text: &str| sample.keys().filter(|key| key.contains(text)).count();
    assert_eq!((of("{chip=\"nvme\""), of("{chip=\"drivetemp\""), of("type=\"Processor\"")), (6, 3, 4));
    assert_eq!(sample.len(), 13);
    let Err(Error::InvalidConfig(errors)) = Running::<Temperature>::start(Host::new(), r#"{"fans": true}"#) else {
        panic!("it has no such key");
    };
    assert_eq!(errors[0].message, "unknown key; remove it, or use one of chips, zones, cooling_devices");
}

#[test]
fn sensors_come_and_go() {
    let mut temperature = start(with_sensors(2), "{}");
    assert_eq!(told(&temperature.tick().expect("a sample")), [1, 2]);

    // One that has gone is missing from now on, and the others are found anew.
    temperature.host().file_fails(&path(1), files::Error::NotFound);
    assert_eq!(told(&temperature.tick().expect("a sample")), [2]);
    temperature.host().file("/sys/class/hwmon/hwmon0/name", "zenpower\n");
    assert!(told(&temperature.tick().expect("a sample")).is_empty(), "the chip has another name");

    // A chip that has come is seen at once, and what is new of a chip within a minute.
    temperature.host().file("/sys/class/hwmon/hwmon1/name", "nvme\n");
    temperature.host().file("/sys/class/hwmon/hwmon1/temp1_input", "40000\n");
    assert_eq!(temperature.tick().expect("a sample").len(), 2);
    temperature.host().file("/sys/class/hwmon/hwmon1/temp2_input", "41000\n");
    let later: Vec<_> = (0..6).map(|_| temperature.tick().expect("a sample").len()).collect();
    assert_eq!(later, [2, 2, 2, 2, 2, 3]);
}

#[test]
fn a_sensor_that_does_not_answer_spoils_one_tick_of_others_at_most() {
    let mut host = with_sensors(3);
    host.file_fails(&path(2), files::Error::Timeout);
    let mut temperature = start(host, "{}");
    assert_eq!(told(&temperature.tick().expect("a sample")), [1]);
    // Also when all were looked for anew.
    for _ in 0..8 {
        assert_eq!(told(&temperature.tick().expect("a sample")), [1, 3]);
    }
    temperature.host().file(&path(2), "21500\n");
    assert_eq!(temperature.tick().expect("a sample")[&key(2)], 21.5);
}

#[test]
fn a_sensor_that_fails_or_makes_no_sense_is_left_out() {
    for error in [files::Error::Io(ASLEEP.to_owned()), files::Error::Denied(String::new()), files::Error::WrongType] {
        let mut host = with_sensors(3);
        host.file_fails(&path(2), error);
        assert_eq!(told(&start(host, "{}").tick().expect("a sample")), [1, 3]);
    }
    for text in ["", "N/A\n", "\0\n"] {
        let mut host = with_sensors(3);
        host.file(&path(2), text);
        assert_eq!(told(&start(host, "{}").tick().expect("a sample")), [1, 3]);
    }
}

#[test]
fn where_the_disk_may_not_be_known_the_sensor_is() {
    let mut host = Host::at("fixtures/web-1");
    host.deny(&Capability::Read("/sys/class/hwmon/*/device".to_owned()));
    let sample = start(host, "{}").tick().expect("a sample");
    let key = r#"temperature.sensor_celsius{chip="drivetemp",sensor="temp1",hwmon="hwmon2"}"#;
    assert_eq!(sample[key], 33.0);
}

#[test]
fn a_host_without_sensors_is_not_supported_once_it_has_started() {
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
    assert!(start(host, "{}").tick().expect("a chip that measures something else").is_empty());
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Temperature>();
}
