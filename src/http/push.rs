//! `/v1/push`: points of local programs. Who may push, and what becomes of a body; the points are `push`'s.

use std::rc::Rc;

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};

use super::answer::Answer;
use super::body::{self, BodyError};
use super::limits::BODY_BYTES;
use super::peer::Peer;
use super::server::Server;
use super::statistics::Rejection;
use crate::clock::schedule::wall_clock;
use crate::config::HttpConfig;
use crate::push::PushError;

/// The method.
pub(super) const METHOD: &str = "POST";

/// The answer to a request.
pub(super) async fn answer(server: &Rc<Server>, http: &HttpConfig, request: Request<Incoming>, peer: Peer) -> Answer {
    if let Some(refused) = refuse(http, request.method(), request.headers(), request.uri().query(), peer) {
        return refused;
    }
    let body = match body::read(request.into_body(), server.bodies()).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            let why = format!("the body has more than {} MiB; push in several requests", BODY_BYTES >> 20);
            return Answer::rejected(StatusCode::PAYLOAD_TOO_LARGE, Rejection::TooLarge, &why);
        }
        Err(BodyError::NoRoom) => return Answer::unavailable(1, "too many bodies are being sent; push again later"),
        Err(BodyError::Incomplete) => {
            return Answer::rejected(StatusCode::BAD_REQUEST, Rejection::Malformed, "the body ended early; push again");
        }
    };
    // An endpoint is compared with the host's name, which the first sample has.
    let Some(tick) = server.tick() else {
        return Answer::unavailable(1, "there was no tick yet; push again after the first one");
    };
    let pushed = server.inlet().push(&body.bytes, server.hostname().as_deref(), wall_clock());
    match pushed {
        Ok(outcome) => {
            let mut text = serde_json::to_vec(&outcome).unwrap_or_default();
            text.push(b'\n');
            let answer = Answer::text("application/json", Bytes::from(text));
            // Scripts look at the status only.
            let is_bad = outcome.accepted == 0 && !outcome.rejected.is_empty();
            if is_bad { answer.with_status(StatusCode::BAD_REQUEST) } else { answer }
        }
        Err(PushError::Body(why)) => Answer::invalid(StatusCode::BAD_REQUEST, &why),
        Err(PushError::TooMany(why)) => Answer::rejected(StatusCode::PAYLOAD_TOO_LARGE, Rejection::TooLarge, &why),
        Err(PushError::Full) => {
            let why = "too many points wait for the next tick, and none of these was taken; push them again after it";
            Answer::unavailable(tick.sample.interval.as_secs().max(1), why)
        }
        Err(PushError::Closed) => off(),
    }
}

/// The answer to a request of which no point is looked at.
fn refuse(http: &HttpConfig, method: &Method, headers: &HeaderMap, query: Option<&str>, peer: Peer) -> Option<Answer> {
    let refused = |status, why: &str| Some(Answer::invalid(status, why));
    if !http.push {
        return Some(off());
    }
    // Whoever may only read over the network does not write.
    if !peer.is_local() && !http.has_authentication() {
        let why = "points are taken from programs of this host; push to a loopback address or a unix socket, or set token_file or \
                   tls_client_ca under [http]";
        return refused(StatusCode::FORBIDDEN, why);
    }
    if *method != Method::POST {
        return Some(Answer::method_not_allowed(METHOD));
    }
    if query.is_some_and(|query| !query.is_empty()) {
        return refused(StatusCode::BAD_REQUEST, "there are no parameters here; leave them out");
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // A web page can send other types without asking first.
    let is_json =
        |value: &str| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    if !text(CONTENT_TYPE).is_some_and(is_json) {
        return refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is to be JSON; send content-type: application/json",
        );
    }
    if text(CONTENT_ENCODING).is_some_and(|value| !value.eq_ignore_ascii_case("identity")) {
        return refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is to be plain; send it without content-encoding",
        );
    }
    None
}

fn off() -> Answer {
    let why = "points are not taken; write push = true under [http], and reload the agent";
    Answer::invalid(StatusCode::FORBIDDEN, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;

    fn status(http: &HttpConfig, method: &Method, headers: &[(&'static str, &str)], peer: &str) -> Option<u16> {
        let header =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().expect("a value"));
        let headers: HeaderMap = headers.iter().map(header).collect();
        let peer = Peer::Tcp(peer.parse().expect("an address"));
        refuse(http, method, &headers, None, peer).map(|answer| answer.status().as_u16())
    }

    #[test]
    fn only_local_programs_push_without_authentication() {
        const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
        let mut http = HttpConfig::at(vec![ListenAddress::Unix("/run/s".into())]);
        let (local, remote) = ("127.0.0.1:5", "10.0.0.1:5");
        assert_eq!(status(&http, &Method::POST, JSON, local), Some(403), "it is off");
        http.push = true;
        assert_eq!(status(&http, &Method::POST, JSON, local), None);
        assert_eq!(status(&http, &Method::POST, JSON, remote), Some(403));
        http.token = Some(crate::config::TokenFile::test());
        assert_eq!(status(&http, &Method::POST, JSON, remote), None, "the router has looked at the token");
        assert_eq!(status(&http, &Method::PUT, JSON, local), Some(405));
        for (headers, expected) in [
            (&[][..], Some(415)),
            (&[("content-type", "text/plain")], Some(415)),
            (&[("content-type", "application/x-www-form-urlencoded")], Some(415)),
            (&[("content-type", "application/jsonp")], Some(415)),
            (&[("content-type", "Application/JSON; charset=utf-8")], None),
            (&[("content-type", "application/json"), ("content-encoding", "gzip")], Some(415)),
            (&[("content-type", "application/json"), ("content-encoding", "identity")], None),
        ] {
            assert_eq!(status(&http, &Method::POST, headers, local), expected, "{headers:?}");
        }
        assert!(refuse(&http, &Method::POST, &HeaderMap::new(), Some("x=1"), Peer::Unix).is_some());
    }
}
