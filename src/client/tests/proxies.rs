//! Proxies, made in the test: requests to `http://` with their whole URL, tunnels to `https://`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use super::super::{ClientErrorKind, HttpClient};
use super::encryption::{Authority, ServerSide};
use super::peer::{OK, Peer, Recorded, drain, read_message};
use super::{post, settings, url};

/// Reads the request for a tunnel, and connects the two sides.
fn tunnel(stream: &mut Recorded, target: std::net::SocketAddr) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let _ = stream.requests.send(String::from_utf8(head).expect("text"));
    let mut server = TcpStream::connect(target).expect("connected");
    let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
    let (mut client, mut back) = (stream.socket(), server.try_clone().expect("a descriptor"));
    let other = thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(stream, &mut server);
    let _ = server.shutdown(Shutdown::Both);
    let _ = other.join();
}

#[tokio::test]
async fn plain_proxy_gets_the_whole_url() {
    let (directory, proxy) = (tempfile::tempdir().expect("a directory"), Peer::responding(OK));
    let settings = settings(&directory, &format!("proxy = \"http://me:p%40ss@{}\"", proxy.address));
    assert!(!format!("{settings:?}").contains("bWU6"));
    let mut client = HttpClient::new(url("http://receiver.invalid:8428/api/v1/write?a=b"), settings);
    for body in ["a", "b"] {
        post(&mut client, body).await.expect("a response");
    }
    let request = proxy.request();
    assert!(request.starts_with("POST http://receiver.invalid:8428/api/v1/write?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: receiver.invalid:8428\r\n"), "{request}");
    assert!(request.contains("\r\nproxy-authorization: Basic bWU6cEBzcw==\r\n"), "{request}");
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn tunnel_carries_tls_to_the_receiver() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let server = ServerSide::new(&authority, "receiver.invalid", false);
    let receiver = Peer::start(move |stream| server.serve(stream));
    let target = receiver.address;
    let proxy = Peer::start(move |stream| tunnel(stream, target));
    let lines = format!("ca_file = {:?}\nproxy = \"http://me:pw@{}\"", authority.write(&directory), proxy.address);
    let mut client = HttpClient::new(url("https://receiver.invalid/write"), settings(&directory, &lines));
    for body in ["a", "b"] {
        assert_eq!(&*post(&mut client, body).await.expect("a response").body, b"fine");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        proxy.request(),
        format!(
            "CONNECT receiver.invalid:443 HTTP/1.1\r\nHost: receiver.invalid:443\r\nUser-Agent: gauged/{version}\r\n\
             Proxy-Authorization: Basic bWU6cHc=\r\n\r\n"
        )
    );
    let request = receiver.request();
    assert!(request.starts_with("POST /write HTTP/1.1\r\n") && !request.contains("proxy-auth"), "{request}");
    assert_eq!((proxy.connections(), receiver.connections()), (1, 1));
}

#[tokio::test]
async fn proxy_that_speaks_tls_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let server = ServerSide::new(&authority, "127.0.0.1", false);
    let proxy = Peer::start(move |stream| server.serve(stream));
    let lines = format!("ca_file = {:?}\nproxy = \"https://{}\"", authority.write(&directory), proxy.address);
    let mut client = HttpClient::new(url("http://receiver.invalid/write"), settings(&directory, &lines));
    post(&mut client, "a").await.expect("a response");
    assert!(proxy.request().starts_with("POST http://receiver.invalid/write HTTP/1.1\r\n"));
}

#[tokio::test]
async fn refusals_of_proxies_are_errors_of_their_kind() {
    let directory = tempfile::tempdir().expect("a directory");
    let refuse = |response: &'static str| {
        Peer::start(move |stream| {
            let _ = read_message(stream);
            let _ = stream.write_all(response.as_bytes());
        })
    };
    for (target, response, text) in [
        ("https://r.invalid", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "it responds 403 Forbidden"),
        ("https://r.invalid", "HTTP/1.1 407 Who\r\n\r\n", "wants other credentials"),
        ("http://r.invalid", "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n", "wants other credentials"),
        ("https://r.invalid", "SSH-2.0-x\r\n", "is not HTTP"),
        ("https://r.invalid", "", "closed the connection"),
    ] {
        let proxy = refuse(response);
        let settings = settings(&directory, &format!("proxy = \"http://me:hunter2@{}\"", proxy.address));
        let error = post(&mut HttpClient::new(url(target), settings), "x").await.expect_err("refused");
        assert_eq!(error.kind, ClientErrorKind::Proxy, "{error:?}");
        assert!(error.text.contains(text) && error.text.contains(&proxy.url()), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let endless = Peer::start(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        super::peer::flood(stream, "y");
    });
    let settings = settings(&directory, &format!("proxy = \"{}\"", endless.url()));
    let error = post(&mut HttpClient::new(url("https://r.invalid"), settings), "x").await.expect_err("endless");
    assert_eq!(error.kind, ClientErrorKind::Proxy);
    endless.wait_closed();
}

#[tokio::test]
async fn proxy_is_not_used_for_this_host() {
    let directory = tempfile::tempdir().expect("a directory");
    let (proxy, receiver) = (Peer::start(drain), Peer::responding(OK));
    let settings = settings(&directory, &format!("proxy = \"{}\"", proxy.url()));
    post(&mut HttpClient::new(url(&receiver.url()), settings), "x").await.expect("a response");
    assert_eq!(proxy.connections(), 0);
}
