//! Shared values of one tick after another, whose memory is used again once nobody has them.

use std::sync::Arc;

/// How many values are kept: that of this tick, the one that sinks and scrapes have, and two that wait in a queue for a moment.
/// When all are in use, a tick allocates.
const KEPT: usize = 4;

/// The values of the last ticks.
#[derive(Debug)]
pub(crate) struct Recycler<T> {
    kept: Vec<Arc<T>>,
}

impl<T> Default for Recycler<T> {
    fn default() -> Self {
        Self { kept: Vec::with_capacity(KEPT) }
    }
}

impl<T> Recycler<T> {
    /// A value that nobody else has and that can be used, if there is one.
    pub(crate) fn take(&mut self, is_usable: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let free = self.kept.iter_mut().position(|value| Arc::get_mut(value).is_some_and(|value| is_usable(value)))?;
        Some(self.kept.remove(free))
    }

    /// Puts a value into memory that nobody else has.
    pub(crate) fn fill(free: Option<Arc<T>>, value: T) -> Arc<T> {
        match free {
            Some(mut free) => match Arc::get_mut(&mut free) {
                Some(memory) => {
                    *memory = value;
                    free
                }
                None => Arc::new(value),
            },
            None => Arc::new(value),
        }
    }

    /// Keeps a value for later ticks, in place of the oldest one if there are many.
    pub(crate) fn keep(&mut self, value: &Arc<T>) {
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Arc::clone(value));
    }

    /// The values that nobody else has.
    pub(crate) fn free(&mut self) -> impl Iterator<Item = &mut T> {
        self.kept.iter_mut().filter_map(Arc::get_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_values_are_not_used_again() {
        let mut recycler = Recycler::default();
        assert!(recycler.take(|_| true).is_none());
        let held = Arc::new(1);
        recycler.keep(&held);
        recycler.keep(&Arc::new(2));
        assert_eq!(recycler.free().map(|value| *value).collect::<Vec<_>>(), [2]);
        assert!(recycler.take(|value| *value > 2).is_none(), "it cannot be used");
        let free = recycler.take(|_| true);
        assert_eq!(free.as_deref(), Some(&2));
        assert!(recycler.take(|_| true).is_none(), "the other is in use");
        let address = free.as_ref().map(Arc::as_ptr);
        assert_eq!(Some(Arc::as_ptr(&Recycler::fill(free, 3))), address);
        drop(held);
        assert_eq!(recycler.take(|_| true).as_deref(), Some(&1));
    }

    #[test]
    fn oldest_values_are_given_up() {
        let mut recycler = Recycler::default();
        let held: Vec<_> = (0..10).map(Arc::new).collect();
        for value in &held {
            recycler.keep(value);
        }
        drop(held);
        assert_eq!(recycler.free().map(|value| *value).collect::<Vec<_>>(), [6, 7, 8, 9]);
    }
}
