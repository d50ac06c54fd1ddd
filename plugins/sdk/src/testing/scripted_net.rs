//! The host functions of [`crate::net`] on a scripted host.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::Capability;
pub(crate) use crate::net::Error;
use crate::net::{Datagram, TlsChannel};
use crate::testing::scripted_host::{connection_refused, with_current};
use crate::testing::{ScriptedConnection, ScriptedDatagrams};

pub(crate) struct Connection(RefCell<ScriptedConnection>);

impl Connection {
    pub(crate) fn connect(address: &str, _timeout_ms: Option<u32>) -> Result<Self, Error> {
        with_current(|host| {
            host.access(Capability::connect(address), false).map_err(Error::Denied)?;
            let refused = || Err(Error::Refused(connection_refused()));
            let next = host.connections.get_mut(address).and_then(VecDeque::pop_front);
            Ok(Self(RefCell::new(next.unwrap_or_else(refused)?)))
        })
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.borrow_mut().write(bytes)
    }

    pub(crate) fn read(&self, max_bytes: u32) -> Result<Vec<u8>, Error> {
        self.0.borrow_mut().read(max_bytes as usize)
    }

    pub(crate) fn start_tls(&self, server_name: &str) -> Result<TlsChannel, Error> {
        self.0.borrow_mut().start_tls(server_name)
    }
}

pub(crate) struct DatagramSocket(RefCell<ScriptedDatagrams>);

impl DatagramSocket {
    pub(crate) fn connect(address: &str, _timeout_ms: Option<u32>) -> Result<Self, Error> {
        with_current(|host| {
            if !address.starts_with("udp:") {
                return Err(Error::InvalidAddress(format!("the address {address} does not begin with udp:")));
            }
            host.access(Capability::connect(address), false).map_err(Error::Denied)?;
            let nobody = || Ok(ScriptedDatagrams::new().fails(Error::Refused(connection_refused())));
            let next = host.datagrams.get_mut(address).and_then(VecDeque::pop_front);
            Ok(Self(RefCell::new(next.unwrap_or_else(nobody)?)))
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the agent's function")]
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.borrow_mut().send(bytes);
        Ok(())
    }

    pub(crate) fn receive(&self, max_bytes: u32) -> Result<Datagram, Error> {
        self.0.borrow_mut().receive(max_bytes)
    }
}
