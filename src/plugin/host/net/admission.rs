//! Whether another connection or socket may be opened: its address, its grant, and how many there are.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::{denied, invalid};
use crate::address::Address;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::guest::bindings::gauged::plugin::net::Error;
use crate::plugin::host::state::HostState;

/// How many connections and sockets for datagrams one guest may have open: more than a collector has servers.
const CONNECTIONS: usize = 16;

/// How many all guests together may have open: a quarter of the 1,024 files that a process may have open by default.
static PERMITS: Semaphore = Semaphore::const_new(256);

/// Parses the address of a guest.
pub(crate) fn parse(address: &str) -> Result<Address, Error> {
    Address::parse(address).map_err(|why| invalid(address, &why))
}

impl HostState {
    /// Refuses an address that is not granted.
    pub(crate) fn check_grant(&self, address: &Address) -> Result<(), Error> {
        if self.plugin.grants.network().connect(address) {
            return Ok(());
        }
        Err(denied(&self.plugin, Denial::Missing(Grant::new(GrantKind::Connect, &address.to_string()))))
    }

    /// The permit for another connection or socket.
    pub(crate) fn permit(&mut self) -> Result<SemaphorePermit<'static>, Error> {
        // The table has connections and sockets only.
        if self.table.iter_mut().count() >= CONNECTIONS {
            return Err(Error::Exhausted(format!(
                "{CONNECTIONS} connections and sockets are open, the most of one plugin; drop one"
            )));
        }
        let permit = PERMITS.try_acquire();
        permit
            .map_err(|_| Error::Exhausted("all plugins together have too many connections and sockets open".to_owned()))
    }
}
