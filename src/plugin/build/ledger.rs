//! The account of all compilations of the agent. It outlasts a guest thread that hangs: the next one continues it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was compiled so far, and what was reported about compilers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    started: AtomicU64,
    is_unconfined_reported: AtomicBool,
}

impl Ledger {
    /// Counts a compilation that is started.
    pub(crate) fn count(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// How many compilations were started.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Logs, once, that compilers have all system calls.
    pub(crate) fn report_unconfined(&self, reason: &str) {
        if !self.is_unconfined_reported.swap(true, Ordering::Relaxed) {
            let remedy = "run the agent on a kernel with seccomp filters, and let its sandbox allow seccomp(2)";
            let consequence = "plugins are compiled all the same, within limits of time, memory and files only";
            tracing::warn!(reason, remedy, consequence, "compiler not confined");
        }
    }
}
