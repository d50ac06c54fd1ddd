//! Points that local programs push, in the form of Open-Falcon's agent: an array of objects, each with endpoint, metric, tags, value,
//! kind, step and time. They become modules beside those of the collectors, one for each time and step, and go wherever samples go.
//!
//! ```text
//!  HTTP ── body ──▶ Inlet: array ─▶ points ─▶ series ──▶ queue ──▶ PushedModules: steps ─▶ modules ──▶ sample
//!        delivery thread                                            tick thread
//! ```
//!
//! Everything that depends on what a program sends is done on the delivery thread, bounded; the tick thread sorts points whose series
//! are known. No HTTP is here.

mod statistics;
mod field;
mod point;
mod array;
mod queue;
mod inlet;
mod step;
mod modules;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub(crate) use self::inlet::{Inlet, PushError};
pub(crate) use self::modules::PushedModules;
pub(crate) use self::statistics::Statistics;
