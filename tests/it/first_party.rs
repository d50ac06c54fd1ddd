//! The plugins in this repository, as `plugins/build.sh` builds them.

use std::fs;
use std::process::Output;

use crate::harness::{Sample, Setup, parse, plugin_metric, repository};

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
    let greetings = "greetings_total{name=\"world\"}";
    let first = sample["hello"][greetings].as_u64().expect("a number");
    assert_eq!(agent.next()["hello"][greetings], first + 1, "it keeps its memory");
    for name in ["uptime", "hello"] {
        assert_eq!(plugin_metric(&sample, "plugin_up", name), Some(1.0));
    }
}

/// Copies all plugins that `plugins/build.sh` has built; returns their names.
fn install_all(setup: &Setup) -> Vec<String> {
    let files =
        fs::read_dir(repository().join("plugins")).expect("readable").map(|entry| entry.expect("readable").path());
    let wasm = files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    let names: Vec<String> =
        wasm.map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    for name in &names {
        fs::write(setup.plugin(&format!("{name}.wasm")), built(name)).expect("copied");
    }
    assert!(names.len() > 10, "{names:?}; run plugins/build.sh first");
    names
}

fn state<'a>(sample: &'a Sample, plugin: &str) -> &'a str {
    sample["agent"][&format!("plugin_state{{plugin=\"{plugin}\"}}")].as_str().expect("a state")
}

#[test]
fn all_plugins_start_without_a_warning() {
    // On a busy host a sample does not wait until all are compiled. Each attempt begins without a cache: from there they would all come
    // at once, and share log lines.
    let attempt = || {
        let setup = Setup::new();
        let names = install_all(&setup);
        (names, setup.run(&["--once"]))
    };
    let is_whole = |(_, output): &(Vec<String>, Output)| {
        !String::from_utf8_lossy(&output.stderr).contains("before all plugins are loaded")
    };
    let (names, output) = (0..9).map(|_| attempt()).find(is_whole).expect("all are loaded in time");
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{log}");
    assert!(log.lines().all(|line| line.contains(" INFO ")), "{log}");
    let sample = parse(&String::from_utf8(output.stdout).expect("text"));
    assert_eq!((&sample["agent"]["plugins_rejected"], &sample["agent"]["plugins_omitted"]), (&0.into(), &0.into()));
    for name in &names {
        let state = state(&sample, name);
        // These need a table; whether a host has the subjects of the others is not known here.
        let expected = match &**name {
            "http_check" | "json" | "nginx" | "ports" | "prometheus" | "redis" | "systemd" | "textfile" => {
                &["idle"][..]
            }
            "hello" | "meminfo" | "process" | "uptime" => &["up"],
            _ => &["up", "disabled"],
        };
        assert!(expected.contains(&state), "{name} is {state}\n{log}");
        assert_eq!(sample.contains_key(name), state == "up", "{name} is {state}\n{log}");
        assert_eq!(plugin_metric(&sample, "plugin_up", name), Some(f64::from(u8::from(state == "up"))), "{name}");
        assert_eq!(plugin_metric(&sample, "plugin_file_rejected", name), Some(0.0), "{name}");
        let line = format!(" INFO plugin {} plugin={name} ", if state == "up" { "loaded" } else { state });
        assert_eq!(log.matches(&line).count(), 1, "{line} in {log}");
    }
    // The exact lines to add are in the log.
    for remedy in [
        r#"remedy="write under [plugins.redis]: connect = [\"127.0.0.1:6379\"], and reload the agent""#,
        r#"remedy="correct config under [plugins.http_check], and reload the agent""#,
        r#"remedy="write under [plugins.process]: read = [\"/proc/*/stat\"], and reload the agent""#,
    ] {
        assert!(log.contains(remedy), "{remedy} in {log}");
    }
}

#[test]
fn tables_without_grants_are_warnings() {
    let setup = Setup::with_config("[plugins.redis]\n[plugins.process]\n[plugins.http_check]\n");
    for name in ["redis", "process", "http_check", "nginx"] {
        fs::write(setup.plugin(&format!("{name}.wasm")), built(name)).expect("copied");
    }
    let output = setup.run(&["--once"]);
    let log = String::from_utf8(output.stderr).expect("text");
    let sample = parse(&String::from_utf8(output.stdout).expect("text"));
    assert_eq!(output.status.code(), Some(1), "{log}");
    for (name, expected) in [("redis", "rejected"), ("process", "up"), ("http_check", "rejected"), ("nginx", "idle")] {
        assert_eq!(state(&sample, name), expected, "{log}");
    }
    assert_eq!(sample["agent"]["plugins_rejected"], 2, "nginx has no table: {log}");
    for line in [
        " WARN plugin rejected plugin=redis ",
        " WARN plugin rejected plugin=http_check ",
        " WARN grants missing plugin=process count=1 reason=\"to count processes by state\" remedy=\"write under [plugins.process]: ",
        "ERROR sample incomplete missing=\"http_check, redis\"",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line} in {log}");
    }
    assert!(!log.lines().any(|line| line.contains("WARN") && line.contains("nginx")), "{log}");
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

#[test]
fn processes_beyond_ten_thousand_are_measured() {
    const PROCESSES: u32 = 10_100;
    let setup = Setup::with_config("[plugins.process]\nread = [\"/proc/*/stat\", \"/proc\"]\ntimeout = \"1m\"\n");
    fs::write(setup.plugin("process.wasm"), built("process")).expect("copied");
    for pid in 1..=PROCESSES {
        let directory = setup.path(&format!("host/proc/{pid}"));
        fs::create_dir_all(&directory).expect("created");
        let stat = format!("{pid} (worker) S 1 1 1 0 -1 4194560 0 0 0 0 1 1 0 0 20 0 1 0 70 4096 1\n");
        fs::write(directory.join("stat"), stat).expect("written");
    }
    let (sample, log) = setup.once_with(&["--root", "host"]);
    let metrics = sample.get("process").unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (&metrics["processes"], &metrics["processes_in_state{state=\"sleeping\"}"]),
        (&PROCESSES.into(), &PROCESSES.into())
    );
}
