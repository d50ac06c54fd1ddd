//! The capability `http`. No origin can be granted yet, so every request is answered with the grant that it lacks.

use super::super::bindings::gauged::plugin::http::{Error, Host, Request, Response};
use super::{State, grant_line};

impl Host for State {
    async fn fetch(&mut self, request: Request) -> Result<Response, Error> {
        Err(Error::Denied(grant_line("fetch", origin(&request.url))))
    }
}

/// What is granted of an address: scheme, host and port.
fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_comes_before_the_path() {
        assert_eq!(origin("http://localhost:8080/status?x=1"), "http://localhost:8080");
        assert_eq!(origin("https://example.org?x"), "https://example.org");
        assert_eq!(origin("https://example.org"), "https://example.org");
        assert_eq!(origin("nonsense/x"), "nonsense");
        assert_eq!(origin(""), "");
    }
}
