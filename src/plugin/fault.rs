//! What can go wrong with a plugin, as a closed set: each kind has a counter in the module `agent` and a line in the log.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// What a plugin did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It ended in an illegal instruction, an out-of-bounds access, a panic of its own.
    Trap,
    /// It did not come back in time.
    Timeout,
    /// It wanted more memory or table elements than it may have, and could not go on without.
    Memory,
    /// It wanted more instances, tables, memories or handles than it may have.
    Limit,
    /// It recursed deeper than its stack.
    Stack,
    /// It returned or passed more than the host takes.
    Oversize,
    /// It said of itself that it failed.
    Internal,
    /// The agent's own code panicked while serving it.
    Panic,
    /// The host had no memory, address space or descriptors left for it.
    Shortage,
    /// Its file could not be loaded, or its new version did not pass its trial.
    Load,
}

impl FaultKind {
    /// All kinds, in the order of their counters.
    pub(super) const ALL: [Self; 10] = [
        Self::Trap,
        Self::Timeout,
        Self::Memory,
        Self::Limit,
        Self::Stack,
        Self::Oversize,
        Self::Internal,
        Self::Panic,
        Self::Shortage,
        Self::Load,
    ];

    /// The value of the label `kind`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Limit => "limit",
            Self::Stack => "stack",
            Self::Oversize => "oversize",
            Self::Internal => "internal",
            Self::Panic => "panic",
            Self::Shortage => "shortage",
            Self::Load => "load",
        }
    }
}

/// Whether the host had not enough of something, which may pass, rather than the plugin being at fault.
pub(super) fn is_shortage(error: &wasmtime::Error) -> bool {
    let is_scarce = |errno| matches!(errno, Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOBUFS);
    error.is::<wasmtime::OutOfMemory>()
        || error.chain().any(|cause| {
            let of_io = cause.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
            of_io.or_else(|| cause.downcast_ref::<Errno>().copied()).is_some_and(is_scarce)
        })
}

/// One fault, with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which one it was.
    pub kind: FaultKind,
    /// What happened, on one line.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind.name())
    }
}

/// Why a call of a plugin has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The plugin failed; its memory is not to be trusted any more.
    Fault(Fault),
    /// What it measures is not there at the moment; it is called again.
    Unavailable(String),
    /// It cannot work on this host or as it is configured; it is not called until that changes.
    Disabled(Disabled),
}

/// Why a plugin is not called any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    /// The error that the plugin returned.
    pub cause: DisabledCause,
    /// The end of a sentence that begins with the plugin, on one line.
    pub reason: String,
    /// What the operator can do.
    pub remedy: String,
}

/// The error of a plugin that is not called any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledCause {
    /// The host has nothing for it to measure.
    Unsupported,
    /// Its settings are wrong or missing.
    InvalidConfig,
    /// A grant is missing.
    Denied,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Unavailable(message) => f.write_str(message),
            Self::Disabled(disabled) => f.write_str(&disabled.reason),
        }
    }
}

/// How often each kind has happened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts([u64; FaultKind::ALL.len()]);

impl Counts {
    pub(super) fn add(&mut self, kind: FaultKind) {
        self.0[kind as usize] += 1;
    }

    /// The kinds that have happened, with how often.
    pub(super) fn nonzero(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        FaultKind::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_in_the_order_of_the_kinds() {
        for (at, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        let mut counts = Counts::default();
        counts.add(FaultKind::Stack);
        counts.add(FaultKind::Stack);
        assert_eq!(counts.nonzero().collect::<Vec<_>>(), [(FaultKind::Stack, 2)]);
    }
}
