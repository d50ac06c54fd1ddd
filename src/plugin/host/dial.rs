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
use crate::plugin::guest::bindings::gauged::plugin::types::{OsError, PermissionError};
use crate::plugin::host::os_error;
use crate::plugin::host::ration::{Ration, RationedStream};
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// The remedy for an address that the agent's user may not connect to.
pub(crate) const FIREWALL_REMEDY: &str = "permit it in the firewall or the security module of this host";

/// Why no connection was made.
pub(crate) enum Unreachable {
    /// The name resolves to this endpoint, which is not granted.
    Denied(Endpoint),
    /// The name cannot be resolved; the reason.
    Resolve(String),
    /// The last connection attempt failed.
    Connect(io::Error),
    Timeout,
}

/// Why a connection was not made, or broke.
#[derive(Debug, PartialEq)]
pub(crate) enum ConnectError {
    /// The operating system of this host does not permit it.
    NotPermitted(PermissionError),
    /// Nobody accepts connections there.
    Refused(OsError),
    /// No way leads there.
    Unreachable(OsError),
    /// The peer broke it off.
    Reset(OsError),
    /// The operating system gave up.
    Timeout,
    Io(OsError),
}

impl ConnectError {
    /// The kind of an error. `remedy` is for connections that are not permitted.
    pub(crate) fn new(error: &io::Error, remedy: &str) -> Self {
        let Some(errno) = Errno::from_io_error(error) else { return Self::Io(os_error::from_io(error)) };
        let os_error = os_error::os_error(errno);
        match errno {
            Errno::ACCESS | Errno::PERM => Self::NotPermitted(os_error::permission_error(errno, remedy)),
            Errno::CONNREFUSED => Self::Refused(os_error),
            Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN => Self::Unreachable(os_error),
            Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE => Self::Reset(os_error),
            Errno::TIMEDOUT => Self::Timeout,
            _ => Self::Io(os_error),
        }
    }
}

/// An open connection.
pub(crate) struct Dialled {
    pub(crate) stream: RationedStream<TcpStream>,
    /// The address that was connected to.
    pub(crate) peer: SocketAddr,
    /// When the name was resolved; none if there was none to resolve.
    pub(crate) resolved: Option<Instant>,
}

/// Connects to a granted endpoint. `is_granted` decides about the endpoints that its name resolves to.
pub(crate) async fn dial(
    plugin: &PluginContext,
    endpoint: &Endpoint,
    until: Instant,
    ration: &Ration,
    is_granted: impl Fn(&Endpoint) -> bool,
) -> Result<Dialled, Unreachable> {
    if let Some(script) = &plugin.script {
        let server = script.server(&endpoint.to_string()).map_err(unscripted)?;
        return open(&[server.ip()], server.port(), until, ration).await;
    }
    let addresses = addresses(plugin, endpoint, until, is_granted).await?;
    let resolved = literal_addresses(&endpoint.host).is_none().then(Instant::now);
    let dialled = open(&addresses, endpoint.port, until, ration).await?;
    Ok(Dialled { resolved, ..dialled })
}

/// The addresses of a granted endpoint that may be connected to; at least one. `is_granted` decides about the endpoints that its name
/// resolves to.
pub(crate) async fn addresses(
    plugin: &PluginContext,
    endpoint: &Endpoint,
    until: Instant,
    is_granted: impl Fn(&Endpoint) -> bool,
) -> Result<Vec<IpAddr>, Unreachable> {
    match (literal_addresses(&endpoint.host), &endpoint.host) {
        (None, Host::Name(name)) => {
            let resolved: Vec<_> = resolve(plugin, name, until).await?.iter().map(SocketAddr::ip).collect();
            permitted(&resolved, endpoint.port, is_granted).map_err(|refused| match refused {
                Some(refused) => Unreachable::Denied(refused),
                None => Unreachable::Resolve(format!("{name} has no addresses")),
            })
        }
        (literal, _) => Ok(literal.unwrap_or_default()),
    }
}

/// Connects to one of these addresses.
async fn open(addresses: &[IpAddr], port: u16, until: Instant, ration: &Ration) -> Result<Dialled, Unreachable> {
    match connect(addresses, port, until).await {
        Ok(stream) => {
            let peer = stream.peer_addr().map_err(Unreachable::Connect)?;
            Ok(Dialled { stream: RationedStream::new(stream, ration), peer, resolved: None })
        }
        Err(None) => Err(Unreachable::Timeout),
        Err(Some(error)) => Err(Unreachable::Connect(error)),
    }
}

/// The error of a connection that a script fails.
pub(crate) fn unscripted(error: ServerError) -> Unreachable {
    match error {
        ServerError::Resolve => Unreachable::Resolve("the script has no such name".to_owned()),
        ServerError::Timeout => Unreachable::Timeout,
        ServerError::Refused | ServerError::Closed => Unreachable::Connect(Errno::CONNREFUSED.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_errors_have_kinds() {
        let kind = |errno| ConnectError::new(&io::Error::from(errno), "open it");
        let error = os_error::os_error;
        let denied = os_error::permission_error(Errno::PERM, "open it");
        assert_eq!(kind(Errno::PERM), ConnectError::NotPermitted(denied));
        assert_eq!(kind(Errno::CONNREFUSED), ConnectError::Refused(error(Errno::CONNREFUSED)));
        assert_eq!(kind(Errno::HOSTUNREACH), ConnectError::Unreachable(error(Errno::HOSTUNREACH)));
        for reset in [Errno::CONNRESET, Errno::PIPE] {
            assert_eq!(kind(reset), ConnectError::Reset(error(reset)));
        }
        assert_eq!(kind(Errno::TIMEDOUT), ConnectError::Timeout);
        assert_eq!(kind(Errno::MFILE), ConnectError::Io(error(Errno::MFILE)));
        let other = io::Error::other("ended early");
        assert_eq!(ConnectError::new(&other, ""), ConnectError::Io(os_error::from_io(&other)));
    }
}
