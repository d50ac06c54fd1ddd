//! From a request to its answer: who may ask, which endpoint is meant, and how.

use std::fmt::Write as _;
use std::rc::Rc;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Version};
use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, Content};
use super::health::{Verdict, health, readiness};
use super::host_check::is_own;
use super::negotiation;
use super::peer::Peer;
use super::push;
use super::query::Query;
use super::scrape::{ScrapeRequest, Scraped};
use super::server::Server;
use super::statistics::Rejection;
use crate::config::HttpConfig;
use crate::naming::Naming;
use crate::sample::Sample;
use crate::sink::Style;
use crate::status::TickView;

/// The methods of all endpoints that only read.
const READ: &str = "GET, HEAD";

/// An endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Index,
    Metrics,
    Sample,
    Stream,
    Status,
    Config,
    Health,
    Ready,
    Version,
    Push,
}

/// All endpoints: path, and content.
const ENDPOINTS: &[(&str, Endpoint, &str)] = &[
    ("/", Endpoint::Index, "this list"),
    ("/metrics", Endpoint::Metrics, "the latest results for Prometheus; ?naming=, ?module="),
    ("/v1/sample", Endpoint::Sample, "the last sample as JSON; ?pretty"),
    ("/v1/stream", Endpoint::Stream, "each sample as a server-sent event"),
    ("/v1/status", Endpoint::Status, "the status of the agent, as gauged status --json"),
    ("/v1/config", Endpoint::Config, "the configuration in effect, without secrets"),
    ("/health", Endpoint::Health, "whether the agent works: 200 or 503"),
    ("/ready", Endpoint::Ready, "whether all that is configured is up: 200 or 503"),
    ("/version", Endpoint::Version, "the version of the agent"),
    ("/v1/push", Endpoint::Push, "takes points of local programs, in the form of Open-Falcon; POST"),
];

/// The answer to a request.
pub(super) async fn answer(server: &Rc<Server>, request: Request<Incoming>, peer: Peer) -> Answer {
    let config = server.config();
    let Some(http) = &config.http else { return Answer::unavailable(1, "the server is ending") };
    if let Some(refused) = refuse(http, &request, peer, || server.hostname()) {
        return refused;
    }
    let path = request.uri().path();
    let Some((_, endpoint, _)) = ENDPOINTS.iter().find(|(known, ..)| *known == path) else {
        let why = format!("there is nothing at this path; the endpoints are:\n{}", index().trim_end());
        return Answer::invalid(StatusCode::NOT_FOUND, &why);
    };
    if *endpoint == Endpoint::Push {
        return push::answer(server, http, request, peer).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Answer::method_not_allowed(READ);
    }
    let parameters: &[&str] = match endpoint {
        Endpoint::Metrics => &["naming", "module"],
        Endpoint::Sample => &["pretty"],
        _ => &[],
    };
    let query = match Query::parse(request.uri().query(), parameters) {
        Ok(query) => query,
        Err(why) => return Answer::invalid(StatusCode::BAD_REQUEST, &why),
    };
    match endpoint {
        Endpoint::Index => Answer::text(TEXT, index().into()),
        Endpoint::Metrics => metrics(server, http, request.headers(), &query),
        Endpoint::Sample => sample(server, query.is_set("pretty")),
        Endpoint::Stream => stream(server, request.method()),
        Endpoint::Status => json_answer(server, &server.document()),
        Endpoint::Config => bounded(server, TEXT, || config.effective().into_bytes()),
        Endpoint::Health => verdict(server, &health(&server.document())),
        Endpoint::Ready => verdict(server, &readiness(&server.document())),
        // It was answered above.
        Endpoint::Push => Answer::method_not_allowed(push::METHOD),
        Endpoint::Version => json_answer(server, &json!({ "version": env!("CARGO_PKG_VERSION") })),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

const JSON: &str = "application/json";

/// The answer for somebody who may not ask.
fn refuse(
    http: &HttpConfig,
    request: &Request<Incoming>,
    peer: Peer,
    own_name: impl Fn() -> Option<String>,
) -> Option<Answer> {
    if peer == Peer::Unix {
        return None;
    }
    if let Some(token) = &http.token {
        // No browser has a token by itself: a peer that sends it means this server.
        return if has_token(request.headers(), |text| token.token.matches(text)) {
            None
        } else {
            Some(Answer::unauthorized())
        };
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() || host.is_none() && request.version() > Version::HTTP_10 {
        return Some(Answer::invalid(
            StatusCode::BAD_REQUEST,
            "the header Host is missing or given twice; send it once",
        ));
    }
    let host = host.map(|host| host.to_str().unwrap_or_default());
    // The target of a request to a proxy counts as well.
    let target = request.uri().authority().map(Authority::as_str);
    let is_accepted = |name: &str| is_own(name, own_name().as_deref(), &http.hosts);
    let wrong = host.into_iter().chain(target).find(|name| !is_accepted(name))?;
    let why = format!(
        "the host {wrong:?} in the request is not this one; ask by address, or add the name to hosts under [http]"
    );
    Some(Answer::rejected(StatusCode::MISDIRECTED_REQUEST, Rejection::Host, &why))
}

/// Whether the token of a request is right (RFC 6750).
fn has_token(headers: &HeaderMap, matches: impl Fn(&[u8]) -> bool) -> bool {
    let Some(value) = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes) else { return false };
    match value.split_at_checked(7) {
        Some((scheme, token)) => scheme.eq_ignore_ascii_case(b"Bearer ") && matches(token.trim_ascii()),
        None => false,
    }
}

/// The list of endpoints.
fn index() -> String {
    let mut text = String::new();
    for (path, _, meaning) in ENDPOINTS {
        let _ = writeln!(text, "{path:<12} {meaning}");
    }
    text
}

fn metrics(server: &Rc<Server>, http: &HttpConfig, headers: &HeaderMap, query: &Query) -> Answer {
    let mut naming = http.naming;
    for name in query.values("naming") {
        let Some(known) = Naming::parse_prometheus(name) else {
            let why = format!("unknown naming {name:?}; known: {}", Naming::PROMETHEUS_NAMES.join(", "));
            return Answer::invalid(StatusCode::BAD_REQUEST, &why);
        };
        naming = known;
    }
    let texts = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let request = ScrapeRequest {
        naming,
        format: negotiation::format(texts(ACCEPT)),
        accepts_gzip: negotiation::accepts_gzip(texts(ACCEPT_ENCODING)),
        modules: query.values("module").collect(),
    };
    if request.modules.contains(&"") {
        return Answer::invalid(
            StatusCode::BAD_REQUEST,
            "the parameter module is empty; name a module, or leave it out",
        );
    }
    with_tick(server, |tick| {
        unknown_module(&request, &tick.sample).unwrap_or_else(|| match server.scrape(&request, &tick) {
            None => overload(),
            Some(Scraped { text, is_gzip }) => {
                let answer = Answer::text(request.format.content_type(), text)
                    .with(VARY, HeaderValue::from_static("accept, accept-encoding"));
                if is_gzip { answer.with(CONTENT_ENCODING, HeaderValue::from_static("gzip")) } else { answer }
            }
        })
    })
}

fn sample(server: &Rc<Server>, is_pretty: bool) -> Answer {
    let style = if is_pretty { Style::Pretty } else { Style::Line };
    with_tick(server, |tick| server.json(&tick, style).map_or_else(overload, |text| Answer::text(JSON, text)))
}

/// The answer to a request for a module that a sample does not have.
fn unknown_module(request: &ScrapeRequest<'_>, sample: &Sample) -> Option<Answer> {
    let modules = sample.modules.iter().chain(&sample.retained);
    let mut known: Vec<&str> = modules.map(|module| &**module.name()).collect();
    let unknown = request.modules.iter().find(|name| !known.contains(name))?;
    known.sort_unstable();
    known.dedup();
    let why = format!("the last sample has no module {unknown:?}; it has {}", known.join(", "));
    Some(Answer::invalid(StatusCode::NOT_FOUND, &why))
}

/// The answer that the last tick has. Before the first there is none: an empty one would say that there is nothing.
fn with_tick(server: &Rc<Server>, answer: impl FnOnce(TickView) -> Answer) -> Answer {
    match server.tick() {
        Some(tick) => answer(tick),
        None => Answer::unavailable(1, "there was no tick yet; ask again after the first one"),
    }
}

fn stream(server: &Rc<Server>, method: &Method) -> Answer {
    const EVENTS: &str = "text/event-stream";
    if *method == Method::HEAD {
        return Answer::text(EVENTS, Bytes::new());
    }
    match server.events().subscribe() {
        // Proxies that gather responses would keep them back.
        Some(events) => Answer::new(EVENTS, Content::Events(events))
            .with(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        None => Answer::unavailable(10, "there are too many streams; end one of them"),
    }
}

fn json_answer(server: &Rc<Server>, value: &impl Serialize) -> Answer {
    bounded(server, JSON, || {
        // Maps with texts as keys.
        let mut text = serde_json::to_vec(value).unwrap_or_default();
        text.push(b'\n');
        text
    })
}

fn verdict(server: &Rc<Server>, verdict: &Verdict) -> Answer {
    let answer = json_answer(server, verdict);
    if verdict.is_well { answer } else { answer.with_status(StatusCode::SERVICE_UNAVAILABLE) }
}

/// An answer whose memory is bounded with that of all others.
fn bounded(server: &Rc<Server>, content_type: &'static str, text: impl FnOnce() -> Vec<u8>) -> Answer {
    match server.hold(text) {
        Some(text) => Answer::text(content_type, text),
        None => overload(),
    }
}

fn overload() -> Answer {
    Answer::unavailable(1, "too many responses have not been read yet; read them, or ask again later")
}
