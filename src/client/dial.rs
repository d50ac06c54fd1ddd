//! Connects to an endpoint: all addresses of its name are tried, IPv6 and IPv4, within the time that there is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::error::{ClientError, ClientErrorKind};
use super::resolution::{Resolution, resolve};
use super::stage::{Stage, StageCell};
use crate::address::{Endpoint, Host};
use crate::thread;

/// How many addresses of a name are tried: a service has one in each family, or a few behind a balancer.
const ADDRESSES: usize = 8;

/// Connects to one endpoint after the other.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    resolution: Resolution,
}

impl Dialer {
    /// Connects to an endpoint, at the latest at this moment. Cancellation safe.
    ///
    /// # Errors
    ///
    /// Those of the kinds `Resolve`, `Connect`, `Timeout` and `Shortage`.
    pub(crate) async fn connect(&mut self, endpoint: &Endpoint, until: Instant) -> Result<TcpStream, ClientError> {
        let (stage, began) = (StageCell::default(), Instant::now());
        let connected = timeout_at(until.into(), self.connect_in(endpoint, until, &stage)).await;
        connected.unwrap_or_else(|_elapsed| Err(stage.get().late(endpoint, until.saturating_duration_since(began))))
    }

    /// The same for those who look after the time, and are told the stage.
    pub(super) async fn connect_in(
        &mut self,
        endpoint: &Endpoint,
        until: Instant,
        stage: &StageCell,
    ) -> Result<TcpStream, ClientError> {
        let addresses = match &endpoint.host {
            Host::Ip(address) => vec![*address],
            Host::Name(name) => {
                stage.set(Stage::Resolution);
                self.addresses(name).await?
            }
        };
        stage.set(Stage::Connection);
        let failure = match connect(&addresses, endpoint.port, until).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => failure,
        };
        Err(match failure {
            // Without an address, or with the last one late.
            None => std::future::pending().await,
            Some(error) => explain(endpoint, &error),
        })
    }

    async fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, ClientError> {
        let owned = name.to_owned();
        let resolved = self.resolution.result(name.to_owned(), "resolve", move || resolve(&owned)).await;
        let resolved = resolved.map_err(|error| {
            let text = format!("no thread to look up {name}: {error}");
            ClientError::new(ClientErrorKind::Shortage, text, thread::remedy(&error))
        })?;
        let unresolved = |why: &str| {
            let text = format!("no address for {name}: {why}");
            ClientError::new(ClientErrorKind::Resolve, text, "check the name, and the name servers of this host")
        };
        let addresses = resolved.map_err(|error| unresolved(&error.to_string()))?;
        if addresses.is_empty() { Err(unresolved("it has none")) } else { Ok(addresses) }
    }
}

/// Connects to the first of these addresses that accepts.
///
/// # Errors
///
/// The last one; none if the time was over.
pub(crate) async fn connect(addresses: &[IpAddr], port: u16, until: Instant) -> Result<TcpStream, Option<io::Error>> {
    let mut last = None;
    let mut remaining = u32::try_from(addresses.len().min(ADDRESSES)).unwrap_or(1);
    for address in addresses.iter().take(ADDRESSES) {
        // An address that does not respond leaves the others their share of the time.
        let now = Instant::now();
        let share = now + until.saturating_duration_since(now) / remaining.max(1);
        match timeout_at(share.into(), TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => {
                // Without this, short requests and responses may wait for each other.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_elapsed) => last = None,
        }
        remaining -= 1;
    }
    Err(last)
}

/// The error of a connection that was not made.
fn explain(endpoint: &Endpoint, error: &io::Error) -> ClientError {
    let (kind, remedy) = match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => {
            (ClientErrorKind::Connect, "check that the peer runs, and that it listens at this address")
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            (ClientErrorKind::Connect, "permit it in the firewall or the security module of this host")
        }
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN | Errno::TIMEDOUT) => {
            (ClientErrorKind::Connect, "check the address, and the network on the way")
        }
        Some(Errno::MFILE | Errno::NFILE) => (ClientErrorKind::Shortage, "raise LimitNOFILE of the unit, or ulimit -n"),
        Some(Errno::NOMEM | Errno::NOBUFS) => (ClientErrorKind::Shortage, "leave the agent more memory"),
        Some(Errno::ADDRNOTAVAIL) => {
            (ClientErrorKind::Shortage, "close connections of this host, or widen net.ipv4.ip_local_port_range")
        }
        _ => (ClientErrorKind::Connect, "check the address, and the network on the way"),
    };
    ClientError::new(kind, format!("no connection to {endpoint}: {error}"), remedy)
}
