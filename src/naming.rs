//! Namings: what a series is called in an output that has one flat space of names. Each naming is a pure function, evaluated once
//! for each series; what an output does with two series of one name is its own affair.

mod named;
mod labels;
mod words;
mod unit;
mod scale;
mod gauged;
pub mod node_exporter;

pub use self::named::Named;
pub use self::scale::{Number, Scale};
use crate::sample::{ModuleSource, Series};

/// The names that the series of an output have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Naming {
    /// Our own, by rules: `gauged_<module>_<metric>` in base units.
    Gauged,
    /// `node_exporter`'s, where a series has the same values as one of `node_exporter`'s; our own otherwise.
    NodeExporter,
}

/// All namings, in the order of [`Naming::NAMES`].
const NAMINGS: &[Naming] = &[Naming::Gauged, Naming::NodeExporter];

impl Naming {
    /// Their names in the configuration and in requests; the first is the default.
    pub const NAMES: &'static [&'static str] = &["gauged", "node_exporter"];

    /// The naming with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().zip(NAMINGS).find(|(name, _)| **name == text).map(|(_, naming)| *naming)
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

    /// The name of a series of a module; `prefix` begins the names that are ours. None for a series that the naming leaves out.
    #[must_use]
    pub fn name(self, prefix: &str, source: &ModuleSource, series: &Series) -> Option<Named> {
        match self {
            Self::Gauged => Some(gauged::name(prefix, source, series)),
            Self::NodeExporter => node_exporter::name(prefix, source, series),
        }
    }
}
