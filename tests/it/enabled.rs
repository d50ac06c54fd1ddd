//! Native collectors and plugins with `enabled = false`.

use std::fs;

use serde_json::json;

use crate::guest::Guest;
use crate::harness::{Sample, Setup, parse, plugin_metric, value};
use crate::plugin_command::plugin;

/// The line about the plugin `off`, whose file is `off.wasm`.
const NOT_ENABLED: &str = " INFO plugin not enabled plugin=off file=plugins/off.wasm \
                           remedy=\"remove enabled = false from [plugins.off], and reload the agent\"";

/// Takes a single sample, which is complete, and asserts that nothing was warned about. Returns the sample and the log.
fn complete_sample(setup: &Setup, arguments: &[&str]) -> (Sample, String) {
    let output = setup.run(&[&["--once"], arguments].concat());
    let log = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    (parse(&String::from_utf8(output.stdout).expect("text")), log)
}

fn modules(sample: &Sample) -> Vec<&str> {
    sample.keys().map(String::as_str).collect()
}

/// Asserts that a sample has neither a module nor a metric about a plugin.
fn assert_absent(sample: &Sample, plugin: &str, log: &str) {
    assert!(!sample.contains_key(plugin), "{log}");
    let label = format!("plugin=\"{plugin}\"");
    let metrics: Vec<&String> = sample["agent"].keys().filter(|key| key.contains(&label)).collect();
    assert!(metrics.is_empty(), "{metrics:?}\n{log}");
}

/// The configuration in which all native collectors are off.
const NONE: &str =
    "[cpu]\nenabled = false\n[load]\nenabled = false\n[memory]\nenabled = false\n[host]\nenabled = false\n";

#[test]
fn collectors_that_are_off_have_no_modules() {
    for (toml, expected) in [
        ("[cpu]\nenabled = true\n[load]\nenabled = true\n", &["agent", "cpu", "host", "load", "memory", "swap"][..]),
        ("[cpu]\nenabled = false\nper_core = true\n", &["agent", "host", "load", "memory", "swap"]),
        ("[load]\nenabled = false\n", &["agent", "cpu", "host", "memory", "swap"]),
        ("[memory]\nenabled = false\n", &["agent", "cpu", "host", "load"]),
        ("[host]\nenabled = false\n", &["agent", "cpu", "load", "memory", "swap"]),
        (NONE, &["agent"]),
    ] {
        let (sample, log) = complete_sample(&Setup::with_config(toml), &[]);
        assert_eq!(modules(&sample), expected, "{toml}{log}");
    }
}

#[test]
fn collectors_that_are_off_read_no_files() {
    // On a host with kernel files that are of no use, which would be warnings.
    let setup = Setup::with_config(NONE);
    for file in ["proc/stat", "proc/loadavg", "proc/meminfo", "proc/vmstat", "proc/sys/kernel/osrelease"] {
        let file = setup.path("host").join(file);
        fs::create_dir_all(file.parent().expect("has one")).expect("created");
        fs::write(file, "").expect("written");
    }
    fs::create_dir_all(setup.path("host/etc/os-release")).expect("created");
    let (sample, log) = complete_sample(&setup, &["--root", "host", "--hostname", "web-1"]);
    assert_eq!((modules(&sample), &*log), (vec!["agent"], ""));
}

#[test]
fn collectors_stay_off_at_each_tick() {
    let setup = Setup::with_config("interval = \"100ms\"\n[load]\nenabled = false\n");
    let mut agent = setup.start(&[]);
    for _ in 0..3 {
        assert_eq!(modules(&agent.next()), ["agent", "cpu", "host", "memory", "swap"]);
    }
}

#[test]
fn plugin_that_is_off_is_not_loaded() {
    let setup = Setup::with_config("[plugins.off]\nenabled = false\n[plugins.on]\nenabled = true\n");
    Guest::new("off").install(&setup.plugin("off.wasm"));
    Guest::new("on").install(&setup.plugin("on.wasm"));
    let (sample, log) = complete_sample(&setup, &[]);
    assert_eq!(value(&sample, "on"), Some(1.into()), "{log}");
    assert_absent(&sample, "off", &log);
    assert_eq!(sample["agent"]["compiled_total"], 1, "{log}");
    assert_eq!(log.matches(NOT_ENABLED).count(), 1, "{log}");
}

#[test]
fn plugin_that_is_off_needs_no_file() {
    let setup = Setup::with_config("[plugins.off]\nenabled = false\n");
    let (sample, log) = complete_sample(&setup, &[]);
    assert_absent(&sample, "off", &log);
    assert!(log.is_empty(), "{log}");
}

#[test]
fn invalid_file_is_ignored_while_plugin_is_off() {
    for is_directory in [false, true] {
        let setup = Setup::with_config("[plugins.off]\nenabled = false\n");
        let file = setup.plugin("off.wasm");
        if is_directory { fs::create_dir(&file) } else { fs::write(&file, "") }.expect("created");
        let (sample, log) = complete_sample(&setup, &[]);
        assert_eq!((log.matches(NOT_ENABLED).count(), log.lines().count()), (1, 1), "{log}");
        assert_eq!(sample["agent"]["plugins_rejected"], 0, "{log}");
    }
}

#[test]
fn shared_file_makes_only_enabled_plugins() {
    let table = |name: &str| format!("[plugins.{name}]\nfile = \"shared.wasm\"\n");
    let setup = Setup::with_config(&format!("{}enabled = false\n{}", table("first"), table("second")));
    Guest::new("shared").install(&setup.plugin("shared.wasm"));
    let (sample, log) = complete_sample(&setup, &[]);
    assert_eq!(value(&sample, "shared"), Some(1.into()), "{log}");
    assert_eq!(plugin_metric(&sample, "plugin_up", "second"), Some(1.0), "{log}");
    assert_absent(&sample, "first", &log);
    assert!(log.contains(" INFO plugin not enabled plugin=first file=plugins/shared.wasm "), "{log}");
}

#[test]
fn file_makes_no_default_plugin_instead() {
    let setup = Setup::with_config("[plugins.off]\nfile = \"redis.wasm\"\nenabled = false\n");
    Guest::new("redis").install(&setup.plugin("redis.wasm"));
    let (sample, log) = complete_sample(&setup, &[]);
    assert_absent(&sample, "redis", &log);
    assert_absent(&sample, "off", &log);
    assert!(log.contains(" INFO plugin not enabled plugin=off file=plugins/redis.wasm "), "{log}");
}

#[test]
fn file_changes_are_reported_once_while_off() {
    let setup = Setup::with_config("interval = \"100ms\"\n[plugins.off]\nenabled = false\n");
    let mut agent = setup.start(&[]);
    agent.next();
    let mut load = |setup: &Setup, name: &str, lines: usize| {
        // The plugin that is loaded at last is copied last: the file before it was noticed by then.
        Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
        let sample = agent.wait(|sample| value(sample, name).is_some());
        assert_absent(&sample, "off", &agent.log());
        assert_eq!(agent.wait_log_lines(NOT_ENABLED, lines).len(), lines, "{}", agent.log());
    };
    Guest::new("off").install(&setup.plugin("off.wasm"));
    load(&setup, "one", 1);
    Guest::new("off").value(2).install(&setup.plugin("off.wasm"));
    load(&setup, "two", 1);
    fs::remove_file(setup.plugin("off.wasm")).expect("removed");
    load(&setup, "three", 1);
    Guest::new("off").install(&setup.plugin("off.wasm"));
    load(&setup, "four", 2);
}

#[test]
fn plugin_command_runs_plugins_that_are_off() {
    let setup = Setup::with_config("[plugins.off]\nenabled = false\nconnect = [\"db:1\"]\n");
    let guest = Guest::new("off").describes(&[("off", "value", 0)]).needs("connect", "db:1", "look");
    guest.install(&setup.plugin("off.wasm"));
    for command in ["test", "inspect"] {
        let output = plugin(&setup, &[command, "plugins/off.wasm", "--json"]);
        assert_eq!(output.code, Some(0), "{command}: {}{}", output.stdout, output.stderr);
        let json = output.json();
        assert_eq!((&json["name"], &json["needs"][0]["granted"]), (&json!("off"), &json!("configuration")), "{json}");
    }
}
