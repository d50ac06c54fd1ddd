//! The plugin on fixture machines: a new kernel, and one of the first that account for pressure.

use gauged_plugin::Value;
use gauged_plugin::testing::{Host, Running, hold_file, hold_readme};

use super::*;

const DISABLED: &str = "Operation not supported (os error 95)";

fn start(host: Host) -> Running<Pressure> {
    Running::start(host, "{}").expect("it has no configuration")
}

fn file(some_us: u64, full_us: u64) -> String {
    let line = |name: &str, us: u64| format!("{name} avg10=0.00 avg60=0.00 avg300=0.00 total={us}\n");
    line("some", some_us) + &line("full", full_us)
}

#[test]
fn machines_are_as_their_fixtures_say() {
    for machine in ["web-1", "db-2"] {
        let sample = start(Host::at(&format!("fixtures/{machine}"))).tick().expect("a sample");
        hold_file(&format!("fixtures/{machine}/expected"), &sample.render());
    }
}

#[test]
fn shares_are_those_of_the_time_between_two_ticks() {
    let mut pressure = start(Host::at("fixtures/web-1"));
    let some = r#"pressure.some_percent{resource="io"}"#;
    let full = r#"pressure.full_percent{resource="io"}"#;
    assert_eq!(pressure.tick().expect("a sample").get(some), None, "nothing to compare with");

    // 2.5 s and 1 s of 10 s.
    pressure.host().file("/proc/pressure/io", file(179_668_646, 83_646_751));
    let sample = pressure.tick().expect("a sample");
    assert_eq!((&sample[some], &sample[full]), (&Value::Float(25.0), &Value::Float(10.0)));
    assert_eq!(sample[r#"pressure.some_percent{resource="cpu"}"#], 0.0);

    // Read a little later within the tick than the time before.
    pressure.host().file("/proc/pressure/io", file(189_670_646, 83_646_751));
    assert_eq!(pressure.tick().expect("a sample")[some], 100.0);

    // Counted from zero again: no share, rather than a wrong one.
    pressure.restarted();
    pressure.host().file("/proc/pressure/io", file(1_000_000, 83_646_751));
    let sample = pressure.tick().expect("a sample");
    assert_eq!((sample.get(some), &sample[full]), (None, &Value::Float(0.0)));
}

#[test]
fn a_host_without_the_accounting_is_told_apart_from_a_mistake() {
    let why = "the kernel does not account for pressure: that takes Linux 4.20, and psi=1 on its command line where it is \
               off by default";
    assert_eq!(start(Host::new()).tick(), Err(Error::Unsupported(why.to_owned())));

    let mut off = Host::at("fixtures/web-1");
    for resource in ["cpu", "memory", "io", "irq"] {
        off.file_fails(&format!("/proc/pressure/{resource}"), files::Error::Io(DISABLED.to_owned()));
    }
    assert_eq!(start(off).tick(), Err(Error::Unsupported(why.to_owned())));

    // Time in interrupts is an accounting of its own.
    let mut partly = Host::at("fixtures/web-1");
    partly.file_fails("/proc/pressure/irq", files::Error::Io(DISABLED.to_owned()));
    let sample = start(partly).tick().expect("a sample");
    assert!(!sample.is_empty() && !sample.keys().any(|key| key.contains("irq")));

    let mut broken = Host::at("fixtures/web-1");
    broken.file_fails("/proc/pressure/io", files::Error::Io("Input/output error (os error 5)".to_owned()));
    let why = "failed to read /proc/pressure/io: Input/output error (os error 5)";
    assert_eq!(start(broken).tick(), Err(Error::Unavailable(why.to_owned())));
}

#[test]
fn what_makes_no_sense_is_told() {
    for (text, why) in [
        ("", "/proc/pressure/io: has no line some"),
        ("nonsense\n", "/proc/pressure/io: has no line some"),
        ("some avg10=1.00 avg60=0.00 avg300=0.00 total=7\n", "/proc/pressure/io: has no line full"),
        ("some avg10=1.00 avg60=0.00 total=7\n", "/proc/pressure/io line 1: has no avg300"),
        ("some avg10=1.00 avg60=0.00 avg300=x total=7\n", "/proc/pressure/io line 1: x is not a number (avg300)"),
    ] {
        let mut host = Host::at("fixtures/web-1");
        host.file("/proc/pressure/io", text);
        assert_eq!(start(host).tick(), Err(Error::Internal(why.to_owned())), "{text:?}");
    }
}

#[test]
fn the_readme_tells_what_is_measured() {
    hold_readme::<Pressure>();
}
