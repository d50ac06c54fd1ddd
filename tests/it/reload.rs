//! The configuration is read again at `SIGHUP`: what changed takes effect in one step between two ticks, what did not goes on,
//! and an invalid file changes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::guest::{CONFIGURE_RESULT, Guest, SECOND_VALUE, VALUE};
use crate::harness::{Agent, Sample, Setup, value};
use crate::signals::wait_handler;

/// A guest whose value is the number of its calls, and whose second one is the length of its settings.
fn counting(name: &str) -> Guest {
    Guest::new(name)
        .second("settings_bytes")
        .with("(global $calls (mut i64) (i64.const 0))")
        .configure(&format!(
            "(i64.store (i32.const {}) (i64.extend_i32_u (local.get 1))) i32.const {CONFIGURE_RESULT}",
            SECOND_VALUE + 8
        ))
        .before_collect(&format!(
            "(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
             (i64.store (i32.const {}) (global.get $calls))",
            VALUE + 8
        ))
}

/// Replaces the configuration at once, as careful editors do: an agent that reads half of it would be right to follow that.
fn write(setup: &Setup, toml: &str) {
    fs::write(setup.path("gauged.new"), toml).expect("written");
    fs::rename(setup.path("gauged.new"), setup.path("gauged.toml")).expect("moved");
}

/// Writes a configuration, asks for it, and waits for a line of the log with this message that was not there before.
fn reload(setup: &Setup, agent: &mut Agent, toml: &str, message: &str) {
    write(setup, toml);
    let before = agent.log().matches(message).count();
    agent.signal(Signal::HUP);
    agent.wait_log_for(message, |log| (log.matches(message).count() > before).then_some(()));
}

const RELOADED: &str = " configuration reloaded changed=";

fn own(sample: &Sample, metric: &str) -> Value {
    sample["agent"].get(metric).cloned().unwrap_or_default()
}

/// The calls and the settings of a guest of [`counting`].
fn counts(sample: &Sample, name: &str) -> Option<(u64, u64)> {
    let metrics = sample.get(name)?;
    Some((metrics["value"].as_u64()?, metrics["settings_bytes"].as_u64()?))
}

#[test]
fn untouched_plugins_keep_their_state() {
    let setup = Setup::with_config("interval = \"100ms\"\n[plugins.kept]\n[plugins.changed]\n");
    for name in ["kept", "changed"] {
        counting(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let mut agent = setup.start(&[]);
    let is_running = |sample: &Sample| ["kept", "changed"].iter().all(|name| counts(sample, name) > Some((5, 0)));
    let before = agent.wait(is_running);
    assert_eq!(own(&before, "config_reload_success"), 1);
    let toml = "interval = \"100ms\"\n[plugins.kept]\n[plugins.changed]\nconfig = { a = 1 }\n";
    reload(&setup, &mut agent, toml, RELOADED);
    let after = agent.wait(|sample| counts(sample, "changed").is_some_and(|(_, settings)| settings == 7));
    assert!(counts(&after, "changed") < counts(&before, "changed"), "it was configured afresh");
    let calls: Vec<u64> = agent.samples().iter().filter_map(|sample| Some(counts(sample, "kept")?.0)).collect();
    assert!(calls.windows(2).all(|pair| pair[1] == pair[0] + 1), "one call a tick: {calls:?}");
    agent.assert_no_gaps();
    let hash = |sample: &Sample| own(sample, "config_hash").as_u64().expect("a number");
    assert!(hash(&before) != hash(&after) && hash(&after) < 1 << 53);
    assert_eq!(own(&after, "config_reload_success"), 1);
    assert!(
        own(&after, "config_reload_timestamp_seconds").as_u64()
            >= own(&before, "config_reload_timestamp_seconds").as_u64()
    );
    agent.wait_log("configuration reloaded changed=plugins.changed");
    assert!(!agent.log().contains("plugin removed"), "{}", agent.log());

    // The same settings, written in another way.
    reload(&setup, &mut agent, &format!("# the same\n{toml}"), RELOADED);
    agent.wait_log("configuration reloaded changed=nothing");
    assert_eq!(hash(&agent.next()), hash(&after));
}

#[test]
fn invalid_configuration_changes_nothing() {
    let valid = "interval = \"100ms\"\n[plugins.kept]\n";
    let setup = Setup::with_config(valid);
    counting("kept").install(&setup.plugin("kept.wasm"));
    let mut agent = setup.start(&[]);
    let before = agent.wait(|sample| counts(sample, "kept").is_some());
    let not_reloaded = "configuration not reloaded";
    reload(&setup, &mut agent, "interval = \"fast\"\n[plugins.kept]\ntimeout = 5\n", "key=plugins.kept.timeout");
    let log = agent.log();
    for line in [
        "configuration not reloaded file=gauged.toml line=1 key=interval reason=",
        "configuration not reloaded file=gauged.toml line=3 key=plugins.kept.timeout reason=",
    ] {
        assert!(
            log.contains(line) && log.contains("consequence=\"the configuration before stays in effect\""),
            "{log}"
        );
    }
    let failed = agent.wait(|sample| own(sample, "config_reload_success") == 0);
    assert_eq!(own(&failed, "config_hash"), own(&before, "config_hash"));
    assert_eq!(own(&failed, "interval"), json!(0.1));
    for broken in ["= nonsense", "\u{0}", "[plugins.kept]\n[plugins.kept]\n"] {
        reload(&setup, &mut agent, broken, not_reloaded);
    }
    fs::remove_file(setup.path("gauged.toml")).expect("removed");
    fs::create_dir(setup.path("gauged.toml")).expect("created");
    let lines = agent.log().matches(not_reloaded).count();
    agent.signal(Signal::HUP);
    agent.wait_log_for("the directory", |log| (log.matches(not_reloaded).count() > lines).then_some(()));
    fs::remove_dir(setup.path("gauged.toml")).expect("removed");
    reload(&setup, &mut agent, valid, RELOADED);
    agent.wait(|sample| own(sample, "config_reload_success") == 1);
    let calls: Vec<u64> = agent.samples().iter().filter_map(|sample| Some(counts(sample, "kept")?.0)).collect();
    assert!(calls.windows(2).all(|pair| pair[1] == pair[0] + 1), "{calls:?}");
}

#[test]
fn changed_interval_realigns_without_a_double_tick() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    counting("kept").install(&setup.plugin("kept.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| counts(sample, "kept") > Some((5, 0)));
    for milliseconds in [300_u32, 200, 700, 100] {
        reload(&setup, &mut agent, &format!("interval = \"{milliseconds}ms\"\n"), RELOADED);
        let interval = f64::from(milliseconds) / 1000.0;
        agent.wait(|sample| own(sample, "interval").as_f64() == Some(interval));
        agent.next();
    }
    let times: Vec<(u64, u64)> = agent
        .samples()
        .iter()
        .map(|sample| {
            let milliseconds = |metric: &str| (own(sample, metric).as_f64().expect("a number") * 1000.0).round() as u64;
            (milliseconds("timestamp"), milliseconds("interval"))
        })
        .collect();
    assert!(times.iter().all(|(time, interval)| time % interval == 0), "multiples of the interval: {times:?}");
    assert!(times.windows(2).all(|pair| pair[1].0 > pair[0].0), "no tick repeats: {times:?}");
    let calls: Vec<u64> = agent.samples().iter().filter_map(|sample| Some(counts(sample, "kept")?.0)).collect();
    assert!(calls.windows(2).all(|pair| pair[1] == pair[0] + 1), "its state is kept: {calls:?}");
}

#[test]
fn changes_take_effect_in_one_step() {
    let setup = Setup::with_config("interval = \"100ms\"\nhostname = \"before\"\n");
    for name in ["one", "two"] {
        counting(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let mut agent = setup.start(&[]);
    agent.wait(|sample| ["one", "two"].iter().all(|name| counts(sample, name).is_some()));
    let toml = "interval = \"100ms\"\nhostname = \"after\"\n[cpu]\nper_core = true\n[load]\nenabled = false\n\
                [plugins.one]\nconfig = { a = 1 }\n[plugins.two]\nconfig = { a = 1 }\n";
    reload(&setup, &mut agent, toml, RELOADED);
    let is_after = |sample: &Sample| own(sample, "hostname") == "after";
    agent.wait(|sample| is_after(sample) && counts(sample, "one").is_some_and(|(calls, _)| calls > 3));
    for sample in agent.samples() {
        let is_after = is_after(sample);
        assert_eq!(sample["cpu"].keys().any(|key| key.contains("cpu=")), is_after, "{sample:?}");
        assert_eq!(sample.contains_key("load"), !is_after, "{sample:?}");
        for name in ["one", "two"] {
            let settings = counts(sample, name).map(|(_, settings)| settings);
            assert!(settings.is_none_or(|settings| settings == if is_after { 7 } else { 2 }), "{name}: {sample:?}");
        }
    }
    agent.wait_log("configuration reloaded changed=\"hostname, cpu, load, plugins.one, plugins.two\"");
    // A plugin may have the module that the agent does not have any more.
    Guest::new("load").install(&setup.plugin("load.wasm"));
    agent.wait(|sample| value(sample, "load") == Some(1.into()));
    reload(&setup, &mut agent, "interval = \"100ms\"\nhostname = \"after\"\n", RELOADED);
    agent.wait(|sample| sample["load"].contains_key("1min"));
}

#[test]
fn rejected_plugin_is_refused_and_the_rest_applies() {
    let setup = Setup::with_config("interval = \"100ms\"\nhostname = \"before\"\n");
    counting("kept").install(&setup.plugin("kept.wasm"));
    let picky = counting("picky").configure(&format!(
        "(if (i32.gt_u (local.get 1) (i32.const 2)) (then unreachable)) i32.const {CONFIGURE_RESULT}"
    ));
    picky.install(&setup.plugin("picky.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| counts(sample, "kept").is_some() && value(sample, "picky").is_some());
    let toml = "interval = \"100ms\"\nhostname = \"after\"\n[plugins.picky]\nconfig = { a = 1 }\n\
                [plugins.kept]\nconfig = { a = 1 }\n";
    reload(&setup, &mut agent, toml, "configuration reloaded in part");
    agent.wait_log(
        "WARN configuration reloaded in part changed=\"hostname, plugins.kept\" refused=plugins.picky remedy=",
    );
    agent.wait_log("WARN plugin configuration rejected plugin=picky");
    let sample = agent.wait(|sample| own(sample, "hostname") == "after");
    assert_eq!(own(&sample, "config_reload_success"), 0);
    agent.wait(|sample| counts(sample, "kept").is_some_and(|(_, settings)| settings == 7));
    let calls: Vec<u64> = agent.samples().iter().filter_map(|sample| value(sample, "picky")?.as_u64()).collect();
    assert!(calls.windows(2).all(|pair| pair[1] == pair[0] + 1), "it goes on as before: {calls:?}");

    // The same file is refused again.
    reload(&setup, &mut agent, toml, "configuration reloaded in part changed=nothing refused=plugins.picky");
    assert_eq!(own(&agent.next(), "config_reload_success"), 0);
    reload(&setup, &mut agent, &toml.replacen("a = 1", "", 1), RELOADED);
    agent.wait(|sample| own(sample, "config_reload_success") == 1);
}

#[test]
fn lost_configuration_changes_nothing() {
    let toml = "interval = \"100ms\"\nhostname = \"named\"\n";
    let setup = Setup::with_config(toml);
    let mut agent = setup.start(&[]);
    agent.next();
    for (lose, reason) in [
        ("removed", "file=gauged.toml reason=\"is gone\" remedy=\"put it back"),
        ("writable by all", "file=gauged.toml reason="),
    ] {
        if lose == "removed" {
            fs::remove_file(setup.path("gauged.toml")).expect("removed");
        } else {
            fs::set_permissions(setup.path("gauged.toml"), Permissions::from_mode(0o666)).expect("set");
        }
        agent.signal(Signal::HUP);
        agent.wait_log(&format!("WARN configuration not reloaded {reason}"));
        let sample = agent.wait(|sample| own(sample, "config_reload_success") == 0);
        assert_eq!((own(&sample, "hostname"), own(&sample, "interval")), (json!("named"), json!(0.1)), "{lose}");
        reload(&setup, &mut agent, toml, RELOADED);
        agent.wait(|sample| own(sample, "config_reload_success") == 1);
    }
}

#[test]
fn refused_plugins_directory_keeps_no_reload_back() {
    let setup = Setup::with_config("interval = \"100ms\"\nhostname = \"before\"\n");
    counting("kept").install(&setup.plugin("kept.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| counts(sample, "kept").is_some());
    fs::set_permissions(setup.path("plugins"), Permissions::from_mode(0o777)).expect("set");
    reload(&setup, &mut agent, "interval = \"100ms\"\nhostname = \"after\"\n", "WARN changes need a restart");
    let sample = agent.wait(|sample| own(sample, "hostname") == "after");
    assert!(counts(&sample, "kept").is_some(), "{}", agent.log());
}

#[test]
fn pieces_come_and_go_with_reloads() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    fs::create_dir(setup.path("gauged.d")).expect("created");
    counting("added").install(&setup.plugin("added.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| counts(sample, "added").is_some_and(|(_, settings)| settings == 2));
    let piece = setup.path("gauged.d/added.toml");
    fs::write(setup.path("piece"), "[plugins.added]\nconfig = { a = 1 }\n").expect("written");
    fs::rename(setup.path("piece"), &piece).expect("moved");
    agent.signal(Signal::HUP);
    agent.wait(|sample| counts(sample, "added").is_some_and(|(_, settings)| settings == 7));
    fs::remove_file(piece).expect("removed");
    agent.signal(Signal::HUP);
    agent.wait(|sample| counts(sample, "added").is_some_and(|(_, settings)| settings == 2));
    agent.assert_no_gaps();
}

#[test]
fn directories_are_followed_after_a_restart_only() {
    let setup = Setup::with_config("interval = \"100ms\"\nhostname = \"before\"\n");
    let mut agent = setup.start(&[]);
    agent.next();
    let cache = setup.path("elsewhere").display().to_string();
    let toml = format!("interval = \"100ms\"\nhostname = \"after\"\ncache = \"{cache}\"\n");
    reload(&setup, &mut agent, &toml, "WARN changes need a restart keys=cache remedy=\"restart the agent\"");
    let sample = agent.wait(|sample| own(sample, "hostname") == "after");
    assert_eq!(own(&sample, "config_reload_success"), 0);
}

#[test]
fn plugins_come_and_go_with_their_tables() {
    let setup = Setup::with_config("interval = \"100ms\"\n[plugins.off]\nenabled = false\n[plugins.on]\n");
    for name in ["off", "on"] {
        counting(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let mut agent = setup.start(&[]);
    agent.wait(|sample| counts(sample, "on").is_some());
    reload(
        &setup,
        &mut agent,
        "interval = \"100ms\"\n[plugins.on]\nenabled = false\n[plugins.second]\nfile = \"off.wasm\"\n",
        RELOADED,
    );
    agent.wait(|sample| counts(sample, "on").is_none() && sample["agent"].contains_key("plugin_up{plugin=\"second\"}"));
    agent.wait_log("plugin removed plugin=on");
}

#[test]
fn enabled_host_collector_has_its_metrics() {
    let setup = Setup::with_config("interval = \"100ms\"\n[host]\nenabled = false\n");
    let mut agent = setup.start(&[]);
    assert!(!agent.next().contains_key("host"));
    reload(&setup, &mut agent, "interval = \"100ms\"\n", RELOADED);
    // They are read on another thread.
    agent.wait(|sample| sample["host"].keys().any(|key| key.starts_with("uname_info{")));
}

#[test]
fn level_and_format_of_the_log_follow() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let mut agent = setup.start(&[]);
    agent.next();
    reload(
        &setup,
        &mut agent,
        "interval = \"100ms\"\n[log]\nformat = \"json\"\n",
        "\"message\":\"configuration reloaded\"",
    );
    reload(&setup, &mut agent, "interval = \"100ms\"\n[log]\nlevel = \"error\"\n", "reloading configuration");
    agent.wait(|sample| own(sample, "config_reload_success") == 1);
    // Below the level: the next line is that of the reload back.
    agent.signal(Signal::USR1);
    reload(&setup, &mut agent, "interval = \"100ms\"\n", RELOADED);
    assert!(!agent.log().contains("signal ignored"), "{}", agent.log());
}

#[test]
fn limits_of_all_plugins_follow() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    Guest::new("kept").install(&setup.plugin("kept.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "kept").is_some());
    reload(
        &setup,
        &mut agent,
        "interval = \"100ms\"\n[limits]\nmemory = \"64MiB\"\ncompile_cpu_per_hour = \"7m\"\n",
        RELOADED,
    );
    agent.wait(|sample| {
        let budget = own(sample, "compile_budget_remaining_seconds").as_f64();
        own(sample, "plugins_memory_limit_bytes") == 64 << 20 && budget.is_some_and(|seconds| seconds <= 420.0)
    });
}

/// How many reloads a burst asks for.
const REQUESTS: usize = 60;

#[test]
fn burst_of_requests_ends_with_the_last_configuration() {
    let setup = Setup::with_config("interval = \"100ms\"\n[plugins.kept]\n");
    counting("kept").install(&setup.plugin("kept.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| counts(sample, "kept").is_some());
    for number in 0..REQUESTS {
        write(
            &setup,
            &format!(
                "interval = \"100ms\"\nhostname = \"host-{number}\"\n[plugins.kept]\nconfig = {{ a = {number} }}\n"
            ),
        );
        agent.signal(Signal::HUP);
    }
    let last = format!("host-{}", REQUESTS - 1);
    agent.wait(|sample| own(sample, "hostname") == *last);
    agent.wait(|sample| counts(sample, "kept").is_some_and(|(_, settings)| settings == 8));
    assert!(agent.log().matches("reloading configuration").count() <= REQUESTS);
    agent.assert_no_gaps();
    assert!(!agent.log().contains(" WARN ") && !agent.log().contains(" ERROR "), "{}", agent.log());
}

#[test]
fn request_during_the_start_is_followed() {
    let setup = Setup::with_config("interval = \"100ms\"\nhostname = \"before\"\n");
    let mut agent = setup.start(&[]);
    wait_handler(agent.pid(), Signal::XFSZ);
    reload(&setup, &mut agent, "interval = \"100ms\"\nhostname = \"after\"\n", RELOADED);
    agent.wait(|sample| own(sample, "hostname") == "after");
    agent.assert_no_gaps();
}

#[test]
fn request_during_a_reload_follows_it() {
    // Its trial takes as long as its timeout, and the second request comes meanwhile.
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let slow = counting("slow").configure(&format!(
        "(block $quick (br_if $quick (i32.le_u (local.get 1) (i32.const 2))) (loop $forever (br $forever)))
         i32.const {CONFIGURE_RESULT}"
    ));
    slow.install(&setup.plugin("slow.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "slow").is_some());
    let table = |hostname: &str| {
        format!(
            "interval = \"100ms\"\nhostname = \"{hostname}\"\n[plugins.slow]\ntimeout = \"2s\"\nconfig = {{ a = 1 }}\n"
        )
    };
    reload(&setup, &mut agent, &table("first"), "reloading configuration");
    write(&setup, "interval = \"100ms\"\nhostname = \"second\"\n");
    agent.signal(Signal::HUP);
    agent.wait(|sample| own(sample, "hostname") == "second");
    let log = agent.log();
    let ended = log.matches(RELOADED).count() + log.matches("configuration reloaded in part").count();
    assert_eq!((log.matches("reloading configuration").count(), ended), (2, 2), "{log}");
    agent.assert_no_gaps();
}

#[test]
fn request_while_ending_has_no_effect() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let mut agent = setup.start(&[]);
    agent.next();
    for _ in 0..20 {
        agent.signal(Signal::HUP);
    }
    agent.signal(Signal::TERM);
    agent.signal(Signal::HUP);
    let (status, _) = agent.wait_exit();
    assert!(status.success(), "{status}\n{}", agent.log());
    assert!(agent.log().contains("shutting down"), "{}", agent.log());
}
