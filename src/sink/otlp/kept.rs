//! Values that series share, such as their metric: each is kept as long as a series has a handle to it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// A use of a value.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    place: usize,
    /// Counts the uses.
    _use: Arc<()>,
}

impl Handle {
    /// The place of the value, which no other value has as long as there is a handle.
    pub(super) fn place(&self) -> usize {
        self.place
    }
}

/// Values by key, each with a place.
#[derive(Debug)]
pub(super) struct Kept<K, V> {
    places: HashMap<Arc<K>, usize>,
    entries: Vec<Option<Entry<K, V>>>,
    /// The places without a value.
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: Arc<K>,
    value: V,
    uses: Arc<()>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { places: HashMap::new(), entries: Vec::new(), free: Vec::new() }
    }
}

impl<K: Eq + Hash, V> Kept<K, V> {
    /// A handle to the value of a key, which `make` makes where there is none.
    pub(super) fn handle(&mut self, key: K, make: impl FnOnce(&K) -> V) -> Handle {
        let known = self.places.get(&key).and_then(|&place| Some((place, self.entries.get(place)?.as_ref()?)));
        if let Some((place, entry)) = known {
            return Handle { place, _use: Arc::clone(&entry.uses) };
        }
        let (value, key, uses) = (make(&key), Arc::new(key), Arc::new(()));
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.places.insert(Arc::clone(&key), place);
        self.entries[place] = Some(Entry { key, value, uses: Arc::clone(&uses) });
        Handle { place, _use: uses }
    }

    /// The value at a place.
    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut V> {
        Some(&mut self.entries.get_mut(place)?.as_mut()?.value)
    }

    /// The value at a place.
    pub(super) fn get(&self, place: usize) -> Option<&V> {
        Some(&self.entries.get(place)?.as_ref()?.value)
    }

    /// The value of a key.
    pub(super) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        self.get_mut(place)
    }

    /// All values.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().flatten().map(|entry| &mut entry.value)
    }

    /// Drops the values without a handle.
    pub(super) fn sweep(&mut self) {
        for (place, entry) in self.entries.iter_mut().enumerate() {
            if let Some(unused) = entry.take_if(|entry| Arc::strong_count(&entry.uses) == 1) {
                self.places.remove(&unused.key);
                self.free.push(place);
            }
        }
    }

    /// How many values there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_live_as_long_as_their_handles() {
        let mut kept = Kept::default();
        let (first, again) = (kept.handle("a", |_| 1), kept.handle("a", |_| 2));
        let second = kept.handle("b", |_| 3);
        assert_eq!((first.place(), again.place(), second.place()), (0, 0, 1));
        drop(first);
        kept.sweep();
        assert_eq!((kept.get(0), kept.get(1), kept.len()), (Some(&1), Some(&3), 2));
        drop(again);
        kept.sweep();
        assert_eq!((kept.get(0), kept.get(1), kept.len()), (None, Some(&3), 1));
        assert_eq!(kept.handle("c", |_| 4).place(), 0);
        assert_eq!((kept.get(0), kept.get(7)), (Some(&4), None));
    }
}
