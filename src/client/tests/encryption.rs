//! TLS: the operator's authority, client certificates, and peers that are not trusted.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

use super::super::{ClientErrorKind, HttpClient};
use super::peer::{OK, Peer, Recorded, read_message, secret};
use super::{post, settings, url};

/// An authority that signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed"))
    }

    /// Writes its certificate into a file.
    pub(super) fn write(&self, directory: &tempfile::TempDir) -> String {
        secret(directory, "ca.pem", &self.0.pem())
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.0).expect("signed"), key)
    }

    /// The lines of a sink with a client certificate.
    fn client_lines(&self, directory: &tempfile::TempDir) -> String {
        let (certificate, key) = self.issue("host-1");
        let (certificate, key) = (
            secret(directory, "client.pem", &certificate.pem()),
            secret(directory, "client.key", &key.serialize_pem()),
        );
        format!("certificate = {certificate:?}\nkey = {key:?}\n")
    }
}

/// The server's side of connections.
pub(super) struct ServerSide(Arc<ServerConfig>);

impl ServerSide {
    /// A server with this name. It may want certificates of clients that the authority has signed.
    pub(super) fn new(authority: &Authority, name: &str, wants_client: bool) -> Self {
        let (certificate, key) = authority.issue(name);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder.with_single_cert(vec![certificate.der().clone()], key);
        Self(Arc::new(config.expect("a configuration")))
    }

    /// Responds to each request.
    pub(super) fn serve(&self, stream: &mut Recorded) {
        let mut session = ServerConnection::new(Arc::clone(&self.0)).expect("a session");
        let requests = stream.requests.clone();
        let mut encrypted = Stream::new(&mut session, stream);
        while let Some(request) = read_message(&mut encrypted) {
            let _ = requests.send(request);
            if encrypted.write_all(OK.as_bytes()).and_then(|()| encrypted.flush()).is_err() {
                break;
            }
        }
        session.send_close_notify();
    }
}

#[tokio::test]
async fn own_authority_and_client_certificate_are_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let server = ServerSide::new(&authority, "localhost", true);
    let peer = Peer::start(move |stream| server.serve(stream));
    let target = format!("https://localhost:{}", peer.address.port());
    let ca_file = format!("ca_file = {:?}\n", authority.write(&directory));
    let with_certificate = settings(&directory, &(authority.client_lines(&directory) + &ca_file));
    let mut client = HttpClient::new(url(&target), with_certificate);
    for body in ["a", "b"] {
        assert_eq!(post(&mut client, body).await.expect("a response").status.as_u16(), 200);
    }
    assert_eq!(peer.connections(), 1);
    let without = settings(&directory, &ca_file);
    client.follow(url(&target), without);
    let error = post(&mut client, "c").await.expect_err("no certificate");
    assert_eq!(error.kind, ClientErrorKind::Tls, "{error:?}");
    assert!(error.remedy.contains("certificate and key"), "{error:?}");
    let stranger = Authority::new();
    let of_stranger = settings(&directory, &(stranger.client_lines(&directory) + &ca_file));
    client.follow(url(&target), of_stranger);
    let error = post(&mut client, "c").await.expect_err("another authority");
    assert_eq!(error.kind, ClientErrorKind::Tls, "{error:?}");
}

#[tokio::test]
async fn untrusted_peers_are_errors_with_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = ServerSide::new(&authority, "other.example", false);
    let peer = Peer::start(move |stream| server.serve(stream));
    let target = format!("https://localhost:{}", peer.address.port());
    for (authority, remedy) in [(&stranger, "ca_file"), (&authority, "a name that the certificate of the peer has")] {
        let ca_file = format!("ca_file = {:?}\n", authority.write(&directory));
        let error = post(&mut HttpClient::new(url(&target), settings(&directory, &ca_file)), "x").await;
        let error = error.expect_err("untrusted");
        assert_eq!(error.kind, ClientErrorKind::Tls, "{error:?}");
        assert!(error.remedy.contains(remedy), "{error:?}");
    }
}

#[tokio::test]
async fn plain_peer_is_an_error_of_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca_file = format!("ca_file = {:?}\n", authority.write(&directory));
    let peer = Peer::start(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let target = format!("https://{}", peer.address);
    let error = post(&mut HttpClient::new(url(&target), settings(&directory, &ca_file)), "x").await;
    let error = error.expect_err("no TLS");
    assert!(error.kind == ClientErrorKind::Tls && error.remedy.contains("http://"), "{error:?}");
}
