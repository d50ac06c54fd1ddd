//! The capability `state`: what plugins keep across restarts, versions, faults and kills, with the real agent and its disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;

#[cfg(target_os = "linux")]
use crate::fuse::DeadMount;
use crate::guest::{Guest, HOST_RESULT, VALUE};
use crate::harness::{Agent, Sample, Setup, all_faults, fault_count, plugin_metric, value};
#[cfg(target_os = "linux")]
use crate::namespaces::run_in_namespaces;

/// Where the guests keep the number that they save.
const NUMBER: u32 = 960;

/// What [`counter`] adds to the case of an error: of a load, and of a save.
const NOT_LOADED: u64 = 1000;
const NOT_SAVED: u64 = 2000;

/// The cases of the errors in the WIT.
const NOT_SUPPORTED: u64 = 0;
const NOT_PERMITTED: u64 = 1;
const TIMEOUT: u64 = 3;
const IO: u64 = 4;

const CONFIG: &str = "interval = \"200ms\"\n";

/// A guest whose metric is one more than the number that it loads, which it saves at each call. It has no memory of its own.
fn counter(module: &str) -> Guest {
    let interface = "gauged:plugin/state";
    let put = |number: &str| format!("(i64.store (i32.const {}) {number})", VALUE + 8);
    let error = |from: u64| {
        let case = format!("(i64.load8_u (i32.const {}))", HOST_RESULT + 8);
        format!(
            "(if (i32.load8_u (i32.const {HOST_RESULT})) (then {} (return (i32.const {}))))",
            put(&format!("(i64.add {case} (i64.const {from}))")),
            crate::guest::COLLECT_RESULT
        )
    };
    Guest::new(module)
        .describes(&[(module, "value", 0)])
        .import(interface, "load", "(func $load (param i32))")
        .import(interface, "save", "(func $save (param i32 i32 i32))")
        .before_collect(&format!(
            "(call $load (i32.const {HOST_RESULT})) {not_loaded}
             (if (i32.load8_u (i32.const {is_some}))
                (then (i64.store (i32.const {NUMBER}) (i64.load (i32.load (i32.const {bytes})))))
                (else (i64.store (i32.const {NUMBER}) (i64.const 0))))
             (i64.store (i32.const {NUMBER}) (i64.add (i64.load (i32.const {NUMBER})) (i64.const 1)))
             (call $save (i32.const {NUMBER}) (i32.const 8) (i32.const {HOST_RESULT})) {not_saved}
             {put}",
            not_loaded = error(NOT_LOADED),
            not_saved = error(NOT_SAVED),
            is_some = HOST_RESULT + 8,
            bytes = HOST_RESULT + 12,
            put = put(&format!("(i64.load (i32.const {NUMBER}))")),
        ))
}

fn number(sample: &Sample, module: &str) -> Option<u64> {
    value(sample, module)?.as_u64()
}

/// Waits for a number of the module that is at least this.
fn wait_number(agent: &mut Agent, module: &str, least: u64) -> u64 {
    let sample = agent.wait(|sample| number(sample, module) >= Some(least));
    number(&sample, module).expect("a number")
}

fn file(setup: &Setup, plugin: &str) -> PathBuf {
    setup.path("state/plugins").join(plugin)
}

/// The number that is saved on the disk.
fn saved(setup: &Setup, plugin: &str) -> Option<u64> {
    let file = fs::read(file(setup, plugin)).ok()?;
    let bytes = file.last_chunk::<8>().expect("a number");
    Some(u64::from_le_bytes(*bytes))
}

#[test]
fn state_survives_a_clean_end() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    let mut agent = setup.start(&[]);
    let first = wait_number(&mut agent, "counts", 5);
    assert!(setup.path("state/lock").exists() && !setup.path("state/running").exists(), "no marker without a sink");
    assert!(agent.terminate().0.success());
    let kept = saved(&setup, "counts").expect("it is on the disk");
    assert!(kept >= first, "the end writes what was saved last: {kept}");
    assert!(!setup.path("state/lock").exists());
    let mut agent = setup.start(&[]);
    let next = wait_number(&mut agent, "counts", 1);
    assert!(next > kept, "{next} after {kept}");
    agent.terminate();
}

#[test]
fn state_survives_a_kill() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    let mut agent = setup.start(&[]);
    wait_number(&mut agent, "counts", 5);
    agent.terminate();
    let mut agent = setup.start(&[]);
    wait_number(&mut agent, "counts", 10);
    agent.signal(Signal::KILL);
    agent.wait_exit();
    // The first save of a run is written at once, and the next ones a minute later.
    let kept = saved(&setup, "counts").expect("it is on the disk");
    assert!(kept > 5, "{kept}");
    let mut agent = setup.start(&[]);
    assert!(wait_number(&mut agent, "counts", 1) > kept);
    agent.terminate();
}

#[test]
fn state_survives_replacement_and_faults() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    let mut agent = setup.start(&[]);
    let before = wait_number(&mut agent, "counts", 3);
    // After the save, and not in the trial.
    let trap = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable))";
    let next = counter("counts").version("2.0.0").with("(global $calls (mut i32) (i32.const 0))").after_collect(trap);
    next.install(&setup.plugin("counts.wasm"));
    let is_next = |sample: &Sample| sample["agent"].get("plugin_version{plugin=\"counts\"}") == Some(&json!("2.0.0"));
    let sample = agent.wait(|sample| is_next(sample) && number(sample, "counts").is_some());
    assert!(number(&sample, "counts") > Some(before), "the next version goes on: {sample:?}");
    let failed = agent.wait(|sample| fault_count(sample, "counts", "trap") >= 1.0);
    let counted = agent.samples().iter().filter_map(|sample| number(sample, "counts")).max().expect("counted");
    let after = agent.wait(|sample| number(sample, "counts").is_some());
    // The call that trapped had saved, too.
    assert!(number(&after, "counts") > Some(counted + 1), "{counted}, then {after:?}; {failed:?}");
    let memory = plugin_metric(&after, "plugin_memory_bytes", "counts").expect("measured");
    assert!(memory > 0.0);
    agent.terminate();
}

#[test]
fn plugins_see_their_own_state_only() {
    let names = ["odd-name_1", "odd-name_10"];
    let setup = Setup::with_config(CONFIG);
    counter("first").install(&setup.plugin(&format!("{}.wasm", names[0])));
    let mut agent = setup.start(&[]);
    wait_number(&mut agent, "first", 5);
    counter("second").install(&setup.plugin(&format!("{}.wasm", names[1])));
    let sample = agent.wait(|sample| number(sample, "second").is_some());
    assert!(number(&sample, "second") < number(&sample, "first"), "it has counted from 1: {sample:?}");
    agent.terminate();
    assert!(names.iter().all(|name| saved(&setup, name).is_some()), "by the plugins' names");
}

/// The order of the entries is that of the errors of the WIT.
#[test]
fn state_exceeding_the_limit_is_refused() {
    let setup = Setup::with_config(CONFIG);
    let size = 64 << 10;
    let save = |bytes: u32, at: u32| {
        format!(
            "(call $save (i32.const 0) (i32.const {bytes}) (i32.const {HOST_RESULT}))
             (i64.store (i32.const {at}) (i64.mul (i64.load8_u (i32.const {HOST_RESULT})) (i64.add (i64.const 1)
                (i64.mul (i64.load8_u (i32.const {})) (i64.load (i32.const {}))))))",
            HOST_RESULT + 8,
            HOST_RESULT + 16
        )
    };
    Guest::new("large")
        .second("fits")
        .import("gauged:plugin/state", "save", "(func $save (param i32 i32 i32))")
        .before_collect(&(save(size + 1, VALUE + 8) + &save(size, crate::guest::SECOND_VALUE + 8)))
        .install(&setup.plugin("large.wasm"));
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| value(sample, "large").is_some());
    // An error, of the case 2, whose limit is the payload.
    assert_eq!(sample["large"]["value"], json!(1 + 2 * u64::from(size)), "{}", agent.log());
    assert_eq!(sample["large"]["fits"], json!(0), "{}", agent.log());
    agent.terminate();
    let length = fs::metadata(file(&setup, "large")).expect("kept").len();
    assert!(length > u64::from(size) && length < u64::from(size) + 100);
}

#[test]
fn unwritable_directory_is_an_error_for_plugins() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    let mut command = setup.command(&[]);
    // Nobody can make a directory there.
    command.env("STATE_DIRECTORY", "/proc/gauged");
    let mut agent = Agent::start(command);
    let sample = agent.wait(|sample| number(sample, "counts").is_some());
    assert_eq!(number(&sample, "counts"), Some(NOT_LOADED + IO), "{}", agent.log());
    let line = agent.wait_log_lines("state directory not usable", 1).remove(0);
    for part in [" WARN ", "/proc/gauged", "remedy=", "consequence=\"plugins that keep a state get an error instead\""]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
    for _ in 0..10 {
        agent.next();
    }
    assert_eq!(agent.log().matches("state directory not usable").count(), 1);
    assert_eq!(all_faults(&agent.next()), 0.0, "an error is no fault");
    agent.terminate();
}

#[test]
fn forbidden_directory_is_a_typed_error() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    let state = setup.path("state");
    fs::create_dir(&state).expect("created");
    let mut command = setup.command_without_root(&[]);
    // The agent's user has no right to make a directory below it.
    fs::set_permissions(&state, PermissionsExt::from_mode(0o555)).expect("set");
    command.env("STATE_DIRECTORY", state.join("below"));
    let mut agent = Agent::start(command);
    let sample = agent.wait(|sample| number(sample, "counts").is_some());
    assert_eq!(number(&sample, "counts"), Some(NOT_LOADED + NOT_PERMITTED), "{}", agent.log());
    agent.terminate();
}

#[test]
fn second_agent_keeps_no_plugin_states() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    let mut first = setup.start(&[]);
    wait_number(&mut first, "counts", 2);
    let mut second = setup.start(&[]);
    let sample = second.wait(|sample| number(sample, "counts").is_some());
    assert_eq!(number(&sample, "counts"), Some(NOT_LOADED + NOT_SUPPORTED), "{}", second.log());
    let line = second.wait_log_lines("state directory not usable", 1).remove(0);
    assert!(line.contains(&format!("process id {}", first.pid())), "{line}");
    let before = wait_number(&mut first, "counts", 2);
    first.terminate();
    // It has the directory once nobody else does.
    let counts = |sample: &Sample| number(sample, "counts").is_some_and(|number| number < NOT_LOADED);
    let sample = second.wait(counts);
    assert!(number(&sample, "counts") > Some(before), "{sample:?}");
    second.wait_log("state directory usable again");
    second.terminate();
}

#[test]
fn damaged_state_begins_anew_and_is_reported() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    fs::create_dir_all(setup.path("state/plugins")).expect("created");
    for directory in ["state", "state/plugins"] {
        fs::set_permissions(setup.path(directory), PermissionsExt::from_mode(0o700)).expect("set");
    }
    fs::write(file(&setup, "counts"), "gauged state 1 00000000 3\nabc").expect("written");
    let mut agent = setup.start(&[]);
    assert!(wait_number(&mut agent, "counts", 1) < NOT_LOADED);
    let line = agent.wait_log_lines("plugin state moved aside", 1).remove(0);
    assert!(line.contains("plugin=counts") && line.contains(".aside") && line.contains("checksum"), "{line}");
    agent.terminate();
    let names = fs::read_dir(setup.path("state/plugins")).expect("listed");
    let aside = names.map(|entry| entry.expect("there").path()).find(|path| path.extension() == Some("aside".as_ref()));
    assert!(fs::read_to_string(aside.expect("it is kept")).expect("text").ends_with("abc"));
}

#[test]
fn state_directory_moves_with_a_restart() {
    let setup = Setup::new();
    let configure = |name: &str| {
        let directory = setup.path(name);
        let text = format!("{CONFIG}state_directory = {:?}\n", directory.to_str().expect("text"));
        fs::write(setup.path("gauged.toml"), text).expect("written");
    };
    configure("old");
    counter("counts").install(&setup.plugin("counts.wasm"));
    let mut agent = setup.start(&[]);
    wait_number(&mut agent, "counts", 3);
    configure("new");
    agent.signal(Signal::HUP);
    let line = agent.wait_log_lines("changes need a restart", 1).remove(0);
    assert!(line.contains("state_directory"), "{line}");
    let before = agent.samples().iter().filter_map(|sample| number(sample, "counts")).max().unwrap_or_default();
    wait_number(&mut agent, "counts", before + 3);
    agent.terminate();
    assert!(setup.path("old/plugins/counts").exists() && !setup.path("new").exists());
    // What an operator does who wants to have it there.
    fs::rename(setup.path("old"), setup.path("new")).expect("moved");
    let mut agent = setup.start(&[]);
    assert!(wait_number(&mut agent, "counts", 1) > before + 3);
    agent.terminate();
    assert!(setup.path("new/plugins/counts").exists() && !setup.path("old").exists());
}

#[test]
fn subcommands_keep_states_in_memory() {
    let setup = Setup::with_config(CONFIG);
    counter("counts").install(&setup.plugin("counts.wasm"));
    let mut agent = setup.start(&[]);
    wait_number(&mut agent, "counts", 3);
    agent.terminate();
    let before = fs::read(file(&setup, "counts")).expect("kept");
    for _ in 0..2 {
        // The trial, and the sample.
        assert_eq!(number(&setup.once().0, "counts"), Some(2), "it begins with none");
    }
    let output = setup.run(&["plugin", "test", "plugins/counts.wasm", "--runs", "3"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && text.contains("\"value\": 3"), "{text}");
    assert!(setup.run(&["check"]).status.success());
    assert_eq!(fs::read(file(&setup, "counts")).expect("kept"), before);
    assert!(!setup.path("state/lock").exists());
}

#[test]
fn scripts_set_the_state_and_its_failure() {
    let setup = Setup::new();
    counter("counts").install(&setup.plugin("counts.wasm"));
    let script =
        "[[run]]\nstate = { hex = \"29 00 00 00 00 00 00 00\" }\n[[run]]\n[[run]]\nstate = { error = \"timeout\" }\n";
    fs::write(setup.path("kept.toml"), script).expect("written");
    let output = setup.run(&["plugin", "test", "plugins/counts.wasm", "--script", "kept.toml", "--update"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let golden = fs::read_to_string(setup.path("kept.golden")).expect("written");
    let numbers: Vec<&str> = golden.lines().filter_map(|line| line.strip_prefix("counts.value ")).collect();
    assert_eq!(numbers, ["42", "43", &(NOT_LOADED + TIMEOUT).to_string()], "{golden}");
}

#[cfg(target_os = "linux")]
#[test]
fn hanging_state_directory_stops_no_other_plugin() {
    run_in_namespaces("plugin_states::hanging_state_directory_stops_no_other_plugin", || {
        let setup = Setup::with_config("interval = \"200ms\"\n[plugins.counts]\ntimeout = \"400ms\"\n");
        fs::create_dir(setup.path("state")).expect("created");
        let mut mount = DeadMount::over(&setup.path("state"))?;
        counter("counts").install(&setup.plugin("counts.wasm"));
        Guest::new("other").install(&setup.plugin("other.wasm"));
        let mut agent = setup.start(&[]);
        let sample = agent.wait(|sample| number(sample, "counts").is_some());
        assert_eq!(number(&sample, "counts"), Some(NOT_LOADED + TIMEOUT), "{}", agent.log());
        agent.wait(|sample| value(sample, "other").is_some());
        for _ in 0..10 {
            assert_eq!(value(&agent.next(), "other"), Some(json!(1)));
        }
        agent.assert_no_gaps();
        mount.end();
        agent.terminate();
        Ok(())
    });
}
