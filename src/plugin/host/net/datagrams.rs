//! Datagrams over UDP, to and from one granted address. The socket is connected to the peer: the kernel drops the datagrams of
//! others, and reports that the peer does not accept any.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wasmtime::component::Resource;

use super::admission::parse;
use super::error::{invalid, no_handle, unconnected, unreachable, within};
use crate::address::{Address, Endpoint};
use crate::plugin::context::PluginContext;
use crate::plugin::guest::bindings::gauged::plugin::net::{Datagram, Error, HostDatagramSocket};
use crate::plugin::host::datagram_socket::{DatagramSocket, Peer};
use crate::plugin::host::dial::{self, unscripted};
use crate::plugin::host::state::HostState;

/// The longest datagram that is sent: the longest of IPv4, with an IP header of 20 bytes and one of UDP of 8.
const SENT_BYTES: u32 = 65_507;

/// The size of the buffer for a datagram: longer than any, so that the kernel cuts none off.
const BUFFER_BYTES: usize = 64 << 10;

/// What to do about a peer that datagrams may not be sent to.
const DATAGRAM_REMEDY: &str =
    "permit it in the firewall or the security module of this host; no plugin may send to broadcast addresses";

impl HostDatagramSocket for HostState {
    async fn connect(&mut self, address: String, timeout_ms: Option<u32>) -> Result<Resource<DatagramSocket>, Error> {
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let until = self.until(timeout);
        let parsed = parse(&address)?;
        let Address::Udp(endpoint) = &parsed else {
            return Err(invalid(&address, "is not for datagrams; write it as udp:host:port, or open a connection"));
        };
        self.check_grant(&parsed)?;
        let permit = self.permit()?;
        let peer = within(until, open(&self.plugin, endpoint, until)).await?;
        let socket = DatagramSocket { peer, timeout, _permit: permit };
        self.table.push(socket).map_err(|error| Error::Exhausted(error.to_string()))
    }

    async fn send(&mut self, handle: Resource<DatagramSocket>, bytes: Vec<u8>) -> Result<(), Error> {
        if bytes.len() > SENT_BYTES as usize {
            return Err(Error::TooLarge(SENT_BYTES));
        }
        let (socket, until) = self.datagram_socket(&handle)?;
        within(until, async { socket.peer.send(&bytes).await.map_err(|error| broken(&error)) }).await?;
        Ok(())
    }

    async fn receive(&mut self, handle: Resource<DatagramSocket>, max_bytes: u32) -> Result<Datagram, Error> {
        let (socket, until) = self.datagram_socket(&handle)?;
        let mut bytes = vec![0; BUFFER_BYTES];
        let length =
            within(until, async { socket.peer.receive(&mut bytes).await.map_err(|error| broken(&error)) }).await?;
        bytes.truncate(length.min(usize::try_from(max_bytes).unwrap_or(usize::MAX)));
        Ok(Datagram { bytes, length: u32::try_from(length).unwrap_or(u32::MAX) })
    }

    async fn drop(&mut self, handle: Resource<DatagramSocket>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostState {
    /// A socket, and the deadline of an operation that begins now.
    fn datagram_socket(&self, handle: &Resource<DatagramSocket>) -> Result<(&DatagramSocket, Instant), Error> {
        let socket = self.table.get(handle).map_err(no_handle)?;
        Ok((socket, self.until(socket.timeout)))
    }
}

/// Opens a socket for a granted endpoint: for the first of its addresses that this host has a way to.
async fn open(plugin: &PluginContext, endpoint: &Endpoint, until: Instant) -> Result<Peer, Error> {
    if let Some(script) = &plugin.script {
        let peer = script.datagram_peer(&Address::Udp(endpoint.clone()).to_string()).map_err(|error| broken(&error))?;
        let peer = peer.map_err(|error| unreachable(plugin, unscripted(error), Address::Udp, DATAGRAM_REMEDY))?;
        return Peer::connect(peer).await.map_err(|error| broken(&error));
    }
    let is_granted = |endpoint: &Endpoint| plugin.grants.network().connect(&Address::Udp(endpoint.clone()));
    let addresses = dial::addresses(plugin, endpoint, until, is_granted).await;
    let addresses = addresses.map_err(|error| unreachable(plugin, error, Address::Udp, DATAGRAM_REMEDY))?;
    let mut last = Error::Timeout;
    for address in addresses {
        match Peer::connect(SocketAddr::new(address, endpoint.port)).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = broken(&error),
        }
    }
    Err(last)
}

/// The error of a socket.
fn broken(error: &io::Error) -> Error {
    unconnected(error, DATAGRAM_REMEDY)
}
