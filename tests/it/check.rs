//! `gauged check`: the settings of plugins, checked by the plugins themselves, and the effective configuration.

use std::fs;

use expect_test::expect;

use crate::compile::slow_to_compile;
use crate::guest::Guest;
use crate::harness::{Setup, repository};

/// The exit code, standard output and standard error of `gauged check`.
fn check(setup: &Setup, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = setup.run(&[&["check"], arguments].concat());
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn install_first_party(setup: &Setup, name: &str) {
    let file = format!("{name}.wasm");
    fs::copy(repository().join("plugins").join(&file), setup.plugin(&file)).expect("built by plugins/build.sh");
}

#[test]
fn wrong_plugin_settings_have_file_line_and_key() {
    let setup = Setup::with_config(
        "intervall = \"10s\"
[plugins.redis]
timeout = \"1h\"
[[plugins.redis.config.servers]]
address = \"127.0.0.1:6379\"
[[plugins.redis.config.servers]]
adress = \"127.0.0.1:6380\"
",
    );
    install_first_party(&setup, "redis");
    install_first_party(&setup, "uptime");
    fs::create_dir(setup.path("gauged.d")).expect("created");
    fs::write(setup.path("gauged.d/uptime.toml"), "[plugins.uptime]\nconfig = { unit = \"days\" }\n").expect("written");
    let (code, _, errors) = check(&setup, &[]);
    assert_eq!(code, Some(2));
    expect![[r#"
        gauged.toml:1: intervall: unknown key; remove it, or use one of interval, hostname, tags, plugins_directory, cache, state_directory, log, limits, metrics, cpu, load, memory, host, client, sinks, http, plugins
        gauged.toml:3: plugins.redis.timeout: "1h" is out of bounds; it has to be from 10ms to 1m
        gauged.toml:7: plugins.redis.config.servers[1].adress: unknown key; remove it, or use one of address, username, password
        gauged.d/uptime.toml:2: plugins.uptime.config: this plugin has no configuration; remove `config`
    "#]].assert_eq(&errors);
    let (code, _, errors) = check(&setup, &["--fast"]);
    assert_eq!((code, errors.lines().count()), (Some(2), 2), "{errors}");
}

#[test]
fn incomplete_configuration_checks_no_plugin() {
    let setup = Setup::with_config("[plugins.http_check]\n");
    install_first_party(&setup, "http_check");
    fs::create_dir(setup.path("gauged.d")).expect("created");
    for piece in ["plugins.http_check.config = { targets = [] }\n[", "\u{0}"] {
        fs::write(setup.path("gauged.d/a.toml"), piece).expect("written");
        let (code, shown, errors) = check(&setup, &[]);
        assert_eq!(code, Some(2));
        assert!(errors.lines().all(|line| line.starts_with("gauged.d/a.toml:")), "{errors}");
        let note = "note: plugins: no plugin is checked: a part of the configuration is missing, see the errors\n";
        assert_eq!(shown, note);
    }
}

#[test]
fn plugins_with_valid_settings_pass() {
    let setup = Setup::with_config("[plugins.redis]\nconfig = { servers = [{ address = \"127.0.0.1:6379\" }] }\n");
    install_first_party(&setup, "redis");
    // It needs settings, and has no table: nobody expects it to run.
    install_first_party(&setup, "http_check");
    // It wants what nothing grants here.
    Guest::new("denied")
        .configure_error(2, "")
        .denied("connect", "127.0.0.1:1", "to ask")
        .install(&setup.plugin("denied.wasm"));
    let (code, shown, errors) = check(&setup, &[]);
    assert_eq!((code, &*errors), (Some(0), ""), "{shown}");
    assert_eq!(
        shown,
        "gauged.toml: ok; a sample every 10s to standard output; plugins from plugins, 1 of them configured\n"
    );
}

#[test]
fn broken_plugin_file_is_an_error() {
    let setup = Setup::with_config("[plugins.off]\nenabled = false\n");
    fs::write(setup.plugin("broken.wasm"), "no wasm").expect("written");
    fs::write(setup.plugin("off.wasm"), "no wasm").expect("written");
    let (code, _, errors) = check(&setup, &[]);
    assert_eq!((code, errors.lines().count()), (Some(2), 1), "{errors}");
    assert!(errors.starts_with("plugins/broken.wasm: "), "{errors}");
    assert_eq!(check(&setup, &["--fast"]).0, Some(0));
}

#[test]
fn slowly_compiled_plugin_is_named_and_skipped() {
    let setup = Setup::with_config("[plugins.redis]\nconfig = { server = \"a:1\" }\n");
    slow_to_compile().install(&setup.plugin("a_slow.wasm"));
    install_first_party(&setup, "redis");
    let (code, shown, errors) = check(&setup, &[]);
    assert_eq!(code, Some(2));
    assert!(errors.starts_with("gauged.toml:2: plugins.redis.config.server: unknown key"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "to be slow is no error: {errors}");
    let note = "note: plugins/a_slow.wasm: is not compiled within 20s, and not checked; the agent waits longer";
    assert!(shown.lines().any(|line| line == note), "{shown}");
}

#[test]
fn missing_plugin_file_is_a_note() {
    let setup = Setup::with_config("[plugins.redis]\nconfig = { servers = [{ password = \"pw\" }] }\n");
    let (code, shown, errors) = check(&setup, &[]);
    assert_eq!((code, &*errors), (Some(0), ""));
    let notes: Vec<&str> = shown.lines().skip(1).collect();
    assert_eq!(
        notes,
        [
            "note: plugins/redis.wasm: is missing; copy it there, or remove [plugins.redis]",
            "note: plugins.redis.config has servers.0.password in clear text; write it to a file and name that in secrets",
        ]
    );
}

#[test]
fn effective_configuration_has_sources() {
    let setup =
        Setup::with_config("hostname = \"file\"\nlog.level = \"warn\"\n[plugins.a]\nconfig = { password = \"pw\" }\n");
    let shown = |arguments: &[&str]| {
        let mut command = setup.command(&[&["check", "--effective", "--interval", "2s"], arguments].concat());
        let output = command.env("GAUGED_LOG", "debug").output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let first = shown(&[]);
    for line in [
        "interval = \"2s\" # command line",
        "hostname = \"file\" # gauged.toml:1",
        "level = \"debug\" # $GAUGED_LOG",
        "format = \"text\" # default",
        "config.password = \"…\" # gauged.toml:4",
        "# note: plugins/a.wasm: is missing; copy it there, or remove [plugins.a]",
    ] {
        assert!(first.lines().any(|shown| shown == line), "{line}: {first}");
    }
    assert!(first.contains(" # $CACHE_DIRECTORY\n"), "{first}");
    // It is a configuration.
    fs::write(setup.path("gauged.toml"), &first).expect("written");
    let second = shown(&["--plugins", "plugins"]);
    assert!(second.contains("hostname = \"file\" # gauged.toml:"), "{second}");
    fs::write(setup.path("gauged.toml"), "intervall = 1\n").expect("written");
    let (code, shown, errors) = check(&setup, &["--effective"]);
    assert_eq!((code, &*shown, errors.lines().count()), (Some(2), "", 1));
}

#[test]
fn paths_of_files_are_examined() {
    let setup = Setup::new();
    let path = |name: &str| setup.path(name).display().to_string();
    fs::create_dir(setup.path("directory")).expect("created");
    let table = |name: &str, path: &str| format!("[sinks.{name}]\nkind = \"file\"\npath = \"{path}\"\n");
    let fine = format!("[sinks.a]\nkind = \"stdout\"\n{}", table("b", &path("directory/samples.ndjson")));
    let write = |toml: &str| fs::write(setup.path("gauged.toml"), toml).expect("written");
    write(&fine);
    let (code, shown, errors) = check(&setup, &[]);
    let summary = format!(
        "gauged.toml: ok; a sample every 10s to standard output and {}; plugins from plugins, 0 of them configured\n",
        path("directory/samples.ndjson")
    );
    assert_eq!((code, shown, errors), (Some(0), summary, String::new()));
    assert!(!setup.path("directory/samples.ndjson").exists(), "nothing is created");
    write(&format!("{fine}{}", table("c", &path("missing/samples.ndjson"))));
    let (code, shown, errors) = check(&setup, &["--fast"]);
    assert_eq!((code, &*errors), (Some(0), ""));
    let note = "note: sinks.c.path: this user cannot write the directory of ";
    assert!(shown.contains(note) && shown.contains("create the file's directory"), "{shown}");
    write(&format!("{fine}{}{}", table("c", &path("directory")), table("d", "/dev/null")));
    let (code, _, errors) = check(&setup, &["--fast"]);
    assert_eq!((code, errors.lines().count()), (Some(2), 2), "{errors}");
    for (key, kind) in [("c", "directory"), ("d", "device")] {
        let expected = format!(": sinks.{key}.path: ");
        let line = errors.lines().find(|line| line.contains(&expected)).expect("one");
        assert!(
            line.starts_with("gauged.toml:") && line.contains(&format!("is a {kind}, and no regular file; ")),
            "{line}"
        );
    }
}
