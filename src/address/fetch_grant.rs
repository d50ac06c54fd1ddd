//! A grant to fetch: an origin with all methods, or a pattern of unix sockets with some. An origin is a server of its own, which has
//! its own rules for those who come over the network. A unix socket is often the control of a local service, open to whoever may
//! connect: one POST to that of Docker starts a container as root. So a socket is granted for reading only, `GET` and `HEAD`, unless
//! the grant names its methods: `unix:/run/app.sock GET POST`.

use std::fmt;

use http::Method;

use super::{Origin, UNIX};
use crate::hostpath::Pattern;

/// The methods that change nothing: those of a grant that names none.
const READING: [Method; 2] = [Method::GET, Method::HEAD];

/// A grant to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchGrant {
    /// A server, for all methods.
    Origin(Origin),
    /// Unix sockets: `*` matches any text within a segment. For these methods.
    Unix(Pattern, Vec<Method>),
}

impl FetchGrant {
    /// Parses `scheme://host:port`, or `unix:/path` with methods after it or without.
    ///
    /// # Errors
    ///
    /// The fault and the remedy, as the end of a sentence that begins with the grant.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(socket) = text.strip_prefix(UNIX) else {
            if let Some((origin, methods)) = text.split_once(' ') {
                return Err(format!(
                    "has {methods:?} after the origin; write {origin:?}: only a grant for a unix socket names methods"
                ));
            }
            return Origin::parse(text).map(Self::Origin);
        };
        let mut words = socket.split(' ');
        let pattern = Pattern::new(words.next().unwrap_or_default())?;
        let methods = words.map(parse_method).collect::<Result<Vec<Method>, String>>()?;
        if let Some(twice) =
            methods.iter().enumerate().find_map(|(at, method)| methods[..at].contains(method).then_some(method))
        {
            return Err(format!("names {twice} twice; remove one"));
        }
        Ok(Self::Unix(pattern, if methods.is_empty() { READING.into() } else { methods }))
    }

    /// The grant for one request to a unix socket, with nothing beyond it that can be left out: a blank in the path, which would end it,
    /// is any text.
    pub(crate) fn for_request(path: &str, method: &Method) -> String {
        let path = path.replace(' ', "*");
        if READING.contains(method) { format!("{UNIX}{path}") } else { format!("{UNIX}{path} {method}") }
    }

    /// Whether it is for requests with this method to the unix socket at a path.
    pub(crate) fn allows(&self, path: &str, method: &Method) -> bool {
        match self {
            Self::Unix(pattern, methods) => methods.contains(method) && pattern.matches(path),
            Self::Origin(_) => false,
        }
    }

    /// Whether it is for a request that asks for another grant, which is one of [`for_request`](Self::for_request): `GET` asks for
    /// `HEAD`, too, and is covered without.
    pub(crate) fn covers(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::Origin(own), Self::Origin(asked)) => own == asked,
            (Self::Unix(pattern, methods), Self::Unix(path, asked)) => {
                pattern.matches(&path.to_string()) && asked.iter().any(|method| methods.contains(method))
            }
            _ => false,
        }
    }

    /// Whether it is the one for reading, without methods.
    pub(crate) fn is_for_reading(&self) -> bool {
        matches!(self, Self::Unix(_, methods) if methods[..] == READING)
    }

    /// Whether a grant can name this method.
    pub(crate) fn is_name(method: &str) -> bool {
        // Servers distinguish cases, and no method of a standard has lower ones.
        !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    }

    /// Whether it is for this origin.
    pub(crate) fn is_for(&self, origin: &Origin) -> bool {
        matches!(self, Self::Origin(granted) if granted == origin)
    }
}

fn parse_method(word: &str) -> Result<Method, String> {
    const REMEDY: &str = "write methods like GET after the path, one blank before each, and * for a blank in the path";

    match Method::from_bytes(word.as_bytes()) {
        Ok(Method::CONNECT) => Err("names CONNECT, which is for proxies; remove it".to_owned()),
        Ok(method) if FetchGrant::is_name(word) => Ok(method),
        _ => Err(format!("has {word:?} where a method is expected; {REMEDY}")),
    }
}

impl fmt::Display for FetchGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(origin) => origin.fmt(f),
            Self::Unix(pattern, methods) => {
                write!(f, "{UNIX}{pattern}")?;
                let named: &[Method] = if self.is_for_reading() { &[] } else { methods };
                named.iter().try_for_each(|method| write!(f, " {method}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hostpath;

    fn parsed(text: &str) -> FetchGrant {
        FetchGrant::parse(text).unwrap_or_else(|why| panic!("{text} {why}"))
    }

    #[test]
    fn unix_grants_allow_reading_unless_naming_methods() {
        let methods = [Method::GET, Method::HEAD, Method::POST, Method::DELETE];
        for (text, allowed) in [
            ("unix:/run/docker.sock", [true, true, false, false]),
            ("unix:/run/*.sock", [true, true, false, false]),
            ("unix:/run/docker.sock GET HEAD POST", [true, true, true, false]),
            ("unix:/run/docker.sock POST", [false, false, true, false]),
            ("http://localhost", [false; 4]),
        ] {
            let grant = parsed(text);
            assert_eq!(methods.each_ref().map(|method| grant.allows("/run/docker.sock", method)), allowed, "{text}");
            assert!(methods.iter().all(|method| !grant.allows("/run/docker/sock", method)), "{text}");
        }
    }

    #[test]
    fn fetch_grants_have_one_spelling() {
        for (written, read) in [
            ("HTTP://Localhost:80/", "http://localhost"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:/run/a.sock GET HEAD", "unix:/run/a.sock"),
            ("unix:/run/*/a.sock POST M-SEARCH", "unix:/run/*/a.sock POST M-SEARCH"),
        ] {
            assert_eq!(parsed(written).to_string(), read);
        }
        for (bad, expected) in [
            ("", "is not a URL"),
            ("/run/a.sock", "does not begin with http:// or https://"),
            ("http://a GET", "has \"GET\" after the origin; write \"http://a\""),
            ("unix:", "is not absolute"),
            ("unix:run/a", "is not absolute"),
            ("unix:/run/../a", "segment; write it without"),
            ("unix:/run/a get", "has \"get\" where a method is expected; write methods like GET"),
            ("unix:/run/a  GET", "has \"\" where a method is expected"),
            ("unix:/run/a GET ", "has \"\" where a method is expected"),
            ("unix:/run/my app.sock", "and * for a blank in the path"),
            ("unix:/run/a GET,POST", "has \"GET,POST\" where a method is expected"),
            ("unix:/run/a CONNECT", "names CONNECT, which is for proxies"),
            ("unix:/run/a GET POST GET", "names GET twice"),
        ] {
            let why = FetchGrant::parse(bad).expect_err(bad);
            assert!(why.contains(expected), "{bad} {why}");
        }
    }

    proptest! {
        /// The grant that a denied request asks for allows it, and is written as it is read.
        #[test]
        fn grant_for_a_request_allows_it(path in "(/[a-z *.]{1,4}){1,3}", method in "(GET|HEAD|POST|M-SEARCH)") {
            prop_assume!(hostpath::check(&path).is_ok());
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let text = FetchGrant::for_request(&path, &method);
            let grant = parsed(&text);
            prop_assert!(grant.allows(&path, &method));
            prop_assert_eq!(grant.to_string(), text);
            let delete = Method::DELETE;
            prop_assert!(!grant.allows(&path, &delete));
        }

        #[test]
        fn printed_grants_parse_to_the_same(
            text in prop_oneof![any::<String>(), "(unix:)?(http://a)?(/[a-b*]{0,2}){0,2}( (GET|POST|get|HEAD|))*"],
        ) {
            if let Ok(grant) = FetchGrant::parse(&text) {
                prop_assert_eq!(FetchGrant::parse(&grant.to_string()), Ok(grant));
            }
        }
    }
}
