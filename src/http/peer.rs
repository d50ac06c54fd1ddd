//! The peer of a connection.

use std::net::SocketAddr;

/// The peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    /// A local program, which the permissions of the socket have let in.
    Unix,
}

impl Peer {
    /// Whether it is on this host.
    pub(super) fn is_local(self) -> bool {
        match self {
            // An address of IPv4 on a socket of both kinds, too.
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_peers_are_local() {
        let is_local = |address: &str| Peer::Tcp(address.parse().expect("an address")).is_local();
        assert!(Peer::Unix.is_local());
        assert!(is_local("127.9.0.1:5") && is_local("[::1]:5") && is_local("[::ffff:127.0.0.1]:5"));
        assert!(!is_local("10.0.0.1:5") && !is_local("[::ffff:10.0.0.1]:5") && !is_local("[fe80::1]:5"));
    }
}
