//! The capability `system`: what the kernel of the measured host says of its sockets, its clock and its network interfaces, as far as
//! no file has it, or only at a high price. Each query is named, bounded and changes nothing; a plugin cannot send bytes of its own to
//! the kernel. Queries that may wait for a lock or a driver run on another thread.

mod error;
mod scope;
mod scripted;
#[cfg(target_os = "linux")]
mod diagnosis;
#[cfg(target_os = "linux")]
mod sockets;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod interface_name;
#[cfg(target_os = "linux")]
mod ethtool;
#[cfg(not(target_os = "linux"))]
mod elsewhere;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[cfg(not(target_os = "linux"))]
use self::elsewhere::{Interface, count, listeners, read_clock};
use self::error::QueryError;
use self::scope::{check_kernel, check_network};
#[cfg(target_os = "linux")]
use self::{clock::read as read_clock, ethtool::Interface, sockets::count, sockets::listeners};
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Grant, GrantKind};
use crate::plugin::guest::bindings::gauged::plugin::system::{
    ClockStatus, DriverStatus, Error, Host, LinkStatus, Listeners, SocketCounts, SocketTable,
};
use crate::plugin::host::os_error::without_code;
use crate::plugin::host::state::HostState;
use crate::plugin::offload::permits::{OffloadTarget, PermitError};

impl Host for HostState {
    async fn count_sockets(&mut self, table: SocketTable) -> Result<SocketCounts, Error> {
        self.check_described()?;
        if let Some(scripted) = self.plugin.script.as_ref().and_then(|script| script.sockets(table.into())) {
            return scripted::counts(scripted);
        }
        let until = self.time.patience();
        let query = move |root: &Path| check_network(root).and_then(|()| count(table, until));
        run(&self.plugin, until, OffloadTarget::Sockets, query).await
    }

    async fn list_listeners(&mut self, table: SocketTable) -> Result<Listeners, Error> {
        self.check_described()?;
        // As for the file that has the same sockets. It is not read, so that it may be the agent's own, as in a container in which the
        // agent is process 1.
        let path = format!("/proc/1/net/{}", scripted::name(table));
        if self.plugin.grants.lists_by_text(&path).is_none() {
            return Err(Error::Denied(self.plugin.deny_without(Grant::new(GrantKind::Read, &path))));
        }
        if let Some(scripted) = self.plugin.script.as_ref().and_then(|script| script.sockets(table.into())) {
            return scripted::listeners(scripted);
        }
        let until = self.time.patience();
        let query = move |root: &Path| check_network(root).and_then(|()| listeners(table, until));
        run(&self.plugin, until, OffloadTarget::Sockets, query).await
    }

    async fn read_clock(&mut self) -> Result<ClockStatus, Error> {
        self.check_described()?;
        if let Some(scripted) = self.plugin.script.as_ref().and_then(|script| script.clock()) {
            return scripted::clock(scripted);
        }
        if self.plugin.grants.root() == Path::new("/") {
            return Ok(read_clock()?);
        }
        let query = |root: &Path| check_kernel(root).and_then(|()| read_clock());
        run(&self.plugin, self.time.patience(), OffloadTarget::Path("/proc".to_owned()), query).await
    }

    async fn query_link(&mut self, name: String) -> Result<LinkStatus, Error> {
        self.check_described()?;
        if let Some(scripted) = self.plugin.script.as_ref().and_then(|script| script.interface(&name)) {
            return scripted::link(scripted);
        }
        let target = OffloadTarget::Interface(name.clone());
        let query = move |root: &Path| check_network(root).and_then(|()| Interface::find(&name)?.link());
        run(&self.plugin, self.time.patience(), target, query).await
    }

    async fn query_driver(&mut self, name: String) -> Result<DriverStatus, Error> {
        self.check_described()?;
        if let Some(scripted) = self.plugin.script.as_ref().and_then(|script| script.interface(&name)) {
            return scripted::driver(scripted);
        }
        let target = OffloadTarget::Interface(name.clone());
        let query = move |root: &Path| check_network(root).and_then(|()| Interface::find(&name)?.driver());
        run(&self.plugin, self.time.patience(), target, query).await
    }
}

impl HostState {
    /// Refuses the queries of an instance whose description must not depend on the host.
    fn check_described(&self) -> Result<(), Error> {
        if self.plugin.is_being_described {
            return Err(Error::NotSupported("a plugin without grants only describes itself".to_owned()));
        }
        Ok(())
    }
}

/// Runs a query on another thread, with the root of the measured host.
async fn run<T: Send + 'static>(
    plugin: &PluginContext,
    until: Instant,
    target: OffloadTarget,
    query: impl FnOnce(&Path) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, Error> {
    let grants = Arc::clone(&plugin.grants);
    let work = move || query(grants.root());
    match plugin.accounts.permits.run(target, until, work).await {
        Ok(done) => Ok(done?),
        Err(PermitError::Late) => Err(Error::Timeout),
        Err(PermitError::Panicked(why)) => Err(Error::Io(without_code(why))),
    }
}
