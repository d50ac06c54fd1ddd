//! `gauged plugin inspect`.

use expect_test::{Expect, expect};

use super::{plugin, write_plugin};
use crate::guest::{CONFIGURE_RESULT, Guest, HOST_RESULT};
use crate::harness::Setup;

/// A guest with three needs, one of which is granted to all plugins.
pub fn guest_with_needs() -> Guest {
    let mut guest = Guest::new("needy");
    let (default, file, server) = (guest.text("/proc/stat"), guest.text("/etc/app/*"), guest.text("db:1"));
    let (count, read) = (guest.text("count forks"), guest.text("read what is set"));
    let kinds = ["read", "connect"].map(|kind| guest.text(kind));
    let needs = [(kinds[0], default, count), (kinds[0], file, read), (kinds[1], server, count)];
    let needs = needs.map(|(kind, target, reason)| [kind.0, kind.1, target.0, target.1, reason.0, reason.1]).concat();
    let list = guest.list(&needs);
    guest.patch(CONFIGURE_RESULT, &[0, list, 3]).describes(&[("needy", "value", 0), ("needy", "forks_total", 1)])
}

/// Asserts the output of a command, without the sizes and hashes, which differ between builds.
fn assert_output(arguments: &[&str], setup: &Setup, expected: &Expect) {
    let output = plugin(setup, arguments);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    let varies = |line: &&str| ["  file ", "  SHA-256 ", "  artifact "].iter().any(|label| line.starts_with(label));
    let lines: Vec<&str> = output.stdout.lines().filter(|line| !varies(line)).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn inspect_shows_description_needs_and_missing_grants() {
    let setup = Setup::new();
    write_plugin(&setup, &guest_with_needs(), "needy.wasm");
    assert_output(
        &["inspect", "needy.wasm"],
        &setup,
        &expect![[r#"
            needy 1.0.0: no description

              imports     gauged:plugin/types@0.2.0-rc.4, gauged:plugin/metrics@0.2.0-rc.4
              configured  with {}

            metrics
              needy.value{id}        gauge    By  What it is.
              needy.forks_total{id}  counter  By  What it is.

            needs
              read = ["/proc/stat"]  granted by default  to count forks
              read = ["/etc/app/*"]  not granted         to read what is set
              connect = ["db:1"]     not granted         to count forks

            configuration that grants the needs

              [plugins.needy]
              read = ["/etc/app/*"]
              connect = ["db:1"]
        "#]],
    );
}

#[test]
fn inspect_combines_configuration_and_command_line() {
    let setup = Setup::with_config(
        "[plugins.app]\nfile = \"needy.wasm\"\nread = [\"/srv\", \"/etc/app/*\"]\nconfig = { db = 1 }\n",
    );
    write_plugin(&setup, &guest_with_needs(), "needy.wasm");
    assert_output(
        &["inspect", "needy.wasm", "--set", "user=me"],
        &setup,
        &expect![[r#"
            app 1.0.0: no description

              imports     gauged:plugin/types@0.2.0-rc.4, gauged:plugin/metrics@0.2.0-rc.4
              configured  with {"db":1,"user":"me"}

            metrics
              needy.value{id}        gauge    By  What it is.
              needy.forks_total{id}  counter  By  What it is.

            needs
              read = ["/proc/stat"]  granted by default  to count forks
              read = ["/etc/app/*"]  granted             to read what is set
              connect = ["db:1"]     not granted         to count forks

            configuration that grants the needs

              [plugins.app]
              read = ["/srv", "/etc/app/*"]
              connect = ["db:1"]
        "#]],
    );
    let output = plugin(&setup, &["inspect", "needy.wasm", "--grant", "connect=db:1", "--json"]).json();
    let granted: Vec<&str> = output["needs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|need| need["granted"].as_str().expect("a text"))
        .collect();
    assert_eq!(granted, ["all", "configuration", "configuration"]);
    assert_eq!(output["name"], "app");
    assert_eq!(output["config"]["db"], 1);
    let lines = output["configuration"].as_array().expect("a list");
    assert_eq!(lines, &["[plugins.app]", "read = [\"/srv\", \"/etc/app/*\"]", "connect = [\"db:1\"]"]);
    assert_eq!(output["sha256"].as_str().expect("a text").len(), 64);
    assert!(output["artifact_bytes"].as_u64() > output["file_bytes"].as_u64(), "{output}");
    assert_eq!(output["metrics"][1]["kind"], "counter");
}

#[test]
fn configure_error_is_shown_with_its_reason() {
    let setup = Setup::new();
    let mut asks = Guest::new("asks");
    let (key, message) = (asks.text("server"), asks.text("name one"));
    let invalid = asks.list(&[key.0, key.1, message.0, message.1]);
    write_plugin(&setup, &asks.patch(CONFIGURE_RESULT, &[1, 1, invalid, 1]), "asks.wasm");
    assert_output(
        &["inspect", "asks.wasm"],
        &setup,
        &expect![[r"
            asks 1.0.0: no description

              imports     gauged:plugin/types@0.2.0-rc.4, gauged:plugin/metrics@0.2.0-rc.4
              configured  failed with {}: it does not accept its configuration: server: name one

            metrics
              none described

            needs: unknown until it is configured
        "]],
    );
    let output = plugin(&setup, &["inspect", "asks.wasm", "--json"]).json();
    assert_eq!(output["needs"], serde_json::Value::Null);
    assert!(output["error"].as_str().expect("a text").contains("server: name one"));
}

#[test]
fn denial_during_configure_is_listed() {
    let setup = Setup::new();
    let mut guest = Guest::new("eager").import("gauged:plugin/files", "read", "(func $read (param i32 i32 i32))");
    let (path, length) = guest.text("/etc/secret");
    let read = format!(
        "(call $read (i32.const {path}) (i32.const {length}) (i32.const {HOST_RESULT})) i32.const {CONFIGURE_RESULT}"
    );
    write_plugin(&setup, &guest.configure(&read), "eager.wasm");
    let output = plugin(&setup, &["inspect", "eager.wasm", "--json"]).json();
    assert_eq!(output["configuration"][1], "read = [\"/etc/secret\"]");
    let imports = output["imports"].as_array().expect("a list");
    assert!(imports.contains(&serde_json::json!("gauged:plugin/files@0.2.0-rc.4")), "{imports:?}");
}

#[test]
fn control_characters_of_a_plugin_are_escaped() {
    let setup = Setup::new();
    write_plugin(
        &setup,
        &Guest::new("forger").needs("connect", "db:1\u{1b}[2J", "look\u{9b}2J\nforged"),
        "forger.wasm",
    );
    for command in ["inspect", "test"] {
        for arguments in [&[command, "forger.wasm"][..], &[command, "forger.wasm", "--json"]] {
            let output = plugin(&setup, arguments).stdout;
            assert!(!output.lines().flat_map(str::chars).any(char::is_control), "{output}");
            assert!(output.contains("u{9b}2J"), "{output}");
            assert!(!output.lines().any(|line| line.starts_with("forged")), "{output}");
        }
    }
}

#[test]
fn inspect_fills_the_agents_cache() {
    let setup = Setup::new();
    write_plugin(&setup, &Guest::new("one"), "plugins/one.wasm");
    assert_eq!(plugin(&setup, &["inspect", "plugins/one.wasm"]).code, Some(0));
    let (sample, log) = setup.once();
    assert_eq!(
        (&sample["agent"]["compiled_total"], &sample["agent"]["cache_hits_total"]),
        (&0.into(), &1.into()),
        "{log}"
    );
}

#[test]
fn rejected_file_exits_with_1() {
    let setup = Setup::new();
    let assert_error = |bytes: &[u8], expected: &Expect| {
        std::fs::write(setup.path("bad.wasm"), bytes).expect("written");
        let output = plugin(&setup, &["inspect", "bad.wasm"]);
        assert_eq!((output.code, &*output.stdout), (Some(1), ""));
        expected.assert_eq(&output.stderr);
    };
    assert_error(
        b"",
        &expect![[r"
        bad.wasm (e3b0c442) is empty; copy it again
    "]],
    );
    assert_error(
        b"(module)",
        &expect![[r"
        bad.wasm (1885772b) is text, not WebAssembly; build it for a wasm target
    "]],
    );
    assert_error(
        &Guest::new("bad").module()[..900],
        &expect![[r"
            bad.wasm (560c4b6d) is truncated; copy it again
        "]],
    );
    assert_error(
        &Guest::new("bad").version("").module(),
        &expect![[r"
            bad.wasm (6fd77257) describes itself with a version that is not 1 to 64 printable characters; fix the plugin
        "]],
    );
    assert_error(
        &Guest::new("bad").describe("unreachable").module(),
        &expect![[r"
            bad.wasm (f176a713) fails: describe failed: wasm trap: wasm `unreachable` instruction executed (trap); fix the plugin
        "]],
    );
    let missing = plugin(&setup, &["inspect", "missing.wasm"]);
    assert_eq!(missing.code, Some(1));
    expect![[r"
        missing.wasm cannot be read: No such file or directory (os error 2); name a plugin's .wasm file
    "]]
    .assert_eq(&missing.stderr);
    let directory = plugin(&setup, &["inspect", "plugins"]);
    assert_eq!(directory.code, Some(1));
    expect![[r"
        plugins cannot be read: not a regular file; name a .wasm file itself
    "]]
    .assert_eq(&directory.stderr);
}

#[test]
fn invalid_arguments_exit_with_2() {
    let setup = Setup::with_config("[plugins.a]\nfile = \"two.wasm\"\n[plugins.b]\nfile = \"two.wasm\"\n");
    for name in ["two.wasm", "not a name.wasm", "a.wasm"] {
        write_plugin(&setup, &Guest::new("x"), name);
    }
    let assert_error = |arguments: &[&str], expected: &Expect| {
        let output = plugin(&setup, &[&["inspect"], arguments].concat());
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{arguments:?}");
        expected.assert_eq(&output.stderr);
    };
    assert_error(
        &["two.wasm"],
        &expect![[r"
        two.wasm is the file of the plugins a, b; choose one with --name
    "]],
    );
    assert_error(
        &["not a name.wasm"],
        &expect![[r"
        not a name.wasm is not loaded: its name cannot name a plugin; use letters, digits, - and _, or set a name with --name
    "]],
    );
    assert_error(
        &["a.wasm"],
        &expect![[r"
        a.wasm is not loaded: the configuration names two.wasm as the file of a; rename the file, or set a name with --name
    "]],
    );
    assert_error(
        &["two.wasm", "--name", "a b"],
        &expect![[r#"
        "a b" cannot name a plugin; use letters, digits, - and _, at most 128 of them
    "#]],
    );
    assert_error(
        &["two.wasm", "--config", "none.toml"],
        &expect![[r"
        none.toml: failed to read it: No such file or directory (os error 2); name a readable file with --config, or leave it out
    "]],
    );
    for arguments in
        [&[][..], &["two.wasm", "--grant", "write=/x"], &["two.wasm", "--set", "x"], &["two.wasm", "--plugins", "x"]]
    {
        let output = plugin(&setup, &[&["inspect"], arguments].concat());
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{arguments:?}: {}", output.stderr);
    }
    assert_eq!(plugin(&setup, &["inspect", "two.wasm", "--name", "a"]).code, Some(0));
}

#[test]
fn closed_pipe_exits_0_and_full_device_1() {
    let setup = Setup::new();
    write_plugin(&setup, &Guest::new("one"), "one.wasm");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = setup.command(&["plugin", "inspect", "one.wasm"]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with("failed to write to standard output: No space left"), "{error}");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = setup.command(&["plugin", "inspect", "one.wasm"]).stdout(writer).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn settings_are_shown_and_printed_as_a_table() {
    let setup = Setup::new();
    let settings = [
        ("port", "integer", Some("80"), [false, false]),
        ("servers[].address", "text", None, [true, false]),
        ("servers[].password", "text", None, [false, true]),
        ("names", "list of texts", None, [true, false]),
    ];
    let guest = Guest::new("set").settings(&settings).needs("connect", "db:1", "ask");
    write_plugin(&setup, &guest, "set.wasm");
    let table = plugin(&setup, &["inspect", "set.wasm", "--toml"]);
    assert_eq!((table.code, &*table.stderr), (Some(0), ""));
    expect![[r#"
        [plugins.set]
        connect = ["db:1"]

        [plugins.set.config]

        # What it sets. (integer)
        # port = 80
        #     servers[].address (text, required): What it sets.
        #     servers[].password (text, secret): What it sets.

        # What it sets. (list of texts, required)
        names = []

        # Secrets, each in a file of its own.
        # [plugins.set.secrets]
        # "servers.0.password" = "/run/credentials/gauged/password"
    "#]]
    .assert_eq(&table.stdout);
    // It is a configuration.
    std::fs::write(setup.path("gauged.toml"), &table.stdout).expect("written");
    assert_eq!(plugin(&setup, &["inspect", "set.wasm", "--json"]).json()["config"], serde_json::json!({ "names": [] }));
    let shown = plugin(&setup, &["inspect", "set.wasm", "--json"]).json()["settings"][0].clone();
    let expected = serde_json::json!({
        "key": "port", "type": "integer", "default": 80, "meaning": "What it sets.", "required": false, "secret": false,
    });
    assert_eq!(shown, expected);
    let text = plugin(&setup, &["inspect", "set.wasm"]).stdout;
    assert!(text.contains("settings\n  port                integer        80"), "{text}");
}

#[test]
fn inconsistent_settings_reject_the_file() {
    let setup = Setup::new();
    write_plugin(&setup, &Guest::new("set").settings(&[("a b", "text", None, [false, false])]), "set.wasm");
    let output = plugin(&setup, &["inspect", "set.wasm"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("describes the setting \"a b\", whose key breaks the rules"), "{}", output.stderr);
}
