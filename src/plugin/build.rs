//! From the content of a file to native code: probed and compiled in a child process, or taken from the cache. Nothing here
//! runs a guest.

pub(crate) mod sealed;
pub(crate) mod probe;
pub(crate) mod package_version;
pub(crate) mod preview1;
pub(crate) mod budget;
pub(crate) mod queue;
mod cpu_budget;
pub(crate) mod ledger;
pub(crate) mod footprint;
pub(crate) mod compile;
pub(crate) mod child;
mod confinement;
pub(crate) mod cache;
