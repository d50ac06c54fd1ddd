//! The difference of two samples: metrics that were added, are gone, or have another value. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// The metrics of a sample, by their names with module and labels.
pub(super) type Metrics = BTreeMap<String, Value>;

/// How many metrics are shown: more than anybody reads.
const SHOWN: usize = 40;

/// A difference in one metric.
#[derive(Debug, PartialEq)]
enum Change<'a> {
    Added(&'a Value),
    Gone(&'a Value),
    Changed(&'a Value, &'a Value),
}

/// The differences between two samples, by name.
fn difference<'a>(before: &'a Metrics, after: &'a Metrics) -> BTreeMap<&'a str, Change<'a>> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let gone = gone.map(|(name, value)| (&**name, Change::Gone(value)));
    let others = after.iter().filter_map(|(name, value)| match before.get(name) {
        None => Some((&**name, Change::Added(value))),
        Some(old) if old != value => Some((&**name, Change::Changed(old, value))),
        Some(_) => None,
    });
    gone.chain(others).collect()
}

/// The rows of a table of the differences: those of metrics that came or went first, since values change by themselves.
pub(super) fn rows(before: &Metrics, after: &Metrics) -> Vec<Vec<String>> {
    let all = difference(before, after);
    let (changed, others): (Vec<_>, Vec<_>) = all.iter().partition(|(_, change)| matches!(change, Change::Changed(..)));
    let rows = others.into_iter().chain(changed).map(|(name, change)| {
        let (mark, value) = match change {
            Change::Added(value) => ("+", value.to_string()),
            Change::Gone(value) => ("-", value.to_string()),
            Change::Changed(old, new) => ("~", format!("{old} -> {new}")),
        };
        vec![mark.to_owned(), (*name).to_owned(), value]
    });
    let more = all.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| vec![String::new(), format!("and {more} more")]);
    rows.take(SHOWN).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn metrics(all: &[(&str, Value)]) -> Metrics {
        all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn metrics_that_came_or_went_are_first() {
        let before = metrics(&[("a.one", json!(1)), ("a.same", json!("x")), ("b.gone{id=\"1\"}", json!(2.5))]);
        let after = metrics(&[("a.one", json!(2)), ("a.same", json!("x")), ("c.new", json!(true))]);
        assert_eq!(
            rows(&before, &after),
            [vec!["-", "b.gone{id=\"1\"}", "2.5"], vec!["+", "c.new", "true"], vec!["~", "a.one", "1 -> 2"]]
        );
        assert!(rows(&after, &after).is_empty());
    }

    #[test]
    fn long_differences_are_cut() {
        let many: Metrics = (0..100).map(|number| (format!("a.n{number:02}"), json!(number))).collect();
        let rows = rows(&Metrics::new(), &many);
        assert_eq!((rows.len(), &*rows[SHOWN][1]), (SHOWN + 1, "and 60 more"));
    }

    proptest! {
        #[test]
        fn differences_lead_from_one_sample_to_the_other(
            before in proptest::collection::btree_map("[a-d]", 0..3_i32, 0..5),
            after in proptest::collection::btree_map("[a-d]", 0..3_i32, 0..5),
        ) {
            let [before, after] = [before, after].map(|sample| -> Metrics {
                sample.into_iter().map(|(name, value)| (name, json!(value))).collect()
            });
            let mut applied = before.clone();
            for (name, change) in difference(&before, &after) {
                let (old, new) = match change {
                    Change::Added(new) => (None, Some(new)),
                    Change::Gone(old) => (Some(old), None),
                    Change::Changed(old, new) => (Some(old), Some(new)),
                };
                prop_assert_ne!(old, new);
                let replaced = match new {
                    Some(new) => applied.insert(name.to_owned(), new.clone()),
                    None => applied.remove(name),
                };
                prop_assert_eq!(replaced.as_ref(), old);
            }
            prop_assert_eq!(applied, after);
        }
    }
}
