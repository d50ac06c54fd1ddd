//! Connects to a granted address: resolves the name, compares its addresses with the grants, and connects to the very
//! addresses that passed, so that the name cannot change its meaning in between.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Instant;

use rustix::io::Errno;
use tokio::net::TcpStream;

use crate::address::{Endpoint, Host};
use crate::client::dial::connect;
use crate::config::script::ServerError;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::network::{literal_addresses, permitted};
use crate::plugin::host::ration::{Ration, RationedStream};
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// Why no connection was made.
pub(crate) enum Unreachable {
    /// The name resolves to this endpoint, which is not granted.
    Denied(Endpoint),
    /// The name cannot be resolved; the reason.
    Resolve(String),
    /// The operating system of this host refused the last connection attempt.
    NotPermitted(Errno),
    /// The last connection attempt failed; the reason.
    Connect(String),
    Timeout,
}

/// Connects to a granted endpoint. `is_granted` decides about the endpoints that its name resolves to.
pub(crate) async fn dial(
    plugin: &PluginContext,
    endpoint: &Endpoint,
    until: Instant,
    ration: &Ration,
    is_granted: impl Fn(&Endpoint) -> bool,
) -> Result<RationedStream<TcpStream>, Unreachable> {
    if let Some(script) = &plugin.script {
        let server = script.server(&endpoint.to_string()).map_err(unscripted)?;
        return open(&[server.ip()], server.port(), until, ration).await;
    }
    let addresses = match (literal_addresses(&endpoint.host), &endpoint.host) {
        (None, Host::Name(name)) => {
            let resolved: Vec<_> = resolve(plugin, name, until).await?.iter().map(SocketAddr::ip).collect();
            permitted(&resolved, endpoint.port, is_granted).map_err(|refused| match refused {
                Some(refused) => Unreachable::Denied(refused),
                None => Unreachable::Resolve(format!("{name} has no addresses")),
            })?
        }
        (literal, _) => literal.unwrap_or_default(),
    };
    open(&addresses, endpoint.port, until, ration).await
}

/// Connects to one of these addresses.
async fn open(
    addresses: &[IpAddr],
    port: u16,
    until: Instant,
    ration: &Ration,
) -> Result<RationedStream<TcpStream>, Unreachable> {
    match connect(addresses, port, until).await {
        Ok(stream) => Ok(RationedStream::new(stream, ration)),
        Err(None) => Err(Unreachable::Timeout),
        Err(Some(error)) => Err(match Errno::from_io_error(&error) {
            Some(errno @ (Errno::ACCESS | Errno::PERM)) => Unreachable::NotPermitted(errno),
            _ => Unreachable::Connect(error.to_string()),
        }),
    }
}

/// The error of a connection that a script fails.
fn unscripted(error: ServerError) -> Unreachable {
    match error {
        ServerError::Resolve => Unreachable::Resolve("the script has no such name".to_owned()),
        ServerError::Timeout => Unreachable::Timeout,
        ServerError::Refused | ServerError::Closed => {
            Unreachable::Connect(io::Error::from(Errno::CONNREFUSED).to_string())
        }
    }
}

/// Resolves a name by the system's resolver, which may wait for another machine.
async fn resolve(plugin: &PluginContext, name: &str, until: Instant) -> Result<Vec<SocketAddr>, Unreachable> {
    let (target, name) = (OffloadTarget::Name(name.to_owned()), name.to_owned());
    let work = move || -> io::Result<Vec<SocketAddr>> { Ok((&*name, 0).to_socket_addrs()?.collect()) };
    match plugin.accounts.permits.run(target, until, work).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(Unreachable::Resolve(error.to_string())),
        Err(PermitError::Late) => Err(Unreachable::Timeout),
        Err(PermitError::Panicked(why)) => Err(Unreachable::Resolve(why)),
    }
}
