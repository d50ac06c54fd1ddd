//! The host's functions: the agent's in a component, a scripted host's on other targets. Only this file distinguishes the
//! two.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::gauged::plugin::{files, http, log, net, state, system};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::scripted_files as files;
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::scripted_host::{http, log, state};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::scripted_net as net;
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::scripted_system as system;
