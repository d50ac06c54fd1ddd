//! A running guest: engine, code, instance, its limits, its results and its failures. With `build::cache` the only part that
//! knows wasmtime.

pub(crate) mod bindings;
pub(crate) mod engine;
pub(crate) mod engine_options;
pub(crate) mod allowance;
pub(crate) mod call_time;
pub(crate) mod backtrace;
pub(crate) mod instance;
pub(crate) mod limits;
pub(crate) mod setting;
pub(crate) mod description;
pub(crate) mod returned;
pub(crate) mod result;
pub(crate) mod fault;
pub(crate) mod backoff;
#[cfg(test)]
pub(crate) mod fixture;
