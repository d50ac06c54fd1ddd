//! Configuration files and the command line, valid and invalid.

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::guest::Guest;
use crate::harness::{Sample, Setup, plugin_metric, value};

/// Asserts what `gauged check` prints about a configuration, and that the agent itself reports the same errors.
fn check(toml: &str, expected: &Expect) {
    let setup = Setup::with_config(toml);
    let output = setup.run(&["check"]);
    let errors = String::from_utf8(output.stderr).expect("text");
    expected.assert_eq(&errors);
    assert_eq!(output.status.code(), Some(if errors.is_empty() { 0 } else { 2 }));
    // With an error the agent takes no sample.
    let output = setup.run(&["--once"]);
    assert!(String::from_utf8(output.stderr).expect("text").starts_with(&errors));
    assert_eq!(output.stdout.is_empty(), !errors.is_empty());
}

#[test]
fn configuration_errors_show_line_key_and_remedy() {
    check(
        r#"
interval = "-1s"
intervall = "10s"
plugin = 1

[plugins.redis]
file = "../redis.wasm"
interval = "15s"
timeout = 5
memory = "1KiB"
read = ["etc/passwd", "/ok", "/a/../b"]
connect = [
    "127.0.0.1:6379",
    "redis", "unix:redis.sock",
    "*.internal:80",
]
fetch = ["http://localhost:8080", "example.org", "https://example.org/path", "http://user@example.org"]
connects = []

[plugins."a b"]
memory = "lots"
usage = "/"
config = { x = nan }
"#,
        &expect![[r#"
            gauged.toml:2: interval: "-1s" is not a duration; write it like "10s" or "500ms", from 100ms to 1day
            gauged.toml:3: intervall: unknown key; remove it, or use one of interval, hostname, tags, plugins_directory, cache, state_directory, log, limits, metrics, cpu, load, memory, host, client, sinks, http, plugins
            gauged.toml:4: plugin: unknown key; remove it, or use one of interval, hostname, tags, plugins_directory, cache, state_directory, log, limits, metrics, cpu, load, memory, host, client, sinks, http, plugins
            gauged.toml:7: plugins.redis.file: "../redis.wasm" is not a plugin's file; name a .wasm file directly in the plugins directory
            gauged.toml:9: plugins.redis.timeout: "5" is not a duration; write it like "10s" or "500ms", from 10ms to 1m
            gauged.toml:10: plugins.redis.memory: "1KiB" is out of bounds; it has to be from 64.0 KiB to 1.0 GiB
            gauged.toml:11: plugins.redis.read: "etc/passwd" is not absolute; begin it with /
            gauged.toml:11: plugins.redis.read: "/a/../b" has an empty, . or .. segment; write it without
            gauged.toml:14: plugins.redis.connect: "redis" has no port; end it with one from :1 to :65535
            gauged.toml:14: plugins.redis.connect: "unix:redis.sock" is not absolute; begin it with /
            gauged.toml:15: plugins.redis.connect: "*.internal:80" has no host in "*.internal"; write a name of letters, digits, - and _, or an address, IPv6 in brackets
            gauged.toml:17: plugins.redis.fetch: "example.org" does not begin with http:// or https://
            gauged.toml:17: plugins.redis.fetch: "https://example.org/path" has more than scheme, host and port; write "https://example.org"
            gauged.toml:17: plugins.redis.fetch: "http://user@example.org" has a user name before the host; remove it
            gauged.toml:18: plugins.redis.connects: unknown key; remove it, or use one of enabled, file, interval, timeout, memory, limits, read, usage, connect, fetch, config, secrets, client
            gauged.toml:20: plugins.a b: not a plugin's name; use letters, digits, - and _, at most 128 of them
            gauged.toml:21: plugins.a b.memory: "lots" is not a size; write it like "64MiB", from 64.0 KiB to 1.0 GiB
            gauged.toml:22: plugins.a b.usage: is a string; write a list of texts, as in ["…", "…"]
            gauged.toml:23: plugins.a b.config: contains NaN, which JSON cannot represent; write a finite number
        "#]],
    );
}

#[test]
fn errors_in_limits_are_all_reported() {
    check(
        "[limits]
compile_cpu = \"500ms\"
compile_cpu_per_hour = \"3h\"
compile = \"1m\"
memory = \"half\"
series = 10
",
        &expect![[r#"
            gauged.toml:2: limits.compile_cpu: "500ms" is out of bounds; it has to be from 1s to 10m
            gauged.toml:3: limits.compile_cpu_per_hour: "3h" is out of bounds; it has to be from 1s to 2h
            gauged.toml:4: limits.compile: unknown key; remove it, or use one of compile_cpu, compile_cpu_per_hour, memory, series
            gauged.toml:5: limits.memory: "half" is not a size; write it like "64MiB", from 1.0 MiB to 1.0 TiB
            gauged.toml:6: limits.series: "10" is out of bounds; it has to be from 100 to 10000000
        "#]],
    );
    check(
        "limits = 3\n",
        &expect![[r"
            gauged.toml:1: limits: is an integer; write a table, as in [limits]
        "]],
    );
    check(
        "limits.compile_cpu = \"1500ms\"\nlimits.compile_cpu_per_hour = \"0s\"\n",
        &expect![[r#"
            gauged.toml:1: limits.compile_cpu: "1500ms" is finer than a second; write whole seconds
            gauged.toml:2: limits.compile_cpu_per_hour: "0s" is out of bounds; it has to be from 1s to 2h
        "#]],
    );
    check("[limits]\ncompile_cpu = \"10m\"\ncompile_cpu_per_hour = \"1s\"\n", &expect![""]);
}

#[test]
fn errors_in_enabled_name_key_and_form() {
    check(
        "load = false
[cpu]
enabled = \"no\"
enable = false
[memory]
enabled = 0
per_core = true
[plugins.redis]
enabled = [false]
",
        &expect![[r"
            gauged.toml:1: load: is a boolean; write a table, as in [load]
            gauged.toml:3: cpu.enabled: is a string; write true or false
            gauged.toml:4: cpu.enable: unknown key; remove it, or use one of enabled, per_core
            gauged.toml:6: memory.enabled: is an integer; write true or false
            gauged.toml:7: memory.per_core: unknown key; remove it, or use enabled
            gauged.toml:9: plugins.redis.enabled: is an array; write true or false
        "]],
    );
}

#[test]
fn invalid_toml_is_reported_by_line() {
    check(
        "interval = \n[plugins\nx = = 1\n",
        &expect![[r"
        gauged.toml:1: not TOML: string values must be quoted, expected literal string
        gauged.toml:2: not TOML: unclosed table, expected `]`
        gauged.toml:3: not TOML: extra `=`, expected nothing
        gauged.toml:3: not TOML: unexpected key or value, expected newline, `#`
    "]],
    );
}

/// The exit code and the errors of `gauged check` for a configuration file.
fn check_file(setup: &Setup, file: &str) -> (Option<i32>, String) {
    let output = setup.run(&["check", "--config", file]);
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn many_unknown_keys_are_all_reported() {
    const KEYS: usize = 100_000;
    let lines: Vec<String> = (0..KEYS).map(|number| format!("k{number}=1\n")).collect();
    let setup = Setup::with_config(&lines.concat());
    let (code, errors) = check_file(&setup, "gauged.toml");
    assert_eq!((code, errors.lines().count()), (Some(2), KEYS));
    assert!(errors.starts_with("gauged.toml:1: k0: unknown key; remove it, or use one of "), "{}", &errors[..100]);
    assert!(errors.lines().last().is_some_and(|line| line.starts_with("gauged.toml:100000: k99999: unknown key")));
}

#[test]
fn file_that_is_no_configuration_is_reported() {
    let setup = Setup::new();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, setup.path("pipe"), mode).expect("made");
    std::fs::create_dir(setup.path("directory")).expect("created");
    let _socket = std::os::unix::net::UnixListener::bind(setup.path("socket")).expect("bound");
    std::fs::write(setup.path("large"), "# filler\n".repeat((2 << 20) / 9)).expect("written");
    std::fs::write(setup.path("binary"), [0xff, 0xfe, 0]).expect("written");
    let too_large = "it is larger than 1 MiB; make it smaller: comments count, too";
    let named = "name a readable file with --config, or leave it out";
    for (file, reason) in [
        ("pipe", format!("it is not a regular file; {named}")),
        ("/dev/zero", format!("it is not a regular file; {named}")),
        ("directory", format!("it is not a regular file; {named}")),
        ("socket", format!("No such device or address (os error 6); {named}")),
        ("large", too_large.to_owned()),
        ("binary", "it is not UTF-8; save it as UTF-8".to_owned()),
        ("missing", format!("No such file or directory (os error 2); {named}")),
    ] {
        let expected = format!("{file}: failed to read it: {reason}\n");
        assert_eq!(check_file(&setup, file), (Some(2), expected));
        let output = setup.run(&["--once", "--config", file]);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{file}");
    }
    // As the file of the working directory, too.
    std::fs::rename(setup.path("pipe"), setup.path("gauged.toml")).expect("renamed");
    let output = setup.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("gauged.toml: failed to read it: it is not a regular file")
    );
    assert_eq!(check_file(&setup, "/dev/null").0, Some(0), "an empty file");
}

#[test]
fn plugin_interval_must_be_a_multiple() {
    check(
        "interval = \"10s\"\n[plugins.a]\ninterval = \"15s\"\n",
        &expect![[r#"
        gauged.toml:3: plugins.a.interval: "15s" is not a whole multiple of the agent's interval of 10s; make it one
    "#]],
    );
    check("interval = \"5s\"\n[plugins.a]\ninterval = \"15s\"\n", &expect![[""]]);
}

#[test]
fn invalid_command_line_exits_with_2() {
    let setup = Setup::new();
    for interval in ["-1s", "0s", "1", "x", "25h"] {
        let output = setup.run(&["--interval", interval, "--once"]);
        assert_eq!(output.status.code(), Some(2), "{interval}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("--interval") && error.contains(interval) && error.contains("100ms to 1day"), "{error}");
    }
    for arguments in [&["--pretty"][..], &["--unknown"], &["chekc"], &["check", "--once"]] {
        assert_eq!(setup.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let missing = setup.run(&["check", "--config", "none.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("none.toml: failed to read it"));
}

#[test]
fn configuration_file_is_optional() {
    let output = Setup::new().run(&["check"]);
    assert!(output.status.success());
    expect![[r"
        no configuration file: ok; a sample every 10s to standard output; plugins from plugins, 0 of them configured
    "]]
    .assert_eq(&String::from_utf8(output.stdout).expect("text"));
}

#[test]
fn command_line_overrides_the_configuration_file() {
    let setup = Setup::new();
    std::fs::create_dir_all(setup.path("etc/plugins")).expect("created");
    std::fs::write(setup.path("etc/my.toml"), "interval = \"30s\"\n").expect("written");
    Guest::new("beside").install(&setup.path("etc/plugins/beside.wasm"));
    let sample = |arguments: &[&str]| setup.once_with(&[&["--config", "etc/my.toml"], arguments].concat()).0;
    let from_file = sample(&[]);
    assert_eq!(from_file["agent"]["interval"], 30);
    assert_eq!(value(&from_file, "beside"), Some(1.into()));
    let overridden = sample(&["--interval", "2s", "--plugins", "plugins"]);
    assert_eq!(overridden["agent"]["interval"], 2);
    assert_eq!(value(&overridden, "beside"), None);
}

#[test]
fn plugin_configuration_is_passed_as_json() {
    let setup = Setup::with_config(
        r#"
        [plugins.echo]
        config = { db = 0, names = ["a"], since = 2026-01-02, share = 0.5 }
        "#,
    );
    Guest::echo().install(&setup.plugin("echo.wasm"));
    let (sample, log) = setup.once();
    let echoed = value(&sample, "echo").expect(&log);
    expect![[r#"{"db":0,"names":["a"],"share":0.5,"since":"2026-01-02"}"#]].assert_eq(echoed.as_str().expect("text"));
}

#[test]
fn plugins_sharing_a_file_keep_separate_intervals() {
    let setup = Setup::with_config(
        r#"
        interval = "100ms"
        [plugins.a]
        file = "shared.wasm"
        [plugins.b]
        file = "shared.wasm"
        interval = "1s"
        "#,
    );
    Guest::new("shared").install(&setup.plugin("shared.wasm"));
    let mut agent = setup.start(&[]);
    let is_up = |sample: &Sample, plugin| plugin_metric(sample, "plugin_up", plugin) == Some(1.0);
    let sample = agent.wait(|sample| is_up(sample, "a") && is_up(sample, "b"));
    assert!(plugin_metric(&sample, "plugin_up", "shared").is_none());
    let line = agent.wait_log_lines(" module=shared reason=", 1).remove(0);
    assert!(line.contains("plugin=b version=1.0.0 "), "{line}");
}

#[test]
fn configured_plugin_without_a_file_is_reported() {
    let setup = Setup::with_config("[plugins.redis]\nfile = \"redis-2.wasm\"\n");
    Guest::new("x").install(&setup.plugin("redis.wasm"));
    let (_, log) = setup.once();
    assert!(log.contains(
        "plugin file missing plugin=redis file=plugins/redis-2.wasm remedy=\"copy it there, or remove [plugins.redis]\""
    ));
    assert!(log.contains("reason=\"is not loaded: the configuration names redis-2.wasm as the file of redis\""));
}

#[test]
fn plugin_limits_come_from_the_configuration() {
    let setup = Setup::with_config("[plugins.many.limits]\nmetrics = 5\n");
    Guest::new("many").metrics(20).install(&setup.plugin("many.wasm"));
    Guest::new("free").metrics(20).install(&setup.plugin("free.wasm"));
    let (sample, log) = setup.once();
    assert_eq!((sample["many"].len(), sample["free"].len()), (5, 20), "{log}");
    assert_eq!(plugin_metric(&sample, "plugin_dropped_metrics_total", "many"), Some(15.0));
}

#[test]
fn module_keeps_its_plugin_between_calls() {
    let setup = Setup::with_config("interval = \"100ms\"\n[plugins.a]\ninterval = \"300ms\"\n");
    Guest::new("shared").value(1).install(&setup.plugin("a.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "shared") == Some(1.into()));
    Guest::new("shared").value(2).install(&setup.plugin("b.wasm"));
    agent.wait(|sample| plugin_metric(sample, "plugin_dropped_metrics_total", "b") >= Some(10.0));
    let values: Vec<Value> = agent.samples().iter().filter_map(|sample| value(sample, "shared")).collect();
    assert!(values.iter().all(|value| *value == 1), "b does not provide the module when a is not due: {values:?}");
    std::fs::remove_file(setup.plugin("a.wasm")).expect("removed");
    agent.wait(|sample| value(sample, "shared") == Some(2.into()));
}
