//! Descriptors of expositions, each given to the agent once.

use std::collections::BTreeMap;

use super::{Exposition, Family, FamilyKind};
use crate::Sample;

/// The most descriptors that are remembered: as many as the agent takes of a plugin.
const MAX_KNOWN: usize = 10_000;

/// What was described of the metrics of expositions, which a plugin keeps from tick to tick: the agent gets each descriptor once, and
/// again when its type, description or unit changes. It is for modules of which the agent takes all: one beyond `limits.modules` is
/// left out with its descriptors, and has to [describe](Family::describe) its metrics each time.
///
/// ```
/// use gauged_plugin::Sample;
/// use gauged_plugin::exposition::{Descriptions, Exposition, Format, Limits};
///
/// let mut descriptions = Descriptions::default();
/// let exposition = Exposition::read(b"# TYPE a gauge\na 1\n", Format::Text, Limits::default());
/// let (mut first, mut second) = (Sample::default(), Sample::default());
/// assert_eq!(descriptions.describe_all(&exposition, "app", &mut first), 1);
/// assert_eq!(descriptions.describe_all(&exposition, "app", &mut second), 0);
/// ```
#[derive(Debug, Default)]
pub struct Descriptions {
    /// By module and name.
    known: BTreeMap<String, BTreeMap<String, Known>>,
    count: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    kind: FamilyKind,
    help: String,
    unit: String,
}

impl Descriptions {
    /// Describes the metrics of a family in a module. Returns whether that was necessary.
    pub fn describe(&mut self, family: &Family<'_>, module: &str, sample: &mut Sample) -> bool {
        let known = self.known.get(module).and_then(|module| module.get(family.name));
        let is_same =
            |known: &Known| known.kind == family.kind && *known.help == *family.help && *known.unit == *family.unit;
        if !family.has_samples || known.is_some_and(is_same) {
            return false;
        }
        let is_new = known.is_none();
        if is_new && self.count >= MAX_KNOWN {
            // Names that come and go: those in use are described again.
            self.clear();
        }
        self.count += usize::from(is_new);
        family.describe(module).for_each(|found| sample.describe(&found));
        let (help, unit) = (family.help.clone().into_owned(), family.unit.to_owned());
        let of_module = match self.known.get_mut(module) {
            Some(of_module) => of_module,
            None => self.known.entry(module.to_owned()).or_default(),
        };
        of_module.insert(family.name.to_owned(), Known { kind: family.kind, help, unit });
        true
    }

    /// Describes the metrics of all families of an exposition. Returns for how many that was necessary.
    pub fn describe_all(&mut self, exposition: &Exposition<'_>, module: &str, sample: &mut Sample) -> usize {
        exposition.families().iter().filter(|family| self.describe(family, module, sample)).count()
    }

    /// Forgets everything, as after a sample that the agent did not get.
    pub fn clear(&mut self) {
        self.known.clear();
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Limits};
    use super::*;

    #[test]
    fn descriptors_are_given_again_when_they_change() {
        let mut descriptions = Descriptions::default();
        let mut describe = |text: &str, module: &str| {
            let exposition = Exposition::read(text.as_bytes(), Format::OpenMetrics, Limits::default());
            descriptions.describe_all(&exposition, module, &mut Sample::default())
        };
        let text =
            "# TYPE a gauge\n# HELP a A.\na 1\n# TYPE b counter\nb_total 2\n# TYPE unused gauge\nplain 3\n# EOF\n";
        assert_eq!([describe(text, "m"), describe(text, "m"), describe(text, "n")], [3, 0, 3]);
        let changed =
            [text.replace("a gauge", "a unknown"), text.replace("A.", "B."), text.replace("# EOF", "# UNIT plain s")];
        assert_eq!(changed.map(|text| describe(&text, "m")), [1, 1, 2]);
        descriptions.clear();
        assert_eq!(descriptions.count, 0);
    }

    #[test]
    fn remembered_descriptors_are_bounded() {
        let mut descriptions = Descriptions::default();
        for number in 0..MAX_KNOWN + 5 {
            let text = format!("a{number} 1\n");
            let exposition = Exposition::read(text.as_bytes(), Format::Text, Limits::default());
            descriptions.describe_all(&exposition, "m", &mut Sample::default());
        }
        assert_eq!(descriptions.count, 5);
    }
}
