//! Queries to the kernel of the measured host, whose answers no file has, or only at a high price: sockets by state, sockets that
//! wait for peers, the clock, and the links and drivers of network interfaces. They change nothing, and need no grant but for the
//! list of listening sockets, which needs that of the file with the same sockets.
//!
//! Kernels and sandboxes may not have them: [`Failure::is_unsupported`] tells when to fall back to files.
//!
//! ```
//! use gauged_plugin::system::{self, SocketTable};
//! use gauged_plugin::testing::Host;
//!
//! let mut host = Host::new();
//! host.sockets(SocketTable::Tcp, &[("established", 3), ("listen", 2)]);
//! host.run(|| {
//!     let counts = system::count_sockets(SocketTable::Tcp)?;
//!     assert_eq!(counts.states.iter().map(|counted| counted.count).sum::<u64>(), 5);
//!     assert!(system::count_sockets(SocketTable::Tcp6).unwrap_err().is_unsupported());
//!     Ok::<(), gauged_plugin::Error>(())
//! })?;
//! # Ok::<(), gauged_plugin::Error>(())
//! ```

use std::fmt;

pub use crate::bindings::gauged::plugin::system::{
    ClockStatus, DriverStatus, Duplex, Error, LeapSecond, LinkStatus, Listener, Listeners, SocketCounts, SocketTable,
    StateCount, Statistic,
};
use crate::host::system as host;
use crate::skipped::{Cause, Reason, Skip};
use crate::{Capability, Need};

impl SocketTable {
    /// All tables.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6];

    /// The file with the same sockets.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Tcp => "/proc/1/net/tcp",
            Self::Tcp6 => "/proc/1/net/tcp6",
            Self::Udp => "/proc/1/net/udp",
            Self::Udp6 => "/proc/1/net/udp6",
        }
    }

    /// The name of that file: `tcp6`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.path().trim_start_matches("/proc/1/net/")
    }

    /// Whether its sockets are of IPv6, which not every kernel has.
    #[must_use]
    pub fn is_ipv6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6)
    }
}

/// Counts the sockets of a table by state.
///
/// # Errors
///
/// Those of the WIT; `?` converts them to [`crate::Error`].
pub fn count_sockets(table: SocketTable) -> Result<SocketCounts, Failure> {
    host::count_sockets(table).map_err(|error| Failure::new("sockets", error))
}

/// Lists the sockets of a table that wait for peers. Needs the grant to read [`SocketTable::path`].
///
/// # Errors
///
/// As [`count_sockets`].
pub fn list_listeners(table: SocketTable) -> Result<Listeners, Failure> {
    host::list_listeners(table).map_err(|error| Failure::new("listening sockets", error))
}

/// Returns the state of the clock.
///
/// # Errors
///
/// As [`count_sockets`].
pub fn read_clock() -> Result<ClockStatus, Failure> {
    host::read_clock().map_err(|error| Failure::new("the clock", error))
}

/// Returns the state of the link of a network interface.
///
/// # Errors
///
/// As [`count_sockets`].
pub fn query_link(name: &str) -> Result<LinkStatus, Failure> {
    host::query_link(name).map_err(|error| Failure::new(name, error))
}

/// Returns the driver of a network interface, with its statistics.
///
/// # Errors
///
/// As [`count_sockets`].
pub fn query_driver(name: &str) -> Result<DriverStatus, Failure> {
    host::query_driver(name).map_err(|error| Failure::new(name, error))
}

/// A query without an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The subject of the query, for messages.
    pub subject: String,
    /// The host's error.
    pub error: Error,
}

impl Failure {
    fn new(subject: &str, error: Error) -> Self {
        Self { subject: subject.to_owned(), error }
    }

    /// Whether this host does not have the query, and files are to be read instead.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.error, Error::NotSupported(_))
    }
}

/// The cause, as a sentence.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to query {}: ", self.subject)?;
        match &self.error {
            Error::Denied(Capability { kind, target }) => write!(f, "the grant {kind} of {target} is missing"),
            Error::NotPermitted(error) => error.fmt(f),
            Error::NotSupported(why) => f.write_str(why),
            Error::NotFound => f.write_str("it does not exist"),
            Error::Timeout => f.write_str("the kernel did not answer in time"),
            Error::Io(error) => error.fmt(f),
        }
    }
}

/// A missing grant becomes `Denied`, and what the operating system does not permit `Failed`. Everything else may pass, and becomes
/// `Unavailable`.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure.error {
            Error::Denied(capability) => Self::Denied(Need { capability, reason: String::new() }),
            Error::NotPermitted(_) => Self::Failed(text),
            _ => Self::Unavailable(text),
        }
    }
}

impl Cause for Failure {
    fn skip(&self) -> Skip {
        let (reason, why) = match &self.error {
            Error::NotPermitted(error) => return Skip::not_permitted(&self.subject, &error.text, &error.remedy),
            Error::Denied(_) => (Reason::NotPermitted, "may not be queried".to_owned()),
            Error::NotSupported(why) => (Reason::Missing, why.clone()),
            Error::NotFound => (Reason::Missing, "does not exist".to_owned()),
            Error::Timeout => (Reason::Truncated, "did not respond in time".to_owned()),
            Error::Io(error) => (Reason::Malformed, error.to_string()),
        };
        Skip { reason, ..Skip::malformed(&self.subject, "", why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsError;
    use crate::testing::Host;

    #[test]
    fn failures_map_to_plugin_errors() {
        let failure = |error| crate::Error::from(Failure::new("eth0", error));
        let missing = Capability::read("/proc/1/net/tcp");
        let denied = Need { capability: missing.clone(), reason: String::new() };
        assert_eq!(failure(Error::Denied(missing)), crate::Error::Denied(denied));
        let text = "failed to query eth0: it does not exist".to_owned();
        assert_eq!(failure(Error::NotFound), crate::Error::Unavailable(text));
        let busy = failure(Error::Io(OsError::new("EBUSY", "Device or resource busy")));
        let text = "failed to query eth0: Device or resource busy (EBUSY)".to_owned();
        assert_eq!(busy, crate::Error::Unavailable(text));
    }

    #[test]
    fn failures_have_a_reason() {
        for (error, reason) in [
            (Error::Denied(Capability::read("/x")), Reason::NotPermitted),
            (Error::NotPermitted(crate::PermissionError::new("EPERM", "no", "run it as root")), Reason::NotPermitted),
            (Error::NotSupported("too old".to_owned()), Reason::Missing),
            (Error::NotFound, Reason::Missing),
            (Error::Timeout, Reason::Truncated),
            (Error::Io(OsError::new("EIO", "Input/output error")), Reason::Malformed),
        ] {
            let skip = Failure::new("the clock", error.clone()).skip();
            assert_eq!((skip.path.as_str(), skip.reason), ("the clock", reason), "{error:?}");
        }
    }

    #[test]
    fn unscripted_queries_are_not_supported() {
        let mut host = Host::new();
        host.run(|| {
            assert!(read_clock().is_err_and(|failure| failure.is_unsupported()));
            assert!(query_link("eth0").is_err_and(|failure| failure.is_unsupported()));
            assert!(list_listeners(SocketTable::Udp).is_err_and(|failure| failure.is_unsupported()));
        });
    }

    #[test]
    fn listening_sockets_need_the_grant_of_their_file() {
        let mut host = Host::new();
        let listener = Listener {
            address: "::".to_owned(),
            port: 80,
            device: 0,
            queued: 1,
            queue_limit: Some(128),
            user: 0,
            inode: 7,
        };
        host.listeners(SocketTable::Tcp6, vec![listener.clone()]);
        assert_eq!(host.run(|| list_listeners(SocketTable::Tcp6)).map(|found| found.sockets), Ok(vec![listener]));
        let grant = Capability::read(SocketTable::Tcp6.path());
        host.deny(&grant);
        assert_eq!(
            host.run(|| list_listeners(SocketTable::Tcp6)).map_err(|failure| failure.error),
            Err(Error::Denied(grant))
        );
        assert!(host.run(|| count_sockets(SocketTable::Tcp6)).is_ok());
        host.sockets_fail(SocketTable::Tcp6, Error::Timeout);
        assert_eq!(host.run(|| count_sockets(SocketTable::Tcp6)).map_err(|failure| failure.error), Err(Error::Timeout));
    }

    #[test]
    fn clock_and_interfaces_are_scripted() {
        let clock = ClockStatus {
            synchronised: true,
            leap: LeapSecond::None,
            status: 0,
            offset_ns: -5,
            frequency_ppm: 1.5,
            tolerance_ppm: 500.0,
            maximum_error_ns: 1000,
            estimated_error_ns: 10,
            time_constant: 2,
            tick_ns: 10_000_000,
            tai_offset_s: 37,
        };
        let link =
            LinkStatus { up: Some(true), bits_per_second: Some(10), duplex: Some(Duplex::Full), autonegotiation: None };
        let driver = DriverStatus {
            driver: "ixgbe".to_owned(),
            version: String::new(),
            firmware: String::new(),
            bus: String::new(),
            statistics: vec![Statistic { name: "rx".to_owned(), value: 1 }],
            truncated: false,
        };
        let mut host = Host::new();
        host.clock(clock).link_status("eth0", link).driver("eth0", driver.clone());
        host.interface_fails("eth1", Error::NotFound);
        host.run(|| {
            assert_eq!((read_clock(), query_link("eth0"), query_driver("eth0")), (Ok(clock), Ok(link), Ok(driver)));
            assert_eq!(query_link("eth1").map_err(|failure| failure.error), Err(Error::NotFound));
        });
        host.clock_fails(Error::Timeout);
        assert_eq!(host.run(read_clock).map_err(|failure| failure.error), Err(Error::Timeout));
    }
}
