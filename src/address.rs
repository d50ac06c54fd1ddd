//! Network addresses and HTTP origins, as the configuration and plugins write them. A parsed value has one spelling: names
//! in lower case, IPv4-mapped IPv6 addresses as IPv4, origins without the default port. Text only: names are resolved
//! elsewhere.

pub(crate) mod fetch_grant;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::PathAndQuery;

use crate::hostpath::{self, Pattern};

/// The longest name in the domain name system (RFC 1035).
const NAME_BYTES: usize = 253;

/// The longest part of a name between dots (RFC 1035).
const LABEL_BYTES: usize = 63;

/// The prefix of the address of a unix socket.
const UNIX: &str = "unix:";

/// The prefix of the address of a peer that gets datagrams.
const UDP: &str = "udp:";

/// A host: a name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name to resolve, in lower case.
    Name(String),
    /// An address; never an IPv4-mapped IPv6 address.
    Ip(IpAddr),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port; not 0.
    pub port: u16,
}

/// The address of a connection, or of a peer that gets datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `host:port`.
    Tcp(Endpoint),
    /// `unix:/path`; the path passes [`hostpath::check`].
    Unix(String),
    /// `udp:host:port`; the host is no multicast and no broadcast address.
    Udp(Endpoint),
}

/// A grant to connect: an address, or a pattern of unix sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectGrant {
    /// `host:port`.
    Tcp(Endpoint),
    /// `unix:/path`; `*` matches any text within a segment.
    Unix(Pattern),
    /// `udp:host:port`.
    Udp(Endpoint),
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without encryption.
    Http,
    /// Over TLS.
    Https,
}

/// The part of a URL that a grant covers: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// Host and port.
    pub endpoint: Endpoint,
}

/// The URL of an HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Scheme, host and port.
    pub origin: Origin,
    /// Path and query.
    pub path: PathAndQuery,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Host {
    /// Parses a name or an address, IPv6 in brackets.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inside.parse().map_err(|_| format!("has no IPv6 address in {text:?}"))?;
            return Ok(Self::Ip(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > NAME_BYTES || !text.bytes().all(is_name_byte) {
            return Err(format!(
                "has no host in {text:?}; write a name of letters, digits, - and _, or an address, IPv6 in brackets"
            ));
        }
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| (1..=LABEL_BYTES).contains(&label.len()) && !label.starts_with('-');
        if !name.split('.').all(is_label) {
            return Err(format!("has an empty part or one that begins with - in the name {text:?}; remove it"));
        }
        // Resolvers read 127.1, 2130706433 and 0x7f.1 as addresses.
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
            return Err(format!("has an odd spelling of an address in {text:?}; write four numbers up to 255"));
        }
        Ok(Self::Name(name))
    }
}

impl Endpoint {
    /// Parses `host:port`, or `host` if there is a default port.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the text.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err("has too many colons; write an IPv6 address in brackets, as in [::1]:80".to_owned());
        }
        let port = match port {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0') => {
                digits.parse().ok()
            }
            Some(_) => None,
            None => default_port,
        };
        let port = port.ok_or("has no port; end it with one from :1 to :65535")?;
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl Address {
    /// Parses `host:port`, `unix:/path` or `udp:host:port`.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return hostpath::check(path).map(|()| Self::Unix(path.to_owned())).map_err(str::to_owned);
        }
        if let Some(peer) = text.strip_prefix(UDP) {
            let endpoint = Endpoint::parse(peer, None)?;
            return match endpoint.host {
                Host::Ip(address) if is_group(address) => {
                    Err("is the address of several hosts; write that of one: datagrams have one peer".to_owned())
                }
                _ => Ok(Self::Udp(endpoint)),
            };
        }
        let endpoint = Endpoint::parse(text, None)?;
        // In lower case it would be another address.
        match &endpoint.host {
            Host::Name(name) if [UNIX, UDP].iter().any(|prefix| prefix.trim_end_matches(':') == name) => Err(format!(
                "has a host with the name of a kind of address; write {name}: in lower case, or an IP address"
            )),
            _ => Ok(Self::Tcp(endpoint)),
        }
    }
}

/// Whether an address is that of several hosts. A broadcast address of a network looks like any other; the kernel refuses it.
fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

impl ConnectGrant {
    /// Parses `host:port`, `unix:/path` or `udp:host:port`.
    ///
    /// # Errors
    ///
    /// Those of [`Address::parse`].
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match Address::parse(text)? {
            Address::Tcp(endpoint) => Ok(Self::Tcp(endpoint)),
            Address::Udp(endpoint) => Ok(Self::Udp(endpoint)),
            Address::Unix(path) => Pattern::new(path).map(Self::Unix).map_err(str::to_owned),
        }
    }
}

impl Origin {
    /// Parses `scheme://host` or `scheme://host:port`.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the origin.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (origin, rest) = Self::from_url(text)?;
        if rest != "/" || text.contains(['#', '?']) {
            return Err(format!("has more than scheme, host and port; write {:?}", origin.to_string()));
        }
        Ok(origin)
    }

    /// Parses a URL into its origin, and path and query.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the URL.
    pub(crate) fn from_url(url: &str) -> Result<(Self, PathAndQuery), String> {
        let uri: Uri = url.parse().map_err(|error| format!("is not a URL: {error}"))?;
        let parts = uri.into_parts();
        let scheme = match parts.scheme.as_ref().map(|scheme| scheme.as_str().to_ascii_lowercase()).as_deref() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err("does not begin with http:// or https://".to_owned()),
        };
        let authority = parts.authority.ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user name before the host; remove it".to_owned());
        }
        let endpoint = Endpoint::parse(authority.as_str(), Some(scheme.default_port()))?;
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok((Self { scheme, endpoint }, path))
    }

    /// Host and port for the request; without the port if it is the scheme's default.
    #[must_use]
    pub(crate) fn authority(&self) -> String {
        let Endpoint { host, port } = &self.endpoint;
        if *port == self.scheme.default_port() { host.to_string() } else { self.endpoint.to_string() }
    }
}

impl HttpUrl {
    /// Parses a URL with or without a path and a query.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('#') {
            return Err("has a fragment, which is not sent; remove # and all after it".to_owned());
        }
        let (origin, path) = Origin::from_url(text)?;
        Ok(Self { origin, path })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(endpoint) => endpoint.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
            Self::Udp(endpoint) => write!(f, "{UDP}{endpoint}"),
        }
    }
}

impl fmt::Display for ConnectGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(endpoint) => endpoint.fmt(f),
            Self::Unix(pattern) => write!(f, "{UNIX}{pattern}"),
            Self::Udp(endpoint) => write!(f, "{UDP}{endpoint}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

/// As it is written.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_have_one_spelling() {
        for (written, read) in [
            ("127.0.0.1:6379", "127.0.0.1:6379"),
            ("DB.Internal:5432", "db.internal:5432"),
            ("[::1]:80", "[::1]:80"),
            ("[0:0::0:1]:80", "[::1]:80"),
            ("[::FFFF:127.0.0.1]:80", "127.0.0.1:80"),
            ("[::ffff:7f00:1]:80", "127.0.0.1:80"),
            ("unix:/run/redis/redis.sock", "unix:/run/redis/redis.sock"),
            ("udp:Time.Example:123", "udp:time.example:123"),
            ("udp:[::FFFF:127.0.0.1]:323", "udp:127.0.0.1:323"),
            ("udp:[::1]:53", "udp:[::1]:53"),
            ("udp:udp:53", "udp:udp:53"),
        ] {
            assert_eq!(Address::parse(written).map(|address| address.to_string()), Ok(read.to_owned()), "{written}");
        }
        for bad in [
            "",
            "db",
            "db:",
            "db:0",
            "db:080",
            "db:+80",
            "db:65536",
            "db:80 ",
            ":80",
            "db.:80",
            "db..internal:80",
            "-db:80",
            "d b:80",
            "dß:80",
            "*:80",
            "*.internal:80",
            "::1:80",
            "[::1]",
            "[::1%eth0]:80",
            "[::1:80",
            "[127.0.0.1]:80",
            "127.1:80",
            "2130706433:80",
            "0x7f000001:80",
            "127.0.0.0x1:80",
            "0177.0.0.1:80",
            "1.2.3.4.5:80",
            "db:80@evil:80",
            "db%2e:80",
            "http://db:80",
            "unix:",
            "unix:run/x",
            "unix:/run/../x",
            "unix:@abstract",
            "UNIX:/run/x",
            "UNIX:80",
            "UDP:80",
            "udp:80",
            "udp:db",
            "udp:db:0",
            "udp:unix:/run/x",
            "UDP:db:53",
            "udp:239.1.2.3:53",
            "udp:[ff02::1]:53",
            "udp:255.255.255.255:67",
            "udp:[::ffff:224.0.0.1]:53",
            &format!("{}:80", "a.".repeat(127) + "a"),
            &format!("{}:80", "a".repeat(64)),
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_have_one_spelling() {
        for (written, read) in [
            ("http://localhost:8080", "http://localhost:8080"),
            ("HTTPS://Example.ORG:443/", "https://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::ffff:10.0.0.1]", "http://10.0.0.1"),
        ] {
            assert_eq!(Origin::parse(written).map(|origin| origin.to_string()), Ok(read.to_owned()), "{written}");
        }
        for bad in [
            "",
            "example.org",
            "//example.org",
            "/path",
            "*",
            "ftp://example.org",
            "unix:/run/x",
            "http://",
            "http:///",
            "http:example.org",
            "http://example.org/path",
            "http://example.org/?x",
            "http://example.org#x",
            "http://*.example.org",
            "http://user@example.org",
            "http://user:secret@example.org",
            "http://@example.org",
            "http://example.org.",
            "http://example.org:0",
            "http://example.org:",
            "http://münchen.de",
            "http://127.1",
            "http://[fe80::1%25eth0]",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}: {:?}", Origin::parse(bad));
        }
    }

    #[test]
    fn urls_are_split_into_origin_and_path() {
        let parsed = |url: &str| Origin::from_url(url).map(|(origin, path)| (origin.to_string(), path.to_string()));
        assert_eq!(parsed("http://db:81/a?b#c"), Ok(("http://db:81".to_owned(), "/a?b".to_owned())));
        assert_eq!(parsed("http://db?b"), Ok(("http://db".to_owned(), "/?b".to_owned())));
        assert_eq!(parsed("http://db//evil/@evil"), Ok(("http://db".to_owned(), "//evil/@evil".to_owned())));
        for bad in [
            "http://db@evil/",
            "http://db:80@evil/",
            "http://db%40evil/",
            "http://db%2eevil/",
            "http://db\\@evil/",
            "http://db\\evil/",
            "http://evil\u{ff0e}db/",
            "http://db\t.evil/",
            "http://db /",
            "http://db/\r\nhost: evil",
            "http://db/ HTTP/1.1",
            " http://db/",
            "http:/db/",
            "http:\\\\db",
        ] {
            assert!(parsed(bad).is_err(), "{bad}: {:?}", parsed(bad));
        }
    }

    proptest! {
        #[test]
        fn printed_values_parse_to_the_same(
            text in prop_oneof![any::<String>(), "(unix:|udp:|UDP:)?(http|HTTPS)?(://)?[a-zA-Z0-9.:\\[\\]@/\\\\%*-]{0,24}(:[0-9]{1,5})?"],
        ) {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
            }
            if let Ok(grant) = ConnectGrant::parse(&text) {
                prop_assert_eq!(ConnectGrant::parse(&grant.to_string()), Ok(grant));
            }
            if let Ok(origin) = Origin::parse(&text) {
                prop_assert_eq!(Origin::parse(&origin.to_string()), Ok(origin));
            }
            if let Ok((origin, path)) = Origin::from_url(&text) {
                prop_assert_eq!(Origin::from_url(&format!("{origin}{path}")), Ok((origin, path)));
            }
        }

        #[test]
        fn ipv4_mapped_addresses_equal_ipv4(bits in any::<u32>(), port in 1_u16..) {
            let address = Ipv4Addr::from_bits(bits);
            let plain = Address::parse(&format!("{address}:{port}")).expect("right");
            let mapped = address.to_ipv6_mapped();
            prop_assert_eq!(Address::parse(&format!("[{mapped}]:{port}")), Ok(plain.clone()));
            let Address::Tcp(endpoint) = plain else { panic!("not a socket") };
            prop_assert_eq!(endpoint, Endpoint { host: Host::Ip(address.into()), port });
        }
    }
}
