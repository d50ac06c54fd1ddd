//! The names that the series of a sink have: no two have the same, and a series whose name nobody has any more has ended.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::time::Duration;

use super::decision::{Collision, Decision, Entry};
use super::named_series::NamedSeries;

/// How many different collisions are reported. More would be a flood, from a plugin that invents names.
const MAX_REPORTS: usize = 100;

/// For how many samples a name that was released is tried: in the first one, the module that waits for it may come before.
const RETRIES: u8 = 2;

/// The names of the series that are sent.
#[derive(Debug)]
pub(super) struct Names<T> {
    hasher: RandomState,
    /// The hashes of name and labels. Of two series with one hash the second is not sent: among a million there is such a pair once
    /// in forty million agents.
    taken: HashSet<u64>,
    /// The series that were sent, and whose module does not have them any more.
    released: Vec<Box<Entry<T>>>,
    /// The series that have no name since another one has it.
    collided: usize,
    /// Those of them that measure the same as the other one.
    alternatives: usize,
    /// For how many more samples such series try again, since a name was released.
    retries: u8,
    reported: HashSet<String>,
    /// The series that are left out since there are too many.
    pub(super) left_out: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            taken: HashSet::new(),
            released: Vec::new(),
            collided: 0,
            alternatives: 0,
            retries: 0,
            reported: HashSet::new(),
            left_out: 0,
        }
    }
}

impl<T> Names<T> {
    /// Takes the name of a series, and returns its hash.
    ///
    /// # Errors
    ///
    /// When another one has it. Of two that measure the same, nothing is reported.
    pub(super) fn take(&mut self, series: &NamedSeries<'_>) -> Result<u64, Collision> {
        let identity = self.identity(series);
        if self.taken.insert(identity) {
            return Ok(identity);
        }
        self.collided += 1;
        if series.named.is_alternative {
            self.alternatives += 1;
            return Err(Collision::Alternative);
        }
        let name = &*series.named.name;
        if self.reported.len() < MAX_REPORTS && self.reported.insert(name.to_owned()) {
            let (module, metric) = (&*series.source.module, series.series.metric_name());
            let reason = "another series has its name and labels";
            let remedy = "exclude one of them, or rename it in its plugin or program";
            tracing::warn!(name, module, metric, reason, remedy, "series not sent");
        }
        Err(Collision::Loss)
    }

    fn identity(&self, series: &NamedSeries<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        series.named.name.hash(&mut hasher);
        series.series.column().hash(&mut hasher);
        for label in series.named.labels.iter().chain(&series.column_label) {
            (&*label.name, &*label.value).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The module of a series does not have it any more.
    pub(super) fn release(&mut self, decision: Decision<T>) {
        match decision {
            Decision::Sent(entry) => {
                self.taken.remove(&entry.identity);
                self.retries = RETRIES;
                if entry.last.is_some() {
                    self.released.push(entry);
                }
            }
            Decision::Collided(collision) => {
                self.collided -= 1;
                self.alternatives -= usize::from(collision == Collision::Alternative);
            }
            Decision::LeftOut | Decision::Excluded => {}
        }
    }

    /// Whether series without a name are to try again.
    pub(super) fn is_retried(&self) -> bool {
        self.retries > 0 && self.collided > 0
    }

    /// How many series are not sent since another one has their name. None is missing that measures the same as the other.
    pub(super) fn collisions(&self) -> usize {
        self.collided - self.alternatives
    }

    /// Ends the sample of a tick: `ended` gets the series that were released, unless others have their names now, each with the time of
    /// its end.
    pub(super) fn end_sample(&mut self, tick: Duration, mut ended: impl FnMut(&T, Duration)) {
        // A series may have been released twice, in two late results: the last one has its last point.
        let mut identities = HashSet::with_capacity(self.released.len());
        self.released.reverse();
        self.released.retain(|entry| !self.taken.contains(&entry.identity) && identities.insert(entry.identity));
        for entry in self.released.drain(..).rev() {
            ended(&entry.rendered, entry.end(tick));
        }
        self.retries = self.retries.saturating_sub(1);
    }
}
