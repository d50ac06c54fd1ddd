//! Plugin files that are added, replaced and removed while the agent runs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::guest::{Guest, VALUE, install};
use crate::harness::{Agent, Setup, fault_count, plugin_metric, value};

/// How long a file has to stay unchanged before it is loaded.
pub const SETTLE: Duration = Duration::from_millis(200);

/// A guest whose value is the number of its calls, which shows whether its instance was kept.
pub fn call_counter(module: &str) -> Guest {
    let count = format!("(i32.store (i32.const {0}) (i32.add (i32.load (i32.const {0})) (i32.const 1)))", VALUE + 8);
    Guest::new(module).value(0).before_collect(&count)
}

/// The metric `value` of a module in every sample that has it.
pub fn values(agent: &Agent, module: &str) -> Vec<u64> {
    agent.samples().iter().filter_map(|sample| value(sample, module)?.as_u64()).collect()
}

/// Asserts that a counting guest was called by one instance, and at every tick that it was due.
pub fn assert_one_instance(agent: &Agent, module: &str) {
    let counts = values(agent, module);
    assert!(!counts.is_empty() && counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "{module}: {counts:?}");
}

/// Writes a file in place, a tenth at a time, calling a function before each part; returns the longest time that the file
/// was left incomplete and unchanged.
pub fn write_in_parts(bytes: &[u8], file: &Path, mut pause: impl FnMut()) -> Duration {
    let mut file = fs::File::create(file).expect("truncated");
    let (mut longest, mut changed) = (Duration::ZERO, Instant::now());
    for part in bytes.chunks(bytes.len().div_ceil(10)) {
        pause();
        file.write_all(part).expect("written");
        longest = longest.max(changed.elapsed());
        changed = Instant::now();
    }
    longest
}

#[test]
fn file_changes_take_effect_within_two_ticks() {
    let setup = Setup::new();
    let mut agent = setup.start(&["--interval", "1s"]);
    agent.next();
    call_counter("dropped").install(&setup.plugin("dropped.wasm"));
    let samples = [agent.next(), agent.next()];
    assert!(value(&samples[1], "dropped").is_some(), "{}", agent.log());
    fs::remove_file(setup.plugin("dropped.wasm")).expect("removed");
    let samples = [agent.next(), agent.next()];
    assert!(value(&samples[1], "dropped").is_none(), "{}", agent.log());
    assert!(plugin_metric(&samples[1], "plugin_up", "dropped").is_none());
    agent.wait_log("plugin removed plugin=dropped file=plugins/dropped.wasm");
    agent.assert_no_gaps();
}

#[test]
fn new_version_takes_over_without_a_gap() {
    let setup = Setup::new();
    call_counter("steady").install(&setup.plugin("steady.wasm"));
    Guest::new("changing").version("1.0.0").value(100).install(&setup.plugin("changing.wasm"));
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "changing") == Some(100.into()) && value(sample, "steady").is_some());
    let from = agent.samples().len();
    Guest::new("changing").version("2.0.0").value(200).install(&setup.plugin("changing.wasm"));
    agent.wait(|sample| value(sample, "changing") == Some(200.into()));

    let values: Vec<u64> = agent.samples()[from..]
        .iter()
        .map(|sample| value(sample, "changing").expect("never absent").as_u64().expect("a number"))
        .collect();
    assert!(values.is_sorted() && values.iter().all(|value| [100, 200].contains(value)), "{values:?}");
    assert_one_instance(&agent, "steady");
    agent.wait_log("previous=\"1.0.0 (");
    agent.assert_no_gaps();
}

#[test]
fn broken_version_never_displaces_a_working_one() {
    let setup = Setup::new();
    call_counter("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "good").is_some());

    let good = call_counter("good").module();
    install(&good[..good.len() / 2], &setup.plugin("good.wasm"));
    agent.wait_log("is truncated\" remedy=\"copy it again\" consequence=\"the previous version continues\"");
    call_counter("good").configure("unreachable").install(&setup.plugin("good.wasm"));
    agent.wait_log("fails: configure failed");
    call_counter("good").configure_error(0, "no such hardware").install(&setup.plugin("good.wasm"));
    agent.wait_log("cannot work on this host: no such hardware");
    call_counter("good").before_collect("unreachable").install(&setup.plugin("good.wasm"));
    agent.wait_log("fails: collect failed");

    Guest::new("good").error(3, "nothing there").install(&setup.plugin("good.wasm"));
    agent.wait_log(
        "has nothing to measure: nothing there\" remedy=\"start what it measures, or remove it; it is retried\"",
    );

    // Neither `unsupported` nor `unavailable` is a fault.
    let sample = agent.wait(|sample| fault_count(sample, "good", "load") >= 3.0);
    assert_eq!(fault_count(&sample, "good", "load"), 3.0, "{}", agent.log());
    assert_eq!(plugin_metric(&sample, "plugin_up", "good"), Some(1.0));
    agent.assert_never_absent("good");
    assert_one_instance(&agent, "good");
    assert_eq!(agent.log().matches("is truncated").count(), 1, "one attempt: {}", agent.log());

    Guest::new("good").version("3.0.0").value(1_000_000).install(&setup.plugin("good.wasm"));
    agent.wait(|sample| value(sample, "good") == Some(1_000_000.into()));
    agent.assert_no_gaps();
}

#[test]
fn file_written_in_chunks_loads_when_complete() {
    let setup = Setup::new();
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.next();
    for attempt in 1.. {
        let module = format!("chunks{attempt}");
        let file = setup.plugin(&format!("{module}.wasm"));
        let pause = || std::thread::sleep(Duration::from_millis(50));
        let longest = write_in_parts(&call_counter(&module).module(), &file, pause);
        agent.wait(|sample| value(sample, &module).is_some());
        // On a busy machine a part may come so late that the file counts as complete before it.
        if longest < SETTLE {
            assert_eq!(agent.wait_plugin_log(&module, 1).len(), 1, "{}", agent.log());
            return;
        }
        assert!(attempt < 20, "the machine is too busy to write a file without a pause of {SETTLE:?}");
    }
}

#[test]
fn swapped_symbolic_link_loads_the_new_target() {
    let setup = Setup::new();
    let publish = |name: &str, number: u32| {
        fs::create_dir(setup.plugin(name)).expect("created");
        Guest::new("linked").value(number).install(&setup.plugin(name).join("linked.wasm"));
        let next = setup.plugin("..data_next");
        symlink(name, &next).expect("linked");
        fs::rename(&next, setup.plugin("..data")).expect("swapped");
    };
    publish("..1", 1);
    symlink("..data/linked.wasm", setup.plugin("linked.wasm")).expect("linked");
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "linked") == Some(1.into()));
    publish("..2", 2);
    agent.wait(|sample| value(sample, "linked") == Some(2.into()));
}

#[test]
fn last_of_many_replacements_is_served() {
    let setup = Setup::new();
    let mut agent = setup.start(&["--interval", "100ms"]);
    for number in 0..60 {
        Guest::new("swapped").value(number).install(&setup.plugin("swapped.wasm"));
        if number % 7 == 0 {
            fs::remove_file(setup.plugin("swapped.wasm")).expect("removed");
        }
        if number % 10 == 0 {
            agent.next();
        }
    }
    agent.wait(|sample| value(sample, "swapped") == Some(59.into()));
    // No other version follows.
    for _ in 0..5 {
        assert_eq!(value(&agent.next(), "swapped"), Some(59.into()));
    }
}

#[test]
fn identical_content_is_not_loaded_again() {
    let setup = Setup::new();
    call_counter("same").install(&setup.plugin("same.wasm"));
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "same").is_some());
    call_counter("same").install(&setup.plugin("same.wasm"));
    Guest::new("after").install(&setup.plugin("after.wasm"));
    agent.wait(|sample| value(sample, "after").is_some());
    agent.wait_plugin_log("after", 1);
    assert_one_instance(&agent, "same");
    assert_eq!(agent.wait_plugin_log("same", 1).len(), 1, "{}", agent.log());
}

#[test]
fn plugins_directory_created_later_is_found() {
    let setup = Setup::new();
    fs::remove_dir(setup.path("plugins")).expect("removed");
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait_log("plugins directory not readable directory=plugins reason=\"No such file or directory (os error 2)\" remedy=\"create it, or name another with --plugins\"");
    agent.next();
    fs::create_dir(setup.path("plugins")).expect("created");
    Guest::new("late").install(&setup.plugin("late.wasm"));
    agent.wait(|sample| value(sample, "late").is_some());
    assert_eq!(agent.log().matches("plugins directory not readable").count(), 1, "{}", agent.log());
}

#[test]
fn missing_plugins_directory_keeps_plugins_running() {
    let setup = Setup::new();
    Guest::new("kept").install(&setup.plugin("kept.wasm"));
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "kept").is_some());
    fs::rename(setup.path("plugins"), setup.path("moved")).expect("moved");
    agent.wait_log("plugins directory not readable");
    assert!(value(&agent.next(), "kept").is_some());
    fs::rename(setup.path("moved"), setup.path("plugins")).expect("moved back");
    fs::remove_file(setup.plugin("kept.wasm")).expect("removed");
    agent.wait(|sample| value(sample, "kept").is_none());
}

#[test]
fn recreated_plugins_directory_is_watched_again() {
    let setup = Setup::new();
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.next();
    for round in 0..3 {
        fs::remove_dir_all(setup.path("plugins")).expect("removed");
        fs::create_dir(setup.path("plugins")).expect("created");
        Guest::new("anew").value(round).install(&setup.plugin("anew.wasm"));
        agent.wait(|sample| value(sample, "anew") == Some(round.into()));
    }
}

#[test]
fn plugin_with_long_interval_is_sampled_at_once() {
    let setup = Setup::with_config("interval = \"200ms\"\n[plugins.rare]\ninterval = \"1h\"\n");
    let mut agent = setup.start(&[]);
    agent.next();
    for version in 1..3 {
        Guest::new("rare").value(version).install(&setup.plugin("rare.wasm"));
        agent.wait(|sample| value(sample, "rare") == Some(version.into()));
        let sample = agent.next();
        assert_eq!(plugin_metric(&sample, "plugin_up", "rare"), Some(1.0));
        assert_eq!(value(&sample, "rare"), None, "it is not due again");
    }
}

#[test]
fn hanging_version_does_not_delay_its_replacement() {
    let setup = Setup::with_config("interval = \"200ms\"\n[plugins.hangs]\ntimeout = \"20s\"\n");
    // The first call, which is the trial, returns; the second hangs.
    let hang = "(if (i32.load (i32.const 1000)) (then (loop $forever (br $forever))))
                (i32.store (i32.const 1000) (i32.const 1))";
    Guest::new("hangs").before_collect(hang).install(&setup.plugin("hangs.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| plugin_metric(sample, "plugin_skipped_total", "hangs") >= Some(1.0));
    Guest::new("hangs").version("2.0.0").value(2).install(&setup.plugin("hangs.wasm"));
    agent.wait(|sample| value(sample, "hangs") == Some(2.into()));
    assert!(!agent.log().contains("took longer"), "the first version still hangs: {}", agent.log());
    // The fault of the replaced version is counted and logged later.
    agent.wait(|sample| fault_count(sample, "hangs", "timeout") >= 1.0);
    let fault = "fault=timeout reason=\"collect took longer than its timeout of 20s\"";
    let lines = agent.wait_log_lines(fault, 1);
    assert!(
        matches!(&*lines, [line] if line.contains("replaced plugin version failed plugin=hangs version=1.0.0 ") && line.ends_with(fault)),
        "{lines:?}"
    );
}

#[test]
fn failing_version_does_not_displace_an_unavailable_one() {
    let setup = Setup::new();
    Guest::new("rests").error(3, "the service is down").install(&setup.plugin("rests.wasm"));
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait_log("plugin unavailable plugin=rests reason=\"the service is down\"");
    Guest::new("rests").version("2.0.0").before_collect("unreachable").install(&setup.plugin("rests.wasm"));
    agent.wait_log("fails: collect failed");
    agent.wait_log("the previous version continues");
    assert!(!agent.log().contains("plugin replaced"), "{}", agent.log());
}

#[test]
fn unavailable_version_takes_over_once_available() {
    let service = tempfile::tempdir().expect("a temporary directory");
    let service = service.path().canonicalize().expect("it exists").join("service");
    let path = service.to_str().expect("text");
    let setup = Setup::with_config(&format!("interval = \"100ms\"\n[plugins.late]\nread = [\"{path}\"]\n"));
    Guest::new("late").value(1).install(&setup.plugin("late.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "late") == Some(1.into()));
    let second = Guest::new("late").version("2.0.0").value(2).unavailable_without(path);
    second.install(&setup.plugin("late.wasm"));
    agent.wait_log("has nothing to measure: not yet");
    // The same content again neither ends the retries nor logs another line.
    second.install(&setup.plugin("late.wasm"));
    fs::write(&service, "").expect("written");
    agent.wait(|sample| value(sample, "late") == Some(2.into()));
    agent.wait_log("plugin replaced");
    assert_eq!(agent.log().matches("has nothing to measure").count(), 1, "{}", agent.log());
}

#[test]
fn file_broken_again_is_reported_again() {
    let setup = Setup::new();
    let good = Guest::new("twice").module();
    install(&good, &setup.plugin("twice.wasm"));
    let mut agent = setup.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "twice").is_some());
    for round in 1..=2 {
        install(&good[..100], &setup.plugin("twice.wasm"));
        agent.wait(|sample| fault_count(sample, "twice", "load") == f64::from(round));
        install(&good, &setup.plugin("twice.wasm"));
        // The restored file is not logged; another plugin's load shows that the directory was read again.
        Guest::new("other").value(round).install(&setup.plugin("other.wasm"));
        agent.wait(|sample| value(sample, "other") == Some(round.into()));
    }
    assert_eq!(agent.wait_log_lines("is truncated", 2).len(), 2, "{}", agent.log());
}
