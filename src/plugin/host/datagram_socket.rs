//! An open socket of a guest for datagrams, as the bindings name it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::SemaphorePermit;

/// An open socket for datagrams to and from one peer.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct DatagramSocket {
    pub(crate) peer: Peer,
    /// The time limit of each operation; none for that of the call.
    pub(crate) timeout: Option<Duration>,
    pub(crate) _permit: SemaphorePermit<'static>,
}

/// A peer, with the socket that is connected to it.
pub(crate) struct Peer {
    socket: UdpSocket,
    /// As the kernel has it: for the unspecified address that is this machine.
    address: SocketAddr,
}

impl Peer {
    /// Opens a socket for a peer. Nothing is sent.
    ///
    /// # Errors
    ///
    /// No way leads to it, or it is not permitted.
    pub(crate) async fn connect(peer: SocketAddr) -> io::Result<Self> {
        let unspecified: IpAddr =
            if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((unspecified, 0)).await?;
        socket.connect(peer).await?;
        let address = socket.peer_addr()?;
        Ok(Self { socket, address })
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// Those of this datagram, or that the peer did not accept one before.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes).await.map(drop)
    }

    /// Waits for a datagram of the peer. Returns its length.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send).
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (length, from) = self.socket.recv_from(buffer).await?;
            // Before the socket was connected, anybody could send to it.
            if (from.ip(), from.port()) == (self.address.ip(), self.address.port()) {
                return Ok(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unspecified_peer_is_this_machine() {
        let echo = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = echo.local_addr().expect("bound").port();
        let peer = Peer::connect((Ipv4Addr::UNSPECIFIED, port).into()).await.expect("a way");
        peer.send(b"ping").await.expect("sent");
        let mut bytes = [0; 10];
        let (length, from) = echo.recv_from(&mut bytes).await.expect("a datagram");
        echo.send_to(&bytes[..length], from).await.expect("sent");
        assert_eq!(peer.receive(&mut bytes).await.expect("a datagram"), 4);
    }
}
