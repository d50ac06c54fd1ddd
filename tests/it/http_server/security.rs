//! Who is answered: hosts, tokens, TLS and client certificates.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::peer::{HttpAgent, Response, connect, own_address, read_all, read_response};
use crate::harness::Setup;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Writes a file that only this user reads.
pub fn write_secret(path: &Path, content: &str) {
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

#[test]
fn foreign_hosts_are_refused() {
    let mut server = HttpAgent::start("hosts = [\"metrics.example.org\", \"*.fleet.example\"]");
    let own = server.agent.next()["agent"]["hostname"].as_str().expect("a name").to_owned();
    let status =
        |host: &str| server.send(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status;
    let address = server.address.to_string();
    for host in [
        "localhost",
        "localhost:9101",
        &address,
        "[::1]:9101",
        &own,
        "Metrics.Example.Org:443",
        "web-7.a.fleet.example:9101",
    ] {
        assert_eq!(status(host), 200, "{host}");
    }
    let refused = server.send("GET /metrics HTTP/1.1\r\nHost: evil.example:9101\r\nConnection: close\r\n\r\n");
    assert_eq!(refused.status, 421);
    let remedy = "ask by address, or add the name to hosts under [http]";
    assert!(refused.text().contains("\"evil.example:9101\"") && refused.text().contains(remedy), "{}", refused.text());
    let proxied = "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(server.send(proxied).status, 421);
    assert_eq!(server.send("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").status, 400, "no host");
    assert_eq!(
        server.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: a\r\nConnection: close\r\n\r\n").status,
        400,
        "two"
    );
    assert_eq!(server.send("GET /metrics HTTP/1.0\r\n\r\n").status, 200, "none was needed then");
    for host in ["fleet.example", "fleet.example.evil.example", "xfleet.example"] {
        assert_eq!(status(host), 421, "{host}");
    }
    server.wait_rejected("host", 5);
}

#[test]
fn requests_need_the_token() {
    let setup = Setup::new();
    let address = own_address();
    let file = setup.path("token");
    write_secret(&file, &format!("{TOKEN}\n"));
    let keys = format!("token_file = \"{}\"", file.display());
    let agent = HttpAgent::configure(&setup, address, &keys).start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.next();
    let send = |server: &HttpAgent, authorization: &str| {
        server.send(&format!("GET /metrics HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n{authorization}\r\n"))
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(send(&server, &bearer(TOKEN)).status, 200);
    assert_eq!(send(&server, &format!("authorization: BEARER  {TOKEN} \r\n")).status, 200);
    for wrong in
        ["", &bearer(&TOKEN[1..]), &bearer(""), &format!("Authorization: Basic {TOKEN}\r\n"), &bearer(&TOKEN.repeat(2))]
    {
        let refused = send(&server, wrong);
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, Some("bearer realm=\"gauged\"")),
            "{wrong}"
        );
        assert!(refused.text().contains("http.token_file"), "{}", refused.text());
    }
    server.wait_rejected("unauthorized", 5);
    assert!(!server.agent.log().contains(TOKEN));

    let other = TOKEN.replace('0', "f");
    write_secret(&file, &other);
    server.reload_files();
    server.agent.wait_log("configuration reloaded changed=http");
    assert_eq!((send(&server, &bearer(TOKEN)).status, send(&server, &bearer(&other)).status), (401, 200));
}

#[test]
fn unix_socket_is_for_its_group() {
    let setup = Setup::new();
    let socket = setup.path("http.sock");
    let token = setup.path("token");
    write_secret(&token, TOKEN);
    let keys = format!("listen = [\"unix:{}\"]\ntoken_file = \"{}\"", socket.display(), token.display());
    HttpAgent::write(&setup, &format!("[http]\n{keys}"));
    let mut agent = setup.start(&[]);
    agent.wait_log("HTTP address opened");
    agent.next();
    let metadata = fs::metadata(&socket).expect("there");
    assert!(metadata.file_type().is_socket() && metadata.permissions().mode() & 0o7777 == 0o660);
    let mut stream = UnixStream::connect(&socket).expect("connected");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n").expect("sent");
    assert_eq!(read_response(&mut stream).status, 200, "its permissions decide, and no token");
    agent.terminate();
    assert!(!socket.exists());
}

#[test]
fn open_address_is_a_warning() {
    // No host has this address.
    let setup = Setup::new();
    HttpAgent::write(&setup, "[http]\nlisten = [\"192.0.2.1:9101\", \"127.0.0.1:9\"]");
    let mut agent = setup.start(&[]);
    agent.wait_log("WARN HTTP open to the network addresses=192.0.2.1:9101 reason=");
    let lines = agent.wait_log_lines("WARN HTTP address not opened address=192.0.2.1:9101 ", 1);
    assert!(lines[0].contains("remedy=\"name an address of this host"), "{}", lines[0]);
    agent.next();
}

/// An authority, and certificates by it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        Self::with_key(KeyPair::generate().expect("a key"))
    }

    /// An authority whose key decides about the algorithm of its signatures.
    pub fn with_key(key: KeyPair) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("signed") }
    }

    /// A certificate for a name and its key, in PEM.
    pub fn issue(&self, name: &str) -> (String, String) {
        self.issue_until(name, 4000)
    }

    /// One that expires at the beginning of this year.
    pub fn issue_until(&self, name: &str, year: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("names");
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes a certificate for `localhost` and its key.
    pub fn write(&self, setup: &Setup) {
        let (certificate, key) = self.issue("localhost");
        fs::write(setup.path("tls.pem"), certificate).expect("written");
        write_secret(&setup.path("tls.key"), &key);
    }

    /// The response over TLS for a client that trusts this authority, and has this certificate.
    fn get(&self, address: SocketAddr, identity: Option<(String, String)>) -> io::Result<Response> {
        let mut stream = self.connect(address, identity)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Ok(read_response(&mut io::Cursor::new(first).chain(stream)))
    }

    pub fn connect(
        &self,
        address: SocketAddr,
        identity: Option<(String, String)>,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("supported").with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("one");
                config.with_client_auth_cert(vec![certificate], key).expect("they belong together")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut stream = StreamOwned::new(connection, connect(address));
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(stream)
    }
}

pub fn start_with_tls(authority: &Authority, more: impl Fn(&Setup) -> String) -> HttpAgent {
    let (setup, address) = (Setup::new(), own_address());
    authority.write(&setup);
    let path = |name: &str| setup.path(name).display().to_string();
    let keys =
        format!("tls_certificate = \"{}\"\ntls_key = \"{}\"\n{}", path("tls.pem"), path("tls.key"), more(&setup));
    let agent = HttpAgent::configure(&setup, address, &keys).start(&[]);
    let mut server = HttpAgent { setup, agent, address };
    server.agent.wait_log("HTTP address opened");
    server.agent.next();
    server
}

#[test]
fn certificates_are_read_again_at_reload() {
    let (first, second) = (Authority::new(), Authority::new());
    let mut server = start_with_tls(&first, |_| String::new());
    assert_eq!(first.get(server.address, None).expect("trusted").status, 200);
    let mut plain = connect(server.address);
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let answer = read_all(&mut plain);
    assert!(!answer.starts_with(b"HTTP/"), "only TLS is spoken");
    server.wait_rejected("tls", 1);
    let mut kept = first.connect(server.address, None).expect("trusted");

    second.write(&server.setup);
    server.reload_files();
    server.agent.wait_log("configuration reloaded changed=http");
    assert_eq!(second.get(server.address, None).expect("trusted").status, 200);
    assert!(first.get(server.address, None).is_err(), "the certificate before is gone");
    let mut rest = Vec::new();
    let _ = kept.read_to_end(&mut rest);
    assert_eq!(rest, b"", "connections by the old one end");

    // A key of another certificate changes nothing.
    fs::write(server.setup.path("tls.pem"), first.issue("localhost").0).expect("written");
    server.reload_files();
    let lines = server.agent.wait_log_lines("configuration not reloaded", 1);
    assert!(lines[0].contains("key=http.tls_key") && lines[0].contains("tls.pem"), "{}", lines[0]);
    assert_eq!(second.get(server.address, None).expect("trusted").status, 200);
}

#[test]
fn client_certificates_are_verified() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let mut server = start_with_tls(&authority, |setup| {
        fs::write(setup.path("clients.pem"), clients.pem()).expect("written");
        format!("tls_client_ca = \"{}\"", setup.path("clients.pem").display())
    });
    let get = |identity| authority.get(server.address, identity);
    assert_eq!(get(Some(clients.issue("scraper"))).expect("accepted").status, 200);
    assert!(get(None).is_err() && get(Some(strangers.issue("scraper"))).is_err());
    server.wait_rejected("tls", 2);
}

#[test]
fn tls_errors_are_found_by_check() {
    let (setup, authority) = (Setup::new(), Authority::new());
    authority.write(&setup);
    write_secret(&setup.path("other.key"), &authority.issue("localhost").1);
    fs::write(setup.path("empty.pem"), "").expect("written");
    write_secret(&setup.path("short"), "secret");
    let path = |name: &str| setup.path(name).display().to_string();
    let (pem, key) =
        (format!("tls_certificate = \"{}\"", path("tls.pem")), format!("tls_key = \"{}\"", path("tls.key")));
    let errors = |keys: &str| {
        HttpAgent::configure(&setup, own_address(), keys);
        let output = setup.run(&["check"]);
        assert_eq!(output.status.code(), Some(2), "{keys}");
        String::from_utf8(output.stderr).expect("text")
    };
    for (keys, expected) in [
        (pem.clone(), "http: has one of tls_certificate and tls_key; write tls_key, too"),
        (format!("{pem}\ntls_key = \"{}\"", path("other.key")), "is not the key of the certificate in"),
        (format!("{pem}\ntls_key = \"{}\"", path("tls.pem")), "is open to everybody"),
        (
            format!("{key}\ntls_certificate = \"{}\"", path("empty.pem")),
            "has no certificate; write the certificates in PEM",
        ),
        (
            format!("{key}\ntls_certificate = \"{}\"", path("none.pem")),
            "No such file or directory (os error 2); write the file",
        ),
        (format!("tls_client_ca = \"{}\"", path("tls.pem")), "needs TLS; write tls_certificate and tls_key, too"),
        (format!("token_file = \"{}\"", path("short")), "less than 16 bytes; write a longer one"),
        (format!("token_file = \"{}\"", path("absent")), "write the file, or remove the key"),
    ] {
        let errors = errors(&keys);
        assert!(errors.contains(expected), "{keys}\n{errors}");
    }
}
