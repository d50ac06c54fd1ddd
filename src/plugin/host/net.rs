//! The capability `net`: streams of bytes to granted addresses. A connection may be kept from one call to the next. Each
//! operation has a deadline. A connection is closed with its handle, at the latest with the guest.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FileType;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use wasmtime::component::Resource;

use crate::address::{Address, Endpoint};
use crate::client::metered::Stream;
use crate::escape::printable;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::guest::bindings::gauged::plugin::net::{Error, Host, HostConnection};
use crate::plugin::guest::bindings::gauged::plugin::types::OsError;
use crate::plugin::host::connection::Connection;
use crate::plugin::host::denial::Refusal;
use crate::plugin::host::dial::{ConnectError, FIREWALL_REMEDY, Unreachable, dial};
use crate::plugin::host::os_error::{self, os_error, permission_error, without_code};
use crate::plugin::host::ration::{Ration, RationedStream};
use crate::plugin::host::resolved_path::{PathError, resolve};
use crate::plugin::host::state::HostState;
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

/// How many connections one guest may have open: more than a collector has servers.
const CONNECTIONS: usize = 16;

/// How many connections all guests together may have open: a quarter of the 1,024 files that a process may have open by
/// default.
static PERMITS: Semaphore = Semaphore::const_new(256);

/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;

impl Host for HostState {}

impl HostConnection for HostState {
    async fn connect(&mut self, address: String, timeout_ms: Option<u32>) -> Result<Resource<Connection>, Error> {
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let until = self.until(timeout);
        let parsed = Address::parse(&address)
            .map_err(|why| Error::InvalidAddress(format!("the address \"{}\" {why}", printable(&address))))?;
        if let (Address::Tcp(_), false) = (&parsed, self.plugin.grants.network().connect(&parsed)) {
            return Err(denied(&self.plugin, Denial::Missing(Grant::new(GrantKind::Connect, &parsed.to_string()))));
        }
        // The table has connections only.
        if self.table.iter_mut().count() >= CONNECTIONS {
            return Err(Error::Exhausted(format!(
                "{CONNECTIONS} connections are open, the most of one plugin; drop one"
            )));
        }
        let Ok(permit) = PERMITS.try_acquire() else {
            return Err(Error::Exhausted("all plugins together have too many connections open".to_owned()));
        };
        let connecting = async {
            Ok::<Box<dyn Stream>, Error>(match parsed {
                Address::Tcp(endpoint) => Box::new(open_tcp(&self.plugin, &endpoint, until, &self.ration).await?),
                Address::Unix(path) => Box::new(open_unix(&self.plugin, path, until, &self.ration).await?),
            })
        };
        let stream = within(until, connecting).await?;
        self.table
            .push(Connection { stream, timeout, _permit: permit })
            .map_err(|error| Error::Exhausted(error.to_string()))
    }

    async fn write(&mut self, connection: Resource<Connection>, bytes: Vec<u8>) -> Result<(), Error> {
        let (connection, until) = self.connection(&connection)?;
        let writing = async {
            connection.stream.write_all(&bytes).await?;
            connection.stream.flush().await
        };
        within(until, async { writing.await.map_err(|error| broken(&error)) }).await
    }

    async fn read(&mut self, connection: Resource<Connection>, max_bytes: u32) -> Result<Vec<u8>, Error> {
        let (connection, until) = self.connection(&connection)?;
        let most = usize::try_from(max_bytes).unwrap_or(READ_BYTES).min(READ_BYTES);
        if most == 0 {
            let why = "a read of 0 bytes has no result; ask for at least one";
            return Err(Error::Io(without_code(why.to_owned())));
        }
        let mut bytes = vec![0; most];
        let read = within(until, async { connection.stream.read(&mut bytes).await.map_err(|error| broken(&error)) });
        let read = read.await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl HostState {
    /// A connection, and the deadline of an operation that begins now.
    fn connection(&mut self, handle: &Resource<Connection>) -> Result<(&mut Connection, Instant), Error> {
        let timeout = self.table.get(handle).map_err(no_handle)?.timeout;
        let until = self.until(timeout);
        let connection = self.table.get_mut(handle).map_err(no_handle)?;
        Ok((connection, until))
    }
}

fn denied(plugin: &PluginContext, denial: Denial) -> Error {
    match plugin.deny(denial) {
        Refusal::Missing(capability) => Error::Denied(capability),
        Refusal::Forbidden(why) => Error::Forbidden(why),
    }
}

async fn open_tcp(
    plugin: &PluginContext,
    endpoint: &Endpoint,
    until: Instant,
    ration: &Ration,
) -> Result<RationedStream<TcpStream>, Error> {
    let network = plugin.grants.network();
    let is_granted = |endpoint: &Endpoint| network.connect(&Address::Tcp(endpoint.clone()));
    let dialled = dial(plugin, endpoint, until, ration, is_granted).await;
    dialled.map_err(|unreachable| match unreachable {
        Unreachable::Denied(endpoint) => {
            denied(plugin, Denial::Missing(Grant::new(GrantKind::Connect, &endpoint.to_string())))
        }
        Unreachable::Resolve(why) => Error::Resolve(why),
        Unreachable::Connect(error) => unconnected(&error, FIREWALL_REMEDY),
        Unreachable::Timeout => Error::Timeout,
    })
}

/// Connects to the very socket that was resolved within the grants.
async fn open_unix(
    plugin: &PluginContext,
    path: String,
    until: Instant,
    ration: &Ration,
) -> Result<RationedStream<UnixStream>, Error> {
    let grants = Arc::clone(&plugin.grants);
    let resolving = plugin.accounts.permits.run(OffloadTarget::Path(path.clone()), until, move || {
        let check = |path: &str| {
            let address = Address::Unix(path.to_owned()).to_string();
            let checked = grants.connect_unix(path);
            checked.map_err(|refusal| PathError::refused(&refusal, GrantKind::Connect, &address))
        };
        resolve(grants.root(), &path, FileType::Socket, check)
    });
    let resolved = match resolving.await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(PathError::Denied(denial))) => return Err(denied(plugin, denial)),
        Ok(Err(PathError::Malformed(why))) => return Err(Error::InvalidAddress(why)),
        Ok(Err(PathError::NotFound)) => return Err(Error::NotFound),
        // As the kernel has it.
        Ok(Err(PathError::WrongType)) => {
            let text = "the file is not a socket".to_owned();
            return Err(Error::Refused(OsError { text, ..os_error(Errno::CONNREFUSED) }));
        }
        Ok(Err(PathError::NotPermitted(error))) => {
            return Err(Error::NotPermitted(permission_error(error, SOCKET_REMEDY)));
        }
        Ok(Err(PathError::NotSupported(error))) => return Err(Error::NotSupported(os_error::text(error))),
        Ok(Err(PathError::Io(error))) => return Err(Error::Io(error)),
        Err(PermitError::Panicked(why)) => return Err(Error::Io(without_code(why))),
        Err(PermitError::Late) => return Err(Error::Timeout),
    };
    let connected = UnixStream::connect(&resolved.path).await;
    let stream = connected.map_err(|error| unconnected(&error, SOCKET_REMEDY))?;
    Ok(RationedStream::new(stream, ration))
}

/// What to do about a socket that the agent's user may not connect to.
const SOCKET_REMEDY: &str = "run the agent as a user or in a group that may write to the socket";

/// The error of a connection that was not made.
fn unconnected(error: &io::Error, remedy: &str) -> Error {
    match ConnectError::new(error, remedy) {
        ConnectError::NotPermitted(error) => Error::NotPermitted(error),
        ConnectError::Refused(error) => Error::Refused(error),
        ConnectError::Unreachable(error) => Error::Unreachable(error),
        ConnectError::Reset(error) => Error::Reset(error),
        ConnectError::Timeout => Error::Timeout,
        ConnectError::Io(error) => Error::Io(error),
    }
}

fn no_handle(error: impl Display) -> Error {
    Error::Io(without_code(error.to_string()))
}

/// Awaits an operation until its deadline.
async fn within<T>(until: Instant, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    // An operation may have an effect at once, so it must not begin after the deadline.
    if Instant::now() >= until {
        return Err(Error::Timeout);
    }
    timeout_at(until.into(), operation).await.unwrap_or(Err(Error::Timeout))
}

/// The error of an open connection.
fn broken(error: &io::Error) -> Error {
    unconnected(error, FIREWALL_REMEDY)
}
