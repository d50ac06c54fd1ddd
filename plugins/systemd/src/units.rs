//! The units in systemd's list: how many there are in each state, and those that are selected.

use gauged_plugin::Sample;
use gauged_plugin::select::Selection;

use crate::dbus::Malformed;
use crate::dbus::reader::Reader;
use crate::metrics::{UNIT_STATE, UNITS};
use crate::property::Property;

/// The states that every unit has a series of, as in `node_exporter`. Newer ones, such as `reloading`, are in none of them.
pub(crate) const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];

/// The most other states: systemd has three.
const MAX_OTHER_STATES: usize = 10;

/// The longest name of a state.
const MAX_STATE_BYTES: usize = 32;

/// The longest name of a unit, of which systemd allows 255 bytes.
const MAX_NAME_BYTES: usize = 255;

/// The longest path of a unit's object; each byte of the name may become three.
const MAX_PATH_BYTES: usize = 1024;

/// A selected unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// The path of its object.
    pub(crate) path: String,
    /// The number of its state in [`STATES`]; none of another one.
    pub(crate) state: Option<usize>,
    /// The type of a service or mount, once it is known.
    pub(crate) kind: Option<UnitType>,
    /// The values of properties.
    pub(crate) values: Vec<(&'static Property, u64)>,
}

/// The type of a unit: `notify`, `ext4`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnitType {
    pub(crate) name: String,
    /// When it was asked for, on the monotonic clock.
    pub(crate) asked_ns: u64,
}

impl Unit {
    /// Whether it is of this kind: `.service`.
    pub(crate) fn has_suffix(&self, suffix: &str) -> bool {
        self.name.ends_with(suffix)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.state == Some(0)
    }
}

/// The units of a tick.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Units {
    /// The numbers of all units in [`STATES`].
    counts: [u64; STATES.len()],
    /// Those in other states.
    others: Vec<(String, u64)>,
    /// The selected ones, by name.
    pub(crate) selected: Vec<Unit>,
    /// The number of selected ones beyond the limit.
    pub(crate) left_out: usize,
}

impl Units {
    /// Reads systemd's list. Of more than `most` selected units the first ones by name are kept.
    pub(crate) fn read(list: Reader<'_>, selection: &Selection, most: usize) -> Result<Self, Malformed> {
        let mut list = list;
        let mut elements = list.array(b'(')?;
        let mut units = Self::default();
        while !elements.is_empty() {
            elements.align(8)?;
            let name = elements.text()?;
            let _description = elements.text()?;
            let load_state = elements.text()?;
            let state = elements.text()?;
            let [_sub_state, _following] = [elements.text()?, elements.text()?];
            let path = elements.text()?;
            let [_job, _job_type, _job_path] = [elements.u32().map(|_| "")?, elements.text()?, elements.text()?];
            units.count(state);
            let is_plain = name.len() <= MAX_NAME_BYTES && path.len() <= MAX_PATH_BYTES && path.starts_with('/');
            if load_state == "loaded" && is_plain && selection.includes(name) {
                let state = STATES.iter().position(|known| *known == state);
                let (name, path) = (name.to_owned(), path.to_owned());
                units.selected.push(Unit { name, path, state, kind: None, values: Vec::new() });
            }
        }
        units.selected.sort_unstable_by(|unit, other| unit.name.cmp(&other.name));
        // Two of one name would be two metrics of one name.
        units.selected.dedup_by(|unit, before| unit.name == before.name);
        units.left_out = units.selected.len().saturating_sub(most);
        units.selected.truncate(most);
        Ok(units)
    }

    fn count(&mut self, state: &str) {
        if let Some(count) = STATES.iter().position(|known| *known == state).and_then(|at| self.counts.get_mut(at)) {
            *count += 1;
        } else if let Some((_, count)) = self.others.iter_mut().find(|(known, _)| known == state) {
            *count += 1;
        } else if self.others.len() < MAX_OTHER_STATES && (1..=MAX_STATE_BYTES).contains(&state.len()) {
            self.others.push((state.to_owned(), 1));
        }
    }

    pub(crate) fn set_metrics(&self, sample: &mut Sample) {
        let others = self.others.iter().map(|(state, count)| (&**state, *count));
        for (state, count) in STATES.into_iter().zip(self.counts).chain(others) {
            sample.labelled(&[("state", state)]).set(UNITS, count);
        }
        for unit in &self.selected {
            for (at, state) in STATES.into_iter().enumerate() {
                let is_in_it = unit.state == Some(at);
                let labels = [
                    ("name", &*unit.name),
                    ("state", state),
                    ("type", unit.kind.as_ref().map_or("", |kind| &*kind.name)),
                ];
                let count = if unit.kind.is_some() { labels.len() } else { labels.len() - 1 };
                sample.labelled(labels.get(..count).unwrap_or_default()).set(UNIT_STATE, is_in_it);
            }
            for (property, value) in &unit.values {
                property.set_metric(unit, *value, sample);
            }
        }
    }
}
