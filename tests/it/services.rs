//! The plugins that measure services, inside the agent: against Debian's nginx, Redis and bus of messages, and against servers
//! that misbehave. A plugin of the tests' own runs beside them and must not be delayed.

mod json;
mod nginx;
mod redis;
mod systemd;
mod web;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::first_party::built;
use crate::guest::{Guest, install};
use crate::harness::{Agent, DEADLINE, Sample, Setup, fault_count, plugin_metric};
use crate::server::Server;

/// A server of Debian's that is running, until it is stopped or dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it, and waits until it accepts connections.
    pub fn start(command: Command, address: SocketAddr) -> Self {
        Self::start_until(command, || TcpStream::connect(address).is_ok())
    }

    /// Starts it, and waits until it is ready.
    pub fn start_until(mut command: Command, is_ready: impl Fn() -> bool) -> Self {
        let mut daemon = Self { child: command.spawn().expect("it starts") };
        let until = Instant::now() + DEADLINE;
        while !is_ready() {
            let ended = daemon.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none() && Instant::now() < until, "{command:?} is not ready: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("sent");
    }

    /// Suspends it: the system still accepts connections for it, and no request is answered.
    fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes it.
    fn resume(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that only this caller uses, with a free port: a server that is stopped and started again finds it
/// free, whatever other tests do meanwhile.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(100);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = [127, NEXT.fetch_add(1, Ordering::Relaxed), high, low.clamp(1, 254)];
    TcpListener::bind((std::net::Ipv4Addr::from(ip), 0)).expect("a port").local_addr().expect("bound")
}

/// A server that accepts connections and never responds.
pub fn silent() -> Server {
    Server::start(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// An agent with these plugins, and one of the tests' own called `good`.
pub fn host(plugins: &[&str], toml: &str) -> Setup {
    let setup = Setup::with_config(&format!("interval = \"200ms\"\n{toml}"));
    for plugin in plugins {
        install(&built(plugin), &setup.plugin(plugin).with_extension("wasm"));
    }
    Guest::new("good").install(&setup.plugin("good.wasm"));
    setup
}

/// A metric, as `module.metric`, with these labels.
pub fn metric<'a>(sample: &'a Sample, metric: &str, labels: &str) -> Option<&'a Value> {
    let (module, name) = metric.split_once('.').expect("module.metric");
    sample.get(module)?.get(&format!("{name}{{{labels}}}"))
}

/// The same as a number.
pub fn number(sample: &Sample, name: &str, labels: &str) -> f64 {
    let found = metric(sample, name, labels).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{name}{{{labels}}} in {sample:?}"))
}

/// Waits until a service is up, or down for this reason.
pub fn wait_for(agent: &mut Agent, module: &str, labels: &str, failure: Option<&str>) -> Sample {
    agent.wait(|sample| {
        let is_up = metric(sample, &format!("{module}.up"), labels);
        let why = metric(sample, &format!("{module}.failure"), labels).and_then(Value::as_str);
        is_up == Some(&Value::Bool(failure.is_none())) && why == failure
    })
}

/// Asserts that these plugins are up without faults of their own, and that the plugin beside them was not delayed.
pub fn assert_well(agent: &mut Agent, plugins: &[&str]) {
    let sample = agent.wait(|sample| plugins.iter().all(|plugin| sample.contains_key(*plugin)));
    for plugin in plugins {
        assert_eq!(plugin_metric(&sample, "plugin_up", plugin), Some(1.0), "{}", agent.log());
        for kind in ["timeout", "trap"] {
            assert_eq!(fault_count(&sample, plugin, kind), 0.0, "{}", agent.log());
        }
    }
    agent.assert_undisturbed(&["good"]);
}
