//! `gauged plugin test`: a plugin at work, for some runs, and whether all was well. All was well when it measured, and
//! never failed, was denied nothing, lacks no grant, and kept the contract.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::columns::columns;
use super::contract::{Breach, Contract};
use super::inspect::need_json;
use super::{Form, Opened, Subject, Trouble, indented, needs, show, show_json, size, table};
use crate::config::PluginConfig;
use crate::plugin::workbench::{Denial, Grant, Granted, Measured, Message, Need, Piece, Seen, Usable, reason};
use crate::plugin::{Failure, Fault};
use crate::sample::{Module, Sample};
use crate::sink::{Style, encode};

/// Runs a plugin so often, one run each interval, and shows what came of it. The exit code says whether all was well.
pub(super) async fn run(subject: Subject, runs: usize, interval: Duration, form: Form) -> Result<ExitCode, Trouble> {
    let Opened { name, config, mut piece } = subject.open().await?;
    let tried = Tried::run(&mut piece, runs, interval).await;
    let lines = piece.lines(&tried.lacking());
    let report = Report { name, config, interval, piece, tried, lines };
    match form {
        Form::Text => show(&report.text())?,
        Form::Json => show_json(&report.json())?,
    }
    Ok(if report.tried.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of the runs.
#[derive(Default)]
struct Tried {
    needs: Vec<Need>,
    /// The first run whose something is this, from 1; 0 for its start.
    said: Vec<(usize, Seen)>,
    failures: Vec<(usize, Failure)>,
    denied: Vec<Denial>,
    breaches: Vec<Breach>,
    /// What the last run that measured returned.
    sample: Option<Usable>,
    /// How long each run took that began with the plugin at rest, sorted.
    took: Vec<Duration>,
    memory_bytes: u64,
    runs: usize,
}

impl Tried {
    async fn run(piece: &mut Piece, runs: usize, interval: Duration) -> Self {
        let mut tried = Self { runs, ..Self::default() };
        let mut contract = Contract::new(&piece.about);
        match piece.configure().await {
            Ok(needs) => tried.needs = needs,
            Err(failure) => tried.failures.push((0, failure)),
        }
        tried.see(0, piece.seen());
        // What fails as it starts never serves.
        let serves = tried.failures.iter().all(|(_, failure)| matches!(failure, Failure::Unavailable(_)));
        let runs = if serves { runs } else { 0 };
        let mut due = Instant::now();
        // Since it measured last: what is not available at the first call is counted from zero at the next, too.
        let mut is_afresh = false;
        for run in 1..=runs {
            sleep_until(due).await;
            due = (due + interval).max(Instant::now());
            let Measured { result, took, is_first, memory_bytes } = piece.measure().await;
            is_afresh |= is_first;
            tried.took.push(took);
            tried.memory_bytes = tried.memory_bytes.max(memory_bytes);
            tried.see(run, piece.seen());
            match result {
                Ok(usable) => {
                    contract.take(run, &usable, std::mem::take(&mut is_afresh));
                    tried.sample = Some(usable);
                }
                Err(failure) => {
                    let is_over = matches!(failure, Failure::PutAside(_));
                    tried.failures.push((run, failure));
                    if is_over {
                        break;
                    }
                }
            }
        }
        tried.took.sort_unstable();
        tried.breaches = contract.end();
        tried
    }

    fn see(&mut self, run: usize, mut seen: Seen) {
        self.denied.append(&mut seen.denied);
        if !seen.messages.is_empty() {
            self.said.push((run, seen));
        }
    }

    /// What is not granted and would have to be.
    fn lacking(&self) -> Vec<Grant> {
        let of_needs = self.needs.iter().filter(|need| need.granted == Granted::No).map(|need| need.grant.clone());
        let of_denials = self.denied.iter().filter_map(|denial| match denial {
            Denial::Missing(grant) => Some(grant.clone()),
            Denial::Final(_) => None,
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
    piece: Piece,
    tried: Tried,
    /// What grants all that it lacks.
    lines: Vec<String>,
}

impl Report {
    fn text(&self) -> String {
        let Self { name, config, interval, piece, tried, lines } = self;
        let interval = humantime::format_duration(*interval);
        let mut text = match &tried.sample {
            Some(usable) => encoded(usable, Style::Pretty),
            None => String::new(),
        };
        let (version, hash) = (&piece.about.version, &piece.hash()[..8]);
        let _ =
            writeln!(text, "{name} {version} ({hash}): {} of {} runs, {interval} apart", tried.took.len(), tried.runs);
        let mut facts = Vec::new();
        if let Some(times) = tried.times() {
            let [least, median, most] = times.map(milliseconds);
            let timeout = humantime::format_duration(config.timeout);
            facts.push(("time of a run", format!("{least} to {most}, median {median}; at most {timeout}")));
            let (held, most) = (size(tried.memory_bytes), size(config.memory_bytes));
            facts.push(("memory", format!("{held}; at most {most}")));
        }
        if let Some(usable) = &tried.sample {
            let metrics: usize = usable.modules.iter().map(Module::len).sum();
            facts.push(("metrics", format!("{metrics}, modules: {}", usable.modules.len())));
        }
        if !facts.is_empty() {
            text.push('\n');
        }
        text += &columns(facts.into_iter().map(|(what, value)| vec![what.to_owned(), value]));
        self.append_troubles(&mut text);
        if !lines.is_empty() {
            let _ =
                write!(text, "\nthese lines of the configuration grant it what it lacks\n\n{}", indented(name, lines));
        }
        text += if tried.is_well() { "\nall is well\n" } else { "\nnot all is well\n" };
        text
    }

    fn append_troubles(&self, text: &mut String) {
        let tried = &self.tried;
        let mut section = |title: &str, rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                let _ = write!(text, "\n{title}\n{}", columns(rows));
            }
        };
        let messages = tried.said.iter().flat_map(|(run, seen)| {
            let row = |message: &Message| vec![at(*run), message.level.to_owned(), message.text.clone()];
            let more = (seen.more_messages > 0)
                .then(|| vec![at(*run), String::new(), format!("{} more messages", seen.more_messages)]);
            seen.messages.iter().map(row).chain(more).collect::<Vec<_>>()
        });
        section("what it says", messages.collect());
        section("failures", tried.failures.iter().map(|(run, failure)| vec![at(*run), said(failure)]).collect());
        section("denied", tried.denied.iter().map(|denial| vec![denied(denial)]).collect());
        let breaches = tried.breaches.iter().map(|Breach { what, runs, .. }| {
            vec![what.clone(), if *runs > 1 { format!("in {runs} runs") } else { String::new() }]
        });
        section("breaches of the contract", breaches.collect());
        let lacks = |need: &&Need| !matches!(need.granted, Granted::ToAll | Granted::ByConfiguration);
        let lacking: Vec<Need> = tried.needs.iter().filter(lacks).cloned().collect();
        if !lacking.is_empty() {
            let _ = write!(text, "\nneeds\n{}", needs(&lacking));
        }
    }

    fn json(&self) -> Value {
        let Self { name, config, piece, tried, lines, .. } = self;
        let sample = tried.sample.as_ref().map(|usable| {
            let sample: Value = serde_json::from_str(&encoded(usable, Style::Line)).unwrap_or_default();
            sample
        });
        let messages = tried.said.iter().flat_map(|(run, seen)| {
            seen.messages.iter().map(move |message| json!({ "run": run, "level": message.level, "text": message.text }))
        });
        let failures = tried.failures.iter().map(|(run, failure)| {
            let kind = match failure {
                Failure::Fault(Fault { kind, .. }) => kind.name(),
                Failure::Unavailable(_) => "unavailable",
                Failure::PutAside(_) => "aside",
            };
            json!({ "run": run, "kind": kind, "text": said(failure) })
        });
        let breaches = tried
            .breaches
            .iter()
            .map(|Breach { kind, what, runs, .. }| json!({ "kind": kind, "text": what, "runs": runs }));
        json!({
            "name": name,
            "version": piece.about.version,
            "sha256": piece.hash(),
            "well": tried.is_well(),
            "runs": tried.took.len(),
            "sample": sample,
            "seconds": tried.times().map(|[least, median, most]| json!({
                "min": least.as_secs_f64(), "median": median.as_secs_f64(), "max": most.as_secs_f64(),
                "limit": config.timeout.as_secs_f64(),
            })),
            "memory_bytes": tried.memory_bytes,
            "memory_limit_bytes": config.memory_bytes,
            "messages": messages.collect::<Vec<_>>(),
            "more_messages": tried.said.iter().map(|(_, seen)| seen.more_messages).sum::<u64>(),
            "failures": failures.collect::<Vec<_>>(),
            "denied": tried.denied.iter().map(denied).collect::<Vec<_>>(),
            "breaches": breaches.collect::<Vec<_>>(),
            "needs": tried.needs.iter().map(need_json).collect::<Vec<_>>(),
            "configuration": table(name, lines),
        })
    }
}

/// What a run returned, as the agent would write it.
fn encoded(usable: &Usable, style: Style) -> String {
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

fn denied(denial: &Denial) -> String {
    match denial {
        Denial::Missing(grant) => grant.to_string(),
        Denial::Final(why) => why.clone(),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}
