//! Requests over TLS: who is trusted, and what a guest learns of the peer.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ALL_VERSIONS, RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::facts::facts;
use super::{Fetch, TLS, contains, fetch, outcome};
use crate::harness::{Setup, parse};
use crate::server::{Server, read_request};

/// The configuration of an HTTPS server whose certificate is valid until the second of January of a year. The certificate of the
/// authority that signed it is written to the file `authority.pem`.
pub fn tls_config(setup: &Setup, year: i32) -> ServerConfig {
    config_of_versions(setup, year, ALL_VERSIONS)
}

/// The same for a server that speaks these versions of TLS.
fn config_of_versions(setup: &Setup, year: i32, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name = name(&[(DnType::OrganizationName, "Example, Inc."), (DnType::CommonName, "Test CA")]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    std::fs::write(setup.path("authority.pem"), issuer.pem()).expect("written");

    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    params.distinguished_name = name(&[(DnType::CommonName, "localhost")]);
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2015, 1, 1), rcgen::date_time_ymd(year, 1, 2));
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate")
}

/// An HTTPS server with such a certificate.
pub fn tls_server(setup: &Setup, year: i32) -> Server {
    server_with(tls_config(setup, year))
}

/// An HTTPS server with this configuration.
pub fn server_with(config: ServerConfig) -> Server {
    let config = Arc::new(config);
    Server::start(move |stream| serve(&config, stream))
}

/// Responds to one request on an encrypted connection.
pub fn serve(config: &Arc<ServerConfig>, stream: impl Read + Write) {
    let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
    let mut stream = StreamOwned::new(connection, stream);
    if !read_request(&mut stream).is_empty() {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    // A connection with unread bytes would be reset, and an alert of TLS lost.
    let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
}

/// A server that sends back what it receives, over TLS with such a certificate.
pub fn tls_echo(setup: &Setup, year: i32) -> Server {
    let config = Arc::new(tls_config(setup, year));
    Server::start(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            let _ = stream.write_all(&bytes[..read]).and_then(|()| stream.flush());
        }
    })
}

/// The configuration of an HTTPS server with this certificate and key, in PEM, which wants a certificate of this authority.
pub fn config_with_pem(certificate_pem: &str, key: &str, client_ca: Option<&str>) -> ServerConfig {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let own = vec![certificate(certificate_pem)];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(pem)).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    builder.with_single_cert(own, key).expect("they belong together")
}

/// A certificate that nobody but itself has signed, for a name that nobody asks for, valid in the year before this one; and its key.
pub fn self_signed_until(year: i32) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["appliance.invalid".to_owned()]).expect("parameters");
    params.distinguished_name = name(&[(DnType::CommonName, "appliance")]);
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(year - 1, 1, 1), rcgen::date_time_ymd(year, 1, 1));
    (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
}

/// A name, its most significant part first.
fn name(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in parts {
        name.push(kind.clone(), *value);
    }
    name
}

#[test]
fn tls_trusts_the_system_certificates() {
    let setup = Setup::new();
    let server = tls_server(&setup, 2035);
    let origins = ["localhost", "127.0.0.1"].map(|name| format!("https://{name}:{}", server.port()));
    let config = format!("[plugins.fetcher]\ntimeout = \"10s\"\nfetch = {origins:?}\n");
    std::fs::write(setup.path("gauged.toml"), config).expect("written");
    let fetch_trusting = |request: &Fetch<'_>, authority: &str| {
        request.guest().install(&setup.plugin("fetcher.wasm"));
        let mut command = setup.command(&["--once"]);
        let output = command.env("SSL_CERT_FILE", setup.path(authority)).env_remove("SSL_CERT_DIR").output();
        let output = output.expect("it runs");
        let sample = parse(&String::from_utf8(output.stdout).expect("text"));
        outcome(&sample).unwrap_or_else(|| panic!("{sample:?}"))
    };
    let request = Fetch::get(&*origins[0]);
    assert_eq!(fetch_trusting(&request, "authority.pem"), (200, "secret".into()));
    let (case, message) = fetch_trusting(&Fetch::get(&*origins[1]), "authority.pem");
    assert!(case == TLS && contains(&message, "not valid for name"), "a certificate of another name: {message}");
    // `authority.pem` is now another authority, which has not signed the certificate.
    let _ = tls_server(&setup, 2035);
    let (case, message) = fetch_trusting(&request, "authority.pem");
    assert!(case == TLS && contains(&message, "invalid peer certificate"), "{message}");
    std::fs::write(setup.path("none.pem"), "").expect("written");
    let (case, message) = fetch_trusting(&request, "none.pem");
    assert!(case == TLS && contains(&message, "no certificates to trust"), "{message}");
}

#[test]
fn plaintext_server_is_a_tls_error() {
    let server = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let origin = format!("https://{}", server.address);
    assert_eq!(fetch(&Fetch::get(&*origin), &[&origin]).0, TLS);
}

#[test]
fn tls_facts_are_reported() {
    for (versions, version) in [([&TLS12], "1.2"), ([&TLS13], "1.3")] {
        let setup = Setup::new();
        let server = server_with(config_of_versions(&setup, 2035, &versions));
        let origin = format!("https://localhost:{}", server.port());
        let (authority, plugin) = (setup.path("authority.pem"), "[plugins.fetcher]\ntimeout = \"10s\"");
        let text = format!("[client]\nca_file = {authority:?}\n{plugin}\nfetch = [{origin:?}]\n");
        std::fs::write(setup.path("gauged.toml"), text).expect("written");
        let facts = facts(&setup, &Fetch::get(&*origin), &[]);
        assert_eq!((facts.text("body"), facts.text("remote")), ("secret", &*server.address.to_string()));
        assert_eq!((facts.text("version"), facts.text("subject")), (version, "CN=localhost"));
        assert_eq!(facts.text("issuer"), "CN=Test CA,O=Example\\, Inc.");
        assert_eq!((facts.number("not_before"), facts.number("not_after")), (1_420_070_400, 2_051_308_800));
        assert!(facts.number("has_tls") == 1 && facts.number("tls_ns") > 0, "{facts:?}");
        facts.assert_ordered();
    }
}
