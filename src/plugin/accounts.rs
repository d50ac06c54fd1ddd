//! The accounts of one plugin, which its instances share one after the other: a restart does not renew them.

pub(crate) mod denials;
pub(crate) mod log;
pub(crate) mod permits;
