//! Where each key of the configuration is, for `gauged check`: a tree as large as the document. The agent itself needs no places.

use toml::de::{DeTable, DeValue};

use super::document;
use super::piece::{Piece, Place, Places};
use super::problem_list::ProblemList;

/// The places of the keys of a table, or of the elements of a list that have keys themselves; in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct KeyPlaces(Vec<KeyPlace>);

/// Where a key is, and where the keys in its value are.
#[derive(Debug)]
pub(crate) struct KeyPlace {
    /// The name in its table. That of a list's element is its number, as in `[0]`.
    name: String,
    pub(super) place: Place,
    inner: KeyPlaces,
}

impl KeyPlaces {
    /// The places of all keys of the pieces.
    pub(super) fn new(pieces: &[Piece]) -> Self {
        let mut problems = ProblemList::new(pieces);
        let (document, _) = document::merge(pieces, &mut problems);
        Self::from_table(&document, problems.places())
    }

    fn from_table(table: &DeTable<'_>, places: &Places<'_>) -> Self {
        let entries = table.iter().map(|(name, value)| KeyPlace {
            name: name.get_ref().to_string(),
            place: places.find(name.span().start),
            inner: Self::from_value(value.get_ref(), places),
        });
        Self::sorted(entries.collect())
    }

    fn from_value(value: &DeValue<'_>, places: &Places<'_>) -> Self {
        match value {
            DeValue::Table(table) => Self::from_table(table, places),
            DeValue::Array(items) => {
                let elements = items.iter().enumerate().filter_map(|(index, item)| {
                    let inner = Self::from_value(item.get_ref(), places);
                    // The place of any other is that of the list: there may be a million.
                    let has_place = item.get_ref().is_table() || !inner.0.is_empty();
                    let place = || places.find(item.span().start);
                    has_place.then(|| KeyPlace { name: format!("[{index}]"), place: place(), inner })
                });
                Self::sorted(elements.collect())
            }
            _ => Self::default(),
        }
    }

    fn sorted(mut entries: Vec<KeyPlace>) -> Self {
        entries.sort_unstable_by(|first, second| first.name.cmp(&second.name));
        entries.shrink_to_fit();
        Self(entries)
    }

    fn entry(&self, name: &str) -> Option<&KeyPlace> {
        let index = self.0.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        Some(&self.0[index])
    }

    /// The place of a key by its names, from the outermost.
    pub(super) fn find(&self, names: &[&str]) -> Option<&Place> {
        let (last, tables) = names.split_last()?;
        let table = tables.iter().try_fold(self, |table, name| Some(&table.entry(name)?.inner))?;
        table.entry(last).map(|entry| &entry.place)
    }

    /// The place of a key by its dotted name: `plugins.redis.config.servers[0].address`. A name in it may have dots itself.
    pub(crate) fn find_dotted(&self, key: &str) -> Option<&Place> {
        self.deepest(key).filter(|(rest, _)| *rest == 0).map(|(_, place)| place)
    }

    /// The place of a key by its dotted name, or of the nearest table or list around it.
    pub(crate) fn nearest(&self, key: &str) -> Option<&Place> {
        self.deepest(key).map(|(_, place)| place)
    }

    /// The place of the longest known beginning of a dotted name, with the length of the rest.
    fn deepest(&self, key: &str) -> Option<(usize, &Place)> {
        let ends = key.char_indices().skip(1).filter(|(_, next)| matches!(next, '.' | '[')).map(|(end, _)| end);
        let found = ends.chain([key.len()]).filter_map(|end| {
            let (name, rest) = key.split_at(end);
            let entry = self.entry(name)?;
            let inner = entry.inner.deepest(rest.strip_prefix('.').unwrap_or(rest)).filter(|_| !rest.is_empty());
            Some(inner.unwrap_or((rest.len(), &entry.place)))
        });
        found.min_by_key(|(rest, _)| *rest)
    }

    /// The dotted names of all keys, with their places.
    #[cfg(test)]
    pub(super) fn dotted(&self) -> Vec<(String, &Place)> {
        let mut all = Vec::new();
        for KeyPlace { name, place, inner } in &self.0 {
            all.push((name.clone(), place));
            all.extend(inner.dotted().into_iter().map(|(key, place)| {
                let dot = if key.starts_with('[') { "" } else { "." };
                (format!("{name}{dot}{key}"), place)
            }));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = [1, 2]\n\"b.c\" = 1\nb.c.d = 1\n[[t]]\nx = 1\n[[t]]\nl = [\n3,\n[{ \"y[0]\" = 1 }],\n]\n";

    fn line(place: Option<&Place>) -> Option<usize> {
        place.map(|place| place.line)
    }

    #[test]
    fn places_are_found_by_names() {
        let places = KeyPlaces::new(&[Piece::new("a.toml", TEXT)]);
        let found = |names: &[&str]| line(places.find(names));
        assert_eq!((found(&["b.c"]), found(&["b", "c"]), found(&["b.c", "d"])), (Some(2), Some(3), None));
        assert_eq!((found(&["t", "[1]", "l"]), found(&["t", "[2]"]), found(&[])), (Some(7), None, None));
    }

    #[test]
    fn places_are_found_by_dotted_name() {
        let places = KeyPlaces::new(&[Piece::new("a.toml", TEXT)]);
        for (key, exact, nearest) in [
            ("a", Some(1), Some(1)),
            ("a[1]", None, Some(1)),
            ("b.c.d", Some(3), Some(3)),
            ("b.x", None, Some(3)),
            ("t[0].x", Some(5), Some(5)),
            ("t[0].y.z", None, Some(4)),
            ("t[1].l[0]", None, Some(7)),
            ("t[1].l[1][0].y[0]", Some(9), Some(9)),
            ("", None, None),
            ("x.y", None, None),
        ] {
            assert_eq!((line(places.find_dotted(key)), line(places.nearest(key))), (exact, nearest), "{key}");
        }
    }

    #[test]
    fn elements_without_keys_have_no_place() {
        let long = "k".repeat(400);
        let text = format!("{long} = [{}]\n", "1, [], ".repeat(1000));
        assert_eq!(KeyPlaces::new(&[Piece::new("a.toml", &text)]).dotted().len(), 1);
    }
}
