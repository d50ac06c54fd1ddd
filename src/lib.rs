//! gauged, a host metrics agent that is extended by dropping WebAssembly files into a folder.
//!
//! Native collectors measure cpu, load, memory and the system's identity. All other collectors are plugins: WebAssembly components that are loaded
//! while the agent runs, and that can access only what they are granted. At each tick their metrics are merged into a
//! [`sample::Sample`], a map module → metric → value, which goes to the sinks.
//!
//! The library is for the agent's own binary, tests and benchmarks. The modules are in reading order.

pub mod sample;
mod escape;
pub mod clock;
mod hostpath;
mod hostfile;
mod hostname;
mod address;
mod procfs;
mod unix_socket;
mod status;
pub mod naming;
pub mod selection;
pub mod exposition;
pub mod collector;
pub mod plugin;
mod queue;
mod write;
mod thread;
mod client;
pub mod heap;
mod local_tasks;
mod state_directory;
pub mod sink;
mod push;
mod http;
mod delivery;
pub mod process;
pub mod log;
pub mod agent;
pub mod config;
pub mod cli;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
