//! The difference of two configurations of the plugins. Pure: which plugins come, go, and go on with another configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, PluginConfig};
use crate::plugin::context::{is_enabled, plugins_of};

/// The tables of the plugins, by name.
pub(crate) type Tables = BTreeMap<String, Arc<PluginConfig>>;

/// The tables of a configuration.
pub(crate) fn tables(config: &Config) -> Tables {
    config.plugins.iter().map(|(name, table)| (name.clone(), Arc::new(table.clone()))).collect()
}

/// The difference of two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The plugins that their file does not make any more: they go, as if it had gone.
    pub(crate) removed: BTreeSet<String>,
    /// The plugins that stay, and have another table than before, or none any more.
    pub(crate) changed: BTreeSet<String>,
    /// The files that make other plugins than before, or for another reason none: those that are new come, as if the file had
    /// come.
    pub(crate) files: BTreeSet<String>,
}

/// Compares two configurations. `present` are the plugins that there are, each with its file; `files` are the files that can be
/// loaded.
pub(crate) fn difference<'a>(
    present: &BTreeMap<String, String>,
    files: impl Iterator<Item = &'a String>,
    old: &Tables,
    new: &Tables,
) -> Difference {
    let is_made = |name: &String, file: &str| {
        is_enabled(name, new) && plugins_of(file, new).is_ok_and(|names| names.contains(name))
    };
    let (stay, go): (Vec<_>, Vec<_>) = present.iter().partition(|(name, file)| is_made(name, file));
    let name = |(name, _): (&String, &String)| name.clone();
    Difference {
        removed: go.into_iter().map(name).collect(),
        changed: stay.into_iter().map(name).filter(|name| old.get(name) != new.get(name)).collect(),
        files: files.filter(|file| plugins_with_state(file, old) != plugins_with_state(file, new)).cloned().collect(),
    }
}

/// The plugins that a file makes, each with whether it is enabled, or why it makes none.
fn plugins_with_state(file: &str, tables: &Tables) -> Result<Vec<(String, bool)>, String> {
    let names = plugins_of(file, tables)?.into_iter();
    Ok(names.map(|name| (name.clone(), is_enabled(&name, tables))).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// The plugins that these files make, each with its file.
    fn made(files: &BTreeSet<String>, tables: &Tables) -> BTreeMap<String, String> {
        let of_file = |file: &String| {
            let names = plugins_of(file, tables).unwrap_or_default();
            names.into_iter().filter(|name| is_enabled(name, tables)).map(|name| (name, file.clone())).collect()
        };
        files.iter().flat_map(|file| -> Vec<(String, String)> { of_file(file) }).collect()
    }

    fn tables() -> impl Strategy<Value = Tables> {
        let table = (prop::bool::weighted(0.8), prop::option::weighted(0.3, "[abc]\\.wasm"), 1_u64..3);
        let table = table.prop_map(|(enabled, file, seconds)| {
            let timeout = Duration::from_secs(seconds);
            Arc::new(PluginConfig { enabled, file, timeout, ..PluginConfig::default() })
        });
        prop::collection::btree_map("[abc]", table, 0..4)
    }

    proptest! {
        /// Applied to the plugins of the old configuration, the difference makes those of the new one, and touches no other.
        #[test]
        fn difference_leads_from_old_to_new(
            files in prop::collection::btree_set("[abcd]\\.wasm", 0..4),
            old in tables(),
            new in tables(),
        ) {
            let (before, after) = (made(&files, &old), made(&files, &new));
            let difference = difference(&before, files.iter(), &old, &new);
            let mut applied = before.clone();
            for name in &difference.removed {
                prop_assert!(applied.remove(name).is_some(), "{} was there", name);
            }
            for (name, file) in &after {
                if difference.files.contains(file) {
                    applied.entry(name.clone()).or_insert_with(|| file.clone());
                }
            }
            prop_assert_eq!(&applied, &after);
            for (name, file) in &before {
                let is_moved = after.get(name) != Some(file);
                prop_assert_eq!(difference.removed.contains(name), is_moved);
                prop_assert_eq!(difference.changed.contains(name), !is_moved && old.get(name) != new.get(name));
            }
            prop_assert!(difference.changed.iter().all(|name| before.contains_key(name)));
            for file in &files {
                let is_unusable = |tables| plugins_of(file, tables).err();
                prop_assert!(difference.files.contains(file) || is_unusable(&old) == is_unusable(&new));
            }
        }

        #[test]
        fn equal_configurations_have_no_difference(
            files in prop::collection::btree_set("[abcd]\\.wasm", 0..4),
            tables in tables(),
        ) {
            let present = made(&files, &tables);
            prop_assert_eq!(difference(&present, files.iter(), &tables, &tables), Difference::default());
        }
    }
}
