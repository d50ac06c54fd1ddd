//! Names of labels that a protocol gives each series itself, such as `job` and `instance`. A series' own label of such a name gets
//! another one, as it does when Prometheus scrapes it.

use crate::sample::Label;

/// The beginning of the name that a series' own label gets.
const EXPORTED: &str = "exported_";

/// Renames labels with a reserved name. No two have one name before, and none afterwards.
pub(super) fn rename(labels: &mut [Label], reserved: &[&str]) {
    for at in 0..labels.len() {
        if !reserved.contains(&&*labels[at].name) {
            continue;
        }
        let mut name = format!("{EXPORTED}{}", labels[at].name);
        while reserved.contains(&&*name) || labels.iter().any(|label| *label.name == *name) {
            name.insert_str(0, EXPORTED);
        }
        labels[at].name = name.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_labels_are_exported() {
        let renamed = |names: &[&'static str]| {
            let label = |name: &&'static str| Label { name: (*name).into(), value: "".into() };
            let mut labels: Vec<Label> = names.iter().map(label).collect();
            rename(&mut labels, &["instance", "job"]);
            labels.iter().map(|label| label.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(renamed(&["a", "exported_job"]), ["a", "exported_job"]);
        assert_eq!(renamed(&["instance", "job"]), ["exported_instance", "exported_job"]);
        assert_eq!(renamed(&["exported_job", "job"]), ["exported_job", "exported_exported_job"]);
    }
}
