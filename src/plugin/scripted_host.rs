//! Plays the script of a host for `gauged plugin test --script`: its files and unix sockets are below a directory of its own, and its
//! other servers listen on loopback addresses, so that a plugin is tested with all of the agent's own code. Of TLS, there is a handshake
//! without cryptography. The runs of the script change it.

mod present;
mod file_tree;
mod deviation;
mod servers;
mod conversation;
mod datagrams;
pub(crate) mod handshake;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

use self::file_tree::FileTree;
use self::present::{PresentHost, lock};
use self::servers::{Listener, ServerEnd};
use crate::address::{Address, Origin};
use crate::config::script::system::{ScriptedClock, ScriptedInterface, ScriptedSockets, SystemAnswer, Table};
use crate::config::script::web::{ScriptedFacts, Written};
use crate::config::script::{
    FileError, FileFailure, Script, ScriptedFile, ScriptedRun, ScriptedState, ScriptedUsage, ServerError, StateBytes,
    StateError, StateFailure, bytes,
};

/// How long its conversations have to end after the plugin: they wait for nothing but bytes that were sent already.
const END: Duration = Duration::from_secs(10);

/// A host that plays a script.
#[derive(Debug)]
pub(crate) struct ScriptedHost {
    files: FileTree,
    /// Where its servers listen, by address, but for those on unix sockets.
    servers: BTreeMap<String, SocketAddr>,
    /// The addresses of those.
    unix_servers: BTreeSet<String>,
    /// A socket that refuses the datagrams of everybody but its own.
    refusing: UdpSocket,
    /// Ends the servers. Each of them and of their conversations has a receiver.
    ending: watch::Sender<()>,
    state: Arc<Mutex<PresentHost>>,
}

impl ScriptedHost {
    /// A host with the servers of a script, and without its runs.
    ///
    /// # Errors
    ///
    /// When its directory or a listener cannot be made.
    pub(crate) async fn start(script: &Script) -> io::Result<Arc<Self>> {
        let files = FileTree::create()?;
        let refusing = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        refusing.connect(refusing.local_addr()?).await?;
        let (servers, unix_servers) = (BTreeMap::new(), BTreeSet::new());
        let (ending, state) = (watch::Sender::new(()), Arc::default());
        let mut host = Self { files, servers, unix_servers, refusing, ending, state };
        if let Some(machine) = &script.root {
            host.files.copy(machine)?;
        }
        for server in script.web_servers() {
            match Address::parse(server) {
                Ok(Address::Unix(path)) => host.listen_unix(&path, server)?,
                _ => host.listen(server).await?,
            }
        }
        for address in script.servers() {
            match address {
                Address::Tcp(endpoint) => host.listen(&endpoint.to_string()).await?,
                Address::Unix(path) => host.listen_unix(path, &address.to_string())?,
                Address::Udp(_) => host.receive(&address.to_string()).await?,
            }
        }
        Ok(Arc::new(host))
    }

    /// Starts a server at `host:port`, unless there is one.
    async fn listen(&mut self, endpoint: &str) -> io::Result<()> {
        if self.servers.contains_key(endpoint) {
            return Ok(());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        self.servers.insert(endpoint.to_owned(), listener.local_addr()?);
        tokio::spawn(servers::serve(Listener::Tcp(listener), self.server_end(endpoint)));
        Ok(())
    }

    /// Starts a server on a unix socket, unless there is one.
    fn listen_unix(&mut self, path: &str, address: &str) -> io::Result<()> {
        if self.unix_servers.insert(address.to_owned()) {
            let listener = self.files.listen(path)?;
            tokio::spawn(servers::serve(Listener::Unix(listener), self.server_end(address)));
        }
        Ok(())
    }

    /// Starts a peer for datagrams, unless there is one.
    async fn receive(&mut self, address: &str) -> io::Result<()> {
        if self.servers.contains_key(address) {
            return Ok(());
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        self.servers.insert(address.to_owned(), socket.local_addr()?);
        tokio::spawn(datagrams::serve(socket, self.server_end(address)));
        Ok(())
    }

    /// The part of a server that is the same for all.
    fn server_end(&self, address: &str) -> ServerEnd {
        ServerEnd { address: address.to_owned(), state: Arc::clone(&self.state), ending: self.ending.subscribe() }
    }

    /// The root of its files.
    pub(crate) fn root(&self) -> &Path {
        self.files.root()
    }

    /// Changes the host to what it is in a run.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn advance(&self, run: &ScriptedRun) -> io::Result<()> {
        let mut state = self.lock();
        for (path, file) in &run.files {
            match file {
                ScriptedFile::Content(text) => {
                    state.failures.remove(path);
                    self.files.write(path, text)?;
                }
                ScriptedFile::Failure(FileFailure { error: FileError::NotFound }) => {
                    state.failures.remove(path);
                    self.files.remove(path)?;
                }
                ScriptedFile::Failure(FileFailure { error }) => {
                    state.failures.insert(path.clone(), *error);
                }
            }
        }
        if let Some(scripted) = &run.state {
            (state.saved, state.state_failure) = match scripted {
                ScriptedState::Text(text) => (Some(text.clone().into_bytes()), None),
                ScriptedState::Bytes(StateBytes { hex }) => (bytes(hex), None),
                ScriptedState::Failure(StateFailure { error }) => (None, Some(*error)),
            };
        }
        state.sockets.extend(run.sockets.clone());
        state.clock = run.clock.clone().or_else(|| state.clock.take());
        state.interfaces.extend(run.interfaces.clone());
        state.usages.extend(run.usages.clone());
        state.responses.extend(run.responses.clone());
        state.facts.extend(run.facts.clone());
        for (address, connection) in &run.connections {
            state.connections.entry(address.to_string()).or_default().push_back(connection.clone());
        }
        Ok(())
    }

    /// How a file fails.
    pub(crate) fn failure(&self, path: &str) -> Option<FileError> {
        self.lock().failures.get(path).copied()
    }

    /// The sizes of the file system that is mounted at a path.
    pub(crate) fn usage(&self, path: &str) -> Option<ScriptedUsage> {
        self.lock().usages.get(path).copied()
    }

    /// What the plugin has saved before, by the script, since the last call of this.
    pub(crate) fn take_state(&self) -> Option<Vec<u8>> {
        self.lock().saved.take()
    }

    /// How the plugin's state fails.
    pub(crate) fn state_failure(&self) -> Option<StateError> {
        self.lock().state_failure
    }

    /// The sockets of a table.
    pub(crate) fn sockets(&self, table: Table) -> Option<SystemAnswer<ScriptedSockets>> {
        self.lock().sockets.get(&table).cloned()
    }

    /// The state of the clock.
    pub(crate) fn clock(&self) -> Option<SystemAnswer<ScriptedClock>> {
        self.lock().clock.clone()
    }

    /// A network interface.
    pub(crate) fn interface(&self, name: &str) -> Option<SystemAnswer<ScriptedInterface>> {
        self.lock().interfaces.get(name).cloned()
    }

    /// Where a server at `host:port` listens. The error is that of the next connection to it.
    pub(crate) fn server(&self, endpoint: &str) -> Result<SocketAddr, ServerError> {
        let Some(address) = self.servers.get(endpoint) else { return Err(ServerError::Refused) };
        let mut state = self.lock();
        if state.next_conversation(endpoint)? || state.is_web_server_up(endpoint)? {
            Ok(*address)
        } else {
            Err(ServerError::Refused)
        }
    }

    /// Whether the server on a unix socket, with this address, accepts a connection. A socket that no script has is left to the file
    /// system.
    pub(crate) fn check_unix_server(&self, address: &str) -> Result<(), ServerError> {
        let mut state = self.lock();
        let is_up = state.next_conversation(address)? || state.is_web_server_up(address)?;
        if is_up { Ok(()) } else { Err(ServerError::Refused) }
    }

    /// What the plugin learns of a request to a server by its script.
    pub(crate) fn facts(&self, origin: &Origin, unix_socket: Option<&str>, path: &str) -> Option<ScriptedFacts> {
        let server = unix_socket.map_or_else(|| origin.endpoint.to_string(), str::to_owned);
        let known = self.lock().facts.get(&(server, path.to_owned())).cloned();
        known.or_else(|| ScriptedFacts::new(origin, unix_socket, Written::default()).ok())
    }

    /// Where a peer `udp:host:port` receives datagrams. One that is not there refuses them, which is known later.
    pub(crate) fn datagram_peer(&self, address: &str) -> io::Result<Result<SocketAddr, ServerError>> {
        let is_there = match self.lock().next_conversation(address) {
            Err(ServerError::Refused) => false,
            Err(error) => return Ok(Err(error)),
            Ok(is_there) => is_there,
        };
        match self.servers.get(address).filter(|_| is_there) {
            Some(place) => Ok(Ok(*place)),
            None => self.refusing.local_addr().map(Ok),
        }
    }

    /// Ends the servers, once there is no instance of the plugin any more, which has closed its connections then. Returns how the
    /// plugin deviated from the script.
    pub(crate) async fn finish(&self) -> Vec<String> {
        // It fails when there are no servers.
        let _ = self.ending.send(());
        let have_ended = timeout(END, self.ending.closed()).await.is_ok();
        let mut state = self.lock();
        let mut deviations = std::mem::take(&mut state.deviations);
        if !have_ended {
            deviations.push(format!("a connection of the plugin is still open {} s after it", END.as_secs()));
        }
        let left = state.connections.iter().filter(|(_, connections)| !connections.is_empty());
        deviations.extend(left.map(|(address, connections)| format!("{address}: {}", unopened(connections.len()))));
        deviations
    }

    fn lock(&self) -> MutexGuard<'_, PresentHost> {
        lock(&self.state)
    }
}

/// How a plugin deviates that has not opened so many connections.
fn unopened(connections: usize) -> String {
    let noun = if connections == 1 { "connection" } else { "connections" };
    format!("the plugin left out {connections} {noun} of the script")
}
