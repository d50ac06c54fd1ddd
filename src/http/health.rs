//! Whether the agent works, by its status: `/health` and `/ready`. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::status::{Document, is_overdue};

/// The states of a plugin that are not to be waited for: it measures, or nobody expects it to.
const SETTLED: [&str; 3] = ["up", "idle", "off"];

/// The answer: whether all is well, otherwise why not.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) is_well: bool,
    /// Each with its part.
    pub(super) reasons: Vec<String>,
}

impl Verdict {
    fn new(reasons: Vec<String>) -> Self {
        Self { is_well: reasons.is_empty(), reasons }
    }
}

/// Whether the agent works at all: it takes samples, and calls plugins. If it does not, a restart helps.
pub(super) fn health(document: &Document) -> Verdict {
    let mut reasons = Vec::new();
    let agent = &document.agent;
    match &agent.tick {
        Some(tick) if tick.is_overdue => {
            reasons.push(format!("ticks have stopped: the last one was {:.0} s ago", tick.age_seconds));
        }
        None if is_overdue(seconds(agent.uptime_seconds), seconds(agent.interval_seconds)) => {
            reasons.push(format!("there was no tick since the start {:.0} s ago", agent.uptime_seconds));
        }
        _ => {}
    }
    if document.plugins.is_absent {
        reasons.push("no plugin is called: no guest thread is left".to_owned());
    }
    Verdict::new(reasons)
}

/// Whether everything that is configured is up.
pub(super) fn readiness(document: &Document) -> Verdict {
    let mut reasons = health(document).reasons;
    if document.agent.tick.is_none() {
        reasons.push("there was no tick yet".to_owned());
    }
    let problems = document.agent.configuration_problems.iter();
    reasons.extend(problems.map(|problem| format!("configuration: {}", problem.reason)));
    let failed = document.collectors.iter().filter(|collector| collector.is_successful == Some(false));
    reasons.extend(failed.map(|collector| {
        let reason = collector.problem.as_ref().map_or("a file could not be read", |problem| &problem.reason);
        format!("collector {}: {reason}", collector.name)
    }));
    for sink in document.sinks.iter().filter(|sink| !sink.is_up) {
        let reason = sink.problem.as_ref().map(|problem| format!(": {}", problem.reason)).unwrap_or_default();
        reasons.push(format!("sink {} is down{reason}", sink.name));
    }
    for address in document.addresses.iter().filter(|address| !address.is_open) {
        let reason = address.problem.as_ref().map(|problem| format!(": {}", problem.reason)).unwrap_or_default();
        reasons.push(format!("address {} is not open{reason}", address.address));
    }
    if let Some(problem) = &document.plugins.directory_problem {
        reasons.push(format!("plugins directory: {}", problem.reason));
    }
    for plugin in document.plugins.list.iter().map(|plugin| &plugin.status) {
        let is_waited_for = plugin.is_configured || plugin.state == "loading";
        if is_waited_for && !SETTLED.contains(&&*plugin.state) {
            let present = plugin.problems.iter().find(|problem| !problem.is_over);
            let reason = present.map(|problem| format!(": {}", problem.reason)).unwrap_or_default();
            reasons.push(format!("plugin {} is {}{reason}", plugin.name, plugin.state));
        }
    }
    Verdict::new(reasons)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{
        AddressStatus, CollectorDocument, PluginDocument, PluginStatus, Problem, ProblemKind, SinkDocument,
        TickDocument,
    };

    fn problem(reason: &str) -> Problem {
        Problem::new(ProblemKind::File, reason, "")
    }

    fn running() -> Document {
        let mut document = Document::default();
        document.agent.interval_seconds = 1.0;
        document.agent.tick = Some(TickDocument::default());
        document
    }

    fn plugin(name: &str, state: &'static str, is_configured: bool) -> PluginDocument {
        let problems = vec![problem("it is broken")];
        let status = PluginStatus {
            name: name.to_owned(),
            state: state.into(),
            is_configured,
            problems,
            ..PluginStatus::default()
        };
        PluginDocument { status, ..PluginDocument::default() }
    }

    #[test]
    fn stopped_ticks_and_missing_guests_are_unhealthy() {
        assert_eq!(health(&running()), Verdict { is_well: true, reasons: Vec::new() });
        let mut document = running();
        document.agent.tick = Some(TickDocument { is_overdue: true, age_seconds: 7.4, ..TickDocument::default() });
        document.plugins.is_absent = true;
        let reasons = ["ticks have stopped: the last one was 7 s ago", "no plugin is called: no guest thread is left"];
        assert_eq!(health(&document), Verdict { is_well: false, reasons: reasons.map(str::to_owned).into() });
        document = Document::default();
        document.agent.interval_seconds = 1.0;
        document.agent.uptime_seconds = 4.0;
        assert!(health(&document).is_well, "the first tick is not due for long");
        document.agent.uptime_seconds = 6.0;
        assert_eq!(health(&document).reasons, ["there was no tick since the start 6 s ago"]);
    }

    #[test]
    fn readiness_waits_for_everything_configured() {
        let mut document = running();
        document.plugins.list = vec![
            plugin("a", "up", true),
            plugin("b", "rejected", false),
            plugin("c", "off", true),
            plugin("d", "idle", true),
        ];
        assert!(readiness(&document).is_well, "{:?}", readiness(&document));
        document.plugins.list.extend([plugin("e", "loading", false), plugin("f", "failed", true)]);
        document.collectors = vec![CollectorDocument {
            name: "cpu".to_owned(),
            is_successful: Some(false),
            problem: Some(problem("no /proc/stat")),
            ..CollectorDocument::default()
        }];
        document.sinks = vec![SinkDocument { name: "file".to_owned(), ..SinkDocument::default() }];
        let address = |is_open| AddressStatus {
            address: "[::1]:1".to_owned(),
            is_open,
            problem: (!is_open).then(|| problem("it is in use")),
        };
        document.addresses = [true, false].map(address).into();
        document.agent.configuration_problems = vec![problem("it is invalid")];
        document.plugins.directory_problem = Some(problem("no such directory"));
        let reasons = [
            "configuration: it is invalid",
            "collector cpu: no /proc/stat",
            "sink file is down",
            "address [::1]:1 is not open: it is in use",
            "plugins directory: no such directory",
            "plugin e is loading: it is broken",
            "plugin f is failed: it is broken",
        ];
        assert_eq!(readiness(&document).reasons, reasons);
        document = Document::default();
        document.agent.interval_seconds = 1.0;
        assert_eq!(readiness(&document).reasons, ["there was no tick yet"]);
    }
}
