//! The capability `log`: a guest's messages and its skipped parts in the agent's log, under the plugin's name. Lines that it writes
//! to WASI's streams are messages, too. A plugin can neither flood the log, even by restarts, nor forge lines.

use std::time::Instant;

use crate::escape::printable;
use crate::plugin::accounts::skips::Novelty;
use crate::plugin::guest::bindings::gauged::plugin::log::{Host, Level, SkipReason, Skipped};
use crate::plugin::host::state::HostState;

impl HostState {
    /// Writes one line of the guest, within the plugin's allowance.
    pub(super) fn write_message(&self, level: Level, message: &str) {
        let shown = |message: &str| printable(&self.plugin.config.redact(message));
        if let Some(recorder) = &self.plugin.recorder {
            return recorder.record_message(level_name(level), shown(message));
        }
        // A message that the log level suppresses takes nothing from the allowance.
        let is_off = matches!(level, Level::Debug) && !tracing::enabled!(tracing::Level::DEBUG);
        if is_off || !self.plugin.accounts.log.take() {
            return;
        }
        let (plugin, text) = (&*self.plugin.name, shown(message));
        match level {
            Level::Error => tracing::error!(plugin, text, "plugin message"),
            Level::Warn => tracing::warn!(plugin, text, "plugin message"),
            Level::Info => tracing::info!(plugin, text, "plugin message"),
            Level::Debug => tracing::debug!(plugin, text, "plugin message"),
        }
    }
}

impl Host for HostState {
    async fn log(&mut self, level: Level, message: String) {
        self.write_message(level, &message);
    }

    async fn skip(&mut self, skipped: Skipped) {
        let accounts = &self.plugin.accounts;
        let is_absence = skipped.reason == SkipReason::Missing;
        if !is_absence {
            accounts.counters.skipped_lines.add(1);
        } else if self.plugin.recorder.is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        // Absent parts, which are often many, leave the others their reports.
        let reported = if is_absence { &accounts.absences } else { &accounts.skips };
        let (kind, now) = ([&*skipped.source, reason_name(skipped.reason), &*skipped.left_out], Instant::now());
        let novelty = reported.novelty(&kind, now);
        let is_due = match novelty {
            Novelty::Known => false,
            Novelty::New | Novelty::Excess => self.plugin.recorder.is_some() || accounts.log.try_take(),
        };
        if !is_due {
            return;
        }
        reported.record(&kind, novelty, now);
        let redact = |text: &str| self.plugin.config.redact(text).into_owned();
        let skipped = Skipped {
            source: redact(&skipped.source),
            word: redact(&skipped.word),
            message: redact(&skipped.message),
            left_out: redact(&skipped.left_out),
            remedy: redact(&skipped.remedy),
            ..skipped
        };
        match (novelty, &self.plugin.recorder) {
            (Novelty::Excess, _) if is_absence => {}
            (Novelty::Excess, Some(recorder)) => recorder.record_message("warn", FURTHER.to_owned()),
            (Novelty::Excess, None) => {
                let (plugin, remedy) = (&*self.plugin.name, "plugin_skipped_lines_total counts them");
                tracing::warn!(plugin, remedy, "further plugin values left out not reported");
            }
            (_, Some(recorder)) => {
                let level = if is_absence { Level::Debug } else { Level::Warn };
                recorder.record_message(level_name(level), printable(&text(&skipped)));
            }
            (_, None) => self.log_skipped(&skipped),
        }
    }
}

/// The message to a plugin's author that its other reports are not shown.
const FURTHER: &str = "further values left out are not shown";

impl HostState {
    fn log_skipped(&self, skipped: &Skipped) {
        let plugin = &*self.plugin.name;
        let [file, reason, left_out] =
            [&skipped.source, &skipped.message, &skipped.left_out].map(|text| printable(text));
        let [word, remedy] = [&skipped.word, &skipped.remedy].map(|text| (!text.is_empty()).then(|| printable(text)));
        let line = (skipped.line > 0).then_some(skipped.line);
        let kind = reason_name(skipped.reason);
        if skipped.reason == SkipReason::Missing {
            tracing::debug!(plugin, file, line, word, kind, reason, left_out, "plugin values left out");
        } else {
            tracing::warn!(plugin, file, line, word, kind, reason, left_out, remedy, "plugin values left out");
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

fn reason_name(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Missing => "missing",
        SkipReason::NotPermitted => "not permitted",
        SkipReason::Malformed => "malformed",
        SkipReason::Truncated => "truncated",
    }
}

/// The report as one text.
fn text(Skipped { source, line, word, reason, message, remedy, left_out }: &Skipped) -> String {
    let line = if *line > 0 { format!(" line {line}") } else { String::new() };
    let word = if word.is_empty() { String::new() } else { format!("{word}: ") };
    let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
    format!("without {left_out}: {source}{line} is {}: {word}{message}{remedy}", reason_name(*reason))
}
