//! A problem: its reason, and its remedy. It is the same in the view and in the document.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A problem of a plugin, a file or a collector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The part that has it.
    pub(crate) kind: ProblemKind,
    /// The kind of the fault, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// The cause.
    pub(crate) reason: String,
    /// The action for the operator; empty where none is known.
    pub(crate) remedy: String,
    /// When it began, in seconds since the Unix epoch.
    pub(crate) since_seconds: f64,
    /// Whether the operator has to act: metrics that are expected are missing.
    pub(crate) is_wrong: bool,
    /// Whether it has passed, and is only the last one that there was.
    pub(crate) is_over: bool,
}

/// The part that has a problem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProblemKind {
    /// The plugin's file cannot be read, or was rejected.
    File,
    /// The plugin's new configuration was rejected; the one before is in effect.
    Configuration,
    /// The last call failed, or returned an error.
    Call,
    /// A sink cannot deliver.
    Sink,
    /// The HTTP server does not listen on an address.
    Address,
    /// A guest thread hung in the plugin.
    Thread,
    /// A kind of a newer agent.
    #[default]
    #[serde(other)]
    Other,
}

impl ProblemKind {
    /// The beginning of a sentence about a plugin that ends with the reason.
    pub(super) fn subject(self) -> &'static str {
        match self {
            Self::File => "its file ",
            Self::Configuration => "its new configuration: ",
            Self::Call => "its last call: ",
            Self::Sink | Self::Address | Self::Thread | Self::Other => "",
        }
    }
}

impl Problem {
    /// A problem that is there now.
    pub(crate) fn new(kind: ProblemKind, reason: &str, remedy: &str) -> Self {
        Self { kind, reason: reason.to_owned(), remedy: remedy.to_owned(), ..Self::default() }
    }

    /// The same with a severity.
    pub(crate) fn wrong_if(self, is_wrong: bool) -> Self {
        Self { is_wrong, ..self }
    }

    /// The same with the time at which it began: that of the same problem among earlier ones, otherwise now.
    pub(crate) fn since<'a>(self, earlier: impl IntoIterator<Item = &'a Self>, now: Duration) -> Self {
        let is_same = |other: &&Self| other.kind == self.kind && other.reason == self.reason;
        let since_seconds = earlier.into_iter().find(is_same).map_or(now.as_secs_f64(), |same| same.since_seconds);
        Self { since_seconds, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_problem_keeps_its_beginning() {
        let problem = || Problem::new(ProblemKind::File, "is empty", "copy it again");
        let first = problem().since([], Duration::from_secs(5));
        assert_eq!(problem().since([&first], Duration::from_secs(9)).since_seconds, 5.0);
        let other = Problem::new(ProblemKind::Call, "is empty", "").since([&first], Duration::from_secs(9));
        assert_eq!(other.since_seconds, 9.0);
    }

    #[test]
    fn kinds_of_newer_agents_are_read() {
        let problem: Problem = serde_json::from_str(r#"{"kind":"moon","reason":"x","new":1}"#).expect("read");
        assert_eq!((problem.kind, &*problem.reason), (ProblemKind::Other, "x"));
    }
}
