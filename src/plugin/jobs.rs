//! The loads and calls that are under way, each with its plugin, and the number of calls that the open round waits for.

use std::collections::HashMap;

use tokio::task::{AbortHandle, Id};

/// The tasks of all loads and calls.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    tasks: HashMap<Id, Job>,
    /// How many ticks have called plugins.
    rounds: u64,
    /// The round whose sample is open.
    open: Option<u64>,
    /// How many calls of that round have not returned.
    outstanding: usize,
}

/// A load or a call that is under way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) plugin: String,
    pub(crate) kind: JobKind,
    task: AbortHandle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobKind {
    Load,
    /// A call of one version of the plugin, for one round.
    Call {
        generation: u64,
        round: u64,
    },
}

impl Jobs {
    pub(crate) fn begin_round(&mut self) {
        self.rounds += 1;
        self.open = Some(self.rounds);
    }

    /// Ends the round: the results of its outstanding calls are late.
    pub(crate) fn end_round(&mut self) {
        self.open = None;
        self.outstanding = 0;
    }

    /// How many calls of the open round have not returned.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub(crate) fn add_load(&mut self, plugin: &str, task: AbortHandle) {
        self.tasks.insert(task.id(), Job { plugin: plugin.to_owned(), kind: JobKind::Load, task });
    }

    /// Adds a call of the open round.
    pub(crate) fn add_call(&mut self, plugin: &str, generation: u64, task: AbortHandle) {
        let kind = JobKind::Call { generation, round: self.rounds };
        self.tasks.insert(task.id(), Job { plugin: plugin.to_owned(), kind, task });
        self.outstanding += 1;
    }

    /// Removes a job that has ended. Returns it with whether the open round waited for it; none when its plugin was removed.
    pub(crate) fn finish(&mut self, id: Id) -> Option<(Job, bool)> {
        let job = self.tasks.remove(&id)?;
        let is_awaited = job.is_of_round(self.open);
        self.outstanding -= usize::from(is_awaited);
        Some((job, is_awaited))
    }

    /// Forgets the jobs of a removed plugin: a plugin of the same name that comes later must not get their results.
    pub(crate) fn forget(&mut self, plugin: &str) {
        self.tasks.retain(|_, job| {
            let is_obsolete = job.plugin == plugin;
            if is_obsolete && job.kind == JobKind::Load {
                job.task.abort();
            }
            self.outstanding -= usize::from(is_obsolete && job.is_of_round(self.open));
            !is_obsolete
        });
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl Job {
    fn is_of_round(&self, wanted: Option<u64>) -> bool {
        matches!(self.kind, JobKind::Call { round, .. } if Some(round) == wanted)
    }
}
