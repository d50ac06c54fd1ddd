//! From counters to rates: what counters have grown by since the tick before.

use crate::Tick;

/// Remembers `N` counters for each of any number of keys, such as the devices of a host, from one tick to the next. A
/// key that was not asked for in a tick is forgotten.
///
/// ```
/// use gauged_plugin::{Tick, rates::Rates};
///
/// let mut disks = Rates::default();
/// let mut at = |seconds: u64, reads: u64, milliseconds: u64| {
///     let tick = Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000 };
///     disks.change(tick, "sda", [reads, milliseconds])
/// };
/// assert!(at(100, 5000, 20).is_none(), "nothing to compare with");
///
/// let change = at(110, 5050, 120).expect("both have grown");
/// assert_eq!(change.by, [50, 100]);
/// assert_eq!(change.per_second(), [5.0, 10.0]);
///
/// assert!(at(120, 3, 0).is_none(), "the disk was replaced, and counts from zero");
/// ```
#[derive(Debug, Clone)]
pub struct Rates<const N: usize> {
    /// In the order in which they are asked for, which hardly ever changes: the next is nearly always where it is looked
    /// for first.
    entries: Vec<Entry<N>>,
    next: usize,
    tick_ns: u64,
}

#[derive(Debug, Clone)]
struct Entry<const N: usize> {
    key: Box<str>,
    values: [u64; N],
    at_ns: u64,
}

/// What counters have grown by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change<const N: usize> {
    /// Each counter's growth.
    pub by: [u64; N],
    /// In which time.
    pub seconds: f64,
}

impl<const N: usize> Change<N> {
    /// Each counter's growth in a second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub fn per_second(&self) -> [f64; N] {
        self.by.map(|by| by as f64 / self.seconds)
    }
}

/// What counters have grown by that may begin anew each by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Changes<const N: usize> {
    /// Each counter's growth; none of one that has fallen.
    pub by: [Option<u64>; N],
    /// In which time.
    pub seconds: f64,
}

impl<const N: usize> Default for Rates<N> {
    fn default() -> Self {
        Self { entries: Vec::new(), next: 0, tick_ns: 0 }
    }
}

impl<const N: usize> Rates<N> {
    /// What the counters of this key have grown by since the tick before. None when it is new, and when any of them has
    /// fallen, because what they count has restarted.
    pub fn change(&mut self, tick: Tick, key: &str, values: [u64; N]) -> Option<Change<N>> {
        let Changes { by, seconds } = self.changes(tick, key, values)?;
        let mut grown = [0; N];
        for (grown, by) in grown.iter_mut().zip(by) {
            *grown = by?;
        }
        Some(Change { by: grown, seconds })
    }

    /// The same, where one that has fallen says nothing of the others: one that is too narrow for what it counts begins
    /// anew by itself.
    ///
    /// ```
    /// use gauged_plugin::{Tick, rates::Rates};
    ///
    /// let mut disks = Rates::default();
    /// let mut at = |seconds: u64, reads: u64, milliseconds: u64| {
    ///     let tick = Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000 };
    ///     disks.changes(tick, "sda", [reads, milliseconds])
    /// };
    /// assert!(at(100, 5000, 4_294_967_200).is_none(), "nothing to compare with");
    /// assert_eq!(at(110, 5050, 4).expect("one has grown").by, [Some(50), None]);
    /// ```
    pub fn changes(&mut self, tick: Tick, key: &str, values: [u64; N]) -> Option<Changes<N>> {
        let now_ns = tick.monotonic_ns;
        if now_ns != self.tick_ns {
            let before_ns = self.tick_ns;
            self.entries.retain(|entry| entry.at_ns == before_ns);
            (self.tick_ns, self.next) = (now_ns, 0);
        }
        let is_next = self.entries.get(self.next).is_some_and(|entry| *entry.key == *key);
        let found = if is_next { Some(self.next) } else { self.entries.iter().position(|entry| *entry.key == *key) };
        let Some(at) = found else {
            self.entries.insert(self.next.min(self.entries.len()), Entry { key: key.into(), values, at_ns: now_ns });
            self.next += 1;
            return None;
        };
        self.next = at + 1;
        let entry = &mut self.entries[at];
        let (before, before_ns) = (entry.values, entry.at_ns);
        (entry.values, entry.at_ns) = (values, now_ns);
        if now_ns <= before_ns {
            return None;
        }
        let mut by = [None; N];
        for ((by, value), before) in by.iter_mut().zip(values).zip(before) {
            *by = value.checked_sub(before);
        }
        #[allow(clippy::cast_precision_loss, reason = "exact for a hundred days between two ticks")]
        let seconds = (now_ns - before_ns) as f64 / 1e9;
        Some(Changes { by, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000 }
    }

    #[test]
    fn keys_may_come_in_any_order() {
        let mut rates = Rates::default();
        for (second, keys) in [(0, ["a", "b", "c"]), (1, ["a", "b", "c"]), (2, ["c", "a", "b"]), (3, ["b", "c", "a"])] {
            for key in keys {
                let change = rates.change(at(second), key, [second * 7]);
                let expected = Change { by: [7], seconds: 1.0 };
                assert_eq!(change, (second > 0).then_some(expected), "{key} at {second}");
            }
        }
    }

    #[test]
    fn what_was_not_there_at_a_tick_is_new_at_the_next() {
        let mut rates = Rates::default();
        rates.change(at(0), "gone", [1]);
        rates.change(at(0), "stays", [1]);
        assert!(rates.change(at(1), "stays", [2]).is_some());
        assert!(rates.change(at(2), "gone", [3]).is_none());
        assert!(rates.change(at(2), "stays", [3]).is_some());
        assert_eq!(rates.entries.len(), 2);
    }

    #[test]
    fn one_that_falls_begins_anew() {
        let mut rates = Rates::default();
        rates.change(at(0), "", [5, 5]);
        assert_eq!(rates.change(at(1), "", [6, 4]), None);
        assert_eq!(rates.change(at(3), "", [8, 4]), Some(Change { by: [2, 0], seconds: 2.0 }));
        assert_eq!(rates.change(at(3), "", [9, 9]), None, "no time has passed");
    }
}
