//! The known content of the plugins directory, and its changes. Pure: `scan` reads the directory. A change counts once the
//! file was left alone for a moment, so that a file that is still being written is not loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a file must be left alone: longer than the pause between two writes of a copy over a slow network.
pub(crate) const SETTLE_TIME: Duration = Duration::from_millis(200);

/// The files of a directory that could be plugins, by name.
pub(crate) type Listing = BTreeMap<String, EntryState>;

/// The state of a directory entry at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// A regular file, possibly at the end of a symbolic link.
    File(Stamp),
    /// An entry that cannot be loaded, with reason and remedy.
    Unusable(String),
}

/// The metadata by which a changed file is recognised without reading it. A content can change under an unchanged stamp
/// only within the clock's resolution, and such a file was not left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    pub(crate) fn new(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A settled change of a directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The file is new, or has another content.
    Present(String),
    /// The entry cannot be loaded, with reason and remedy.
    Unusable(String, String),
    Removed(String),
}

/// The known content of the directory.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    known: BTreeMap<String, EntryState>,
    /// The latest state of each entry that differs from the known one, and since when; none for a removed file.
    unsettled: BTreeMap<String, (Option<EntryState>, Instant)>,
}

impl Directory {
    /// Compares a listing with the known content. Returns the changes that have settled. An entry whose state is unknown
    /// keeps the last one.
    pub(crate) fn observe(
        &mut self,
        listing: &Listing,
        unknown: &BTreeSet<String>,
        now: Instant,
        clock: SystemTime,
    ) -> Vec<Change> {
        // Such a change settles when the state is known again; until then nothing is to be waited for.
        self.unsettled.retain(|name, _| !unknown.contains(name));
        let names: BTreeSet<&String> = listing.keys().chain(self.known.keys()).chain(self.unsettled.keys()).collect();
        let names: Vec<String> = names.into_iter().filter(|name| !unknown.contains(*name)).cloned().collect();
        names.into_iter().filter_map(|name| self.observe_entry(name, listing, now, clock)).collect()
    }

    fn observe_entry(&mut self, name: String, listing: &Listing, now: Instant, clock: SystemTime) -> Option<Change> {
        let state = listing.get(&name);
        if state == self.known.get(&name) {
            self.unsettled.remove(&name);
            return None;
        }
        let since = match self.unsettled.get(&name) {
            Some((last, since)) if last.as_ref() == state => *since,
            _ => now,
        };
        if now.duration_since(since) < SETTLE_TIME && !state.is_some_and(|state| is_old(state, clock)) {
            self.unsettled.insert(name, (state.cloned(), since));
            return None;
        }
        self.unsettled.remove(&name);
        Some(match state {
            None => {
                self.known.remove(&name);
                Change::Removed(name)
            }
            Some(state) => {
                self.known.insert(name.clone(), state.clone());
                match state {
                    EntryState::File(_) => Change::Present(name),
                    EntryState::Unusable(why) => Change::Unusable(name, why.clone()),
                }
            }
        })
    }

    /// The names of the files that can be loaded.
    pub(crate) fn files(&self) -> impl Iterator<Item = &String> {
        self.known.iter().filter(|(_, state)| matches!(state, EntryState::File(_))).map(|(name, _)| name)
    }

    /// Whether there is an entry of this name.
    pub(crate) fn has_entry(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// When the next change settles. None when all have.
    pub(crate) fn settles_at(&self) -> Option<Instant> {
        self.unsettled.values().map(|(_, since)| *since + SETTLE_TIME).min()
    }
}

/// Whether a file was last written long enough ago to count as settled at once. A time in the future, by another clock,
/// does not make it old.
fn is_old(state: &EntryState, clock: SystemTime) -> bool {
    let EntryState::File(stamp) = state else { return false };
    let now = clock.duration_since(UNIX_EPOCH).map_or(0, |now| i128::try_from(now.as_nanos()).unwrap_or(i128::MAX));
    let settle = i128::try_from(SETTLE_TIME.as_nanos()).unwrap_or(i128::MAX);
    now - stamp.changed_ns.max(stamp.modified_ns) >= settle
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(stamp: u64, changed: SystemTime) -> EntryState {
        let changed = changed.duration_since(UNIX_EPOCH).expect("after the epoch").as_nanos();
        let changed_ns = i128::try_from(changed).expect("fits");
        EntryState::File(Stamp { device: 1, inode: stamp, size: 1, modified_ns: 0, changed_ns })
    }

    fn listing(state: EntryState) -> Listing {
        Listing::from([("a.wasm".to_owned(), state)])
    }

    #[test]
    fn new_files_settle_and_old_ones_have() {
        let (start, clock) = (Instant::now(), SystemTime::now());
        let mut directory = Directory::default();
        let new = listing(file(1, clock));
        assert_eq!(directory.observe(&new, &BTreeSet::new(), start, clock), []);
        assert_eq!(directory.settles_at(), Some(start + SETTLE_TIME));
        assert_eq!(
            directory.observe(&new, &BTreeSet::new(), start + SETTLE_TIME, clock),
            [Change::Present("a.wasm".to_owned())]
        );
        assert_eq!(
            (directory.settles_at(), directory.observe(&new, &BTreeSet::new(), start + SETTLE_TIME, clock)),
            (None, vec![])
        );

        let old = listing(file(2, clock - SETTLE_TIME));
        assert_eq!(
            directory.observe(&old, &BTreeSet::new(), start + SETTLE_TIME, clock),
            [Change::Present("a.wasm".to_owned())]
        );
        assert_eq!(
            directory.observe(&Listing::new(), &BTreeSet::new(), start + SETTLE_TIME, clock),
            [],
            "it may only be being replaced"
        );
        assert_eq!(
            directory.observe(&Listing::new(), &BTreeSet::new(), start + 2 * SETTLE_TIME, clock),
            [Change::Removed("a.wasm".to_owned())]
        );
    }

    #[test]
    fn a_file_that_keeps_changing_does_not_settle() {
        let (start, clock) = (Instant::now(), SystemTime::now());
        let mut directory = Directory::default();
        for write in 0..20 {
            let now = start + write * SETTLE_TIME / 2;
            assert_eq!(directory.observe(&listing(file(u64::from(write), clock)), &BTreeSet::new(), now, clock), []);
        }
    }

    #[test]
    fn an_unknown_entry_keeps_its_last_state() {
        let (start, clock) = (Instant::now(), SystemTime::now());
        let mut directory = Directory::default();
        directory.observe(&listing(file(1, clock - SETTLE_TIME)), &BTreeSet::new(), start, clock);
        let unknown = BTreeSet::from(["a.wasm".to_owned()]);
        for wait in 0..3 {
            let changes = directory.observe(&Listing::new(), &unknown, start + wait * SETTLE_TIME, clock);
            assert_eq!(changes, [], "it is neither changed nor removed");
        }
    }

    #[test]
    fn an_unknown_entry_is_not_waited_for() {
        let (start, clock) = (Instant::now(), SystemTime::now());
        let mut directory = Directory::default();
        let new = listing(file(1, clock));
        assert_eq!(directory.observe(&new, &BTreeSet::new(), start, clock), []);
        let unknown = BTreeSet::from(["a.wasm".to_owned()]);
        assert_eq!(directory.observe(&Listing::new(), &unknown, start + SETTLE_TIME, clock), []);
        assert_eq!(directory.settles_at(), None, "it would be scanned without pause");
    }

    proptest! {
        /// Each reported change is real and settled. Once the directory is left alone, the changes add up to its content.
        #[test]
        fn changes_add_up_to_the_directory(
            steps in prop::collection::vec(
                (prop::collection::btree_map("[ab]", 0_u64..5, 0..3), 0_u64..300),
                1..30,
            ),
        ) {
            let (mut now, clock) = (Instant::now(), SystemTime::now());
            let mut model =
                Model { directory: Directory::default(), clock, reported: Listing::new(), latest: BTreeMap::new() };
            let mut last = Listing::new();
            for (files, pause) in steps {
                last = files.into_iter().map(|(name, kind)| (name, state(kind, clock))).collect();
                model.observe(&last, now)?;
                now += Duration::from_millis(pause);
            }
            model.observe(&last, now)?;
            while let Some(at) = model.directory.settles_at() {
                prop_assert!(at > now, "a change settles in the future");
                now = at;
                model.observe(&last, now)?;
            }
            prop_assert_eq!(&model.reported, &last);
            let is_file = |name: &&String| matches!(last.get(*name), Some(EntryState::File(_)));
            prop_assert!(model.directory.files().eq(last.keys().filter(is_file)));
            now += 2 * SETTLE_TIME;
            prop_assert_eq!(model.directory.observe(&last, &BTreeSet::new(), now, clock), [], "all is known");
        }
    }

    /// New files, an old file, and an entry that cannot be loaded.
    fn state(kind: u64, clock: SystemTime) -> EntryState {
        match kind {
            0..=2 => file(kind, clock),
            3 => file(kind, clock - SETTLE_TIME),
            _ => EntryState::Unusable("is a directory".to_owned()),
        }
    }

    /// A directory beside a model of what it should report.
    struct Model {
        directory: Directory,
        clock: SystemTime,
        /// The content by the reported changes.
        reported: Listing,
        /// The latest state of each entry, and since when.
        latest: BTreeMap<String, (Option<EntryState>, Instant)>,
    }

    impl Model {
        fn observe(&mut self, listing: &Listing, now: Instant) -> Result<(), TestCaseError> {
            for name in ["a", "b"] {
                let state = listing.get(name).cloned();
                let latest = self.latest.entry(name.to_owned()).or_insert_with(|| (state.clone(), now));
                if latest.0 != state {
                    *latest = (state, now);
                }
            }
            for change in self.directory.observe(listing, &BTreeSet::new(), now, self.clock) {
                let (name, state) = match change {
                    Change::Present(name) => {
                        let state = listing.get(&name).cloned();
                        prop_assert!(matches!(state, Some(EntryState::File(_))), "{} is not there", name);
                        (name, state)
                    }
                    Change::Unusable(name, why) => (name, Some(EntryState::Unusable(why))),
                    Change::Removed(name) => (name, None),
                };
                prop_assert_eq!(listing.get(&name), state.as_ref(), "{} is not in this state", &name);
                prop_assert_ne!(self.reported.get(&name), state.as_ref(), "{} was reported before", &name);
                let is_old = state.as_ref().is_some_and(|state| is_old(state, self.clock));
                let since = self.latest.get(&name).map(|(_, since)| *since);
                let is_settled = since.is_some_and(|since| now.duration_since(since) >= SETTLE_TIME);
                prop_assert!(is_old || is_settled, "{} has not settled", name);
                match state {
                    Some(state) => self.reported.insert(name, state),
                    None => self.reported.remove(&name),
                };
            }
            Ok(())
        }
    }
}
