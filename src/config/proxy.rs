//! HTTP proxies: the key `proxy`, the environment variables that curl and others read, and which requests go through one. Text only:
//! nothing is connected to.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;

use super::base64;
use super::redaction::HIDDEN;
use super::sensitive::percent_decoded;
use crate::address::{Host, Origin};

/// The value of `proxy` that switches it off.
const NONE: &str = "none";

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address.
    pub origin: Origin,
    /// The header `Proxy-Authorization`, made of the user and the password in its URL. `Debug` hides it.
    pub authorization: Option<HeaderValue>,
}

/// The key `proxy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxySetting {
    /// It is not written: the environment decides.
    #[default]
    Environment,
    /// There is none, whatever the environment has.
    Off,
    /// This one, for every request that the environment does not exempt.
    Proxy(Proxy),
}

/// The environment's proxies. A variable that is no use is an error of the requests that it is for, and of nothing else: other
/// programs may have a use for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyEnvironment {
    /// That of `http_proxy`; or why it is no use, with the remedy.
    http: Option<Result<Proxy, String>>,
    /// That of `https_proxy`.
    https: Option<Result<Proxy, String>>,
    /// The entries of `no_proxy`.
    exemptions: Vec<Exemption>,
}

/// An entry of `no_proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exemption {
    hosts: ExemptHosts,
    /// None for every port.
    port: Option<u16>,
}

/// The hosts of such an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ExemptHosts {
    All,
    /// A name, and all names below it.
    Domain(String),
    /// The addresses that have so many first bits in common with this one.
    Network(IpAddr, u8),
}

impl Proxy {
    /// Parses `http://host:port`, with a user and a password before the host or not.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, without the URL: it may have a password.
    fn parse(url: &str) -> Result<Self, String> {
        const FORM: &str = "write it like http://proxy.example.org:3128";
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("is not a URL; {FORM}"))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(format!("has more than scheme, host and port; {FORM}"));
        }
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let origin = Origin::parse(&format!("{scheme}://{host}")).map_err(|why| format!("{why}; {FORM}"))?;
        let authorization = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            basic(&percent_decoded(user), &percent_decoded(password))
        });
        Ok(Self { origin, authorization })
    }
}

/// The URL, without the user.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

/// The value of a header with a user and a password (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> HeaderValue {
    let credentials = base64::encode(format!("{user}:{password}").as_bytes());
    // The digits of base64 are all allowed.
    let mut value = HeaderValue::try_from(format!("Basic {credentials}")).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

impl ProxySetting {
    /// Parses the value of the key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self::Off);
        }
        Proxy::parse(text).map(Self::Proxy).map_err(|why| format!("{why}, or \"{NONE}\""))
    }

    /// The value as it is written, without a user; none if the key is not written.
    pub(super) fn written(&self) -> Option<String> {
        match self {
            Self::Environment => None,
            Self::Off => Some(NONE.to_owned()),
            Self::Proxy(Proxy { origin, authorization: None }) => Some(origin.to_string()),
            Self::Proxy(Proxy { origin, authorization: Some(_) }) => {
                Some(origin.to_string().replacen("://", &format!("://{HIDDEN}@"), 1))
            }
        }
    }
}

impl ProxyEnvironment {
    /// Reads the variables. The small letters win, as in curl.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let upper = name.to_ascii_uppercase();
            variable(name)
                .map(|value| (name.to_owned(), value))
                .or_else(|| variable(&upper).map(|value| (upper, value)))
        };
        let proxy = |name: &str| {
            let (name, value) = either(name)?;
            // The scheme may be left out there.
            let url = if value.contains("://") { value } else { format!("http://{value}") };
            Some(Proxy::parse(&url).map_err(|why| format!("the environment variable {name} {why}")))
        };
        let exemptions = either("no_proxy").map(|(_, value)| value).unwrap_or_default();
        Self { http: proxy("http_proxy"), https: proxy("https_proxy"), exemptions: parse_exemptions(&exemptions) }
    }

    /// The errors in the variables.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &str> {
        [&self.http, &self.https].into_iter().flatten().filter_map(|proxy| proxy.as_ref().err().map(String::as_str))
    }

    /// The proxy for requests to an origin, under a setting.
    ///
    /// # Errors
    ///
    /// When the variable that names it is no use.
    pub(super) fn select<'a>(
        &'a self,
        setting: &'a ProxySetting,
        origin: &Origin,
    ) -> Result<Option<&'a Proxy>, &'a str> {
        use crate::address::Scheme;

        let selected = match (setting, origin.scheme) {
            (ProxySetting::Off, _) => None,
            (ProxySetting::Proxy(proxy), _) => Some(Ok(proxy)),
            (ProxySetting::Environment, Scheme::Http) => self.http.as_ref().map(Result::as_ref),
            (ProxySetting::Environment, Scheme::Https) => self.https.as_ref().map(Result::as_ref),
        };
        let selected = selected.filter(|_| !self.is_exempt(origin));
        selected.transpose().map_err(String::as_str)
    }

    /// Whether an origin is reached without a proxy. This host always is: a proxy would reach itself.
    fn is_exempt(&self, origin: &Origin) -> bool {
        let endpoint = &origin.endpoint;
        let is_local = match &endpoint.host {
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ip(address) => address.is_loopback() || address.is_unspecified(),
        };
        let matches = |entry: &Exemption| {
            entry.port.is_none_or(|port| port == endpoint.port) && entry.hosts.contains(&endpoint.host)
        };
        is_local || self.exemptions.iter().any(matches)
    }
}

impl ExemptHosts {
    fn contains(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Domain(domain), Host::Name(name)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Network(IpAddr::V4(network), bits), Host::Ip(IpAddr::V4(address))) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(*bits)
            }
            (Self::Network(IpAddr::V6(network), bits), Host::Ip(IpAddr::V6(address))) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(*bits)
            }
            (Self::Domain(_) | Self::Network(..), _) => false,
        }
    }
}

/// The entries of a list with commas or spaces between them. An entry that names nothing is left out.
fn parse_exemptions(text: &str) -> Vec<Exemption> {
    let entries = text.split(|character: char| character == ',' || character.is_whitespace());
    entries.filter(|entry| !entry.is_empty()).filter_map(parse_exemption).collect()
}

/// Parses `*`, `domain`, `.domain`, `*.domain`, an address, or a network such as `10.0.0.0/8`, all but networks with a port or without.
fn parse_exemption(text: &str) -> Option<Exemption> {
    if text == "*" {
        return Some(Exemption { hosts: ExemptHosts::All, port: None });
    }
    if let Some((network, bits)) = text.split_once('/') {
        let network: IpAddr = network.parse().ok()?;
        let bits = bits.parse().ok().filter(|&bits| bits <= if network.is_ipv4() { 32 } else { 128 })?;
        return Some(Exemption { hosts: ExemptHosts::Network(network, bits), port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address has more of them.
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port.parse().ok()?)),
        _ => (text, None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let hosts = if let Ok(address) = bare.parse::<IpAddr>() {
        let address = address.to_canonical();
        ExemptHosts::Network(address, if address.is_ipv4() { 32 } else { 128 })
    } else {
        let domain = host.strip_prefix('*').unwrap_or(host);
        let domain = domain.strip_prefix('.').unwrap_or(domain).trim_end_matches('.').to_ascii_lowercase();
        ExemptHosts::Domain(Some(domain).filter(|domain| !domain.is_empty())?)
    };
    Some(Exemption { hosts, port })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> ProxyEnvironment {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        ProxyEnvironment::read(find)
    }

    /// The proxy of an origin by the environment alone.
    fn selected(environment: &ProxyEnvironment, origin: &str) -> Option<String> {
        let selected = environment.select(&ProxySetting::Environment, &Origin::parse(origin).expect(origin));
        selected.expect("valid").map(ToString::to_string)
    }

    #[test]
    fn credentials_of_a_proxy_are_decoded_and_hidden() {
        let proxy = Proxy::parse("http://us%40er:p%3Aw@Proxy:3128/").expect("valid");
        let value = proxy.authorization.clone().expect("credentials");
        assert_eq!(value.to_str().ok(), Some(&*format!("Basic {}", base64::encode(b"us@er:p:w"))));
        assert!(!format!("{proxy:?} {proxy}").contains("dXNA"), "{proxy:?}");
        assert_eq!(ProxySetting::Proxy(proxy).written().as_deref(), Some("http://…@proxy:3128"));
        for bad in ["", "proxy", "http://", "http://u:secret@", "ftp://u:secret@p", "http://u:secret@p/x", "http://p:0"]
        {
            let why = Proxy::parse(bad).expect_err(bad);
            assert!(why.contains("write it like http://") && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn environment_selects_by_scheme() {
        let found = environment(&[("http_proxy", "a:1"), ("HTTP_PROXY", "b:1"), ("HTTPS_PROXY", "https://c")]);
        assert_eq!(selected(&found, "http://x").as_deref(), Some("http://a:1"));
        assert_eq!(selected(&found, "https://x").as_deref(), Some("https://c"));
        let origin = Origin::parse("https://x").expect("an origin");
        assert_eq!(found.select(&ProxySetting::Off, &origin), Ok(None));
        let set = ProxySetting::parse("http://d:2").expect("a proxy");
        assert_eq!(
            found.select(&set, &origin).map(|proxy| proxy.map(ToString::to_string)),
            Ok(Some("http://d:2".into()))
        );
        let broken = environment(&[("https_proxy", "socks5://u:secret@x:1")]);
        let error = broken.select(&ProxySetting::Environment, &origin).expect_err("no use");
        assert!(
            error.contains("variable https_proxy does not begin with http://") && !error.contains("secret"),
            "{error}"
        );
        assert_eq!(selected(&broken, "http://x"), None);
        assert_eq!(broken.errors().count(), 1);
    }

    #[test]
    fn local_and_exempt_origins_have_no_proxy() {
        let list = "intern.example, .corp.example *.lab.example, 10.0.0.0/8 192.168.1.1,db:81,[2001:db8::1]:82,2001:db8:1::/48 ,/,:1";
        let found = environment(&[("http_proxy", "p:1"), ("no_proxy", list)]);
        for origin in [
            "http://localhost",
            "http://a.localhost:9",
            "http://127.9.9.9",
            "http://[::1]",
            "http://intern.example:8428",
            "http://a.INTERN.example",
            "http://corp.example",
            "http://a.b.corp.example",
            "http://x.lab.example",
            "http://10.255.0.1",
            "http://192.168.1.1",
            "http://[::ffff:192.168.1.1]",
            "http://db:81",
            "http://[2001:db8::1]:82",
            "http://[2001:db8:1:2::3]",
        ] {
            assert_eq!(selected(&found, origin), None, "{origin}");
        }
        for origin in [
            "http://wintern.example",
            "http://example",
            "http://11.0.0.1",
            "http://192.168.1.2",
            "http://db",
            "http://[2001:db8::1]",
            "http://[2001:db8:2::]",
        ] {
            assert_eq!(selected(&found, origin).as_deref(), Some("http://p:1"), "{origin}");
        }
        let set = ProxySetting::parse("http://d:2").expect("a proxy");
        let exempt = Origin::parse("http://10.1.1.1").expect("an origin");
        assert_eq!(found.select(&set, &exempt), Ok(None), "also of a proxy by setting");
        let all = environment(&[("http_proxy", "p:1"), ("NO_PROXY", "*")]);
        assert_eq!(selected(&all, "http://x"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_variables_give_a_proxy_or_error(
            proxy in prop_oneof![any::<String>(), "(http://)?(a:b@)?[a-c.]{1,4}(:[0-9]{1,3})?/?"],
            list in "[a*.:/\\[\\]0-9, ]{0,24}",
        ) {
            let found = environment(&[("http_proxy", &proxy), ("no_proxy", &list)]);
            let origin = Origin::parse("http://a.a:1").expect("an origin");
            match found.select(&ProxySetting::Environment, &origin) {
                Ok(Some(selected)) => {
                    let again = Proxy::parse(&selected.to_string()).expect("a URL");
                    prop_assert_eq!(&again.origin, &selected.origin);
                }
                Ok(None) => prop_assert!(found.is_exempt(&origin)),
                Err(why) => {
                    prop_assert!(why.starts_with("the environment variable http_proxy "), "{}", why);
                    prop_assert!(found.errors().eq([why]));
                }
            }
        }

        #[test]
        fn networks_contain_addresses_by_prefix(network in any::<u32>(), address in any::<u32>(), bits in 0_u8..=32) {
            let (network, address) = (std::net::Ipv4Addr::from_bits(network), std::net::Ipv4Addr::from_bits(address));
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let expected = network.to_bits() & mask == address.to_bits() & mask;
            let exemption = parse_exemption(&format!("{network}/{bits}")).expect("a network");
            prop_assert_eq!(exemption.hosts.contains(&Host::Ip(address.into())), expected);
        }
    }
}
