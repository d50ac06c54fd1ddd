//! Rates of counters: their growth since the previous tick.

use crate::Tick;

/// The previous values of `N` counters for each key, such as a device. Keys not used in a tick are dropped.
///
/// ```
/// use gauged_plugin::{Tick, rates::Rates};
///
/// let mut disks = Rates::default();
/// let mut at = |seconds: u64, reads: u64, milliseconds: u64| {
///     let tick = Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000 };
///     disks.change(tick, "sda", [reads, milliseconds])
/// };
/// assert!(at(100, 5000, 20).is_none(), "no previous value");
///
/// let change = at(110, 5050, 120).expect("both grew");
/// assert_eq!(change.by, [50, 100]);
/// assert_eq!(change.per_second(), [5.0, 10.0]);
///
/// assert!(at(120, 3, 0).is_none(), "a replaced disk counts from zero");
/// ```
#[derive(Debug, Clone)]
pub struct Rates<const N: usize> {
    /// In the order of the calls, which rarely changes between ticks.
    entries: Vec<Entry<N>>,
    /// The likely position of the next key.
    next: usize,
    tick_ns: u64,
}

#[derive(Debug, Clone)]
struct Entry<const N: usize> {
    key: Box<str>,
    values: [u64; N],
    at_ns: u64,
}

/// The growth of all counters of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change<const N: usize> {
    /// Growth of each counter.
    pub by: [u64; N],
    /// Time between the two values.
    pub seconds: f64,
}

impl<const N: usize> Change<N> {
    /// Growth of each counter per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub fn per_second(&self) -> [f64; N] {
        self.by.map(|by| by as f64 / self.seconds)
    }
}

/// The growth of each counter of a key that can restart independently of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EachChange<const N: usize> {
    /// Growth of each counter; `None` for one that fell.
    pub by: [Option<u64>; N],
    /// Time between the two values.
    pub seconds: f64,
}

impl<const N: usize> Default for Rates<N> {
    fn default() -> Self {
        Self { entries: Vec::new(), next: 0, tick_ns: 0 }
    }
}

impl<const N: usize> Rates<N> {
    /// The growth of the counters of a key since the previous tick. `None` if the key is new, or if any counter fell
    /// because its source restarted.
    pub fn change(&mut self, tick: Tick, key: &str, values: [u64; N]) -> Option<Change<N>> {
        let EachChange { by, seconds } = self.change_each(tick, key, values)?;
        let mut grown = [0; N];
        for (grown, by) in grown.iter_mut().zip(by) {
            *grown = by?;
        }
        Some(Change { by: grown, seconds })
    }

    /// As [`change`](Self::change), for counters that restart independently, such as 32-bit counters that wrap.
    ///
    /// ```
    /// use gauged_plugin::{Tick, rates::Rates};
    ///
    /// let mut disks = Rates::default();
    /// let mut at = |seconds: u64, reads: u64, milliseconds: u64| {
    ///     let tick = Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000 };
    ///     disks.change_each(tick, "sda", [reads, milliseconds])
    /// };
    /// assert!(at(100, 5000, 4_294_967_200).is_none(), "no previous value");
    /// assert_eq!(at(110, 5050, 4).expect("one grew").by, [Some(50), None]);
    /// ```
    pub fn change_each(&mut self, tick: Tick, key: &str, values: [u64; N]) -> Option<EachChange<N>> {
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
        Some(EachChange { by, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000 }
    }

    #[test]
    fn keys_in_any_order_keep_their_counters() {
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
    fn key_missing_for_a_tick_is_new_again() {
        let mut rates = Rates::default();
        rates.change(at(0), "gone", [1]);
        rates.change(at(0), "stays", [1]);
        assert!(rates.change(at(1), "stays", [2]).is_some());
        assert!(rates.change(at(2), "gone", [3]).is_none());
        assert!(rates.change(at(2), "stays", [3]).is_some());
        assert_eq!(rates.entries.len(), 2);
    }

    #[test]
    fn falling_counter_has_no_change() {
        let mut rates = Rates::default();
        rates.change(at(0), "", [5, 5]);
        assert_eq!(rates.change(at(1), "", [6, 4]), None);
        assert_eq!(rates.change(at(3), "", [8, 4]), Some(Change { by: [2, 0], seconds: 2.0 }));
        assert_eq!(rates.change(at(3), "", [9, 9]), None, "no time between the values");
    }
}
