//! A server that speaks TLS after an exchange in clear, and a guest of it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ConfigBuilder, ServerConfig, ServerConnection, StreamOwned, WantsVerifier};

use super::connecting_guest;
use crate::guest::{Guest, HOST_RESULT};
use crate::harness::Setup;
use crate::http_server::security::Authority;
use crate::server::Server;

/// The request of a client of `PostgreSQL` for TLS, and the consent.
pub const POSTGRESQL: [Step; 2] = [Step::Sends(&[0, 0, 0, 8, 4, 210, 22, 47]), Step::Reads(b"S")];

/// The beginning of a session of SMTP.
pub const SMTP: [Step; 5] = [
    Step::Reads(b"220 mail ESMTP\r\n"),
    Step::Sends(b"EHLO me\r\n"),
    Step::Reads(b"250-mail\r\n250 STARTTLS\r\n"),
    Step::Sends(b"STARTTLS\r\n"),
    Step::Reads(b"220 go ahead\r\n"),
];

/// A step of the exchange in clear, as the guest sees it.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Sends(&'static [u8]),
    Reads(&'static [u8]),
}

/// A guest that goes through an exchange in clear, starts TLS for a server name, sends the bytes of the end point, or `none`, and
/// makes the answer its value.
pub fn tls_guest(address: &str, server_name: &str, exchange: &[Step]) -> Guest {
    tls_guest_with(address, server_name, exchange, None, "")
}

/// The same with a timeout, and more instructions after the handshake.
pub fn tls_guest_with(
    address: &str,
    server_name: &str,
    exchange: &[Step],
    timeout_ms: Option<u32>,
    after: &str,
) -> Guest {
    let mut guest = connecting_guest(address, timeout_ms, "").import(
        "gauged:plugin/net",
        "[method]connection.start-tls",
        "(func $net_start_tls (param i32 i32 i32 i32))",
    );
    let name = guest.text(server_name);
    let none = guest.text("none");
    let go_on = "(br_if $done (i32.eqz (call $check)))";
    let send = |at: &str, length: &str| {
        format!("(call $net_write (global.get $handle) {at} {length} (i32.const {HOST_RESULT})) {go_on}")
    };
    let mut steps = format!("(call $connect) {go_on}");
    for step in exchange {
        match step {
            Step::Sends(bytes) => {
                let (at, length) = guest.bytes(bytes);
                steps.push_str(&send(&format!("(i32.const {at})"), &format!("(i32.const {length})")));
            }
            Step::Reads(bytes) => {
                for _ in *bytes {
                    let _ = write!(steps, "(call $read (i32.const 1)) {go_on}");
                }
            }
        }
    }
    let end_point = HOST_RESULT + 8 + 40;
    let loaded = |offset: u32, default: u32| {
        format!(
            "(select (i32.load (i32.const {})) (i32.const {default}) (i32.load8_u (i32.const {end_point})))",
            end_point + offset
        )
    };
    guest
        .with(&format!(
            "(func $start_tls
                (call $net_start_tls (global.get $handle) (i32.const {}) (i32.const {}) (i32.const {HOST_RESULT}))
                (if (i32.load8_u (i32.const {HOST_RESULT})) (then
                    (memory.copy (i32.const {}) (i32.const {}) (i32.const 32)))))",
            name.0,
            name.1,
            HOST_RESULT + 4,
            HOST_RESULT + 8,
        ))
        .before_collect(&format!(
            "(block $done
                {steps}
                (call $start_tls) {go_on}
                {send}
                {after}
                (call $read (i32.const 100)) {go_on}
                {show})
             (if (i32.ge_s (global.get $handle) (i32.const 0)) (then
                (call $close (global.get $handle)) (global.set $handle (i32.const -1))))",
            send = send(&loaded(4, none.0), &loaded(8, none.1)),
            show = super::show_read(),
        ))
}

/// A server that speaks TLS after an exchange in clear.
#[derive(Clone)]
pub struct TlsServer {
    pub config: Arc<ServerConfig>,
    exchange: Vec<Step>,
    /// What it compares the first message with.
    pub end_point: Vec<u8>,
}

impl TlsServer {
    /// One whose certificate is for `localhost`.
    pub fn new(authority: &Authority, exchange: &[Step]) -> Self {
        Self::with_certificate(authority.issue("localhost"), exchange)
    }

    pub fn with_certificate((certificate, key): (String, String), exchange: &[Step]) -> Self {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("one");
        // As a server of PostgreSQL, which refuses a client that names other protocols.
        let mut config = server_config().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
        config.as_mut().expect("a certificate").alpn_protocols = vec![b"postgresql".to_vec()];
        let (config, end_point) = (Arc::new(config.expect("a certificate")), Sha256::digest(&certificate).to_vec());
        Self { config, exchange: exchange.to_vec(), end_point }
    }

    /// A connection: `same` or `other` is the answer to the first message, an empty text to one that closes. Returns whether the client
    /// has ended TLS.
    pub fn serve<S: Read + Write>(&self, mut stream: S) -> io::Result<bool> {
        for step in &self.exchange {
            match step {
                Step::Sends(expected) => {
                    let mut read = vec![0; expected.len()];
                    stream.read_exact(&mut read)?;
                    assert_eq!(read, *expected);
                }
                Step::Reads(bytes) => stream.write_all(bytes)?,
            }
        }
        let connection = ServerConnection::new(Arc::clone(&self.config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let mut message = [0; 100];
        let read = stream.read(&mut message)?;
        let answer = if message[..read] == self.end_point { "same" } else { "other" };
        stream.write_all(answer.as_bytes())?;
        stream.flush()?;
        Ok(stream.read(&mut message)? == 0)
    }

    pub fn start(self) -> (Server, Receiver<io::Result<bool>>) {
        let (sender, ends) = mpsc::channel();
        let server = Server::start(move |stream: TcpStream| {
            let _ = sender.send(self.serve(stream));
        });
        (server, ends)
    }
}

pub fn server_config() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder.with_safe_default_protocol_versions().expect("versions")
}

/// A setup whose guest may connect to an address, and trusts an authority.
pub fn trusting(authority: &Authority, address: &str) -> Setup {
    let setup = Setup::new();
    std::fs::write(setup.path("authority.pem"), authority.pem()).expect("written");
    let client = format!("[client]\nca_file = \"{}\"\n", setup.path("authority.pem").display());
    let plugin = format!("[plugins.caller]\ntimeout = \"10s\"\nconnect = [{address:?}]\n");
    std::fs::write(setup.path("gauged.toml"), format!("{client}{plugin}")).expect("written");
    setup
}

/// Changes the configuration of a setup.
pub fn change(setup: &Setup, from: &str, to: &str) {
    let text = std::fs::read_to_string(setup.path("gauged.toml")).expect("written");
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(setup.path("gauged.toml"), text.replacen(from, to, 1)).expect("written");
}

/// The outcome of a guest that asks a server for `localhost`, and trusts an authority.
pub fn outcome_with(authority: &Authority, server: &Server, exchange: &[Step]) -> (u32, Value) {
    let address = server.address.to_string();
    super::run(&trusting(authority, &address), &tls_guest(&address, "localhost", exchange))
}
