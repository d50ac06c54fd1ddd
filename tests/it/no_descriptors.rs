//! Hosts that have run out of descriptors: what is loaded goes on, and new plugins are loaded once there are some.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::guest::Guest;
use crate::harness::{Agent, Setup, value};

/// Standard input, output and error: no further descriptor can be opened.
const NO_MORE: u64 = 3;

fn limit_descriptors(agent: &Agent, current: Option<u64>) {
    let pid = Pid::from_raw(agent.pid().cast_signed());
    prlimit(pid, Resource::Nofile, Rlimit { current, ..getrlimit(Resource::Nofile) }).expect("limited");
}

#[test]
fn plugin_is_loaded_once_descriptors_are_back() {
    let setup = Setup::with_config("interval = \"500ms\"\n");
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    limit_descriptors(&agent, Some(NO_MORE));
    Guest::new("late").install(&setup.plugin("late.wasm"));
    let parts = [
        " WARN plugins directory not readable directory=plugins reason=\"Too many open files (os error 24): reached ",
        "on open files (RLIMIT_NOFILE)\"",
        "remedy=\"raise LimitNOFILE of the unit, or ulimit -n; it is scanned again every second\"",
    ];
    agent.wait_log_for("the limit and its remedy", |log| {
        log.lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
    });
    // Several more attempts.
    for _ in 0..8 {
        assert_eq!(value(&agent.next(), "late"), None);
    }
    limit_descriptors(&agent, getrlimit(Resource::Nofile).current);
    agent.wait(|sample| value(sample, "late").is_some());
    agent.wait_log("plugins directory readable again");
    let log = agent.log();
    assert_eq!(log.matches("plugins directory not readable").count(), 1, "no line for each attempt\n{log}");
    assert!(!log.contains("plugin rejected") && !log.contains("plugin removed"), "{log}");
    agent.assert_undisturbed(&["good"]);
}
