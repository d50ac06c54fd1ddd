//! Operations that may wait for a device, another machine or a processor run on other threads. The guest thread only
//! awaits their results, and stops waiting when they take too long.

pub(crate) mod pool;
pub(crate) mod progress;
pub(crate) mod busy;
pub(crate) mod permits;
