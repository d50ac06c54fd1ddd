//! The results of plugins over time: each has the tick that it was collected for, and the latest one lasts until the next.

use std::fs::File;
use std::future::{pending, poll_fn};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use gauged::agent;
use gauged::config::{Config, Overrides};
use gauged::sample::{MetricKind, Module, Sample};

use crate::guest::Guest;
use crate::harness::{DEADLINE, Setup, unchanged, value};
use gauged::process::Request;

const INTERVAL: Duration = Duration::from_millis(200);

/// The number of the kind in the interface.
const COUNTER: u32 = 1;

/// Runs the agent in this process until the samples are as wanted, and returns them. The plugins were compiled before, by the
/// agent's own program: this one cannot do that.
pub fn samples(setup: &Setup, is_enough: impl Fn(&[Arc<Sample>]) -> bool) -> Vec<Arc<Sample>> {
    let config = Config::load(&Overrides { file: Some(setup.path("gauged.toml")), ..Overrides::default() });
    let config = Config { cache: Some(setup.cache()), ..config.expect("right") };
    let (samples, until) = (Arc::<Mutex<Vec<Arc<Sample>>>>::default(), Instant::now() + DEADLINE);
    let mut has_ended = false;
    let ended = async || {
        if has_ended {
            pending::<()>().await;
        }
        poll_fn(|_| {
            let samples = samples.lock().expect("not poisoned");
            assert!(Instant::now() < until, "{samples:?}");
            if is_enough(&samples) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        has_ended = true;
        Request::End
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let reading = std::thread::spawn(move || std::io::copy(&mut { reader }, &mut std::io::sink()));
    let seen = Arc::clone(&samples);
    let observe = move |sample: &Arc<Sample>| seen.lock().expect("not poisoned").push(Arc::clone(sample));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let output = File::from(OwnedFd::from(writer));
    runtime.block_on(agent::run_observed(config, unchanged(), None, output, observe, ended)).expect("it runs");
    runtime.shutdown_background();
    reading.join().expect("no panic").expect("read");
    std::mem::take(&mut *samples.lock().expect("not poisoned"))
}

pub fn module<'a>(modules: impl IntoIterator<Item = &'a Arc<Module>>, name: &str) -> Option<&'a Arc<Module>> {
    modules.into_iter().find(|module| **module.name() == *name)
}

#[test]
fn late_results_keep_their_tick() {
    let setup = Setup::with_config("interval = \"200ms\"\n[plugins.slow]\ntimeout = \"60s\"\n");
    Guest::new("slow").busy().install(&setup.plugin("slow.wasm"));
    let mut agent = setup.start(&[]);
    let sample = agent.wait(|sample| value(sample, "slow").is_some());
    let age = sample["agent"]["module_age_seconds{module=\"slow\"}"].as_f64().expect("it is of an earlier tick");
    let ticks = age / INTERVAL.as_secs_f64();
    assert!(ticks >= 0.9 && (ticks - ticks.round()).abs() < 1e-6, "{age} is no number of ticks");
    assert!(!sample["agent"].contains_key("module_age_seconds{module=\"cpu\"}"));
    agent.terminate();

    let is_measured = |sample: &Arc<Sample>| module(&sample.modules, "slow").is_some();
    let samples = samples(&setup, |samples| samples.iter().filter(|sample| is_measured(sample)).count() >= 2);
    let mut last = Duration::ZERO;
    for sample in &samples {
        for late in sample.results().filter(|module| **module.name() == *"slow") {
            assert!(late.time < sample.tick && last < late.time, "{:?} at {:?}", late.time, sample.tick);
            assert!(samples.iter().any(|earlier| earlier.tick == late.time), "no tick was then");
            last = late.time;
        }
        let now = sample.modules.iter().filter(|module| **module.name() != *"slow");
        assert!(now.into_iter().all(|module| module.time == sample.tick && module.step() == INTERVAL));
    }
}

#[test]
fn latest_result_outlasts_ticks_without_one() {
    let setup = Setup::with_config("interval = \"200ms\"\n[plugins.seldom]\ninterval = \"1s\"\n");
    Guest::new("seldom").version("1.2.3").install(&setup.plugin("seldom.wasm"));
    assert!(value(&setup.once().0, "seldom").is_some());
    let samples = samples(&setup, |samples| {
        samples.iter().filter(|sample| module(&sample.modules, "seldom").is_some()).count() >= 4
    });
    let first = samples.iter().position(|sample| module(&sample.modules, "seldom").is_some()).expect("measured");
    let mut last: Option<Arc<Module>> = None;
    for sample in &samples[first..] {
        if let Some(measured) = module(&sample.modules, "seldom") {
            assert_eq!((measured.time, measured.step()), (sample.tick, Duration::from_secs(1)));
            assert_eq!((&*measured.collector().name, &*measured.collector().version), ("seldom", "1.2.3"));
            last = Some(Arc::clone(measured));
        }
        let latest = module(sample.latest(), "seldom").expect("it does not flap");
        assert!(Arc::ptr_eq(latest, last.as_ref().expect("measured")));
        for name in ["agent", "cpu", "load", "memory", "swap"] {
            assert_eq!(module(sample.latest(), name).map(|module| module.time), Some(sample.tick), "{name}");
        }
    }
    let without = samples[first..].iter().filter(|sample| module(&sample.modules, "seldom").is_none()).count();
    assert!(without >= 3, "most ticks have no result of it");
}

#[test]
fn failed_call_ends_the_latest_result() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    Guest::new("brief")
        .with("(global $calls (mut i32) (i32.const 0))")
        .before_collect(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (i32.gt_u (global.get $calls) (i32.const 3)) (then unreachable))",
        )
        .install(&setup.plugin("brief.wasm"));
    assert!(value(&setup.once().0, "brief").is_some());
    let has = |sample: &Arc<Sample>| module(sample.latest(), "brief").is_some();
    let samples = samples(&setup, |samples| {
        let first = samples.iter().position(has);
        first.is_some_and(|first| samples[first..].iter().any(|sample| !has(sample)))
    });
    let last = samples.last().expect("seen");
    assert!(module(&last.modules, "brief").is_none() && !has(last), "the tick of the failed call");
}

#[test]
fn descriptors_go_with_their_series() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    Guest::new("described").describes(&[("described", "value", COUNTER)]).install(&setup.plugin("described.wasm"));
    Guest::new("other").install(&setup.plugin("other.wasm"));
    assert!(value(&setup.once().0, "described").is_some());
    let has_both = |sample: &Arc<Sample>| {
        module(&sample.modules, "described").is_some() && module(&sample.modules, "other").is_some()
    };
    let samples = samples(&setup, |samples| samples.iter().any(has_both));
    let sample = samples.iter().find(|sample| has_both(sample)).expect("seen");
    for (name, metric, kind, unit, description) in [
        ("described", "value", MetricKind::Counter, "By", "What it is."),
        ("other", "value", MetricKind::Gauge, "", ""),
        (
            "load",
            "1min",
            MetricKind::Gauge,
            "{task}",
            "Tasks that run, are ready to run or wait for a disk, averaged over a minute.",
        ),
        (
            "agent",
            "missed_ticks_total",
            MetricKind::Counter,
            "{tick}",
            "Ticks that passed while the agent was busy or the host was suspended.",
        ),
    ] {
        let module = module(&sample.modules, name).expect("measured");
        let metric = module.metrics().find(|found| found.name() == metric).expect("measured");
        let descriptor = metric.series.descriptor();
        assert_eq!((descriptor.kind, &*descriptor.unit, &*descriptor.description), (kind, unit, description), "{name}");
    }
}
