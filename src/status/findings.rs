//! Findings in a status: the problems of all parts in one list, each with its remedy.

use super::document::{Document, PluginsDocument};
use super::plugins::PluginStatus;
use super::problem::Problem;

/// The states of a plugin that measures, or that nobody expects to.
const GOOD_STATES: [&str; 6] = ["up", "loading", "idle", "off", "unavailable", "disabled"];

/// One problem of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The part: `agent`, a collector, a sink, an address, a plugin or a file.
    pub(crate) part: String,
    pub(crate) reason: String,
    /// Empty where none is known.
    pub(crate) remedy: String,
    /// Lines of configuration that belong to the remedy, with the table that they go into.
    pub(crate) lines: Vec<String>,
    /// Whether something is wrong, and not only worth knowing.
    pub(crate) is_wrong: bool,
}

/// All problems of a status, those that have passed last.
pub(crate) fn findings(document: &Document) -> Vec<Finding> {
    let mut findings: Vec<Finding> = overdue(document).into_iter().collect();
    for collector in &document.collectors {
        match &collector.problem {
            Some(problem) => findings.push(Finding::new(&collector.name, problem)),
            None if collector.is_successful == Some(false) => findings.push(Finding {
                part: collector.name.clone(),
                reason: "a file that it reads at each tick could not be read".to_owned(),
                remedy: "see the agent's log".to_owned(),
                lines: Vec::new(),
                is_wrong: true,
            }),
            None => {}
        }
    }
    for sink in &document.sinks {
        findings.extend(sink.problem.iter().map(|problem| Finding::new(&format!("sink {}", sink.name), problem)));
    }
    for address in &document.addresses {
        let part = format!("http {}", address.address);
        findings.extend(address.problem.iter().map(|problem| Finding::new(&part, problem)));
    }
    findings.extend(document.agent.configuration_problems.iter().map(|problem| Finding::new("configuration", problem)));
    let plugins = &document.plugins;
    findings.extend(guest_thread(document));
    findings.extend(plugins.directory_problem.iter().map(|problem| Finding::new("plugins directory", problem)));
    let mut passed = Vec::new();
    for plugin in &plugins.list {
        let status = &plugin.status;
        for problem in &status.problems {
            let list = if problem.is_over { &mut passed } else { &mut findings };
            list.push(Finding::about_plugin(&status.name, problem));
        }
        findings.extend(unexplained(status));
        if !status.missing_grants.is_empty() && !has_remedy(status) {
            findings.push(Finding {
                part: status.name.clone(),
                reason: "is missing grants".to_owned(),
                remedy: format!("write under [plugins.{}], and reload the agent", status.name),
                lines: status.missing_grants.clone(),
                is_wrong: false,
            });
        }
    }
    findings.extend(plugins.files.iter().map(|file| Finding::new(&file.file, &file.problem)));
    findings.append(&mut passed);
    findings
}

/// A tick that is overdue.
fn overdue(document: &Document) -> Option<Finding> {
    let tick = document.agent.tick.as_ref().filter(|tick| tick.is_overdue)?;
    Some(Finding {
        part: "agent".to_owned(),
        reason: format!("the next tick is overdue: the last one was {:.0} s ago", tick.age_seconds),
        remedy: "give the agent processor time; if it has some, restart it, and report this".to_owned(),
        lines: Vec::new(),
        is_wrong: true,
    })
}

/// A guest thread that calls no plugins.
fn guest_thread(document: &Document) -> Option<Finding> {
    let PluginsDocument { is_responding, is_absent, age_seconds, .. } = &document.plugins;
    if *is_responding || document.agent.tick.is_none() {
        return None;
    }
    let age = age_seconds.map_or_else(String::new, |age| format!("; the plugins are shown as {age:.0} s ago"));
    let (reason, remedy) = if *is_absent {
        ("no plugin is called: their thread is not running", "see the agent's log")
    } else {
        ("the thread that calls plugins does not respond", "wait: it is replaced after 30 s")
    };
    Some(Finding {
        part: "plugins".to_owned(),
        reason: format!("{reason}{age}"),
        remedy: remedy.to_owned(),
        lines: Vec::new(),
        is_wrong: true,
    })
}

/// A bad state without a problem that explains it, as a newer agent may show.
fn unexplained(status: &PluginStatus) -> Option<Finding> {
    let is_explained = status.problems.iter().any(|problem| !problem.is_over);
    if is_explained || GOOD_STATES.contains(&&*status.state) {
        return None;
    }
    Some(Finding {
        part: status.name.clone(),
        reason: format!("is {}", status.state),
        remedy: "see the agent's log".to_owned(),
        lines: Vec::new(),
        is_wrong: status.is_configured,
    })
}

/// Whether the remedy of a problem has all missing grants already.
fn has_remedy(status: &PluginStatus) -> bool {
    let mut present = status.problems.iter().filter(|problem| !problem.is_over);
    present.any(|problem| status.missing_grants.iter().all(|line| problem.remedy.contains(line)))
}

impl Finding {
    fn about_plugin(plugin: &str, problem: &Problem) -> Self {
        let kind = problem.fault.as_ref().map_or_else(String::new, |fault| format!(" ({fault})"));
        let passed = if problem.is_over { "has passed: " } else { "" };
        let subject = problem.kind.subject();
        Self { reason: format!("{passed}{subject}{}{kind}", problem.reason), ..Self::new(plugin, problem) }
    }

    fn new(part: &str, problem: &Problem) -> Self {
        Self {
            part: part.to_owned(),
            reason: problem.reason.clone(),
            remedy: problem.remedy.clone(),
            lines: Vec::new(),
            is_wrong: problem.is_wrong && !problem.is_over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::addresses::AddressStatus;
    use crate::status::document::{PluginDocument, TickDocument};
    use crate::status::problem::ProblemKind;

    fn document(state: &'static str, problems: Vec<Problem>) -> Document {
        let status = PluginStatus { name: "a".to_owned(), state: state.into(), problems, ..PluginStatus::default() };
        let mut document = Document::default();
        document.agent.tick = Some(TickDocument::default());
        document.plugins.is_responding = true;
        document.plugins.list.push(PluginDocument { status, ..PluginDocument::default() });
        document
    }

    fn is_wrong(document: &Document) -> bool {
        findings(document).iter().any(|finding| finding.is_wrong)
    }

    #[test]
    fn problems_that_have_passed_come_last() {
        let problem =
            |reason, is_over| Problem { is_over, is_wrong: true, ..Problem::new(ProblemKind::Call, reason, "fix it") };
        let mut document = document("failed", vec![problem("old", true), problem("new", false)]);
        let reasons = |document: &Document| findings(document).into_iter().map(|one| one.reason).collect::<Vec<_>>();
        assert_eq!(reasons(&document), ["its last call: new", "has passed: its last call: old"]);
        assert!(is_wrong(&document));
        document.plugins.list[0].status.problems.pop();
        document.plugins.list[0].status.state = "up".into();
        assert!(!is_wrong(&document), "it has passed");
    }

    #[test]
    fn overdue_tick_and_silent_thread_are_wrong() {
        let good = document("up", Vec::new());
        assert_eq!(findings(&good), []);
        let mut late = good.clone();
        late.agent.tick = Some(TickDocument { is_overdue: true, ..TickDocument::default() });
        let mut silent = good.clone();
        silent.plugins.is_responding = false;
        assert!(is_wrong(&late) && is_wrong(&silent));
        let starting = Document::default();
        assert_eq!(findings(&starting), [], "it has no sample yet");
    }

    #[test]
    fn closed_addresses_are_wrong() {
        let mut document = document("up", Vec::new());
        let problem = Problem::new(ProblemKind::Address, "failed to listen", "end the other program").wrong_if(true);
        let address = |address: &str, problem: Option<Problem>| AddressStatus {
            address: address.to_owned(),
            is_open: problem.is_none(),
            problem,
        };
        document.addresses = vec![address("[::1]:1", None), address("127.0.0.1:1", Some(problem))];
        let findings = findings(&document);
        let [finding] = &*findings else { panic!("{findings:?}") };
        assert_eq!((&*finding.part, &*finding.reason), ("http 127.0.0.1:1", "failed to listen"));
        assert!(finding.is_wrong && finding.remedy == "end the other program");
    }

    #[test]
    fn bad_state_without_a_reason_is_shown() {
        let mut document = document("rejected", Vec::new());
        assert_eq!((findings(&document).len(), is_wrong(&document)), (1, false));
        document.plugins.list[0].status.is_configured = true;
        assert!(is_wrong(&document));
    }
}
