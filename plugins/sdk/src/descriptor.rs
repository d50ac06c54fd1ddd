//! What a metric is, declared once beside the code that measures it. [`metrics!`](crate::metrics) turns each
//! declaration into a constant, checks it while compiling, and lists them all.

use crate::Kind;
use crate::bindings::gauged::plugin::metrics as wire;

/// What there is to know about a metric besides its value. [`metrics!`](crate::metrics) makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The module that it belongs to.
    pub module: &'static str,
    /// Its name, without labels.
    pub name: &'static str,
    /// How successive values relate.
    pub kind: Kind,
    /// In UCUM: `By`, `s`, `%`, `1`, `{packet}`.
    pub unit: &'static str,
    /// One sentence that tells an operator what a rising value means.
    pub description: &'static str,
    /// What the source calls it, for a plugin that goes through a table; empty where nothing was declared.
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

/// Declares the metrics of a plugin: a constant for each, and `METRICS`, the slice of all of them in this order. The
/// doc comment is the description that operators see.
///
/// ```
/// gauged_plugin::metrics! {
///     module "disk";
///     /// Reads that were completed.
///     READS: counter "reads_total" in "{operation}";
///     /// Share of the time in which at least one operation was under way.
///     UTILISATION: gauge "utilisation_percent" in "%";
///
///     module "disk_cache";
///     /// Pages that had to be read ahead of time.
///     READ_AHEAD: counter "read_ahead_total" in "{page}" from "pgreadahead";
/// }
///
/// assert_eq!((READS.module, READS.name, READS.unit), ("disk", "reads_total", "{operation}"));
/// assert_eq!(METRICS.len(), 3);
/// // A plugin whose metrics are a table goes through it by what the source calls them.
/// let known = METRICS.iter().find(|metric| metric.source == "pgreadahead");
/// assert_eq!(known, Some(&READ_AHEAD));
/// ```
///
/// Names are made of letters, digits and underscores; a counter's ends in `_total`, a gauge's does not; two metrics of
/// one name do not compile:
///
/// ```compile_fail
/// gauged_plugin::metrics! {
///     module "disk";
///     /// Reads that were completed.
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

/// One table of several, for a plugin that declares its metrics in more than one file. `N` is how many there are.
///
/// ```
/// use gauged_plugin::Descriptor;
/// use gauged_plugin::descriptor::join;
///
/// mod reads {
///     gauged_plugin::metrics! {
///         module "disk";
///         /// Reads that were completed.
///         READS: counter "reads_total" in "{operation}";
///     }
/// }
/// mod writes {
///     gauged_plugin::metrics! {
///         module "disk";
///         /// Writes that were completed.
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
/// `N` is another number, or two metrics of a module have one name. In a constant that ends the compilation.
#[must_use]
pub const fn join<const N: usize>(tables: &[&[Descriptor]]) -> [Descriptor; N] {
    assert!(!tables.is_empty() && !tables[0].is_empty(), "there is something to join");
    let mut joined = [tables[0][0]; N];
    let (mut table, mut at, mut to) = (0, 0, 0);
    while table < tables.len() {
        if at < tables[table].len() {
            assert!(to < N, "there are more metrics than that");
            joined[to] = tables[table][at];
            (at, to) = (at + 1, to + 1);
        } else {
            (table, at) = (table + 1, 0);
        }
    }
    assert!(to == N, "there are fewer metrics than that");
    check(&joined);
    joined
}

/// Ends the compilation where a declaration breaks a rule of the contract.
#[doc(hidden)]
pub const fn check(metrics: &[Descriptor]) {
    let mut at = 0;
    while at < metrics.len() {
        let metric = &metrics[at];
        assert!(is_name(metric.module), "the name of a module is 1 to 128 letters, digits and underscores");
        assert!(is_name(metric.name), "the name of a metric is 1 to 128 letters, digits and underscores");
        assert!(!metric.unit.is_empty(), "a metric has a unit, in UCUM; what is only counted has the unit 1");
        assert!(!metric.description.is_empty(), "a metric has a description");
        let is_counter = matches!(metric.kind, Kind::Counter);
        assert!(is_counter == ends_in_total(metric.name), "counters, and only they, have names that end in _total");
        let mut other = 0;
        while other < at {
            let is_twice = same(metric.name, metrics[other].name) && same(metric.module, metrics[other].module);
            assert!(!is_twice, "two metrics of a module have one name");
            other += 1;
        }
        at += 1;
    }
}

/// The longest name of a module, a metric or a label that the agent takes.
pub(crate) const NAME_BYTES: usize = 128;

const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphanumeric() && bytes[at] != b'_' {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= NAME_BYTES
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
    fn what_breaks_a_rule_does_not_compile() {
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
