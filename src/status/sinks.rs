//! The sinks in the view. Their numbers are those of the module `agent`; the text of a problem is here only.

use std::sync::{Arc, Mutex, PoisonError};

use super::problem::Problem;
use crate::sample::Text;

/// A sink in the view.
#[derive(Debug, Clone)]
pub(crate) struct SinkView {
    pub(crate) name: Text,
    pub(crate) kind: &'static str,
    pub(crate) problem: Arc<SinkProblem>,
}

/// Where a sink shows its problem. Behind a lock because the sink's thread writes it and others read it; it is held for a copy, and
/// never taken at a tick.
#[derive(Debug, Default)]
pub(crate) struct SinkProblem(Mutex<Option<Problem>>);

impl SinkProblem {
    /// Shows a problem; none when there is none any more.
    pub(crate) fn set(&self, problem: Option<Problem>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(crate) fn get(&self) -> Option<Problem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
