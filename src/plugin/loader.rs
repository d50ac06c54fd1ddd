//! The loads of plugin files, and the trials of new configurations, that are under way.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{AbortHandle, Id, JoinSet};

use crate::config::AgentLimits;
use crate::plugin::build::sealed::Hash;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::engine::Engine;
use crate::plugin::guest_thread::heartbeat::{Heartbeat, Observed};
use crate::plugin::guest_thread::setup::Setup;
use crate::plugin::load::{FileLoad, LoadResources};
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::supervisor::{ConfigurationTrial, JobOutcome};

/// Loads plugin files.
pub(crate) struct Loader {
    heartbeat: Arc<Heartbeat>,
    resources: LoadResources,
    tasks: JoinSet<JobOutcome>,
    running: HashMap<Id, (Arc<str>, AbortHandle)>,
}

impl Loader {
    pub(crate) fn new(setup: &Setup, engine: Engine, pool: OffloadPool, heartbeat: Arc<Heartbeat>) -> Self {
        let resources = LoadResources::new(&setup.config, engine, pool, &setup.loads);
        Self { heartbeat, resources, tasks: JoinSet::new(), running: HashMap::new() }
    }

    /// Follows other limits.
    pub(crate) fn set_limits(&mut self, limits: AgentLimits) {
        self.resources.set_limits(limits);
    }

    /// The zero of the guests' clock.
    pub(crate) fn clock(&self) -> Instant {
        self.resources.clock
    }

    /// Whether no load is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Starts to load a plugin's file. A content with one of these hashes is not loaded again. `id` is by which the heartbeat shows the
    /// plugin.
    pub(crate) fn start(&mut self, id: u32, plugin: PluginContext, path: PathBuf, known_hashes: [Option<Hash>; 2]) {
        let name = Arc::clone(&plugin.name);
        let load = FileLoad { resources: self.resources.clone(), plugin, path, known_hashes };
        self.spawn(id, name, async { JobOutcome::Loaded(load.run().await) });
    }

    /// Starts to try a plugin's version with a new configuration.
    pub(crate) fn start_trial(&mut self, id: u32, trial: ConfigurationTrial) {
        let (name, clock) = (Arc::clone(&trial.plugin.name), self.clock());
        self.spawn(id, name, trial.run(clock));
    }

    fn spawn(&mut self, id: u32, plugin: Arc<str>, job: impl Future<Output = JobOutcome> + Send + 'static) {
        let job = Observed::new(&self.heartbeat, id, Box::pin(job));
        let task = self.tasks.spawn(async { job.await.0 });
        self.running.insert(task.id(), (plugin, task));
    }

    /// Waits for the next load that ends; for ever when none is under way. None for a plugin that was removed. Cancellation
    /// safe.
    pub(crate) async fn next(&mut self) -> Option<(Arc<str>, JobOutcome)> {
        let Some(joined) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let (id, outcome) = joined.unwrap_or_else(|error| (error.id(), JobOutcome::Panicked(error.to_string())));
        let (plugin, _) = self.running.remove(&id)?;
        Some((plugin, outcome))
    }

    /// Ends the load of a removed plugin.
    pub(crate) fn forget(&mut self, plugin: &str) {
        for (_, (_, task)) in self.running.extract_if(|_, (name, _)| **name == *plugin) {
            task.abort();
        }
    }
}
