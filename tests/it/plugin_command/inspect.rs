//! `gauged plugin inspect`.

use expect_test::{Expect, expect};

use super::{plugin, put};
use crate::guest::Guest;
use crate::harness::Host;

/// Says it needs three things, one of which all plugins have.
fn needy() -> Guest {
    let mut guest = Guest::new("needy");
    let (everybodys, file, server) = (guest.text("/proc/stat"), guest.text("/etc/app/*"), guest.text("db:1"));
    let (why, what_for) = (guest.text("count forks"), guest.text("read what is set"));
    let needs = [[0, everybodys.0, everybodys.1, why.0, why.1], [0, file.0, file.1, what_for.0, what_for.1]];
    let needs = [&needs[0][..], &needs[1], &[2, server.0, server.1, why.0, why.1]].concat();
    let list = guest.list(&needs);
    guest.patch(256, &[0, list, 3]).describes(&[("needy", "value", 0), ("needy", "forks_total", 1)])
}

/// What is shown, the sizes and hashes of a build aside.
fn shows(words: &[&str], host: &Host, expected: &Expect) {
    let said = plugin(host, words);
    assert_eq!((said.code, &*said.err), (Some(0), ""), "{}", said.out);
    let varies = |line: &&str| ["  file ", "  SHA-256 ", "  artifact "].iter().any(|what| line.starts_with(what));
    let lines: Vec<&str> = said.out.lines().filter(|line| !varies(line)).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn inspect_shows_description_needs_and_missing_grants() {
    let host = Host::new();
    put(&host, &needy(), "needy.wasm");
    shows(
        &["inspect", "needy.wasm"],
        &host,
        &expect![[r#"
            needy 1.0.0: no description

              imports     gauged:plugin/metrics@0.1.0
              configured  with {}

            metrics
              needy.value        gauge    By  What it is.
              needy.forks_total  counter  By  What it is.

            needs
              read = ["/proc/stat"]  granted to all  to count forks
              read = ["/etc/app/*"]  not granted     to read what is set
              connect = ["db:1"]     not granted     to count forks

            what is not granted to all is granted by these lines of the configuration

              [plugins.needy]
              read = ["/etc/app/*"]
              connect = ["db:1"]
        "#]],
    );
}

#[test]
fn inspect_combines_configuration_and_command_line() {
    let host = Host::configured(
        "[plugins.app]\nfile = \"needy.wasm\"\nread = [\"/srv\", \"/etc/app/*\"]\nconfig = { db = 1 }\n",
    );
    put(&host, &needy(), "needy.wasm");
    shows(
        &["inspect", "needy.wasm", "--set", "user=me"],
        &host,
        &expect![[r#"
            app 1.0.0: no description

              imports     gauged:plugin/metrics@0.1.0
              configured  with {"db":1,"user":"me"}

            metrics
              needy.value        gauge    By  What it is.
              needy.forks_total  counter  By  What it is.

            needs
              read = ["/proc/stat"]  granted to all  to count forks
              read = ["/etc/app/*"]  granted         to read what is set
              connect = ["db:1"]     not granted     to count forks

            what is not granted to all is granted by these lines of the configuration

              [plugins.app]
              read = ["/srv", "/etc/app/*"]
              connect = ["db:1"]
        "#]],
    );
    let said = plugin(&host, &["inspect", "needy.wasm", "--grant", "connect=db:1", "--json"]).json();
    let granted: Vec<&str> = said["needs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|need| need["granted"].as_str().expect("a text"))
        .collect();
    assert_eq!(granted, ["all", "configuration", "configuration"]);
    assert_eq!(said["name"], "app");
    assert_eq!(said["config"]["db"], 1);
    let lines = said["configuration"].as_array().expect("a list");
    assert_eq!(lines, &["[plugins.app]", "read = [\"/srv\", \"/etc/app/*\"]", "connect = [\"db:1\"]"]);
    assert_eq!(said["sha256"].as_str().expect("a text").len(), 64);
    assert!(said["artifact_bytes"].as_u64() > said["file_bytes"].as_u64(), "{said}");
    assert_eq!(said["metrics"][1]["kind"], "counter");
}

#[test]
fn configure_error_is_shown_with_its_reason() {
    let host = Host::new();
    let mut asks = Guest::new("asks");
    let (key, message) = (asks.text("server"), asks.text("name one"));
    let invalid = asks.list(&[key.0, key.1, message.0, message.1]);
    put(&host, &asks.patch(256, &[1, 1, invalid, 1]), "asks.wasm");
    shows(
        &["inspect", "asks.wasm"],
        &host,
        &expect![[r"
            asks 1.0.0: no description

              imports     gauged:plugin/metrics@0.1.0
              configured  no: with {} it does not accept its configuration: server: name one

            metrics
              none is described

            needs: not known before it is configured
        "]],
    );
    let said = plugin(&host, &["inspect", "asks.wasm", "--json"]).json();
    assert_eq!(said["needs"], serde_json::Value::Null);
    assert!(said["error"].as_str().expect("a text").contains("server: name one"));
}

#[test]
fn denial_during_configure_is_listed() {
    let host = Host::new();
    let mut guest = Guest::new("eager").import("gauged:plugin/files@0.1.0", "read", "(func $read (param i32 i32 i32))");
    let (path, length) = guest.text("/etc/secret");
    let ask = format!("(call $read (i32.const {path}) (i32.const {length}) (i32.const 384)) i32.const 256");
    put(&host, &guest.configure(&ask), "eager.wasm");
    let said = plugin(&host, &["inspect", "eager.wasm", "--json"]).json();
    assert_eq!(said["configuration"][1], "read = [\"/etc/secret\"]");
    assert_eq!(said["imports"][0], "gauged:plugin/files@0.1.0");
}

#[test]
fn inspect_fills_the_agents_cache() {
    let host = Host::new();
    put(&host, &Guest::new("one"), "plugins/one.wasm");
    assert_eq!(plugin(&host, &["inspect", "plugins/one.wasm"]).code, Some(0));
    let (sample, log) = host.once();
    assert_eq!(
        (&sample["agent"]["compiled_total"], &sample["agent"]["cache_hits_total"]),
        (&0.into(), &1.into()),
        "{log}"
    );
}

#[test]
fn rejected_file_exits_with_1() {
    let host = Host::new();
    let fails = |bytes: &[u8], expected: &Expect| {
        std::fs::write(host.path("bad.wasm"), bytes).expect("written");
        let said = plugin(&host, &["inspect", "bad.wasm"]);
        assert_eq!((said.code, &*said.out), (Some(1), ""));
        expected.assert_eq(&said.err);
    };
    fails(
        b"",
        &expect![[r"
        bad.wasm (e3b0c442) is empty; copy it again
    "]],
    );
    fails(
        b"(module)",
        &expect![[r"
        bad.wasm (1885772b) is text, not WebAssembly; build it for a wasm target
    "]],
    );
    fails(
        &Guest::new("bad").module()[..900],
        &expect![[r"
        bad.wasm (7a157e2c) is truncated; copy it again
    "]],
    );
    fails(
        &Guest::new("bad").version("").module(),
        &expect![[r"
        bad.wasm (228b38a4) describes itself with a version that is not 1 to 64 printable characters; mend the plugin
    "]],
    );
    fails(
        &Guest::new("bad").describe("unreachable").module(),
        &expect![[r"
        bad.wasm (3eee3942) fails: describe failed: wasm trap: wasm `unreachable` instruction executed (trap); mend the plugin
    "]],
    );
    let missing = plugin(&host, &["inspect", "missing.wasm"]);
    assert_eq!(missing.code, Some(1));
    expect![[r"
        missing.wasm cannot be read: No such file or directory (os error 2); name a plugin's .wasm file
    "]]
    .assert_eq(&missing.err);
    let directory = plugin(&host, &["inspect", "plugins"]);
    assert_eq!(directory.code, Some(1));
    expect![[r"
        plugins cannot be read: not a regular file; name a .wasm file itself
    "]]
    .assert_eq(&directory.err);
}

#[test]
fn invalid_arguments_exit_with_2() {
    let host = Host::configured("[plugins.a]\nfile = \"two.wasm\"\n[plugins.b]\nfile = \"two.wasm\"\n");
    for name in ["two.wasm", "not a name.wasm", "a.wasm"] {
        put(&host, &Guest::new("x"), name);
    }
    let fails = |words: &[&str], expected: &Expect| {
        let said = plugin(&host, &[&["inspect"], words].concat());
        assert_eq!((said.code, &*said.out), (Some(2), ""), "{words:?}");
        expected.assert_eq(&said.err);
    };
    fails(
        &["two.wasm"],
        &expect![[r"
        two.wasm makes the plugins a, b; choose one by --name
    "]],
    );
    fails(
        &["not a name.wasm"],
        &expect![[r"
        not a name.wasm is not loaded: its name cannot name a plugin; use letters, digits, - and _, or give a name by --name
    "]],
    );
    fails(
        &["a.wasm"],
        &expect![[r"
        a.wasm is not loaded: the configuration makes the plugin a of two.wasm; rename the file, or give a name by --name
    "]],
    );
    fails(
        &["two.wasm", "--name", "a b"],
        &expect![[r#"
        "a b" cannot name a plugin; use letters, digits, - and _, at most 128 of them
    "#]],
    );
    fails(
        &["two.wasm", "--config", "none.toml"],
        &expect![[r"
        none.toml: failed to read it: No such file or directory (os error 2); name a readable file with --config, or leave it out
    "]],
    );
    for words in
        [&[][..], &["two.wasm", "--grant", "write=/x"], &["two.wasm", "--set", "x"], &["two.wasm", "--plugins", "x"]]
    {
        let said = plugin(&host, &[&["inspect"], words].concat());
        assert_eq!((said.code, &*said.out), (Some(2), ""), "{words:?}: {}", said.err);
    }
    assert_eq!(plugin(&host, &["inspect", "two.wasm", "--name", "a"]).code, Some(0));
}

#[test]
fn closed_pipe_exits_0_and_full_device_1() {
    let host = Host::new();
    put(&host, &Guest::new("one"), "one.wasm");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = host.command(&["plugin", "inspect", "one.wasm"]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("failed to write to standard output: No space left"), "{said}");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = host.command(&["plugin", "inspect", "one.wasm"]).stdout(writer).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
