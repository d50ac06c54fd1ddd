//! The memory that all plugins hold together, with the agent's limit for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// The memory of all plugins.
#[derive(Debug)]
pub(crate) struct TotalMemory {
    held_bytes: AtomicU64,
    limit_bytes: AtomicU64,
}

/// Without a limit: for a plugin by itself.
impl Default for TotalMemory {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl TotalMemory {
    pub(crate) const fn new(limit_bytes: u64) -> Self {
        Self { held_bytes: AtomicU64::new(0), limit_bytes: AtomicU64::new(limit_bytes) }
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// The limit, for a fault: completes "more than".
    pub(crate) fn limit_text(&self) -> String {
        format!("the agent's limit of {} for all plugins", bytesize::ByteSize(self.limit_bytes()))
    }

    /// Changes the limit. What is held beyond a lower one stays.
    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Returns whether so much more may be held, and counts it.
    pub(super) fn hold(&self, bytes: u64) -> bool {
        let limit = self.limit_bytes();
        let within = |held: u64| held.checked_add(bytes).filter(|&held| bytes == 0 || held <= limit);
        self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    pub(super) fn release(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
