//! Files that are not plugins. Each gives one line in the log, with the file and the remedy, and no other plugin is disturbed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use expect_test::{Expect, expect};

use crate::guest::{Guest, VERSION, install};
use crate::harness::{Agent, Sample, Setup, plugin_metric, value};
use crate::hostile::{HostileTest, Outcome, assert_outcome, in_parallel};

/// Installs a file beside a plugin that works, and asserts the one line that is logged about it, without the time.
fn assert_log_line(name: &str, bytes: &[u8], expected: &Expect) {
    let mut test = HostileTest::new("");
    install(bytes, &test.setup.plugin(name));
    // The agent starts without the file, which its configuration names.
    let about_file = |log: &str| -> Vec<String> {
        log.lines()
            .filter(|line| line.contains(name) && !line.contains("plugin file missing"))
            .map(str::to_owned)
            .collect()
    };
    let lines = test.agent.wait_log_for(name, |log| Some(about_file(log)).filter(|lines| !lines.is_empty()));
    test.agent.next();
    assert_eq!(about_file(&test.agent.log()), lines);
    let [line] = &*lines else { panic!("{lines:#?}") };
    expected.assert_eq(line.split_once("  ").expect("a time").1.trim_start());
    test.replace_and_check();
}

#[test]
fn empty_file_is_rejected() {
    assert_log_line(
        "bad.wasm",
        b"",
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=e3b0c442 reason="is empty" remedy="copy it again" consequence="no version is running""#
        ]],
    );
}

#[test]
fn truncated_file_is_rejected() {
    let module = Guest::new("bad").module();
    assert_log_line(
        "bad.wasm",
        &module[..module.len() - 100],
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=931a2ea3 reason="is truncated" remedy="copy it again" consequence="no version is running""#
        ]],
    );
    let component = Guest::new("bad").component();
    assert_log_line(
        "bad.wasm",
        &component[..component.len() / 2],
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=a57ae0f1 reason="is truncated" remedy="copy it again" consequence="no version is running""#
        ]],
    );
}

#[test]
fn text_file_is_rejected() {
    assert_log_line(
        "bad.wasm",
        b"(module)",
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=1885772b reason="is text, not WebAssembly" remedy="build it for a wasm target" consequence="no version is running""#
        ]],
    );
}

#[test]
fn binary_other_than_wasm_is_rejected() {
    assert_log_line(
        "bad.wasm",
        &[0xff, 0xd8, 0xff],
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=6e568e1f reason="is not WebAssembly" remedy="build it for a wasm target" consequence="no version is running""#
        ]],
    );
}

#[test]
fn native_code_is_rejected() {
    assert_log_line(
        "bad.wasm",
        b"\x7fELF\x02\x01\x01",
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=ced1af6d reason="is native code, such as a precompiled artifact, which is never loaded" remedy="use the .wasm file it was made of" consequence="no version is running""#
        ]],
    );
}

#[test]
fn precompiled_artifact_is_rejected() {
    let setup = Setup::new();
    fs::write(setup.path("input"), Guest::new("bad").module()).expect("written");
    let input = fs::File::open(setup.path("input")).expect("open");
    let artifact = setup.command(&["compile"]).stdin(input).output().expect("it runs").stdout;
    assert_outcome(
        &artifact,
        "",
        &Outcome::Rejected("is native code, such as a precompiled artifact, which is never loaded"),
    );
}

#[test]
fn names_of_the_same_characters_stay_apart() {
    // The one with a table is UTF-8: a backslash and three letters. The others have a byte that is not.
    let setup = Setup::with_config("interval = \"200ms\"\n[plugins.odd]\nfile = 'a\\xff.wasm'\n");
    let invalid = [b"a\xff.wasm", b"a\xfe.wasm"].map(|name| setup.plugin("").join(OsStr::from_bytes(name)));
    for file in &invalid {
        fs::write(file, Guest::new("odd").module()).expect("written");
    }
    Guest::new("odd").install(&setup.plugin(r"a\xff.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "odd").is_some());
    let lines = agent.wait_log_lines("is not UTF-8", 2);
    for name in [r"./a\\xff.wasm", r"./a\\xfe.wasm"] {
        assert!(lines.iter().any(|line| line.contains(name)), "{name}: {lines:#?}");
    }
    for file in &invalid {
        fs::remove_file(file).expect("removed");
    }
    // The load of another plugin shows that the directory was scanned again.
    Guest::new("other").install(&setup.plugin("other.wasm"));
    agent.wait(|sample| value(sample, "other").is_some());
    agent.next();
    agent.assert_never_absent("odd");
    let log = agent.log();
    assert!(log.matches("is not UTF-8").count() == 2 && log.matches("plugin=odd").count() == 1, "{log}");
}

#[test]
fn unsupported_wasm_features_are_rejected() {
    let cases = [
        ("(memory 1 1 shared)", "threads must be enabled for shared memories"),
        ("(memory i64 1)", "memory64 must be enabled"),
        ("(func $f (return_call $f))", "tail calls support is not enabled"),
        ("(tag $t) (func (throw $t))", "exceptions"),
        ("(type (struct))", "gc"),
    ];
    in_parallel(cases, |(fields, reason)| {
        assert_outcome(&Guest::new("bad").with(fields).module(), "", &Outcome::Rejected(reason));
    });
}

#[test]
fn oversized_file_is_rejected() {
    let mut test = HostileTest::new("");
    let path = test.setup.path("sparse");
    fs::write(&path, Guest::new("bad").module()).expect("written");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    fs::rename(path, test.setup.plugin("bad.wasm")).expect("moved");
    test.agent.wait_log("reason=\"is larger than 32.0 MiB\" remedy=\"make it smaller, by a release build\"");
    test.replace_and_check();
}

#[test]
fn core_module_without_a_world_is_rejected() {
    assert_log_line(
        "bad.wasm",
        &wat::parse_str("(module)").expect("valid"),
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=93a44bbb reason="is a core module without a world" remedy="build it with the gauged SDK, or make a component of it" consequence="no version is running""#
        ]],
    );
}

#[test]
fn component_of_another_world_is_rejected() {
    let component = "(component (instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";
    assert_log_line(
        "bad.wasm",
        &wat::parse_str(component).expect("valid"),
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=abec0087 reason="is a component of another world: it exports wasi:http/incoming-handler@0.2.0 instead of gauged:plugin/collector@0.2.0-rc.4" remedy="build it for the world gauged:plugin/plugin" consequence="no version is running""#
        ]],
    );
}

#[test]
fn component_with_unknown_import_is_rejected() {
    let component = format!(
        "(component
            (import \"acme:secrets/store@1.0.0\" (instance (export \"get\" (func))))
            (instance $i)
            (export \"gauged:plugin/collector@{VERSION}\" (instance $i)))"
    );
    assert_log_line(
        "bad.wasm",
        &wat::parse_str(component).expect("valid"),
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=49717e23 reason="does not fit the world gauged:plugin/plugin: component imports instance `acme:secrets/store@1.0.0`, but a matching implementation was not found in the linker: instance export `get` has the wrong type: function implementation is missing" remedy="update the agent, or rebuild it with the WIT of this agent, gauged:plugin 0.2.0-rc.4" consequence="no version is running""#
        ]],
    );
}

#[test]
fn component_of_later_wit_version_is_rejected() {
    assert_log_line(
        "bad.wasm",
        &Guest::new("bad").module_of_version("0.2.0"),
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=25515869 reason="was built for gauged:plugin 0.2.0, and this agent, 0.1.0, serves 0.2.0-rc.4" remedy="update the agent, or build the plugin for 0.2.0-rc.4" consequence="no version is running""#
        ]],
    );
}

#[test]
fn component_of_a_prerelease_is_rejected() {
    assert_log_line(
        "bad.wasm",
        &Guest::new("bad").module_of_version("0.1.0"),
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=e3384ef9 reason="was built for a pre-release, gauged:plugin 0.1.0" remedy="rebuild it for 0.2.0-rc.4" consequence="no version is running""#
        ]],
    );
}

#[test]
fn file_with_invalid_plugin_name_is_skipped() {
    assert_log_line(
        "not a name.wasm",
        &Guest::new("bad").module(),
        &expect![[
            r#"WARN plugin rejected file="plugins/not a name.wasm" reason="is not loaded: its name cannot name a plugin" remedy="use letters, digits, - and _" consequence="it makes no plugin""#
        ]],
    );
}

#[test]
fn invalid_described_version_is_rejected() {
    assert_log_line(
        "bad.wasm",
        &Guest::new("bad").version("").module(),
        &expect![[
            r#"WARN plugin rejected plugin=bad file=plugins/bad.wasm hash=6fd77257 reason="describes itself with a version that is not 1 to 64 printable characters" remedy="fix the plugin" consequence="no version is running""#
        ]],
    );
}

#[test]
fn directory_named_like_a_plugin_is_skipped() {
    let setup = Setup::new();
    fs::create_dir(setup.plugin("bad.wasm")).expect("created");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let (sample, log) = setup.once();
    assert!(value(&sample, "good").is_some());
    assert!(log.contains("file=plugins/bad.wasm reason=\"is a directory\" remedy=\"put a .wasm file there\""), "{log}");
}

#[test]
fn pipe_named_like_a_plugin_is_skipped() {
    let setup = Setup::new();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, setup.plugin("bad.wasm"), mode).expect("made");
    let (_, log) = setup.once();
    assert!(
        log.contains("file=plugins/bad.wasm reason=\"is not a regular file\" remedy=\"put a .wasm file there\""),
        "{log}"
    );
}

#[test]
fn file_as_plugins_directory_is_reported() {
    let setup = Setup::new();
    fs::remove_dir(setup.path("plugins")).expect("removed");
    fs::write(setup.path("plugins"), "").expect("written");
    let (sample, log) = setup.once();
    assert!(sample.contains_key("cpu"));
    assert!(log.contains("plugins directory not readable directory=plugins reason=\"Not a directory"), "{log}");
}

/// An agent that is subject to file permissions.
fn start_without_root(setup: &Setup) -> Agent {
    Agent::start(setup.command_without_root(&["--interval", "100ms"]))
}

fn remove_permissions(path: &std::path::Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("set");
}

#[test]
fn unreadable_plugin_loads_once_readable() {
    let setup = Setup::new();
    Guest::new("bad").install(&setup.plugin("bad.wasm"));
    remove_permissions(&setup.plugin("bad.wasm"));
    let mut agent = start_without_root(&setup);
    agent.wait_log(
        "file=plugins/bad.wasm reason=\"cannot be read: Permission denied (os error 13)\" remedy=\"allow the agent to read it\"",
    );
    fs::set_permissions(setup.plugin("bad.wasm"), fs::Permissions::from_mode(0o644)).expect("set");
    agent.wait(|sample| value(sample, "bad").is_some());
}

#[test]
fn unreadable_plugins_directory_is_reported() {
    let setup = Setup::new();
    remove_permissions(&setup.path("plugins"));
    let mut agent = start_without_root(&setup);
    agent.wait_log(
        "plugins directory not readable directory=plugins reason=\"Permission denied (os error 13)\" remedy=\"allow the agent to read it",
    );
    assert!(agent.next().contains_key("memory"));
}

#[test]
fn dangling_plugin_link_counts_as_rejected() {
    let setup = Setup::with_config("interval = \"1s\"\n");
    Guest::new("one").install(&setup.plugin("one.wasm"));
    let mut agent = setup.start(&[]);
    let rejected = |sample: &Sample| plugin_metric(sample, "plugin_file_rejected", "one");
    agent.wait(|sample| value(sample, "one").is_some() && rejected(sample) == Some(0.0));
    std::os::unix::fs::symlink("nowhere", setup.plugin("link")).expect("linked");
    fs::rename(setup.plugin("link"), setup.plugin("one.wasm")).expect("replaced");
    let sample = agent.wait(|sample| rejected(sample) == Some(1.0));
    assert!(value(&sample, "one").is_some() && sample["agent"]["plugins_rejected"] == 1);
    agent.wait_log("reason=\"is a link to nothing that is readable: ");
    Guest::new("one").install(&setup.plugin("one.wasm"));
    agent.wait(|sample| rejected(sample) == Some(0.0));
    agent.assert_no_gaps();
}
