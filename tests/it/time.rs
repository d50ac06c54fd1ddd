//! Time that passes while the agent does not run.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::guest::Guest;
use crate::harness::{Sample, Setup, value, wait_until};

fn milliseconds(sample: &Sample) -> u64 {
    (sample["agent"]["timestamp"].as_f64().expect("a number") * 1000.0).round() as u64
}

#[test]
fn stopped_agent_goes_on_at_the_present_moment() {
    let setup = Setup::with_config("interval = \"100ms\"\n");
    Guest::new("kept").install(&setup.plugin("kept.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "kept").is_some());
    for _ in 0..2 {
        let before = agent.next();
        agent.signal(Signal::STOP);
        let stopped = Instant::now();
        wait_until("some twenty ticks to pass", || stopped.elapsed() >= Duration::from_secs(2));
        agent.signal(Signal::CONT);
        let missed = |sample: &Sample| sample["agent"]["missed_ticks_total"].as_u64().expect("a number");
        let after = agent.wait(|sample| missed(sample) >= missed(&before) + 10);
        assert_eq!(after["agent"]["clock_steps_total"], 0, "no clock was set");
        agent.next();
    }
    let times: Vec<u64> = agent.samples().iter().map(milliseconds).collect();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "none repeats: {times:?}");
    let gaps = times.windows(2).filter(|pair| pair[1] - pair[0] >= 1000).count();
    assert!((2..=3).contains(&gaps), "one gap each time, and no sample within: {times:?}");
    for sample in agent.samples() {
        let shares = ["percent", "user", "system", "idle", "iowait"].map(|share| sample["cpu"][share].as_f64());
        assert!(shares.iter().flatten().all(|share| (0.0..=100.0).contains(share)), "{shares:?}");
    }
    agent.assert_never_absent("kept");
}
