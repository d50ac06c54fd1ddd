//! Metric declarations. [`metrics!`](crate::metrics) makes a constant of each, checks it at compile time, and lists all
//! of them in `METRICS`.

use crate::Kind;
use crate::bindings::gauged::plugin::metrics as wire;

/// Static facts about a metric, made by [`metrics!`](crate::metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The module of the metric.
    pub module: &'static str,
    /// The name, without labels.
    pub name: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// The unit in UCUM: `By`, `s`, `%`, `1`, `{packet}`.
    pub unit: &'static str,
    /// One sentence for operators: the meaning of a rising value.
    pub description: &'static str,
    /// The name in the source, for plugins that look metrics up by it; empty if not declared.
    pub source: &'static str,
}

impl Descriptor {
    #[doc(hidden)]
    #[must_use]
    pub const fn gauge(
        module: &'static str,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        source: &'static str,
    ) -> Self {
        Self { module, name, kind: Kind::Gauge, unit, description: description.trim_ascii(), source }
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn counter(
        module: &'static str,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        source: &'static str,
    ) -> Self {
        Self { module, name, kind: Kind::Counter, unit, description: description.trim_ascii(), source }
    }

    pub(crate) fn to_wire(self) -> wire::Descriptor {
        wire::Descriptor {
            module: self.module.to_owned(),
            name: self.name.to_owned(),
            kind: self.kind,
            unit: self.unit.to_owned(),
            description: self.description.to_owned(),
        }
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
#[macro_export]
macro_rules! metrics {
    ($(
        module $module:literal;
        $(
            $(#[doc = $description:literal])+
            $constant:ident: $kind:ident $name:literal in $unit:literal $(from $source:literal)?;
        )+
    )+) => {
        $($(
            $(#[doc = $description])+
            pub(crate) const $constant: $crate::Descriptor = $crate::Descriptor::$kind(
                $module,
                $name,
                $unit,
                ::core::concat!($($description),+),
                ::core::concat!($($source)?),
            );
        )+)+

        /// All metrics that this plugin can return.
        pub(crate) const METRICS: &[$crate::Descriptor] = &[$($($constant),+),+];

        const _: () = $crate::descriptor::check(METRICS);
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
pub(crate) const MAX_NAME_BYTES: usize = 128;

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

    #[test]
    fn declaration_that_breaks_a_rule_does_not_compile() {
        const GOOD: Descriptor = Descriptor::gauge("m", "1min", "1", " A level.", "");
        const LONG: &str = match std::str::from_utf8(&[b'a'; 129]) {
            Ok(name) => name,
            Err(_) => "",
        };
        check(&[GOOD, Descriptor::counter("m", "x_total", "1", "d", ""), Descriptor::gauge("n", "1min", "1", "d", "")]);
        assert_eq!(GOOD.description, "A level.");
        for bad in [
            &[Descriptor::gauge("", "a", "1", "d", "")][..],
            &[Descriptor::gauge("m", "", "1", "d", "")],
            &[Descriptor::gauge("m.n", "a", "1", "d", "")],
            &[Descriptor::gauge("m", "a-b", "1", "d", "")],
            &[Descriptor::gauge("m", LONG, "1", "d", "")],
            &[Descriptor::gauge("m", "a", "", "d", "")],
            &[Descriptor::gauge("m", "a", "1", " ", "")],
            &[Descriptor::gauge("m", "a_total", "1", "d", "")],
            &[Descriptor::counter("m", "a", "1", "d", "")],
            &[GOOD, GOOD],
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
