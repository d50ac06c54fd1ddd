//! The naming of `Open-Falcon`: stub.

use super::dotted;
use super::named::Named;
use crate::sample::{ModuleSource, Series};

/// The name of a series.
pub(super) fn name(source: &ModuleSource, series: &Series) -> Named {
    dotted::name(source, series)
}
