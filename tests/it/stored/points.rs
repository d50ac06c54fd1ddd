//! Points that a receiver has stored, and their comparison with those that were measured.

use std::collections::BTreeMap;

/// The label that has a series' name.
pub const NAME: &str = "__name__";

/// A series: its labels, its name among them.
pub type Labels = BTreeMap<String, String>;

/// Numbers of less than this are 0 in a receiver that does not store doubles.
const SMALLEST: f64 = 1e-290;

/// Of how many series a test prints the problems.
const PROBLEMS: usize = 30;

/// Points by series and by time, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Points {
    series: BTreeMap<Labels, BTreeMap<i64, Values>>,
    /// The modules of the series that were measured.
    modules: BTreeMap<Labels, String>,
}

/// A point that was stored, and that no line has.
#[derive(Debug)]
pub struct Unknown<'a> {
    pub labels: &'a Labels,
    pub millis: i64,
    pub value: f64,
    /// The module, if lines have the series at other times.
    pub module: Option<&'a str>,
}

/// The values that a series may have at a time: in some namings, two metrics that measure the same have one name, of which one is sent.
#[derive(Debug, Default)]
struct Values {
    values: Vec<f64>,
    /// Whether another metric may have taken its place.
    is_optional: bool,
}

/// How a receiver keeps numbers.
#[derive(Debug, Clone, Copy)]
pub enum Precision {
    /// As doubles, bit by bit, but for the sign of zero.
    Exact,
    /// Within this part of their size; those that are nearly the smallest there are become 0.
    Relative(f64),
}

impl Precision {
    fn is_equal(self, value: f64, other: f64) -> bool {
        match self {
            Self::Exact => value == other,
            Self::Relative(_) if value.abs() < SMALLEST => other.abs() < SMALLEST,
            Self::Relative(part) => (value - other).abs() <= part * value.abs(),
        }
    }
}

impl Points {
    /// Adds a point that a receiver has stored. The same one may be there twice: it was sent again.
    pub fn add(&mut self, labels: &Labels, millis: i64, value: f64) {
        let known = &mut self.series.entry(labels.clone()).or_default().entry(millis).or_default().values;
        assert!(known.iter().all(|known| *known == value), "{labels:?} at {millis} is {known:?} and {value}");
        if known.is_empty() {
            known.push(value);
        }
    }

    /// Adds a point that was measured. One that `is_alternative` may have been sent as another metric of the same name.
    pub fn expect(&mut self, module: &str, labels: Labels, millis: i64, value: f64, is_alternative: bool) {
        self.modules.entry(labels.clone()).or_insert_with(|| module.to_owned());
        let known = self.series.entry(labels).or_default().entry(millis).or_default();
        known.is_optional = is_alternative && (known.is_optional || known.values.is_empty());
        known.values.push(value);
    }

    /// The same points with other labels.
    pub fn relabelled(self, relabel: impl Fn(Labels) -> Labels) -> Self {
        let series = self.series.into_iter().map(|(labels, points)| (relabel(labels), points)).collect();
        Self { series, modules: self.modules.into_iter().map(|(labels, module)| (relabel(labels), module)).collect() }
    }

    /// The points of a series with this name, and labels that meet a condition.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Labels, BTreeMap<i64, f64>)> {
        self.all().filter(move |(labels, _)| labels.get(NAME).is_some_and(|own| own == name))
    }

    /// The points of all series.
    pub fn all(&self) -> impl Iterator<Item = (&Labels, BTreeMap<i64, f64>)> {
        let points =
            |points: &BTreeMap<i64, Values>| points.iter().map(|(time, values)| (*time, values.values[0])).collect();
        self.series.iter().map(move |(labels, own)| (labels, points(own)))
    }

    /// The points of the only series with this name.
    pub fn only(&self, name: &str) -> BTreeMap<i64, f64> {
        let mut found = self.series(name);
        let (_, points) = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "{name} is several series");
        points
    }

    /// The names of all series.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(|labels| &*labels[NAME])
    }

    /// The number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// What differs from the points that a receiver has stored. One that it has besides is right if `is_known` says so.
    pub fn problems(
        &self,
        stored: &Self,
        precision: Precision,
        is_known: impl Fn(&Unknown<'_>) -> bool,
    ) -> Vec<String> {
        let (mut problems, none) = (Vec::new(), BTreeMap::new());
        for (labels, expected) in &self.series {
            let stored = stored.series.get(labels).unwrap_or(&none);
            if stored.is_empty() && !expected.values().all(|values| values.is_optional) {
                problems.push(format!("missing: {labels:?}, such as {:?}", expected.first_key_value()));
                continue;
            }
            let problem = |(millis, Values { values, is_optional }): (&i64, &Values)| {
                let is = stored.get(millis).map(|stored| stored.values[0]);
                let is_right = match is {
                    None => *is_optional,
                    Some(is) => values.iter().any(|value| precision.is_equal(*value, is)),
                };
                (!is_right).then(|| format!("{labels:?} at {millis}: measured {values:?}, stored {is:?}"))
            };
            let found: Vec<String> = expected.iter().filter_map(problem).collect();
            problems
                .extend(found.first().map(|first| format!("{} of {} points: {first}", found.len(), expected.len())));
        }
        for (labels, stored) in &stored.series {
            let expected = self.series.get(labels).unwrap_or(&none);
            let module = self.modules.get(labels).map(String::as_str);
            let is_unknown = |(millis, values): &(&i64, &Values)| {
                let unknown = || Unknown { labels, millis: **millis, value: values.values[0], module };
                !expected.contains_key(millis) && !is_known(&unknown())
            };
            let found: Vec<(&i64, &Values)> = stored.iter().filter(is_unknown).collect();
            problems.extend(
                found.first().map(|first| format!("{} points never measured: {labels:?}: {first:?}", found.len())),
            );
        }
        problems
    }

    /// Asserts that a receiver has stored exactly these points, and such that `is_known` says to be right.
    pub fn assert_stored(&self, stored: &Self, precision: Precision, is_known: impl Fn(&Unknown<'_>) -> bool) {
        let problems = self.problems(stored, precision, is_known);
        let shown = problems.iter().take(PROBLEMS).cloned().collect::<Vec<_>>().join("\n");
        assert!(problems.is_empty(), "{} problems, in {} series:\n{shown}", problems.len(), self.len());
    }
}

#[test]
fn differences_of_points_are_noticed() {
    let labels = |name: &str| Labels::from([(NAME.to_owned(), name.to_owned())]);
    let points = |points: &[(&str, i64, f64)]| {
        let mut all = Points::default();
        for (name, millis, value) in points {
            all.add(&labels(name), *millis, *value);
        }
        all
    };
    let measured = points(&[("a", 1000, 0.1), ("a", 2000, 0.2), ("b", 1000, 0.0)]);
    let problems = |stored: &[(&str, i64, f64)], precision| {
        measured.problems(&points(stored), precision, |unknown| unknown.millis == 5).len()
    };
    let right = [("a", 1000, 0.1), ("a", 2000, 0.2), ("b", 1000, 0.0)];
    assert_eq!(problems(&right, Precision::Exact), 0);
    assert_eq!(problems(&[right[0], right[1], right[2], ("b", 5, 7.0)], Precision::Exact), 0);
    assert_eq!(problems(&right[..2], Precision::Exact), 1, "a series is missing");
    assert_eq!(problems(&right[1..], Precision::Exact), 1, "a point is missing");
    assert_eq!(problems(&[right[0], right[1], right[2], ("b", 3000, 7.0)], Precision::Exact), 1, "one too many");
    assert_eq!(problems(&[right[0], ("a", 2001, 0.2), right[2]], Precision::Exact), 2, "a point at another time");
    let near = [right[0], ("a", 2000, 0.2 + 1e-12), right[2]];
    assert_eq!(problems(&near, Precision::Exact), 1, "another value");
    assert_eq!(problems(&near, Precision::Relative(1e-9)), 0);
    let mut alternatives = Points::default();
    alternatives.expect("m", labels("a"), 1000, 1.0, false);
    alternatives.expect("m", labels("a"), 1000, 2.0, true);
    alternatives.expect("m", labels("a"), 2000, 3.0, true);
    let problems =
        |stored: &[(&str, i64, f64)]| alternatives.problems(&points(stored), Precision::Exact, |_| false).len();
    assert_eq!((problems(&[("a", 1000, 2.0)]), problems(&[("a", 1000, 1.0), ("a", 2000, 3.0)])), (0, 0));
    assert_eq!((problems(&[("a", 2000, 3.0)]), problems(&[("a", 1000, 3.0)])), (1, 1));
}
