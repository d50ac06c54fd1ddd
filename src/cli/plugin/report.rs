//! The report of `gauged plugin test` and `gauged plugin dev` on the runs of a plugin, as text or JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::result::encoded;
use super::rules::Violation;
use super::runs::{Backtrace, RunArguments, TestRuns, at};
use super::script::{Golden, ScriptOutcome};
use super::target::{OpenedPlugin, Target, configuration_lines, configuration_text, need_json, needs_table};
use crate::cli::error::CommandError;
use crate::cli::output::{size, table};
use crate::config::PluginConfig;
use crate::plugin::harness::{LoadedPlugin, Message, PluginState, Purpose, reason};
use crate::plugin::{Failure, Fault};
use crate::sink::Style;

/// The remedy for a backtrace of numbers.
const NAMES_HINT: &str = "for the names of functions, build it by ./build.sh --debug";

/// A plugin that was run, and the results.
pub(super) struct TestReport {
    pub(super) name: String,
    config: PluginConfig,
    interval: Duration,
    pub(super) plugin: LoadedPlugin,
    pub(super) results: TestRuns,
    /// The lines of its table with the missing grants.
    lines: Vec<String>,
}

/// What a command adds to the text of a report.
#[derive(Default)]
pub(super) struct Additions {
    /// Facts beside time and memory: each has a label.
    pub(super) facts: Vec<(&'static str, String)>,
    /// A section: its title, and its rows.
    pub(super) section: Option<(String, Vec<Vec<String>>)>,
}

impl TestReport {
    /// Loads a plugin for an engine with this purpose, and runs it.
    pub(super) async fn measure(target: Target, runs: RunArguments, purpose: Purpose) -> Result<Self, CommandError> {
        let interval = runs.interval;
        let (OpenedPlugin { name, config, plugin }, results) = runs.run(target, purpose).await?;
        let lines = plugin.context.grant_lines(&results.missing_grants());
        Ok(Self { name, config, interval, plugin, results, lines })
    }

    pub(super) fn text(&self) -> String {
        self.text_with(Additions::default())
    }

    pub(super) fn text_with(&self, Additions { facts: more_facts, section: more }: Additions) -> String {
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
        facts.extend(more_facts);
        if !facts.is_empty() {
            text.push('\n');
        }
        text += &table(facts.into_iter().map(|(label, value)| vec![label.to_owned(), value]));
        if let Some((title, rows)) = more {
            let _ = write!(text, "\n{title}\n{}", table(rows));
        }
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

    pub(super) fn json(&self) -> Value {
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

fn failure_text(failure: &Failure) -> String {
    match failure {
        // The remedy, to fix the plugin, is obvious here.
        Failure::Fault(fault) => fault.to_string(),
        _ => reason(failure),
    }
}

/// A duration in milliseconds.
pub(super) fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}
