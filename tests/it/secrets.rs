//! Secrets: settings of plugins that are read from files, and that nobody else gets to see.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::PathBuf;

use rustix::process::{Signal, geteuid};
use serde_json::json;

use crate::guest::Guest;
use crate::harness::{Agent, NOBODY, Sample, Setup, plugin_metric, value};
use crate::plugin_command::plugin;
use crate::status::{self, wait_status};

const SECRET: &str = "s3cr\"et";

fn write_secret(setup: &Setup, name: &str, content: &str, mode: u32) -> PathBuf {
    let path = setup.path(name);
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    path
}

/// A setup with a plugin `echo`, whose setting `servers.0.password` is a secret.
fn setup() -> Setup {
    let setup = Setup::new();
    let path = write_secret(&setup, "secret", &format!("{SECRET}\n"), 0o400);
    let toml = format!(
        "interval = \"100ms\"\n[plugins.echo]\nconfig = {{ servers = [{{ address = \"a:1\" }}] }}\n\
         secrets = {{ \"servers.0.password\" = \"{}\" }}\n",
        path.display()
    );
    fs::write(setup.path("gauged.toml"), toml).expect("written");
    setup
}

#[test]
fn secret_is_merged_into_the_settings() {
    let setup = setup();
    Guest::echo().install(&setup.plugin("echo.wasm"));
    let (sample, log) = setup.once();
    let received = value(&sample, "echo").expect(&log);
    let expected = r#"{"servers":[{"address":"a:1","password":"s3cr\"et"}]}"#;
    assert_eq!(received.as_str(), Some(expected));
    assert!(!log.contains("s3cr"), "{log}");
}

#[test]
fn rotated_secret_is_read_at_reload() {
    let setup = setup();
    Guest::echo().install(&setup.plugin("echo.wasm"));
    let mut agent = setup.start(&[]);
    let received = |sample: &Sample| value(sample, "echo").map(|value| value.to_string()).unwrap_or_default();
    agent.wait(|sample| received(sample).contains("s3cr"));
    // In a new piece, too: both in one step.
    fs::write(setup.path("secret.new"), "rotated\n").expect("written");
    fs::set_permissions(setup.path("secret.new"), fs::Permissions::from_mode(0o400)).expect("set");
    fs::rename(setup.path("secret.new"), setup.path("secret")).expect("moved");
    fs::create_dir(setup.path("gauged.d")).expect("created");
    fs::write(setup.path("gauged.d/name.toml"), "hostname = \"after\"\n").expect("written");
    agent.signal(Signal::HUP);
    agent.wait_log("configuration reloaded changed=\"hostname, plugins.echo\"");
    agent.wait(|sample| received(sample).contains("rotated"));
    for sample in agent.samples() {
        assert_eq!(received(sample).contains("rotated"), sample["agent"]["hostname"] == "after", "{sample:?}");
    }
    // One that others may read changes nothing.
    fs::set_permissions(setup.path("secret"), fs::Permissions::from_mode(0o444)).expect("set");
    agent.signal(Signal::HUP);
    agent.wait_log("configuration not reloaded file=gauged.toml");
    agent.wait(|sample| sample["agent"]["config_reload_success"] == 0 && received(sample).contains("rotated"));
    assert!(!agent.log().contains("rotated"), "{}", agent.log());
}

#[test]
fn credential_is_named_without_a_slash() {
    let setup = Setup::with_config("[plugins.echo.secrets]\ndeep.password = \"redis\"\n");
    Guest::echo().install(&setup.plugin("echo.wasm"));
    fs::create_dir(setup.path("credentials")).expect("created");
    // As systemd leaves it: a link in a directory that belongs to the service.
    write_secret(&setup, "content", SECRET, 0o440);
    symlink("../content", setup.path("credentials/redis")).expect("linked");
    let output =
        setup.command(&["--once"]).env("CREDENTIALS_DIRECTORY", setup.path("credentials")).output().expect("runs");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains(r#"{\"deep\":{\"password\":\"s3cr\\\"et\"}}"#),
        "{output:?}"
    );
    let output = setup.command(&["check"]).env_remove("CREDENTIALS_DIRECTORY").output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "gauged.toml:2: plugins.echo.secrets.deep.password: names a credential, and $CREDENTIALS_DIRECTORY is not set; write \
         LoadCredential= in the agent's systemd unit, or an absolute path here\n"
    );
}

#[test]
fn errors_in_secrets_are_all_reported() {
    let setup = Setup::new();
    let path = |name: &str| setup.path(name).to_str().expect("text").to_owned();
    write_secret(&setup, "good", SECRET, 0o600);
    write_secret(&setup, "open", SECRET, 0o644);
    write_secret(&setup, "empty", "\n", 0o600);
    fs::create_dir(setup.path("directory")).expect("created");
    let toml = format!(
        "[plugins.a]
config = {{ servers = [{{ address = \"a:1\" }}], set = \"x\" }}
[plugins.a.secrets]
\"servers.1.password\" = \"{good}\"
\"servers.x\" = \"{good}\"
set = \"{good}\"
set.deep = \"{good}\"
open = \"{open}\"
empty = \"{empty}\"
directory = \"{directory}\"
missing = \"{missing}\"
number = 5
misplaced = \"hunter/2\"
[plugins.off]
enabled = false
secrets = {{ a = \"{missing}\" }}
",
        good = path("good"),
        open = path("open"),
        empty = path("empty"),
        directory = path("directory"),
        missing = path("missing"),
    );
    fs::write(setup.path("gauged.toml"), toml.replace("set.deep", "\"set.deep\"")).expect("written");
    let output = setup.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).expect("text").replace(&path(""), "");
    let expected = "\
gauged.toml:4: plugins.a.secrets.servers.1.password: config.servers has 1 elements, and none with the number 1; the first is 0
gauged.toml:5: plugins.a.secrets.servers.x: config.servers is a list; write the number of an element, from 0
gauged.toml:6: plugins.a.secrets.set: config.set is set, too; remove one of the two
gauged.toml:7: plugins.a.secrets.set.deep: config.set is neither a table nor a list; correct the path
gauged.toml:8: plugins.a.secrets.open: names open, which is open to everybody (mode 644); take that away with chmod o=, and change the secret
gauged.toml:9: plugins.a.secrets.empty: names empty, which is empty; write the secret into it
gauged.toml:10: plugins.a.secrets.directory: names directory, which is not a regular file; name a regular file
gauged.toml:11: plugins.a.secrets.missing: names missing, which cannot be read: No such file or directory (os error 2); write the file, or remove the key
gauged.toml:12: plugins.a.secrets.number: is an integer; write a text in quotes: the name of a file
gauged.toml:13: plugins.a.secrets.misplaced: is not an absolute path, nor the name of a credential; write one of the two
";
    assert_eq!(errors, expected);
}

#[test]
fn foreign_secret_is_refused() {
    if !geteuid().is_root() {
        return;
    }
    let setup = setup();
    chown(setup.path("secret"), Some(NOBODY - 1), None).expect("changed");
    let output = setup.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("belongs to user 65533, not to root or user 0; give it to the agent's user with chown, or"),
        "{error}"
    );
}

#[test]
fn secret_is_shown_nowhere() {
    let setup = setup();
    let invalid = Guest::new("echo").invalid_setting("servers[0].password", &format!("the password {SECRET} is wrong"));
    invalid.install(&setup.plugin("echo.wasm"));
    let file = setup.plugin("echo.wasm");
    let file = file.to_str().expect("text");
    let mut shown = String::new();
    for arguments in [
        &["check"][..],
        &["check", "--effective"],
        &["--once"],
        &["plugin", "inspect", file],
        &["plugin", "inspect", "--json", file],
        &["plugin", "test", "--config", "gauged.toml", file],
        &["plugin", "list"],
    ] {
        let output = setup.run(arguments);
        for text in [output.stdout, output.stderr] {
            let text = String::from_utf8(text).expect("text");
            assert!(!text.contains("s3cr"), "{arguments:?}: {text}");
            shown += &text;
        }
    }
    let expected = "gauged.toml:4: plugins.echo.config.servers[0].password: the password … is wrong\n";
    assert!(shown.contains(expected) && shown.contains("secrets.\"servers.0.password\" = "), "{shown}");
    // A message of the plugin.
    Guest::new("echo").logs(2, &format!("connecting with {SECRET}")).install(&setup.plugin("echo.wasm"));
    let (_, log) = setup.once();
    assert!(log.contains("connecting with …") && !log.contains("s3cr"), "{log}");
    // The name of a metric, which is invalid.
    Guest::new("echo").second(SECRET).install(&setup.plugin("echo.wasm"));
    let (_, log) = setup.once();
    assert!(log.contains("the metric echo.…: ") && !log.contains("s3cr"), "{log}");
}

/// A guest that connects to an address at each call of `collect`.
fn connecting(address: &str) -> Guest {
    let mut guest = Guest::new("echo").import(
        "gauged:plugin/net",
        "[static]connection.connect",
        "(func $connect (param i32 i32 i32 i32 i32))",
    );
    let (text, length) = guest.text(address);
    guest.before_collect(&format!(
        "(call $connect (i32.const {text}) (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 8192))"
    ))
}

#[test]
fn secret_is_shown_in_no_denial() {
    const ADDRESS: &str = "S3crHost:6379";
    let setup = setup();
    fs::create_dir(setup.path("run")).expect("created");
    write_secret(&setup, "address", &format!("{ADDRESS}\n"), 0o400);
    let toml = format!(
        "interval = \"100ms\"\n[plugins.echo]\nsecrets = {{ address = \"{}\" }}\n",
        setup.path("address").display()
    );
    fs::write(setup.path("gauged.toml"), toml).expect("written");
    let file = setup.plugin("echo.wasm");
    let file = file.to_str().expect("text");
    for (state, guest) in [
        ("rejected", Guest::new("echo").denied("connect", ADDRESS, "connect")),
        ("up", Guest::new("echo").needs("connect", ADDRESS, "connect")),
        ("up", Guest::new("echo").needs("read", ADDRESS, "read what nothing grants")),
        ("up", connecting(ADDRESS)),
    ] {
        guest.install(&setup.plugin("echo.wasm"));
        let agent = setup.start(&[]);
        let mut shown = wait_status(&setup, &agent, state, |status| {
            let plugin = status::plugin(status, "echo");
            let is_reported = [&plugin["missing_grants"], &plugin["problems"]].iter().any(|list| **list != json!([]));
            plugin["state"] == state && (is_reported || agent.log().contains("impossible"))
        })
        .to_string();
        for arguments in [
            &["status"][..],
            &["plugin", "list", "--running"],
            &["plugin", "list"],
            &["plugin", "inspect", file],
            &["plugin", "inspect", "--json", file],
            &["plugin", "test", "--config", "gauged.toml", file],
            &["check"],
        ] {
            let output = setup.run(arguments);
            shown += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
        }
        shown += &agent.log();
        assert!(!shown.to_lowercase().contains("s3cr"), "{shown}");
        assert!(shown.contains('…'), "{shown}");
    }
}

#[test]
fn plugin_commands_use_secrets() {
    let setup = setup();
    Guest::echo().install(&setup.plugin("echo.wasm"));
    let file = setup.plugin("echo.wasm");
    let file = file.to_str().expect("text");
    let tested = plugin(&setup, &["test", "--config", "gauged.toml", file]);
    assert!(tested.stdout.contains("password"), "the guest got it: {}{}", tested.stdout, tested.stderr);
    let inspected = plugin(&setup, &["inspect", file]);
    let settings = r#"with {"servers":[{"address":"a:1","password":"…"}]}"#;
    assert!(inspected.stdout.contains(settings), "{}", inspected.stdout);
    let changed = plugin(&setup, &["inspect", "--set", "servers=[]", file]);
    assert_eq!(changed.code, Some(2));
    assert!(changed.stderr.contains("[plugins.echo] secrets.servers.0.password: config.servers has 0 elements"));
}

/// Whether a process can be dumped, by the owner of its files (proc(5)).
#[cfg(target_os = "linux")]
fn is_dumpable(agent: &Agent, owner: u32) -> bool {
    fs::metadata(format!("/proc/{}/environ", agent.pid())).expect("it runs").uid() == owner
}

#[cfg(target_os = "linux")]
#[test]
fn process_with_secrets_is_not_dumpable() {
    let setup = setup();
    Guest::new("echo").install(&setup.plugin("echo.wasm"));
    let owner = if geteuid().is_root() { NOBODY } else { geteuid().as_raw() };
    for path in ["", "secret", "gauged.toml", "plugins", "plugins/echo.wasm"] {
        chown(setup.path(path), Some(owner), Some(owner)).expect("changed");
    }
    let is_up = |sample: &Sample| plugin_metric(sample, "plugin_up", "echo") == Some(1.0);
    let is_measured = |sample: &Sample| {
        let own = ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "threads"];
        own.iter().all(|name| sample["agent"][*name].is_number()) && sample["cpu"]["percent"].is_number()
    };
    // A user of its own loses access to files of /proc/self, and everything still works.
    let mut agent = Agent::start(setup.command_without_root(&["--config", "gauged.toml"]));
    agent.wait(|sample| is_up(sample) && is_measured(sample));
    assert!(!is_dumpable(&agent, owner));
    let log = agent.log();
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
    agent.terminate();
    fs::write(setup.path("gauged.toml"), "interval = \"100ms\"\n").expect("written");
    let mut agent = Agent::start(setup.command_without_root(&["--config", "gauged.toml"]));
    agent.wait(is_up);
    assert!(is_dumpable(&agent, owner));
}

#[test]
fn password_in_clear_text_is_one_warning() {
    let config = "interval = \"100ms\"\n[plugins.echo]\nconfig = { servers = [{ password = \"s3cret\" }], token_file = \"/t\" }\n";
    let setup = Setup::with_config(config);
    Guest::echo().install(&setup.plugin("echo.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| {
        value(sample, "echo").is_some_and(|text| text.as_str().is_some_and(|text| text.contains("s3cret")))
    });
    let lines = agent.wait_log_lines("plugin secret in clear text", 1);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains(" WARN plugin secret in clear text plugin=echo keys=servers.0.password remedy="),
        "{lines:?}"
    );
    assert!(
        lines[0].contains(r#"secrets = { \"servers.0.password\" = "#) && !agent.log().contains("s3cret"),
        "{lines:?}"
    );
    // One more for each new table, and none for a new interval.
    let reload = |agent: &mut Agent, config: &str, reloaded: &str| {
        fs::write(setup.path("gauged.toml"), config).expect("written");
        agent.signal(Signal::HUP);
        agent.wait_log(reloaded);
    };
    reload(&mut agent, &config.replace("s3cret", "other"), "configuration reloaded changed=plugins.echo");
    let slower = config.replace("s3cret", "other").replace("100ms", "200ms");
    reload(&mut agent, &slower, "configuration reloaded changed=interval");
    let renamed = slower.replace("password", "passphrase");
    reload(&mut agent, &renamed, "plugin secret in clear text plugin=echo keys=servers.0.passphrase");
    assert_eq!(agent.log().matches("plugin secret in clear text").count(), 3, "{}", agent.log());
}

#[test]
fn secret_behind_a_foreign_directory_is_refused() {
    if !geteuid().is_root() {
        return;
    }
    let setup = setup();
    fs::create_dir(setup.path("theirs")).expect("created");
    symlink(setup.path("secret"), setup.path("theirs/link")).expect("linked");
    let text = fs::read_to_string(setup.path("gauged.toml")).expect("read");
    let secret = setup.path("secret").display().to_string();
    fs::write(setup.path("gauged.toml"), text.replace(&secret, &setup.path("theirs/link").display().to_string()))
        .expect("written");
    assert_eq!(setup.run(&["check"]).status.code(), Some(0));
    chown(setup.path("theirs"), Some(NOBODY - 1), None).expect("changed");
    let output = setup.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).replace(&format!("{}/", setup.path("").display()), "");
    assert!(error.contains("theirs/link, which is in the directory "), "{error}");
    assert!(
        error.contains(
            "theirs, which belongs to user 65533, not to root or user 0; move it to a directory that only root and the \
             agent's user can change, and change the secret"
        ),
        "{error}"
    );
}
