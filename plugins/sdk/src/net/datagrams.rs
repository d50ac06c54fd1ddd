//! Datagrams over UDP.

use std::fmt;

use super::{Datagram, Error, Failure};
use crate::host::net as host;

/// The longest datagram of UDP, with whose length nothing is cut off.
const MAX_BYTES: u32 = 65_535;

/// A socket for datagrams to and from one peer, closed on drop. Datagrams may be lost, doubled and out of order: give each request
/// something to know its reply by, and ask again after a timeout.
///
/// ```
/// use gauged_plugin::net::{DatagramSocket, Error};
/// use gauged_plugin::testing::{Host, ScriptedDatagrams};
///
/// fn ask(request: &[u8]) -> Result<Vec<u8>, gauged_plugin::Error> {
///     let socket = DatagramSocket::open_with_timeout("udp:127.0.0.1:323", 100)?;
///     for _ in 0..2 {
///         socket.send(request)?;
///         match socket.receive() {
///             Ok(reply) => return Ok(reply),
///             // Lost.
///             Err(failure) if failure.error == Error::Timeout => {}
///             Err(failure) => return Err(failure.into()),
///         }
///     }
///     Err(gauged_plugin::Error::Unavailable("no reply from chronyd".to_owned()))
/// }
///
/// let mut host = Host::new();
/// host.datagrams("udp:127.0.0.1:323", ScriptedDatagrams::new().expects("?").expects("?").replies("!"));
/// host.run(|| {
///     assert_eq!(ask(b"?")?, b"!");
///     assert!(matches!(ask(b"?"), Err(gauged_plugin::Error::Unavailable(_))), "nobody accepts datagrams");
///     Ok::<(), gauged_plugin::Error>(())
/// })?;
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
pub struct DatagramSocket {
    address: String,
    socket: host::DatagramSocket,
}

impl DatagramSocket {
    /// Opens a socket for the peer `udp:host:port`. Nothing is sent. The timeout of this and each later operation is the rest of the
    /// call's budget.
    ///
    /// # Errors
    ///
    /// Those of the WIT; `?` converts them to [`crate::Error`].
    pub fn open(address: &str) -> Result<Self, Failure> {
        Self::connect(address, None)
    }

    /// Opens a socket, with a shorter timeout for this and each later operation.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_timeout(address: &str, timeout_ms: u32) -> Result<Self, Failure> {
        Self::connect(address, Some(timeout_ms))
    }

    fn connect(address: &str, timeout_ms: Option<u32>) -> Result<Self, Failure> {
        let connected = host::DatagramSocket::connect(address, timeout_ms);
        let socket = connected.map_err(|error| Failure::new(address, error))?;
        Ok(Self { address: address.to_owned(), socket })
    }

    /// Sends one datagram, of at most 65,507 bytes.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `Refused` if the peer did not accept one before: this one was not sent.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.socket.send(bytes).map_err(|error| self.failure(error))
    }

    /// Waits for a datagram of the peer, and returns all of it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn receive(&self) -> Result<Vec<u8>, Failure> {
        self.receive_part(MAX_BYTES).map(|datagram| datagram.bytes)
    }

    /// Waits for a datagram of the peer, and returns its first bytes, and how many it has.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn receive_part(&self, max_bytes: u32) -> Result<Datagram, Failure> {
        self.socket.receive(max_bytes).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: Error) -> Failure {
        Failure::new(&self.address, error)
    }
}

impl Datagram {
    /// Whether it was longer than was asked for, and cut off.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.bytes.len() < self.length as usize
    }
}

impl fmt::Debug for DatagramSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramSocket").field("address", &self.address).finish_non_exhaustive()
    }
}
