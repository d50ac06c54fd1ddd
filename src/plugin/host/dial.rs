//! From a granted address to an open stream: a name is resolved, what it resolved to is held against the grants, and the
//! very addresses that passed are connected to, so that a name cannot lead elsewhere in between.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::super::context::PluginContext;
use super::super::grants::network::{known, permitted};
use super::offload::{OffloadError, OffloadTarget, offload};
use crate::address::{Endpoint, Host};

/// How many addresses of one name are tried: a service has one in each family, a few behind a balancer.
const ADDRESSES: usize = 8;

/// A stream of bytes, whatever carries it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why nobody is reached.
pub(super) enum Unreachable {
    /// The name leads here, which is not granted.
    Denied(Endpoint),
    /// The name cannot be resolved; why.
    Resolve(String),
    /// Nobody answers; why.
    Connect(String),
    /// All of this took too long.
    Timeout,
}

/// Connects to an endpoint that is granted. `is_granted` says whether another is, one that its name leads to.
pub(super) async fn dial(
    plugin: &PluginContext,
    endpoint: &Endpoint,
    until: Instant,
    is_granted: impl Fn(&Endpoint) -> bool,
) -> Result<TcpStream, Unreachable> {
    let addresses = match (known(&endpoint.host), &endpoint.host) {
        (None, Host::Name(name)) => {
            let found: Vec<_> = resolve(plugin, name, until).await?.iter().map(SocketAddr::ip).collect();
            permitted(&found, endpoint.port, is_granted).map_err(|refused| match refused {
                Some(refused) => Unreachable::Denied(refused),
                None => Unreachable::Resolve(format!("{name} has no addresses")),
            })?
        }
        (known, _) => known.unwrap_or_default(),
    };
    let mut last = Unreachable::Timeout;
    let mut left = u32::try_from(addresses.len().min(ADDRESSES)).unwrap_or(1);
    for address in addresses.into_iter().take(ADDRESSES) {
        // One that swallows what it is sent leaves the others their share of the time.
        let now = Instant::now();
        let share = now + until.saturating_duration_since(now) / left.max(1);
        match timeout_at(share.into(), TcpStream::connect((address, endpoint.port))).await {
            Ok(Ok(stream)) => {
                // Requests and answers are short, and each is awaited; without this they may wait for each other.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Unreachable::Connect(error.to_string()),
            Err(_elapsed) => last = Unreachable::Timeout,
        }
        left -= 1;
    }
    Err(last)
}

/// Asks the system what a name stands for, which may wait for another machine.
async fn resolve(plugin: &PluginContext, name: &str, until: Instant) -> Result<Vec<SocketAddr>, Unreachable> {
    let (subject, name) = (OffloadTarget::Name(name.to_owned()), name.to_owned());
    let work = move || -> io::Result<Vec<SocketAddr>> { Ok((&*name, 0).to_socket_addrs()?.collect()) };
    match offload(plugin, subject, until, work).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Unreachable::Resolve(error.to_string())),
        Err(OffloadError::Late) => Err(Unreachable::Timeout),
        Err(OffloadError::Panicked(why)) => Err(Unreachable::Resolve(why)),
    }
}
