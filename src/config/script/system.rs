//! The kernel's answers in a script: sockets, the clock and network interfaces.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The answer of a query, or its failure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum SystemAnswer<T> {
    Failure(SystemFailure),
    Answer(T),
}

/// The failure of a query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SystemFailure {
    pub(crate) error: SystemError,
}

/// How a query fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SystemError {
    /// The kernel or sandbox does not have it.
    NotSupported,
    /// The agent's user may not ask.
    NotPermitted,
    /// There is no such interface.
    NotFound,
    /// It takes too long.
    Timeout,
    /// The kernel fails.
    Io,
}

/// A table of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Table {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

/// The sockets of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedSockets {
    /// Their numbers, by state.
    #[serde(default)]
    pub(crate) counts: BTreeMap<String, u64>,
    #[serde(default)]
    pub(crate) listeners: Vec<ScriptedListener>,
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// A socket that waits for peers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedListener {
    pub(crate) address: String,
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) device: u32,
    #[serde(default)]
    pub(crate) queued: u32,
    pub(crate) queue_limit: Option<u32>,
    #[serde(default)]
    pub(crate) user: u32,
    #[serde(default)]
    pub(crate) inode: u32,
}

/// The state of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedClock {
    pub(crate) synchronised: bool,
    #[serde(default)]
    pub(crate) leap: ScriptedLeapSecond,
    #[serde(default)]
    pub(crate) status: u32,
    #[serde(default)]
    pub(crate) offset_ns: i64,
    #[serde(default)]
    pub(crate) frequency_ppm: f64,
    #[serde(default)]
    pub(crate) tolerance_ppm: f64,
    #[serde(default)]
    pub(crate) maximum_error_ns: u64,
    #[serde(default)]
    pub(crate) estimated_error_ns: u64,
    #[serde(default)]
    pub(crate) time_constant: i64,
    #[serde(default)]
    pub(crate) tick_ns: u64,
    #[serde(default)]
    pub(crate) tai_offset_s: i32,
}

/// The leap second of the day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScriptedLeapSecond {
    #[default]
    None,
    Added,
    Removed,
    UnderWay,
    Over,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptedInterface {
    pub(crate) up: Option<bool>,
    pub(crate) bits_per_second: Option<u64>,
    pub(crate) duplex: Option<ScriptedDuplex>,
    pub(crate) autonegotiation: Option<bool>,
    /// None for one without a driver to ask.
    pub(crate) driver: Option<String>,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) firmware: String,
    #[serde(default)]
    pub(crate) bus: String,
    #[serde(default)]
    pub(crate) statistics: BTreeMap<String, u64>,
    /// Whether the driver has more statistics.
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// The directions of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScriptedDuplex {
    Half,
    Full,
}
