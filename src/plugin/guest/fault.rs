//! The faults of plugins, as a closed set: each kind has a counter in the module `agent` and a log line.

use std::fmt;
use std::time::Duration;

use crate::plugin::grants::kind::Grant;

/// The kind of a fault: the label `kind` of `plugin_faults_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// An illegal instruction, an out-of-bounds access, or a panic of the guest.
    Trap,
    /// The call did not return in time, though it could run.
    Timeout,
    /// The guest needed more memory or table elements than its limit.
    Memory,
    /// All plugins together needed more memory than the agent's limit for them.
    Capacity,
    /// The guest wanted more instances, tables, memories or handles than its limit.
    Limit,
    /// The guest recursed deeper than its stack.
    Stack,
    /// The guest returned or passed more than the host accepts.
    Oversize,
    /// The agent's own code panicked during the call.
    Panic,
    /// The host had too little memory, address space, descriptors or processor time.
    Shortage,
    /// The file could not be loaded, or a new version or configuration failed its trial.
    Load,
    /// A call could not be interrupted, and its thread was abandoned.
    Stuck,
}

impl FaultKind {
    /// All kinds, in the order of their counters.
    pub(crate) const ALL: [Self; 11] = [
        Self::Trap,
        Self::Timeout,
        Self::Memory,
        Self::Capacity,
        Self::Limit,
        Self::Stack,
        Self::Oversize,
        Self::Panic,
        Self::Shortage,
        Self::Load,
        Self::Stuck,
    ];

    /// The value of the label `kind`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Capacity => "capacity",
            Self::Limit => "limit",
            Self::Stack => "stack",
            Self::Oversize => "oversize",
            Self::Panic => "panic",
            Self::Shortage => "shortage",
            Self::Load => "load",
            Self::Stuck => "stuck",
        }
    }
}

/// The error of a call whose thread had too little of a processor.
#[derive(Debug)]
pub(crate) struct Starved {
    /// How long the call lasted.
    pub(crate) lasted: Duration,
    /// How much of that its thread had no processor.
    pub(crate) lost: Duration,
}

impl std::error::Error for Starved {}

/// The end of a sentence that begins with the call.
impl fmt::Display for Starved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = |time: Duration| {
            humantime::format_duration(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
        };
        let (lasted, lost) = (rounded(self.lasted), rounded(self.lost));
        write!(f, "too little processor time on this host: none for {lost} of {lasted}")
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind, which is counted.
    pub kind: FaultKind,
    /// The cause, on one line; for a shortage, with the remedy after a semicolon.
    pub message: String,
}

impl Fault {
    /// The cause, and what helps against it where that is known.
    pub(crate) fn reason_and_remedy(&self) -> (&str, Option<&str>) {
        let parts = self.message.rsplit_once("; ").filter(|_| self.kind == FaultKind::Shortage);
        parts.map_or((&self.message, None), |(reason, remedy)| (reason, Some(remedy)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind.name())
    }
}

/// Why a call of a plugin has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The plugin failed. Its instance is dropped, because its memory cannot be trusted.
    Fault(Fault),
    /// The plugin returned an error that is no fault. It keeps its instance, and is called again.
    Error(CallError),
    /// The plugin cannot work on this host or with its configuration. It is not called until that changes.
    Disabled(Disabled),
}

/// An error that a plugin returned, and that may be over at its next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The kind of the error.
    pub kind: CallErrorKind,
    /// The cause, on one line.
    pub reason: String,
}

/// The kind of an error that a plugin returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The service or device that it measures is not there.
    Unavailable,
    /// It did not understand the measured data, or has a defect.
    Failed,
}

/// The error of a plugin that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    /// The kind of the error.
    pub cause: DisabledCause,
    /// The end of a sentence that begins with the plugin, on one line.
    pub reason: String,
    /// The action for the operator.
    pub remedy: String,
    /// The missing grant, where that is the cause.
    pub(crate) denied: Option<Grant>,
    /// The wrong settings, where they are the cause.
    pub(crate) settings: Vec<InvalidSetting>,
}

/// A setting that a plugin does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    /// Its key in `config`, such as `servers[0].address`; empty for the configuration as a whole.
    pub(crate) key: String,
    /// The error and the remedy, on one line.
    pub(crate) message: String,
}

/// The kind of the error of a plugin that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledCause {
    /// The host has nothing for the plugin to measure.
    Unsupported,
    /// Its settings are wrong or missing.
    InvalidConfig,
    /// A grant is missing.
    Denied,
}

impl Failure {
    /// Whether the plugin returned that what it measures is not there.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Error(CallError { kind: CallErrorKind::Unavailable, .. }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Error(error) => f.write_str(&error.reason),
            Self::Disabled(disabled) => f.write_str(&disabled.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_in_their_own_order() {
        for (at, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }
}
