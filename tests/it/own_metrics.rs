//! The module `agent`: every metric is described, counters begin at 0, and the agent measures itself.

use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use gauged::agent::METRICS;
use serde_json::Value;

use crate::guest::Guest;
use crate::harness::{Sample, Setup, fault_count, plugin_metric, repository};
use crate::http_server::security::Authority;
use crate::natives::overlay;

/// A number of the module.
fn number(sample: &Sample, key: &str) -> f64 {
    sample["agent"].get(key).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {key} in {sample:?}"))
}

#[test]
fn agent_metrics_are_all_described() {
    let setup = Setup::new();
    let socket = setup.path("http.sock");
    Authority::new().write(&setup);
    let http = format!(
        "sinks.stdout.kind = \"stdout\"\n[sinks.falcon]\nkind = \"open_falcon\"\ntransfers = [\"127.0.0.1:9\"]\n\
         heartbeat = [\"127.0.0.1:9\"]\n[http]\nlisten = [\"unix:{}\"]\npush = true\ntls_certificate = \"{}\"\ntls_key = \"{}\"",
        socket.display(),
        setup.path("tls.pem").display(),
        setup.path("tls.key").display()
    );
    let configuration = format!("interval = \"200ms\"\n{http}\n[plugins.slow]\ntimeout = \"60s\"\n");
    std::fs::write(setup.path("gauged.toml"), configuration).expect("written");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    Guest::new("bad").before_collect("unreachable").install(&setup.plugin("bad.wasm"));
    Guest::new("slow").busy().install(&setup.plugin("slow.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| sample["agent"].contains_key("module_age_seconds{module=\"slow\"}"));
    agent.wait(|sample| fault_count(sample, "bad", "trap") >= 1.0);
    let names = agent.samples().iter().flat_map(|sample| sample["agent"].keys());
    let measured: BTreeSet<&str> = names.map(|key| key.split('{').next().expect("a name")).collect();
    let described: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(measured, described);
    for sample in agent.samples() {
        for metric in METRICS.iter().filter(|metric| metric.unit.is_empty()) {
            let key = |key: &&String| key.split('{').next() == Some(metric.name);
            let texts = sample["agent"].iter().filter(|(name, _)| key(name));
            assert!(
                texts.into_iter().all(|(_, value)| value.is_string()),
                "{} has no unit and is no text",
                metric.name
            );
        }
    }
}

#[test]
fn counters_begin_at_zero() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    let sample = agent.next();
    let kinds = sample["agent"].iter().filter(|(key, _)| key.starts_with("plugin_faults_total{kind="));
    let kinds: Vec<&Value> = kinds.map(|(_, count)| count).collect();
    assert_eq!(kinds, [0; 11]);
    let sample = agent.wait(|sample| plugin_metric(sample, "plugin_up", "good").is_some());
    for counter in METRICS.iter().filter(|metric| metric.name.starts_with("plugin_") && metric.name.ends_with("_total"))
    {
        assert_eq!(plugin_metric(&sample, counter.name, "good"), Some(0.0), "{}", counter.name);
    }
    assert!(!sample["agent"].keys().any(|key| key.contains("plugin=\"good\",kind=")), "{sample:?}");
}

#[test]
fn fault_totals_outlast_their_plugin() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    // It is not in the sample when it is rejected by its first call: this one serves, and fails later.
    Guest::new("bad")
        .with("(global $calls (mut i32) (i32.const 0))")
        .before_collect(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (i32.gt_u (global.get $calls) (i32.const 2)) (then unreachable))",
        )
        .install(&setup.plugin("bad.wasm"));
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| fault_count(sample, "bad", "trap") == 1.0);
    let total = number(&sample, "plugin_faults_total{kind=\"trap\"}");
    assert_eq!((plugin_metric(&sample, "plugin_faults_total", "bad"), total), (Some(1.0), 1.0));
    fs::remove_file(setup.plugin("bad.wasm")).expect("removed");
    let sample = agent.wait(|sample| plugin_metric(sample, "plugin_up", "bad").is_none());
    assert!(number(&sample, "plugin_faults_total{kind=\"trap\"}") >= 1.0, "a counter does not fall");
}

#[test]
fn agent_measures_its_own_usage() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let mut agent = setup.start(&[]);
    let (first, second) = (agent.next(), agent.next());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let started = number(&second, "start_time_seconds");
    assert!((now - 600.0..=now).contains(&started), "{started} is not before {now}");
    assert!(number(&second, "cpu_seconds_total") > 0.0);
    assert!(number(&second, "cpu_seconds_total") >= number(&first, "cpu_seconds_total"));
    assert!(number(&second, "tick_delay_seconds") >= 0.0);
    assert!(number(&second, "series") > 30.0, "those of the natives and its own");
    for (key, of_kernel) in [("threads", agent.status("Threads") as f64), ("resident_memory_bytes", 1e6)] {
        assert!(number(&second, key) > 0.0 && number(&second, key) <= of_kernel * 100.0, "{key}: {second:?}");
    }
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("readable").count() as f64;
    assert!((number(&second, "open_fds") - open).abs() < 20.0, "{second:?}");
}

#[test]
fn unreadable_source_is_no_success() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    let root = setup.path("host");
    fs::create_dir(&root).expect("created");
    overlay(&repository().join("tests/fixtures/server"), &root);
    let mut agent = setup.start(&["--root", "host"]);
    let success =
        |sample: &Sample, collector| number(sample, &format!("collector_success{{collector=\"{collector}\"}}"));
    let sample = agent.next();
    for collector in ["cpu", "load", "memory"] {
        assert_eq!(success(&sample, collector), 1.0, "{collector}");
        assert!(number(&sample, &format!("collector_duration_seconds{{collector=\"{collector}\"}}")) > 0.0);
    }
    fs::write(root.join("proc/loadavg"), "").expect("written");
    let sample = agent.wait(|sample| success(sample, "load") == 0.0);
    assert_eq!((success(&sample, "cpu"), success(&sample, "memory")), (1.0, 1.0));
    fs::write(root.join("proc/loadavg"), "1.00 2.00 3.00 4/5 6\n").expect("written");
    agent.wait(|sample| success(sample, "load") == 1.0);
}
