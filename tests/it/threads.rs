//! Ticks beside guests that cannot be interrupted. wasmtime interrupts a guest at functions, loops and bulk operations: not
//! within a `memory.fill`, and not while the host processes a result. A guest that holds its thread beyond the next tick
//! must not hold that tick: its reading lies before the guest's return. Nor may it hold up the other plugins at each tick: it is
//! called after them. The tests compare the order of moments, and the agent's missed ticks with those of a thread that only
//! sleeps.

use std::collections::BTreeSet;
use std::fs::File;
use std::future::pending;
use std::io::{BufRead as _, BufReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gauged::agent;
use gauged::clock::schedule::wall_clock;
use gauged::config::{Config, Overrides};

use crate::guest::{Guest, SECOND_VALUE, VALUE, install};
use crate::harness::{DEADLINE, Sample, Setup, parse, plugin_metric, unchanged, value};
use crate::hostile::results::many_label_sets_as;
use crate::skip::{current_test, skip};

const INTERVAL: Duration = Duration::from_millis(100);

/// A call that lasts longer than this lasts beyond the next tick, even if that begins late: one and a half intervals.
const LONG_SECONDS: f64 = 0.15;

/// How many long calls a test looks at.
const CALLS: usize = 2;

/// How many runs may miss more ticks than the control thread before a test fails: on a busy machine the one thread may have to
/// wait where the other does not.
const RUNS: usize = 3;

/// After how many short calls a machine is too fast for a test.
const SHORT_CALLS: usize = 8;

/// The pages of a large memory: four mebibytes less than the limit, for what else the instance holds.
const PAGES: u32 = 0x3fc0;

/// Every third call traps, so that the next one is of a new instance: the calls between end the pause after the fault. Local 0 is
/// the tick's time in milliseconds, and the plugin is called every five seconds: a long call has returned by then, and the next
/// result does not take its place.
const TRAP: &str =
    "(if (i64.eqz (i64.rem_u (i64.div_u (local.get 0) (i64.const 5000)) (i64.const 3))) (then unreachable))";

/// A plugin whose calls fill nearly a gibibyte, except for the first mebibyte with its data. A new instance's memory is not in RAM,
/// so that its first fill takes several times as long as the next.
fn filling() -> Vec<u8> {
    let fill = "(memory.fill (i32.const 0x100000) (i32.const 1) (i32.const 0x3fb00000))";
    Guest::new("bulky").pages(PAGES).before_collect(&format!("{TRAP} {fill}")).module()
}

/// A plugin whose calls copy half a gibibyte onto the other half.
fn copying() -> Vec<u8> {
    let copy = "(memory.copy (i32.const 0x20000000) (i32.const 0x100000) (i32.const 0x1fb00000))";
    Guest::new("bulky").pages(PAGES).before_collect(&format!("{TRAP} {copy}")).module()
}

/// A plugin whose calls return a result of 300,000 metrics, of which the agent keeps a few thousand.
fn returning() -> Vec<u8> {
    many_label_sets_as("bulky", 300_000).module()
}

/// A directory with this plugin, which is called every five seconds.
fn setup(plugin: &[u8]) -> Setup {
    let setup = Setup::with_config(
        "interval = \"100ms\"\n[plugins.bulky]\ninterval = \"5s\"\ntimeout = \"60s\"\nmemory = \"1GiB\"\n\
         limits = { result = \"64MiB\" }\n",
    );
    install(plugin, &setup.plugin("bulky.wasm"));
    setup
}

fn agent_metric(sample: &Sample, metric: &str) -> f64 {
    sample["agent"][metric].as_f64().expect("a number")
}

/// The moment of a sample's native reading.
fn read_at(sample: &Sample) -> f64 {
    agent_metric(sample, "timestamp") + agent_metric(sample, "tick_delay_seconds")
}

/// A call whose result is in a sample, and the tick after it.
#[derive(Debug)]
struct Call {
    seconds: f64,
    returned_at: f64,
    next_read_at: f64,
}

/// The calls that succeeded and for which there is a sample of the next tick.
fn calls(samples: &[Sample]) -> Vec<Call> {
    let call = |sample: &Sample| {
        sample.get("bulky")?;
        let seconds = plugin_metric(sample, "plugin_duration_seconds", "bulky")?;
        let age = sample["agent"].get("module_age_seconds{module=\"bulky\"}");
        let tick = agent_metric(sample, "timestamp") - age.map_or(0.0, |age| age.as_f64().expect("a number"));
        let is_its_tick =
            |sample: &Sample| (agent_metric(sample, "timestamp") - tick).abs() < INTERVAL.as_secs_f64() / 2.0;
        let at = samples.iter().position(is_its_tick)?;
        let next_read_at = read_at(samples.get(at + 1)?);
        Some(Call { seconds, returned_at: read_at(&samples[at]) + seconds, next_read_at })
    };
    samples.iter().filter_map(call).collect()
}

/// Whether the calls in these samples are enough for a test: either enough of them are long, or the machine is too fast.
fn are_enough(samples: &[Sample]) -> bool {
    let calls = calls(samples);
    let long = calls.iter().filter(|call| call.seconds > LONG_SECONDS).count();
    long >= CALLS || calls.len() - long >= SHORT_CALLS
}

/// Asserts that each tick after the start of a long call is before its return.
fn assert_ticks_continue(plugin: &[u8]) {
    let setup = setup(plugin);
    let mut agent = setup.start(&[]);
    let until = Instant::now() + DEADLINE;
    while !are_enough(agent.samples()) {
        agent.next();
        assert!(Instant::now() < until, "{:?}\n{}", calls(agent.samples()), agent.log());
    }
    let mut long = calls(agent.samples());
    long.retain(|call| call.seconds > LONG_SECONDS);
    if long.len() < CALLS {
        return skip(&current_test(), "no call lasts beyond the next tick");
    }
    assert!(long.iter().all(|call| call.next_read_at < call.returned_at), "{long:#?}\n{}", agent.log());
}

#[test]
fn ticks_continue_during_a_large_fill() {
    assert_ticks_continue(&filling());
}

#[test]
fn ticks_continue_during_a_large_copy() {
    assert_ticks_continue(&copying());
}

#[test]
fn ticks_continue_during_a_huge_result() {
    assert_ticks_continue(&returning());
}

/// The index of the last tick.
fn tick_index() -> u64 {
    u64::try_from(wall_clock().as_millis() / INTERVAL.as_millis()).expect("a clock of this age")
}

/// Sleeps until each tick, and returns the indices of those at which it woke in time.
fn sleep_through_ticks(is_over: &AtomicBool) -> BTreeSet<u64> {
    let mut woken = BTreeSet::new();
    while !is_over.load(Ordering::Acquire) {
        let next = Duration::from_millis((tick_index() + 1) * INTERVAL.as_millis() as u64);
        thread::sleep(next.saturating_sub(wall_clock()));
        woken.insert(tick_index());
    }
    woken
}

/// Runs the agent in this process until nobody reads its output any more.
fn run_agent(config: Config, output: PipeWriter) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let output = File::from(OwnedFd::from(output));
    runtime.block_on(agent::run(config, unchanged(), None, output, async || pending().await)).expect("it runs");
    runtime.shutdown_background();
}

/// Runs the agent in this process until enough calls were seen. Returns its samples, and the ticks at which the control thread
/// woke.
fn run_beside_control(setup: &Setup) -> (Vec<Sample>, BTreeSet<u64>) {
    let config = Config::load(&Overrides { file: Some(setup.path("gauged.toml")), ..Overrides::default() });
    let config = Config { cache: Some(setup.cache()), ..config.expect("right") };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let control = scope.spawn(|| sleep_through_ticks(&is_over));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let running = scope.spawn(|| run_agent(config, writer));
        let (mut samples, until) = (Vec::new(), Instant::now() + DEADLINE);
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            samples.push(parse(&line));
            if are_enough(&samples) || Instant::now() > until {
                break;
            }
        }
        is_over.store(true, Ordering::Release);
        running.join().expect("no panic");
        (samples, control.join().expect("no panic"))
    })
}

/// Asserts that the agent misses no more ticks beside a plugin with long calls than a thread that only sleeps.
fn assert_no_ticks_missed(plugin: &[u8]) {
    let setup = setup(plugin);
    // This process cannot compile the plugin.
    let mut compiling = setup.start(&[]);
    compiling.wait_log("plugin loaded");
    compiling.terminate();

    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let (samples, woken) = run_beside_control(&setup);
        let last = samples.last().expect("a sample");
        assert_eq!(agent_metric(last, "cache_hits_total"), 1.0, "{last:?}");
        assert!(are_enough(&samples), "{:?}", calls(&samples));
        if calls(&samples).iter().filter(|call| call.seconds > LONG_SECONDS).count() < CALLS {
            return skip(&current_test(), "no call lasts beyond the next tick");
        }
        let index = |sample: &Sample| (agent_metric(sample, "timestamp") / INTERVAL.as_secs_f64()).round() as u64;
        let window = index(&samples[0])..index(last);
        let missed_by_control = window.clone().count() - woken.range(window).count();
        let missed = agent_metric(last, "missed_ticks_total");
        if missed <= missed_by_control as f64 {
            return;
        }
        runs.push((missed, missed_by_control));
    }
    panic!("ticks that the agent missed, and the control thread, in each run: {runs:?}");
}

/// A plugin whose metrics are the monotonic time at which its call began, and the tick.
fn timing(module: &str) -> Guest {
    Guest::new(module).second("tick").before_collect(&format!(
        "(i64.store (i32.const {}) (local.get 1)) (i64.store (i32.const {}) (local.get 0))",
        VALUE + 8,
        SECOND_VALUE + 8
    ))
}

#[test]
fn large_fills_miss_no_ticks() {
    assert_no_ticks_missed(&filling());
}

#[test]
fn plugin_that_holds_the_thread_is_called_last() {
    let setup = Setup::with_config("interval = \"500ms\"\n[plugins.a_slow]\ntimeout = \"60s\"\nmemory = \"512MiB\"\n");
    // Half a gibibyte takes more than 5 ms on every machine.
    let fill = "(memory.fill (i32.const 0x100000) (i32.const 1) (i32.const 0x1fb00000))";
    timing("a_slow").pages(0x1fc0).before_collect(fill).install(&setup.plugin("a_slow.wasm"));
    timing("b_short").install(&setup.plugin("b_short.wasm"));
    let mut agent = setup.start(&[]);
    // Plugins are called in the order of their names otherwise.
    agent.wait(|sample| {
        let began = |module: &str| value(sample, module).and_then(|at| at.as_u64());
        let (Some(slow), Some(short)) = (began("a_slow"), began("b_short")) else { return false };
        sample["a_slow"]["tick"] == sample["b_short"]["tick"] && short < slow
    });
}
