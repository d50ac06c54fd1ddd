//! Connections of guests that go on over TLS: `PostgreSQL`, SMTP and their like.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use sha2::{Digest as _, Sha256, Sha384};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, version};

use super::tls_server::{
    POSTGRESQL, SMTP, TlsServer, change, outcome_with, server_config, tls_guest, tls_guest_with, trusting,
};
use super::{EXHAUSTED, INVALID_ADDRESS, RESET, SUCCESS, TIMEOUT, TLS, contains, outcome, run};
use crate::guest::{COLLECT_RESULT, HOST_RESULT};
use crate::harness::{DEADLINE, repository};
use crate::http_server::security::{Authority, write_secret};
use crate::server::Server;

#[test]
fn connection_is_encrypted_after_an_exchange_in_clear() {
    let authority = Authority::new();
    for exchange in [&POSTGRESQL[..], &SMTP[..], &[]] {
        let (server, ends) = TlsServer::new(&authority, exchange).start();
        assert_eq!(outcome_with(&authority, &server, exchange), (SUCCESS, "same".into()), "{exchange:?}");
        let end = ends.recv_timeout(DEADLINE).expect("it served");
        assert!(end.expect("no error"), "closing ends TLS");
    }
}

#[test]
fn unix_socket_is_encrypted_for_a_server_name() {
    let authority = Authority::new();
    let server = TlsServer::new(&authority, &POSTGRESQL);
    let sockets = tempfile::tempdir().expect("a directory");
    let socket = sockets.path().canonicalize().expect("there").join("db");
    serve_unix(&socket, server);
    let address = format!("unix:{}", socket.display());
    let setup = trusting(&authority, &address);
    assert_eq!(run(&setup, &tls_guest(&address, "localhost", &POSTGRESQL)), (SUCCESS, "same".into()));
    let (case, message) = run(&setup, &tls_guest(&address, "db.internal", &POSTGRESQL));
    assert!(case == TLS && contains(&message, "not valid for name"), "{message}");
}

fn serve_unix(socket: &Path, server: TlsServer) {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (server, stream): (TlsServer, UnixStream) = (server.clone(), stream);
            thread::spawn(move || server.serve(stream));
        }
    });
}

/// The bytes of the channel binding for a certificate.
type Hash = fn(&[u8]) -> Vec<u8>;

#[test]
fn end_point_bytes_hash_the_certificate() {
    let rsa = std::fs::read_to_string(repository().join("tests/fixtures/tls/rsa.key")).expect("a key for tests");
    let rsa = KeyPair::from_pem_and_sign_algo(&rsa, &PKCS_RSA_SHA256).expect("an RSA key");
    let [p384, ed25519] = [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].map(|a| KeyPair::generate_for(a).expect("a key"));
    let hashes: [(KeyPair, Hash); 3] = [
        (rsa, |der| Sha256::digest(der).to_vec()),
        (p384, |der| Sha384::digest(der).to_vec()),
        // Its binding is not defined.
        (ed25519, |_| b"none".to_vec()),
    ];
    for (key, hash) in hashes {
        let authority = Authority::with_key(key);
        let (certificate, key) = authority.issue("localhost");
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one");
        let mut server = TlsServer::with_certificate((certificate, key), &POSTGRESQL);
        server.end_point = hash(&der);
        let (server, _ends) = server.start();
        assert_eq!(outcome_with(&authority, &server, &POSTGRESQL), (SUCCESS, "same".into()), "{:?}", hash(&der));
    }
}

#[test]
fn rejected_certificate_is_a_tls_error() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (certificate, expected) in [
        (other.issue("localhost"), "invalid peer certificate"),
        (authority.issue("db.internal"), "not valid for name"),
        (authority.issue_until("localhost", 2020), "expired"),
    ] {
        let (server, ends) = TlsServer::with_certificate(certificate, &POSTGRESQL).start();
        let (case, message) = outcome_with(&authority, &server, &POSTGRESQL);
        assert!(case == TLS && contains(&message, expected), "{case} {message}");
        assert!(ends.recv_timeout(DEADLINE).expect("it served").is_err(), "nothing was sent to it");
    }
}

#[test]
fn client_certificate_comes_from_the_configuration() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let mut server = TlsServer::new(&authority, &POSTGRESQL);
    let mut roots = RootCertStore::empty();
    let pem = clients.pem();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("one")).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let (certificate, key) = authority.issue("localhost");
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("one");
    server.end_point = Sha256::digest(&certificate).to_vec();
    let config = server_config().with_client_cert_verifier(verifier.build().expect("a verifier"));
    server.config = Arc::new(config.with_single_cert(vec![certificate], key).expect("a certificate"));
    let (server, _ends) = server.start();
    let address = server.address.to_string();
    let guest = tls_guest(&address, "localhost", &POSTGRESQL);

    let (certificate, key) = clients.issue("agent");
    let setup = trusting(&authority, &address);
    let [pem, secret] = ["client.pem", "client.key"].map(|name| setup.path(name));
    change(&setup, "[client]\n", &format!("[client]\ncertificate = {pem:?}\nkey = {secret:?}\n"));
    std::fs::write(setup.path("client.pem"), certificate).expect("written");
    write_secret(&setup.path("client.key"), &key);
    assert_eq!(run(&setup, &guest), (SUCCESS, "same".into()));

    // Of TLS 1.3, the client learns of the refusal after its handshake.
    let (case, message) = run(&trusting(&authority, &address), &guest);
    assert!(case == TLS && contains(&message, "CertificateRequired"), "{case} {message}");
}

#[test]
fn older_version_of_tls_is_supported() {
    let authority = Authority::new();
    let mut server = TlsServer::new(&authority, &POSTGRESQL);
    let (certificate, key) = authority.issue("localhost");
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("one");
    server.end_point = Sha256::digest(&certificate).to_vec();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[&version::TLS12]).expect("a version").with_no_client_auth();
    server.config = Arc::new(config.with_single_cert(vec![certificate], key).expect("a certificate"));
    let (server, _ends) = server.start();
    assert_eq!(outcome_with(&authority, &server, &POSTGRESQL), (SUCCESS, "same".into()));
}

#[test]
fn plaintext_before_the_handshake_is_refused() {
    let authority = Authority::new();
    let (sender, received) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        let mut request = [0; 8];
        let _ = stream.read_exact(&mut request);
        // At once, so that all of it is there as the guest reads the first byte.
        let _ = stream.write_all(b"SE: inserted\r\n");
        let mut more = Vec::new();
        let _ = stream.read_to_end(&mut more);
        let _ = sender.send(more);
    });
    let (case, message) = outcome_with(&authority, &server, &POSTGRESQL);
    assert!(case == TLS && contains(&message, "has sent more in clear than was read"), "{case} {message}");
    assert_eq!(received.recv_timeout(DEADLINE).expect("closed"), b"", "no handshake was begun");
}

#[test]
fn plaintext_within_the_handshake_is_refused() {
    let authority = Authority::new();
    let server = Server::start(move |mut stream| {
        let mut request = [0; 8];
        let _ = stream.read_exact(&mut request);
        let _ = stream.write_all(b"S");
        // The client has begun.
        let _ = stream.read(&mut [0; 1]);
        let _ = stream.write_all(b"E: inserted, and long enough to be read as a record\r\n");
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let (case, message) = outcome_with(&authority, &server, &POSTGRESQL);
    assert!(case == TLS && contains(&message, "corrupt message"), "{case} {message}");
}

#[test]
fn closed_handshake_is_a_reset() {
    let authority = Authority::new();
    let closing = |reads: bool| {
        Server::start(move |mut stream| {
            let mut request = [0; 8];
            let _ = stream.read_exact(&mut request);
            let _ = stream.write_all(b"S");
            if reads {
                let _ = stream.read(&mut [0; 4096]);
            }
        })
    };
    let (case, message) = outcome_with(&authority, &closing(true), &POSTGRESQL);
    assert!(case == RESET && contains(&message, "during the handshake"), "{case} {message}");
    // As the guest finds the connection closed, or later as it writes.
    assert_eq!(outcome_with(&authority, &closing(false), &POSTGRESQL).0, RESET);
}

#[test]
fn stalled_handshake_times_out() {
    let authority = Authority::new();
    let server = Server::start(move |mut stream| {
        let mut request = [0; 8];
        let _ = stream.read_exact(&mut request);
        let _ = stream.write_all(b"S");
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let address = server.address.to_string();
    let setup = trusting(&authority, &address);
    let within = |timeout| tls_guest_with(&address, "localhost", &POSTGRESQL, timeout, "");
    assert_eq!(run(&setup, &within(Some(300))), (TIMEOUT, 0.into()));
    // Without a timeout of its own, by the budget of the call.
    change(&setup, "\"10s\"", "\"1s\"");
    assert_eq!(run(&setup, &within(None)), (TIMEOUT, 0.into()));
}

#[test]
fn failed_handshake_ends_the_connection() {
    let authority = Authority::new();
    let (server, _ends) = TlsServer::new(&authority, &POSTGRESQL).start();
    let address = server.address.to_string();
    let setup = trusting(&authority, &address);
    for again in ["(call $start_tls)", "(call $write)", "(call $read (i32.const 1))"] {
        let mut guest = tls_guest(&address, "db.internal", &POSTGRESQL);
        let (at, length) = guest.bytes(&[0, 0, 0, 8, 4, 210, 22, 47]);
        let guest = guest.collect(&format!(
            "(call $connect) (if (i32.eqz (call $check)) (then unreachable))
             (call $net_write (global.get $handle) (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))
             (call $read (i32.const 1)) (if (i32.eqz (call $check)) (then unreachable))
             (call $start_tls) (if (call $check) (then unreachable))
             {again} (drop (call $check))
             i32.const {COLLECT_RESULT}"
        ));
        let (case, message) = run(&setup, &guest);
        assert!(case == TLS && contains(&message, "has ended"), "{again}: {case} {message}");
    }
}

#[test]
fn second_handshake_changes_nothing() {
    let authority = Authority::new();
    let (server, _ends) = TlsServer::new(&authority, &POSTGRESQL).start();
    let address = server.address.to_string();
    let setup = trusting(&authority, &address);
    let again = "(call $start_tls) (if (call $check) (then unreachable))";
    let guest = |more| tls_guest_with(&address, "localhost", &POSTGRESQL, None, &format!("{again} {more}"));
    assert_eq!(run(&setup, &guest("")), (SUCCESS, "same".into()), "the connection goes on");
    let (case, message) = run(&setup, &guest("(br $done)"));
    assert!(case == TLS && contains(&message, "encrypted already"), "{case} {message}");
}

#[test]
fn invalid_server_name_is_refused() {
    let authority = Authority::new();
    let (server, _ends) = TlsServer::new(&authority, &[]).start();
    let address = server.address.to_string();
    for name in ["", "a b", "127.1", "localhost:5432", "*"] {
        let (case, message) = run(&trusting(&authority, &address), &tls_guest(&address, name, &[]));
        assert!(case == INVALID_ADDRESS && contains(&message, &format!("server name \"{name}\"")), "{message}");
    }
}

#[test]
fn connection_that_ends_without_tls_is_a_reset() {
    let authority = Authority::new();
    let config = Arc::clone(&TlsServer::new(&authority, &[]).config);
    let server = Server::start(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let _ = stream.read(&mut [0; 100]);
        // Without `close_notify`, as somebody on the way would cut off the rest.
    });
    let (case, message) = outcome_with(&authority, &server, &[]);
    assert!(case == RESET && contains(&message, "without ending TLS"), "{case} {message}");
}

#[test]
fn memory_of_tls_counts_for_the_plugin() {
    let authority = Authority::new();
    let (server, _ends) = TlsServer::new(&authority, &[]).start();
    let address = server.address.to_string();
    let setup = trusting(&authority, &address);
    // Connections that are kept, from the first call on: the next one needs more than there is.
    let keeping = tls_guest_with(&address, "localhost", &[], None, "").collect(
        "(local $left i32) (local.set $left (i32.const 16))
         (if (i32.lt_s (global.get $handle) (i32.const 0)) (then
            (loop $on
                (call $connect) (if (i32.eqz (call $check)) (then unreachable))
                (call $start_tls)
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $on (i32.and (call $check) (i32.ne (local.get $left) (i32.const 0)))))))
         i32.const 64",
    );
    change(&setup, "timeout", "memory = \"2MiB\"\ntimeout");
    let (case, message) = run(&setup, &keeping);
    assert!(case == EXHAUSTED && contains(&message, "the plugin's limit of 2.0 MiB"), "{case} {message}");
    change(&setup, "\"2MiB\"", "\"16MiB\"");
    assert_eq!(run(&setup, &keeping).0, SUCCESS);
    // Connections that are closed: their memory is free again.
    change(&setup, "\"16MiB\"", "\"2MiB\"");
    let closing = tls_guest_with(&address, "localhost", &[], None, "").collect(
        "(local $left i32) (local.set $left (i32.const 40))
         (loop $on
            (call $connect) (if (i32.eqz (call $check)) (then unreachable))
            (call $start_tls)
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (if (call $check) (then
                (call $close (global.get $handle))
                (br_if $on (i32.ne (local.get $left) (i32.const 0))))))
         i32.const 64",
    );
    assert_eq!(run(&setup, &closing).0, SUCCESS);
}

#[test]
fn encrypted_connection_is_kept_from_tick_to_tick() {
    let authority = Authority::new();
    let config = Arc::clone(&TlsServer::new(&authority, &[]).config);
    let server = Server::start(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let mut message = [0; 100];
        while let Ok(read @ 1..) = stream.read(&mut message) {
            let _ = stream.write_all(&message[..read]);
        }
    });
    let address = server.address.to_string();
    let setup = trusting(&authority, &address);
    change(&setup, "[client]", "interval = \"100ms\"\n[client]");
    let mut guest = tls_guest_with(&address, "localhost", &[], None, "");
    let (at, length) = guest.text("ping");
    let guest = guest.collect(&format!(
        "(if (i32.lt_s (global.get $handle) (i32.const 0)) (then
            (call $connect) (if (i32.eqz (call $check)) (then unreachable))
            (call $start_tls) (if (i32.eqz (call $check)) (then unreachable))))
         (call $net_write (global.get $handle) (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))
         (if (call $check) (then (call $read (i32.const 100)) (if (call $check) (then {}))))
         i32.const 64",
        super::show_read()
    ));
    guest.install(&setup.plugin("caller.wasm"));
    let mut agent = setup.start(&[]);
    for _ in 0..3 {
        let sample = agent.wait(|sample| outcome(sample).is_some());
        assert_eq!(outcome(&sample), Some((SUCCESS, "ping".into())), "{}", agent.log());
    }
    assert_eq!(server.connections(), 1);
}
