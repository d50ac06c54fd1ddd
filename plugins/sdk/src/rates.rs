//! Rates of counters: their growth since the previous tick. A counter that fell has none, also at the tick at which it is
//! back where it was: a driver that is reset reports zeros for a while, and its old value is no growth. That holds also if the
//! counter or its key is unreadable for some of these ticks.

use crate::Tick;
use crate::bounds::COUNT;

/// The previous values of `N` counters for each key, such as a device. Keys not used for [`MAX_ABSENT_TICKS`] are dropped.
///
/// ```
/// use gauged_plugin::{Tick, rates::Rates};
///
/// let mut disks = Rates::default();
/// let mut at = |seconds: u64, reads: u64, milliseconds: u64| {
///     let tick = Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000, interval_ms: 10_000 };
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
#[doc(alias("derivative", "irate", "delta", "per_second"))]
#[derive(Debug, Clone)]
pub struct Rates<const N: usize> {
    /// In the order of the calls, which rarely changes between ticks.
    entries: Vec<Entry<N>>,
    /// The likely position of the next key.
    next: usize,
    tick_ns: u64,
    /// The number of ticks.
    ticks: u64,
}

/// The ticks for which a key that is absent keeps its values: a line that is unreadable for a moment must not hide that a
/// counter fell. There is no growth over such a gap.
pub const MAX_ABSENT_TICKS: u64 = 5;

#[derive(Debug, Clone)]
struct Entry<const N: usize> {
    key: Box<str>,
    counters: [Counter; N],
    at_ns: u64,
    /// The number of the tick.
    tick: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    /// The last known value.
    value: Option<u64>,
    /// Whether that is of the previous tick.
    is_recent: bool,
    /// For a counter that fell, its value before.
    fallen: Option<u64>,
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
    /// Growth of each counter; `None` for one that fell, came back, or is or was not known.
    pub by: [Option<u64>; N],
    /// Whether each counter fell or came back, so that its source was reset. An unknown one was not.
    pub is_reset: [bool; N],
    /// Time between the two values.
    pub seconds: f64,
}

impl<const N: usize> EachChange<N> {
    /// Growth of each counter per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub fn per_second(&self) -> [Option<f64>; N] {
        self.by.map(|by| Some(by? as f64 / self.seconds))
    }
}

impl<const N: usize> Default for Rates<N> {
    fn default() -> Self {
        Self { entries: Vec::new(), next: 0, tick_ns: 0, ticks: 0 }
    }
}

impl<const N: usize> Rates<N> {
    /// The growth of the counters of a key since the previous tick. `None` if the key is new, if any counter fell because
    /// its source restarted, or is not known.
    pub fn change(&mut self, tick: Tick, key: &str, values: [impl Into<Option<u64>>; N]) -> Option<Change<N>> {
        let EachChange { by, seconds, .. } = self.change_each(tick, key, values)?;
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
    ///     let tick = Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000, interval_ms: 10_000 };
    ///     disks.change_each(tick, "sda", [reads, milliseconds])
    /// };
    /// assert!(at(100, 5000, 4_294_967_200).is_none(), "no previous value");
    /// let change = at(110, 5050, 4).expect("one grew");
    /// assert_eq!((change.by, change.per_second()), ([Some(50), None], [Some(5.0), None]));
    ///
    /// // A reset driver: zeros, and then the old value.
    /// let mut links = Rates::default();
    /// let mut at = |seconds: u64, bytes: u64| {
    ///     let tick = Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000, interval_ms: 10_000 };
    ///     links.change_each(tick, "eth0", [bytes]).and_then(|change| change.by[0])
    /// };
    /// assert_eq!([at(1, 900), at(2, 0), at(3, 950), at(4, 960)], [None, None, None, Some(10)]);
    /// ```
    pub fn change_each(&mut self, tick: Tick, key: &str, values: [impl Into<Option<u64>>; N]) -> Option<EachChange<N>> {
        let values = values.map(Into::into);
        let now_ns = tick.monotonic_ns;
        if now_ns != self.tick_ns {
            self.ticks += 1;
            let ticks = self.ticks;
            self.entries.retain(|entry| ticks - entry.tick <= MAX_ABSENT_TICKS + 1);
            (self.tick_ns, self.next) = (now_ns, 0);
        }
        let Some(at) = self.position(key) else {
            let mut entry =
                Entry { key: key.into(), counters: [Counter::default(); N], at_ns: now_ns, tick: self.ticks };
            for (counter, value) in entry.counters.iter_mut().zip(values) {
                counter.growth(value);
            }
            self.entries.insert(self.next.min(self.entries.len()), entry);
            self.next += 1;
            return None;
        };
        self.next = at + 1;
        let entry = &mut self.entries[at];
        let (before_ns, is_consecutive) = (entry.at_ns, self.ticks - entry.tick <= 1);
        (entry.at_ns, entry.tick) = (now_ns, self.ticks);
        let (mut by, mut is_reset) = ([None; N], [false; N]);
        for ((counter, value), (by, is_reset)) in
            entry.counters.iter_mut().zip(values).zip(by.iter_mut().zip(&mut is_reset))
        {
            counter.is_recent &= is_consecutive;
            *is_reset = counter.is_recent && value.is_some();
            *by = counter.growth(value);
            *is_reset &= by.is_none();
        }
        if !is_consecutive || now_ns <= before_ns {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "exact for a hundred days between two ticks")]
        let seconds = (now_ns - before_ns) as f64 / 1e9;
        Some(EachChange { by, is_reset, seconds })
    }

    /// The position of a key, which is likely at or soon after the last one.
    fn position(&self, key: &str) -> Option<usize> {
        let (before, after) = self.entries.split_at(self.next.min(self.entries.len()));
        let find = |entries: &[Entry<N>]| entries.iter().position(|entry| *entry.key == *key);
        find(after).map(|at| before.len() + at).or_else(|| find(before))
    }
}

impl Counter {
    /// Takes the value of a tick, and returns its growth since the previous one, if that is known and the counter is not below
    /// a value from which it fell.
    fn growth(&mut self, now: Option<u64>) -> Option<u64> {
        let was_recent = std::mem::replace(&mut self.is_recent, now.is_some());
        let now = now?;
        let before = self.value.replace(now)?;
        let Some(by) = now.checked_sub(before) else {
            self.fallen = self.fallen.max(Some(before));
            return None;
        };
        let is_back = self.fallen.is_some_and(|fallen| now >= fallen);
        if is_back {
            self.fallen = None;
        }
        COUNT.check(by).filter(|_| was_recent && !is_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_that_came_back_has_no_change() {
        for (values, expected) in [
            (&[900, 0, 950, 960][..], &[None, None, Some(10)][..]),
            // Zeros for two ticks.
            (&[900, 0, 0, 950, 960], &[None, Some(0), None, Some(10)]),
            // A restart: the growth is real until it crosses the old value.
            (&[900, 10, 20, 30], &[None, Some(10), Some(10)]),
            (&[900, 890, 950, 960], &[None, None, Some(10)]),
            // Two dips in a row.
            (&[900, 500, 100, 600, 901, 902], &[None, None, Some(500), None, Some(1)]),
            (&[5, u64::MAX, 7, 8], &[None, None, Some(1)]),
        ] {
            let mut rates = Rates::default();
            let changes = (0..).zip(values).map(|(second, value)| rates.change_each(at(second), "", [*value]));
            let changes: Vec<_> = changes.skip(1).map(|change| change.expect("a key").by[0]).collect();
            assert_eq!(changes, expected, "{values:?}");
        }
    }

    #[test]
    fn counter_returning_after_a_gap_has_no_change() {
        for (values, expected) in [
            // Unreadable before the dip, within it, and after it.
            (&[Some(900), None, Some(0), Some(950), Some(960)][..], &[None, None, None, Some(10)][..]),
            (&[Some(900), Some(0), None, Some(950), Some(960)], &[None, None, None, Some(10)]),
            (&[Some(900), None, None, Some(950), Some(960)], &[None, None, None, Some(10)]),
            // A value that is no number below 2^63 is unknown, and hides nothing.
            (&[Some(900), None, Some(0), None, Some(5), Some(950)], &[None, None, None, None, None]),
        ] {
            for is_absent in [false, true] {
                let mut rates = Rates::default();
                let changes = (1..).zip(values).map(|(second, value)| {
                    rates.change_each(at(second), "other", [second]);
                    let is_asked = value.is_some() || !is_absent;
                    is_asked
                        .then(|| rates.change_each(at(second), "", [*value]))
                        .flatten()
                        .and_then(|change| change.by[0])
                });
                let changes: Vec<_> = changes.skip(1).collect();
                assert_eq!(changes, expected, "{values:?}, absent: {is_absent}");
            }
        }
    }

    #[test]
    fn absent_keys_are_dropped_after_some_ticks() {
        let mut rates = Rates::default();
        for second in 1..1000 {
            rates.change(at(second), "stays", [second]);
            rates.change(at(second), &format!("container {second}"), [1]);
        }
        assert!(
            rates.entries.len() <= 3 + usize::try_from(MAX_ABSENT_TICKS).expect("small"),
            "{}",
            rates.entries.len()
        );
    }

    #[test]
    fn unknown_counter_has_no_change_until_known_twice() {
        let mut rates = Rates::default();
        let mut change = |second, value: Option<u64>| {
            rates.change_each(at(second), "", [value, Some(second)]).map(|change| change.by)
        };
        assert_eq!(change(0, Some(7)), None);
        assert_eq!(change(1, None), Some([None, Some(1)]));
        assert_eq!(change(2, Some(9)), Some([None, Some(1)]));
        assert_eq!(change(3, Some(11)), Some([Some(2), Some(1)]));
    }

    #[test]
    fn unknown_counter_is_no_reset() {
        let mut rates = Rates::default();
        let mut is_reset =
            |second, values: [Option<u64>; 2]| rates.change_each(at(second), "", values).map(|change| change.is_reset);
        assert_eq!(is_reset(0, [Some(7), Some(7)]), None);
        assert_eq!(is_reset(1, [None, Some(3)]), Some([false, true]));
        assert_eq!(is_reset(2, [Some(1), Some(7)]), Some([false, true]), "unknown before, and back");
        assert_eq!(is_reset(3, [Some(1), Some(8)]), Some([false, false]));
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "a sum for a comparison")]
    fn growth_never_exceeds_that_of_the_counter() {
        // Counters that grow by at most 100, with dips: no growth may exceed it.
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let (mut rates, mut value) = (Rates::default(), 1_000_000_u64);
            for second in 0..100 {
                value += random(101);
                let dips = random(8) == 0 && second > 0;
                let seen = if dips { random(value) } else { value };
                let change = rates.change_each(at(second), "", [seen]);
                // Within a dip any value may be read; back from it none is.
                if let Some(by) = change.and_then(|change| change.by[0]) {
                    assert!(dips || by <= 100, "{by} at {second}");
                }
            }
        }
    }

    fn at(seconds: u64) -> Tick {
        Tick { unix_ms: 0, monotonic_ns: seconds * 1_000_000_000, budget_ms: 1000, interval_ms: 10_000 }
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
