//! The addresses of `[http] listen`: their spelling, and which of them exclude each other.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::address::{Address, Endpoint, Host};

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address and a port. `[::]` is all addresses of the host, those of IPv4 included.
    Tcp(SocketAddr),
    /// All addresses of IPv6 and none of IPv4, at a port: `[::]` beside `0.0.0.0`.
    AllV6(u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Parses `ADDRESS:PORT` or `unix:/path`.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write an IP address and a port, as in 127.0.0.1:9101 or [::1]:9101";
        // As other servers write it.
        let is_port = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(port) = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).filter(is_port) {
            return Err(format!(
                "has no address; write [::]:{port} for all of IPv6 and IPv4, or 0.0.0.0:{port} for IPv4 only"
            ));
        }
        let ip = match Address::parse(text)? {
            Address::Unix(path) => return Ok(Self::Unix(path.into())),
            Address::Tcp(Endpoint { host: Host::Ip(ip), port }) => return Ok(Self::Tcp(SocketAddr::new(ip, port))),
            Address::Tcp(Endpoint { host: Host::Name(name), port }) => {
                if name != "localhost" {
                    return Err(format!("names a host; {FORM}"));
                }
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
            }
            Address::Udp(_) => return Err(format!("is for datagrams; {FORM}")),
        };
        Ok(Self::Tcp(ip))
    }

    /// The address and port; none of a unix socket.
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::AllV6(port) => Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), *port)),
            Self::Unix(_) => None,
        }
    }

    /// Whether only this host can reach it.
    pub(crate) fn is_local(&self) -> bool {
        self.tcp().is_none_or(|address| address.ip().is_loopback())
    }

    /// Whether a socket of this address keeps all sockets of another one from being opened.
    fn covers(&self, other: &Self) -> bool {
        let (Some(own), Some(other)) = (self.tcp(), other.tcp()) else { return false };
        let is_covered = match (own.ip(), other.ip()) {
            (IpAddr::V6(ip), IpAddr::V4(_)) => ip.is_unspecified() && matches!(self, Self::Tcp(_)),
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
            (ip, _) => ip.is_unspecified(),
        };
        own.port() == other.port() && is_covered
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.tcp()) {
            (_, Some(address)) => address.fmt(f),
            (Self::Unix(path), _) => write!(f, "unix:{}", path.display()),
            (Self::Tcp(_) | Self::AllV6(_), None) => Ok(()),
        }
    }
}

/// The addresses of a list, each once, as they can all be opened: `[::]` beside `0.0.0.0` is all of IPv6 only. The errors are ends
/// of a sentence that begins with the list.
pub(super) fn resolve(mut addresses: Vec<ListenAddress>) -> (Vec<ListenAddress>, Vec<String>) {
    let all_v4: HashSet<u16> = addresses.iter().filter_map(port_of_all_v4).collect();
    for address in &mut addresses {
        if let ListenAddress::Tcp(SocketAddr::V6(v6)) = address
            && v6.ip().is_unspecified()
            && all_v4.contains(&v6.port())
        {
            *address = ListenAddress::AllV6(v6.port());
        }
    }
    let (mut resolved, mut errors) = (Vec::new(), Vec::new());
    for address in &addresses {
        if resolved.contains(address) {
            errors.push(format!("has {address} twice; remove one of the two"));
            continue;
        }
        if let Some(all) = addresses.iter().find(|all| *all != address && all.covers(address)) {
            errors.push(format!("has {all}, which is {address}, too; remove {address}"));
        }
        resolved.push(address.clone());
    }
    (resolved, errors)
}

fn port_of_all_v4(address: &ListenAddress) -> Option<u16> {
    let address = address.tcp()?;
    (address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED)).then_some(address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses, marked where they are of IPv6 only, and the errors.
    fn resolved(list: &str) -> (Vec<String>, Vec<String>) {
        let parsed = list.split(' ').map(|text| ListenAddress::parse(text).expect(text)).collect();
        let (addresses, errors) = resolve(parsed);
        let mark = |address: &ListenAddress| match address {
            ListenAddress::AllV6(_) => format!("{address} only"),
            ListenAddress::Tcp(_) | ListenAddress::Unix(_) => address.to_string(),
        };
        (addresses.iter().map(mark).collect(), errors)
    }

    #[test]
    fn wildcards_of_both_families_share_a_port() {
        for (list, expected) in [
            ("0.0.0.0:1 [::]:1 [::]:2", &["0.0.0.0:1", "[::]:1 only", "[::]:2"][..]),
            ("[::]:1 0.0.0.0:1", &["[::]:1 only", "0.0.0.0:1"]),
            ("0.0.0.0:1 [::]:2 unix:/run/s", &["0.0.0.0:1", "[::]:2", "unix:/run/s"]),
            ("127.0.0.1:1 [::1]:1 10.0.0.1:1", &["127.0.0.1:1", "[::1]:1", "10.0.0.1:1"]),
            ("0.0.0.0:1 [::1]:1 127.0.0.1:2", &["0.0.0.0:1", "[::1]:1", "127.0.0.1:2"]),
        ] {
            assert_eq!(resolved(list), (expected.iter().map(ToString::to_string).collect(), Vec::new()), "{list}");
        }
    }

    #[test]
    fn overlapping_addresses_are_errors() {
        for (list, error) in [
            ("127.0.0.1:1 0.0.0.0:1", "has 0.0.0.0:1, which is 127.0.0.1:1, too; remove 127.0.0.1:1"),
            ("[::]:1 127.0.0.1:1", "has [::]:1, which is 127.0.0.1:1, too; remove 127.0.0.1:1"),
            ("[::]:1 [::1]:1", "has [::]:1, which is [::1]:1, too; remove [::1]:1"),
            ("[::]:1 0.0.0.0:1 [::1]:1", "has [::]:1, which is [::1]:1, too; remove [::1]:1"),
            ("[::]:1 0.0.0.0:1 10.0.0.1:1", "has 0.0.0.0:1, which is 10.0.0.1:1, too; remove 10.0.0.1:1"),
            ("unix:/run/s unix:/run/s", "has unix:/run/s twice; remove one of the two"),
        ] {
            assert_eq!(resolved(list).1, [error], "{list}");
        }
    }
}
