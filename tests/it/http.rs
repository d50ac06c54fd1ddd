//! HTTP requests of guests.

pub mod tls;
pub mod facts;
mod sockets;

use std::io::Write as _;
use std::net::ToSocketAddrs as _;
use std::sync::mpsc;

use serde_json::Value;

use crate::guest::{Guest, HOST_RESULT, SECOND_VALUE, VALUE};
use crate::harness::{Sample, Setup, fault_count, plugin_metric, value};
use crate::server::{Server, closed_port, read_request};
use crate::shipped::guests::FETCH;

/// The cases of the error in the interface `http`.
pub const DENIED: u64 = 0;
const FORBIDDEN: u64 = 1;
const INVALID_REQUEST: u64 = 2;
const NOT_PERMITTED: u64 = 3;
const RESOLVE: u64 = 5;
const NOT_FOUND: u64 = 6;
const REFUSED: u64 = 7;
const UNREACHABLE: u64 = 8;
const RESET: u64 = 9;
pub const PROXY: u64 = 10;
pub const TLS: u64 = 11;
pub const TOO_LARGE: u64 = 12;
pub const TIMEOUT: u64 = 13;
pub const PROTOCOL: u64 = 14;
const IO: u64 = 15;

/// The errors whose text, or missing grant, is the second of their texts, after the code or the kind.
const OF_SEVERAL_TEXTS: u64 = 1 << DENIED | 1 << NOT_PERMITTED | 1 << REFUSED | 1 << UNREACHABLE | 1 << RESET | 1 << IO;

/// The errors without a text.
const WITHOUT_TEXT: u64 = 1 << NOT_FOUND | 1 << TIMEOUT;

/// The addresses of a response's parts in the result of `fetch`.
const BODY: u32 = HOST_RESULT + 20;

/// A guest's request, and the part of the response that becomes the guest's value.
#[derive(Clone)]
pub struct Fetch<'a> {
    method: &'a str,
    url: String,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
    timeout_ms: Option<u32>,
    max_body_bytes: Option<u32>,
    unix_socket: Option<&'a str>,
    show: String,
}

impl Fetch<'_> {
    /// A GET request without headers, whose body becomes the value.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET",
            url: url.into(),
            headers: &[],
            body: "",
            timeout_ms: None,
            max_body_bytes: None,
            unix_socket: None,
            show: text(BODY),
        }
    }

    /// Makes a number of the response the value, instead of the body.
    pub fn showing(self, expression: &str) -> Self {
        Self { show: number(expression), ..self }
    }

    /// A guest that sends the request at every tick. Its metric `case` is the status of the response or the number of the
    /// error, and `value` the part of the response or the text of the error.
    pub fn guest(&self) -> Guest {
        self.guest_as("fetcher")
    }

    /// The same guest with another module.
    pub fn guest_as(&self, module: &str) -> Guest {
        self.sent_by(Guest::new(module).second("case"))
    }

    /// Has a guest send the request at every tick.
    fn sent_by(&self, guest: Guest) -> Guest {
        let mut guest = guest.import("gauged:plugin/http", "fetch", FETCH);
        let [method, url, body] = [self.method, &self.url, self.body].map(|text| guest.text(text));
        let mut words = Vec::new();
        for (name, value) in self.headers {
            let (name, value) = (guest.text(name), guest.text(value));
            words.extend([name.0, name.1, value.0, value.1]);
        }
        let headers = guest.list(&words);
        let unix_socket = self.unix_socket.map(|path| guest.text(path));
        let (has_socket, unix_socket) = (u32::from(unix_socket.is_some()), unix_socket.unwrap_or_default());
        let number = |option: Option<u32>| [u32::from(option.is_some()), option.unwrap_or(0)];
        let has_options = self.timeout_ms.is_some() || self.max_body_bytes.is_some() || self.unix_socket.is_some();
        let arguments = [
            &[method.0, method.1, url.0, url.1, headers, self.headers.len() as u32, body.0, body.1][..],
            &[u32::from(has_options)],
            &number(self.timeout_ms),
            &number(self.max_body_bytes),
            &[has_socket, unix_socket.0, unix_socket.1, HOST_RESULT],
        ];
        let arguments: Vec<String> =
            arguments.concat().iter().map(|argument| format!("(i32.const {argument})")).collect();
        let arguments = arguments.concat();
        let (error, case) = (HOST_RESULT + 8, SECOND_VALUE + 8);
        let is_one_of = |cases: u64| {
            format!("(i32.and (i32.shr_u (i32.const {cases}) (i32.load8_u (i32.const {error}))) (i32.const 1))")
        };
        guest.before_collect(&format!(
            "(call $fetch {arguments})
             (if (i32.load8_u (i32.const {HOST_RESULT}))
                (then (i64.store (i32.const {case}) (i64.load8_u (i32.const {error})))
                      (if {has_limit} (then {limit})
                        (else (if {has_nothing} (then {nothing})
                            (else (if {has_several} (then {second}) (else {message})))))))
                (else (i64.store (i32.const {case}) (i64.load16_u (i32.const {error})))
                      {show}))",
            has_limit = is_one_of(1 << TOO_LARGE),
            limit = self::number(&format!("(i64.load (i32.const {}))", HOST_RESULT + 16)),
            has_nothing = is_one_of(WITHOUT_TEXT),
            nothing = self::number("(i64.const 0)"),
            message = text(HOST_RESULT + 16),
            has_several = is_one_of(OF_SEVERAL_TEXTS),
            second = text(HOST_RESULT + 24),
            show = self.show,
        ))
    }
}

/// Instructions that make the text at an address the guest's value.
fn text(at: u32) -> String {
    format!(
        "(i32.store (i32.const {VALUE}) (i32.const 4))
         (i32.store (i32.const {}) (i32.load (i32.const {at})))
         (i32.store (i32.const {}) (i32.load (i32.const {})))",
        VALUE + 8,
        VALUE + 12,
        at + 4
    )
}

/// Instructions that make a number the guest's value.
fn number(expression: &str) -> String {
    format!("(i32.store (i32.const {VALUE}) (i32.const 0)) (i64.store (i32.const {}) {expression})", VALUE + 8)
}

/// The metrics `case` and `value` of the guest.
pub fn outcome(sample: &Sample) -> Option<(u64, Value)> {
    module_outcome(sample, "fetcher")
}

/// The same metrics of another module.
pub fn module_outcome(sample: &Sample, module: &str) -> Option<(u64, Value)> {
    Some((sample.get(module)?.get("case")?.as_u64()?, value(sample, module)?))
}

/// Sends a request with these grants; returns `case` and `value`.
fn fetch(request: &Fetch<'_>, granted: &[&str]) -> (u64, Value) {
    fetch_from(&granting(granted), request)
}

/// A setup whose guest has these grants.
fn granting(granted: &[&str]) -> Setup {
    Setup::with_config(&format!("[plugins.fetcher]\ntimeout = \"10s\"\nfetch = {granted:?}\n"))
}

fn fetch_from(setup: &Setup, request: &Fetch<'_>) -> (u64, Value) {
    request.guest().install(&setup.plugin("fetcher.wasm"));
    let (sample, log) = setup.once();
    outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}"))
}

/// Sends a GET request to a server; returns `case` and `value`.
pub fn get(server: &Server) -> (u64, Value) {
    let origin = format!("http://{}", server.address);
    fetch(&Fetch::get(&*origin), &[&origin])
}

fn contains(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.contains(text))
}

#[test]
fn a_response_is_fetched() {
    let (sender, requests) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        let _ = sender.send(read_request(&mut stream));
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfin\r\n1\r\ne\r\n0\r\n\r\n");
    });
    let port = server.port();
    let request = Fetch {
        method: "POST",
        headers: &[("X-Key", "a b"), ("Accept", "*/*")],
        body: "hello",
        ..Fetch::get(format!("HTTP://LOCALHOST:{port}/path?query#fragment"))
    };
    let granted = format!("http://localhost:{port}");
    assert_eq!(fetch(&request, &[&granted]), (200, "fine".into()));
    let received = requests.recv().expect("a request");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        received,
        format!(
            "POST /path?query HTTP/1.1\r\nx-key: a b\r\naccept: */*\r\nconnection: close\r\nhost: localhost:{port}\r\n\
             user-agent: gauged/{version}\r\ncontent-length: 5\r\n\r\nhello"
        )
    );
}

#[test]
fn a_status_of_500_is_a_response() {
    let server = Server::responding("HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(get(&server), (500, "no".into()));
}

#[test]
fn redirects_are_returned_and_not_followed() {
    let other = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let target = other.address;
    let server = Server::responding(format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{target}/\r\nContent-Length: 4\r\n\r\naway"
    ));
    let (origin, target) = (format!("http://{}", server.address), format!("http://{target}"));
    assert_eq!(fetch(&Fetch::get(&*origin), &[&origin, &target]), (302, "away".into()));
    assert_eq!(other.connections(), 0);
}

#[test]
fn silent_server_affects_only_its_plugin() {
    let server = Server::start(|mut stream| {
        // Until the client closes the connection.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let origin = format!("http://{}", server.address);
    let config = format!("interval = \"200ms\"\n[plugins.fetcher]\ntimeout = \"1s\"\nfetch = [\"{origin}\"]\n");
    let setup = Setup::with_config(&config);
    Guest::new("good").install(&setup.plugin("good.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| value(sample, "good").is_some());
    Fetch::get(&*origin).guest().install(&setup.plugin("fetcher.wasm"));
    let sample = agent.wait(|sample| outcome(sample).is_some());
    assert_eq!(outcome(&sample), Some((TIMEOUT, 0.into())), "the guest handles the error itself");
    let sample = agent.wait(|sample| plugin_metric(sample, "plugin_skipped_total", "fetcher") >= Some(3.0));
    assert_eq!(fault_count(&sample, "fetcher", "timeout"), 0.0);
    agent.assert_never_absent("good");

    let impatient = Fetch { timeout_ms: Some(20), ..Fetch::get(&*origin) };
    assert_eq!(fetch(&impatient, &[&origin]), (TIMEOUT, 0.into()));
}

#[test]
fn oversized_response_is_an_error() {
    let announced = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx");
    assert_eq!(get(&announced), (TOO_LARGE, (4 << 20).into()));

    assert_eq!(get(&Server::endless("HTTP/1.1 200 OK\r\n\r\n", "body")), (TOO_LARGE, (4 << 20).into()));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(get(&Server::endless(chunked, "4\r\nbody\r\n")), (TOO_LARGE, (4 << 20).into()));
    assert_eq!(get(&Server::endless("HTTP/1.1 200 OK\r\nx: ", "head")), (TOO_LARGE, (64 << 10).into()));
    let limited = |response: &str| {
        let server = Server::responding(response);
        let origin = format!("http://{}", server.address);
        fetch(&Fetch { max_body_bytes: Some(4), ..Fetch::get(&*origin) }, &[&origin])
    };
    assert_eq!(limited("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"), (200, "body".into()));
    assert_eq!(limited("HTTP/1.1 200 OK\r\n\r\nabody"), (TOO_LARGE, 4.into()));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    assert_eq!(get(&Server::responding(many)).0, PROTOCOL);
}

#[test]
fn malformed_response_is_a_protocol_error() {
    for response in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\0\0\0\0",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        // Ended early: before the head, in the head, in the body.
        "",
        "HTTP/1.1 200 OK\r\nConte",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxx",
    ] {
        let (case, message) = get(&Server::responding(response));
        assert_eq!(case, PROTOCOL, "{response:?}: {message}");
    }
}

#[test]
fn refused_connection_differs_from_denied() {
    let origin = format!("http://127.0.0.1:{}", closed_port());
    let (case, message) = fetch(&Fetch::get(&*origin), &[&origin]);
    assert_eq!((case, message), (REFUSED, "Connection refused".into()));

    let server = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let setup = granting(&["http://granted:8080"]);
    let port = server.port();
    for (url, missing) in [
        (format!("http://127.0.0.1:{port}/x"), format!("http://127.0.0.1:{port}")),
        (format!("http://[::FFFF:127.0.0.1]:{port}"), format!("http://127.0.0.1:{port}")),
        ("HTTPS://Granted:8080".to_owned(), "https://granted:8080".to_owned()),
        ("http://169.254.169.254/latest".to_owned(), "http://169.254.169.254".to_owned()),
    ] {
        assert_eq!(fetch_from(&setup, &Fetch::get(url)), (DENIED, missing.into()));
    }
    for url in [
        format!("http://granted:8080@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}\\@granted:8080/"),
        format!("http://127.1:{port}/"),
        format!("127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/ HTTP/1.1\r\nhost: granted"),
    ] {
        assert_eq!(fetch_from(&setup, &Fetch::get(url)).0, INVALID_REQUEST);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn request_injection_is_refused() {
    let server = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let origin = format!("http://{}", server.address);
    let setup = granting(&[&origin]);
    for header in [
        ("Host", "granted"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "keep-alive"),
        ("x", "y\r\nhost: other"),
        ("x\r\nhost: other", "y"),
    ] {
        let (case, message) = fetch_from(&setup, &Fetch { headers: &[header], ..Fetch::get(&*origin) });
        assert_eq!(case, INVALID_REQUEST, "{header:?}: {message}");
    }
    let (case, message) = fetch_from(&setup, &Fetch { method: "GET / HTTP/1.1\r\n\r\nGET", ..Fetch::get(&*origin) });
    assert_eq!(case, INVALID_REQUEST, "{message}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn own_host_name_does_not_reach_loopback() {
    let name = sysinfo::System::host_name().expect("a name").to_lowercase();
    let server = Server::responding("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let port = server.port();
    let origin = format!("http://{name}:{port}");
    // Machines differ in the addresses of their own name, and so does the expected result.
    let addresses: Vec<_> = (&*name, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let (case, message) = fetch(&Fetch::get(&*origin), &[&origin]);
    match addresses.first() {
        None => assert_eq!(case, RESOLVE, "{message}"),
        Some(_) if addresses.iter().all(|address| address.ip().is_loopback()) => {
            assert_eq!((case, message), (DENIED, format!("http://{}", addresses[0]).into()));
            assert_eq!(server.connections(), 0);
            let literal = format!("http://{}", server.address);
            assert_eq!(fetch(&Fetch::get(&*origin), &[&origin, &literal]).0, 200, "the address is granted, too");
        }
        Some(_) => assert_eq!(case, REFUSED, "the server listens on the loopback address only: {message}"),
    }
}

#[test]
fn denial_is_logged_once_with_its_remedy() {
    let setup = Setup::with_config("interval = \"100ms\"\n[plugins.fetcher]\nfetch = [\"http://granted\"]\n");
    Fetch::get("http://Other:81/x").guest().install(&setup.plugin("fetcher.wasm"));
    let mut agent = setup.start(&[]);
    agent.wait(|sample| outcome(sample).is_some());
    for _ in 0..3 {
        agent.next();
    }
    let line = r#"WARN access denied plugin=fetcher remedy="write under [plugins.fetcher]: fetch = [\"http://granted\", \"http://other:81\"], and reload the agent""#;
    assert_eq!(agent.wait_log_lines(line, 1).len(), 1, "{}", agent.log());
}

#[test]
fn needs_are_compared_with_grants() {
    let setup = Setup::with_config("[plugins.a]\nfetch = [\"https://EXAMPLE.org:443\"]\nconnect = [\"db:1\"]\n");
    let install = |file: &str, kind: &str, need: &str| {
        Guest::new(file).needs(kind, need, "ask").install(&setup.plugin(file).with_extension("wasm"));
    };
    install("a", "fetch", "https://example.org");
    assert!(!setup.once().1.contains("grants missing"));
    install("a", "connect", "DB:1");
    install("b", "fetch", "https://example.org");
    install("c", "connect", "nowhere");
    let log = setup.once().1;
    let line = r#"INFO grants missing plugin=b count=1 reason="to ask" remedy="write under [plugins.b]: fetch = [\"https://example.org\"], and"#;
    assert!(log.contains(line) && !log.contains("grants missing plugin=a"), "{log}");
    let line = r#"WARN plugin needs impossible grants plugin=c needs="connect = [\"nowhere\"] has no port; end it with one from :1 to :65535" remedy="fix the plugin""#;
    assert!(log.contains(line), "{log}");
}
