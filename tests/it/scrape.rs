//! The plugins that read Prometheus' formats, `prometheus` and `textfile`, inside the agent.

pub mod pages;
mod differential;
mod targets;
pub mod outputs;
mod files;
