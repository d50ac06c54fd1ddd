//! `gauged plugin list`.

use std::process::Stdio;

use expect_test::expect;
use serde_json::{Value, json};

use super::{Said, plugin, put};
use crate::guest::Guest;
use crate::harness::{Host, Sample};

/// A directory with a plugin in each state.
fn host() -> Host {
    let host = Host::configured(
        "[plugins.two]\nfile = \"shared.wasm\"\n[plugins.one]\nfile = \"shared.wasm\"\n[plugins.lost]\n[plugins.slow]\ntimeout = \"200ms\"\n",
    );
    let put = |guest: &Guest, name: &str| put(&host, guest, &format!("plugins/{name}.wasm"));
    put(&Guest::new("shared"), "shared");
    put(&Guest::new("lacking").needs(2, "db:1", "look"), "lacking");
    put(&Guest::new("absent").error(3, "the server is down"), "absent");
    put(&Guest::new("aside").error(0, "no such sensor"), "aside");
    put(&Guest::new("trap").before_collect("unreachable"), "trap");
    put(&Guest::new("slow").before_collect("(loop $forever (br $forever))"), "slow");
    put(&Guest::new("unset").configure("unreachable"), "unset");
    put(&Guest::new("x"), "not a name");
    std::fs::write(host.plugin("bad.wasm"), "").expect("written");
    std::fs::create_dir(host.plugin("folder.wasm")).expect("created");
    host
}

#[test]
fn list_shows_each_plugins_predicted_state() {
    let host = host();
    let said = plugin(&host, &["list"]);
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    // What is expected has the indentation that all of its lines have taken from it.
    expect![[r#"
        lists
          NAME     FILE             STATE        VERSION  HASH      SIZE
          absent   absent.wasm      unavailable  1.0.0    1472a3c4  2.4 KiB  has nothing to measure: the server is down
          aside    aside.wasm       rejected     1.0.0    093702fd  2.4 KiB  cannot work on this host: no such sensor
          bad      bad.wasm         rejected     -        e3b0c442  -        is empty; copy it again
          -        folder.wasm      ignored      -        -         -        is a directory; put a .wasm file there
          lacking  lacking.wasm     up           1.0.0    69a1cf5e  2.4 KiB  lacks connect = ["db:1"]
          -        not a name.wasm  ignored      -        -         -        is not loaded: its name cannot name a plugin; use letters, digits, - and _
          one      shared.wasm      up           1.0.0    98012e55  2.3 KiB
          two      shared.wasm      up           1.0.0    98012e55  2.3 KiB
          slow     slow.wasm        failed       1.0.0    3806731b  2.4 KiB  fails: collect took longer than its timeout of 200ms (timeout); mend the plugin
          trap     trap.wasm        failed       1.0.0    0ce64d54  2.3 KiB  fails: collect failed: wasm trap: wasm `unreachable` instruction executed (trap); mend the plugin
          unset    unset.wasm       rejected     1.0.0    b50798f8  2.3 KiB  fails: configure failed: wasm trap: wasm `unreachable` instruction executed (trap); mend the plugin
          lost     lost.wasm        missing      -        -         -        is not there; copy it there, or remove [plugins.lost]
    "#]].assert_eq(&format!("lists\n{}", said.out));

    let json = plugin(&host, &["list", "--json"]).json();
    let states: Vec<(&Value, &Value)> =
        json.as_array().expect("a list").iter().map(|row| (&row["name"], &row["state"])).collect();
    // An agent says the same of each that it has a plugin for.
    let (sample, log) = host.once();
    let mut known = 0;
    for (name, state) in states {
        let told = sample["agent"].get(&format!("plugin_state{{plugin=\"{}\"}}", name.as_str().unwrap_or_default()));
        assert!(told.is_none_or(|told| told == state), "{name}: {told:?}, and listed as {state}\n{log}");
        known += usize::from(told.is_some());
    }
    assert_eq!(known, 9, "{sample:?}");
    let one = &json.as_array().expect("a list").iter().find(|row| row["name"] == "one").expect("it is there");
    assert_eq!(one["hash"], sample["agent"]["plugin_hash{plugin=\"one\"}"]);
}

#[test]
fn directory_argument_is_listed() {
    let host = Host::new();
    std::fs::create_dir(host.path("elsewhere")).expect("created");
    assert_eq!(plugin(&host, &["list", "elsewhere"]).out, "elsewhere has no plugins\n");
    put(&host, &Guest::new("one"), "elsewhere/one.wasm");
    let json = plugin(&host, &["list", "elsewhere", "--json"]).json();
    assert_eq!(
        (&json[0]["name"], &json[0]["state"], &json[0]["version"]),
        (&json!("one"), &json!("up"), &json!("1.0.0"))
    );
    let missing = plugin(&host, &["list", "nowhere"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("failed to read the plugins directory nowhere: No such file"), "{}", missing.err);
}

#[test]
fn list_shows_states_from_a_sample() {
    let host = Host::configured("interval = \"100ms\"\n");
    put(&host, &Guest::new("good"), "plugins/good.wasm");
    put(&host, &Guest::new("bad").before_collect("unreachable"), "plugins/bad.wasm");
    let mut agent = host.start(&[]);
    let is_bad = |sample: &Sample| sample["agent"].get("plugin_state{plugin=\"bad\"}") == Some(&json!("failed"));
    agent.wait(|sample| is_bad(sample) && sample.contains_key("good"));
    let lines: Vec<String> = agent.seen().iter().map(|sample| json!(sample).to_string()).collect();
    std::fs::write(host.path("log"), lines.join("\n") + "\n{\"agent\":{\"torn").expect("written");
    let json = plugin(&host, &["list", "--sample", "log", "--json"]).json();
    assert_eq!((&json[0]["name"], &json[0]["state"]), (&json!("bad"), &json!("failed")));
    assert_eq!((&json[0]["faults_total"]["trap"], &json[1]["up"]), (&json!(1), &json!(1)), "{json}");

    let piped = |input: Stdio| -> Said {
        host.command(&["plugin", "list", "--sample", "-"]).stdin(input).output().expect("it runs").into()
    };
    for style in [&["--once"][..], &["--once", "--pretty"]] {
        let mut once = host.command(style).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let said = piped(once.stdout.take().expect("piped").into());
        assert!(once.wait().expect("it ends").success());
        assert_eq!(said.code, Some(0), "{}", said.err);
        let states: Vec<&str> =
            said.out.lines().skip(2).map(|line| line.split_whitespace().nth(1).expect("a state")).collect();
        assert_eq!(states, ["failed", "up"], "{}", said.out);
    }
}

#[test]
fn invalid_sample_exits_1_invalid_arguments_2() {
    let host = Host::new();
    std::fs::write(host.path("log"), "{\"cpu\":{}}\nINFO loaded\n").expect("written");
    for (words, code, why) in [
        (&["--sample", "log"][..], 1, "log has no sample; give it what the agent prints"),
        (&["--sample", "-"], 1, "- has no sample"),
        (&["--sample", "none"], 1, "failed to read none: No such file"),
        (&["--sample", "log", "plugins"], 2, "cannot be used with"),
        (&["--sample", "log", "--config", "x"], 2, "cannot be used with"),
        (&["--config", "none.toml"], 2, "none.toml: failed to read it"),
        (&["--interval", "1s"], 2, "unexpected argument"),
    ] {
        let said = plugin(&host, &[&["list"], words].concat());
        assert_eq!((said.code, &*said.out), (Some(code), ""), "{words:?}");
        assert!(said.err.contains(why), "{}", said.err);
    }
}
