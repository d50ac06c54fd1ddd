//! Files and figures that are damaged in ways of their own, with what is still right.

use gauged_plugin::testing::not_permitted;

use super::*;

/// Directories that a security module closes, or that are empty for a moment. Right: a warning for each that is closed, and an error that
/// may pass, instead of a host without sensors.
#[test]
fn closed_and_empty_directories_are_reported() {
    let mut host = Host::from_fixture("fixtures/web-1");
    let disk = host.clone().run(|| files::list("/sys/class/hwmon")).expect("chips");
    let blocks: Vec<String> = disk.iter().map(|hwmon| format!("/sys/class/hwmon/{hwmon}/device/block")).collect();
    for block in &blocks {
        host.file_fails(block, not_permitted());
    }
    let mut temperature = start(host, "{}");
    temperature.tick().expect("a sample");
    let is_block =
        |message: &String| message.starts_with("WARN without the disk of a sensor: ") && message.contains("/block");
    assert!(temperature.host().messages().iter().any(is_block), "{:?}", temperature.host().messages());

    let mut host = Host::new();
    host.file("/proc/uptime", "900000.00 10.00\n");
    host.file("/sys/class/thermal/thermal_zone0/type", "x\n").file("/sys/class/thermal/thermal_zone0/temp", "41000\n");
    let mut temperature = start(host, "{}");
    temperature.tick().expect("a sample");
    for path in [
        "/sys/class/thermal",
        "/sys/class/thermal/thermal_zone0",
        "/sys/class/thermal/thermal_zone0/type",
        "/sys/class/thermal/thermal_zone0/temp",
    ] {
        temperature.host().file_fails(path, files::Error::NotFound);
    }
    assert_eq!(temperature.tick(), Err(Error::Unavailable("this host has no sensors any more".to_owned())));
}

/// Sensors that are refused one by one. Right: a warning of each kind, once, and the others as ever.
#[test]
fn refused_sensors_are_warnings() {
    for error in [not_permitted(), files::Error::Denied(Capability::read("/"))] {
        let mut host = host_with_sensors(3);
        host.file_fails(&path(2), error);
        let mut temperature = start(host, "{}");
        for _ in 0..2 {
            assert_eq!(sensors(&temperature.tick().expect("a sample")), [1, 3]);
        }
        let warnings = temperature.host().warnings();
        assert!(warnings.len() == 1 && warnings[0].starts_with("WARN without sensor_celsius: "), "{warnings:?}");
    }
}
