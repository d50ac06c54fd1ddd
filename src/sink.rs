//! The sinks: the outputs of samples. Each has a bounded queue and a thread of its own, since a write may block for any time: a dead
//! sink slows neither a tick nor another sink. Output that is possible without waiting may bypass the queue.

mod error;
mod heartbeat_statistics;
mod statistics;
mod admission;
mod settings;
mod queued;
mod json;
mod request;
mod verdict;
mod numeric;
mod target_labels;
#[cfg(test)]
mod fixture;
mod gzip;
mod remote_write;
mod influx;
mod otlp;
pub mod benchmark;
mod open_falcon;
mod retry;
mod protocol;
mod sender;
mod network_sink;
pub(crate) mod stdout;
mod metrics;
mod file;
mod file_sink;
mod spool;
mod running;
mod sinks;
mod examination;

pub(crate) use self::admission::SeriesSettings;
pub(crate) use self::error::SinkError;
pub(crate) use self::examination::{TargetFinding, examine_targets};
pub use self::json::{Encoder, Style, encode};
pub(crate) use self::sinks::{PreparedSink, Sinks, SinksEnd};
#[cfg(any(test, fuzzing))]
pub(crate) use self::spool::fuzzing::spool as fuzz_spool;
