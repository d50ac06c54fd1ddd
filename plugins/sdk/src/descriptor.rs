//! Metric declarations. [`metrics!`](crate::metrics) makes a constant of each, checks it at compile time, and lists all
//! of them in `METRICS`. Metrics that are known at run time only have a [`FoundMetric`].

use crate::bindings::gauged::plugin::metrics as wire;
use crate::{Kind, Origin};

/// A label of a metric, and what its values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias("label", "attribute", "tag"))]
pub struct Dimension {
    /// The name of the label.
    pub name: &'static str,
    /// What its values are.
    pub meaning: &'static str,
}

/// Static facts about a metric, made by [`metrics!`](crate::metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias("metadata", "desc", "help"))]
pub struct Descriptor {
    /// The module of the metric.
    pub module: &'static str,
    /// The name, without labels.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// From when its counts are; unknown for a gauge.
    pub counts_from: Origin,
    /// The unit in UCUM: `By`, `s`, `%`, `1`, `{packet}`.
    pub unit: &'static str,
    /// One sentence for operators: the meaning of a rising value.
    pub description: &'static str,
    /// All labels that it may have.
    pub labels: &'static [Dimension],
    /// The name in the source, for plugins that look metrics up by it; empty if not declared.
    pub source: &'static str,
}

impl Descriptor {
    /// A metric without labels and of an unknown origin.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        kind: Kind,
        [module, name, unit, description, source]: [&'static str; 5],
        labels: &'static [Dimension],
        origin: Origin,
    ) -> Self {
        let counts_from = if matches!(kind, Kind::Gauge) { Origin::Unknown } else { origin };
        Self { module, name, kind, counts_from, unit, description: description.trim_ascii(), labels, source }
    }

    pub(crate) fn to_wire(self) -> wire::Descriptor {
        let label =
            |label: &Dimension| wire::Dimension { name: label.name.to_owned(), meaning: label.meaning.to_owned() };
        wire::Descriptor {
            module: self.module.to_owned(),
            name: self.name.to_owned(),
            kind: self.kind,
            counts_from: self.counts_from,
            unit: self.unit.to_owned(),
            description: self.description.to_owned(),
            labels: self.labels.iter().map(label).collect(),
        }
    }
}

/// A metric that is known at run time only: one that the settings name, or that a measured program has. A plugin describes it by
/// [`Plugin::metrics`](crate::Plugin::metrics), or by [`Sample::describe`](crate::Sample::describe) when it has found it.
///
/// ```
/// use gauged_plugin::descriptor::FoundMetric;
/// use gauged_plugin::{Origin, Sample};
///
/// let metric = FoundMetric::counter("app", "orders_total", "{order}", "Completed orders.")
///     .with_label("shop", "Name of the shop")
///     .since(Origin::Plugin);
/// let mut sample = Sample::default();
/// sample.labelled(&[("shop", "a")]).set(&metric, 3_u64);
/// assert_eq!(sample.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("const_metric", "dynamic", "metadata"))]
pub struct FoundMetric(pub(crate) wire::Descriptor);

impl FoundMetric {
    fn new(kind: Kind, [module, name, unit, description]: [&str; 4]) -> Self {
        Self(wire::Descriptor {
            module: module.to_owned(),
            name: name.to_owned(),
            kind,
            counts_from: Origin::Unknown,
            unit: unit.to_owned(),
            description: description.to_owned(),
            labels: Vec::new(),
        })
    }

    /// A value that goes up and down.
    #[must_use]
    pub fn gauge(module: &str, name: &str, unit: &str, description: &str) -> Self {
        Self::new(Kind::Gauge, [module, name, unit, description])
    }

    /// A value that only grows; its name ends in `_total`.
    #[must_use]
    pub fn counter(module: &str, name: &str, unit: &str, description: &str) -> Self {
        Self::new(Kind::Counter, [module, name, unit, description])
    }

    /// Numbers of observations by their size.
    #[must_use]
    pub fn histogram(module: &str, name: &str, unit: &str, description: &str) -> Self {
        Self::new(Kind::Histogram, [module, name, unit, description])
    }

    /// Quantiles of observations.
    #[must_use]
    pub fn summary(module: &str, name: &str, unit: &str, description: &str) -> Self {
        Self::new(Kind::Summary, [module, name, unit, description])
    }

    /// The same with one more label.
    #[must_use]
    pub fn with_label(mut self, name: &str, meaning: &str) -> Self {
        self.0.labels.push(wire::Dimension { name: name.to_owned(), meaning: meaning.to_owned() });
        self
    }

    /// The same with counts from this moment.
    #[must_use]
    pub fn since(mut self, origin: Origin) -> Self {
        self.0.counts_from = origin;
        self
    }
}

/// A metric that a sample can have: a [`Descriptor`] or a [`FoundMetric`].
pub trait Described {
    /// The module of the metric.
    fn module(&self) -> &str;
    /// The name, without labels.
    fn name(&self) -> &str;
}

impl Described for Descriptor {
    fn module(&self) -> &str {
        self.module
    }

    fn name(&self) -> &str {
        self.name
    }
}

impl Described for FoundMetric {
    fn module(&self) -> &str {
        &self.0.module
    }

    fn name(&self) -> &str {
        &self.0.name
    }
}

impl<T: Described> Described for &T {
    fn module(&self) -> &str {
        (**self).module()
    }

    fn name(&self) -> &str {
        (**self).name()
    }
}

/// Declares the metrics of a plugin: one constant each, and the slice `METRICS` of all of them in this order. The doc
/// comment is the description that operators see.
///
/// ```
/// gauged_plugin::metrics! {
///     module "disk";
///     /// Completed reads.
///     READS: counter "reads_total" in "{operation}";
///     /// Share of time with at least one operation in progress.
///     UTILISATION: gauge "utilisation_percent" in "%";
///
///     module "disk_cache";
///     /// Pages read ahead of time.
///     READ_AHEAD: counter "read_ahead_total" in "{page}" from "pgreadahead";
/// }
///
/// assert_eq!((READS.module, READS.name, READS.unit), ("disk", "reads_total", "{operation}"));
/// assert_eq!(METRICS.len(), 3);
/// // Table-driven plugins look a metric up by its name in the source.
/// let known = METRICS.iter().find(|metric| metric.source == "pgreadahead");
/// assert_eq!(known, Some(&READ_AHEAD));
/// ```
///
/// A module has the labels of all its metrics, and a metric those that it has in addition. Counters count from an unknown moment
/// unless `since` says otherwise: `boot` for the kernel's, `plugin` for the plugin's own.
///
/// ```
/// use gauged_plugin::{Kind, Origin};
///
/// gauged_plugin::metrics! {
///     module "disk" by {"device": "Name of the disk, such as `sda`"} since boot;
///     /// Completed reads.
///     READS: counter "reads_total" in "{operation}";
///     /// Failed reads, since the plugin started.
///     FAILURES: counter "failures_total" in "1" by {"reason": "`timeout` or `media`"} since plugin;
///     /// Durations of reads.
///     DURATION: histogram "read_seconds" in "s";
/// }
///
/// assert_eq!((READS.labels.len(), READS.counts_from), (1, Origin::Boot));
/// assert_eq!((FAILURES.labels[1].name, FAILURES.counts_from), ("reason", Origin::Plugin));
/// assert_eq!(DURATION.kind, Kind::Histogram);
/// ```
///
/// Names consist of letters, digits and underscores; names of counters, and only those, end in `_total`. A violation or a
/// duplicate name does not compile:
///
/// ```compile_fail
/// gauged_plugin::metrics! {
///     module "disk";
///     /// Completed reads.
///     READS: counter "reads" in "{operation}";
/// }
/// # fn main() {}
/// ```
#[doc(alias("gauge", "counter", "histogram", "summary", "instrument", "registry", "register", "unit"))]
#[macro_export]
macro_rules! metrics {
    ($(
        module $module:literal $(by $labels:tt)? $(since $origin:ident)?;
        $(
            $(#[doc = $description:literal])+
            $constant:ident: $kind:ident $name:literal in $unit:literal
                $(by $more:tt)? $(since $own:ident)? $(from $source:literal)?;
        )+
    )+) => {
        $($crate::module_metrics! {
            $module ($($labels)?) ($($origin)?)
            $(
                $(#[doc = $description])+
                $constant $kind $name $unit ($($more)?) ($($own)?) ($($source)?);
            )+
        })+

        /// All metrics that this plugin can return.
        pub(crate) const METRICS: &[$crate::Descriptor] = &[$($($constant),+),+];

        const _: () = $crate::descriptor::check(METRICS);
    };
}

/// The constants of one module of [`metrics!`].
#[doc(hidden)]
#[macro_export]
macro_rules! module_metrics {
    ($module:literal $labels:tt $origin:tt $(
        $(#[doc = $description:literal])+
        $constant:ident $kind:ident $name:literal $unit:literal $more:tt $own:tt ($($source:literal)?);
    )+) => {
        $(
            $(#[doc = $description])+
            pub(crate) const $constant: $crate::Descriptor = $crate::Descriptor::new(
                $crate::metric_kind!($kind),
                [$module, $name, $unit, ::core::concat!($($description),+), ::core::concat!($($source)?)],
                $crate::dimensions!($labels $more),
                $crate::metric_origin!($own $origin),
            );
        )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! metric_kind {
    (gauge) => {
        $crate::Kind::Gauge
    };
    (counter) => {
        $crate::Kind::Counter
    };
    (histogram) => {
        $crate::Kind::Histogram
    };
    (summary) => {
        $crate::Kind::Summary
    };
}

/// The labels of a module and those of a metric.
#[doc(hidden)]
#[macro_export]
macro_rules! dimensions {
    (
        ($({$($label:literal: $meaning:literal),+ $(,)?})?)
        ($({$($more:literal: $more_meaning:literal),+ $(,)?})?)
    ) => {
        &[
            $($($crate::descriptor::Dimension { name: $label, meaning: $meaning },)+)?
            $($($crate::descriptor::Dimension { name: $more, meaning: $more_meaning },)+)?
        ]
    };
}

/// The origin of a metric, else that of its module.
#[doc(hidden)]
#[macro_export]
macro_rules! metric_origin {
    ((boot) $of_module:tt) => {
        $crate::Origin::Boot
    };
    ((plugin) $of_module:tt) => {
        $crate::Origin::Plugin
    };
    ((unknown) $of_module:tt) => {
        $crate::Origin::Unknown
    };
    (() ()) => {
        $crate::Origin::Unknown
    };
    (() $of_module:tt) => {
        $crate::metric_origin!($of_module())
    };
}

/// Joins tables of metrics, for plugins that declare them in several files. `N` is the total number.
///
/// ```
/// use gauged_plugin::Descriptor;
/// use gauged_plugin::descriptor::join;
///
/// mod reads {
///     gauged_plugin::metrics! {
///         module "disk";
///         /// Completed reads.
///         READS: counter "reads_total" in "{operation}";
///     }
/// }
/// mod writes {
///     gauged_plugin::metrics! {
///         module "disk";
///         /// Completed writes.
///         WRITES: counter "writes_total" in "{operation}";
///     }
/// }
///
/// const METRICS: &[Descriptor] =
///     &join::<{ reads::METRICS.len() + writes::METRICS.len() }>(&[reads::METRICS, writes::METRICS]);
/// assert_eq!(METRICS, [reads::READS, writes::WRITES]);
/// ```
///
/// # Panics
///
/// `N` is wrong, or two metrics of a module have the same name. In a constant this is a compile error.
#[must_use]
pub const fn join<const N: usize>(tables: &[&[Descriptor]]) -> [Descriptor; N] {
    assert!(!tables.is_empty() && !tables[0].is_empty(), "no tables to join");
    let mut joined = [tables[0][0]; N];
    let (mut table, mut at, mut to) = (0, 0, 0);
    while table < tables.len() {
        if at < tables[table].len() {
            assert!(to < N, "N is less than the number of metrics");
            joined[to] = tables[table][at];
            (at, to) = (at + 1, to + 1);
        } else {
            (table, at) = (table + 1, 0);
        }
    }
    assert!(to == N, "N is more than the number of metrics");
    check(&joined);
    joined
}

/// Fails the compilation if a declaration breaks an SDK rule.
#[doc(hidden)]
pub const fn check(metrics: &[Descriptor]) {
    let mut at = 0;
    while at < metrics.len() {
        let metric = &metrics[at];
        assert!(is_name(metric.module), "a module name has 1 to 128 letters, digits and underscores");
        assert!(is_name(metric.name), "a metric name has 1 to 128 letters, digits and underscores");
        assert!(!metric.unit.is_empty(), "a metric needs a unit in UCUM; plain numbers have the unit 1");
        assert!(!metric.description.is_empty(), "a metric needs a description");
        let is_counter = matches!(metric.kind, Kind::Counter);
        assert!(is_counter == ends_in_total(metric.name), "names of counters, and only those, end in _total");
        let mut label = 0;
        while label < metric.labels.len() {
            let Dimension { name, meaning } = metric.labels[label];
            assert!(is_name(name), "a label name has 1 to 128 letters, digits and underscores");
            assert!(!name.as_bytes()[0].is_ascii_digit(), "a label name begins with a letter or an underscore");
            assert!(!meaning.is_empty(), "a label needs a meaning");
            label += 1;
        }
        let mut other = 0;
        while other < at {
            let is_twice = same(metric.name, metrics[other].name) && same(metric.module, metrics[other].module);
            assert!(!is_twice, "two metrics of a module have the same name");
            other += 1;
        }
        at += 1;
    }
}

/// The longest name of a module, metric or label that the agent accepts.
pub const MAX_NAME_BYTES: usize = 128;

const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphanumeric() && bytes[at] != b'_' {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= MAX_NAME_BYTES
}

const fn ends_in_total(text: &str) -> bool {
    matches!(text.as_bytes(), [.., b'_', b't', b'o', b't', b'a', b'l'])
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const fn gauge(
        module: &'static str,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Descriptor {
        Descriptor::new(Kind::Gauge, [module, name, unit, description, ""], &[], Origin::Boot)
    }

    #[test]
    fn declaration_that_breaks_a_rule_does_not_compile() {
        const GOOD: Descriptor = gauge("m", "1min", "1", " A level.");
        const LONG: &str = match std::str::from_utf8(&[b'a'; 129]) {
            Ok(name) => name,
            Err(_) => "",
        };
        let counter = |name| Descriptor { kind: Kind::Counter, ..gauge("m", name, "1", "d") };
        check(&[GOOD, counter("x_total"), gauge("n", "1min", "1", "d")]);
        assert_eq!((GOOD.description, GOOD.counts_from), ("A level.", Origin::Unknown));
        for bad in [
            &[gauge("", "a", "1", "d")][..],
            &[gauge("m", "", "1", "d")],
            &[gauge("m.n", "a", "1", "d")],
            &[gauge("m", "a-b", "1", "d")],
            &[gauge("m", LONG, "1", "d")],
            &[gauge("m", "a", "", "d")],
            &[gauge("m", "a", "1", " ")],
            &[gauge("m", "a_total", "1", "d")],
            &[counter("a")],
            &[GOOD, GOOD],
            &[Descriptor { labels: &[Dimension { name: "1a", meaning: "m" }], ..GOOD }],
            &[Descriptor { labels: &[Dimension { name: "a b", meaning: "m" }], ..GOOD }],
            &[Descriptor { labels: &[Dimension { name: "a", meaning: "" }], ..GOOD }],
        ] {
            assert!(catch_unwind(|| check(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_description_may_have_several_lines() {
        crate::metrics! {
            module "m";
            /// One line
            /// and another.
            LEVEL: gauge "level" in "1" from "LVL";
        }
        assert_eq!((LEVEL.description, LEVEL.source, METRICS), ("One line and another.", "LVL", &[LEVEL][..]));
    }
}
