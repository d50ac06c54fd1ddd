//! Peers that do not respond, or not as they should: each is bounded in time and bytes, and is an error of its kind.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use http::HeaderMap;
use hyper::body::Bytes;

use super::super::dial::connect;
use super::super::{ClientErrorKind, Dialer};
use super::peer::{Left, OK, Peer, Recorded, drain, flood, read_request, respond};
use super::{client, post, url};
use crate::address::Endpoint;

/// The error of a request to a peer that does this after it has read the request. The connection has to be closed then.
async fn failure(serve: impl Fn(&mut Recorded) + Send + Sync + 'static) -> super::ClientError {
    let peer = Peer::start(move |stream| {
        read_request(stream);
        serve(stream);
    });
    let mut client = client(&peer.url());
    let error = post(&mut client, "x").await.expect_err("an error");
    peer.wait_closed();
    assert!(client.connection.is_none());
    assert!(error.text.contains(&peer.url()) && !error.remedy.is_empty(), "{error:?}");
    assert_eq!(peer.connections(), 1, "it is not sent again");
    error
}

#[tokio::test]
async fn broken_responses_have_their_kinds() {
    use ClientErrorKind::{Closed, Protocol, TooLarge};

    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(65));
    for (response, kind) in [
        ("", Closed),
        ("HTTP/1.1 200 OK\r\nConte", Closed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxx", Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nxx", Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n", Closed),
        ("SSH-2.0-OpenSSH_9.9\r\n", Protocol),
        ("\0\0\0\0", Protocol),
        ("HTTP/1.1 2x0 OK\r\n\r\n", Protocol),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", Protocol),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Protocol),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Protocol),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nx", TooLarge),
        (&*many, TooLarge),
    ] {
        let sent = response.to_owned();
        let error = failure(move |stream| drop(stream.write_all(sent.as_bytes()))).await;
        assert_eq!(error.kind, kind, "{response:?}: {error:?}");
    }
}

#[tokio::test]
async fn endless_responses_are_bounded() {
    for (begin, piece) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "body"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n", "x: y\r\n"),
        ("HTTP/1.1 200 OK\r\nx: ", "head"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    ] {
        let written = Arc::new(Left::default());
        let left = Arc::clone(&written);
        let error = failure(move |stream| {
            let _ = stream.write_all(begin.as_bytes());
            left.leave(flood(stream, piece));
        });
        let error = error.await;
        assert_eq!(error.kind, ClientErrorKind::TooLarge, "{begin:?} {piece:?}: {error:?}");
        // The buffers of two sockets, and the limits.
        assert!(written.take().expect("it has ended") < 16 << 20, "{begin:?} {piece:?}");
    }
}

#[tokio::test]
async fn body_up_to_the_limit_is_read() {
    let peer = Peer::start(|stream| {
        for bytes in [64 << 10, (64 << 10) + 1] {
            respond(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes)));
        }
    });
    let mut client = client(&peer.url());
    assert_eq!(post(&mut client, "a").await.expect("a response").body.len(), 64 << 10);
    assert_eq!(post(&mut client, "b").await.expect_err("too large").kind, ClientErrorKind::TooLarge);
}

#[tokio::test]
async fn slow_peers_are_bounded_in_time() {
    let drip = |begin: &'static str| {
        move |stream: &mut Recorded| {
            read_request(stream);
            let _ = stream.write_all(begin.as_bytes());
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        }
    };
    for peer in [
        Peer::start(drain),
        Peer::start(drip("HTTP/1.1 200 OK\r\nX: ")),
        Peer::start(drip("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")),
        // Does not read: the request fills the buffers.
        Peer::start(|_| {
            loop {
                thread::park();
            }
        }),
    ] {
        let mut client = client(&peer.url());
        let body = Bytes::from(vec![b'x'; 16 << 20]);
        let error = client.post(&HeaderMap::new(), body, Duration::from_millis(300)).await.expect_err("late");
        assert_eq!(error.kind, ClientErrorKind::Timeout);
        assert_eq!(error.text, format!("no whole response from {} within 300ms", peer.url()));
        assert!(error.remedy.contains("raise timeout"));
    }
}

#[tokio::test]
async fn response_before_the_whole_request_counts() {
    let peer = Peer::start(|stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        // The client closes the connection: it cannot be used again.
        drain(stream);
    });
    let mut client = client(&peer.url());
    for connections in 1..3 {
        let response = post(&mut client, &"x".repeat(16 << 20)).await.expect("a response");
        assert_eq!((response.status.as_u16(), peer.connections()), (413, connections));
    }
}

#[tokio::test]
async fn excess_response_bytes_are_not_the_next_response() {
    // The second response is there before its request.
    let peer = Peer::start(|stream| {
        respond(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        drain(stream);
    });
    let mut client = client(&peer.url());
    for _ in 0..3 {
        let response = post(&mut client, "x").await.expect("a response");
        assert_eq!((response.status.as_u16(), &*response.body), (200, &b"a"[..]));
    }
    assert_eq!(peer.connections(), 3);
}

#[tokio::test]
async fn redirect_names_the_location() {
    let peer = Peer::responding("HTTP/1.1 308 Moved\r\nLocation: https://other/\u{9b}x\r\nContent-Length: 0\r\n\r\n");
    let error = post(&mut client(&peer.url()), "x").await.expect_err("a redirect");
    assert_eq!(error.kind, ClientErrorKind::Redirect);
    assert!(error.text.contains("redirects to https://other/") && !error.text.contains('\u{9b}'), "{error:?}");
    assert!(error.remedy.contains("write that address into url"), "{error:?}");
    let peer = Peer::responding("HTTP/1.1 304 Not Modified\r\nLocation: https://other\r\n\r\n");
    assert_eq!(post(&mut client(&peer.url()), "x").await.expect("a response").status.as_u16(), 304);
}

#[tokio::test]
async fn refused_connection_is_an_error_of_its_kind() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let error = post(&mut client(&format!("http://127.0.0.1:{port}")), "x").await.expect_err("refused");
    assert_eq!(error.kind, ClientErrorKind::Connect);
    assert!(error.text.contains("refused") && error.remedy.contains("listens"), "{error:?}");
    let mut dialer = Dialer::default();
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}"), None).expect("an endpoint");
    let error = dialer.connect(&endpoint, Instant::now() + super::PATIENCE).await.expect_err("refused");
    assert_eq!(error.kind, ClientErrorKind::Connect);
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    let peer = Peer::responding(OK);
    let addresses = ["127.0.0.2", "::1", "127.0.0.1"].map(|text| text.parse().expect("an address"));
    let connected = connect(&addresses, peer.address.port(), Instant::now() + super::PATIENCE).await;
    assert_eq!(connected.expect("the last one").peer_addr().expect("connected"), peer.address);
    // By its name, which may have IPv6 first.
    let name = format!("http://localhost:{}", peer.address.port());
    post(&mut client(&name), "x").await.expect("a response");
    assert_eq!(url(&name).to_string(), format!("{name}/"));
}
