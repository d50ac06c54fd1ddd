//! The connection of a request: to a granted origin or unix socket, or to the operator's proxy, encrypted where the URL asks for that; and
//! the moments at which its phases ended.

use std::time::Instant;

use http::Method;

use crate::address::fetch_grant::FetchGrant;
use crate::address::{Address, Endpoint, Origin, Scheme};
use crate::client::message::Route;
use crate::client::metered::Stream;
use crate::client::{ClientError, tunnel};
use crate::config::ClientTls;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::Grants;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::guest::bindings::gauged::plugin::http::Error;
use crate::plugin::guest::bindings::gauged::plugin::types::TlsSession;
use crate::plugin::host::certificate::session;
use crate::plugin::host::denial::Refusal;
use crate::plugin::host::dial::{ConnectError, Dialled, FIREWALL_REMEDY, Unreachable, dial};
use crate::plugin::host::os_error;
use crate::plugin::host::ration::Ration;
use crate::plugin::host::resolved_path::PathError;
use crate::plugin::host::socket::{SocketError, open_socket};
use crate::plugin::host::tls;

/// A connection, ready for the request.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Stream>,
    /// What was connected to.
    pub(super) remote: String,
    pub(super) tls: Option<TlsSession>,
    /// When the name was resolved; none if there was none to resolve.
    pub(super) resolved: Option<Instant>,
    /// When a stream to the server was there.
    pub(super) connected: Instant,
    /// When the handshake of TLS with it had ended.
    pub(super) secured: Option<Instant>,
}

/// Connects to a granted origin, or to the operator's proxy, which resolves the origin's name.
pub(super) async fn connect(
    plugin: &PluginContext,
    ration: &Ration,
    (origin, route, settings): (&Origin, &Route<'_>, &ClientTls),
    until: Instant,
) -> Result<Opened, Error> {
    let Some(proxy) = route.proxy() else {
        let Dialled { stream, peer, resolved } = dial_origin(plugin, ration, origin, until).await?;
        let connected = Opened { resolved, ..Opened::new(Box::new(stream), peer.to_string()) };
        return connected.secure(plugin, settings, origin, until).await;
    };
    let dialled = dial(plugin, &proxy.origin.endpoint, until, ration, |_| true).await;
    let failed = |why: &str| Error::Proxy(format!("no connection to the proxy {proxy}: {why}"));
    let Dialled { stream, peer, .. } = dialled.map_err(|unreachable| match unreachable {
        Unreachable::Resolve(why) => failed(&why),
        Unreachable::Connect(error) => failed(&os_error::from_io(&error).text),
        // Impossible: it needs no grant.
        Unreachable::Denied(endpoint) => failed(&format!("{endpoint} is not granted")),
        Unreachable::Timeout => Error::Timeout,
    })?;
    let to_proxy = Opened::new(Box::new(stream), peer.to_string());
    let Opened { mut stream, remote, .. } = to_proxy.secure(plugin, settings, &proxy.origin, until).await?;
    if route.tunnel().is_none() {
        return Ok(Opened::new(stream, remote));
    }
    tunnel::open(&mut stream, proxy, &origin.endpoint).await.map_err(|error| unproxied(&error))?;
    Opened::new(stream, remote).secure(plugin, settings, origin, until).await
}

/// Connects to the unix socket at a path that is granted for a method.
pub(super) async fn connect_socket(
    plugin: &PluginContext,
    ration: &Ration,
    (path, method): (&str, &Method),
    (origin, settings): (&Origin, &ClientTls),
    until: Instant,
) -> Result<Opened, Error> {
    let method = method.clone();
    let check = move |grants: &Grants, path: &str| {
        let refused = |refusal| PathError::refused(&refusal, GrantKind::Fetch, &FetchGrant::for_request(path, &method));
        grants.fetch_unix(path, &method).map_err(refused)
    };
    let opened = open_socket(plugin, path, until, ration, check).await;
    let stream = opened.map_err(|error| match error {
        SocketError::Denied(denial) => refused(plugin, denial),
        SocketError::Malformed(why) => Error::InvalidRequest(why),
        SocketError::NotFound => Error::NotFound,
        SocketError::NotSupported(why) => Error::NotSupported(why),
        SocketError::Connect(error) => error.into(),
    })?;
    let connected = Opened::new(Box::new(stream), Address::Unix(path.to_owned()).to_string());
    connected.secure(plugin, settings, origin, until).await
}

/// Connects to a granted origin.
async fn dial_origin(
    plugin: &PluginContext,
    ration: &Ration,
    origin: &Origin,
    until: Instant,
) -> Result<Dialled, Error> {
    let network = plugin.grants.network();
    let origin_at = |endpoint: &Endpoint| Origin { scheme: origin.scheme, endpoint: endpoint.clone() };
    let dialled = dial(plugin, &origin.endpoint, until, ration, |endpoint| network.fetch(&origin_at(endpoint))).await;
    dialled.map_err(|unreachable| match unreachable {
        Unreachable::Denied(endpoint) => denied(plugin, &origin_at(&endpoint)),
        Unreachable::Resolve(why) => Error::Resolve(why),
        Unreachable::Connect(error) => ConnectError::new(&error, FIREWALL_REMEDY).into(),
        Unreachable::Timeout => Error::Timeout,
    })
}

/// The error of a request to an origin that is not granted.
pub(super) fn denied(plugin: &PluginContext, origin: &Origin) -> Error {
    Error::Denied(plugin.deny_without(Grant::new(GrantKind::Fetch, &origin.to_string())))
}

/// The error of a unix socket that may not be connected to.
fn refused(plugin: &PluginContext, denial: Denial) -> Error {
    match plugin.deny(denial) {
        Refusal::Missing(capability) => Error::Denied(capability),
        Refusal::Forbidden(why) => Error::Forbidden(why),
    }
}

/// The error of a proxy.
pub(super) fn unproxied(ClientError { text, remedy, .. }: &ClientError) -> Error {
    Error::Proxy(format!("{text}; {remedy}"))
}

/// The error of a connection that was not made.
impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NotPermitted(error) => Self::NotPermitted(error),
            ConnectError::Refused(error) => Self::Refused(error),
            ConnectError::Unreachable(error) => Self::Unreachable(error),
            ConnectError::Reset(error) => Self::Reset(error),
            ConnectError::Timeout => Self::Timeout,
            ConnectError::Io(error) => Self::Io(error),
        }
    }
}

impl Opened {
    fn new(stream: Box<dyn Stream>, remote: String) -> Self {
        Self { stream, remote, tls: None, resolved: None, connected: Instant::now(), secured: None }
    }

    /// The same, encrypted if the scheme of the server asks for that.
    async fn secure(
        self,
        plugin: &PluginContext,
        settings: &ClientTls,
        server: &Origin,
        until: Instant,
    ) -> Result<Self, Error> {
        // A script has no TLS.
        if server.scheme == Scheme::Http || plugin.script.is_some() {
            return Ok(self);
        }
        match tls::secure(plugin, settings, &server.endpoint.host, self.stream, until).await {
            Ok(stream) => {
                let (tls, secured) = (session(stream.get_ref().1), Some(Instant::now()));
                Ok(Self { stream: Box::new(stream), tls, secured, ..self })
            }
            Err(tls::TlsError::Untrusted(why)) => Err(Error::Tls(why)),
            Err(tls::TlsError::Timeout) => Err(Error::Timeout),
        }
    }
}
