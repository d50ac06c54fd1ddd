//! The kernel's answers of a scripted host: sockets, the clock, and network interfaces. What is not scripted is not supported.

use std::collections::BTreeMap;

use super::scripted_host::{Host, with_current};
use crate::Capability;
pub(crate) use crate::system::Error;
use crate::system::{
    ClockStatus, DriverStatus, LinkStatus, Listener, Listeners, SocketCounts, SocketTable, StateCount,
};

/// The answers of a host, by the number of a table and by the name of an interface.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    counts: BTreeMap<u8, Result<SocketCounts, Error>>,
    listeners: BTreeMap<u8, Result<Listeners, Error>>,
    clock: Option<Result<ClockStatus, Error>>,
    links: BTreeMap<String, Result<LinkStatus, Error>>,
    drivers: BTreeMap<String, Result<DriverStatus, Error>>,
}

impl Host {
    /// Sets the numbers of sockets of a table, by state.
    pub fn sockets(&mut self, table: SocketTable, counts: &[(&str, u64)]) -> &mut Self {
        let states = counts.iter().map(|&(state, count)| StateCount { state: state.to_owned(), count }).collect();
        self.system.counts.insert(table as u8, Ok(SocketCounts { states, truncated: false }));
        self
    }

    /// Sets the sockets of a table that wait for peers. They count as sockets of the table, unless [`sockets`](Self::sockets) says
    /// otherwise.
    pub fn listeners(&mut self, table: SocketTable, sockets: Vec<Listener>) -> &mut Self {
        let state = if matches!(table, SocketTable::Tcp | SocketTable::Tcp6) { "listen" } else { "close" };
        let states = vec![StateCount { state: state.to_owned(), count: sockets.len() as u64 }];
        self.system.counts.entry(table as u8).or_insert(Ok(SocketCounts { states, truncated: false }));
        self.system.listeners.insert(table as u8, Ok(Listeners { sockets, truncated: false }));
        self
    }

    /// Makes queries about the sockets of a table fail.
    pub fn sockets_fail(&mut self, table: SocketTable, error: Error) -> &mut Self {
        self.system.counts.insert(table as u8, Err(error.clone()));
        self.system.listeners.insert(table as u8, Err(error));
        self
    }

    /// Sets the state of the clock.
    pub fn clock(&mut self, clock: ClockStatus) -> &mut Self {
        self.system.clock = Some(Ok(clock));
        self
    }

    /// Makes the query about the clock fail.
    pub fn clock_fails(&mut self, error: Error) -> &mut Self {
        self.system.clock = Some(Err(error));
        self
    }

    /// Sets the state of the link of a network interface.
    pub fn link_status(&mut self, name: &str, link: LinkStatus) -> &mut Self {
        self.system.links.insert(name.to_owned(), Ok(link));
        self
    }

    /// Sets the driver of a network interface.
    pub fn driver(&mut self, name: &str, driver: DriverStatus) -> &mut Self {
        self.system.drivers.insert(name.to_owned(), Ok(driver));
        self
    }

    /// Makes queries about a network interface fail.
    pub fn interface_fails(&mut self, name: &str, error: Error) -> &mut Self {
        self.system.links.insert(name.to_owned(), Err(error.clone()));
        self.system.drivers.insert(name.to_owned(), Err(error));
        self
    }
}

fn answer<T: Clone>(scripted: Option<&Result<T, Error>>) -> Result<T, Error> {
    scripted.cloned().unwrap_or_else(|| Err(Error::NotSupported("the scripted host does not have it".to_owned())))
}

pub(crate) fn count_sockets(table: SocketTable) -> Result<SocketCounts, Error> {
    with_current(|host| answer(host.system.counts.get(&(table as u8))))
}

pub(crate) fn list_listeners(table: SocketTable) -> Result<Listeners, Error> {
    with_current(|host| {
        host.access(Capability::read(table.path()), false).map_err(Error::Denied)?;
        answer(host.system.listeners.get(&(table as u8)))
    })
}

pub(crate) fn read_clock() -> Result<ClockStatus, Error> {
    with_current(|host| answer(host.system.clock.as_ref()))
}

pub(crate) fn query_link(name: &str) -> Result<LinkStatus, Error> {
    with_current(|host| answer(host.system.links.get(name)))
}

pub(crate) fn query_driver(name: &str) -> Result<DriverStatus, Error> {
    with_current(|host| answer(host.system.drivers.get(name)))
}
