//! The pages of web servers in a script, and what a plugin learns of a request besides the response: the times of its phases, the address
//! of the server, and its certificate. They are those of the script and no measurements, so that samples are the same at each test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

use crate::address::{Endpoint, Host, Origin, Scheme};

/// The duration of each phase that the script does not give.
const PHASE: Duration = Duration::from_millis(1);

/// When the certificates of scripts begin to be valid, and when they expire: a year around the first run.
const VALIDITY: [&str; 2] = ["2026-03-01T00:00:00Z", "2027-03-01T00:00:00Z"];

/// The address of servers with a name: one that belongs to nobody (RFC 5737).
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The response of a web server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum ScriptedResponse {
    Failure(ServerFailure),
    Response(Box<Response>),
}

/// A response with a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Response {
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: String,
    times: Option<WrittenTimes>,
    /// The address that responds.
    remote: Option<String>,
    tls: Option<WrittenTls>,
}

fn ok() -> u16 {
    200
}

/// The failure of a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerFailure {
    pub(crate) error: ServerError,
}

/// How a server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerError {
    /// Nothing listens there.
    Refused,
    /// Its name cannot be resolved.
    Resolve,
    /// It accepts the connection, and never responds.
    Timeout,
    /// It closes the connection instead of responding.
    Closed,
}

/// The durations of the phases as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTimes {
    resolve: Option<String>,
    connect: Option<String>,
    tls: Option<String>,
    first_byte: Option<String>,
    total: Option<String>,
}

/// The encryption as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTls {
    version: Option<String>,
    subject: Option<String>,
    issuer: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
}

/// What is written about a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written<'a> {
    times: Option<&'a WrittenTimes>,
    remote: Option<&'a str>,
    tls: Option<&'a WrittenTls>,
}

impl ScriptedResponse {
    /// What is written about requests for it.
    pub(super) fn written(&self) -> Written<'_> {
        match self {
            Self::Response(response) => {
                let Response { times, remote, tls, .. } = &**response;
                Written { times: times.as_ref(), remote: remote.as_deref(), tls: tls.as_ref() }
            }
            Self::Failure(_) => Written::default(),
        }
    }
}

/// The facts about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptedFacts {
    pub(crate) resolve: Option<Duration>,
    pub(crate) connect: Duration,
    /// None without TLS.
    pub(crate) handshake: Option<Duration>,
    pub(crate) first_byte: Duration,
    pub(crate) total: Duration,
    /// The address of the server.
    pub(crate) remote: String,
    pub(crate) tls: Option<ScriptedSession>,
}

/// The encryption of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptedSession {
    pub(crate) version: String,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// Since the Unix epoch.
    pub(crate) not_before: Duration,
    pub(crate) not_after: Duration,
}

impl ScriptedFacts {
    /// The facts about a request to a server, by `unix_socket` where there is one.
    ///
    /// # Errors
    ///
    /// The reason, as the end of a sentence that begins with the URL.
    pub(crate) fn new(origin: &Origin, unix_socket: Option<&str>, written: Written<'_>) -> Result<Self, String> {
        let is_encrypted = origin.scheme == Scheme::Https;
        let times = written.times.cloned().unwrap_or_default();
        if times.tls.is_some() && !is_encrypted {
            return Err("has a time for TLS; begin it with https://".to_owned());
        }
        if times.resolve.is_some() && unix_socket.is_some() {
            return Err("has a time to resolve a name, which a unix socket does not need; remove it".to_owned());
        }
        let span = |text: &Option<String>| text.as_deref().map(parse_span).transpose();
        let [resolve, connect, handshake, first_byte, total] = [
            span(&times.resolve)?,
            span(&times.connect)?,
            span(&times.tls)?,
            span(&times.first_byte)?,
            span(&times.total)?,
        ];
        let (connect, first_byte) = (connect.unwrap_or(PHASE), first_byte.unwrap_or(PHASE));
        let handshake = is_encrypted.then(|| handshake.unwrap_or(PHASE));
        let phases = [resolve, Some(connect), handshake, Some(first_byte)].into_iter().flatten();
        let phases = phases.fold(Duration::ZERO, Duration::saturating_add);
        let total = total.unwrap_or_else(|| phases.saturating_add(PHASE));
        if total < phases {
            return Err("has a total that is less than its phases together; raise it".to_owned());
        }
        let remote = remote(&origin.endpoint, unix_socket, written.remote)?;
        if written.tls.is_some() && !is_encrypted {
            return Err("has a certificate; begin it with https://".to_owned());
        }
        let host = &origin.endpoint.host;
        let tls =
            is_encrypted.then(|| ScriptedSession::new(host, written.tls.cloned().unwrap_or_default())).transpose()?;
        Ok(Self { resolve, connect, handshake, first_byte, total, remote, tls })
    }
}

/// The address that is connected to.
fn remote(endpoint: &Endpoint, unix_socket: Option<&str>, written: Option<&str>) -> Result<String, String> {
    match (unix_socket, written) {
        (Some(_), Some(_)) => Err("has an address besides its unix socket; remove remote".to_owned()),
        (Some(socket), None) => Ok(socket.to_owned()),
        (None, Some(text)) => match text.parse::<SocketAddr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err(format!("has {text:?} as the remote address; write it like 192.0.2.7:443")),
        },
        (None, None) => Ok(match endpoint.host {
            Host::Ip(address) => SocketAddr::from((address, endpoint.port)),
            Host::Name(_) => SocketAddr::from((ADDRESS, endpoint.port)),
        }
        .to_string()),
    }
}

impl ScriptedSession {
    fn new(host: &Host, written: WrittenTls) -> Result<Self, String> {
        let WrittenTls { version, subject, issuer, not_before, not_after } = written;
        let version = version.unwrap_or_else(|| "1.3".to_owned());
        if !matches!(&*version, "1.2" | "1.3") {
            return Err(format!("has {version:?} as the version of TLS; write \"1.2\" or \"1.3\""));
        }
        let [begin, end] = VALIDITY;
        Ok(Self {
            version,
            subject: subject.unwrap_or_else(|| format!("CN={host}")),
            issuer: issuer.unwrap_or_else(|| "CN=Script CA".to_owned()),
            not_before: parse_moment(not_before.as_deref().unwrap_or(begin))?,
            not_after: parse_moment(not_after.as_deref().unwrap_or(end))?,
        })
    }
}

/// A duration.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration, as 10s is"))
}

/// A moment since the Unix epoch.
fn parse_moment(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_rfc3339(text).ok().and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    parsed.ok_or_else(|| format!("{text:?} is not a moment, as 2027-01-31T12:00:00Z is"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Script;
    use super::*;

    fn parse(pages: &str) -> Result<Script, String> {
        Script::parse(&format!("[[run]]\n{pages}"), Path::new("/scripts"))
    }

    #[test]
    fn facts_have_defaults_and_written_values() {
        let script = parse(
            r#"
            [run.http."http://Web/status?a"]
            [run.http."https://web/"]
            times = { resolve = "2ms", tls = "30ms", total = "1s" }
            remote = "[2001:db8::7]:443"
            tls = { issuer = "CN=Own", not_after = "2026-09-20T00:00:00Z" }
            [run.http."unix:/run/app.sock http://app/status"]
            "#,
        )
        .expect("valid");
        let facts = |server: &str, path: &str| script.runs[0].facts[&(server.to_owned(), path.to_owned())].clone();
        let millis = Duration::from_millis;
        let plain = facts("web:80", "/status?a");
        assert_eq!((plain.resolve, plain.connect, plain.handshake, plain.total), (None, millis(1), None, millis(3)));
        assert_eq!((&*plain.remote, plain.tls), ("192.0.2.1:80", None));
        assert_eq!(facts("unix:/run/app.sock", "/status").remote, "unix:/run/app.sock");
        let encrypted = facts("web:443", "/");
        assert_eq!((encrypted.resolve, encrypted.handshake), (Some(millis(2)), Some(millis(30))));
        assert_eq!((encrypted.total, &*encrypted.remote), (Duration::from_secs(1), "[2001:db8::7]:443"));
        let tls = encrypted.tls.expect("a certificate");
        assert_eq!([tls.version, tls.subject, tls.issuer], ["1.3", "CN=web", "CN=Own"]);
        assert_eq!((tls.not_before.as_secs(), tls.not_after.as_secs()), (1_772_323_200, 1_789_862_400));
    }

    #[test]
    fn impossible_facts_are_refused() {
        for (page, expected) in [
            (r#""http://a/" = { tls = {} }"#, "has a certificate; begin it with https://"),
            (r#""http://a/" = { times = { tls = "1s" } }"#, "has a time for TLS"),
            (r#""http://a/" = { times = { total = "1ms" } }"#, "less than its phases together"),
            (r#""http://a/" = { times = { total = "soon" } }"#, "\"soon\" is not a duration"),
            (r#""http://a/" = { remote = "a:1" }"#, "has \"a:1\" as the remote address"),
            (r#""https://a/" = { tls = { version = "1.1" } }"#, "has \"1.1\" as the version of TLS"),
            (r#""https://a/" = { tls = { not_after = "x" } }"#, "\"x\" is not a moment"),
            (r#""unix:/s http://a/" = { remote = "1.2.3.4:1" }"#, "besides its unix socket"),
            (r#""unix:/s http://a/" = { times = { resolve = "1s" } }"#, "which a unix socket does not need"),
            (r#""unix:s http://a/" = {}"#, "\"unix:s\" is not absolute"),
            (r#""https://a/" = {}, "http://a:443/" = {}"#, "is the same page as another one"),
        ] {
            let error = parse(&format!("http = {{ {page} }}")).expect_err(page);
            assert!(error.contains(expected), "{page}: {error}");
        }
    }
}
