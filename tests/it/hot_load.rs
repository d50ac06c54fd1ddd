//! Plugins that come, change and go while the agent runs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use crate::guest::{Guest, install};
use crate::harness::{Agent, Host, Sample, about, faults, value};

/// Counts its calls, so that its value tells whether its memory was kept.
pub fn counting(module: &str) -> Guest {
    let count = "(i32.store (i32.const 216) (i32.add (i32.load (i32.const 216)) (i32.const 1)))";
    Guest::new(module).value(0).before_collect(count)
}

/// No tick was left out, and none came twice.
fn assert_no_gaps(agent: &Agent) {
    let missed = |sample: &Sample| sample["agent"]["missed_ticks_total"].as_u64().expect("a number");
    let index = |sample: &Sample| {
        let interval = sample["agent"]["interval"].as_f64().expect("a number");
        (sample["agent"]["timestamp"].as_f64().expect("a number") / interval).round() as u64
    };
    for pair in agent.seen().windows(2) {
        let skipped = missed(&pair[1]) - missed(&pair[0]);
        assert_eq!(index(&pair[1]), index(&pair[0]) + 1 + skipped, "{}", agent.log());
    }
}

#[test]
fn file_changes_take_effect_within_two_ticks() {
    let host = Host::new();
    let mut agent = host.start(&["--interval", "1s"]);
    agent.next();
    counting("dropped").install(&host.plugin("dropped.wasm"));
    let samples = [agent.next(), agent.next()];
    assert!(value(&samples[1], "dropped").is_some(), "{}", agent.log());
    fs::remove_file(host.plugin("dropped.wasm")).expect("removed");
    let samples = [agent.next(), agent.next()];
    assert!(value(&samples[1], "dropped").is_none(), "{}", agent.log());
    assert!(about(&samples[1], "plugin_up", "dropped").is_none());
    assert!(agent.log().contains("plugin dropped is removed: plugins/dropped.wasm is gone"));
    assert_no_gaps(&agent);
}

#[test]
fn new_version_takes_over_without_a_gap() {
    let host = Host::new();
    counting("steady").install(&host.plugin("steady.wasm"));
    Guest::new("changing").version("1.0.0").value(100).install(&host.plugin("changing.wasm"));
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "changing") == Some(100.into()) && value(sample, "steady").is_some());
    let from = agent.seen().len();
    Guest::new("changing").version("2.0.0").value(200).install(&host.plugin("changing.wasm"));
    agent.wait(|sample| value(sample, "changing") == Some(200.into()));

    let values: Vec<u64> = agent.seen()[from..]
        .iter()
        .map(|sample| value(sample, "changing").expect("always there").as_u64().expect("a number"))
        .collect();
    assert!(values.is_sorted() && values.iter().all(|value| [100, 200].contains(value)), "{values:?}");
    let counts: Vec<u64> = agent.seen().iter().filter_map(|sample| value(sample, "steady")?.as_u64()).collect();
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "{counts:?}");
    assert!(agent.log().contains("takes the place of 1.0.0"), "{}", agent.log());
    assert_no_gaps(&agent);
}

#[test]
fn broken_version_never_displaces_a_working_one() {
    let host = Host::new();
    counting("good").install(&host.plugin("good.wasm"));
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "good").is_some());
    let before = agent.seen().len();

    let good = counting("good").module();
    install(&good[..good.len() / 2], &host.plugin("good.wasm"));
    agent.wait_log("is truncated; copy it again; the version before goes on");
    counting("good").configure("unreachable").install(&host.plugin("good.wasm"));
    agent.wait_log("fails: configure failed");
    counting("good").configure_error(0, "no such hardware").install(&host.plugin("good.wasm"));
    agent.wait_log("cannot work on this host: no such hardware; the version before goes on");
    counting("good").before_collect("unreachable").install(&host.plugin("good.wasm"));
    agent.wait_log("fails: collect failed");

    Guest::new("good").error(3, "nothing there").install(&host.plugin("good.wasm"));
    agent.wait_log("has nothing to measure: nothing there; the version before goes on; it is tried again");

    // What says that it cannot work here, or not now, has not failed.
    let sample = agent.wait(|sample| faults(sample, "good", "load") >= 3.0);
    assert_eq!(faults(&sample, "good", "load"), 3.0, "{}", agent.log());
    assert_eq!(about(&sample, "plugin_up", "good"), Some(1.0));
    let counts: Vec<u64> = agent.seen()[before..]
        .iter()
        .map(|sample| value(sample, "good").expect("never absent").as_u64().expect("a number"))
        .collect();
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "one and the same instance: {counts:?}");
    assert_eq!(agent.log().matches("is truncated").count(), 1, "one attempt: {}", agent.log());

    Guest::new("good").version("3.0.0").value(1_000_000).install(&host.plugin("good.wasm"));
    agent.wait(|sample| value(sample, "good") == Some(1_000_000.into()));
    assert_no_gaps(&agent);
}

#[test]
fn file_written_in_chunks_loads_when_complete() {
    let host = Host::new();
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.next();
    let module = counting("chunks").module();
    let mut file = fs::File::create(host.plugin("chunks.wasm")).expect("created");
    for chunk in module.chunks(module.len().div_ceil(10)) {
        file.write_all(chunk).expect("written");
        file.sync_all().expect("synced");
        agent.next();
    }
    agent.wait(|sample| value(sample, "chunks").is_some());
    assert!(!agent.log().contains("truncated"), "{}", agent.log());
}

#[test]
fn swapped_symbolic_link_loads_the_new_target() {
    let host = Host::new();
    let publish = |name: &str, number: u32| {
        fs::create_dir(host.plugin(name)).expect("created");
        Guest::new("linked").value(number).install(&host.plugin(name).join("linked.wasm"));
        let next = host.plugin("..data_next");
        symlink(name, &next).expect("linked");
        fs::rename(&next, host.plugin("..data")).expect("swapped");
    };
    publish("..1", 1);
    symlink("..data/linked.wasm", host.plugin("linked.wasm")).expect("linked");
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "linked") == Some(1.into()));
    publish("..2", 2);
    agent.wait(|sample| value(sample, "linked") == Some(2.into()));
}

#[test]
fn last_of_many_replacements_is_served() {
    let host = Host::new();
    let mut agent = host.start(&["--interval", "100ms"]);
    for number in 0..60 {
        Guest::new("swapped").value(number).install(&host.plugin("swapped.wasm"));
        if number % 7 == 0 {
            fs::remove_file(host.plugin("swapped.wasm")).expect("removed");
        }
        if number % 10 == 0 {
            agent.next();
        }
    }
    agent.wait(|sample| value(sample, "swapped") == Some(59.into()));
    // And that is not passed through on the way to another one.
    for _ in 0..5 {
        assert_eq!(value(&agent.next(), "swapped"), Some(59.into()));
    }
}

#[test]
fn identical_content_is_not_loaded_again() {
    let host = Host::new();
    counting("same").install(&host.plugin("same.wasm"));
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "same").is_some());
    counting("same").install(&host.plugin("same.wasm"));
    Guest::new("after").install(&host.plugin("after.wasm"));
    agent.wait(|sample| value(sample, "after").is_some());
    let counts: Vec<u64> = agent.seen().iter().filter_map(|sample| value(sample, "same")?.as_u64()).collect();
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "{counts:?}");
    assert_eq!(agent.log().matches("plugin same").count(), 1, "{}", agent.log());
}

#[test]
fn plugins_directory_created_later_is_found() {
    let host = Host::new();
    fs::remove_dir(host.path("plugins")).expect("removed");
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait_log("failed to read the plugins directory plugins: No such file or directory (os error 2); create it, or name another with --plugins");
    agent.next();
    fs::create_dir(host.path("plugins")).expect("created");
    Guest::new("late").install(&host.plugin("late.wasm"));
    agent.wait(|sample| value(sample, "late").is_some());
    assert_eq!(agent.log().matches("failed to read the plugins directory").count(), 1, "{}", agent.log());
}

#[test]
fn missing_plugins_directory_keeps_plugins_running() {
    let host = Host::new();
    Guest::new("kept").install(&host.plugin("kept.wasm"));
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "kept").is_some());
    fs::rename(host.path("plugins"), host.path("moved")).expect("moved");
    agent.wait_log("failed to read the plugins directory");
    assert!(value(&agent.next(), "kept").is_some());
    fs::rename(host.path("moved"), host.path("plugins")).expect("moved back");
    fs::remove_file(host.plugin("kept.wasm")).expect("removed");
    agent.wait(|sample| value(sample, "kept").is_none());
}

#[test]
fn recreated_plugins_directory_is_watched_again() {
    let host = Host::new();
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.next();
    for round in 0..3 {
        fs::remove_dir_all(host.path("plugins")).expect("removed");
        fs::create_dir(host.path("plugins")).expect("created");
        Guest::new("anew").value(round).install(&host.plugin("anew.wasm"));
        agent.wait(|sample| value(sample, "anew") == Some(round.into()));
    }
}

#[test]
fn plugin_with_long_interval_is_sampled_at_once() {
    let host = Host::configured("interval = \"200ms\"\n[plugins.rare]\ninterval = \"1h\"\n");
    let mut agent = host.start(&[]);
    agent.next();
    for version in 1..3 {
        Guest::new("rare").value(version).install(&host.plugin("rare.wasm"));
        agent.wait(|sample| value(sample, "rare") == Some(version.into()));
        let sample = agent.next();
        assert_eq!(about(&sample, "plugin_up", "rare"), Some(1.0));
        assert_eq!(value(&sample, "rare"), None, "it is not due again");
    }
}

#[test]
fn hanging_version_does_not_delay_its_replacement() {
    let host = Host::configured("interval = \"200ms\"\n[plugins.hangs]\ntimeout = \"20s\"\n");
    // It does well in its trial, and hangs at its first tick.
    let once = "(if (i32.load (i32.const 1000)) (then (loop $forever (br $forever))))
                (i32.store (i32.const 1000) (i32.const 1))";
    Guest::new("hangs").before_collect(once).install(&host.plugin("hangs.wasm"));
    let mut agent = host.start(&[]);
    agent.wait(|sample| about(sample, "plugin_skipped_total", "hangs") >= Some(1.0));
    Guest::new("hangs").version("2.0.0").value(2).install(&host.plugin("hangs.wasm"));
    agent.wait(|sample| value(sample, "hangs") == Some(2.into()));
    assert!(!agent.log().contains("took longer"), "the first is still at it: {}", agent.log());
    // And its fault is counted in the end.
    agent.wait(|sample| faults(sample, "hangs", "timeout") >= 1.0);
    let fault = "), which was replaced: collect took longer than its timeout of 20s (timeout)";
    let is_its = |line: &&String| line.contains("plugin hangs 1.0.0 (") && line.ends_with(fault);
    assert_eq!(agent.log_of("hangs").iter().filter(is_its).count(), 1, "{}", agent.log());
}

#[test]
fn failing_version_does_not_displace_an_unavailable_one() {
    let host = Host::new();
    Guest::new("rests").error(3, "the service is down").install(&host.plugin("rests.wasm"));
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait_log("plugin rests: not available: the service is down");
    Guest::new("rests").version("2.0.0").before_collect("unreachable").install(&host.plugin("rests.wasm"));
    agent.wait_log("fails: collect failed");
    agent.wait_log("the version before goes on");
    assert!(!agent.log().contains("takes the place"), "{}", agent.log());
}

#[test]
fn unavailable_version_takes_over_once_available() {
    let host = Host::new();
    Guest::new("late").value(1).install(&host.plugin("late.wasm"));
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "late") == Some(1.into()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after the epoch");
    let second = Guest::new("late").version("2.0.0").value(2).unavailable_until(now.as_millis() + 4000);
    second.install(&host.plugin("late.wasm"));
    agent.wait_log("has nothing to measure: not yet; the version before goes on; it is tried again");
    // Put there once more it is the same content, and is tried again all the same.
    second.install(&host.plugin("late.wasm"));
    agent.wait(|sample| value(sample, "late") == Some(2.into()));
    assert_eq!(agent.log().matches("has nothing to measure").count(), 1, "{}", agent.log());
}

#[test]
fn file_broken_again_is_reported_again() {
    let host = Host::new();
    let good = Guest::new("twice").module();
    install(&good, &host.plugin("twice.wasm"));
    let mut agent = host.start(&["--interval", "100ms"]);
    agent.wait(|sample| value(sample, "twice").is_some());
    for round in 1..=2 {
        install(&good[..100], &host.plugin("twice.wasm"));
        agent.wait(|sample| faults(sample, "twice", "load") == f64::from(round));
        install(&good, &host.plugin("twice.wasm"));
        // Nothing tells that it is back but what happens to another one meanwhile.
        Guest::new("other").value(round).install(&host.plugin("other.wasm"));
        agent.wait(|sample| value(sample, "other") == Some(round.into()));
    }
    assert_eq!(agent.log().matches("is truncated").count(), 2, "{}", agent.log());
}
