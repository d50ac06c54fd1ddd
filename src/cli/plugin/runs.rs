//! The runs of `gauged plugin test` and `gauged plugin dev`: on this host, or on that of a script.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep_until};

use super::rules::{GROWING, RuleCheck, Violation};
use super::script::{ScriptArguments, ScriptOutcome, ScriptedTest};
use super::target::{OpenedPlugin, Target};
use crate::cli::error::CommandError;
use crate::config::parse_interval;
use crate::plugin::Failure;
use crate::plugin::harness::{
    CheckedNeed, Collected, Denial, Grant, LoadedPlugin, NeedStatus, Purpose, Recording, UNNAMED,
};

/// The arguments for the runs.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArguments {
    /// Number of runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Time from one run to the next, such as 1s or 100ms
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_interval)]
    pub(super) interval: Duration,
    /// The script
    #[command(flatten)]
    script: ScriptArguments,
}

impl RunArguments {
    /// Whether the runs are those of a script.
    pub(super) fn has_script(&self) -> bool {
        self.script.script.is_some()
    }

    /// Loads a plugin for an engine with this purpose, and runs it.
    pub(super) async fn run(
        self,
        mut target: Target,
        purpose: Purpose,
    ) -> Result<(OpenedPlugin, TestRuns), CommandError> {
        let Self { runs, interval, script } = self;
        let scripted = ScriptedTest::start(script).await?;
        if let Some(ScriptedTest { script, host, .. }) = &scripted {
            target.play(script, host);
        }
        let mut opened = target.open(purpose).await?;
        let schedule = if let Some(scripted) = scripted {
            opened.plugin.context.script = Some(Arc::clone(&scripted.host));
            Schedule::Scripted(Box::new(scripted))
        } else {
            Schedule::Live { runs: runs as usize, interval, due: Instant::now() }
        };
        let results = TestRuns::run(&mut opened.plugin, schedule).await?;
        Ok((opened, results))
    }
}

/// The results of the runs. A pair has the number of the run, from 1; 0 is the start of the plugin.
#[derive(Default)]
pub(super) struct TestRuns {
    pub(super) needs: Vec<CheckedNeed>,
    pub(super) messages: Vec<(usize, Recording)>,
    pub(super) failures: Vec<(usize, Failure)>,
    /// Where the runs failed that ended in a fault, the same place once.
    pub(super) backtraces: Vec<Backtrace>,
    pub(super) denied: Vec<Denial>,
    pub(super) violations: Vec<Violation>,
    /// The result of the last run that measured.
    pub(super) sample: Option<Collected>,
    /// The time that each run took.
    pub(super) took: Vec<Duration>,
    pub(super) memory_bytes: u64,
    pub(super) runs: usize,
    /// The end of the script, if there is one.
    pub(super) script: Option<ScriptOutcome>,
}

/// The number of the first run, on whose host the plugin is configured.
const FIRST_RUN: usize = 1;

/// When the runs are, and on which host.
enum Schedule {
    /// On this host.
    Live {
        runs: usize,
        interval: Duration,
        /// When the next run is due.
        due: Instant,
    },
    /// On the host of a script, without waiting.
    Scripted(Box<ScriptedTest>),
}

impl Schedule {
    fn runs(&self) -> usize {
        match self {
            Self::Live { runs, .. } => *runs,
            Self::Scripted(test) => test.script.runs.len(),
        }
    }

    /// Calls the plugin for a run, when it is due. Returns how long that took, too.
    async fn measure(&mut self, run: usize, plugin: &mut LoadedPlugin) -> anyhow::Result<(MeasuredRun, Duration)> {
        match self {
            Self::Live { interval, due, .. } => {
                sleep_until(*due).await;
                *due = (*due + *interval).max(Instant::now());
                let start = Instant::now();
                Ok((plugin.measure().await, start.elapsed()))
            }
            Self::Scripted(test) => {
                let (tick, monotonic) = test.begin(run)?;
                let start = Instant::now();
                let result = plugin.measure_at(tick, monotonic).await;
                let took = start.elapsed();
                test.record(run, result.as_ref());
                Ok((result, took))
            }
        }
    }
}

/// The result of a run.
type MeasuredRun = Result<Collected, Failure>;

impl TestRuns {
    async fn run(plugin: &mut LoadedPlugin, mut schedule: Schedule) -> anyhow::Result<Self> {
        let mut results = Self { runs: schedule.runs(), ..Self::default() };
        let mut rules = RuleCheck::new(&plugin.version.description);
        if let Schedule::Scripted(test) = &mut schedule {
            test.begin(FIRST_RUN)?;
        }
        match plugin.configure().await {
            Ok(needs) => {
                results.needs = needs;
                rules.follow(plugin.description());
            }
            Err(failure) => {
                if let Schedule::Scripted(test) = &mut schedule {
                    test.record(0, Err(&failure));
                }
                results.failures.push((0, failure));
            }
        }
        results.record(0, plugin.take_recording());
        // A plugin that fails to start is not run, unless it is only unavailable.
        let is_usable = results.failures.iter().all(|(_, failure)| failure.is_unavailable());
        let runs = if is_usable { results.runs } else { 0 };
        // Whether the instance is new since the last result. An unavailable plugin keeps its new counters for the next call.
        let mut is_new_instance = false;
        for run in 1..=runs {
            is_new_instance |= !plugin.has_instance();
            let (result, took) = schedule.measure(run, plugin).await?;
            results.took.push(took);
            results.memory_bytes = results.memory_bytes.max(plugin.memory_bytes() as u64);
            results.record(run, plugin.take_recording());
            match result {
                Ok(usable) => {
                    rules.follow(plugin.description());
                    rules.check_run(run, &usable, std::mem::take(&mut is_new_instance));
                    results.sample = Some(usable);
                }
                Err(failure) => {
                    let is_disabled = matches!(failure, Failure::Disabled(_));
                    results.failures.push((run, failure));
                    if is_disabled {
                        break;
                    }
                }
            }
        }
        results.violations = rules.finish();
        if let Schedule::Scripted(test) = schedule {
            // A script shows cases one after the other, each of which may have labels of its own.
            results.violations.retain(|violation| violation.kind != GROWING);
            plugin.end();
            results.script = Some(test.finish().await?);
        }
        Ok(results)
    }

    fn record(&mut self, run: usize, mut recording: Recording) {
        self.denied.append(&mut recording.denials);
        let frames = std::mem::take(&mut recording.backtrace);
        match self.backtraces.iter_mut().find(|known| known.frames == frames) {
            _ if frames.is_empty() => {}
            Some(known) => known.runs.push(run),
            None => self.backtraces.push(Backtrace { runs: vec![run], frames }),
        }
        if !recording.messages.is_empty() {
            self.messages.push((run, recording));
        }
    }

    /// The grants that are missing for the needs and the denied accesses.
    pub(super) fn missing_grants(&self) -> Vec<Grant> {
        let missing = self.needs.iter().filter(|need| need.status == NeedStatus::Missing);
        let needs = missing.filter_map(|need| need.grant.as_ref().ok());
        needs.chain(self.denied.iter().filter_map(Denial::missing)).cloned().collect()
    }

    pub(super) fn has_passed(&self) -> bool {
        // The golden file has the errors that the plugin returns.
        let is_failure = |(_, failure): &(usize, Failure)| match &self.script {
            Some(_) => matches!(failure, Failure::Fault(_)),
            None => !failure.is_unavailable(),
        };
        let has_measured = match &self.script {
            Some(script) => script.has_passed(),
            None => self.sample.is_some(),
        };
        has_measured
            && self.violations.is_empty()
            && self.denied.is_empty()
            && !self.failures.iter().any(is_failure)
            && !self.needs.iter().any(CheckedNeed::is_unmet)
    }

    /// The shortest, the median and the longest run.
    pub(super) fn times(&self) -> Option<[Duration; 3]> {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        Some([*sorted.first()?, sorted[sorted.len() / 2], *sorted.last()?])
    }
}

/// The calls under way in runs that failed.
pub(super) struct Backtrace {
    pub(super) runs: Vec<usize>,
    /// The innermost first.
    pub(super) frames: Vec<String>,
}

impl Backtrace {
    pub(super) fn title(&self) -> String {
        let [first, others @ ..] = &self.runs[..] else { return String::new() };
        let others = if others.is_empty() { String::new() } else { format!(", and of {} more", others.len()) };
        format!("backtrace of {}{others}", at(*first))
    }

    pub(super) fn has_names(&self) -> bool {
        !self.frames.iter().any(|frame| frame.starts_with(UNNAMED))
    }
}

/// A run, or the start.
pub(super) fn at(run: usize) -> String {
    if run == 0 { "start".to_owned() } else { format!("run {run}") }
}
