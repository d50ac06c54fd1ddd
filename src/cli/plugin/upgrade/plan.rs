//! The steps that renew the files of gauged in a project: pure.

use std::collections::{BTreeMap, BTreeSet};

/// A file in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Present<'a> {
    /// There is none.
    Missing,
    /// A regular file, with the hash of its content.
    File(&'a str),
    /// A link or directory, or whatever is behind a linked directory.
    Other,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Another content is written.
    Change,
    /// A file is written that is not there.
    Add,
    /// A file is removed that gauged does not have any more.
    Remove,
}

impl Step {
    /// The verb for a list.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Change => "changed",
            Self::Add => "added",
            Self::Remove => "removed",
        }
    }
}

/// The steps of an upgrade.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// By path.
    pub(super) steps: BTreeMap<String, Step>,
    /// The files among these whose content is not gauged's.
    pub(super) conflicts: BTreeSet<String>,
}

impl Plan {
    /// The steps from a project's files to this program's. Both are hashes by path: of what was written to the project, and of what
    /// this program has. A file that already has the content of this program needs none, whoever wrote it.
    pub(super) fn new<'a>(
        recorded: &BTreeMap<String, String>,
        own: &BTreeMap<String, String>,
        present: impl Fn(&str) -> Present<'a>,
    ) -> Self {
        let mut plan = Self::default();
        let paths: BTreeSet<&String> = recorded.keys().chain(own.keys()).collect();
        for path in paths {
            let present = present(path);
            let has =
                |files: &BTreeMap<String, String>| files.get(path).is_some_and(|hash| present == Present::File(hash));
            let step = match (own.contains_key(path), present) {
                (true, _) if has(own) => continue,
                (false, Present::Missing) => continue,
                (true, Present::Missing) => Step::Add,
                (true, _) => Step::Change,
                (false, _) => Step::Remove,
            };
            if present != Present::Missing && !has(recorded) {
                plan.conflicts.insert(path.clone());
            }
            plan.steps.insert(path.clone(), step);
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashes(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn changed_files_are_conflicts_and_others_steps() {
        let recorded = hashes(&[
            ("same", "1"),
            ("renewed", "1"),
            ("edited", "1"),
            ("deleted", "1"),
            ("gone", "1"),
            ("gone-edited", "1"),
            ("gone-deleted", "1"),
            ("early", "1"),
            ("link", "1"),
        ]);
        let own = hashes(&[
            ("same", "1"),
            ("renewed", "2"),
            ("edited", "2"),
            ("deleted", "1"),
            ("new", "2"),
            ("new-there", "2"),
            ("early", "2"),
            ("link", "1"),
        ]);
        let there = hashes(&[
            ("same", "1"),
            ("renewed", "1"),
            ("edited", "x"),
            ("gone", "1"),
            ("gone-edited", "x"),
            ("new-there", "x"),
            ("early", "2"),
        ]);
        let plan = Plan::new(&recorded, &own, |path| match there.get(path) {
            Some(hash) => Present::File(hash),
            None if path == "link" => Present::Other,
            None => Present::Missing,
        });
        let expected = [
            ("deleted", Step::Add),
            ("edited", Step::Change),
            ("gone", Step::Remove),
            ("gone-edited", Step::Remove),
            ("link", Step::Change),
            ("new", Step::Add),
            ("new-there", Step::Change),
            ("renewed", Step::Change),
        ];
        assert_eq!(plan.steps, expected.map(|(path, step)| (path.to_owned(), step)).into());
        assert_eq!(plan.conflicts, ["edited", "gone-edited", "link", "new-there"].map(str::to_owned).into());
    }

    proptest! {
        #[test]
        fn steps_lead_to_the_files_of_this_program(
            recorded in proptest::collection::btree_map("[a-d]", "[12]", 0..5),
            own in proptest::collection::btree_map("[a-d]", "[12]", 0..5),
            mut there in proptest::collection::btree_map("[a-d]", "[123]", 0..5),
        ) {
            let before = there.clone();
            let plan = Plan::new(&recorded, &own, |path| there.get(path).map_or(Present::Missing, |hash| Present::File(hash)));
            for (path, step) in &plan.steps {
                let content = own.get(path).cloned();
                prop_assert_eq!(*step == Step::Remove, content.is_none());
                let is_edited = before.get(path).is_some_and(|hash| recorded.get(path) != Some(hash));
                prop_assert_eq!(plan.conflicts.contains(path), is_edited);
                match content {
                    Some(content) => there.insert(path.clone(), content),
                    None => there.remove(path),
                };
            }
            // All files of gauged are as in this program, and no others were touched.
            for path in before.keys().chain(own.keys()).chain(recorded.keys()) {
                let is_of_gauged = own.contains_key(path) || recorded.contains_key(path);
                prop_assert_eq!(there.get(path), if is_of_gauged { own.get(path) } else { before.get(path) });
            }
            let again = Plan::new(&own, &own, |path| there.get(path).map_or(Present::Missing, |hash| Present::File(hash)));
            prop_assert!(again.steps.is_empty());
        }
    }
}
