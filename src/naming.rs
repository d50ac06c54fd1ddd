//! Namings: what a series is called in an output that has one flat space of names. Each naming is a pure function, evaluated once
//! for each series; what an output does with two series of one name is its own affair.

mod named;
mod labels;
mod words;
mod unit;
mod scale;
mod decimal;
mod bound;
mod gauged;
mod row;
mod counterpart;
mod dotted;
#[cfg(test)]
mod documents;
pub mod node_exporter;
pub mod otel;
pub mod open_falcon;

pub use self::named::Named;
pub use self::scale::{Number, Scale};
use crate::sample::{ModuleSource, Series, is_for_naming_only};

/// The names that the series of an output have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Naming {
    /// Our own, by rules: `gauged_<module>_<metric>` in base units.
    #[default]
    Gauged,
    /// `node_exporter`'s, where a series has the same values as one of `node_exporter`'s; our own otherwise.
    NodeExporter,
    /// `OpenTelemetry`'s semantic conventions, where a series has a convention's values; otherwise `<module>.<metric>`.
    Otel,
    /// Those of Open-Falcon's agent, where a series has the same values as one of its; otherwise `<module>.<metric>`.
    OpenFalcon,
}

/// All namings, in the order of [`Naming::NAMES`].
const NAMINGS: &[Naming] = &[Naming::Gauged, Naming::NodeExporter, Naming::Otel, Naming::OpenFalcon];

impl Naming {
    /// The names of all namings in the configuration.
    pub const NAMES: &'static [&'static str] = &["gauged", "node_exporter", "otel", "open_falcon"];

    /// The names of those whose series have names that Prometheus allows, without dots and slashes; the first is the default.
    pub const PROMETHEUS_NAMES: &'static [&'static str] = &["gauged", "node_exporter"];

    /// The naming with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().zip(NAMINGS).find(|(name, _)| **name == text).map(|(_, naming)| *naming)
    }

    /// The naming with this name, if Prometheus allows the names of its series.
    #[must_use]
    pub fn parse_prometheus(text: &str) -> Option<Self> {
        Self::PROMETHEUS_NAMES.contains(&text).then(|| Self::parse(text)).flatten()
    }

    /// Its own name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().zip(NAMINGS).find(|(_, naming)| **naming == self).map_or("", |(name, _)| name)
    }

    /// Whether it has series of each CPU that no other output shows.
    #[must_use]
    pub fn needs_cpus(self) -> bool {
        self == Self::NodeExporter
    }

    /// Whether an output in this naming leaves out a series that no pattern excludes. `per_core` is whether each CPU is measured for
    /// all outputs. Then `otel` leaves out the sums of all CPUs, whose names those of single CPUs have, too: nothing is added up
    /// twice. Otherwise a single CPU's series is for a naming that needs it.
    #[must_use]
    pub fn hides(self, per_core: bool, module: &str, series: &Series) -> bool {
        match (self, per_core) {
            (Self::Otel, true) => otel::is_redundant(module, series),
            (_, true) => false,
            (_, false) => !self.needs_cpus() && is_for_naming_only(module, series),
        }
    }

    /// Whether there are series that it [hides](Self::hides).
    #[must_use]
    pub fn hides_any(self, per_core: bool) -> bool {
        if per_core { self == Self::Otel } else { !self.needs_cpus() }
    }

    /// The name of a series of a module; `prefix` begins our own names, which `gauged` and `node_exporter` have. None for a series that the naming leaves out.
    #[must_use]
    pub fn name(self, prefix: &str, source: &ModuleSource, series: &Series) -> Option<Named> {
        match self {
            Self::Gauged => Some(gauged::name(prefix, source, series)),
            Self::NodeExporter => node_exporter::name(prefix, source, series),
            Self::Otel => Some(otel::name(source, series)),
            Self::OpenFalcon => Some(open_falcon::name(source, series)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namings_have_names() {
        for &name in Naming::NAMES {
            assert_eq!(Naming::parse(name).map(Naming::as_str), Some(name));
        }
        assert_eq!(Naming::parse("prometheus"), None);
    }

    #[test]
    fn prometheus_has_no_dotted_names() {
        let known: Vec<Option<Naming>> = Naming::NAMES.iter().map(|name| Naming::parse_prometheus(name)).collect();
        assert_eq!(known, [Some(Naming::Gauged), Some(Naming::NodeExporter), None, None]);
        assert_eq!(Naming::PROMETHEUS_NAMES, &Naming::NAMES[..2]);
    }
}
