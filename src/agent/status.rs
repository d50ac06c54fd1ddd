//! Publishes the agent's view of itself, once per tick. What it publishes are references: a tick allocates nothing.

use std::path::{PathBuf, absolute};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::schedule::wall_clock;
use crate::collector::FileProblem;
use crate::collector::native::{NATIVE, Natives};
use crate::config::Config;
use crate::plugin::Plugins;
use crate::sample::Sample;
use crate::status::{AgentFacts, CollectorProblem, Problem, Settings, SinkView, Slot, TickView};

/// Publishes the view.
pub(super) struct StatusPublisher {
    slot: Arc<Slot>,
    longest_delay: Duration,
    /// The problems of native collectors that are published, and what they were made of.
    problems: Arc<[CollectorProblem]>,
    basis: Vec<(&'static str, Arc<FileProblem>)>,
}

impl StatusPublisher {
    pub(super) fn new(config: &Config) -> Self {
        let facts = AgentFacts {
            version: env!("CARGO_PKG_VERSION"),
            pid: process::id(),
            started: wall_clock(),
            began: Instant::now(),
            settings: settings(config),
        };
        Self {
            slot: Arc::new(Slot::new(facts)),
            longest_delay: Duration::ZERO,
            problems: Arc::default(),
            basis: Vec::new(),
        }
    }

    /// Follows another configuration.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.slot.set_settings(settings(config));
    }

    /// Where the view is published.
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Records how much later than scheduled a tick began.
    pub(super) fn record_delay(&mut self, delay: Duration) {
        self.longest_delay = self.longest_delay.max(delay);
    }

    /// Publishes a tick by its sample. `configuration` has the problems of the last reload.
    pub(super) fn publish(
        &mut self,
        sample: &Arc<Sample>,
        natives: &Natives,
        plugins: &Plugins,
        sinks: &Arc<[SinkView]>,
        configuration: &Arc<[Problem]>,
    ) {
        self.update_problems(natives);
        self.slot.publish(TickView {
            sample: Arc::clone(sample),
            published: Instant::now(),
            longest_delay: self.longest_delay,
            collector_problems: Arc::clone(&self.problems),
            configuration_problems: Arc::clone(configuration),
            sinks: Arc::clone(sinks),
            plugins: plugins.view(),
        });
    }

    /// Makes the problems of native collectors again if there are others.
    fn update_problems(&mut self, natives: &Natives) {
        let is_known = |((name, problem), (known_name, known)): ((&str, &Arc<FileProblem>), &(&str, Arc<_>))| {
            name == *known_name && Arc::ptr_eq(problem, known)
        };
        if natives.problems().count() == self.basis.len() && natives.problems().zip(&self.basis).all(is_known) {
            return;
        }
        let since = |name: &str, reason: &str| {
            let known = self.problems.iter().find(|known| known.collector == name && known.reason == reason);
            known.map_or_else(wall_clock, |known| known.since)
        };
        let problems = natives.problems().map(|(name, problem)| CollectorProblem {
            collector: name,
            reason: problem.reason.clone(),
            remedy: problem.remedy.unwrap_or_default(),
            is_wrong: !problem.is_missing,
            since: since(name, &problem.reason),
        });
        let problems = problems.collect();
        self.basis = natives.problems().map(|(name, problem)| (name, Arc::clone(problem))).collect();
        self.problems = problems;
    }
}

/// The settings that the status shows.
fn settings(config: &Config) -> Settings {
    let shown = |file: &PathBuf| absolute(file).unwrap_or_else(|_| file.clone()).display().to_string();
    Settings {
        interval: config.interval,
        configuration: config.file.as_ref().map(shown),
        collectors: NATIVE.iter().map(|native| (native.name, (native.is_enabled)(config))).collect(),
    }
}
