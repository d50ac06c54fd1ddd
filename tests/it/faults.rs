//! Plugins that fail or have nothing to measure, and the retries after that. Hostile plugins are in `hostile.rs`.

use std::fmt::Write as _;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::guest::{COLLECT_RESULT, Guest, VALUE};
use crate::harness::{Agent, Sample, Setup, all_faults, fault_count, plugin_metric, value};

/// An agent with the plugin that is tested, as `bad`, and one that works, as `good`.
fn start(bad: &Guest, configuration: &str) -> (Setup, Agent) {
    let setup = Setup::with_config(&format!("interval = \"200ms\"\n[plugins.bad]\n{configuration}"));
    Guest::new("good").install(&setup.plugin("good.wasm"));
    bad.install(&setup.plugin("bad.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    (setup, agent)
}

#[test]
fn guest_that_handles_refused_memory_keeps_running() {
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let (_setup, mut agent) = start(&Guest::new("bad").before_collect(grow), "memory = \"2MiB\"");
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    let held = plugin_metric(&sample, "plugin_memory_bytes", "bad").expect("reported");
    assert!((1_048_576.0..=2_097_152.0).contains(&held), "{held}");
}

#[test]
fn unavailable_plugin_is_retried_without_a_fault() {
    // Unavailable at its first three calls: the trial and two ticks.
    let three_times = format!(
        "(i32.store (i32.const {VALUE}) (i32.const 0))
         (i32.store (i32.const 1000) (i32.add (i32.load (i32.const 1000)) (i32.const 1)))
         (if (i32.gt_u (i32.load (i32.const 1000)) (i32.const 3))
            (then (i32.store (i32.const {COLLECT_RESULT}) (i32.const 0))
                  (i32.store (i32.const {}) (i32.const 128))
                  (i32.store (i32.const {}) (i32.const 1))))",
        COLLECT_RESULT + 4,
        COLLECT_RESULT + 8
    );
    let bad = Guest::new("bad").error(3, "not yet").before_collect(&three_times);
    let (_setup, mut agent) = start(&bad, "");
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    assert_eq!(all_faults(&sample), 0.0, "{sample:?}");
    agent.wait_log("plugin available again plugin=bad");
    let log = agent.log();
    assert_eq!(log.matches("plugin unavailable plugin=bad reason=\"not yet\"").count(), 1, "{log}");
    assert_eq!(log.matches("plugin available again plugin=bad").count(), 1, "{log}");
}

#[test]
fn unsupported_plugin_is_disabled() {
    let (_setup, mut agent) = start(&Guest::new("bad").error(0, "no such sensor"), "");
    agent.wait_log("cannot work on this host: no such sensor");
    for _ in 0..5 {
        assert_eq!(value(&agent.next(), "bad"), None);
    }
    let sample = agent.next();
    assert_eq!(agent.plugin_log("bad").len(), 1, "{}", agent.log());
    assert_eq!(fault_count(&sample, "bad", "load"), 0.0, "`unsupported` is not a fault");
}

#[test]
fn denied_plugin_without_a_table_is_idle() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let bad = Guest::new("bad").denied("read", "/srv/x", "count files");
    bad.install(&setup.plugin("bad.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    let state = |sample: &Sample| sample["agent"].get("plugin_state{plugin=\"bad\"}").cloned();
    let sample = agent.wait(|sample| state(sample) == Some("idle".into()));
    assert_eq!(plugin_metric(&sample, "plugin_file_rejected", "bad"), Some(0.0));
    assert_eq!((&sample["agent"]["plugins_rejected"], fault_count(&sample, "bad", "load")), (&0.into(), 0.0));
    let line = agent.wait_plugin_log("bad", 1).remove(0);
    let expected = r#"reason="is missing the grant read = [\"/srv/x\"] to count files" remedy="write under [plugins.bad]: read = [\"/srv/x\"], and reload the agent""#;
    assert!(line.contains(" INFO plugin idle plugin=bad ") && line.contains(expected), "{line}");
    for _ in 0..5 {
        assert_eq!(state(&agent.next()), Some("idle".into()));
    }
    assert_eq!(agent.plugin_log("bad").len(), 1, "{}", agent.log());
    assert!(!agent.log().contains("WARN"), "{}", agent.log());

    // A file that needs nothing takes its place.
    Guest::new("bad").version("2.0.0").install(&setup.plugin("bad.wasm"));
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    assert_eq!(state(&sample), Some("up".into()));
}

#[test]
fn denied_plugin_with_a_table_names_the_grant() {
    let bad = Guest::new("bad").denied("connect", "127.0.0.1:6379", "ask it");
    let (_setup, mut agent) = start(&bad, "connect = [\"127.0.0.1:1\"]");
    let line = agent.wait_plugin_log("bad", 1).remove(0);
    let expected =
        r#"remedy="write under [plugins.bad]: connect = [\"127.0.0.1:1\", \"127.0.0.1:6379\"], and reload the agent""#;
    assert!(line.contains(" WARN plugin rejected plugin=bad ") && line.contains(expected), "{line}");
    let sample = agent.wait(|sample| sample["agent"]["plugins_rejected"] == 1);
    assert_eq!(sample["agent"]["plugin_state{plugin=\"bad\"}"], "rejected");
}

#[test]
fn repeated_faults_double_the_backoff() {
    let (_setup, mut agent) = start(&Guest::new("bad").before_collect("unreachable"), "");
    agent.wait_log("restart_after=4s");
    let log = agent.log();
    assert!(log.contains("restart_after=1s") && log.contains("restart_after=2s"), "{log}");
    agent.wait(|sample| fault_count(sample, "bad", "trap") == 3.0);
}

#[test]
fn a_slow_plugin_costs_only_its_own_metrics() {
    let (_setup, mut agent) = start(&Guest::new("bad").busy(), "timeout = \"60s\"");
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    assert!(plugin_metric(&sample, "plugin_late_total", "bad") >= Some(1.0), "its result comes with a later sample");
    let call_seconds = plugin_metric(&sample, "plugin_duration_seconds", "bad").expect("measured");
    let sample = agent.wait(|sample| plugin_metric(sample, "plugin_skipped_total", "bad") >= Some(1.0));
    assert_eq!(all_faults(&sample), 0.0, "{sample:?}");
    agent.assert_undisturbed(&["good"]);
    let longest = (agent.samples().iter())
        .map(|sample| sample["agent"]["collect_seconds"].as_f64().expect("a number"))
        .fold(0.0, f64::max);
    assert!(longest < call_seconds / 2.0, "a sample took {longest} s, and the slow call {call_seconds} s");
}

#[test]
fn host_memory_shortage_is_not_a_plugin_fault() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    let pid = Pid::from_raw(agent.pid().cast_signed());
    // Less than the reservation for the memory of one more guest, and enough for everything else.
    let scarce = Rlimit { current: Some((agent.status("VmSize") << 10) + (1 << 30)), maximum: None };
    prlimit(pid, Resource::As, scarce).expect("limited");
    Guest::new("late").install(&setup.plugin("late.wasm"));
    let line = agent.wait_log_lines(" WARN plugin rejected plugin=late ", 1).remove(0);
    assert!(line.contains("on address space (RLIMIT_AS) (shortage)\""), "{line}");
    assert!(line.contains(" remedy=\"raise LimitAS of the unit, or ulimit -v; it is retried\""), "{line}");
    assert!(!agent.log().contains("fix the plugin"), "{}", agent.log());
    prlimit(pid, Resource::As, Rlimit { current: None, maximum: None }).expect("lifted");
    agent.wait(|sample| value(sample, "late").is_some());
}

#[test]
fn hanging_plugins_do_not_delay_samples() {
    let setup = Setup::with_config("interval = \"1s\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut table = std::fs::read_to_string(setup.path("gauged.toml")).expect("readable");
    for number in 0..40 {
        let name = format!("slow{number}");
        writeln!(table, "[plugins.{name}]\ntimeout = \"10s\"").expect("written");
        // The first call, which is the trial, returns; the second hangs.
        let slow = Guest::new(&name).with("(global $calls (mut i32) (i32.const 0))").before_collect(
            "(if (global.get $calls) (then (loop $forever (br $forever))))
                 (global.set $calls (i32.const 1))",
        );
        slow.install(&setup.plugin(&format!("{name}.wasm")));
    }
    std::fs::write(setup.path("gauged.toml"), table).expect("written");
    let mut agent = setup.start(&[]);
    agent.wait(|sample| plugin_metric(sample, "plugin_skipped_total", "slow39").is_some_and(|skipped| skipped > 0.0));
    for _ in 0..3 {
        let sample = agent.next();
        let took = sample["agent"]["collect_seconds"].as_f64().expect("a number");
        // A sample waits 50 ms for its plugins, and then lets each that runs have a millisecond. The calls take 10 s.
        assert!(took < 2.0, "the sample took {took} s");
        assert!(value(&sample, "good").is_some());
    }
}
