//! The parts of the measured data that one plugin has left out: each kind is reported once, and all but the absent ones are
//! counted. Neither a restart nor a new version reports them again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// When each reported kind was skipped last, by the hash of its texts: those are the guest's, and may be long.
    skipped_at: HashMap<u64, Instant>,
    /// Whether it was reported that further kinds are not.
    is_excess_reported: bool,
}

/// Whether a skipped part is to be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// A kind that was not reported.
    New,
    /// The same, but there are too many: it is reported that there are more.
    Excess,
    /// There is nothing to report.
    Known,
}

impl ReportedSkips {
    /// Whether a part of this kind is to be reported. Once it has been, [`record`](Self::record) remembers that: a report that the
    /// log has no room for is due again.
    pub(crate) fn novelty(&self, kind: &[&str], now: Instant) -> Novelty {
        let mut kinds = self.lock();
        let hash = kinds.hasher.hash_one(kind);
        if let Some(at) = kinds.skipped_at.get_mut(&hash) {
            if is_current(*at, now) {
                *at = now;
                return Novelty::Known;
            }
            return Novelty::New;
        }
        if kinds.skipped_at.len() >= MAX_KINDS {
            kinds.skipped_at.retain(|_, at| is_current(*at, now));
        }
        if kinds.skipped_at.len() < MAX_KINDS {
            kinds.is_excess_reported = false;
            return Novelty::New;
        }
        if kinds.is_excess_reported { Novelty::Known } else { Novelty::Excess }
    }

    /// Records that a part of this kind was reported, or instead of it that there are more.
    pub(crate) fn record(&self, kind: &[&str], novelty: Novelty, now: Instant) {
        let mut kinds = self.lock();
        match novelty {
            // Another version may have filled the table meanwhile, which is no harm.
            Novelty::New => {
                let hash = kinds.hasher.hash_one(kind);
                kinds.skipped_at.insert(hash, now);
            }
            Novelty::Excess => kinds.is_excess_reported = true,
            Novelty::Known => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_current(skipped_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(skipped_at) < FORGOTTEN_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(skips: &ReportedSkips, kind: &[&str], now: Instant) -> Novelty {
        let novelty = skips.novelty(kind, now);
        skips.record(kind, novelty, now);
        novelty
    }

    #[test]
    fn kinds_are_reported_until_forgotten() {
        let (skips, start) = (ReportedSkips::default(), Instant::now());
        let at = |seconds| report(&skips, &["/proc/stat", "processes"], start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(3600)], [Novelty::New, Novelty::Known, Novelty::Known]);
        assert_eq!(at(7200), Novelty::New, "it was away for an hour");
        assert_eq!(report(&skips, &["/proc/stat", "ctxt"], start), Novelty::New);
        assert_eq!(report(&skips, &["/proc/statctxt", ""], start), Novelty::New, "texts are not joined");
    }

    #[test]
    fn kind_without_a_log_line_stays_new() {
        let (skips, start) = (ReportedSkips::default(), Instant::now());
        let kind = ["/proc/stat", "ctxt"];
        assert_eq!([skips.novelty(&kind, start), skips.novelty(&kind, start)], [Novelty::New; 2]);
        skips.record(&kind, Novelty::New, start);
        assert_eq!(skips.novelty(&kind, start), Novelty::Known);
    }

    #[test]
    fn number_of_kinds_is_limited() {
        let (skips, start) = (ReportedSkips::default(), Instant::now());
        let novelties: Vec<Novelty> =
            (0..1000).map(|number| report(&skips, &["/file", &number.to_string()], start)).collect();
        assert_eq!(novelties.iter().filter(|&&novelty| novelty == Novelty::New).count(), MAX_KINDS);
        let excess: Vec<usize> = (0..1000).filter(|&at| novelties[at] == Novelty::Excess).collect();
        assert_eq!(excess, [MAX_KINDS], "by the first that is too many");
        assert_eq!(report(&skips, &["/file", "0"], start), Novelty::Known);
        let later = start + FORGOTTEN_AFTER;
        assert_eq!(report(&skips, &["/other", ""], later), Novelty::New, "the others are forgotten");
        let again: Vec<Novelty> =
            (0..MAX_KINDS).map(|number| report(&skips, &["/file", &number.to_string()], later)).collect();
        assert_eq!(again.last(), Some(&Novelty::Excess), "it is too many again");
    }

    #[test]
    fn excess_is_due_until_it_is_reported() {
        let (skips, start) = (ReportedSkips::default(), Instant::now());
        for number in 0..MAX_KINDS {
            report(&skips, &["/file", &number.to_string()], start);
        }
        for kind in ["a", "b"] {
            assert_eq!(skips.novelty(&["/file", kind], start), Novelty::Excess, "whichever kind has the log line");
        }
        skips.record(&["/file", "b"], Novelty::Excess, start);
        assert_eq!(skips.novelty(&["/file", "a"], start), Novelty::Known);
    }
}
