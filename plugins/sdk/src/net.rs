//! Streams of bytes to granted addresses, over TCP or unix sockets, for protocols other than HTTP. A connection may be
//! kept in the plugin from one tick to the next.
//!
//! ```
//! use gauged_plugin::testing::{Conversation, Host};
//! use gauged_plugin::{Error, net::Connection};
//!
//! struct Redis {
//!     connection: Option<Connection>,
//! }
//!
//! impl Redis {
//!     fn ping(&mut self) -> Result<bool, Error> {
//!         // Taken out, so that one that broke is not used again.
//!         let redis = match self.connection.take() {
//!             Some(connection) => connection,
//!             None => Connection::open("127.0.0.1:6379")?,
//!         };
//!         redis.write(b"PING\r\n")?;
//!         let answer = redis.read_until(b"\r\n", 1024)?;
//!         self.connection = Some(redis);
//!         Ok(answer == b"+PONG\r\n")
//!     }
//! }
//!
//! let mut host = Host::new();
//! let once = Conversation::new().expects("PING\r\n").answers("+PO").answers("NG\r\n");
//! host.connection("127.0.0.1:6379", once.expects("PING\r\n").closes());
//! let mut redis = Redis { connection: None };
//! host.run(|| {
//!     assert_eq!(redis.ping(), Ok(true));
//!     assert!(matches!(redis.ping(), Err(Error::Unavailable(_))), "the server has gone");
//!     assert!(matches!(redis.ping(), Err(Error::Unavailable(_))), "and nobody answers");
//! });
//! ```

use std::fmt;

pub use crate::bindings::gauged::plugin::net::Error;
use crate::host::net as host;
use crate::need::granted_by;
use crate::{Capability, Need};

/// How much is asked for at a time.
const CHUNK_BYTES: u32 = 16 << 10;

/// An open connection. It is closed when it is dropped.
pub struct Connection {
    address: String,
    connection: host::Connection,
}

impl Connection {
    /// Connects to `host:port` or `unix:/path`. This and each later operation may take as long as the call has time.
    ///
    /// # Errors
    ///
    /// Those of the contract; `?` turns them into what the agent is to do about them.
    pub fn open(address: &str) -> Result<Self, Failure> {
        Self::connect(address, None)
    }

    /// Connects, and gives this and each later operation so much time, if that is less than the call has.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_timeout(address: &str, timeout_ms: u32) -> Result<Self, Failure> {
        Self::connect(address, Some(timeout_ms))
    }

    fn connect(address: &str, timeout_ms: Option<u32>) -> Result<Self, Failure> {
        let connected = host::Connection::connect(address, timeout_ms);
        let connection = connected.map_err(|error| Failure::new(address, error))?;
        Ok(Self { address: address.to_owned(), connection })
    }

    /// Writes all of the bytes. When that fails some of them may have been sent: open another connection.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.connection.write(bytes).map_err(|error| Failure::new(&self.address, error))
    }

    /// At least one and at most so many bytes, whatever has arrived; none when the peer has closed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(&self, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        self.connection.read(max_bytes).map_err(|error| Failure::new(&self.address, error))
    }

    /// Reads until what was read ends with this.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and when the peer closes before, or sends more than so many bytes.
    pub fn read_until(&self, end: &[u8], max_bytes: usize) -> Result<Vec<u8>, Failure> {
        let broken = |why: String| Failure::new(&self.address, Error::Io(why));
        read_until(|| self.read(CHUNK_BYTES), end, max_bytes, broken)
    }
}

fn read_until<E>(
    mut read: impl FnMut() -> Result<Vec<u8>, E>,
    end: &[u8],
    max_bytes: usize,
    broken: impl Fn(String) -> E,
) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let more = read()?;
        if more.is_empty() {
            return Err(broken(format!("closed after {} bytes", bytes.len())));
        }
        bytes.extend_from_slice(&more);
        if bytes.len() > max_bytes {
            return Err(broken(format!("sent more than {max_bytes} bytes")));
        }
    }
    Ok(bytes)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What went wrong, and with which address.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The address that was asked for.
    pub address: String,
    /// What the host answered.
    pub error: Error,
}

impl Failure {
    fn new(address: &str, error: Error) -> Self {
        Self { address: address.to_owned(), error }
    }

    /// What it would have taken: what the agent says is missing, otherwise the address.
    #[must_use]
    pub fn capability(&self) -> Capability {
        let missing = match &self.error {
            Error::Denied(line) => granted_by(line),
            _ => None,
        };
        Capability::Connect(missing.unwrap_or(&self.address).to_owned())
    }
}

/// What the agent is to do: a missing grant puts the plugin aside and is reported, a malformed address is a fault,
/// everything else may pass, and the plugin is asked again.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        let capability = failure.capability();
        let Failure { address, error } = failure;
        match error {
            Error::Denied(_) => Self::Denied(Need { capability, reason: String::new() }),
            Error::InvalidAddress(why) => Self::Internal(why),
            Error::Resolve(why) | Error::Connect(why) => Self::Unavailable(format!("failed to reach {address}: {why}")),
            Error::Timeout => Self::Unavailable(format!("{address} did not answer in time")),
            Error::Io(why) => Self::Unavailable(format!("the connection to {address} broke: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_the_agent_is_to_do() {
        let failure = |error| crate::Error::from(Failure::new("db:1", error));
        assert!(matches!(failure(Error::Denied(String::new())), crate::Error::Denied(need)
            if need.capability == Capability::Connect("db:1".to_owned())));
        let elsewhere = Failure::new("db:1", Error::Denied("connect = [\"127.0.0.1:1\"]".to_owned()));
        assert_eq!(elsewhere.capability(), Capability::Connect("127.0.0.1:1".to_owned()));
        assert!(matches!(failure(Error::InvalidAddress("x".to_owned())), crate::Error::Internal(_)));
        assert_eq!(failure(Error::Timeout), crate::Error::Unavailable("db:1 did not answer in time".to_owned()));
    }

    #[test]
    fn reads_on_until_the_end_is_there() {
        let read = |parts: &[&str], max_bytes: usize| {
            let mut parts = parts.iter().map(|part| part.as_bytes().to_vec());
            read_until(|| Ok(parts.next().unwrap_or_default()), b"\r\n", max_bytes, |why| why)
        };
        assert_eq!(read(&["+PO", "NG\r", "\n"], 7).as_deref(), Ok(&b"+PONG\r\n"[..]));
        assert_eq!(read(&["+PO", "NG\r"], 7), Err("closed after 6 bytes".to_owned()));
        assert_eq!(read(&["+PO", "NG\r", "\n"], 6), Err("sent more than 6 bytes".to_owned()));
    }
}
