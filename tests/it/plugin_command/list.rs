//! `gauged plugin list`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use expect_test::expect;
use serde_json::{Value, json};

use super::{CommandOutput, plugin, write_plugin};
use crate::guest::Guest;
use crate::harness::{Sample, Setup};

/// A setup with a plugin in each state.
fn host_with_all_states() -> Setup {
    let setup = Setup::with_config(
        "[plugins.two]\nfile = \"shared.wasm\"\n[plugins.one]\nfile = \"shared.wasm\"\n[plugins.lost]\n[plugins.slow]\ntimeout = \"200ms\"\n\
         [plugins.off]\nenabled = false\n[plugins.later]\nenabled = false\n",
    );
    let install = |guest: &Guest, name: &str| write_plugin(&setup, guest, &format!("plugins/{name}.wasm"));
    install(&Guest::new("shared"), "shared");
    install(&Guest::new("ungranted").needs("connect", "db:1", "look"), "ungranted");
    install(&Guest::new("absent").error(3, "the server is down"), "absent");
    install(&Guest::new("unsupported").error(0, "no such sensor"), "unsupported");
    install(&Guest::new("trap").before_collect("unreachable"), "trap");
    install(&Guest::new("slow").before_collect("(loop $forever (br $forever))"), "slow");
    install(&Guest::new("unset").configure("unreachable"), "unset");
    install(&Guest::new("off"), "off");
    install(&Guest::new("x"), "not a name");
    std::fs::write(setup.plugin("bad.wasm"), "").expect("written");
    std::fs::create_dir(setup.plugin("folder.wasm")).expect("created");
    setup
}

#[test]
fn list_shows_each_plugins_predicted_state() {
    let setup = host_with_all_states();
    let output = plugin(&setup, &["list"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    // The first line keeps the indentation of the others, which `expect!` would remove.
    expect![[r#"
        lists
          NAME         FILE              STATE        VERSION  HASH      SIZE
          absent       absent.wasm       unavailable  1.0.0    0a2dca37  5.9 KiB  has nothing to measure: the server is down
          bad          bad.wasm          rejected     -        e3b0c442  -        is empty; copy it again
          -            folder.wasm       ignored      -        -         -        is a directory; put a .wasm file there
          -            not a name.wasm   ignored      -        -         -        is not loaded: its name cannot name a plugin; use letters, digits, - and _
          off          off.wasm          off          -        -         -        is not enabled; remove enabled = false from [plugins.off] to load it
          one          shared.wasm       up           1.0.0    3bcea76c  5.8 KiB
          two          shared.wasm       up           1.0.0    3bcea76c  5.8 KiB
          slow         slow.wasm         failed       1.0.0    3462d31b  5.8 KiB  fails: collect took longer than its timeout of 200ms (timeout); fix the plugin
          trap         trap.wasm         failed       1.0.0    38c63350  5.8 KiB  fails: collect failed: wasm trap: wasm `unreachable` instruction executed (trap); fix the plugin
          ungranted    ungranted.wasm    up           1.0.0    af973ba7  5.9 KiB  is missing connect = ["db:1"]
          unset        unset.wasm        rejected     1.0.0    04bab3e1  5.8 KiB  fails: configure failed: wasm trap: wasm `unreachable` instruction executed (trap); fix the plugin
          unsupported  unsupported.wasm  disabled     1.0.0    fb263cd9  5.9 KiB  cannot work on this host: no such sensor
          later        later.wasm        off          -        -         -        is not enabled; remove enabled = false from [plugins.later] to load it
          lost         lost.wasm         missing      -        -         -        is missing; copy it into the plugins directory, or remove [plugins.lost]
    "#]].assert_eq(&format!("lists\n{}", output.stdout));

    let json = plugin(&setup, &["list", "--json"]).json();
    let states: Vec<(&Value, &Value)> =
        json.as_array().expect("a list").iter().map(|row| (&row["name"], &row["state"])).collect();
    // An agent reports the same states.
    let (sample, log) = setup.once();
    let mut known = 0;
    for (name, state) in states {
        let reported =
            sample["agent"].get(&format!("plugin_state{{plugin=\"{}\"}}", name.as_str().unwrap_or_default()));
        assert!(reported.is_none_or(|reported| reported == state), "{name}: {reported:?}, listed as {state}\n{log}");
        known += usize::from(reported.is_some());
    }
    assert_eq!(known, 9, "{sample:?}");
    let one = &json.as_array().expect("a list").iter().find(|row| row["name"] == "one").expect("listed");
    assert_eq!(one["hash"], sample["agent"]["plugin_hash{plugin=\"one\"}"]);
}

#[test]
fn names_of_the_same_characters_are_listed_apart() {
    let setup = Setup::with_config("[plugins.other]\nfile = \"a\u{fffd}.wasm\"\n[plugins.odd]\nfile = 'a\\xff.wasm'\n");
    let names = [b"a\xff.wasm".as_slice(), b"a\xfe.wasm", br"a\xff.wasm"];
    for name in names {
        std::fs::write(setup.plugin("").join(OsStr::from_bytes(name)), Guest::new("odd").module()).expect("written");
    }
    let json = plugin(&setup, &["list", "--json"]).json();
    let rows: Vec<_> = json.as_array().expect("a list").iter().map(|row| (&row["file"], &row["state"])).collect();
    let [ignored, up, missing] = ["ignored", "up", "missing"].map(Value::from);
    let files = [r"./a\xfe.wasm", r"./a\xff.wasm", r"a\xff.wasm", "a\u{fffd}.wasm"].map(Value::from);
    assert_eq!(rows, files.iter().zip([&ignored, &ignored, &up, &missing]).collect::<Vec<_>>(), "{json}");

    let inspect = |name: &[u8]| -> CommandOutput {
        let mut command = setup.command(&["plugin", "inspect"]);
        command.arg(setup.plugin("").join(OsStr::from_bytes(name))).output().expect("it runs").into()
    };
    let inspected = inspect(names[0]);
    assert!(inspected.code == Some(2) && inspected.stderr.contains("not UTF-8"), "{}", inspected.stderr);
    assert_eq!(inspect(names[2]).code, Some(0));
}

#[test]
fn directory_argument_is_listed() {
    let setup = Setup::new();
    std::fs::create_dir(setup.path("other")).expect("created");
    assert_eq!(plugin(&setup, &["list", "other"]).stdout, "no plugins in other\n");
    write_plugin(&setup, &Guest::new("one"), "other/one.wasm");
    let json = plugin(&setup, &["list", "other", "--json"]).json();
    assert_eq!(
        (&json[0]["name"], &json[0]["state"], &json[0]["version"]),
        (&json!("one"), &json!("up"), &json!("1.0.0"))
    );
    let missing = plugin(&setup, &["list", "nowhere"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("failed to read the plugins directory nowhere: No such file"),
        "{}",
        missing.stderr
    );
}

#[test]
fn list_shows_states_from_a_sample() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    write_plugin(&setup, &Guest::new("good"), "plugins/good.wasm");
    write_plugin(&setup, &Guest::new("bad").before_collect("unreachable"), "plugins/bad.wasm");
    let mut agent = setup.start(&[]);
    let has_failed = |sample: &Sample| sample["agent"].get("plugin_state{plugin=\"bad\"}") == Some(&json!("failed"));
    agent.wait(|sample| has_failed(sample) && sample.contains_key("good"));
    let lines: Vec<String> = agent.samples().iter().map(|sample| json!(sample).to_string()).collect();
    std::fs::write(setup.path("log"), lines.join("\n") + "\n{\"agent\":{\"torn").expect("written");
    let json = plugin(&setup, &["list", "--sample", "log", "--json"]).json();
    assert_eq!((&json[0]["name"], &json[0]["state"]), (&json!("bad"), &json!("failed")));
    assert_eq!((&json[0]["faults_total"]["trap"], &json[1]["up"]), (&json!(1), &json!(1)), "{json}");

    let list_from = |input: Stdio| -> CommandOutput {
        setup.command(&["plugin", "list", "--sample", "-"]).stdin(input).output().expect("it runs").into()
    };
    for style in [&["--once"][..], &["--once", "--pretty"]] {
        let mut once = setup.command(style).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let output = list_from(once.stdout.take().expect("piped").into());
        assert!(once.wait().expect("it ends").success());
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let states: Vec<&str> =
            output.stdout.lines().skip(2).map(|line| line.split_whitespace().nth(1).expect("a state")).collect();
        assert_eq!(states, ["failed", "up"], "{}", output.stdout);
    }
}

#[test]
fn invalid_sample_exits_1_invalid_arguments_2() {
    let setup = Setup::new();
    std::fs::write(setup.path("log"), "{\"cpu\":{}}\nINFO loaded\n").expect("written");
    for (arguments, code, error) in [
        (&["--sample", "log"][..], 1, "log has no sample; use the output of the agent"),
        (&["--sample", "-"], 1, "- has no sample"),
        (&["--sample", "none"], 1, "failed to read none: No such file"),
        (&["--sample", "log", "plugins"], 2, "cannot be used with"),
        (&["--sample", "log", "--config", "x"], 2, "cannot be used with"),
        (&["--config", "none.toml"], 2, "none.toml: failed to read it"),
        (&["--interval", "1s"], 2, "unexpected argument"),
    ] {
        let output = plugin(&setup, &[&["list"], arguments].concat());
        assert_eq!((output.code, &*output.stdout), (Some(code), ""), "{arguments:?}");
        assert!(output.stderr.contains(error), "{}", output.stderr);
    }
}
