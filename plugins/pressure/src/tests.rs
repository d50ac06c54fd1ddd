//! The plugin on fixture machines: a new kernel, and one of the first with pressure stall information.

use gauged_plugin::testing::{Harness, Host, assert_damage_is_contained_for, assert_golden, assert_readme};
use gauged_plugin::{OsError, Value};

use super::*;

mod malformed;
mod worlds;

const DISABLED: &str = "Operation not supported";

fn start(host: Host) -> Harness<Pressure> {
    Harness::start(host, "{}").expect("no configuration")
}

fn file(some_us: u64, full_us: u64) -> String {
    let line = |name: &str, us: u64| format!("{name} avg10=0.00 avg60=0.00 avg300=0.00 total={us}\n");
    line("some", some_us) + &line("full", full_us)
}

#[test]
fn machines_match_their_golden_files() {
    for machine in ["web-1", "db-2"] {
        let sample = start(Host::from_fixture(&format!("fixtures/{machine}"))).tick().expect("a sample");
        assert_golden(&format!("fixtures/{machine}/expected"), &sample.render());
    }
}

#[test]
fn percent_is_the_share_of_the_tick() {
    let mut pressure = start(Host::from_fixture("fixtures/web-1"));
    let some = r#"pressure.some_percent{resource="io"}"#;
    let full = r#"pressure.full_percent{resource="io"}"#;
    assert_eq!(pressure.tick().expect("a sample").get(some), None, "no previous values");

    // 2.5 s and 1 s of 10 s.
    pressure.host().file("/proc/pressure/io", file(179_668_646, 83_646_751));
    let sample = pressure.tick().expect("a sample");
    assert_eq!((&sample[some], &sample[full]), (&Value::Number(25.0), &Value::Number(10.0)));
    assert_eq!(sample[r#"pressure.some_percent{resource="cpu"}"#], 0.0);

    // Read slightly later in the tick than before.
    pressure.host().file("/proc/pressure/io", file(189_670_646, 83_646_751));
    assert_eq!(pressure.tick().expect("a sample")[some], 100.0);

    // A counter reset gives no percentage.
    pressure.allow_counter_reset();
    pressure.host().file("/proc/pressure/io", file(1_000_000, 83_646_751));
    let sample = pressure.tick().expect("a sample");
    assert_eq!((sample.get(some), &sample[full]), (None, &Value::Number(0.0)));
}

#[test]
fn missing_accounting_differs_from_a_read_error() {
    let why = "the kernel has no pressure stall information; it needs Linux 4.20 or later, and psi=1 on its command \
               line where it is off by default";
    assert_eq!(start(Host::new()).tick(), Err(Error::Unsupported(why.to_owned())));

    let mut off = Host::from_fixture("fixtures/web-1");
    for resource in ["cpu", "memory", "io", "irq"] {
        off.file_fails(&format!("/proc/pressure/{resource}"), files::Error::NotSupported(DISABLED.to_owned()));
    }
    assert_eq!(start(off).tick(), Err(Error::Unsupported(why.to_owned())));

    // The accounting of interrupts is separate.
    let mut partly = Host::from_fixture("fixtures/web-1");
    partly.file_fails("/proc/pressure/irq", files::Error::NotSupported(DISABLED.to_owned()));
    let sample = start(partly).tick().expect("a sample");
    assert!(!sample.is_empty() && !sample.keys().any(|key| key.contains("irq")));

    let mut broken = Host::from_fixture("fixtures/web-1");
    broken.file_fails("/proc/pressure/io", files::Error::Io(OsError::new("EIO", "Input/output error")));
    let mut broken = start(broken);
    let sample = broken.tick().expect("the other resources");
    assert!(!sample.keys().any(|key| key.contains(r#""io""#)) && sample.keys().any(|key| key.contains("memory")));
    let why = "WARN without io: /proc/pressure/io is malformed: Input/output error (EIO)";
    assert_eq!(broken.host().messages(), [why]);
}

#[test]
fn unreadable_value_costs_only_itself() {
    const FULL: &str = "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
    for (text, lost, why) in [
        ("nonsense\n", "some_seconds_total", "is truncated: missing line some"),
        ("some avg10=1.00 avg60=0.00 avg300=0.00 total=7\n", "full_seconds_total", "is truncated: missing line full"),
        (&format!("some avg10=1.00 avg60=0.00 total=7\n{FULL}"), "some_avg300_percent", "missing avg300"),
        (&format!("some avg10=x avg60=0.00 avg300=0.00 total=7\n{FULL}"), "some_avg10_percent", "x is not a number"),
        (
            &format!("some avg10=650.00 avg60=0 avg300=0 total=7\n{FULL}"),
            "some_avg10_percent",
            "650.00 is impossible (avg10)",
        ),
        (
            &format!("some avg10=0.00 avg60=0.00 avg300=0.00 total=-7\n{FULL}"),
            "some_seconds_total",
            "-7 is not a number",
        ),
    ] {
        let mut host = Host::from_fixture("fixtures/web-1");
        host.file("/proc/pressure/io", text);
        let mut pressure = start(host);
        let sample = pressure.tick().expect("a sample");
        assert_eq!(sample.get(&format!("pressure.{lost}{{resource=\"io\"}}")), None, "{text:?}");
        assert!(sample.contains_key(r#"pressure.some_avg60_percent{resource="memory"}"#));
        assert!(pressure.host().messages()[0].contains(why), "{:?}: {why}", pressure.host().messages());
    }
}

#[test]
fn jump_of_a_total_has_no_percentage() {
    let mut pressure = start(Host::from_fixture("fixtures/web-1"));
    pressure.tick().expect("a sample");
    // 400 s within 10 s.
    pressure.host().file("/proc/pressure/io", file(177_168_646 + 400_000_000, 83_646_751));
    assert_eq!(pressure.tick().expect("a sample").get(r#"pressure.some_percent{resource="io"}"#), None);
}

#[test]
fn damaged_file_costs_only_its_resource() {
    for machine in ["web-1", "db-2"] {
        assert_damage_is_contained_for::<Pressure, _>(
            &Host::from_fixture(&format!("fixtures/{machine}")),
            "{}",
            |path| {
                let resource = path.rsplit('/').next().unwrap_or_default();
                vec![format!("*{{resource=\"{resource}\"}}")]
            },
        );
    }
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Pressure>();
}
