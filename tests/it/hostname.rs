//! The name of the host in samples: where it comes from, and its changes.

use std::fs;

use rustix::process::geteuid;
use serde_json::Value;

use crate::harness::{Agent, Sample, Setup, parse};
use crate::skip::{current_test, skip};

/// A measured host with this name in `/etc/hostname`, below `host`.
fn write_hostname(setup: &Setup, name: &str) {
    fs::create_dir_all(setup.path("host/etc")).expect("created");
    fs::write(setup.path("host/etc/new"), format!("# the name\n{name}\n")).expect("written");
    fs::rename(setup.path("host/etc/new"), setup.path("host/etc/hostname")).expect("renamed");
}

fn hostname(sample: &Sample) -> Value {
    sample["agent"]["hostname"].clone()
}

/// The name in a sample that is taken with this environment variable and these arguments.
fn sampled(setup: &Setup, variable: Option<&str>, arguments: &[&str]) -> Value {
    let mut command = setup.command(&[&["--once"], arguments].concat());
    command.envs(variable.map(|name| ("GAUGED_HOSTNAME", name)));
    let output = command.output().expect("it runs");
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{log}");
    hostname(&parse(&String::from_utf8(output.stdout).expect("text")))
}

#[test]
fn name_comes_from_the_nearest_source() {
    let setup = Setup::with_config("hostname = \"from-key\"\n");
    write_hostname(&setup, "from-file");
    let (root, option) = (["--root", "host"], ["--root", "host", "--hostname", "from-option"]);
    assert_eq!(sampled(&setup, Some("from-variable"), &option), "from-option");
    assert_eq!(sampled(&setup, Some("from-variable"), &root), "from-variable");
    assert_eq!(sampled(&setup, Some(""), &root), "from-key", "an empty variable is none");
    assert_eq!(sampled(&setup, None, &root), "from-key");
    fs::write(setup.path("gauged.toml"), "").expect("written");
    assert_eq!(sampled(&setup, None, &root), "from-file");
    let of_kernel = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has it");
    assert_eq!(sampled(&setup, None, &[]), of_kernel.trim());
    assert_eq!(sampled(&setup, None, &["--root", "/"]), of_kernel.trim());
    fs::remove_file(setup.path("host/etc/hostname")).expect("removed");
    assert_eq!(sampled(&setup, None, &root), Value::Null, "the kernel's name is another host's");
}

#[test]
fn file_without_an_end_gives_no_name() {
    let setup = Setup::new();
    fs::create_dir_all(setup.path("host/etc")).expect("created");
    let path = setup.path("host/etc/hostname");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("made");
    assert_eq!(sampled(&setup, None, &["--root", "host"]), Value::Null, "a pipe without a writer");
    fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink("/dev/zero", &path).expect("linked");
    assert_eq!(sampled(&setup, None, &["--root", "host"]), Value::Null);
}

#[test]
fn wrong_name_is_an_error_with_its_source() {
    let wrong = "is not a host name; use 1 to 253 characters, without spaces";
    for command in [&["check"][..], &["--once"]] {
        let errors = |setup: &Setup, variable: Option<&str>, arguments: &[&str]| {
            let mut command = setup.command(&[command, arguments].concat());
            command.envs(variable.map(|name| ("GAUGED_HOSTNAME", name)));
            let output = command.output().expect("it runs");
            assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true));
            String::from_utf8(output.stderr).expect("text")
        };
        let log = errors(&Setup::new(), None, &["--hostname", "a b"]);
        assert!(log.contains("--hostname") && log.contains(&format!("\"a b\" {wrong}")), "{log}");
        let log = errors(&Setup::new(), Some("a\tb"), &[]);
        assert_eq!(log, format!("environment: $GAUGED_HOSTNAME: \"a\\tb\" {wrong}\n"));
        let log = errors(&Setup::with_config("\nhostname = \"\"\n"), None, &[]);
        assert_eq!(log, format!("gauged.toml:2: hostname: \"\" {wrong}\n"));
    }
    // The option makes the variable irrelevant.
    assert_eq!(sampled(&Setup::new(), Some("a b"), &["--hostname", "right"]), "right");
}

/// Waits for one warning about a change from `old` to `new`, and for samples with the new name.
fn assert_change_followed(agent: &mut Agent) {
    let is = |sample: &Sample, name: &str| hostname(sample) == name;
    agent.wait(|sample| is(sample, "new"));
    let changed = " WARN host name changed previous=old hostname=new remedy=\"none is needed if this was intended; the key \
                   hostname fixes the name\"";
    agent.wait_log(changed);
    for _ in 0..5 {
        assert!(is(&agent.next(), "new"));
    }
    assert!(agent.samples().iter().all(|sample| is(sample, "old") || is(sample, "new")));
    assert_eq!(agent.log().matches("host name changed").count(), 1, "{}", agent.log());
    agent.assert_no_gaps();
}

#[test]
fn changed_file_is_followed_with_one_warning() {
    let setup = Setup::new();
    write_hostname(&setup, "old");
    let mut agent = setup.start(&["--interval", "200ms", "--root", "host"]);
    assert_eq!(hostname(&agent.next()), "old");
    write_hostname(&setup, "new");
    assert_change_followed(&mut agent);
}

#[test]
fn changed_kernel_name_is_followed_with_one_warning() {
    let setup = Setup::new();
    let mut arguments = vec!["--uts"];
    if !geteuid().is_root() {
        arguments.push("--map-root-user");
    }
    arguments.extend(["sh", "-c"]);
    let in_namespace = |rest: &[&str]| setup.command_of("unshare".as_ref(), &[&arguments, rest].concat());
    // Where the user is mapped to root, only the program may set it.
    let set = |name: &str| format!("{{ hostname {name} 2> tried || echo {name} > /proc/sys/kernel/hostname; }}");
    let set_old = set("old");
    let tried = in_namespace(&[&set_old]).output();
    let refused = match tried {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).into_owned()),
        Err(error) => Some(format!("failed to run unshare: {error}")),
    };
    if let Some(why) = refused {
        return skip(&current_test(), &why);
    }
    // The name is changed from inside the namespace, by a process that waits for a file.
    let script = format!(
        "{set_old}
         (for n in $(seq 600); do [ -e change ] && {} && exit; sleep 0.1; done) &
         exec \"$0\" --interval 200ms",
        set("new")
    );
    let mut agent = Agent::start(in_namespace(&[&script, env!("CARGO_BIN_EXE_gauged")]));
    assert_eq!(hostname(&agent.next()), "old");
    fs::write(setup.path("change"), "").expect("written");
    assert_change_followed(&mut agent);
}
