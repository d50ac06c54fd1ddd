//! One address that the server listens on: how it is opened, and what its errors mean for an operator.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::activity::Phase;
use super::connections::Origin;
use super::limits::{BACKLOG, SHORTAGE_PAUSE};
use super::peer::Peer;
use super::server::Server;
use super::serving::{Ending, serve, serve_tcp};
use crate::config::ListenAddress;
use crate::unix_socket::{OwnSocket, SocketError};

/// The permissions of a unix socket: the agent's user and group connect, such as a proxy's.
const SOCKET_MODE: u32 = 0o660;

/// An open socket, at which nobody is accepted yet.
#[derive(Debug)]
pub(super) enum OpenSocket {
    Tcp(TcpListener),
    Unix(OwnSocket),
}

/// Why an address is not listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListenError {
    pub(super) reason: String,
    pub(super) remedy: &'static str,
    /// Whether somebody listens there.
    pub(super) is_in_use: bool,
}

impl OpenSocket {
    /// Opens a socket.
    pub(super) async fn open(address: &ListenAddress) -> Result<Self, ListenError> {
        match address {
            ListenAddress::Unix(path) => open_unix(path).await.map(Self::Unix),
            ListenAddress::Tcp(_) | ListenAddress::AllV6(_) => {
                open_tcp(address).map(Self::Tcp).map_err(|error| tcp_error(&error))
            }
        }
    }

    /// Whether it is still there for those who look for its address.
    fn is_in_place(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Unix(socket) => socket.is_in_place(),
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Self::Unix(socket) => socket.listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Accepted {
    fn origin(&self) -> Origin {
        match self {
            Self::Tcp(_, peer) => Origin::tcp(peer.ip()),
            Self::Unix(_) => Origin::Unix,
        }
    }
}

/// An address that is listened on. When it is dropped, its socket is closed, and its connections end after the request under way.
pub(super) struct Listener {
    pub(super) address: ListenAddress,
    socket: Rc<OpenSocket>,
    accepting: JoinHandle<()>,
    _running: watch::Sender<()>,
}

impl Listener {
    /// Accepts connections from now on.
    pub(super) fn start(address: ListenAddress, socket: OpenSocket, server: &Rc<Server>) -> Self {
        let ((running, ending), socket) = (watch::channel(()), Rc::new(socket));
        let accepting = tokio::task::spawn_local(accept_all(Rc::clone(&socket), Rc::clone(server), ending));
        Self { address, socket, accepting, _running: running }
    }

    /// Ends its connections after the request under way; new ones are accepted.
    pub(super) fn restart(self, server: &Rc<Server>) -> Self {
        let (address, socket) = (self.address.clone(), Rc::clone(&self.socket));
        drop(self);
        let (running, ending) = watch::channel(());
        let accepting = tokio::task::spawn_local(accept_all(Rc::clone(&socket), Rc::clone(server), ending));
        Self { address, socket, accepting, _running: running }
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.socket.is_in_place()
    }

    /// Closes the socket, so that its address is free afterwards.
    pub(super) async fn close(mut self) {
        self.accepting.abort();
        // It has the socket, too, until it ends.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts all who connect. Never returns.
async fn accept_all(socket: Rc<OpenSocket>, server: Rc<Server>, ending: Ending) {
    loop {
        let accepted = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // A peer that has gone away since is no shortage.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    server.connections().displace_oldest();
                    sleep(SHORTAGE_PAUSE).await;
                }
                continue;
            }
        };
        // The others wait in the kernel's queue meanwhile.
        let admission = server.connections().admit(Phase::First, accepted.origin()).await;
        let (server, ending) = (Rc::clone(&server), ending.clone());
        match accepted {
            Accepted::Tcp(stream, peer) => {
                tokio::task::spawn_local(serve_tcp(server, stream, Peer::Tcp(peer), admission, ending))
            }
            Accepted::Unix(stream) => tokio::task::spawn_local(serve(server, stream, Peer::Unix, admission, ending)),
        };
    }
}

fn open_tcp(listen: &ListenAddress) -> io::Result<TcpListener> {
    let address = listen.tcp().ok_or(io::ErrorKind::InvalidInput)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.is_ipv6() {
        // Whatever the host's default is.
        SockRef::from(&socket).set_only_v6(matches!(listen, ListenAddress::AllV6(_)))?;
    }
    // Connections of an agent that has just ended do not keep the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn open_unix(path: &Path) -> Result<OwnSocket, ListenError> {
    let error = |reason: String, remedy, is_in_use| ListenError { reason, remedy, is_in_use };
    OwnSocket::open(path, SOCKET_MODE, BACKLOG).await.map_err(|failed| match failed {
        SocketError::InUse => error("another process listens there".to_owned(), END_OTHER, true),
        SocketError::Foreign => {
            error("it is a file of another kind, and no socket".to_owned(), "move it away, or name another path", false)
        }
        SocketError::Failed(operation, failed) => error(format!("{operation}: {failed}"), unix_remedy(&failed), false),
    })
}

const END_OTHER: &str = "end the other program, or name another address";

fn unix_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "create its directory, with RuntimeDirectory= in a systemd unit, or name another path"
        }
        io::ErrorKind::PermissionDenied => "let the agent's user write to its directory, or name another path",
        io::ErrorKind::InvalidInput => "name a shorter path: a socket's may have 107 bytes",
        _ => "check its file system, and the agent's limit of open files",
    }
}

fn tcp_error(error: &io::Error) -> ListenError {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => END_OTHER,
        io::ErrorKind::AddrNotAvailable => "name an address of this host, or 0.0.0.0 for all; it may still come up",
        io::ErrorKind::PermissionDenied => {
            "name a port from 1024 on, or allow lower ones with AmbientCapabilities=CAP_NET_BIND_SERVICE"
        }
        _ => "check the network, and the agent's limit of open files",
    };
    ListenError {
        reason: format!("failed to listen: {error}"),
        remedy,
        is_in_use: error.kind() == io::ErrorKind::AddrInUse,
    }
}
