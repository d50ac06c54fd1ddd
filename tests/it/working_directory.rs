//! `./gauged.toml` and `./plugins`: used when only root and the agent's user can write to them, otherwise refused with one
//! line, unless the command line names them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;
use serde_json::Value;

use crate::guest::Guest;
use crate::harness::{NOBODY, Setup, parse, value};
use crate::skip::{current_test, skip};

/// The files of the working directory.
const BOTH: [&str; 2] = ["gauged.toml", "plugins"];

/// A working directory with a configuration of three seconds and the plugin `one`.
fn working_directory() -> Setup {
    let setup = Setup::with_config("interval = \"3s\"\n");
    Guest::new("one").install(&setup.plugin("one.wasm"));
    setup
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
}

/// Whether files can be given to another user; prints that a part of the test is skipped otherwise.
fn can_give_away() -> bool {
    if !geteuid().is_root() {
        skip(&current_test(), "only root can give a file to another user or group");
    }
    geteuid().is_root()
}

/// Takes a sample. Returns whether the configuration and the plugin were used, and the lines of the log that warn.
fn sample(mut command: Command) -> (bool, bool, Vec<String>) {
    let output = command.output().expect("it runs");
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{log}");
    let sample = parse(&String::from_utf8(output.stdout).expect("text"));
    assert!(sample["memory"]["total"].as_u64() > Some(0), "the natives are measured in any case");
    let warnings = log.lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect();
    (sample["agent"]["interval"] == 3, value(&sample, "one") == Some(Value::from(1)), warnings)
}

/// The exit code and the errors of `gauged check`.
fn check(setup: &Setup, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let output = setup.run(&[&["check"], arguments].concat());
    let errors = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), errors.lines().map(str::to_owned).collect())
}

/// Asserts that both files are used, without a warning.
fn assert_used(setup: &Setup) {
    assert_eq!(check(setup, &[]), (Some(0), Vec::new()));
    assert_eq!(sample(setup.command(&["--once"])), (true, true, Vec::new()));
}

/// Asserts that these files are refused, each with one line, and the other is used; and that all are used when the command
/// line names them.
fn assert_refused(setup: &Setup, files: &[&str], reason: &str) {
    let (code, errors) = check(setup, &[]);
    let expected: Vec<String> = files.iter().map(|file| format!("{file} is refused: {reason}")).collect();
    assert_eq!((code, errors.len()), (Some(2), files.len()), "{errors:?}");
    assert!(errors.iter().zip(&expected).all(|(error, expected)| error.starts_with(expected)), "{errors:?}");

    let (is_configured, has_plugin, warnings) = sample(setup.command(&["--once"]));
    assert_eq!((is_configured, has_plugin), (!files.contains(&"gauged.toml"), !files.contains(&"plugins")));
    assert_eq!(warnings.len(), files.len(), "{warnings:?}");
    for (warning, file) in warnings.iter().zip(files) {
        let expected = format!(" WARN file of the working directory refused path={file} reason=\"{reason}");
        assert!(warning.contains(&expected), "{expected} in {warning}");
        let option = if *file == "plugins" { "--plugins" } else { "--config" };
        assert!(
            warning.contains(&format!("remedy=\"name it with {option}, or take the write permission")),
            "{warning}"
        );
    }

    let named = ["--config", "gauged.toml", "--plugins", "plugins"];
    assert_eq!(check(setup, &named), (Some(0), Vec::new()));
    assert_eq!(sample(setup.command(&[&["--once"], &named[..]].concat())), (true, true, Vec::new()));
}

#[test]
fn private_files_are_used() {
    assert_used(&working_directory());
}

#[test]
fn files_of_root_are_used_by_others() {
    let setup = working_directory();
    fs::create_dir(setup.cache()).expect("created");
    set_mode(&setup.cache(), 0o700);
    if geteuid().is_root() {
        chown(setup.cache(), Some(NOBODY), None).expect("given away");
    }
    assert_eq!(sample(setup.command_without_root(&["--once"])), (true, true, Vec::new()));
}

#[test]
fn world_writable_directory_is_refused() {
    for mode in [0o777, 0o1777] {
        let setup = working_directory();
        set_mode(&setup.path(""), mode);
        assert_refused(&setup, &BOTH, &format!("its directory can be written by everybody (mode {mode:o})"));
    }
}

#[test]
fn world_writable_files_are_refused() {
    let setup = working_directory();
    set_mode(&setup.path("gauged.toml"), 0o666);
    assert_refused(&setup, &["gauged.toml"], "it can be written by everybody (mode 666)");
    set_mode(&setup.path("gauged.toml"), 0o644);
    set_mode(&setup.path("plugins"), 0o777);
    assert_refused(&setup, &["plugins"], "it can be written by everybody (mode 777)");
}

#[test]
fn group_writable_files_depend_on_the_group() {
    let setup = working_directory();
    set_mode(&setup.path("gauged.toml"), 0o664);
    set_mode(&setup.path("plugins"), 0o775);
    set_mode(&setup.path(""), 0o770);
    // The group is the user's own.
    assert_used(&setup);
    if can_give_away() {
        chown(setup.path("gauged.toml"), None, Some(NOBODY)).expect("given away");
        assert_refused(&setup, &["gauged.toml"], "it can be written by group 65534 (mode 664)");
        // A group that may only read does not matter.
        set_mode(&setup.path("gauged.toml"), 0o640);
        assert_used(&setup);
        chown(setup.path(""), None, Some(NOBODY)).expect("given away");
        assert_refused(&setup, &BOTH, "its directory can be written by group 65534 (mode 770)");
    }
}

#[test]
fn files_of_other_users_are_refused() {
    if !can_give_away() {
        return;
    }
    for (name, refused, subject) in
        [("gauged.toml", &BOTH[..1], "it"), ("plugins", &BOTH[1..], "it"), ("", &BOTH[..], "its directory")]
    {
        let setup = working_directory();
        chown(setup.path(name), Some(NOBODY), None).expect("given away");
        assert_refused(&setup, refused, &format!("{subject} belongs to user 65534, not to root or user 0"));
    }
}

#[test]
fn links_to_private_files_are_used() {
    let setup = working_directory();
    replace_by_links(&setup, "private");
    assert_used(&setup);
}

#[test]
fn links_are_refused_with_their_targets() {
    let setup = working_directory();
    replace_by_links(&setup, "shared");
    set_mode(&setup.path("shared"), 0o777);
    let reason = "the directory of the file that it links to can be written by everybody (mode 777)";
    assert_refused(&setup, &BOTH, reason);
    set_mode(&setup.path("shared"), 0o755);
    set_mode(&setup.path("shared/plugins"), 0o777);
    assert_refused(&setup, &["plugins"], "the file that it links to can be written by everybody (mode 777)");
    set_mode(&setup.path("shared/plugins"), 0o755);
    if can_give_away() {
        lchown(setup.path("plugins"), Some(NOBODY), None).expect("given away");
        assert_refused(&setup, &["plugins"], "it belongs to user 65534, not to root or user 0");
    }
}

#[test]
fn links_on_the_way_are_examined() {
    let setup = working_directory();
    replace_by_links(&setup, "private");
    fs::create_dir(setup.path("shared")).expect("created");
    for file in BOTH {
        symlink(Path::new("../private").join(file), setup.path("shared").join(file)).expect("linked");
        fs::remove_file(setup.path(file)).expect("removed");
        symlink(Path::new("shared").join(file), setup.path(file)).expect("linked");
    }
    assert_used(&setup);
    // Others can turn the second link.
    set_mode(&setup.path("shared"), 0o777);
    let reason = "the directory of a link that it leads through can be written by everybody (mode 777)";
    assert_refused(&setup, &BOTH, reason);
    set_mode(&setup.path("shared"), 0o755);
    if can_give_away() {
        lchown(setup.path("shared/plugins"), Some(NOBODY), None).expect("given away");
        assert_refused(
            &setup,
            &["plugins"],
            "a link that it leads through belongs to user 65534, not to root or user 0",
        );
    }
}

/// Moves both files into a directory below, and leaves links in their places.
fn replace_by_links(setup: &Setup, directory: &str) {
    fs::create_dir(setup.path(directory)).expect("created");
    for file in BOTH {
        fs::rename(setup.path(file), setup.path(directory).join(file)).expect("moved");
        symlink(Path::new(directory).join(file), setup.path(file)).expect("linked");
    }
}

#[test]
fn plugins_beside_a_named_configuration_are_checked() {
    let setup = working_directory();
    set_mode(&setup.path(""), 0o777);
    let full = setup.path("gauged.toml");
    // However the working directory is written.
    for name in ["gauged.toml", "./gauged.toml", full.to_str().expect("text")] {
        let (code, errors) = check(&setup, &["--config", name]);
        assert!(code == Some(2) && matches!(&*errors, [error] if error.contains("plugins is refused")), "{errors:?}");
        let (is_configured, has_plugin, warnings) = sample(setup.command(&["--once", "--config", name]));
        assert_eq!((is_configured, has_plugin, warnings.len()), (true, false, 1), "{warnings:?}");
    }
}

#[test]
fn refused_configuration_is_not_read() {
    let setup = working_directory();
    fs::write(setup.path("gauged.toml"), "intervall = 1\n").expect("written");
    set_mode(&setup.path(""), 0o777);
    // Only the refusals are reported.
    let (code, errors) = check(&setup, &[]);
    assert_eq!((code, errors.len()), (Some(2), 2), "{errors:?}");
    let (code, errors) = check(&setup, &["--config", "gauged.toml", "--plugins", "plugins"]);
    assert!(code == Some(2) && errors[0].contains("intervall: unknown key"), "{errors:?}");
}

#[test]
fn plugins_directory_created_by_others_is_not_used() {
    let setup = Setup::new();
    fs::remove_dir(setup.path("plugins")).expect("removed");
    set_mode(&setup.path(""), 0o1777);
    assert_eq!(check(&setup, &[]), (Some(0), Vec::new()), "nothing is wrong");
    let mut agent = setup.start(&["--interval", "100ms"]);
    let reason = "it does not exist, and its directory can be written by everybody (mode 1777)";
    agent.wait_log(&format!(" INFO file of the working directory refused path=plugins reason=\"{reason}\""));
    agent.next();
    fs::create_dir(setup.path("plugins")).expect("created");
    Guest::new("late").install(&setup.plugin("late.wasm"));
    // A directory that is used is looked for once a second.
    for _ in 0..25 {
        assert_eq!(value(&agent.next(), "late"), None);
    }
    assert!(!agent.log().contains("WARN"), "{}", agent.log());
}
