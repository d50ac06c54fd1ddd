//! `gauged plugin grants`.

use expect_test::expect;
use serde_json::json;

use super::inspect::guest_with_needs;
use super::test::reading;
use super::{plugin, write_plugin};
use crate::capabilities::file_guest;
use crate::guest::Guest;
use crate::harness::Setup;
use crate::many_files::batch_guest;

#[test]
fn grants_command_prints_the_list() {
    let setup = Setup::new();
    let output = plugin(&setup, &["grants"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(lines.contains(&"Memory"), "{}", output.stdout);
    let is_row = |line: &&&str| line.starts_with("  /proc/sys/vm/* ") && line.contains(" settings: swappiness, ");
    assert_eq!(lines.iter().filter(is_row).count(), 1, "{}", output.stdout);

    let json = plugin(&setup, &["grants", "--json"]).json();
    let list = json.as_array().expect("a list");
    assert_eq!(
        list[0],
        json!({ "path": "/proc/uptime", "reason": "time since boot, and time spent idle", "group": "Time, load and CPUs" })
    );
    assert!(list.len() > 100 && list.iter().all(|grant| grant["reason"].as_str().is_some_and(|why| !why.is_empty())));
}

#[test]
fn grants_command_shows_needs_and_use() {
    let setup = Setup::new();
    let guest = reading(guest_with_needs(), "/proc/net/dev");
    write_plugin(&setup, &guest, "needy.wasm");
    let output = plugin(&setup, &["grants", "needy.wasm", "--grant", "read=/etc/app/*"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    expect![[r#"
        needy measured

        needs
          read = ["/proc/stat"]  granted by default  to count forks
          read = ["/etc/app/*"]  granted             to read what is set
          connect = ["db:1"]     not granted         to count forks

        read, as every plugin may
          /proc/1/net/dev  traffic and errors of interfaces

        configuration that grants the needs

          [plugins.needy]
          read = ["/etc/app/*"]
          connect = ["db:1"]
    "#]]
    .assert_eq(&output.stdout);
    let json = plugin(&setup, &["grants", "needy.wasm", "--json"]).json();
    assert_eq!(json["used"][0]["path"], "/proc/1/net/dev");
    assert_eq!(
        (&json["needs"][1]["granted"], &json["error"], &json["denied"]),
        (&json!("no"), &json!(null), &json!([]))
    );
}

#[test]
fn grants_command_lists_files_of_a_batch() {
    let setup = Setup::new();
    let used = |guest: &Guest| {
        write_plugin(&setup, guest, "reader.wasm");
        let json = plugin(&setup, &["grants", "reader.wasm", "--json"]).json();
        let used = json["used"].as_array().expect("a list").clone();
        used.into_iter().map(|grant| grant["path"].clone()).collect::<Vec<_>>()
    };
    let paths = ["/proc/net/dev", "/proc/uptime", "/etc/hostname"];
    assert_eq!(used(&batch_guest(&paths, 4096, 0)), ["/proc/uptime", "/proc/1/net/dev"]);
    assert_eq!(used(&file_guest("stat", "/proc/uptime")), ["/proc/uptime"]);
    assert_eq!(used(&file_guest("read-link", "/proc/mounts")), ["/proc/1/mounts"]);
}

#[test]
fn denied_files_are_listed_by_grants() {
    let setup = Setup::new();
    write_plugin(&setup, &reading(guest_with_needs(), "/etc/hostname"), "needy.wasm");
    let json = plugin(&setup, &["grants", "needy.wasm", "--json"]).json();
    assert_eq!((&json["denied"], &json["used"]), (&json!(["read = [\"/etc/hostname\"]"]), &json!([])));
    assert!(json["configuration"].to_string().contains("/etc/hostname"), "{json}");
    assert_eq!(plugin(&setup, &["grants", "none.wasm"]).code, Some(1));
}
