//! The grants of plugins to the network: the addresses and origins in the configuration, and the addresses that a granted
//! name may resolve to. Pure decisions; the caller connects to the very address that was checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Method;

use crate::address::fetch_grant::FetchGrant;
use crate::address::{Address, ConnectGrant, Endpoint, Host, Origin};

/// The name for the machine itself. It is never resolved.
const LOCALHOST: &str = "localhost";

/// Metadata services of cloud providers, which give a machine's credentials to any process on it: those whose addresses are
/// not link-local.
const METADATA_SERVICES: [IpAddr; 4] = [
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Amazon EC2.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Google Compute Engine.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// The network grants of one plugin; none by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    connect: Vec<ConnectGrant>,
    fetch: Vec<FetchGrant>,
}

impl Network {
    pub(crate) fn new(connect: &[ConnectGrant], fetch: &[FetchGrant]) -> Self {
        Self { connect: connect.to_vec(), fetch: fetch.to_vec() }
    }

    /// Whether a connection to this address is granted, or datagrams to it are.
    pub(crate) fn connect(&self, address: &Address) -> bool {
        allows(&self.connect, address)
    }

    /// Whether requests to this origin are granted.
    pub(crate) fn fetch(&self, origin: &Origin) -> bool {
        self.fetch.iter().any(|grant| grant.is_for(origin))
    }

    /// Whether requests with this method to the unix socket at a path are granted.
    pub(crate) fn fetch_unix(&self, path: &str, method: &Method) -> bool {
        self.fetch.iter().any(|grant| grant.allows(path, method))
    }

    /// Whether all that a plugin needs is granted. A need to read, which names no methods, is one for `GET` or `HEAD`.
    pub(crate) fn fetch_needed(&self, need: &FetchGrant) -> bool {
        match need {
            FetchGrant::Origin(origin) => self.fetch(origin),
            FetchGrant::Unix(pattern, methods) => {
                let mut granted = methods.iter().map(|method| self.fetch_unix(&pattern.to_string(), method));
                if need.is_for_reading() { granted.any(|granted| granted) } else { granted.all(|granted| granted) }
            }
        }
    }
}

/// Whether one of these grants is for an address.
pub(crate) fn allows(grants: &[ConnectGrant], address: &Address) -> bool {
    grants.iter().any(|grant| match (grant, address) {
        (ConnectGrant::Tcp(granted), Address::Tcp(endpoint)) => granted == endpoint,
        (ConnectGrant::Unix(pattern), Address::Unix(path)) => pattern.matches(path),
        (ConnectGrant::Udp(granted), Address::Udp(peer)) => granted == peer,
        _ => false,
    })
}

/// The addresses of a host that needs no resolution.
pub(crate) fn literal_addresses(host: &Host) -> Option<Vec<IpAddr>> {
    match host {
        Host::Ip(address) => Some(vec![*address]),
        Host::Name(name) if name == LOCALHOST => Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        Host::Name(_) => None,
    }
}

/// The addresses of a name that may be connected to: all but special ones, which need a grant of their own. Otherwise the name
/// server would decide which services of this machine and its link a plugin reaches.
///
/// # Errors
///
/// The first address when all are special; none when there are none.
pub(crate) fn permitted(
    resolved: &[IpAddr],
    port: u16,
    is_granted: impl Fn(&Endpoint) -> bool,
) -> Result<Vec<IpAddr>, Option<Endpoint>> {
    let resolved = resolved.iter().map(IpAddr::to_canonical);
    let endpoint = |address| Endpoint { host: Host::Ip(address), port };
    let (permitted, refused): (Vec<IpAddr>, Vec<IpAddr>) =
        resolved.partition(|&address| !is_special(address) || is_granted(&endpoint(address)));
    if permitted.is_empty() { Err(refused.first().copied().map(endpoint)) } else { Ok(permitted) }
}

/// Whether an address is that of this machine, this link, several machines or a metadata service, embedded in an IPv6 address
/// or not.
fn is_special(address: IpAddr) -> bool {
    METADATA_SERVICES.contains(&address)
        || match address {
            IpAddr::V4(address) => is_special_v4(address),
            IpAddr::V6(address) => is_special_v6(address),
        }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    // The whole of 0.0.0.0/8 is "this host on this network" (RFC 1122).
    address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || embedded(address).into_iter().flatten().any(|address| is_special(address.into()))
}

/// The IPv4 addresses that are embedded in an IPv6 address, by any standard.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let is_suffix = matches!(
        segments,
        // Compatible and mapped (RFC 4291), translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..]
        // Translated at the border of a network (RFC 6052, RFC 8215).
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..]
        // ISATAP (RFC 5214).
        | [_, _, _, _, 0 | 0x200, 0x5efe, ..]
    );
    let suffix = is_suffix.then(|| v4(segments[6], segments[7]));
    match segments {
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => [suffix, Some(v4(high, low)), None],
        // Teredo (RFC 4380): the server, and the client with all bits turned.
        [0x2001, 0, high, low, ..] => [suffix, Some(v4(high, low)), Some(v4(!segments[6], !segments[7]))],
        _ => [suffix, None, None],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(connect: &[&str], fetch: &[&str]) -> Network {
        let connect: Vec<ConnectGrant> = connect.iter().map(|text| ConnectGrant::parse(text).expect(text)).collect();
        let fetch: Vec<FetchGrant> = fetch.iter().map(|text| FetchGrant::parse(text).expect(text)).collect();
        Network::new(&connect, &fetch)
    }

    fn may_fetch(network: &Network, url: &str) -> bool {
        Origin::from_url(url).is_ok_and(|(origin, _)| network.fetch(&origin))
    }

    fn may_connect(network: &Network, address: &str) -> bool {
        Address::parse(address).is_ok_and(|address| network.connect(&address))
    }

    #[test]
    fn granted_addresses_pass_in_every_spelling() {
        let connect = ["DB.internal:5432", "[::1]:80", "unix:/run/*/redis.sock", "udp:Time.internal:123"];
        let network = network(&connect, &["https://Example.org:443"]);
        for granted in [
            "db.internal:5432",
            "DB.INTERNAL:5432",
            "[0:0::1]:80",
            "unix:/run/redis/redis.sock",
            "udp:time.internal:123",
        ] {
            assert!(may_connect(&network, granted), "{granted}");
        }
        for granted in ["https://example.org", "HTTPS://EXAMPLE.org:443/a?b", "https://example.org/@evil"] {
            assert!(may_fetch(&network, granted), "{granted}");
        }
    }

    #[test]
    fn similar_addresses_do_not_pass() {
        let connect = ["db.internal:5432", "unix:/run/*/redis.sock", "udp:time.internal:123"];
        let network = network(&connect, &["http://granted:8080"]);
        for other in [
            "db.internal:5433",
            "db.internal.:5432",
            "db.internal.evil:5432",
            "evil.db.internal:5432",
            "db:5432",
            "granted:8080",
            "unix:/run/redis/../redis.sock",
            "unix:/run/a/b/redis.sock",
            "unix:/run/redis.sock",
            "udp:db.internal:5432",
            "time.internal:123",
            "udp:time.internal:124",
        ] {
            assert!(!may_connect(&network, other), "{other}");
        }
        for other in [
            "http://granted/",
            "https://granted:8080/",
            "http://granted:8080@evil/",
            "http://granted:8080@evil:8080/",
            "http://granted%3a8080@evil:8080/",
            "http://evil:8080/granted:8080",
            "http://evil:8080?@granted:8080",
            "http://evil:8080#@granted:8080",
            "http://evil:8080\\@granted:8080",
            "http://granted:8080.evil/",
            "http://granted.:8080/",
            "http://%67ranted:8080/",
            "http://db.internal:5432/",
        ] {
            assert!(!may_fetch(&network, other), "{other}");
        }
        assert!(!may_fetch(&Network::default(), "http://granted:8080"));
    }

    #[test]
    fn unix_sockets_are_granted_by_method() {
        let network = network(&["unix:/run/c.sock"], &["unix:/run/*.sock", "unix:/run/a.sock POST"]);
        let grants = |text: &str| network.fetch_needed(&FetchGrant::parse(text).expect(text));
        assert!(grants("unix:/run/b.sock") && grants("unix:/run/b.sock HEAD"));
        assert!(grants("unix:/run/a.sock POST GET"), "by two grants");
        let network_of_get = self::network(&[], &["unix:/run/d.sock GET POST"]);
        assert!(network_of_get.fetch_needed(&FetchGrant::parse("unix:/run/d.sock").expect("a grant")), "without HEAD");
        assert!(!grants("unix:/run/b.sock POST") && !grants("unix:/run/a.sock GET PUT"));
        assert!(!grants("unix:/run/b/c.sock") && !grants("http://run"));
        assert!(network.fetch_unix("/run/c.sock", &Method::GET), "by the wildcard, not by the grant to connect");
    }

    #[test]
    fn special_addresses_are_recognised_in_every_form() {
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::127.0.0.1",
            "2002:a9fe:a9fe::1",
            "2001:0:7f00:1::",
            "2001:0:808:808:0:0:5601:5601",
            "2001:db8::5efe:169.254.169.254",
            "2002:808:808::5efe:169.254.169.254",
            "::ffff:100.100.100.200",
        ] {
            assert!(is_special(special.parse().expect(special)), "{special}");
        }
        for ordinary in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "8.8.8.8",
            "169.253.255.255",
            "169.255.0.0",
            "128.0.0.0",
            "223.255.255.255",
            "fec0::1",
            "fd00::1",
            "2001:db8::1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(!is_special(ordinary.parse().expect(ordinary)), "{ordinary}");
        }
    }

    #[test]
    fn names_reach_special_addresses_only_by_grant() {
        let address = |text: &str| text.parse::<IpAddr>().expect(text);
        let (metadata, loopback, ordinary) = (address("169.254.169.254"), address("127.0.0.1"), address("10.0.0.1"));
        let nothing = |_: &Endpoint| false;
        let refused = |address: IpAddr| Some(Endpoint { host: Host::Ip(address), port: 80 });
        assert_eq!(permitted(&[metadata], 80, nothing), Err(refused(metadata)));
        assert_eq!(permitted(&[address("::ffff:127.0.0.1")], 80, nothing), Err(refused(loopback)));
        assert_eq!(permitted(&[loopback, ordinary, metadata], 80, nothing), Ok(vec![ordinary]));
        assert_eq!(permitted(&[], 80, nothing), Err(None));
        let granted = network(&["127.0.0.1:80"], &[]);
        let is_granted = |endpoint: &Endpoint| granted.connect(&Address::Tcp(endpoint.clone()));
        assert_eq!(permitted(&[loopback, metadata], 80, is_granted), Ok(vec![loopback]));
        assert_eq!(permitted(&[loopback], 81, is_granted), Err(Some(Endpoint { host: Host::Ip(loopback), port: 81 })));
    }

    #[test]
    fn only_exact_localhost_is_not_resolved() {
        let addresses = |text: &str| match Address::parse(text) {
            Ok(Address::Tcp(endpoint)) => literal_addresses(&endpoint.host),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            addresses("LOCALHOST:80").expect("literal"),
            [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()]
        );
        assert_eq!(addresses("[::ffff:10.0.0.1]:80").expect("literal"), [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(addresses("localhost.evil:80"), None);
        assert_eq!(addresses("my.localhost:80"), None);
    }

    /// Whether an address is special, by the registries of IANA.
    fn is_special_by_number(bits: u32) -> bool {
        let within = |first: [u8; 4], length: u32| (bits ^ u32::from_be_bytes(first)).leading_zeros() >= length;
        within([0, 0, 0, 0], 8)
            || within([127, 0, 0, 0], 8)
            || within([169, 254, 0, 0], 16)
            || within([224, 0, 0, 0], 4)
            || within([255, 255, 255, 255], 32)
            || within([100, 100, 100, 200], 32)
            || within([168, 63, 129, 16], 32)
    }

    proptest! {
        /// A request passes only when scheme, host and port are those of the grant, however it is written.
        #[test]
        fn only_the_granted_origin_passes(
            scheme in "(http|https|HTTP|ftp)",
            user in "(|evil@|granted@|granted:8080@|granted:8080\\\\@)",
            host in "(granted|GRANTED|granted\\.|evil|granted\\.evil|evil\\.granted|%67ranted|127\\.0\\.0\\.1)",
            port in "(|:8080|:80|:443|:08080|:8080x)",
            path in "(|/|/granted:8080|\\?granted|#@granted:8080|\\\\granted)",
        ) {
            let network = network(&[], &["http://granted:8080"]);
            let url = format!("{scheme}://{user}{host}{port}{path}");
            let is_granted = scheme.eq_ignore_ascii_case("http")
                && user.is_empty()
                && host.eq_ignore_ascii_case("granted")
                && port == ":8080"
                && !path.starts_with('\\');
            prop_assert_eq!(may_fetch(&network, &url), is_granted, "{}", url);
        }

        #[test]
        fn only_the_granted_address_passes(
            host in "(db|DB|db\\.|\\.db|d|db%|\\[::1\\]|\\[::01\\]|::1|\\[::2\\]|127\\.0\\.0\\.1|127\\.1|\\[::ffff:127\\.0\\.0\\.1\\])",
            port in "(|:5432|:5431|:05432|:5432 |:54320)",
        ) {
            let network = network(&["db:5432", "[::1]:5432"], &[]);
            let is_host = matches!(&*host, "db" | "DB" | "[::1]" | "[::01]");
            prop_assert_eq!(may_connect(&network, &format!("{host}{port}")), is_host && port == ":5432");
        }

        /// A special IPv4 address is special in each embedding.
        #[test]
        fn embedded_addresses_are_classified_alike(bits in any::<u32>(), near in 0_usize..7, is_near in any::<bool>()) {
            let first = [0, 0x7f00_0000, 0xa9fe_0000, 0xe000_0000, 0xffff_ffff, 0x6464_64c8, 0xa83f_8110_u32][near];
            let bits = if is_near { first ^ (bits & 0x0001_0001) } else { bits };
            let address = Ipv4Addr::from_bits(bits);
            let special = is_special_by_number(bits);
            prop_assert_eq!(is_special(address.into()), special);
            let [high, low] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
            for embedded in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low),
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0x200, 0x5efe, high, low),
            ] {
                prop_assert_eq!(is_special(embedded.into()), special, "{}", embedded);
            }
        }

        /// A permitted address is not special unless it is granted.
        #[test]
        fn special_addresses_need_a_grant(bits in prop::collection::vec(any::<u32>(), 0..6), granted in any::<u32>()) {
            let resolved: Vec<IpAddr> = bits.iter().map(|&bits| Ipv4Addr::from_bits(bits).into()).collect();
            let granted = Host::Ip(Ipv4Addr::from_bits(granted).into());
            let is_granted = |endpoint: &Endpoint| endpoint.host == granted;
            for address in permitted(&resolved, 80, is_granted).unwrap_or_default() {
                prop_assert!(resolved.contains(&address));
                prop_assert!(!is_special(address) || Host::Ip(address) == granted);
            }
        }
    }
}
