//! Reads the keys of a network sink, and checks them as a whole: which receiver, which credentials, and what does not go together.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use toml::Spanned;
use toml::de::DeValue;

use super::super::client::{Authorization, CLIENT_KEYS, ClientKeys, ClientSettings};
use super::super::duration::parse_duration;
use super::super::problem_list::ProblemList;
use super::super::proxy::{ProxySetting, basic};
use super::super::secret::{ReadSecret, Secret};
use super::super::sensitive::is_sensitive;
use super::super::size::parse_size;
use super::super::word::word;
use super::rows::{
    DEFAULT_SPOOL_AGE, DEFAULT_SPOOL_BYTES, DEFAULT_TIMEOUT, HTTP_KEYS, MAX_ENDPOINTS, MAX_HEADER_BYTES, MAX_HEADERS,
    MAX_SPOOL_AGE, MAX_SPOOL_BYTES, MAX_TEXT_BYTES, MAX_TIMEOUT, MIN_SPOOL_AGE, MIN_SPOOL_BYTES, MIN_TIMEOUT,
    NAMING_NAMES, default_naming,
};
use super::{FalconReceiver, NetworkSettings, ProtocolSettings};
use crate::address::{Endpoint, HttpUrl, Scheme};
use crate::naming::Naming;

/// Headers of the connection, of the body and of the credentials, which the agent sets.
const RESERVED_HEADERS: [&str; 19] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "http2-settings",
    "x-prometheus-remote-write-version",
];

/// A key that is written. One without a value is wrong, which is among the problems.
struct Written<T> {
    span: Range<usize>,
    value: Option<T>,
}

/// The keys of one table, as far as they are read.
#[derive(Default)]
pub(in super::super) struct NetworkKeys {
    url: Option<Written<HttpUrl>>,
    naming: Option<Naming>,
    timeout: Option<std::time::Duration>,
    token: Option<Written<(String, HeaderValue)>>,
    username: Option<Written<String>>,
    password: Option<Written<(String, Secret)>>,
    headers: HeaderMap,
    client: ClientKeys,
    spool_bytes: Option<u64>,
    spool_age: Option<std::time::Duration>,
    job: Option<String>,
    instance: Option<String>,
    transfers: Option<Written<Vec<Endpoint>>>,
    heartbeat: Vec<Endpoint>,
    /// The places of the keys that have a meaning with HTTP only, or with TLS.
    places: Vec<(&'static str, Range<usize>)>,
}

impl NetworkKeys {
    /// Reads the value of a key, or returns that of another one. `at` is the place of the key.
    pub(in super::super) fn parse<'v>(
        &mut self,
        problems: &mut ProblemList<'_>,
        name: &str,
        key: &str,
        at: &Range<usize>,
        value: Spanned<DeValue<'v>>,
        read_secret: &ReadSecret<'_>,
    ) -> Option<Spanned<DeValue<'v>>> {
        let span = value.span();
        let special = HTTP_KEYS.iter().chain(&CLIENT_KEYS).find(|known| **known == name);
        self.places.extend(special.map(|name| (*name, at.clone())));
        match name {
            "url" => self.url = Some(Written { span, value: problems.parsed(key, value, parse_url) }),
            "naming" => {
                self.naming = problems.parsed(key, value, |text| word(text, NAMING_NAMES)).map(naming);
            }
            "timeout" => {
                let bounded = |text: &str| parse_duration(text, MIN_TIMEOUT, MAX_TIMEOUT);
                self.timeout = problems.parsed(key, value, bounded);
            }
            "token_file" => {
                let value = secret(problems, key, value, read_secret, |token| {
                    let header = HeaderValue::try_from(format!("Bearer {}", token.expose()));
                    let mut header = header.map_err(|_| UNUSABLE_TOKEN)?;
                    header.set_sensitive(true);
                    Ok(header)
                });
                self.token = Some(Written { span, value });
            }
            "username" => self.username = Some(Written { span, value: problems.parsed(key, value, parse_username) }),
            "password_file" => {
                let value = secret(problems, key, value, read_secret, |password| Ok(password.clone()));
                self.password = Some(Written { span, value });
            }
            "headers" => self.headers = parse_headers(problems, key, value),
            "spool_size" => {
                let bounded = |text: &str| parse_size(text, MIN_SPOOL_BYTES, MAX_SPOOL_BYTES);
                self.spool_bytes = problems.parsed(key, value, bounded);
            }
            "spool_age" => {
                let bounded = |text: &str| parse_duration(text, MIN_SPOOL_AGE, MAX_SPOOL_AGE);
                self.spool_age = problems.parsed(key, value, bounded);
            }
            "job" => self.job = problems.parsed(key, value, parse_label),
            "instance" => self.instance = problems.parsed(key, value, parse_label),
            "transfers" => {
                let count = problems.count();
                let endpoints = parse_endpoints(problems, key, value);
                if endpoints.is_empty() && problems.count() == count {
                    let message = "is empty; write transfers = [\"10.0.0.1:8433\"], or a url in its place";
                    problems.add(span.clone(), key, message.to_owned());
                }
                self.transfers = Some(Written { span, value: Some(endpoints).filter(|list| !list.is_empty()) });
            }
            "heartbeat" => self.heartbeat = parse_endpoints(problems, key, value),
            _ => return self.client.parse(problems, name, key, value, read_secret),
        }
        None
    }

    /// The settings of the table with this name and place, of a sink of this kind. `inherited` are those of `[client]`. None if they are
    /// no use; the reasons are among the problems.
    pub(in super::super) fn finish(
        mut self,
        problems: &mut ProblemList<'_>,
        kind: &str,
        table: &str,
        span: Range<usize>,
        inherited: &ClientSettings,
    ) -> Option<NetworkSettings> {
        let authorization = self.authorization(problems, table);
        let own = std::mem::take(&mut self.client).finish(problems, table, span.clone()).or(inherited);
        self.check_receiver(problems, kind, table, &span, &own.proxy);
        let connection = ClientSettings { authorization, headers: self.headers, ..own };
        let url = self.url.and_then(|url| url.value);
        let protocol = match kind {
            "open_falcon" => {
                let receiver = match (url, self.transfers.and_then(|transfers| transfers.value)) {
                    (Some(url), _) => FalconReceiver::Push(url),
                    (None, transfers) => FalconReceiver::Transfers(transfers?),
                };
                ProtocolSettings::OpenFalcon { receiver, heartbeat: self.heartbeat }
            }
            "otlp" => ProtocolSettings::Otlp { url: url? },
            "influx" => ProtocolSettings::Influx { url: url? },
            _ => ProtocolSettings::RemoteWrite { url: url?, job: self.job, instance: self.instance },
        };
        Some(NetworkSettings {
            naming: self.naming.unwrap_or_else(|| default_naming(kind)),
            timeout: self.timeout.unwrap_or(DEFAULT_TIMEOUT),
            connection: Arc::new(connection),
            spool_bytes: self.spool_bytes.unwrap_or(DEFAULT_SPOOL_BYTES),
            spool_age: self.spool_age.unwrap_or(DEFAULT_SPOOL_AGE),
            protocol,
        })
    }

    /// The credentials: a token, or a user with a password.
    fn authorization(&mut self, problems: &mut ProblemList<'_>, table: &str) -> Option<Authorization> {
        let (token, username, password) = (self.token.take(), self.username.take(), self.password.take());
        match (token, username, password) {
            (Some(token), None, None) => {
                token.value.map(|(token_file, header)| Authorization::Bearer { token_file, header })
            }
            (Some(_), Some(Written { span, .. }), _) => {
                let message = "is beside token_file; a request has one of the two: remove the other";
                problems.add(span, &format!("{table}.username"), message.to_owned());
                None
            }
            (Some(_), None, Some(Written { span, .. })) => {
                let message = "is beside token_file; a request has one of the two: remove the other";
                problems.add(span, &format!("{table}.password_file"), message.to_owned());
                None
            }
            (None, Some(username), Some(password)) => {
                let (username, (password_file, password)) = (username.value?, password.value?);
                let header = basic(&username, password.expose());
                Some(Authorization::Basic { username, password_file, header })
            }
            (None, Some(Written { span, .. }), None) => {
                let message = "is without a password; write password_file, too, or remove it";
                problems.add(span, &format!("{table}.username"), message.to_owned());
                None
            }
            (None, None, Some(Written { span, .. })) => {
                let message = "is without a user; write username, too, or remove it";
                problems.add(span, &format!("{table}.password_file"), message.to_owned());
                None
            }
            (None, None, None) => None,
        }
    }

    /// Checks that there is one receiver, and no key that has no effect on it.
    fn check_receiver(
        &self,
        problems: &mut ProblemList<'_>,
        kind: &str,
        table: &str,
        span: &Range<usize>,
        proxy: &ProxySetting,
    ) {
        let is_falcon = kind == "open_falcon";
        let has_tls_proxy = matches!(proxy, ProxySetting::Proxy(proxy) if proxy.origin.scheme == Scheme::Https);
        match (&self.url, &self.transfers) {
            (None, None) if is_falcon => {
                let message = "has no receiver; write transfers = [\"10.0.0.1:8433\"], or url = \
                               \"http://nightingale:17000/openfalcon/push\"";
                problems.add(span.clone(), table, message.to_owned());
            }
            (None, _) if !is_falcon => {
                let example = match kind {
                    "otlp" => "http://127.0.0.1:4318/v1/metrics",
                    "influx" => "http://127.0.0.1:8086/write?db=gauged",
                    _ => "http://127.0.0.1:8428/api/v1/write",
                };
                let message = format!("is missing; add url = {example:?}");
                problems.add(span.clone(), &format!("{table}.url"), message);
            }
            (Some(_), Some(Written { span, .. })) if is_falcon => {
                let message = "is beside url; samples go to one of the two: remove the other";
                problems.add(span.clone(), &format!("{table}.transfers"), message.to_owned());
            }
            _ => {}
        }
        for (name, at) in &self.places {
            let useless = if is_falcon && self.url.is_none() && self.transfers.is_some() {
                "is for HTTP, which transfers do not speak; remove it"
            } else if *name != "proxy"
                && !has_tls_proxy
                && CLIENT_KEYS.contains(name)
                && self
                    .url
                    .as_ref()
                    .and_then(|url| url.value.as_ref())
                    .is_some_and(|url| url.origin.scheme == Scheme::Http)
            {
                "is for TLS, and url begins with http://; write https:// there, or remove the key"
            } else {
                continue;
            };
            problems.add(at.clone(), &format!("{table}.{name}"), useless.to_owned());
        }
    }
}

/// Why a bearer token is no use.
const UNUSABLE_TOKEN: &str =
    "names a file whose token has characters that a header cannot carry; write the token as one line into it";

/// Reads the file that a key names, and checks its text. Returns the file's name, too.
fn secret<T>(
    problems: &mut ProblemList<'_>,
    key: &str,
    value: Spanned<DeValue<'_>>,
    read_secret: &ReadSecret<'_>,
    check: impl FnOnce(&Secret) -> Result<T, &'static str>,
) -> Option<(String, T)> {
    let span = value.span();
    let file = problems.value::<String>(key, value, "a text in quotes: the name of a file")?;
    let checked = read_secret(&file).and_then(|secret| check(&secret).map_err(str::to_owned));
    checked.map(|checked| (file, checked)).map_err(|why| problems.add(span, key, why)).ok()
}

/// The naming with one of these names.
fn naming(name: &str) -> Naming {
    match name {
        "node_exporter" => Naming::NodeExporter,
        "otel" => Naming::Otel,
        "open_falcon" => Naming::OpenFalcon,
        _ => Naming::Gauged,
    }
}

/// A receiver's URL. The error does not show it: it may have a password.
fn parse_url(text: &str) -> Result<HttpUrl, String> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    if authority.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err("has a user before the host; write username and password_file in its place".to_owned());
    }
    HttpUrl::parse(text).map_err(|why| format!("{why}; write a URL like http://127.0.0.1:8428/api/v1/write"))
}

fn parse_username(text: &str) -> Result<String, String> {
    if text.is_empty()
        || text.len() > MAX_TEXT_BYTES
        || text.contains(|character: char| character == ':' || character.is_control())
    {
        return Err(format!(
            "{text:?} is not a user's name; write 1 to {MAX_TEXT_BYTES} bytes without colons and control characters"
        ));
    }
    Ok(text.to_owned())
}

/// The value of a label.
fn parse_label(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        return Err(format!("{text:?} is not a label's value; write 1 to {MAX_TEXT_BYTES} bytes, or remove the key"));
    }
    Ok(text.to_owned())
}

fn parse_endpoints(problems: &mut ProblemList<'_>, key: &str, value: Spanned<DeValue<'_>>) -> Vec<Endpoint> {
    let span = value.span();
    let endpoints = problems.parsed_list(key, value, |text| Endpoint::parse(text, None));
    if endpoints.len() > MAX_ENDPOINTS {
        problems.add(span.clone(), key, format!("has more than {MAX_ENDPOINTS} addresses; leave some out"));
    }
    let twice = endpoints.iter().enumerate().find(|(at, endpoint)| endpoints[..*at].contains(endpoint));
    if let Some((_, endpoint)) = twice {
        problems.add(span, key, format!("has {endpoint} twice; remove one of the two"));
    }
    endpoints
}

/// Further headers of every request.
fn parse_headers(problems: &mut ProblemList<'_>, table_key: &str, value: Spanned<DeValue<'_>>) -> HeaderMap {
    let (span, mut headers, mut bytes) = (value.span(), HeaderMap::new(), 0);
    for (name, value) in problems.table(table_key, value).unwrap_or_default() {
        let (at, key) = (name.span(), format!("{table_key}.{}", name.get_ref()));
        let header = match HeaderName::from_bytes(name.get_ref().as_bytes()) {
            Ok(header) if RESERVED_HEADERS.contains(&header.as_str()) => {
                let remedy = match header.as_str() {
                    "authorization" => "write token_file, or username and password_file, in its place",
                    "proxy-authorization" => "write user and password into the URL of proxy",
                    _ => "remove it",
                };
                problems.add(at, &key, format!("is a header that the agent sets; {remedy}"));
                continue;
            }
            Ok(header) if headers.contains_key(&header) => {
                problems.add(at, &key, "is given twice, in other letters; remove one of the two".to_owned());
                continue;
            }
            Ok(header) => header,
            Err(_) => {
                let message = "is not a header's name; use letters, digits and -, as in X-Scope-OrgID";
                problems.add(at, &key, message.to_owned());
                continue;
            }
        };
        let parse = |text: &str| {
            let invalid = |_| "has characters that a header cannot carry; write letters, digits and signs".to_owned();
            HeaderValue::from_str(text).map_err(invalid)
        };
        if let Some(mut value) = problems.parsed(&key, value, parse) {
            bytes += header.as_str().len() + value.len();
            value.set_sensitive(is_sensitive(name.get_ref()));
            headers.insert(header, value);
        }
    }
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let message = format!("has more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes; leave some out");
        problems.add(span, table_key, message);
    }
    headers
}
