//! `gauged plugin test`: runs a plugin several times and checks it. The test passes if the plugin measured at least once,
//! never failed, was denied no access, is missing no grant, and followed the plugin rules.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::result::encoded;
use super::rules::{GROWING, RuleCheck, Violation};
use super::script::{Golden, ScriptArguments, ScriptOutcome, ScriptedTest};
use super::target::{OpenedPlugin, Target, configuration_lines, configuration_text, need_json, needs_table};
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};
use crate::config::{PluginConfig, parse_interval};
use crate::plugin::harness::{
    CheckedNeed, Collected, Denial, Grant, LoadedPlugin, Message, NeedStatus, PluginState, Purpose, Recording, UNNAMED,
    reason,
};
use crate::plugin::{Failure, Fault};
use crate::sink::Style;

/// Arguments of `gauged plugin test`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plugin
    #[command(flatten)]
    target: Target,
    /// Number of runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Time from one run to the next, such as 1s or 100ms
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_interval)]
    interval: Duration,
    /// The script
    #[command(flatten)]
    script: ScriptArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the plugin and prints a report. The exit code is 0 if the test passed.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let Arguments { mut target, runs, interval, script, json } = arguments;
    let scripted = ScriptedTest::start(script).await?;
    if let Some(ScriptedTest { script, host, .. }) = &scripted {
        target.play(script, host);
    }
    let OpenedPlugin { name, config, mut plugin } = target.open(Purpose::Diagnose).await?;
    let schedule = if let Some(scripted) = scripted {
        plugin.context.script = Some(Arc::clone(&scripted.host));
        Schedule::Scripted(Box::new(scripted))
    } else {
        Schedule::Live { runs: runs as usize, interval, due: Instant::now() }
    };
    let results = TestRuns::run(&mut plugin, schedule).await?;
    let lines = plugin.context.grant_lines(&results.missing_grants());
    let report = TestReport { name, config, interval, plugin, results, lines };
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&report.text())?,
        OutputFormat::Json => print_json(&report.json())?,
    }
    Ok(if report.results.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The results of the runs. A pair has the number of the run, from 1; 0 is the start of the plugin.
#[derive(Default)]
struct TestRuns {
    needs: Vec<CheckedNeed>,
    messages: Vec<(usize, Recording)>,
    failures: Vec<(usize, Failure)>,
    /// Where the runs failed that ended in a fault, the same place once.
    backtraces: Vec<Backtrace>,
    denied: Vec<Denial>,
    violations: Vec<Violation>,
    /// The result of the last run that measured.
    sample: Option<Collected>,
    /// The time that each run took, sorted.
    took: Vec<Duration>,
    memory_bytes: u64,
    runs: usize,
    /// The end of the script, if there is one.
    script: Option<ScriptOutcome>,
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
        results.took.sort_unstable();
        results.violations = rules.finish();
        if let Schedule::Scripted(test) = schedule {
            // A script shows cases one after the other, each of which may have labels of its own.
            results.violations.retain(|violation| violation.kind != GROWING);
            results.script = Some(test.finish()?);
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
    fn missing_grants(&self) -> Vec<Grant> {
        let missing = self.needs.iter().filter(|need| need.status == NeedStatus::Missing);
        let needs = missing.filter_map(|need| need.grant.as_ref().ok());
        needs.chain(self.denied.iter().filter_map(Denial::missing)).cloned().collect()
    }

    fn has_passed(&self) -> bool {
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
    fn times(&self) -> Option<[Duration; 3]> {
        Some([*self.took.first()?, self.took[self.took.len() / 2], *self.took.last()?])
    }
}

/// The calls under way in runs that failed.
struct Backtrace {
    runs: Vec<usize>,
    /// The innermost first.
    frames: Vec<String>,
}

/// The remedy for a backtrace of numbers.
const NAMES_HINT: &str = "for the names of functions, build it by ./build.sh --debug";

impl Backtrace {
    fn title(&self) -> String {
        let [first, others @ ..] = &self.runs[..] else { return String::new() };
        let others = if others.is_empty() { String::new() } else { format!(", and of {} more", others.len()) };
        format!("backtrace of {}{others}", at(*first))
    }

    fn has_names(&self) -> bool {
        !self.frames.iter().any(|frame| frame.starts_with(UNNAMED))
    }
}

struct TestReport {
    name: String,
    config: PluginConfig,
    interval: Duration,
    plugin: LoadedPlugin,
    results: TestRuns,
    /// The lines of its table with the missing grants.
    lines: Vec<String>,
}

impl TestReport {
    fn text(&self) -> String {
        let Self { name, config, interval, plugin, results, lines } = self;
        let interval = humantime::format_duration(*interval);
        let mut text = match &results.sample {
            Some(usable) => encoded(usable, Style::Pretty),
            None => String::new(),
        };
        let (version, hash) = (&plugin.version.name, &plugin.version.digits);
        let _ = writeln!(
            text,
            "{name} {version} ({hash}): {} of {} runs, {interval} apart",
            results.took.len(),
            results.runs
        );
        let mut facts = Vec::new();
        if let Some(times) = results.times() {
            let [least, median, most] = times.map(milliseconds);
            let timeout = humantime::format_duration(config.timeout);
            facts.push(("time of a run", format!("{least} to {most}, median {median}; at most {timeout}")));
            let (held, most) = (size(results.memory_bytes), size(config.memory_bytes));
            facts.push(("memory", format!("{held}; at most {most}")));
        }
        if let Some(usable) = &results.sample {
            let metrics: usize = usable.modules.iter().map(|module| module.len()).sum();
            facts.push(("metrics", format!("{metrics}, modules: {}", usable.modules.len())));
        }
        if !facts.is_empty() {
            text.push('\n');
        }
        text += &table(facts.into_iter().map(|(label, value)| vec![label.to_owned(), value]));
        self.append_findings(&mut text);
        if !lines.is_empty() {
            let _ = write!(text, "\nconfiguration with the missing grants\n\n{}", configuration_text(name, lines));
        }
        text += if results.has_passed() { "\ntest passed\n" } else { "\ntest failed\n" };
        text
    }

    fn append_findings(&self, text: &mut String) {
        let results = &self.results;
        let mut section = |title: &str, rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                let _ = write!(text, "\n{title}\n{}", table(rows));
            }
        };
        let messages = results.messages.iter().flat_map(|(run, recording)| {
            let row = |message: &Message| vec![at(*run), message.level.to_owned(), message.text.clone()];
            let more = (recording.more > 0)
                .then(|| vec![at(*run), String::new(), format!("{} more messages", recording.more)]);
            recording.messages.iter().map(row).chain(more).collect::<Vec<_>>()
        });
        section("log", messages.collect());
        section(
            "failures",
            results.failures.iter().map(|(run, failure)| vec![at(*run), failure_text(failure)]).collect(),
        );
        for backtrace in &results.backtraces {
            let hint = (!backtrace.has_names()).then(|| NAMES_HINT.to_owned());
            section(
                &backtrace.title(),
                backtrace.frames.iter().cloned().chain(hint).map(|frame| vec![frame]).collect(),
            );
        }
        if let Some(ScriptOutcome { golden, deviations }) = &results.script {
            section("script", deviations.iter().map(|line| vec![line.clone()]).collect());
            let rows = match golden {
                Golden::Equal => Vec::new(),
                Golden::Written(file) => vec![format!("{} was written; read it", file.display())],
                Golden::Missing(file) => vec![format!("{} does not exist; write it by --update", file.display())],
                Golden::Different(lines) => lines.clone(),
            };
            section("golden file", rows.into_iter().map(|line| vec![line]).collect());
        }
        section("denied", results.denied.iter().map(|denial| vec![denial.to_string()]).collect());
        let violations = results.violations.iter().map(|Violation { text, runs, .. }| {
            vec![text.clone(), if *runs > 1 { format!("in {runs} runs") } else { String::new() }]
        });
        section("violations of the plugin rules", violations.collect());
        let unmet = needs_table(results.needs.iter().filter(|need| need.is_unmet()));
        if !unmet.is_empty() {
            let _ = write!(text, "\nneeds\n{unmet}");
        }
    }

    fn json(&self) -> Value {
        let Self { name, config, plugin, results, lines, .. } = self;
        let sample = results.sample.as_ref().map(|usable| {
            let sample: Value = serde_json::from_str(&encoded(usable, Style::Line)).unwrap_or_default();
            sample
        });
        let messages = results.messages.iter().flat_map(|(run, recording)| {
            recording
                .messages
                .iter()
                .map(move |message| json!({ "run": run, "level": message.level, "text": message.text }))
        });
        let failures = results.failures.iter().map(|(run, failure)| {
            let kind = match failure {
                Failure::Fault(Fault { kind, .. }) => kind.name(),
                Failure::Error(error) => PluginState::from(error.kind).name(),
                Failure::Disabled(_) => "disabled",
            };
            json!({ "run": run, "kind": kind, "text": failure_text(failure) })
        });
        let backtraces =
            results.backtraces.iter().map(|Backtrace { runs, frames }| json!({ "runs": runs, "frames": frames }));
        let script = results.script.as_ref().map(|ScriptOutcome { golden, deviations }| {
            let (state, lines) = match golden {
                Golden::Equal => ("equal", &[][..]),
                Golden::Written(_) => ("written", &[][..]),
                Golden::Missing(_) => ("missing", &[][..]),
                Golden::Different(lines) => ("different", &lines[..]),
            };
            json!({ "golden": state, "difference": lines, "deviations": deviations })
        });
        let violations = results
            .violations
            .iter()
            .map(|Violation { kind, text, runs, .. }| json!({ "kind": kind, "text": text, "runs": runs }));
        json!({
            "name": name,
            "version": *plugin.version.name,
            "sha256": plugin.version.hash.to_hex(),
            "passed": results.has_passed(),
            "runs": results.took.len(),
            "sample": sample,
            "seconds": results.times().map(|[least, median, most]| json!({
                "min": least.as_secs_f64(), "median": median.as_secs_f64(), "max": most.as_secs_f64(),
                "limit": config.timeout.as_secs_f64(),
            })),
            "memory_bytes": results.memory_bytes,
            "memory_limit_bytes": config.memory_bytes,
            "messages": messages.collect::<Vec<_>>(),
            "more_messages": results.messages.iter().map(|(_, recording)| recording.more).sum::<u64>(),
            "failures": failures.collect::<Vec<_>>(),
            "backtraces": backtraces.collect::<Vec<_>>(),
            "script": script,
            "denied": results.denied.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "violations": violations.collect::<Vec<_>>(),
            "needs": results.needs.iter().map(need_json).collect::<Vec<_>>(),
            "configuration": configuration_lines(name, lines),
        })
    }
}

fn at(run: usize) -> String {
    if run == 0 { "start".to_owned() } else { format!("run {run}") }
}

fn failure_text(failure: &Failure) -> String {
    match failure {
        // The remedy, to fix the plugin, is obvious here.
        Failure::Fault(fault) => fault.to_string(),
        _ => reason(failure),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}
