//! Time limits of plugins on a host that gives the agent no processor: a stopped process has none.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::guest::Guest;
use crate::harness::{Agent, Sample, Setup, all_faults, fault_count, plugin_metric, value};

/// What a plugin logs when a call begins.
const BEGUN: &str = "a call has begun";

/// How often a test stops the agent at most: on a busy machine the signal may come when the call is over.
const ATTEMPTS: usize = 20;

/// A function that takes some hundred milliseconds of processor time.
const WORK: &str = "(func $work (local $left i64) (local.set $left (i64.const 200000000))
    (loop $on (local.set $left (i64.sub (local.get $left) (i64.const 1)))
              (br_if $on (i64.gt_s (local.get $left) (i64.const 0)))))";

/// A plugin that returns from its first call, which is its trial, and not from the second.
fn looping(name: &str) -> Guest {
    Guest::new(name).with("(global $calls (mut i32) (i32.const 0))").before_collect(
        "(if (global.get $calls) (then (loop $forever (br $forever))))
         (global.set $calls (i32.const 1))",
    )
}

/// Waits until another call begins, and stops the agent for this time.
fn stop_in_call(agent: &mut Agent, time: Duration) {
    let begun = agent.log().matches(BEGUN).count();
    agent.wait_log_lines(BEGUN, begun + 1);
    agent.signal(Signal::STOP);
    thread::sleep(time);
    agent.signal(Signal::CONT);
}

/// Stops the agent in calls for this time, until a later sample meets a condition.
fn stop_in_calls(agent: &mut Agent, time: Duration, condition: impl Fn(&Sample) -> bool) -> Sample {
    for _ in 0..ATTEMPTS {
        stop_in_call(agent, time);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() + 1.0;
        let sample = agent.wait(|sample| sample["agent"]["timestamp"].as_f64() > Some(since));
        if condition(&sample) {
            return sample;
        }
    }
    panic!("no call was stopped\n{}", agent.log());
}

#[test]
fn stopped_agent_ends_no_call() {
    let setup = Setup::with_config("interval = \"1s\"\n[plugins.works]\ntimeout = \"1s\"\n");
    let works = Guest::new("works").with(WORK).before_collect("(call $work)").logs(1, BEGUN);
    works.install(&setup.plugin("works.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "works").is_some());
    let time = Duration::from_secs(2);
    let was_stopped =
        |sample: &Sample| plugin_metric(sample, "plugin_duration_max_seconds", "works") >= Some(time.as_secs_f64());
    let sample = stop_in_calls(&mut agent, time, was_stopped);
    assert_eq!(all_faults(&sample), 0.0, "{sample:?}\n{}", agent.log());
    assert_eq!(plugin_metric(&sample, "plugin_up", "works"), Some(1.0));
    assert!(plugin_metric(&sample, "plugin_late_total", "works") >= Some(1.0), "its result has arrived: {sample:?}");
}

#[test]
fn call_without_processor_time_is_a_shortage() {
    let setup = Setup::with_config("interval = \"1s\"\n[plugins.starves]\ntimeout = \"200ms\"\n");
    looping("starves").logs(1, BEGUN).install(&setup.plugin("starves.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "starves").is_some());
    // More than ten times the timeout.
    let time = Duration::from_millis(2500);
    stop_in_calls(&mut agent, time, |sample| fault_count(sample, "starves", "shortage") >= 1.0);
    agent.wait_log("fault=shortage reason=\"collect had too little processor time on this host: none for ");
}

#[test]
fn ten_endless_loops_are_ended_as_timeouts() {
    let names: Vec<String> = (0..10).map(|number| format!("loops{number}")).collect();
    let mut configuration = "interval = \"500ms\"\n".to_owned();
    for name in &names {
        writeln!(configuration, "[plugins.{name}]\ntimeout = \"200ms\"").expect("memory can be written to");
    }
    let setup = Setup::with_config(&configuration);
    for name in &names {
        looping(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let mut agent = setup.start(&[]);
    agent.wait(|sample| names.iter().all(|name| fault_count(sample, name, "timeout") >= 1.0));
    agent.wait_log_lines("reason=\"collect took longer than its timeout of 200ms\"", names.len());
}
