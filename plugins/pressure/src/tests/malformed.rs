//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

/// `/proc` that is gone for a moment, as while a container is set up. Right: an error that may pass, because the kernel has the accounting;
/// the resources are back with their files.
#[test]
fn files_missing_for_a_tick_come_back() {
    let host = Host::from_fixture("fixtures/web-1");
    let mut pressure = start(host.clone());
    let before = pressure.tick().expect("a sample");
    for resource in ["cpu", "memory", "io", "irq"] {
        pressure.host().file_fails(&format!("/proc/pressure/{resource}"), files::Error::NotFound);
    }
    assert!(matches!(pressure.tick(), Err(Error::Unavailable(_))));
    *pressure.host() = host;
    let after = pressure.tick().expect("a sample");
    assert!(before.iter().all(|(key, value)| after.get(key) == Some(value)), "{after:?}");
}
