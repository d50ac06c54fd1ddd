//! The client beside real peers on loopback: good ones, bad ones, proxies, and TLS.

mod encryption;
mod failures;
mod peer;
mod proxies;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use hyper::body::Bytes;

use self::peer::{OK, Peer, respond};
use super::{ClientError, ClientResponse, HttpClient};
use crate::address::HttpUrl;
use crate::config::{ClientSettings, Config, Overrides, SinkKind};

/// Longer than any of these peers takes, also on a busy host.
const PATIENCE: Duration = Duration::from_secs(20);

fn url(text: &str) -> HttpUrl {
    HttpUrl::parse(text).expect("a URL")
}

/// A client without settings.
fn client(target: &str) -> HttpClient {
    HttpClient::new(url(target), Arc::default())
}

/// The settings of a sink with these lines.
fn settings(directory: &tempfile::TempDir, lines: &str) -> Arc<ClientSettings> {
    let file = directory.path().join("gauged.toml");
    let text = format!("[sinks.a]\nkind = \"influx\"\nurl = \"https://localhost\"\n{lines}\n");
    std::fs::write(&file, text).expect("written");
    let config = Config::load(&Overrides { file: Some(file), ..Overrides::default() });
    let config = config.unwrap_or_else(|problems| panic!("{problems:?}"));
    let SinkKind::Network(network) = &config.sinks["a"].kind else { panic!("another kind") };
    // Whoever runs the tests may have proxies.
    Arc::new(ClientSettings { environment: Arc::default(), ..ClientSettings::clone(&network.connection) })
}

async fn post(client: &mut HttpClient, body: &str) -> Result<ClientResponse, ClientError> {
    client.post(&HeaderMap::new(), Bytes::from(body.to_owned()), PATIENCE).await
}

#[tokio::test]
async fn request_has_body_headers_and_credentials() {
    let (directory, peer) = (tempfile::tempdir().expect("a directory"), Peer::responding(OK));
    let password = peer::secret(&directory, "password", "pass:word");
    let lines = format!(
        "username = \"me\"\npassword_file = {password:?}\nheaders = {{ X-Scope-OrgID = \"team\", X-Api-Key = \"k\" }}"
    );
    let settings = settings(&directory, &lines);
    let shown = format!("{settings:?}");
    assert!(shown.contains("team") && !shown.contains("\"k\"") && !shown.contains("bWU6"), "{shown}");
    let mut client = HttpClient::new(url(&format!("{}/write?db=x", peer.url())), settings);
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "text/plain".parse().expect("a value"));
    let response = client.post(&headers, Bytes::from("cpu 1"), PATIENCE).await.expect("a response");
    assert_eq!((response.status.as_u16(), &*response.body), (200, &b"fine"[..]));
    assert_eq!(response.headers["x-peer"], "yes");
    let (port, version) = (peer.address.port(), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        peer.request(),
        format!(
            "POST /write?db=x HTTP/1.1\r\ncontent-type: text/plain\r\nx-api-key: k\r\nx-scope-orgid: team\r\n\
             authorization: Basic bWU6cGFzczp3b3Jk\r\ncontent-length: 5\r\nhost: 127.0.0.1:{port}\r\n\
             user-agent: gauged/{version}\r\n\r\ncpu 1"
        )
    );
}

#[tokio::test]
async fn clock_is_asked_for_without_credentials() {
    let directory = tempfile::tempdir().expect("a directory");
    let peer = Peer::responding("HTTP/1.1 204 No Content\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\n\r\n");
    let token = peer::secret(&directory, "token", "t0ken\n");
    let settings = settings(&directory, &format!("token_file = {token:?}\nheaders = {{ X-Api-Key = \"k\" }}"));
    let mut client = HttpClient::new(url(&format!("{}/api/v1/write", peer.url())), settings);
    let response = client.head(PATIENCE).await.expect("a response");
    assert_eq!(response.headers["date"], "Thu, 26 Nov 2026 10:00:00 GMT");
    let (port, version) = (peer.address.port(), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        peer.request(),
        format!("HEAD /health HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: gauged/{version}\r\n\r\n")
    );
}

#[tokio::test]
async fn bearer_token_is_sent_and_hidden() {
    let (directory, peer) = (tempfile::tempdir().expect("a directory"), Peer::responding(OK));
    let token = peer::secret(&directory, "token", "t0ken\n");
    let settings = settings(&directory, &format!("token_file = {token:?}"));
    assert!(!format!("{settings:?}").contains("t0ken"));
    post(&mut HttpClient::new(url(&peer.url()), settings), "x").await.expect("a response");
    assert!(peer.request().contains("\r\nauthorization: Bearer t0ken\r\n"));
}

#[tokio::test]
async fn connection_is_kept_between_requests() {
    let peer = Peer::responding(OK);
    let mut client = client(&peer.url());
    for body in ["a", "b", "c"] {
        post(&mut client, body).await.expect("a response");
        assert!(peer.request().ends_with(body));
    }
    assert_eq!(peer.connections(), 1);
    // Another token, and another path of the same peer.
    client.follow(url(&format!("{}/other", peer.url())), Arc::new(ClientSettings::default()));
    post(&mut client, "d").await.expect("a response");
    assert_eq!(peer.connections(), 1);
    let other = Peer::responding(OK);
    client.follow(url(&other.url()), Arc::default());
    post(&mut client, "e").await.expect("a response");
    assert_eq!((peer.connections(), other.connections()), (1, 1));
}

#[tokio::test]
async fn body_of_a_megabyte_is_sent_whole() {
    let peer = Peer::responding(OK);
    let body = "0123456789abcdef".repeat(1 << 16);
    post(&mut client(&peer.url()), &body).await.expect("a response");
    assert!(peer.request().ends_with(&format!("\r\n\r\n{body}")));
}

#[tokio::test]
async fn closed_kept_connection_is_replaced_once() {
    // Closes each connection when the second request on it has arrived.
    let peer = Peer::start(|stream| {
        if respond(stream, OK) {
            peer::read_request(stream);
        }
    });
    let mut first = client(&peer.url());
    for body in ["a", "b", "c"] {
        post(&mut first, body).await.expect("a response");
    }
    assert_eq!(peer.connections(), 3);
    // Closes each new one without a response, too.
    let peer = Peer::start_counting(|number, stream| {
        if number == 0 {
            respond(stream, OK);
        }
        peer::read_request(stream);
    });
    let mut client = client(&peer.url());
    post(&mut client, "a").await.expect("a response");
    let error = post(&mut client, "b").await.expect_err("closed");
    assert_eq!((error.kind, peer.connections()), (super::ClientErrorKind::Closed, 2), "{error:?}");
}

#[tokio::test]
async fn connection_closed_while_idle_costs_nothing() {
    let peer = Peer::start(|stream| {
        respond(stream, OK);
    });
    let mut client = client(&peer.url());
    for body in ["a", "b"] {
        post(&mut client, body).await.expect("a response");
        peer.wait_closed();
    }
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn request_given_up_closes_its_connection() {
    let peer = Peer::start_counting(|number, stream| {
        if number == 0 {
            respond(stream, OK);
            // Until the client closes the connection.
            peer::drain(stream);
        } else {
            respond(stream, OK);
        }
    });
    let mut client = client(&peer.url());
    post(&mut client, "a").await.expect("a response");
    let late = client.post(&HeaderMap::new(), Bytes::from("b"), Duration::from_millis(50)).await.expect_err("late");
    assert_eq!(late.kind, super::ClientErrorKind::Timeout);
    peer.wait_closed();
    post(&mut client, "c").await.expect("a response");
    assert_eq!(peer.connections(), 2);
}
