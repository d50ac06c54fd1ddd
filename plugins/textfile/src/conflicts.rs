//! Families that are in several files: the type and the description of the first file hold.

use std::collections::BTreeMap;

use gauged_plugin::exposition::{Family, FamilyKind};
use gauged_plugin::skipped::Skip;

/// The families of a tick.
#[derive(Default)]
pub(crate) struct Conflicts {
    known: BTreeMap<String, Known>,
}

struct Known {
    kind: FamilyKind,
    help: String,
    path: String,
}

/// A family that another file declares otherwise.
pub(crate) struct Conflict {
    /// Whether the types differ, so that the later metrics are left out. Otherwise the descriptions do.
    pub(crate) is_type: bool,
    /// The other file.
    other: String,
}

impl Conflict {
    /// Reports it. `path` is the later file.
    pub(crate) fn report(&self, name: &str, path: &str) {
        let (what, lost) = if self.is_type { ("type", name) } else { ("description", "its description") };
        let why = format!("has another {what} in {}", self.other);
        Skip::malformed(path, name, why).with_remedy("write the same into both files").report(lost);
    }
}

impl Conflicts {
    /// Compares a family of a file with those of earlier files. Returns whether it is in none of them.
    pub(crate) fn check(&mut self, family: &Family<'_>, path: &str) -> Result<bool, Conflict> {
        let Some(known) = self.known.get(family.name) else {
            let known = Known { kind: family.kind, help: family.help.clone().into_owned(), path: path.to_owned() };
            self.known.insert(family.name.to_owned(), known);
            return Ok(true);
        };
        let is_type = known.kind != family.kind;
        // A file without a description agrees with any.
        let has_both = !family.help.is_empty() && !known.help.is_empty();
        if is_type || has_both && known.help != family.help {
            return Err(Conflict { is_type, other: known.path.clone() });
        }
        Ok(false)
    }
}
