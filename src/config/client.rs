//! The table `[client]`: how the agent connects to peers as their client. Its keys are the defaults of every network sink and of the
//! requests of every plugin, which both may have their own. A plugin's own are those of `[plugins.NAME.client]`: never the plugin's to
//! set, since it would show the agent's certificate to whom it likes.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use toml::Spanned;
use toml::de::DeValue;

use super::client_tls::{ClientTls, ClientTlsKeys};
use super::key::{DefaultValue, Key, PLUGIN_CLIENT_TABLE, Reload, Values};
use super::problem_list::ProblemList;
use super::proxy::{Proxy, ProxyEnvironment, ProxySetting};
use super::secret::ReadSecret;
use super::toml_text::toml_text;
use crate::address::Origin;

/// The name of the table.
pub(super) const CLIENT_TABLE: &str = "client";

/// The names of its keys.
pub(super) const CLIENT_KEYS: [&str; 4] = ["ca_file", "certificate", "key", "proxy"];

/// The key of a plugin's table that switches the verification of certificates off. It is not one of `[client]` and of sinks: their
/// requests have credentials and samples in them, which are for the right peer only.
const INSECURE_KEY: &str = "insecure";

/// How the agent connects to a peer as its client. Of `[client]`, it has neither authorization nor headers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientSettings {
    /// The authorities that it trusts, and the certificate that it shows.
    pub tls: ClientTls,
    /// The key `proxy`.
    pub proxy: ProxySetting,
    /// The environment's proxies.
    pub environment: Arc<ProxyEnvironment>,
    /// How it shows who it is.
    pub authorization: Option<Authorization>,
    /// Further headers of every request. Those that seem to be secrets are marked as sensitive.
    pub headers: HeaderMap,
}

/// How a client shows who it is. `Debug` hides the secrets.
#[derive(Debug, Clone, PartialEq)]
pub enum Authorization {
    /// A bearer token.
    Bearer {
        /// The value of `token_file`.
        token_file: String,
        /// The header `Authorization`.
        header: HeaderValue,
    },
    /// A user and a password.
    Basic {
        /// The value of `username`.
        username: String,
        /// The value of `password_file`.
        password_file: String,
        /// The header `Authorization`.
        header: HeaderValue,
    },
}

impl Authorization {
    /// The header `Authorization`.
    pub(crate) fn header(&self) -> &HeaderValue {
        match self {
            Self::Bearer { header, .. } | Self::Basic { header, .. } => header,
        }
    }
}

impl ClientSettings {
    /// The proxy for requests to an origin.
    ///
    /// # Errors
    ///
    /// When the environment variable that names it is no use: why, and the remedy.
    pub(crate) fn proxy_for(&self, origin: &Origin) -> Result<Option<&Proxy>, &str> {
        self.environment.select(&self.proxy, origin)
    }

    /// These settings, and where one is not written, that of other ones.
    pub(super) fn or(self, other: &Self) -> Self {
        let proxy = if self.proxy == ProxySetting::Environment { other.proxy.clone() } else { self.proxy };
        Self { tls: self.tls.or(&other.tls), proxy, ..self }
    }

    /// Whether the value of a key is that of other settings.
    pub(super) fn inherits(&self, name: &str, other: &Self) -> bool {
        match name {
            "ca_file" => self.tls.has_same_ca(&other.tls),
            "certificate" | "key" => self.tls.has_same_identity(&other.tls),
            _ => self.proxy == other.proxy,
        }
    }

    /// Parses the table, which has these keys.
    pub(super) fn parse(
        problems: &mut ProblemList<'_>,
        key_span: Range<usize>,
        value: Spanned<DeValue<'_>>,
        read_secret: &ReadSecret<'_>,
        known_keys: &str,
    ) -> Self {
        let mut keys = ClientKeys::default();
        for (name, value) in problems.table(CLIENT_TABLE, value).unwrap_or_default() {
            let key = format!("{CLIENT_TABLE}.{}", name.get_ref());
            if keys.parse(problems, name.get_ref(), &key, value, read_secret).is_some() {
                problems.unknown(name.span(), &key, known_keys);
            }
        }
        keys.finish(problems, CLIENT_TABLE, key_span)
    }

    /// Parses the table `client` of a plugin, whose own table is called so. It has these keys.
    pub(super) fn parse_of_plugin(
        problems: &mut ProblemList<'_>,
        plugin_table: &str,
        key_span: Range<usize>,
        value: Spanned<DeValue<'_>>,
        read_secret: &ReadSecret<'_>,
        known_keys: &str,
    ) -> Self {
        let table = format!("{plugin_table}.{CLIENT_TABLE}");
        let (mut keys, mut insecure) = (ClientKeys::default(), None);
        for (name, value) in problems.table(&table, value).unwrap_or_default() {
            let key = format!("{table}.{}", name.get_ref());
            if name.get_ref() == INSECURE_KEY {
                insecure = problems.switch(&key, value, false).then(|| name.span());
            } else if keys.parse(problems, name.get_ref(), &key, value, read_secret).is_some() {
                problems.unknown(name.span(), &key, known_keys);
            }
        }
        let mut settings = keys.finish(problems, &table, key_span);
        if let (Some(span), Some(ca)) = (&insecure, &settings.tls.ca) {
            let message =
                format!("trusts everybody, also without the authorities in {:?}; remove ca_file, or this", ca.file);
            problems.add(span.clone(), &format!("{table}.{INSECURE_KEY}"), message);
        }
        settings.tls.is_insecure = insecure.is_some();
        settings
    }

    /// The value of a key of a plugin's table in TOML, where it is its own; `inherited` are the settings of `[client]`.
    pub(super) fn own_value(&self, name: &str, inherited: &Self) -> Option<String> {
        if name == INSECURE_KEY {
            return Some(self.tls.is_insecure.to_string());
        }
        self.written_value(name).filter(|_| !self.inherits(name, inherited)).map(|value| toml_text(&value))
    }

    /// The value of a key of `[client]` as it is written; none if it is not.
    pub(super) fn written_value(&self, name: &str) -> Option<String> {
        match name {
            "ca_file" => self.tls.ca.as_ref().map(|ca| ca.file.clone()),
            "certificate" => self.tls.identity.as_ref().map(|identity| identity.certificate.clone()),
            "key" => self.tls.identity.as_ref().map(|identity| identity.key.clone()),
            "proxy" => self.proxy.written(),
            _ => None,
        }
    }
}

/// The keys of `[client]`, and those of the same names of a sink, as far as they are read.
#[derive(Default)]
pub(super) struct ClientKeys {
    tls: ClientTlsKeys,
    proxy: ProxySetting,
}

impl ClientKeys {
    /// Reads the value of a key, or returns that of another one.
    pub(super) fn parse<'v>(
        &mut self,
        problems: &mut ProblemList<'_>,
        name: &str,
        key: &str,
        value: Spanned<DeValue<'v>>,
        read_secret: &ReadSecret<'_>,
    ) -> Option<Spanned<DeValue<'v>>> {
        if name == "proxy" {
            self.proxy = problems.parsed(key, value, ProxySetting::parse).unwrap_or_default();
            return None;
        }
        self.tls.parse(problems, name, key, value, read_secret)
    }

    /// The settings of the table with this name and place.
    pub(super) fn finish(self, problems: &mut ProblemList<'_>, table: &str, span: Range<usize>) -> ClientSettings {
        ClientSettings { tls: self.tls.finish(problems, table, span), proxy: self.proxy, ..ClientSettings::default() }
    }
}

/// The rows of these keys in the table of all keys.
pub(super) fn keys() -> Vec<Key> {
    client_keys(CLIENT_TABLE, "the system's", "none", "the environment's")
}

/// The rows of the table of a plugin.
pub(super) fn plugin_keys() -> Vec<Key> {
    let inherited = "that of the table `client`";
    let mut keys = client_keys(PLUGIN_CLIENT_TABLE, inherited, inherited, inherited);
    keys.push(Key {
        table: PLUGIN_CLIENT_TABLE,
        name: INSECURE_KEY,
        values: Values::Switch,
        default: DefaultValue::Switch(false),
        meaning: "accept any certificate of a server, also an expired one or one for another name: whoever is on the way reads and \
                  writes along",
        reload: Reload::Applied,
    });
    keys
}

/// The rows of a table with these keys. `ca`, `identity` and `proxy` are their defaults.
pub(super) fn client_keys(
    table: &'static str,
    ca: &'static str,
    identity: &'static str,
    proxy: &'static str,
) -> Vec<Key> {
    let key = |name, values, how, example, meaning| Key {
        table,
        name,
        values,
        default: DefaultValue::Depends { how, example },
        meaning,
        reload: Reload::Applied,
    };
    vec![
        key(
            "ca_file",
            Values::Text("an absolute path"),
            ca,
            "\"/etc/gauged/ca.pem\"",
            "authorities in PEM that are trusted in place of the system's",
        ),
        key(
            "certificate",
            Values::Text("an absolute path"),
            identity,
            "\"/etc/gauged/client.pem\"",
            "certificate in PEM that a peer gets that asks for one, followed by those that lead to its authority",
        ),
        key(
            "key",
            Values::Text("an absolute path, or the name of a credential"),
            identity,
            "\"/etc/gauged/client.key\"",
            "its private key in PEM",
        ),
        key(
            "proxy",
            Values::Text("`http://HOST:PORT`, `none`"),
            proxy,
            "\"http://proxy.example.org:3128\"",
            "[HTTP proxy](#proxies); `none` switches off the default",
        ),
    ]
}
