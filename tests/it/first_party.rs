//! The plugins in this repository, as `plugins/build.sh` builds them.

use std::fs;

use crate::harness::{Setup, plugin_metric, repository};

/// A plugin's file as `plugins/build.sh` wrote it.
pub fn built(name: &str) -> Vec<u8> {
    let file = repository().join("plugins").join(name).with_extension("wasm");
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run plugins/build.sh first", file.display()))
}

#[test]
fn built_plugins_run_and_keep_state() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    for name in ["uptime", "hello"] {
        fs::write(setup.plugin(name).with_extension("wasm"), built(name)).expect("copied");
    }
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| sample.contains_key("uptime") && sample.contains_key("hello"));
    let seconds = sample["uptime"]["seconds"].as_f64().expect("a number");
    let now: f64 = fs::read_to_string("/proc/uptime")
        .expect("readable")
        .split(' ')
        .next()
        .expect("two")
        .parse()
        .expect("a number");
    assert!((now - 60.0..=now).contains(&seconds), "{seconds} at {now}");
    let first = sample["hello"]["greetings_total"].as_u64().expect("a number");
    assert_eq!(agent.next()["hello"]["greetings_total"], first + 1, "it keeps its memory");
    for name in ["uptime", "hello"] {
        assert_eq!(plugin_metric(&sample, "plugin_up", name), Some(1.0));
    }
}

#[test]
fn hello_plugin_is_at_most_60_kib() {
    let encoder = wit_component::ComponentEncoder::default().module(&built("hello")).expect("a module with a world");
    let component = encoder.validate(true).encode().expect("a component");
    assert!(component.len() <= 60 << 10, "{} bytes", component.len());
}

/// The plugin has settings and no grant: this covers the way from the TOML to the type that the plugin declares.
#[test]
fn mount_size_equals_statvfs() {
    let settings = "config = { mounts = { include = [\"/\"] }, fstypes = {} }";
    let setup = Setup::with_config(&format!("interval = \"100ms\"\n[plugins.filesystem]\n{settings}\n"));
    fs::write(setup.plugin("filesystem").with_extension("wasm"), built("filesystem")).expect("copied");
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| sample.contains_key("filesystem"));
    let metrics = &sample["filesystem"];
    let (_, total) =
        metrics.iter().find(|(key, _)| key.starts_with("total_bytes{mount=\"/\",")).expect("it is mounted");
    let system = rustix::fs::statvfs("/").expect("it is mounted");
    assert_eq!(total.as_u64(), Some(system.f_blocks * system.f_frsize));
    assert!(metrics.keys().all(|key| key.contains("{mount=\"/\",")), "{metrics:?}");
}

#[test]
fn unknown_setting_is_reported_by_its_key() {
    let setup = Setup::with_config("[plugins.filesystem]\nconfig = { mounts = { only = [\"/\"] } }\n");
    fs::write(setup.plugin("filesystem").with_extension("wasm"), built("filesystem")).expect("copied");
    let mut agent = setup.start(&[]);
    agent.wait_log("mounts.only: unknown key; remove it, or use one of include, exclude");
}
