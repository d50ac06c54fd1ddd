//! Guest threads that hang: native metrics go on, another thread takes over the other plugins, and the plugin that hung comes
//! back, or does not. The kernel's files of the measured host are on a mount that does not respond.

use std::fs;

use crate::capabilities::{FILE_TIMEOUT, file_guest_as};
use crate::fuse::{ServedMount, Service};
use crate::guest::{Guest, HOST_RESULT};
use crate::harness::{Agent, Sample, Setup, fault_count, plugin_metric, value};
use crate::namespaces::{Refused, run_in_namespaces};
use crate::run::assert_ends_in_time;
use crate::slow::{link_to_mount, setup_with_mounted};
use crate::status;

/// Files of different kinds, which no native collector reads. The guest thread reads them itself until their kind was found slow.
const FILES: [&str; 3] = ["proc/diskstats", "proc/pressure/cpu", "proc/1/net/dev"];

/// A measured host with these files on a mount, and the plugin `able`, which reads none of them.
fn setup(plugins: &[&str]) -> Result<(Setup, ServedMount), Refused> {
    let (setup, mount) = setup_with_mounted(FILES[0], "content\n", Service::Responds)?;
    for file in &FILES[1..] {
        link_to_mount(&setup, file);
    }
    let table = |name: &&str| format!("[plugins.{name}]\ntimeout = \"500ms\"\nread = [\"/remote/*\"]\n");
    let tables: String = plugins.iter().map(table).collect();
    fs::write(setup.path("gauged.toml"), format!("interval = \"200ms\"\n{tables}")).expect("written");
    Guest::new("able").install(&setup.plugin("able.wasm"));
    Ok((setup, mount))
}

fn restarts(sample: &Sample) -> Option<f64> {
    sample["agent"]["guest_thread_restarts_total"].as_f64()
}

/// How often a test is tried. On a busy machine a read may be slow before it hangs, and then is not made on the guest thread any more.
const ATTEMPTS: usize = 5;

/// Tries a test until it has hung guest threads. An attempt returns whether it has.
fn try_repeatedly(attempt: impl Fn() -> Result<bool, Refused>) -> Result<(), Refused> {
    for _ in 0..ATTEMPTS {
        if attempt()? {
            return Ok(());
        }
    }
    panic!("in each of {ATTEMPTS} attempts a file was read slowly before it hung");
}

/// Waits for this line about a thread that hangs in a plugin, and asserts that native samples went on. Returns whether the line
/// came: it does not if more than so many operations of the plugin hang on the offload pool.
fn hangs(agent: &mut Agent, line: &str, plugin: &str, offloaded: f64) -> bool {
    while !agent.log().contains(line) {
        let sample = agent.next();
        assert!(sample.get("memory").is_some_and(|memory| !memory.is_empty()), "{sample:?}");
        if plugin_metric(&sample, "plugin_stuck_operations", plugin) > Some(offloaded) {
            return false;
        }
    }
    agent.assert_no_gaps();
    true
}

/// Waits until a thread that hangs in this plugin was abandoned.
fn is_abandoned(agent: &mut Agent, plugin: &str) -> bool {
    hangs(agent, &format!("ERROR guest thread abandoned plugin={plugin} "), plugin, 0.0)
}

#[test]
fn hung_plugin_returns_on_another_thread() {
    let attempt = || {
        let (setup, mount) = setup(&["hangs"])?;
        file_guest_as("hangs", "read", &format!("/{}", FILES[0])).install(&setup.plugin("hangs.wasm"));
        let mut agent = setup.start(&["--root", "host"]);
        let is_read = |sample: &Sample| value(sample, "hangs") == Some("content\n".into());
        let before = agent.wait(|sample| is_read(sample) && value(sample, "able").is_some());
        assert_eq!(restarts(&before), Some(0.0));
        mount.set(Service::HangsInReads);
        if !is_abandoned(&mut agent, "hangs") {
            return Ok(false);
        }

        // Its kind of file is read on the offload pool now.
        let sample =
            agent.wait(|sample| value(sample, "able").is_some() && value(sample, "hangs") == Some(FILE_TIMEOUT.into()));
        assert_eq!(restarts(&sample), Some(1.0), "{sample:?}");
        assert!(sample["agent"]["skipped_rounds_total"].as_f64() > Some(100.0), "{sample:?}");
        assert_eq!(fault_count(&sample, "hangs", "stuck"), 1.0, "{sample:?}");
        assert_eq!(plugin_metric(&sample, "plugin_faults_total", "able"), Some(0.0));
        // The thread that hangs has an instance of each plugin, too.
        let memory = |sample: &Sample, plugin: &str| plugin_metric(sample, "plugin_memory_bytes", plugin);
        for plugin in ["able", "hangs"] {
            assert_eq!(memory(&sample, plugin), memory(&before, plugin).map(|bytes| 2.0 * bytes), "{sample:?}");
        }
        mount.set(Service::Responds);
        let is_released =
            |sample: &Sample| ["able", "hangs"].iter().all(|plugin| memory(sample, plugin) == memory(&before, plugin));
        agent.wait(|sample| is_read(sample) && is_released(sample));
        assert_eq!(agent.log().matches("guest thread abandoned").count(), 1, "{}", agent.log());
        assert_ends_in_time(agent);
        Ok(true)
    };
    run_in_namespaces("abandonment::hung_plugin_returns_on_another_thread", || try_repeatedly(attempt));
}

#[test]
fn status_answers_while_the_guest_thread_hangs() {
    let attempt = || {
        let (setup, mount) = setup(&["hangs"])?;
        fs::create_dir(setup.path("run")).expect("created");
        file_guest_as("hangs", "read", &format!("/{}", FILES[0])).install(&setup.plugin("hangs.wasm"));
        let mut agent = setup.start(&["--root", "host"]);
        agent.wait(|sample| ["able", "hangs"].iter().all(|plugin| value(sample, plugin).is_some()));
        let is_up = |status: &serde_json::Value| status::plugin(status, "hangs")["state"] == "up";
        status::wait_status(&setup, &agent, "both plugins", is_up);
        mount.set(Service::HangsInReads);
        // The thread is abandoned after 30 s.
        let hangs = |status: &serde_json::Value| status["plugins"]["is_responding"] == false;
        let is_offloaded =
            |agent: &mut Agent| plugin_metric(&agent.next(), "plugin_stuck_operations", "hangs") > Some(0.0);
        loop {
            if is_offloaded(&mut agent) {
                return Ok(false);
            }
            let output = setup.run(&["status", "--json"]);
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            if hangs(&status) {
                assert_eq!(output.status.code(), Some(1));
                assert!(is_up(&status) && status["plugins"]["age_seconds"].as_f64() > Some(3.0), "{status:#}");
                assert!(status["agent"]["tick"]["age_seconds"].as_f64() < Some(3.0), "{status:#}");
                break;
            }
        }
        let text = String::from_utf8(setup.run(&["status"]).stdout).expect("text");
        assert!(text.contains("! plugins: the thread that calls plugins does not respond; "), "{text}");
        if !is_abandoned(&mut agent, "hangs") {
            return Ok(false);
        }
        let has_fault = |status: &serde_json::Value| {
            status["plugins"]["is_responding"] == true && status["plugins"]["guest_thread_restarts_total"] == 1
        };
        status::wait_status(&setup, &agent, "another thread", has_fault);
        assert_ends_in_time(agent);
        Ok(true)
    };
    run_in_namespaces("abandonment::status_answers_while_the_guest_thread_hangs", || try_repeatedly(attempt));
}

#[test]
fn third_hung_thread_is_the_last() {
    let attempt = || {
        let (setup, mount) = setup(&["hangs", "other"])?;
        // It reads the second file once the first one is read on the offload pool.
        let mut guest = file_guest_as("hangs", "read", &format!("/{}", FILES[0]));
        let (at, length) = guest.text(&format!("/{}", FILES[1]));
        let second = format!("(call $call (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))");
        guest.before_collect(&second).install(&setup.plugin("hangs.wasm"));
        file_guest_as("other", "read", &format!("/{}", FILES[2])).install(&setup.plugin("other.wasm"));
        let mut agent = setup.start(&["--root", "host"]);
        agent.wait(|sample| ["able", "hangs", "other"].iter().all(|plugin| value(sample, plugin).is_some()));
        mount.set(Service::HangsInReads);
        // The first file of the one is read on the offload pool by then.
        let is_third = is_abandoned(&mut agent, "hangs")
            && is_abandoned(&mut agent, "other")
            && hangs(&mut agent, "ERROR guest threads given up ", "hangs", 1.0);
        if !is_third {
            return Ok(false);
        }
        let line = agent.wait_log_lines("ERROR guest threads given up ", 1).remove(0);
        assert!(line.contains("plugins=\"hangs, other\""), "{line}");
        for _ in 0..5 {
            let sample = agent.next();
            assert!(value(&sample, "able").is_none() && sample.contains_key("cpu"), "{sample:?}");
            assert_eq!(restarts(&sample), Some(2.0), "{sample:?}");
        }
        agent.assert_no_gaps();
        assert_ends_in_time(agent);
        Ok(true)
    };
    run_in_namespaces("abandonment::third_hung_thread_is_the_last", || try_repeatedly(attempt));
}
