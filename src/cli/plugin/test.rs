//! `gauged plugin test`: runs a plugin several times and checks it. The test passes if the plugin measured at least once,
//! never failed, was denied no access, is missing no grant, and followed the plugin rules.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::rules::{RuleCheck, Violation};
use super::target::{OpenedPlugin, Target, configuration_lines, configuration_text, need_json, needs_table};
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};
use crate::config::{PluginConfig, parse_interval};
use crate::plugin::harness::{
    CallOutcome, DeniedAccess, Grant, Granted, LoadedPlugin, Message, Need, Observations, UsableResult, reason,
};
use crate::plugin::{Failure, Fault};
use crate::sample::Sample;
use crate::sink::{Style, encode};

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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the plugin and prints a report. The exit code is 0 if the test passed.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let Arguments { target, runs, interval, json } = arguments;
    let OpenedPlugin { name, config, mut plugin } = target.open().await?;
    let results = TestRuns::run(&mut plugin, runs as usize, interval).await;
    let lines = plugin.lines(&results.missing_grants());
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
    needs: Vec<Need>,
    messages: Vec<(usize, Observations)>,
    failures: Vec<(usize, Failure)>,
    denied: Vec<DeniedAccess>,
    violations: Vec<Violation>,
    /// The result of the last run that measured.
    sample: Option<UsableResult>,
    /// The time that each run took, sorted.
    took: Vec<Duration>,
    memory_bytes: u64,
    runs: usize,
}

impl TestRuns {
    async fn run(plugin: &mut LoadedPlugin, runs: usize, interval: Duration) -> Self {
        let mut results = Self { runs, ..Self::default() };
        let mut rules = RuleCheck::new(&plugin.about);
        match plugin.configure().await {
            Ok(needs) => results.needs = needs,
            Err(failure) => results.failures.push((0, failure)),
        }
        results.record(0, plugin.take_observations());
        // A plugin that fails to start is not run, unless it is only unavailable.
        let is_usable = results.failures.iter().all(|(_, failure)| matches!(failure, Failure::Unavailable(_)));
        let runs = if is_usable { runs } else { 0 };
        let mut due = Instant::now();
        // Whether the instance is new since the last result. An unavailable plugin keeps its new counters for the next call.
        let mut is_new_instance = false;
        for run in 1..=runs {
            sleep_until(due).await;
            due = (due + interval).max(Instant::now());
            let CallOutcome { result, took, is_first, memory_bytes } = plugin.measure().await;
            is_new_instance |= is_first;
            results.took.push(took);
            results.memory_bytes = results.memory_bytes.max(memory_bytes);
            results.record(run, plugin.take_observations());
            match result {
                Ok(usable) => {
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
        results
    }

    fn record(&mut self, run: usize, mut observations: Observations) {
        self.denied.append(&mut observations.denied);
        if !observations.messages.is_empty() {
            self.messages.push((run, observations));
        }
    }

    /// The grants that are missing for the needs and the denied accesses.
    fn missing_grants(&self) -> Vec<Grant> {
        let needs = self.needs.iter().filter(|need| need.granted == Granted::No).map(|need| need.grant.clone());
        let denials = self.denied.iter().filter_map(|denial| match denial {
            DeniedAccess::Missing(grant) => Some(grant.clone()),
            DeniedAccess::Final(_) => None,
        });
        needs.chain(denials).collect()
    }

    fn has_passed(&self) -> bool {
        let is_failure = |(_, failure): &(usize, Failure)| !matches!(failure, Failure::Unavailable(_));
        let is_missing = |need: &Need| matches!(need.granted, Granted::No | Granted::Never(_));
        self.sample.is_some()
            && self.violations.is_empty()
            && self.denied.is_empty()
            && !self.failures.iter().any(is_failure)
            && !self.needs.iter().any(is_missing)
    }

    /// The shortest, the median and the longest run.
    fn times(&self) -> Option<[Duration; 3]> {
        Some([*self.took.first()?, self.took[self.took.len() / 2], *self.took.last()?])
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
        let (version, hash) = (&plugin.about.version, &plugin.hash()[..8]);
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
        let messages = results.messages.iter().flat_map(|(run, observations)| {
            let row = |message: &Message| vec![at(*run), message.level.to_owned(), message.text.clone()];
            let more = (observations.more_messages > 0)
                .then(|| vec![at(*run), String::new(), format!("{} more messages", observations.more_messages)]);
            observations.messages.iter().map(row).chain(more).collect::<Vec<_>>()
        });
        section("log", messages.collect());
        section(
            "failures",
            results.failures.iter().map(|(run, failure)| vec![at(*run), failure_text(failure)]).collect(),
        );
        section("denied", results.denied.iter().map(|denial| vec![denial_text(denial)]).collect());
        let violations = results.violations.iter().map(|Violation { text, runs, .. }| {
            vec![text.clone(), if *runs > 1 { format!("in {runs} runs") } else { String::new() }]
        });
        section("violations of the plugin rules", violations.collect());
        let is_not_granted = |need: &&Need| !matches!(need.granted, Granted::ToAll | Granted::ByConfiguration);
        let missing: Vec<Need> = results.needs.iter().filter(is_not_granted).cloned().collect();
        if !missing.is_empty() {
            let _ = write!(text, "\nneeds\n{}", needs_table(&missing));
        }
    }

    fn json(&self) -> Value {
        let Self { name, config, plugin, results, lines, .. } = self;
        let sample = results.sample.as_ref().map(|usable| {
            let sample: Value = serde_json::from_str(&encoded(usable, Style::Line)).unwrap_or_default();
            sample
        });
        let messages = results.messages.iter().flat_map(|(run, observations)| {
            observations
                .messages
                .iter()
                .map(move |message| json!({ "run": run, "level": message.level, "text": message.text }))
        });
        let failures = results.failures.iter().map(|(run, failure)| {
            let kind = match failure {
                Failure::Fault(Fault { kind, .. }) => kind.name(),
                Failure::Unavailable(_) => "unavailable",
                Failure::Disabled(_) => "disabled",
            };
            json!({ "run": run, "kind": kind, "text": failure_text(failure) })
        });
        let violations = results
            .violations
            .iter()
            .map(|Violation { kind, text, runs, .. }| json!({ "kind": kind, "text": text, "runs": runs }));
        json!({
            "name": name,
            "version": plugin.about.version,
            "sha256": plugin.hash(),
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
            "more_messages": results.messages.iter().map(|(_, observations)| observations.more_messages).sum::<u64>(),
            "failures": failures.collect::<Vec<_>>(),
            "denied": results.denied.iter().map(denial_text).collect::<Vec<_>>(),
            "violations": violations.collect::<Vec<_>>(),
            "needs": results.needs.iter().map(need_json).collect::<Vec<_>>(),
            "configuration": configuration_lines(name, lines),
        })
    }
}

/// The result of a run, as the agent writes it.
fn encoded(usable: &UsableResult, style: Style) -> String {
    let sample = Sample { modules: usable.modules.clone(), ..Sample::default() };
    let mut bytes = Vec::new();
    encode(&sample, style, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
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

fn denial_text(denial: &DeniedAccess) -> String {
    match denial {
        DeniedAccess::Missing(grant) => grant.to_string(),
        DeniedAccess::Final(why) => why.clone(),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}
