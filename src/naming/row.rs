//! Rows of a naming's table: a metric of another agent's or of a convention, and ours.

use crate::sample::{Descriptor, MetricKind, Text};

/// Names or values of labels: ours, and those there.
pub(super) type Pairs = &'static [(&'static str, &'static str)];

/// A metric of somebody else's, and ours.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name there. `*` stands for any text.
    pub name: &'static str,
    /// Labels that it has with these values, and ours does not have.
    pub labels: Pairs,
    /// The relation of ours to it.
    pub relation: Relation,
    /// A remark for users, in the document.
    pub remark: &'static str,
}

/// The relation of our metric to it.
#[derive(Debug, Clone, Copy)]
pub enum Relation {
    /// Ours has the same values: its series get the name.
    Equal(Equal),
    /// The nearest that we have, as `module.metric`. It keeps our name: its values differ, as the remark says.
    Similar(&'static str),
    /// We measure nothing like it, and the remark says why.
    Missing,
}

/// A metric of ours with the same values.
#[derive(Debug, Clone, Copy)]
pub struct Equal {
    /// As `module.metric`. `*` is the text that it stands for there.
    pub metric: &'static str,
    /// Other metrics that serve where this one is not measured.
    pub alternatives: &'static [&'static str],
    /// The type there. None if it is untyped.
    pub kind: Option<MetricKind>,
    /// Whether the values of a gauge add up over its labels.
    pub is_additive: bool,
    /// Its unit in UCUM, where the naming has units beside names; empty otherwise.
    pub ucum: &'static str,
    /// The series of ours that are meant: labels with these values, which it does not have. The value `*` is the text that `*` stands for
    /// in the name.
    pub selected: Pairs,
    /// Names of labels: ours, and those there.
    pub renamed: Pairs,
    /// Labels of ours that it does not have, since the others tell its series apart.
    pub dropped: &'static [&'static str],
    /// The values of a label, where they differ. A series with another value keeps our name.
    pub translated: Option<Translation>,
    /// A label that all series there have.
    pub part: Option<Part>,
    /// How many of our units are one of its: 1024 where ours are bytes and its KiB.
    pub unit: Option<f64>,
    /// Its meaning, where the description of ours does not say it: there are other units, or several metrics of ours.
    pub help: &'static str,
}

impl Equal {
    /// The number by which our values are multiplied.
    pub(super) fn factor(&self) -> Option<f64> {
        self.unit.map(|unit| 1.0 / unit)
    }

    /// The unit in UCUM: the table's, otherwise ours as long as values are not converted.
    pub(super) fn unit_code(&self, descriptor: &Descriptor) -> Text {
        match (self.ucum, self.unit) {
            ("", None) => descriptor.unit.clone(),
            (ucum, _) => ucum.into(),
        }
    }

    /// The meaning: the table's, otherwise our description, otherwise the name.
    pub(super) fn help(&self, descriptor: &Descriptor, name: &Text) -> Text {
        match (self.help, &descriptor.description) {
            ("", description) if description.is_empty() => name.clone(),
            ("", description) => description.clone(),
            (help, _) => help.into(),
        }
    }
}

/// The values of a label.
#[derive(Debug, Clone, Copy)]
pub struct Translation {
    /// Our name of the label.
    pub label: &'static str,
    /// Our values, and those there.
    pub values: Pairs,
    /// Whether all other values are the same.
    pub others: Others,
}

/// Values of a label without a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They are the same there.
    Same,
    /// It does not have them.
    Unknown,
}

/// A label that tells the parts of a whole apart, such as CPUs.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The label.
    pub label: &'static str,
    /// The meaning of our series without it.
    pub whole: Whole,
}

/// Our series of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// It is left out: the series of the parts are there.
    LeftOut,
    /// It keeps our name.
    OwnName,
    /// It has the name, too, without the label. An output that has the parts leaves it out: see `Naming::hides`.
    Redundant,
}

/// A row for metrics without a counterpart.
pub(super) const fn missing(name: &'static str, remark: &'static str) -> Row {
    Row { name, labels: &[], relation: Relation::Missing, remark }
}

/// A row for a metric whose counterpart has other values.
pub(super) const fn similar(name: &'static str, metric: &'static str, remark: &'static str) -> Row {
    Row { name, labels: &[], relation: Relation::Similar(metric), remark }
}

pub(super) const fn gauge(name: &'static str, metric: &'static str) -> Row {
    equal(name, metric, Some(MetricKind::Gauge))
}

pub(super) const fn counter(name: &'static str, metric: &'static str) -> Row {
    equal(name, metric, Some(MetricKind::Counter))
}

/// A gauge whose values add up over its labels.
pub(super) const fn amount(name: &'static str, metric: &'static str) -> Row {
    let row = equal(name, metric, Some(MetricKind::Gauge));
    row.with(Equal { is_additive: true, ..row.equal() })
}

pub(super) const fn untyped(name: &'static str, metric: &'static str) -> Row {
    equal(name, metric, None)
}

const fn equal(name: &'static str, metric: &'static str, kind: Option<MetricKind>) -> Row {
    let equal = Equal {
        metric,
        alternatives: &[],
        kind,
        is_additive: false,
        ucum: "",
        selected: &[],
        renamed: &[],
        dropped: &[],
        translated: None,
        part: None,
        unit: None,
        help: "",
    };
    Row { name, labels: &[], relation: Relation::Equal(equal), remark: "" }
}

impl Row {
    pub(super) const fn remark(self, remark: &'static str) -> Self {
        Self { remark, ..self }
    }

    /// Adds labels that it has, and ours does not.
    pub(super) const fn labels(self, labels: Pairs) -> Self {
        Self { labels, ..self }
    }

    pub(super) const fn or(self, alternatives: &'static [&'static str]) -> Self {
        self.with(Equal { alternatives, ..self.equal() })
    }

    pub(super) const fn select(self, selected: Pairs) -> Self {
        self.with(Equal { selected, ..self.equal() })
    }

    pub(super) const fn rename(self, renamed: Pairs) -> Self {
        self.with(Equal { renamed, ..self.equal() })
    }

    pub(super) const fn drop(self, dropped: &'static [&'static str]) -> Self {
        self.with(Equal { dropped, ..self.equal() })
    }

    pub(super) const fn ucum(self, ucum: &'static str) -> Self {
        self.with(Equal { ucum, ..self.equal() })
    }

    pub(super) const fn translate(self, label: &'static str, values: Pairs, others: Others) -> Self {
        self.with(Equal { translated: Some(Translation { label, values, others }), ..self.equal() })
    }

    pub(super) const fn part(self, label: &'static str, whole: Whole) -> Self {
        self.with(Equal { part: Some(Part { label, whole }), ..self.equal() })
    }

    pub(super) const fn unit(self, unit: f64) -> Self {
        self.with(Equal { unit: Some(unit), ..self.equal() })
    }

    pub(super) const fn help(self, help: &'static str) -> Self {
        self.with(Equal { help, ..self.equal() })
    }

    const fn with(self, equal: Equal) -> Self {
        Self { relation: Relation::Equal(equal), ..self }
    }

    /// Evaluated in constants only: a row of another relation does not compile.
    const fn equal(self) -> Equal {
        match self.relation {
            Relation::Equal(equal) => equal,
            Relation::Similar(_) | Relation::Missing => panic!("the row names no metric with the same values"),
        }
    }
}
