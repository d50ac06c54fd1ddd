//! What can go wrong with a plugin, as a closed set: each kind has a counter in the module `agent` and a line in the log.

use std::fmt;
use std::time::Duration;

/// The longest pause between two attempts: an operator who mends the cause sees the effect within five minutes.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// What a plugin did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It ended in an illegal instruction, an out-of-bounds access, a panic of its own.
    Trap,
    /// It did not come back in time.
    Timeout,
    /// It wanted more memory than it may have, and could not go on without.
    Memory,
    /// It recursed deeper than its stack.
    Stack,
    /// It returned or passed more than the host takes.
    Oversize,
    /// It said of itself that it failed.
    Internal,
    /// The agent's own code panicked while serving it.
    Panic,
    /// Its file could not be loaded, or its new version did not pass its trial.
    Load,
}

impl Kind {
    /// All kinds, in the order of their counters.
    pub(super) const ALL: [Self; 8] =
        [Self::Trap, Self::Timeout, Self::Memory, Self::Stack, Self::Oversize, Self::Internal, Self::Panic, Self::Load];

    /// The value of the label `kind`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Oversize => "oversize",
            Self::Internal => "internal",
            Self::Panic => "panic",
            Self::Load => "load",
        }
    }
}

/// One fault, with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind.name())
    }
}

/// Why a call of a plugin has nothing to return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It failed; its memory is not to be trusted any more.
    Fault(Fault),
    /// What it measures is not there now; it is asked again.
    Unavailable(String),
    /// It cannot work on this host, or not as configured; it is not asked again until something changes.
    PutAside(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Unavailable(message) | Self::PutAside(message) => f.write_str(message),
        }
    }
}

/// How often each kind has happened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts([u64; Kind::ALL.len()]);

impl Counts {
    pub(super) fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// The kinds that have happened, with how often.
    pub(super) fn nonzero(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

/// How long to leave a plugin alone after so many faults in a row: 1, 2, 4 … seconds, at most [`MAX_PAUSE`].
pub(super) fn pause_after(faults: u32) -> Duration {
    let doubled = 1_u64.checked_shl(faults.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(doubled).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_are_in_the_order_of_the_kinds() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        let mut counts = Counts::default();
        counts.add(Kind::Stack);
        counts.add(Kind::Stack);
        assert_eq!(counts.nonzero().collect::<Vec<_>>(), [(Kind::Stack, 2)]);
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<u64> = (1..=11).map(|faults| pause_after(faults).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    proptest! {
        #[test]
        fn pauses_never_shrink_and_are_bounded(faults in 0_u32..u32::MAX) {
            prop_assert!(pause_after(faults) <= pause_after(faults + 1));
            prop_assert!(pause_after(faults) <= MAX_PAUSE);
        }
    }
}
