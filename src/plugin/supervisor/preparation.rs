//! Configurations that a plugin is tried with before they take effect, so that all plugins which one reload changes follow it in one
//! step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::serving::{Candidate, Hold, Serving};
use super::work::{Job, Work};
use super::{Supervisor, VersionState};
use crate::plugin::context::PluginContext;

impl Supervisor {
    /// Tries a new configuration whose commit follows as a [`reconfigure`](Self::reconfigure). None where no version serves, since
    /// there is nothing to try.
    pub(crate) fn prepare(&mut self, plugin: PluginContext) -> Option<Job> {
        if self.is_in_effect(&plugin) {
            return None;
        }
        let plugin = PluginContext { accounts: Arc::clone(&self.plugin.accounts), ..plugin };
        let VersionState::Serving(serving) = &mut self.version else { return None };
        serving.candidate = Some(Box::new(Candidate::held(plugin)));
        self.next_for_candidate()
    }

    /// Whether a version serves with this configuration, and no other is being tried.
    pub(super) fn is_in_effect(&self, plugin: &PluginContext) -> bool {
        let is_idle = self.is_serving() && self.work == Work::None;
        is_idle && self.plugin.config == plugin.config && self.plugin.is_configured == plugin.is_configured
    }

    /// Whether a configuration is being prepared and has not been tried yet.
    pub(crate) fn is_preparing(&self) -> bool {
        self.candidate().is_some_and(|candidate| matches!(candidate.hold, Hold::Trying))
    }

    /// Whether the configuration that was prepared was rejected.
    pub(crate) fn has_rejected_preparation(&self) -> bool {
        self.candidate().is_some_and(|candidate| matches!(candidate.hold, Hold::Tried(Err(_))))
    }

    /// Whether the configuration that its file was last tried with was rejected: another reload tries it again.
    pub(crate) fn has_rejected_configuration(&self) -> bool {
        self.candidate().is_some_and(|candidate| candidate.rejection().is_some())
    }

    /// Whether a configuration waits for its commit.
    pub(crate) fn is_held(&self) -> bool {
        self.candidate().is_some_and(|candidate| !matches!(candidate.hold, Hold::None))
    }

    /// Whether this configuration waits for its commit.
    pub(super) fn is_prepared(&self, plugin: &PluginContext) -> bool {
        self.is_held()
            && self.candidate().is_some_and(|candidate| {
                candidate.plugin.config == plugin.config && candidate.plugin.is_configured == plugin.is_configured
            })
    }

    /// Puts the configuration that was prepared into effect, or has it take effect once it is tried. Returns the load of a file that
    /// was changed meanwhile.
    pub(super) fn commit(&mut self, now: Instant) -> Option<Job> {
        let VersionState::Serving(Serving { candidate: Some(candidate), .. }) = &mut self.version else { return None };
        let hold = std::mem::take(&mut candidate.hold);
        self.view.outdate();
        if let Hold::Tried(tried) = hold {
            self.conclude(tried, now);
        }
        let Work::Holding { then_load } = self.work else { return None };
        self.work = Work::None;
        self.status.reconfigured();
        (then_load || self.status.rejected().is_some()).then(|| self.begin_load())
    }

    /// Follows another interval of the agent, whichever configuration is in effect.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.view.outdate();
        self.plugin.set_interval(interval);
        if let VersionState::Serving(Serving { candidate: Some(candidate), .. }) = &mut self.version {
            candidate.plugin.set_interval(interval);
        }
    }
}
