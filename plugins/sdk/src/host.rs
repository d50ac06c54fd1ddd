//! Where the host's functions come from: the agent, where this is a component; a scripted host everywhere else. The
//! only place that tells the two apart.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::gauged::plugin::{files, http, log, net};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::scripted::{files, http, log, net};
