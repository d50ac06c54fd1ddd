//! Samples that network sinks deliver: through outages of the receiver, kills of the agent and full disks, to hostile receivers, and at the
//! end.

mod protocol;
mod receiver;
mod protobuf;
mod snappy;
mod decode;
mod measured;
mod sender;
mod disk;
mod outage;
mod bounds;
mod hostile;
mod verdicts;
mod clocks;
mod ends;
mod changes;

/// The module of the test's plugin.
const MODULE: &str = "many";
