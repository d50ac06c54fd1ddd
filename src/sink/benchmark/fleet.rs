//! The sinks of many hosts in one process, each as its agent has them: with senders, spools and a state directory of its own. What
//! agents have besides is not here: hosts share a delivery thread, and somebody else makes the samples.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};

use super::super::sender::loss::Loss;
use super::super::sinks::Sinks;
use crate::config::Config;
use crate::local_tasks::{LocalTasks, local_tasks};
use crate::sample::Sample;
use crate::state_directory::StateDirectory;
use crate::thread::start;

/// The sinks of all hosts.
#[derive(Debug)]
pub struct Fleet {
    hosts: Vec<Sinks>,
    /// Those of the hosts.
    states: Vec<StateDirectory>,
    tasks: LocalTasks,
}

/// The state of all sinks together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetState {
    /// The points that receivers have taken.
    pub delivered_points: u64,
    /// The points that were dropped, whatever the reason.
    pub dropped_points: u64,
    /// The samples that were dropped.
    pub dropped_samples: u64,
    /// The requests that were sent, and the bytes of their bodies.
    pub requests: u64,
    /// The bytes of their bodies.
    pub sent_bytes: u64,
    /// The samples that wait, in memory or in a spool.
    pub waiting_samples: u64,
    /// The sinks that have any.
    pub sinks_behind: usize,
    /// The bytes in spools.
    pub spool_bytes: u64,
}

impl Fleet {
    /// A fleet without hosts.
    ///
    /// # Errors
    ///
    /// When its thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let (tasks, receiver) = local_tasks();
        start("delivery", move || {
            // Without a runtime it takes no task.
            if let Ok(runtime) = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                runtime.block_on(receiver.run());
            }
        })?;
        Ok(Self { hosts: Vec::new(), states: Vec::new(), tasks })
    }

    /// Adds a host with the sinks of this configuration, and starts them.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, or the delivery thread has too much to do: then the host is to be added once more.
    pub fn add(&mut self, config: &Config) -> io::Result<()> {
        let output = File::options().write(true).open("/dev/null")?;
        let state = StateDirectory::new(config.state_directory.clone());
        let mut sinks = Sinks::new(config, output, &self.tasks, &state)?;
        sinks.start_threads()?;
        self.hosts.push(sinks);
        self.states.push(state);
        Ok(())
    }

    /// Hands a sample to the sinks of a host.
    ///
    /// # Panics
    ///
    /// When there is no such host.
    pub fn put(&mut self, host: usize, sample: &Arc<Sample>) {
        self.hosts[host].put(sample);
    }

    /// The state of all sinks.
    #[must_use]
    pub fn state(&self) -> FleetState {
        let mut sum = FleetState::default();
        for statistics in self.hosts.iter().flat_map(Sinks::statistics) {
            let (network, behind) = (statistics.network(), statistics.network().behind());
            sum.delivered_points += network.delivered_points();
            sum.dropped_points += Loss::ALL.iter().map(|loss| network.lost_points(*loss)).sum::<u64>();
            sum.requests += network.requests();
            sum.sent_bytes += network.sent_bytes();
            sum.waiting_samples += behind.samples;
            sum.sinks_behind += usize::from(behind.samples > 0);
            sum.spool_bytes += behind.spool_bytes;
        }
        sum.dropped_samples = self.hosts.iter().map(Sinks::dropped).sum();
        sum
    }

    /// Ends all sinks, each within this time. Returns how many hosts have a sink that did not end.
    pub async fn end(self, patience: Duration) -> usize {
        let mut late = 0;
        for (sinks, state) in self.hosts.into_iter().zip(self.states) {
            let end = sinks.end(patience).await;
            late += usize::from(!end.late.is_empty());
            if end.is_kept {
                state.end();
            }
        }
        late
    }
}
