//! The naming of `OpenTelemetry`: stub.

use super::dotted;
use super::named::Named;
use crate::sample::{ModuleSource, Series};

/// The name of a series.
pub(super) fn name(source: &ModuleSource, series: &Series) -> Named {
    dotted::name(source, series)
}

/// Whether a series is that of all CPUs, and those of single CPUs have its name.
pub(super) fn is_redundant(_module: &str, _series: &Series) -> bool {
    false
}
