//! The table `[http]`: where the HTTP server listens, and who may ask it. Without the table there is no server.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::key::{DefaultValue, Key, PATTERNS, Reload, Values};
use super::listen_address::{ListenAddress, resolve};
use super::problem_list::ProblemList;
use super::secret::{ReadSecret, Secret};
use super::sink::{MAX_SINK_SERIES, parse_max_series};
use super::tls::{ServerTls, TlsFiles};
use crate::address::Host;
use crate::naming::Naming;
use crate::selection::{Selection, SeriesPattern};

/// The name of the table.
pub(super) const HTTP_TABLE: &str = "http";

/// How many addresses there may be: each has a socket.
const MAX_ADDRESSES: usize = 32;

/// How many further host names there may be: each request is compared with all.
const MAX_HOSTS: usize = 64;

/// The shortest bearer token, in bytes: one that nobody guesses over the network.
const MIN_TOKEN_BYTES: usize = 16;

/// The configuration of the HTTP server.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConfig {
    /// The addresses, each once; at least one.
    pub listen: Vec<ListenAddress>,
    /// The names of the series at `/metrics`.
    pub naming: Naming,
    /// Its own selection of series, within the agent's.
    pub selection: Selection,
    /// How many series there are at `/metrics`; none for all.
    pub max_series: Option<usize>,
    /// Names, in lower case, by which the server may be asked besides its own; `*.` before a domain is every name in it.
    pub hosts: Vec<String>,
    /// The bearer token that a request over TCP has to carry.
    pub token: Option<TokenFile>,
    /// TLS for connections over TCP.
    pub tls: Option<ServerTls>,
    /// Whether local programs may push points.
    pub push: bool,
}

/// A bearer token, and the file that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenFile {
    /// The value of `token_file`.
    pub file: String,
    /// The token.
    pub token: Secret,
}

#[cfg(test)]
impl TokenFile {
    /// The token of a test.
    pub(crate) fn test() -> Self {
        Self { file: "/token".to_owned(), token: Secret::new("0123456789abcdef") }
    }
}

impl HttpConfig {
    /// Whether a request over TCP has to prove who asks.
    pub(crate) fn has_authentication(&self) -> bool {
        self.token.is_some() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// A server at these addresses, without any other setting.
    pub(crate) fn at(listen: Vec<ListenAddress>) -> Self {
        Self {
            listen,
            naming: Naming::Gauged,
            selection: Selection::default(),
            max_series: None,
            hosts: Vec::new(),
            token: None,
            tls: None,
            push: false,
        }
    }

    /// Parses the table, which has these keys. None without a valid address.
    pub(super) fn parse(
        problems: &mut ProblemList<'_>,
        key_span: Range<usize>,
        value: Spanned<DeValue<'_>>,
        read_secret: &ReadSecret<'_>,
        known_keys: &str,
    ) -> Option<Self> {
        let table = problems.table(HTTP_TABLE, value)?;
        let (mut listen, mut files) = (None, TlsFiles::default());
        let mut http = Self::at(Vec::new());
        for (name, value) in table {
            let (key, span) = (format!("{HTTP_TABLE}.{}", name.get_ref()), name.span());
            match &**name.get_ref() {
                "listen" => {
                    let count = problems.count();
                    let parsed = problems.parsed_list(&key, value, ListenAddress::parse);
                    // With an error of its own it is not missing.
                    listen = Some((span, parsed, problems.count() == count));
                }
                "naming" => http.naming = problems.parsed(&key, value, parse_naming).unwrap_or(http.naming),
                "include" => http.selection.include = problems.parsed_list(&key, value, SeriesPattern::parse),
                "exclude" => http.selection.exclude = problems.parsed_list(&key, value, SeriesPattern::parse),
                "max_series" => http.max_series = problems.parsed(&key, value, parse_max_series),
                "hosts" => {
                    http.hosts = problems.parsed_list(&key, value, parse_host);
                    if http.hosts.len() > MAX_HOSTS {
                        problems.add(span, &key, format!("has more than {MAX_HOSTS} names; leave some out"));
                    }
                }
                "token_file" => http.token = token(problems, &key, value, read_secret),
                "tls_certificate" => files.certificate = files.read_certificates(problems, &key, value),
                "tls_key" => files.key = files.read_key(problems, &key, value, read_secret),
                "tls_client_ca" => files.client_ca = files.read_certificates(problems, &key, value),
                "push" => http.push = problems.switch(&key, value, false),
                _ => problems.unknown(span, &key, known_keys),
            }
        }
        http.tls = files.combine(problems, &key_span);
        match listen {
            None => {
                let message = "has no listen; write listen = [\"127.0.0.1:9101\"], or remove the table";
                problems.add(key_span, HTTP_TABLE, message.to_owned());
            }
            Some((span, addresses, is_valid)) => {
                let key = format!("{HTTP_TABLE}.listen");
                if addresses.is_empty() && is_valid {
                    let message = "is empty; write listen = [\"127.0.0.1:9101\"], or remove the table";
                    problems.add(span.clone(), &key, message.to_owned());
                }
                if addresses.len() > MAX_ADDRESSES {
                    let message = format!("has more than {MAX_ADDRESSES} addresses; leave some out");
                    problems.add(span.clone(), &key, message);
                }
                let (addresses, errors) = resolve(addresses);
                http.listen = addresses;
                for error in errors {
                    problems.add(span.clone(), &key, error);
                }
            }
        }
        (!http.listen.is_empty()).then_some(http)
    }
}

/// The rows of these keys in the table of all keys.
pub(super) fn keys() -> Vec<Key> {
    let key = |name, values, default, meaning| Key {
        table: HTTP_TABLE,
        name,
        values,
        default,
        meaning,
        reload: Reload::Applied,
    };
    let none = |example| DefaultValue::Depends { how: "none", example };
    vec![
        key(
            "listen",
            Values::List("list of `ADDRESS:PORT` and `unix:PATH`"),
            DefaultValue::Depends {
                how: "none: it is required",
                example: "[\"127.0.0.1:9101\", \"unix:/run/gauged/http.sock\"]",
            },
            "addresses of the server",
        ),
        key(
            "naming",
            Values::Words(Naming::PROMETHEUS_NAMES),
            DefaultValue::Word(Naming::PROMETHEUS_NAMES[0]),
            "names of the series at `/metrics`; a request may ask for another naming",
        ),
        key(
            "include",
            Values::List(PATTERNS),
            DefaultValue::EmptyList,
            "[series](#series) that the server has, of those that there are in any output; all if it is empty",
        ),
        key("exclude", Values::List(PATTERNS), DefaultValue::EmptyList, "series that the server does not have"),
        key(
            "max_series",
            Values::Count(1, MAX_SINK_SERIES as u64),
            DefaultValue::Depends { how: "all", example: "10000" },
            "how many series it has; those that came first stay, and the number of the others is a metric",
        ),
        key(
            "hosts",
            Values::List("list of host names, and of domains such as `*.example.org`"),
            DefaultValue::EmptyList,
            "names by which it may be asked, besides addresses, `localhost` and the host's own name; `*.` is any name in a domain",
        ),
        key(
            "token_file",
            Values::Text("an absolute path, or the name of a credential"),
            none("\"/etc/gauged/token\""),
            "file with the [bearer token](http.md#security) that requests over TCP have to carry",
        ),
        key(
            "tls_certificate",
            Values::Text("an absolute path"),
            none("\"/etc/gauged/tls.pem\""),
            "certificate of the server in PEM, followed by those that lead to its authority; with it TCP speaks TLS only",
        ),
        key(
            "tls_key",
            Values::Text("an absolute path, or the name of a credential"),
            none("\"/etc/gauged/tls.key\""),
            "its private key in PEM",
        ),
        key(
            "tls_client_ca",
            Values::Text("an absolute path"),
            none("\"/etc/gauged/clients.pem\""),
            "authorities in PEM; a client has to have a certificate of one of them",
        ),
        key(
            "push",
            Values::Switch,
            DefaultValue::Switch(false),
            "take points from local programs at [`/v1/push`](http.md#push)",
        ),
    ]
}

fn parse_naming(text: &str) -> Result<Naming, String> {
    let unknown = || format!("{text:?} is no naming of /metrics; use {}", Naming::PROMETHEUS_NAMES.join(" or "));
    Naming::parse_prometheus(text).ok_or_else(unknown)
}

/// A host name without a port, or a domain after `*.`.
fn parse_host(text: &str) -> Result<String, String> {
    let domain = text.strip_prefix("*.");
    if domain.unwrap_or(text).contains('*') {
        let form = "write the whole name, or *. and a domain, as in *.example.org";
        return Err(format!("has * in another place than before a domain; {form}"));
    }
    match Host::parse(domain.unwrap_or(text))? {
        Host::Name(name) => Ok(if domain.is_some() { format!("*.{name}") } else { name }),
        Host::Ip(_) => Err("is an address, which is accepted anyway; remove it".to_owned()),
    }
}

fn token(
    problems: &mut ProblemList<'_>,
    key: &str,
    value: Spanned<DeValue<'_>>,
    read_secret: &ReadSecret<'_>,
) -> Option<TokenFile> {
    let span = value.span();
    let file = problems.value::<String>(key, value, "a text in quotes: the name of a file")?;
    let read = read_secret(&file).and_then(|token| check_token(&token).map(|()| token));
    match read {
        Ok(token) => Some(TokenFile { file, token }),
        Err(why) => {
            problems.add(span, key, why);
            None
        }
    }
}

/// Whether a header can carry it, and nobody guesses it. More than the `b64token` of RFC 6750 is accepted: passwords have other signs,
/// and scrapers send what is in their file.
fn check_token(token: &Secret) -> Result<(), String> {
    let is_valid = |byte: u8| byte.is_ascii_graphic();
    if !token.expose().bytes().all(is_valid) {
        return Err(
            "names a file whose token has spaces or other characters that a header cannot carry; write one line of \
                    letters, digits and signs into it"
                .to_owned(),
        );
    }
    if token.expose().len() < MIN_TOKEN_BYTES {
        return Err(format!(
            "names a file whose token has less than {MIN_TOKEN_BYTES} bytes; write a longer one, as from openssl rand -hex 32"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::file::{self, Parsed};
    use super::super::piece::Piece;
    use super::*;

    /// The table, and all errors.
    fn parsed(text: &str) -> (Option<HttpConfig>, Vec<String>) {
        let read_secret = |file: &str| match file {
            "/none" => Err("names /none, which cannot be read; write the file, or remove the key".to_owned()),
            token => Ok(Secret::new(token)),
        };
        let Parsed { written, problems, .. } = file::parse(&[Piece::new("gauged.toml", text)], None, &read_secret);
        (written.http, problems.iter().map(ToString::to_string).collect())
    }

    fn valid(text: &str) -> HttpConfig {
        let (http, problems) = parsed(text);
        assert_eq!(problems, [""; 0], "{text}");
        http.expect("a table")
    }

    #[test]
    fn addresses_have_one_spelling() {
        let http = valid(
            "http.listen = [\"127.0.0.1:9101\", \"[::1]:9101\", \"0.0.0.0:80\", \"localhost:1\", \"[::ffff:10.0.0.1]:5\", \"unix:/run/g/s\"]",
        );
        let shown: Vec<String> = http.listen.iter().map(ToString::to_string).collect();
        let expected = ["127.0.0.1:9101", "[::1]:9101", "0.0.0.0:80", "127.0.0.1:1", "10.0.0.1:5", "unix:/run/g/s"];
        assert_eq!(shown, expected);
        let local: Vec<bool> = http.listen.iter().map(ListenAddress::is_local).collect();
        assert_eq!(local, [true, true, false, true, false, true]);
    }

    #[test]
    fn invalid_addresses_have_remedies() {
        for (listen, remedy) in [
            ("[\":9101\"]", "write [::]:9101 for all of IPv6 and IPv4, or 0.0.0.0:9101 for IPv4 only"),
            ("[\"*:9101\"]", "write [::]:9101"),
            ("[\"0.0.0.0:1\", \"127.0.0.1:1\"]", "has 0.0.0.0:1, which is 127.0.0.1:1, too; remove 127.0.0.1:1"),
            ("[\"web-1:9101\"]", "names a host; write an IP address and a port"),
            ("[\"127.0.0.1\"]", "has no port"),
            ("[\"::1:9101\"]", "write an IPv6 address in brackets"),
            ("[\"unix:http.sock\"]", "unix:http.sock"),
            ("[\"127.0.0.1:9101\", \"localhost:9101\"]", "has 127.0.0.1:9101 twice; remove one of the two"),
            ("[]", "is empty; write listen = [\"127.0.0.1:9101\"], or remove the table"),
            ("\"127.0.0.1:9101\"", "a list of texts"),
        ] {
            let (_, problems) = parsed(&format!("[http]\nlisten = {listen}\n"));
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains("gauged.toml:2: http.listen") && problems[0].contains(remedy), "{problems:?}");
        }
        let many: Vec<String> = (1..=33).map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        assert!(parsed(&format!("http.listen = [{}]", many.join(","))).1[0].contains("more than 32 addresses"));
    }

    #[test]
    fn server_is_off_without_a_table() {
        assert_eq!(parsed(""), (None, Vec::new()));
        for text in ["[http]\n", "[http]\npush = true\n", "http = {}\n"] {
            let (http, problems) = parsed(text);
            assert_eq!(http, None, "{text}");
            let error = "gauged.toml:1: http: has no listen; write listen = [\"127.0.0.1:9101\"], or remove the table";
            assert_eq!(problems, [error], "{text}");
        }
    }

    #[test]
    fn settings_are_parsed_with_defaults() {
        let listen = "[http]\nlisten = [\"127.0.0.1:1\"]\n";
        let http = valid(listen);
        assert_eq!(http, HttpConfig::at(http.listen.clone()));
        let http = valid(&format!(
            "{listen}naming = \"gauged\"\nhosts = [\"Web.Example\", \"*.Example.org\"]\ninclude = [\"cpu.*\"]\nmax_series = 7\npush = true\n\
             token_file = \"/0123456789abcdef\"\n"
        ));
        assert!(
            http.push
                && http.has_authentication()
                && http.hosts == ["web.example", "*.example.org"]
                && http.max_series == Some(7)
        );
        assert!(!format!("{http:?}").contains("token: /0123456789abcdef"));
        for (line, error) in [
            ("naming = \"otel\"", "http.naming: \"otel\" is no naming of /metrics; use gauged or node_exporter"),
            ("hosts = [\"10.0.0.1\"]", "http.hosts: \"10.0.0.1\" is an address, which is accepted anyway; remove it"),
            (
                "hosts = [\"*\"]",
                "http.hosts: \"*\" has * in another place than before a domain; write the whole name, or *. and",
            ),
            ("hosts = [\"web-*.example.org\"]", "has * in another place than before a domain"),
            ("hosts = [\"*.10.0.0.1\"]", "is an address"),
            ("hosts = [\"a b\"]", "has no host in \"a b\""),
            ("token_file = \"/none\"", "http.token_file: names /none, which cannot be read; write the file"),
            ("token_file = \"short\"", "less than 16 bytes; write a longer one"),
            ("token_file = \"0123456789 abcdef\"", "a header cannot carry"),
            ("listens = []", "unknown key; remove it, or use one of listen, naming, include"),
            ("max_series = 0", "http.max_series: \"0\" is out of bounds"),
        ] {
            let (_, problems) = parsed(&format!("{listen}{line}\n"));
            assert!(problems.len() == 1 && problems[0].contains(error), "{line}: {problems:?}");
            assert!(!problems[0].contains("0123456789 abcdef"), "{problems:?}");
        }
    }
}
