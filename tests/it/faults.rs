//! Plugins that fail. Each fault is counted by its kind and logged in one line, and the others notice nothing of it.

use crate::guest::{Guest, RETURNED, VALUE};
use crate::harness::{Agent, Host, about, faults, value};

/// A host with the guest in question as `bad`, and one that works as `good`.
fn start(bad: &Guest, configuration: &str) -> (Host, Agent) {
    let host = Host::configured(&format!("interval = \"200ms\"\n[plugins.bad]\n{configuration}"));
    Guest::new("good").install(&host.plugin("good.wasm"));
    bad.install(&host.plugin("bad.wasm"));
    let mut agent = host.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    (host, agent)
}

/// The guest commits a fault of this kind, for this reason; and recovers when its file is replaced.
fn commits(bad: &Guest, configuration: &str, kind: &str, reason: &str) {
    let (host, mut agent) = start(bad, configuration);
    let sample = agent.wait(|sample| faults(sample, "bad", kind) >= 1.0);
    assert_eq!(value(&sample, "bad"), None, "a failing plugin's metrics are absent");
    assert_eq!(about(&sample, "plugin_up", "bad"), Some(0.0));
    let log = agent.log();
    let is_about_it = |line: &str| line.contains("WARN plugin bad") && line.contains(reason);
    assert!(log.lines().any(is_about_it), "{log}");
    Guest::new("bad").version("1.0.1").install(&host.plugin("bad.wasm"));
    agent.wait(|sample| value(sample, "bad").is_some() && about(sample, "plugin_up", "bad") == Some(1.0));
    let good_from_its_first = agent.seen().iter().skip_while(|sample| value(sample, "good").is_none());
    assert!(good_from_its_first.clone().all(|sample| value(sample, "good").is_some()), "{}", agent.log());
}

#[test]
fn an_endless_loop_is_ended_at_its_timeout() {
    let bad = Guest::new("bad").before_collect("(loop $forever (br $forever))");
    commits(&bad, "timeout = \"100ms\"", "timeout", "collect took longer than its timeout of 100ms (timeout)");
}

#[test]
fn an_endless_start_never_serves() {
    let forever = "(func $start (loop $forever (br $forever))) (start $start)";
    let bad = Guest::new("bad").with(forever);
    commits(&bad, "timeout = \"100ms\"", "load", "its start took longer than its timeout of 100ms");
    let bad = Guest::new("bad").describe("(loop $forever (br $forever)) unreachable");
    commits(&bad, "timeout = \"100ms\"", "load", "describe took longer than its timeout of 100ms");
    let bad = Guest::new("bad").configure("(loop $forever (br $forever)) unreachable");
    commits(&bad, "timeout = \"100ms\"", "load", "configure took longer than its timeout of 100ms");
}

#[test]
fn a_trap_is_counted() {
    commits(&Guest::new("bad").before_collect("unreachable"), "", "trap", "collect failed");
}

#[test]
fn memory_beyond_the_limit_is_refused() {
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    commits(
        &Guest::new("bad").before_collect(grow),
        "memory = \"2MiB\"",
        "memory",
        "more memory than its limit of 2.0 MiB",
    );
}

#[test]
fn a_guest_that_copes_with_a_refusal_goes_on() {
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let (_host, mut agent) = start(&Guest::new("bad").before_collect(grow), "memory = \"2MiB\"");
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    let held = about(&sample, "plugin_memory_bytes", "bad").expect("it is told");
    assert!((1_048_576.0..=2_097_152.0).contains(&held), "{held}");
}

#[test]
fn memory_that_is_too_large_from_the_start_is_refused() {
    commits(&Guest::new("bad").pages(64), "memory = \"2MiB\"", "load", "more memory than its limit of 2.0 MiB");
}

#[test]
fn recursion_ends_at_the_stack() {
    let bad = Guest::new("bad").with("(func $deep (call $deep))").before_collect("(call $deep)");
    commits(&bad, "", "stack", "collect failed");
}

#[test]
fn a_result_that_is_too_large_is_refused() {
    // A list of 200,000 modules, all of them the same 3 MiB of memory.
    let lie = format!("(i32.store (i32.const {}) (i32.const 200000))", RETURNED + 8);
    commits(&Guest::new("bad").pages(60).before_collect(&lie), "", "oversize", "too much data");
}

#[test]
fn a_fault_of_its_own_saying_is_counted() {
    commits(&Guest::new("bad").error(4, "out of ideas\n"), "", "internal", r"out of ideas\n (internal)");
}

#[test]
fn what_is_unavailable_is_asked_again_and_no_fault() {
    // Unavailable until its third call, in the module's trial and two ticks.
    let thrice = format!(
        "(i32.store (i32.const {VALUE}) (i32.const 0))
         (i32.store (i32.const 1000) (i32.add (i32.load (i32.const 1000)) (i32.const 1)))
         (if (i32.gt_u (i32.load (i32.const 1000)) (i32.const 3))
            (then (i32.store (i32.const {RETURNED}) (i32.const 0))
                  (i32.store (i32.const {}) (i32.const 128))
                  (i32.store (i32.const {}) (i32.const 1))))",
        RETURNED + 4,
        RETURNED + 8
    );
    let bad = Guest::new("bad").error(3, "not yet").before_collect(&thrice);
    let (_host, mut agent) = start(&bad, "");
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    assert!(!sample["agent"].keys().any(|key| key.starts_with("plugin_faults_total")), "{sample:?}");
    agent.wait_log("plugin bad: what it measures is available again");
    let log = agent.log();
    assert_eq!(log.matches("plugin bad: not available: not yet").count(), 1, "{log}");
    assert_eq!(log.matches("plugin bad: what it measures is available again").count(), 1, "{log}");
}

#[test]
fn what_is_unsupported_is_put_aside() {
    let (_host, mut agent) = start(&Guest::new("bad").error(0, "no such sensor"), "");
    agent.wait_log("plugin bad: plugins/bad.wasm");
    for _ in 0..5 {
        assert_eq!(value(&agent.next(), "bad"), None);
    }
    let (sample, log) = (agent.next(), agent.log());
    assert_eq!(log.matches("cannot work on this host: no such sensor").count(), 1, "{log}");
    assert_eq!(faults(&sample, "bad", "load"), 0.0, "that is no fault");
}

#[test]
fn a_plugin_that_fails_rests_longer_and_longer() {
    let (_host, mut agent) = start(&Guest::new("bad").before_collect("unreachable"), "");
    agent.wait_log("started afresh after 4s");
    let log = agent.log();
    assert!(log.contains("started afresh after 1s") && log.contains("started afresh after 2s"), "{log}");
    agent.wait(|sample| faults(sample, "bad", "trap") == 3.0);
}

#[test]
fn a_slow_plugin_costs_only_its_own_metrics() {
    // Busy for a while: longer than a sample waits, shorter than its timeout.
    let busy = "(local $left i64) (local.set $left (i64.const 400000000))
                (loop $on (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                          (br_if $on (i64.gt_s (local.get $left) (i64.const 0))))
                i32.const 64";
    let (_host, mut agent) = start(&Guest::new("bad").collect(busy), "timeout = \"10s\"");
    let sample = agent.wait(|sample| value(sample, "bad").is_some());
    assert!(about(&sample, "plugin_late_total", "bad") >= Some(1.0), "its result came with a later sample");
    let sample = agent.wait(|sample| about(sample, "plugin_overdue_total", "bad") >= Some(1.0));
    assert!(!sample["agent"].keys().any(|key| key.starts_with("plugin_faults_total")), "{sample:?}");
    for sample in agent.seen().iter().skip_while(|sample| value(sample, "good").is_none()) {
        assert!(value(sample, "good").is_some());
        let took = sample["agent"]["collect_seconds"].as_f64().expect("a number");
        assert!(took < 0.1, "a sample waits a twentieth of the interval, not for the slow one: {took} s");
    }
}

#[test]
fn what_no_number_can_say_is_dropped_and_counted() {
    let (_host, mut agent) = start(&Guest::new("bad").float(f64::NAN), "");
    let sample = agent.wait(|sample| about(sample, "plugin_dropped_metrics_total", "bad") >= Some(1.0));
    assert_eq!(value(&sample, "bad"), None);
    assert_eq!(about(&sample, "plugin_up", "bad"), Some(1.0));
}

#[test]
fn the_agents_own_modules_cannot_be_taken() {
    let (_host, mut agent) = start(&Guest::new("cpu").value(666), "");
    agent.wait_log("plugin bad: its module cpu is dropped, another collector has it; rename one");
    let sample = agent.next();
    assert!(sample["cpu"].contains_key("percent") && !sample["cpu"].contains_key("value"));
    assert!(about(&sample, "plugin_dropped_metrics_total", "bad") >= Some(1.0));
}
