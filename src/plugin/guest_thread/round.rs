//! A round: the request of a tick to call the plugins that are due, and the plugins' part of the sample.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::schedule::Tick;
use crate::sample::{Module, ModulePart, Sample, Text};
use crate::status::PluginList;

/// The request of a tick.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) tick: Tick,
    /// When the part is sent without the results that are missing. None: when all calls have returned.
    pub(crate) until: Option<Instant>,
    /// How many ticks before this one had no round because the last one was still open.
    pub(crate) skipped: u64,
    /// The part of an earlier round, whose memory is used again. Its modules are released by the guest thread, which has
    /// allocated them.
    pub(crate) spent: Box<Part>,
}

/// The plugins' part of a sample.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The tick of its round.
    pub(crate) tick: Duration,
    /// The newest results. No name occurs twice.
    pub(crate) modules: Vec<Arc<Module>>,
    /// Results that arrived late, beside newer ones of their plugins.
    pub(crate) superseded: Vec<Arc<Module>>,
    /// The modules that are no latest result, since the last call of their plugin failed.
    pub(crate) stale: Vec<Text>,
    /// The latest result of each plugin, new or not.
    pub(crate) latest: Vec<Latest>,
    /// The agent's metrics about plugins.
    pub(crate) about: Option<ModulePart>,
    /// The plugins in the status of the agent; none from a thread that serves none yet.
    pub(crate) list: Option<Arc<PluginList>>,
}

/// A module of the latest result of its plugin.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    pub(crate) module: Arc<Module>,
    /// The tick of the sample that it was new in.
    pub(crate) since: Duration,
}

/// How many of a plugin's steps without a result remove its latest one.
const KEPT_STEPS: u32 = 2;

impl Latest {
    /// Whether it is still the latest result at a tick: for two steps. Not when the clock was set back, either: then the result
    /// is of the future.
    pub(crate) fn is_current(&self, tick: Duration) -> bool {
        tick.abs_diff(self.since) < self.module.step().saturating_mul(KEPT_STEPS)
    }
}

impl Part {
    /// Releases all modules, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.modules.clear();
        self.superseded.clear();
        self.stale.clear();
        self.latest.clear();
        self.list = None;
    }

    /// Moves the results into a sample.
    pub(crate) fn move_into(&mut self, sample: &mut Sample) {
        sample.modules.append(&mut self.modules);
        sample.superseded.append(&mut self.superseded);
        sample.stale.append(&mut self.stale);
    }

    /// Moves the results into a sample that already has newer ones, as those of a round that ended after its tick.
    pub(crate) fn move_beside(&mut self, sample: &mut Sample) {
        sample.superseded.append(&mut self.superseded);
        for module in self.modules.drain(..) {
            if sample.modules.iter().any(|newer| newer.name() == module.name()) {
                sample.superseded.push(module);
            } else {
                let is_stale = |stale: &&Text| **stale == *module.name();
                sample.stale.extend(self.stale.iter().find(is_stale).cloned());
                sample.modules.push(module);
            }
        }
    }
}

/// The outcome of the first loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The enabled plugins with a table in the configuration that serve no version, and the directory or its entries when they
    /// do not respond. A plugin that this host has nothing for is not missing.
    pub missing: Vec<String>,
    /// Whether every file was loaded or rejected.
    pub is_complete: bool,
}
