//! What the status of the agent shows of one plugin: state, version, problems with their remedies, missing grants. It is made
//! again only when something in it may have changed.

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::schedule::wall_clock;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::fault::{Disabled, DisabledCause, Failure, Fault, FaultKind};
use crate::plugin::guest_thread::abandonment::Suspension;
use crate::plugin::shortage::SHORTAGE_REMEDY;
use crate::plugin::supervisor::file_status::FileStatus;
use crate::plugin::supervisor::serving::Serving;
use crate::plugin::supervisor::state::PluginState;
use crate::plugin::supervisor::wording::call_error_remedy;
use crate::plugin::trial::Trial;
use crate::status::{PluginStatus, Problem, ProblemKind};

/// What is shown of a plugin.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The last failure of a call of the version that serves. Boxed, since most plugins have none.
    failure: Option<Box<CallFailure>>,
    shown: Option<Arc<PluginStatus>>,
    /// The state and the number of missing grants that are shown; none when anything else may have changed.
    basis: Option<(PluginState, usize)>,
}

/// A failure of a call.
#[derive(Debug, PartialEq)]
struct CallFailure {
    fault: Option<FaultKind>,
    reason: String,
    remedy: String,
    /// Whether the host has nothing to measure, which nobody has to act on.
    is_unsupported: bool,
}

impl View {
    /// Records that anything may have changed.
    pub(super) fn outdate(&mut self) {
        self.basis = None;
    }

    /// Records that another version serves: the failures are those of the one before.
    pub(super) fn begin_version(&mut self) {
        self.failure = None;
    }

    /// Records the outcome of a trial with which a version begins to serve.
    pub(super) fn record_trial(&mut self, trial: &Trial, plugin: &PluginContext) {
        match trial {
            Trial::Passed(_) => {}
            Trial::Error(error, _) => self.record_failure(&Failure::Error(error.clone()), plugin),
            Trial::Fault(fault) => self.record_failure(&Failure::Fault(fault.clone()), plugin),
        }
    }

    /// Records the failure of a call.
    pub(super) fn record_failure(&mut self, failure: &Failure, plugin: &PluginContext) {
        let failure = CallFailure::new(failure, plugin);
        if self.failure.as_deref() != Some(&failure) {
            self.failure = Some(Box::new(failure));
            self.outdate();
        }
    }
}

impl CallFailure {
    fn new(failure: &Failure, plugin: &PluginContext) -> Self {
        let is_unsupported = matches!(failure, Failure::Disabled(Disabled { cause: DisabledCause::Unsupported, .. }));
        let (fault, reason, remedy) = match failure {
            Failure::Fault(fault) => {
                let (reason, remedy) = fault.reason_and_remedy();
                let remedy = remedy.map_or_else(|| fault_remedy(fault, &plugin.name), Cow::from);
                (Some(fault.kind), reason, format!("{remedy}; it is started afresh after a pause"))
            }
            Failure::Error(error) => (None, &*error.reason, call_error_remedy(error.kind).to_owned()),
            Failure::Disabled(Disabled { reason, remedy, .. }) => (None, &**reason, remedy.clone()),
        };
        Self { fault, reason: reason.to_owned(), remedy, is_unsupported }
    }
}

/// The remedy for a fault whose message has none.
fn fault_remedy(fault: &Fault, plugin: &str) -> Cow<'static, str> {
    let raise = |key: &str| format!("raise {key} under [plugins.{plugin}], or fix the plugin").into();
    match fault.kind {
        FaultKind::Timeout => raise("timeout"),
        FaultKind::Memory => raise("memory"),
        FaultKind::Limit | FaultKind::Oversize => raise("the limit that the reason names"),
        FaultKind::Capacity => "raise memory under [limits], or remove plugins".into(),
        FaultKind::Shortage => SHORTAGE_REMEDY.into(),
        FaultKind::Panic => "report it as a bug of the agent".into(),
        FaultKind::Trap | FaultKind::Stack | FaultKind::Load | FaultKind::Stuck => "fix the plugin".into(),
    }
}

/// The condition of a plugin, from which its view is made.
pub(super) struct Condition<'a> {
    pub(super) plugin: &'a PluginContext,
    pub(super) file: &'a str,
    pub(super) status: &'a FileStatus,
    pub(super) state: PluginState,
    /// The version that serves.
    pub(super) serving: Option<&'a Serving>,
    /// Whether an earlier guest thread hung in it.
    pub(super) suspension: Option<Suspension>,
    pub(super) is_established: bool,
}

impl Condition<'_> {
    fn basis(&self) -> (PluginState, usize) {
        (self.state, self.plugin.denials.missing_count())
    }
}

impl View {
    /// What the status shows of a plugin in a condition, and whether that is new.
    pub(super) fn update(&mut self, condition: &Condition<'_>) -> (&Arc<PluginStatus>, bool) {
        let basis = Some(condition.basis());
        let is_new = self.shown.is_none() || self.basis != basis;
        if is_new {
            (self.shown, self.basis) = (Some(Arc::new(self.make(condition))), basis);
        }
        (self.shown.get_or_insert_default(), is_new)
    }

    fn make(&self, condition: &Condition<'_>) -> PluginStatus {
        let Condition { plugin, serving, .. } = condition;
        let (now, earlier) = (wall_clock(), self.shown.as_ref().map_or(&[][..], |shown| &shown.problems));
        let problems = self.problems(condition).into_iter().map(|problem| problem.since(earlier, now)).collect();
        PluginStatus {
            name: plugin.name.to_string(),
            file: condition.file.to_owned(),
            state: condition.state.name().into(),
            is_configured: plugin.is_configured,
            version: serving.map(|serving| serving.version.name.to_string()),
            hash: serving.map(|serving| serving.version.digits.to_string()),
            interval_seconds: plugin.step.as_secs_f64(),
            problems,
            missing_grants: plugin.grant_lines(&plugin.denials.missing()),
        }
    }

    /// Its problems, the one that has passed last.
    fn problems(&self, condition: &Condition<'_>) -> Vec<Problem> {
        let &Condition { status, state, serving, suspension, is_established, .. } = condition;
        let file = status.problem().map(|(reason, remedy)| {
            let is_wrong = is_established && (serving.is_some() || state == PluginState::Rejected);
            Problem::new(ProblemKind::File, reason, &remedy).wrong_if(is_wrong)
        });
        let rejection = serving.and_then(|serving| serving.candidate.as_ref()?.rejection());
        let configuration =
            rejection.map(|(reason, remedy)| Problem::new(ProblemKind::Configuration, reason, remedy).wrong_if(true));
        let thread = suspension.map(|suspension| {
            let reason = "a call could not be interrupted, and its thread was given up";
            let remedy = match suspension {
                Suspension::Until(_) => "replace or remove the plugin; it is loaded again after a pause",
                Suspension::Disabled => "replace the plugin to have it loaded again, or remove it",
            };
            Problem::new(ProblemKind::Thread, reason, remedy).wrong_if(true)
        });
        let is_wrong_state = matches!(state, PluginState::Failed | PluginState::Disabled);
        let call = self.failure.as_ref().filter(|_| serving.is_some()).map(|failure| Problem {
            fault: failure.fault.map(|kind| kind.name().to_owned()),
            is_over: state == PluginState::Up,
            is_wrong: is_wrong_state && !failure.is_unsupported,
            ..Problem::new(ProblemKind::Call, &failure.reason, &failure.remedy)
        });
        let mut problems: Vec<Problem> = [thread, file, configuration, call].into_iter().flatten().collect();
        problems.sort_by_key(|problem| problem.is_over);
        problems
    }
}
