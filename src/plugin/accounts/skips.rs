//! The parts of the measured data that one plugin has left out: each kind is reported once, and all but the absent ones are
//! counted. Neither a restart nor a new version reports them again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many kinds are remembered: a file that is garbage from end to end has thousands, which say no more.
const MAX_KINDS: usize = 100;

/// After how long without a kind it is reported again when it comes back, so that one that comes and goes does not flood the
/// log.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The reported parts of one plugin.
#[derive(Default)]
pub(crate) struct ReportedSkips {
    /// Behind a lock because an old and a new version may run at the same time.
    kinds: Mutex<Kinds>,
}

#[derive(Default)]
struct Kinds {
    hasher: RandomState,
    /// When each kind was skipped last, by the hash of its texts: those are the guest's, and may be long.
    skipped_at: HashMap<u64, Instant>,
}

/// Whether a skipped part is to be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    /// As new, and the last one: later kinds are counted only.
    Last,
    Known,
}

impl ReportedSkips {
    /// Records that a part of this kind was skipped.
    pub(crate) fn record(&self, kind: &[&str], now: Instant) -> Novelty {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = kinds.hasher.hash_one(kind);
        let is_current = |at: &Instant| now.saturating_duration_since(*at) < FORGOTTEN_AFTER;
        if let Some(at) = kinds.skipped_at.get_mut(&hash) {
            let novelty = if is_current(at) { Novelty::Known } else { Novelty::New };
            *at = now;
            return novelty;
        }
        if kinds.skipped_at.len() >= MAX_KINDS {
            kinds.skipped_at.retain(|_, at| is_current(at));
        }
        if kinds.skipped_at.len() >= MAX_KINDS {
            return Novelty::Known;
        }
        kinds.skipped_at.insert(hash, now);
        if kinds.skipped_at.len() == MAX_KINDS { Novelty::Last } else { Novelty::New }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_reported_until_forgotten() {
        let (skips, start) = (ReportedSkips::default(), Instant::now());
        let record = |seconds| skips.record(&["/proc/stat", "processes"], start + Duration::from_secs(seconds));
        assert_eq!([record(0), record(1), record(3600)], [Novelty::New, Novelty::Known, Novelty::Known]);
        assert_eq!(record(7200), Novelty::New, "it was away for an hour");
        assert_eq!(skips.record(&["/proc/stat", "ctxt"], start), Novelty::New);
        assert_eq!(skips.record(&["/proc/statctxt", ""], start), Novelty::New, "texts are not joined");
    }

    #[test]
    fn number_of_kinds_is_limited() {
        let (skips, start) = (ReportedSkips::default(), Instant::now());
        let novelties: Vec<Novelty> =
            (0..1000).map(|number| skips.record(&["/file", &number.to_string()], start)).collect();
        assert_eq!(novelties.iter().filter(|&&novelty| novelty == Novelty::New).count(), MAX_KINDS - 1);
        assert_eq!(novelties.iter().position(|&novelty| novelty == Novelty::Last), Some(MAX_KINDS - 1));
        assert_eq!(skips.record(&["/other", ""], start + FORGOTTEN_AFTER), Novelty::New, "the others are forgotten");
    }
}
