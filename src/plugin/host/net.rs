//! The capability `net`: streams of bytes to granted addresses, in clear or over TLS ([`start_tls`]), and datagrams ([`datagrams`]). A
//! connection or socket may be kept from one call to the next. Each operation has a deadline. It is closed with its handle, at the
//! latest with the guest.

mod error;
mod admission;
mod start_tls;
mod datagrams;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use wasmtime::component::Resource;

use self::admission::parse;
use self::error::{broken, denied, failed, invalid, no_handle, unreachable, within};
use self::start_tls::{TLS_BYTES, encrypt, encrypt_by_script};
use crate::address::{self, Address, Endpoint};
use crate::client::tls::server_name;
use crate::escape::printable;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::Grants;
use crate::plugin::grants::kind::GrantKind;
use crate::plugin::guest::bindings::gauged::plugin::net::{Error, Host, HostConnection, TlsChannel};
use crate::plugin::host::connection::{ClearStream, Connection, Link};
use crate::plugin::host::dial::{FIREWALL_REMEDY, dial};
use crate::plugin::host::os_error::without_code;
use crate::plugin::host::ration::{Ration, RationedStream};
use crate::plugin::host::resolved_path::PathError;
use crate::plugin::host::socket::{SocketError, open_socket};
use crate::plugin::host::state::HostState;

/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;

impl Host for HostState {}

impl HostConnection for HostState {
    async fn connect(&mut self, address: String, timeout_ms: Option<u32>) -> Result<Resource<Connection>, Error> {
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let until = self.until(timeout);
        let parsed = parse(&address)?;
        // The grant of a unix socket is looked at as its path is resolved.
        if let Address::Tcp(_) = &parsed {
            self.check_grant(&parsed)?;
        }
        let permit = self.permit()?;
        let connecting = async {
            Ok::<Box<dyn ClearStream>, Error>(match parsed {
                Address::Unix(path) => Box::new(open_unix(&self.plugin, &path, until, &self.ration).await?),
                Address::Tcp(endpoint) => Box::new(open_tcp(&self.plugin, &endpoint, until, &self.ration).await?),
                Address::Udp(_) => return Err(invalid(&address, "is for datagrams; open a datagram-socket")),
            })
        };
        let link = Link::Clear(within(until, connecting).await?);
        let connection = Connection { link, timeout, _permit: permit };
        self.table.push(connection).map_err(|error| Error::Exhausted(error.to_string()))
    }

    async fn write(&mut self, connection: Resource<Connection>, bytes: Vec<u8>) -> Result<(), Error> {
        let (connection, until) = self.connection(&connection)?;
        let stream = connection.link.stream().ok_or_else(failed)?;
        let writing = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
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
        let stream = connection.link.stream().ok_or_else(failed)?;
        let mut bytes = vec![0; most];
        let read = within(until, async { stream.read(&mut bytes).await.map_err(|error| broken(&error)) });
        let read = read.await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    async fn start_tls(&mut self, handle: Resource<Connection>, peer: String) -> Result<TlsChannel, Error> {
        let name = address::Host::parse(&peer).and_then(|host| server_name(&host));
        let name =
            name.map_err(|why| Error::InvalidAddress(format!("the server name \"{}\" {why}", printable(&peer))))?;
        let (connection, until) = self.connection(&handle)?;
        let stream = match std::mem::replace(&mut connection.link, Link::Failed) {
            Link::Clear(stream) => stream,
            Link::Failed => return Err(failed()),
            encrypted @ Link::Encrypted(_) => {
                connection.link = encrypted;
                return Err(Error::Tls("the connection is encrypted already".to_owned()));
            }
        };
        if let Err(limit) = self.limits.hold_for_guest(TLS_BYTES) {
            let text =
                format!("TLS takes {TLS_BYTES} bytes, and that is more than {limit}; raise it, or drop a connection");
            return Err(Error::Exhausted(text));
        }
        let encrypting = async {
            if self.plugin.script.is_some() {
                return encrypt_by_script(stream, &peer).await;
            }
            encrypt(&self.plugin, stream, name, until).await
        };
        match within(until, encrypting).await {
            Ok((stream, channel)) => {
                self.table.get_mut(&handle).map_err(no_handle)?.link = Link::Encrypted(stream);
                Ok(channel)
            }
            Err(error) => {
                self.limits.release_for_guest(TLS_BYTES);
                Err(error)
            }
        }
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        let Connection { link, .. } = self.table.delete(connection)?;
        if let Link::Encrypted(mut stream) = link {
            self.limits.release_for_guest(TLS_BYTES);
            // Tells the peer that the data is complete, if that is possible at once.
            poll_fn(|context| {
                let _ = Pin::new(&mut stream).poll_shutdown(context);
                Poll::Ready(())
            })
            .await;
        }
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

async fn open_tcp(
    plugin: &PluginContext,
    endpoint: &Endpoint,
    until: Instant,
    ration: &Ration,
) -> Result<RationedStream<TcpStream>, Error> {
    let network = plugin.grants.network();
    let is_granted = |endpoint: &Endpoint| network.connect(&Address::Tcp(endpoint.clone()));
    let dialled = dial(plugin, endpoint, until, ration, is_granted).await;
    dialled.map(|dialled| dialled.stream).map_err(|error| unreachable(plugin, error, Address::Tcp, FIREWALL_REMEDY))
}

async fn open_unix(
    plugin: &PluginContext,
    path: &str,
    until: Instant,
    ration: &Ration,
) -> Result<RationedStream<UnixStream>, Error> {
    let check = |grants: &Grants, path: &str| {
        let address = Address::Unix(path.to_owned()).to_string();
        let checked = grants.connect_unix(path);
        checked.map_err(|refusal| PathError::refused(&refusal, GrantKind::Connect, &address))
    };
    open_socket(plugin, path, until, ration, check).await.map_err(|error| match error {
        SocketError::Denied(denial) => denied(plugin, denial),
        SocketError::Malformed(why) => Error::InvalidAddress(why),
        SocketError::NotFound => Error::NotFound,
        SocketError::NotSupported(why) => Error::NotSupported(why),
        SocketError::Connect(error) => error.into(),
    })
}
