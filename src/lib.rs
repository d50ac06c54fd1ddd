//! gauged, a host metrics agent that is extended by dropping WebAssembly files into a folder.
//!
//! Native collectors measure cpu, load and memory; every other collector is a plugin, a WebAssembly component that is
//! loaded while the agent runs and can touch nothing that it was not granted. At each tick all of them are merged into
//! one [`sample::Sample`], a map module → metric → value, which goes to the sinks.
//!
//! The modules, in reading order:

pub mod sample;
pub mod escape;
pub mod clock;
pub mod hostpath;
pub mod hostname;
pub mod address;
pub mod procfs;
pub mod collector;
pub mod plugin;
pub mod watch;
pub mod queue;
pub mod sink;
pub mod process;
pub mod log;
pub mod agent;
pub mod config;
pub mod cli;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
