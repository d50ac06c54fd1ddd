//! The sinks in the view. Their numbers are those of the module `agent`; the text of a problem is here only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::problem::{Problem, ProblemKind};
use crate::sample::Text;

/// A sink in the view.
#[derive(Debug, Clone)]
pub(crate) struct SinkView {
    pub(crate) name: Text,
    pub(crate) kind: &'static str,
    pub(crate) problem: Arc<SinkProblem>,
}

/// Where a sink shows its problem.
#[derive(Debug, Default)]
pub(crate) struct SinkProblem {
    /// Behind a lock because the sink's thread writes it and others read it; it is held for a copy.
    problem: Mutex<Option<Problem>>,
    /// The problem that it takes no samples, which the tick thread shows when that begins and ends.
    stall: Mutex<Option<Problem>>,
}

impl SinkProblem {
    /// Shows a problem; none when there is none any more.
    pub(crate) fn set(&self, problem: Option<Problem>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Shows that the sink takes no samples, with the remedy; none when it does.
    pub(crate) fn set_stalled(&self, remedy: Option<&str>, now: Duration) {
        let reason = "it takes no samples; when its queue is full, the oldest are dropped";
        let problem =
            remedy.map(|remedy| Problem::new(ProblemKind::Sink, reason, remedy).wrong_if(true).since([], now));
        *self.stall.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Whether the problem that was [set](Self::set), not that of a stall, has this reason; none for no problem.
    pub(crate) fn is_set_to(&self, reason: Option<&str>) -> bool {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.as_ref().map(|problem| &*problem.reason) == reason
    }

    /// The problem to show: a stall first.
    pub(crate) fn get(&self) -> Option<Problem> {
        let stall = self.stall.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stall.or_else(|| self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
