//! The capability `net`. No address can be granted yet, so every connection is answered with the grant that it lacks.

use wasmtime::component::Resource;

use super::super::bindings::gauged::plugin::net::{Error, Host, HostConnection};
use super::{State, grant_line};

/// An open connection, of which there are none.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Connection {}

impl State {
    /// A handle that no connection stands behind is a fault of the guest's bindings.
    fn connection(&mut self, handle: &Resource<Connection>) -> Result<&mut Connection, Error> {
        self.table.get_mut(handle).map_err(|error| Error::Io(error.to_string()))
    }
}

impl Host for State {}

impl HostConnection for State {
    async fn connect(&mut self, address: String, _timeout_ms: Option<u32>) -> Result<Resource<Connection>, Error> {
        Err(Error::Denied(grant_line("connect", &address)))
    }

    async fn write(&mut self, connection: Resource<Connection>, _bytes: Vec<u8>) -> Result<(), Error> {
        match *self.connection(&connection)? {}
    }

    async fn read(&mut self, connection: Resource<Connection>, _max_bytes: u32) -> Result<Vec<u8>, Error> {
        match *self.connection(&connection)? {}
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        match self.table.delete(connection)? {}
    }
}
