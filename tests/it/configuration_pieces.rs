//! The files of `gauged.d`: merged in the order of their names, and all their errors reported at once.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use expect_test::expect;
use rustix::process::geteuid;

use crate::guest::Guest;
use crate::harness::{NOBODY, Setup, value};

/// A setup with a configuration file and these files of `gauged.d`.
fn setup(toml: &str, pieces: &[(&str, &str)]) -> Setup {
    let setup = Setup::with_config(toml);
    fs::create_dir(setup.path("gauged.d")).expect("created");
    for (name, text) in pieces {
        fs::write(setup.path("gauged.d").join(name), text).expect("written");
    }
    setup
}

/// The exit code and the errors of `gauged check`.
fn check(setup: &Setup, arguments: &[&str]) -> (Option<i32>, String) {
    let output = setup.run(&[&["check", "--fast"], arguments].concat());
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

/// The effective configuration, as lines.
fn effective(setup: &Setup, arguments: &[&str]) -> Vec<String> {
    let output = setup.run(&[&["check", "--fast", "--effective"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn pieces_are_merged_and_used() {
    let setup = setup(
        "interval = \"30s\"\n",
        &[
            ("10-echo.toml", "\u{feff}[plugins.many]\r\nread = [\"/a\"]\r\n"),
            ("20-limits.toml", "plugins.many.limits.metrics = 5\n"),
            (".hidden.toml", "interval = 1\n"),
            ("notes.txt", "interval = 1\n"),
            ("empty.toml", ""),
        ],
    );
    Guest::new("many").metrics(20).install(&setup.plugin("many.wasm"));
    let (sample, log) = setup.once();
    assert_eq!(sample["many"].len(), 5, "{log}");
    assert_eq!(sample["agent"]["interval"], 30);
    let lines = effective(&setup, &[]);
    for line in [
        "interval = \"30s\" # gauged.toml:1",
        "read = [\"/a\"] # gauged.d/10-echo.toml:2",
        "limits.metrics = 5 # gauged.d/20-limits.toml:1",
        "limits.labels = 16 # default",
    ] {
        assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:#?}");
    }
}

#[test]
fn pieces_need_no_configuration_file() {
    let setup = setup("", &[("a.toml", "hostname = \"piece\"\n")]);
    fs::remove_file(setup.path("gauged.toml")).expect("removed");
    assert!(effective(&setup, &[]).contains(&"hostname = \"piece\" # gauged.d/a.toml:1".to_owned()));
}

#[test]
fn pieces_are_beside_the_named_file() {
    let setup = setup("", &[("a.toml", "hostname = \"here\"\n")]);
    fs::create_dir_all(setup.path("etc/gauged.d")).expect("created");
    fs::write(setup.path("etc/my.toml"), "").expect("written");
    fs::write(setup.path("etc/gauged.d/a.toml"), "hostname = \"there\"\n").expect("written");
    symlink("/dev/null", setup.path("etc/gauged.d/masked.toml")).expect("linked");
    let lines = effective(&setup, &["--config", "etc/my.toml"]);
    assert!(lines.contains(&"hostname = \"there\" # etc/gauged.d/a.toml:1".to_owned()), "{lines:#?}");
    fs::remove_dir_all(setup.path("etc/gauged.d")).expect("removed");
    let lines = effective(&setup, &["--config", "etc/my.toml"]);
    assert!(!lines.iter().any(|line| line.contains("here")), "{lines:#?}");
}

#[test]
fn key_given_twice_names_both_places() {
    let setup = setup(
        "interval = \"5s\"\n[plugins.redis]\nread = [\"/a\"]\nconfig = { a = 1 }\n",
        &[
            ("a.toml", "\n[plugins.redis]\nread = [\"/b\"]\nconfig.b = 2\n"),
            ("b.toml", "plugins.redis.config.b = 3\nplugins.redis.limits = 4\nhostname = \"h\"\n"),
            ("c.toml", "[plugins]\nredis.limits.metrics = 4\nredis.config.b.c = 1\n"),
        ],
    );
    let (code, errors) = check(&setup, &[]);
    assert_eq!(code, Some(2));
    expect![[r"
        gauged.d/a.toml:3: plugins.redis.read: is given twice, also in gauged.toml:3; remove one of the two
        gauged.d/b.toml:1: plugins.redis.config.b: is given twice, also in gauged.d/a.toml:4; remove one of the two
        gauged.d/b.toml:2: plugins.redis.limits: is an integer; write a table, as in [plugins.redis.limits]
        gauged.d/c.toml:2: plugins.redis.limits: is given twice, also in gauged.d/b.toml:2; remove one of the two
        gauged.d/c.toml:3: plugins.redis.config.b: is given twice, also in gauged.d/a.toml:4; remove one of the two
    "]]
    .assert_eq(&errors);
    let output = setup.run(&["--once"]);
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).expect("text")), (Some(2), errors));
}

#[test]
fn key_given_twice_in_one_file_is_named() {
    let setup =
        setup("interval = \"5s\"\ninterval = \"6s\"\n", &[("a.toml", "[plugins.a]\n[plugins.b]\n[plugins.a]\n")]);
    let (code, errors) = check(&setup, &[]);
    assert_eq!(code, Some(2));
    expect![[r"
        gauged.toml:2: interval: is given twice in this file; remove one of the two
        gauged.d/a.toml:3: a: is given twice in this file; remove one of the two
    "]]
    .assert_eq(&errors);
}

#[test]
fn secret_given_twice_names_both_places() {
    let setup = setup(
        "[plugins.redis]\nconfig = { servers = [{}] }\nsecrets.\"servers.0.password\" = \"/dev/null/a\"\nenabled = false\n",
        &[
            ("b.toml", "plugins.redis.secrets.servers.0.password = \"/dev/null/b\"\n"),
            ("c.toml", "[plugins.redis.secrets]\na.b = \"/c\"\n\"a.b\" = \"/c\"\n"),
        ],
    );
    let (code, errors) = check(&setup, &[]);
    assert_eq!(code, Some(2));
    expect![[r"
        gauged.d/b.toml:1: plugins.redis.secrets.servers.0.password: is given twice, also in gauged.toml:3; remove one of the two
        gauged.d/c.toml:3: plugins.redis.secrets.a.b: is given twice, also in gauged.d/c.toml:2; remove one of the two
    "]]
    .assert_eq(&errors);
}

/// The exit code and the errors of `gauged check` with 300 MB of address space.
fn check_within_memory(setup: &Setup) -> (Option<i32>, String) {
    let script = "ulimit -v 300000 && exec \"$0\" check --fast";
    let mut command = setup.command_of(Path::new("sh"), &["-c", script, env!("CARGO_BIN_EXE_gauged")]);
    let output = command.output().expect("it runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn long_keys_take_bounded_memory() {
    let long = "k".repeat(60_000);
    let message = "is longer than 512 bytes, with the tables that it is in; use shorter names";
    for (toml, key) in [
        // Values, tables, secrets and unknown keys that would each have the long name.
        (format!("plugins.r.config.{long} = [{}]\n", "1,".repeat(60_000)), "plugins.r.config."),
        (format!("plugins.r.config.l = [{{ {long} = [{}] }}]\n", "{},".repeat(20_000)), "plugins.r.config.l."),
        (
            (0..20_000).fold(format!("[plugins.r.secrets.{long}]\n"), |toml, number| format!("{toml}{number}=''\n")),
            "plugins.r.secrets.",
        ),
        ((0..20_000).fold(format!("[{long}]\n"), |toml, number| format!("{toml}{number}=1\n")), ""),
    ] {
        let setup = Setup::with_config(&toml);
        let (code, errors) = check_within_memory(&setup);
        assert_eq!((code, errors), (Some(2), format!("gauged.toml:1: {key}{}…: {message}\n", &long[..32])));
    }
    // As long as allowed: the elements of a list have no text of their own.
    let setup = Setup::with_config(&format!("plugins.r.config.{} = [{}]\n", &long[..480], "1,".repeat(200_000)));
    assert_eq!(check_within_memory(&setup), (Some(0), String::new()));
}

#[test]
fn bad_pieces_are_all_reported() {
    let setup = setup("intervall = 1\n", &[("z.toml", "[plugins.a]\ninterval = \"15s\"\n\n\nhost = 1\n")]);
    let piece = |name: &str| setup.path("gauged.d").join(name);
    fs::create_dir(piece("a-directory.toml")).expect("created");
    symlink("nowhere", piece("b-dangling.toml")).expect("linked");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, piece("c-pipe.toml"), mode).expect("made");
    fs::write(piece("d-binary.toml"), [b'#', 0xff]).expect("written");
    fs::write(piece("e-large.toml"), "# filler\n".repeat((2 << 20) / 9)).expect("written");
    fs::write(piece("f-utf16.toml"), [0xff, 0xfe, b'a', 0]).expect("written");
    fs::write(piece("g-broken.toml"), "\n[plugins\n").expect("written");
    let _socket = UnixListener::bind(piece("h-socket.toml")).expect("bound");
    let (code, errors) = check(&setup, &[]);
    assert_eq!(code, Some(2));
    expect![[r"
        gauged.toml:1: intervall: unknown key; remove it, or use one of interval, hostname, tags, plugins_directory, cache, state_directory, log, limits, metrics, cpu, load, memory, host, client, sinks, http, plugins
        gauged.d/a-directory.toml: failed to read it: it is not a regular file; make it a readable file, or remove it
        gauged.d/b-dangling.toml: failed to read it: No such file or directory (os error 2); make it a readable file, or remove it
        gauged.d/c-pipe.toml: failed to read it: it is not a regular file; make it a readable file, or remove it
        gauged.d/d-binary.toml: failed to read it: it is not UTF-8; save it as UTF-8
        gauged.d/e-large.toml: failed to read it: it is larger than 1 MiB; make it smaller: comments count, too
        gauged.d/f-utf16.toml: failed to read it: it is not UTF-8; save it as UTF-8
        gauged.d/g-broken.toml:2: not TOML: unclosed table, expected `]`
        gauged.d/h-socket.toml: failed to read it: No such device or address (os error 6); make it a readable file, or remove it
        gauged.d/z.toml:5: plugins.a.host: unknown key; remove it, or use one of enabled, file, interval, timeout, memory, limits, read, usage, connect, fetch, config, secrets, client
    "]]
    .assert_eq(&errors);
}

#[test]
fn number_and_size_of_pieces_are_bounded() {
    let setup = setup("", &[]);
    let piece = |number: usize| setup.path("gauged.d").join(format!("{number:04}.toml"));
    for number in 0..1000 {
        fs::write(piece(number), "").expect("written");
    }
    assert_eq!(check(&setup, &[]), (Some(0), String::new()));
    fs::write(piece(1000), "").expect("written");
    assert_eq!(check(&setup, &[]), (Some(2), "gauged.d: has more than 1000 files; merge some of them\n".to_owned()));
    fs::remove_file(piece(1000)).expect("removed");
    for number in 0..5 {
        fs::write(piece(number), "#".repeat(1 << 20)).expect("written");
    }
    let expected = "gauged.d/0004.toml: makes the configuration larger than 4 MiB; make the files smaller\n";
    assert_eq!(check(&setup, &[]).1.lines().next(), Some(expected.trim_end()));
    // Another error has its own message.
    fs::remove_file(piece(999)).expect("removed");
    symlink("nowhere", piece(999)).expect("linked");
    let last = check(&setup, &[]).1;
    assert!(last.lines().any(|line| line.starts_with("gauged.d/0999.toml: failed to read it: No such file")), "{last}");
}

#[test]
fn unusable_pieces_directory_is_an_error() {
    let setup = Setup::new();
    symlink("nowhere", setup.path("gauged.d")).expect("linked");
    let expected = "gauged.d: failed to read the directory: No such file or directory (os error 2); make it a directory, \
                    or remove it\n";
    assert_eq!(check(&setup, &[]), (Some(2), expected.to_owned()));
    fs::remove_file(setup.path("gauged.d")).expect("removed");
    fs::write(setup.path("gauged.d"), "").expect("written");
    let (code, error) = check(&setup, &[]);
    assert!(code == Some(2) && error.starts_with("gauged.d: failed to read the directory: Not a directory"), "{error}");
}

#[test]
fn unreadable_piece_is_an_error() {
    let setup = setup("", &[("a.toml", "")]);
    let owner = geteuid().is_root().then_some(NOBODY);
    for path in ["", "gauged.d", "gauged.d/a.toml", "gauged.toml"] {
        chown(setup.path(path), owner, owner).expect("changed");
    }
    fs::set_permissions(setup.path("gauged.d/a.toml"), fs::Permissions::from_mode(0o000)).expect("set");
    let output = setup.command_without_root(&["check", "--fast"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    expect![[r"
        gauged.d/a.toml: failed to read it: Permission denied (os error 13); make it a readable file, or remove it
    "]]
    .assert_eq(&String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pieces_that_others_can_write_are_refused() {
    let setup = setup("", &[("a.toml", "hostname = \"a\"\n"), ("b.toml", "interval = \"30s\"\n")]);
    let set = |name: &str, mode| fs::set_permissions(setup.path(name), fs::Permissions::from_mode(mode)).expect("set");
    set("gauged.d/a.toml", 0o666);
    let output = setup.run(&["check", "--fast", "--effective"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "gauged.d/a.toml is refused: it can be written by everybody (mode 666); take the write permission of others \
                    away and give it to the agent's user\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(shown.contains("interval = \"30s\" # gauged.d/b.toml:1") && !shown.contains("hostname = "), "{shown}");
    // The agent goes on without it.
    let (sample, log) = setup.once();
    assert_eq!(sample["agent"]["interval"], 30);
    assert!(log.contains("file of the working directory refused path=gauged.d/a.toml"), "{log}");

    set("gauged.d/a.toml", 0o644);
    set("gauged.d", 0o777);
    assert!(check(&setup, &[]).1.starts_with("gauged.d is refused: it can be written by everybody (mode 777)"));
    set("gauged.d", 0o755);
    assert_eq!(check(&setup, &[]), (Some(0), String::new()));
}

#[test]
fn link_to_the_null_device_is_empty() {
    let setup = setup("", &[("b.toml", "hostname = \"b\"\n")]);
    symlink("/dev/null", setup.path("gauged.d/a.toml")).expect("linked");
    assert!(effective(&setup, &[]).contains(&"hostname = \"b\" # gauged.d/b.toml:1".to_owned()));
}

#[test]
fn plugins_directory_is_a_key() {
    let setup = Setup::new();
    let other = setup.path("others");
    fs::create_dir(&other).expect("created");
    Guest::new("other").install(&other.join("other.wasm"));
    Guest::new("usual").install(&setup.plugin("usual.wasm"));
    let toml = format!("plugins_directory = {:?}\n", other.to_str().expect("text"));
    fs::write(setup.path("gauged.toml"), toml).expect("written");
    let (sample, log) = setup.once();
    assert!(value(&sample, "other").is_some() && value(&sample, "usual").is_none(), "{log}");
    let (sample, log) = setup.once_with(&["--plugins", "plugins"]);
    assert!(value(&sample, "usual").is_some() && value(&sample, "other").is_none(), "{log}");
    fs::write(setup.path("gauged.toml"), "plugins_directory = \"others\"\n").expect("written");
    let expected =
        "gauged.toml:1: plugins_directory: \"others\" is not an absolute path; write it like \"/opt/gauged/plugins\"\n";
    assert_eq!(check(&setup, &[]), (Some(2), expected.to_owned()));
}
