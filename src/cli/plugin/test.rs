//! `gauged plugin test`: a plugin at work, for some runs, and whether all was well. All was well when it measured, and
//! never failed, was denied nothing, lacks no grant, and kept the contract.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::rules::{Breach, RuleCheck};
use super::target::{OpenedPlugin, Target, configuration_lines, configuration_text, need_json, needs_table};
use crate::cli::error::CommandError;
use crate::cli::output::{OutputFormat, print, print_json, size, table};
use crate::config::{PluginConfig, parse_interval};
use crate::plugin::harness::{
    CallOutcome, DeniedAccess, Grant, Granted, LoadedPlugin, Message, Need, Observations, UsableResult, reason,
};
use crate::plugin::{Failure, Fault};
use crate::sample::{Module, Sample};
use crate::sink::{Style, encode};

/// Arguments of `gauged plugin test`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plugin
    #[command(flatten)]
    pub target: Target,
    /// How many runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// Time from one run to the next, such as 1s or 100ms
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_interval)]
    pub interval: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the plugin and prints a report. The exit code is 0 when all was well.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let Arguments { target, runs, interval, json } = arguments;
    let OpenedPlugin { name, config, mut plugin } = target.open().await?;
    let trial = TestRuns::run(&mut plugin, runs as usize, interval).await;
    let lines = plugin.lines(&trial.missing_grants());
    let report = Report { name, config, interval, plugin, trial, lines };
    match OutputFormat::new(json) {
        OutputFormat::Text => print(&report.text())?,
        OutputFormat::Json => print_json(&report.json())?,
    }
    Ok(if report.trial.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of the runs.
#[derive(Default)]
struct TestRuns {
    needs: Vec<Need>,
    /// The first run whose something is this, from 1; 0 for its start.
    said: Vec<(usize, Observations)>,
    failures: Vec<(usize, Failure)>,
    denied: Vec<DeniedAccess>,
    breaches: Vec<Breach>,
    /// What the last run that measured returned.
    sample: Option<UsableResult>,
    /// How long each run took that began with the plugin at rest, sorted.
    took: Vec<Duration>,
    memory_bytes: u64,
    runs: usize,
}

impl TestRuns {
    async fn run(plugin: &mut LoadedPlugin, runs: usize, interval: Duration) -> Self {
        let mut trial = Self { runs, ..Self::default() };
        let mut rules = RuleCheck::new(&plugin.about);
        match plugin.configure().await {
            Ok(needs) => trial.needs = needs,
            Err(failure) => trial.failures.push((0, failure)),
        }
        trial.see(0, plugin.seen());
        // What fails as it starts never serves.
        let serves = trial.failures.iter().all(|(_, failure)| matches!(failure, Failure::Unavailable(_)));
        let runs = if serves { runs } else { 0 };
        let mut due = Instant::now();
        // Since it measured last: what is not available at the first call is counted from zero at the next, too.
        let mut is_afresh = false;
        for run in 1..=runs {
            sleep_until(due).await;
            due = (due + interval).max(Instant::now());
            let CallOutcome { result, took, is_first, memory_bytes } = plugin.measure().await;
            is_afresh |= is_first;
            trial.took.push(took);
            trial.memory_bytes = trial.memory_bytes.max(memory_bytes);
            trial.see(run, plugin.seen());
            match result {
                Ok(usable) => {
                    rules.take(run, &usable, std::mem::take(&mut is_afresh));
                    trial.sample = Some(usable);
                }
                Err(failure) => {
                    let is_over = matches!(failure, Failure::Disabled(_));
                    trial.failures.push((run, failure));
                    if is_over {
                        break;
                    }
                }
            }
        }
        trial.took.sort_unstable();
        trial.breaches = rules.finish();
        trial
    }

    fn see(&mut self, run: usize, mut seen: Observations) {
        self.denied.append(&mut seen.denied);
        if !seen.messages.is_empty() {
            self.said.push((run, seen));
        }
    }

    /// What is not granted and would have to be.
    fn missing_grants(&self) -> Vec<Grant> {
        let of_needs = self.needs.iter().filter(|need| need.granted == Granted::No).map(|need| need.grant.clone());
        let of_denials = self.denied.iter().filter_map(|denial| match denial {
            DeniedAccess::Missing(grant) => Some(grant.clone()),
            DeniedAccess::Final(_) => None,
        });
        of_needs.chain(of_denials).collect()
    }

    fn is_well(&self) -> bool {
        let is_failure = |(_, failure): &(usize, Failure)| !matches!(failure, Failure::Unavailable(_));
        let is_lacking = |need: &Need| matches!(need.granted, Granted::No | Granted::Never(_));
        self.sample.is_some()
            && self.breaches.is_empty()
            && self.denied.is_empty()
            && !self.failures.iter().any(is_failure)
            && !self.needs.iter().any(is_lacking)
    }

    /// The shortest, the median and the longest run.
    fn times(&self) -> Option<[Duration; 3]> {
        Some([*self.took.first()?, self.took[self.took.len() / 2], *self.took.last()?])
    }
}

struct Report {
    name: String,
    config: PluginConfig,
    interval: Duration,
    plugin: LoadedPlugin,
    trial: TestRuns,
    /// What grants all that it lacks.
    lines: Vec<String>,
}

impl Report {
    fn text(&self) -> String {
        let Self { name, config, interval, plugin, trial, lines } = self;
        let interval = humantime::format_duration(*interval);
        let mut text = match &trial.sample {
            Some(usable) => encoded(usable, Style::Pretty),
            None => String::new(),
        };
        let (version, hash) = (&plugin.about.version, &plugin.hash()[..8]);
        let _ =
            writeln!(text, "{name} {version} ({hash}): {} of {} runs, {interval} apart", trial.took.len(), trial.runs);
        let mut facts = Vec::new();
        if let Some(times) = trial.times() {
            let [least, median, most] = times.map(milliseconds);
            let timeout = humantime::format_duration(config.timeout);
            facts.push(("time of a run", format!("{least} to {most}, median {median}; at most {timeout}")));
            let (held, most) = (size(trial.memory_bytes), size(config.memory_bytes));
            facts.push(("memory", format!("{held}; at most {most}")));
        }
        if let Some(usable) = &trial.sample {
            let metrics: usize = usable.modules.iter().map(Module::len).sum();
            facts.push(("metrics", format!("{metrics}, modules: {}", usable.modules.len())));
        }
        if !facts.is_empty() {
            text.push('\n');
        }
        text += &table(facts.into_iter().map(|(what, value)| vec![what.to_owned(), value]));
        self.append_troubles(&mut text);
        if !lines.is_empty() {
            let _ = write!(
                text,
                "\nthese lines of the configuration grant it what it lacks\n\n{}",
                configuration_text(name, lines)
            );
        }
        text += if trial.is_well() { "\nall is well\n" } else { "\nnot all is well\n" };
        text
    }

    fn append_troubles(&self, text: &mut String) {
        let trial = &self.trial;
        let mut section = |title: &str, rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                let _ = write!(text, "\n{title}\n{}", table(rows));
            }
        };
        let messages = trial.said.iter().flat_map(|(run, seen)| {
            let row = |message: &Message| vec![at(*run), message.level.to_owned(), message.text.clone()];
            let more = (seen.more_messages > 0)
                .then(|| vec![at(*run), String::new(), format!("{} more messages", seen.more_messages)]);
            seen.messages.iter().map(row).chain(more).collect::<Vec<_>>()
        });
        section("what it says", messages.collect());
        section("failures", trial.failures.iter().map(|(run, failure)| vec![at(*run), said(failure)]).collect());
        section("denied", trial.denied.iter().map(|denial| vec![denied(denial)]).collect());
        let breaches = trial.breaches.iter().map(|Breach { what, runs, .. }| {
            vec![what.clone(), if *runs > 1 { format!("in {runs} runs") } else { String::new() }]
        });
        section("breaches of the contract", breaches.collect());
        let is_missing = |need: &&Need| !matches!(need.granted, Granted::ToAll | Granted::ByConfiguration);
        let missing: Vec<Need> = trial.needs.iter().filter(is_missing).cloned().collect();
        if !missing.is_empty() {
            let _ = write!(text, "\nneeds\n{}", needs_table(&missing));
        }
    }

    fn json(&self) -> Value {
        let Self { name, config, plugin, trial, lines, .. } = self;
        let sample = trial.sample.as_ref().map(|usable| {
            let sample: Value = serde_json::from_str(&encoded(usable, Style::Line)).unwrap_or_default();
            sample
        });
        let messages = trial.said.iter().flat_map(|(run, seen)| {
            seen.messages.iter().map(move |message| json!({ "run": run, "level": message.level, "text": message.text }))
        });
        let failures = trial.failures.iter().map(|(run, failure)| {
            let kind = match failure {
                Failure::Fault(Fault { kind, .. }) => kind.name(),
                Failure::Unavailable(_) => "unavailable",
                Failure::Disabled(_) => "disabled",
            };
            json!({ "run": run, "kind": kind, "text": said(failure) })
        });
        let breaches = trial
            .breaches
            .iter()
            .map(|Breach { kind, what, runs, .. }| json!({ "kind": kind, "text": what, "runs": runs }));
        json!({
            "name": name,
            "version": plugin.about.version,
            "sha256": plugin.hash(),
            "well": trial.is_well(),
            "runs": trial.took.len(),
            "sample": sample,
            "seconds": trial.times().map(|[least, median, most]| json!({
                "min": least.as_secs_f64(), "median": median.as_secs_f64(), "max": most.as_secs_f64(),
                "limit": config.timeout.as_secs_f64(),
            })),
            "memory_bytes": trial.memory_bytes,
            "memory_limit_bytes": config.memory_bytes,
            "messages": messages.collect::<Vec<_>>(),
            "more_messages": trial.said.iter().map(|(_, seen)| seen.more_messages).sum::<u64>(),
            "failures": failures.collect::<Vec<_>>(),
            "denied": trial.denied.iter().map(denied).collect::<Vec<_>>(),
            "breaches": breaches.collect::<Vec<_>>(),
            "needs": trial.needs.iter().map(need_json).collect::<Vec<_>>(),
            "configuration": configuration_lines(name, lines),
        })
    }
}

/// What a run returned, as the agent would write it.
fn encoded(usable: &UsableResult, style: Style) -> String {
    let mut sample = Sample::default();
    sample.modules.clone_from(&usable.modules);
    let mut bytes = Vec::new();
    encode(&sample, style, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn at(run: usize) -> String {
    if run == 0 { "start".to_owned() } else { format!("run {run}") }
}

fn said(failure: &Failure) -> String {
    match failure {
        // Whoever tries it out is who mends it.
        Failure::Fault(fault) => fault.to_string(),
        _ => reason(failure),
    }
}

fn denied(denial: &DeniedAccess) -> String {
    match denial {
        DeniedAccess::Missing(grant) => grant.to_string(),
        DeniedAccess::Final(why) => why.clone(),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}
