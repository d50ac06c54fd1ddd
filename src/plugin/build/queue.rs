//! The order in which files are compiled: for each free permit the smallest file that waits, among equals the one that came
//! first. One permit is only for small files, so that large ones never hold all. Knows neither files nor processes.
//!
//! A large file waits while smaller ones keep coming. A plugin waits with one file at a time, so each other plugin is before
//! it once, and again only when its file changes or is retried, which is after a pause.

use std::collections::{BTreeMap, BTreeSet};

/// How many files are compiled at a time: a compiler takes a whole core, and the ticks need one too. It does not depend on the
/// number of CPUs: on one, the kernel shares it between the compilers, so a small file takes twice its time beside a large one
/// and does not wait for its end.
const PERMITS: usize = 2;

/// How many large files are compiled at a time: one permit is kept for small ones.
const LARGE_PERMITS: usize = PERMITS - 1;

/// The size from which a file is large. Plugins in Rust and C are smaller, guests that carry an interpreter are larger.
pub(crate) const LARGE_BYTES: u64 = 1 << 20;

/// The files that wait for a permit, each with a waiter, and those that have one.
pub(crate) struct Queue<W> {
    waiting: BTreeMap<Ticket, W>,
    admitted: BTreeSet<Ticket>,
    /// The number of the next ticket.
    next: u64,
}

/// The place of a file, which sorts by size, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    bytes: u64,
    number: u64,
}

impl Ticket {
    fn is_large(self) -> bool {
        self.bytes >= LARGE_BYTES
    }

    /// Whether its permit is also one for a file of this size.
    pub(crate) fn covers(self, bytes: u64) -> bool {
        self.is_large() || bytes < LARGE_BYTES
    }
}

impl<W> Queue<W> {
    pub(crate) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), admitted: BTreeSet::new(), next: 0 }
    }

    /// Adds a file of this size.
    pub(crate) fn enter(&mut self, bytes: u64, waiter: W) -> Ticket {
        let ticket = Ticket { bytes, number: self.next };
        self.next += 1;
        self.waiting.insert(ticket, waiter);
        ticket
    }

    /// Gives a permit to the next file, if one is free for it. Returns its waiter. To be called again until it returns none,
    /// whenever a file has entered or left.
    pub(crate) fn admit(&mut self) -> Option<W> {
        let first = self.waiting.first_entry()?;
        let large = self.admitted.iter().filter(|ticket| ticket.is_large()).count();
        if self.admitted.len() >= PERMITS || (first.key().is_large() && large >= LARGE_PERMITS) {
            return None;
        }
        let (ticket, waiter) = first.remove_entry();
        self.admitted.insert(ticket);
        Some(waiter)
    }

    /// How many files wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Removes a file, with its permit if it has one. Returns its waiter otherwise.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.admitted.remove(&ticket);
        self.waiting.remove(&ticket)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Files of a few sizes on both sides of the limit, so that many are equal.
    fn size() -> impl Strategy<Value = u64> {
        (0_u64..4).prop_map(|step| LARGE_BYTES - 2 + step)
    }

    /// A change of the queue.
    #[derive(Debug, Clone)]
    enum Step {
        Enter(u64),
        /// A file that waits is removed.
        Abandon(usize),
        /// A file that has a permit was compiled, or is removed.
        Release(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => size().prop_map(Step::Enter),
            1 => any::<usize>().prop_map(Step::Abandon),
            1 => any::<usize>().prop_map(Step::Release),
        ]
    }

    /// The queue with a plain account of its files. The waiter of a file is its index in `files`.
    struct Model {
        queue: Queue<usize>,
        /// Size and ticket of each.
        files: Vec<(u64, Ticket)>,
        waiting: Vec<usize>,
        admitted: Vec<usize>,
    }

    impl Model {
        fn new() -> Self {
            Self { queue: Queue::new(), files: Vec::new(), waiting: Vec::new(), admitted: Vec::new() }
        }

        fn apply(&mut self, step: &Step) {
            match step {
                Step::Enter(bytes) => {
                    let file = self.files.len();
                    self.files.push((*bytes, self.queue.enter(*bytes, file)));
                    self.waiting.push(file);
                }
                Step::Abandon(index) if !self.waiting.is_empty() => {
                    let file = self.waiting.remove(index % self.waiting.len());
                    assert_eq!(self.queue.leave(self.files[file].1), Some(file));
                }
                Step::Release(index) if !self.admitted.is_empty() => {
                    let file = self.admitted.remove(index % self.admitted.len());
                    assert_eq!(self.queue.leave(self.files[file].1), None);
                }
                Step::Abandon(_) | Step::Release(_) => {}
            }
            self.settle();
        }

        fn bytes(&self, file: usize) -> u64 {
            self.files[file].0
        }

        fn large(&self) -> usize {
            self.admitted.iter().filter(|file| self.bytes(**file) >= LARGE_BYTES).count()
        }

        /// Admits files, and asserts that they are the right ones and that no permit is left for another.
        fn settle(&mut self) {
            while let Some(file) = self.queue.admit() {
                let first = self.waiting.iter().copied().min_by_key(|file| (self.bytes(*file), *file));
                assert_eq!(Some(file), first, "the smallest, then the first");
                self.waiting.retain(|waiting| *waiting != file);
                self.admitted.push(file);
            }
            assert!(self.admitted.len() <= PERMITS && self.large() < PERMITS, "a permit is kept for small files");
            let is_small_waiting = self.waiting.iter().any(|file| self.bytes(*file) < LARGE_BYTES);
            if is_small_waiting || (!self.waiting.is_empty() && self.large() < LARGE_PERMITS) {
                assert_eq!(self.admitted.len(), PERMITS, "a permit is unused");
            }
        }
    }

    proptest! {
        #[test]
        fn smallest_file_gets_each_free_permit(steps in proptest::collection::vec(step(), 0..60)) {
            let mut model = Model::new();
            for step in &steps {
                model.apply(step);
            }
            // Every file that stays gets a permit in the end.
            while !model.admitted.is_empty() {
                model.apply(&Step::Release(0));
            }
            prop_assert_eq!(&model.waiting, &[0_usize; 0]);
            prop_assert!(model.queue.waiting.is_empty() && model.queue.admitted.is_empty());
        }
    }

    #[test]
    fn a_large_file_leaves_a_permit_unused() {
        let mut queue = Queue::new();
        for file in ["large", "larger"] {
            queue.enter(LARGE_BYTES, file);
        }
        assert_eq!((queue.admit(), queue.admit()), (Some("large"), None));
        queue.enter(LARGE_BYTES - 1, "small");
        assert_eq!((queue.admit(), queue.admit()), (Some("small"), None));
    }

    #[test]
    fn small_permit_does_not_cover_large_file() {
        let mut queue = Queue::new();
        let (small, large) = (queue.enter(LARGE_BYTES - 1, ()), queue.enter(LARGE_BYTES, ()));
        assert!(small.covers(LARGE_BYTES - 1) && !small.covers(LARGE_BYTES));
        assert!(large.covers(0) && large.covers(u64::MAX));
    }
}
