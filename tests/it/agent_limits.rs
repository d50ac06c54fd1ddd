//! The limits of all plugins together, `[limits] memory` and `[limits] series`.

use std::fs;

use serde_json::Value;

use crate::guest::{Guest, VALUE};
use crate::harness::{Agent, Sample, Setup, fault_count, plugin_metric, value};

fn agent_metric(sample: &Sample, metric: &str) -> Option<f64> {
    sample["agent"].get(metric)?.as_f64()
}

/// An agent with these limits.
fn agent(limits: &str) -> (Setup, Agent) {
    let setup = Setup::with_config(&format!("interval = \"250ms\"\n[limits]\n{limits}\n"));
    let agent = setup.start(&[]);
    (setup, agent)
}

/// A plugin whose memory has so many pages of 64 KiB.
fn sized(name: &str, pages: u32) -> Guest {
    Guest::new(name).pages(pages)
}

#[test]
fn load_beyond_all_memory_is_refused_and_retried() {
    let (setup, mut agent) = agent("memory = \"4MiB\"");
    sized("first", 40).install(&setup.plugin("first.wasm"));
    let sample = agent.wait(|sample| value(sample, "first").is_some());
    assert_eq!(agent_metric(&sample, "plugins_memory_limit_bytes"), Some(f64::from(4 << 20)));
    let held = plugin_metric(&sample, "plugin_memory_bytes", "first").expect("reported");
    assert!(held >= f64::from(40 << 16), "{held}");

    sized("second", 40).install(&setup.plugin("second.wasm"));
    let sample = agent.wait(|sample| fault_count(sample, "second", "load") >= 1.0);
    assert_eq!(value(&sample, "second"), None);
    let refused = agent.wait_plugin_log("second", 1).swap_remove(0);
    let parts = [
        " WARN plugin rejected plugin=second ",
        "cannot run now: its start needed more memory than the agent's limit of 4.0 MiB for all plugins (capacity)",
        "remedy=\"raise memory under [limits], or remove plugins; it is retried\"",
    ];
    assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
    // What is left is enough for a small one.
    sized("third", 4).install(&setup.plugin("third.wasm"));
    agent.wait(|sample| value(sample, "third").is_some());

    fs::remove_file(setup.plugin("first.wasm")).expect("removed");
    let sample = agent.wait(|sample| value(sample, "second").is_some());
    assert_eq!(plugin_metric(&sample, "plugin_memory_bytes", "first"), None);
    agent.terminate();
    agent.assert_undisturbed(&["third"]);
}

#[test]
fn growth_beyond_all_memory_is_refused() {
    let (setup, mut agent) = agent("memory = \"2MiB\"");
    // A page at every tick as long as it gets one; the value is how many it has.
    let grow = format!("(drop (memory.grow (i32.const 1))) (i32.store (i32.const {}) (memory.size))", VALUE + 8);
    for name in ["first", "second"] {
        Guest::new(name).before_collect(&grow).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let pages = |sample: &Sample, name: &str| value(sample, name).as_ref().and_then(Value::as_f64).unwrap_or(0.0);
    let both = |sample: &Sample| pages(sample, "first") + pages(sample, "second");
    let mut before = agent.wait(|sample| value(sample, "second").is_some());
    // Neither is at its own limit of 64 MiB, and neither fails.
    let sample = loop {
        let sample = agent.next();
        if both(&sample) == both(&before) && both(&sample) > 24.0 {
            break sample;
        }
        before = sample;
    };
    assert!(both(&sample) <= 32.0, "{sample:?}");
    let (held, limit) = ("plugins_memory_bytes", "plugins_memory_limit_bytes");
    assert!(agent_metric(&sample, held) <= agent_metric(&sample, limit), "{sample:?}");
    for name in ["first", "second"] {
        assert_eq!(plugin_metric(&sample, "plugin_faults_total", name), Some(0.0));
    }

    // One that insists on it fails, and is not blamed for its own limit.
    Guest::new("third")
        .before_collect("(if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable))")
        .install(&setup.plugin("third.wasm"));
    agent.wait_log("the agent's limit of 2.0 MiB for all plugins");
    let sample = agent.next();
    assert_eq!(plugin_metric(&sample, "plugin_up", "first"), Some(1.0));
    agent.terminate();
    agent.assert_undisturbed(&["first", "second"]);
}

#[test]
fn series_beyond_the_limit_are_dropped() {
    let (setup, mut agent) = agent("series = 300");
    Guest::new("many").metrics(600).install(&setup.plugin("many.wasm"));
    let dropped = "plugin_dropped_metrics_total";
    let sample = agent.wait(|sample| plugin_metric(sample, dropped, "many") >= Some(1.0));
    assert!(sample.contains_key("cpu") && sample.contains_key("memory"), "natives have what they need");
    agent.wait_log("the agent has too many different series");
    agent.terminate();
}

#[test]
fn default_memory_limit_is_half_of_the_hosts() {
    let (_setup, mut agent) = agent("");
    let sample = agent.wait(|sample| agent_metric(sample, "plugins_memory_limit_bytes").is_some());
    let limit = agent_metric(&sample, "plugins_memory_limit_bytes").expect("present");
    let total = sample["memory"]["total"].as_f64().expect("measured");
    // A control group may allow less.
    assert!(limit > 0.0 && limit <= total / 2.0, "{limit} of {total}");
    agent.terminate();
}
