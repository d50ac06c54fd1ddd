//! Clients of the HTTP server: they send what a test wants, and read what comes.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::{Agent, DEADLINE, Setup};

/// How long a genuine scraper waits: less than the five seconds after which the agent drops peers that are silent, so that it does not
/// wait behind them.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// A loopback address of this test's own: no other program has its ports.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let ([high, low], number) = ((std::process::id() as u16).to_be_bytes(), NEXT.fetch_add(1, Ordering::Relaxed));
    let ip = Ipv4Addr::new(127, high, low, u8::try_from(number % 250).expect("small") + 2);
    SocketAddr::new(IpAddr::V4(ip), 9101 + number / 250)
}

/// Ends other threads of a test, also when it fails.
pub struct EndAtDrop<'a>(pub &'a AtomicBool);

impl Drop for EndAtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An agent with an HTTP server.
pub struct HttpAgent {
    /// Kept as long as the agent runs.
    pub setup: Setup,
    pub agent: Agent,
    pub address: SocketAddr,
}

impl HttpAgent {
    /// An agent whose table `[http]` has these keys besides `listen`.
    pub fn start(keys: &str) -> Self {
        let (setup, address) = (Setup::new(), own_address());
        let agent = Self::configure(&setup, address, keys).start(&[]);
        let mut started = Self { setup, agent, address };
        started.agent.wait_log(&format!("HTTP address opened address={address}"));
        started.agent.next();
        started
    }

    /// Writes another configuration and has it read.
    pub fn reload(&mut self, address: SocketAddr, keys: &str) {
        Self::configure(&self.setup, address, keys);
        self.reload_files();
    }

    /// Has the files read again.
    pub fn reload_files(&mut self) {
        self.agent.signal(Signal::HUP);
    }

    /// Writes the configuration of such an agent.
    pub fn configure<'a>(setup: &'a Setup, address: SocketAddr, keys: &str) -> &'a Setup {
        Self::write(setup, &format!("[http]\nlisten = [\"{address}\"]\n{keys}\n"));
        setup
    }

    /// Writes a configuration whose samples are printed, too.
    pub fn write(setup: &Setup, tables: &str) {
        let text = format!("interval = \"250ms\"\nsinks.stdout.kind = \"stdout\"\n{tables}\n");
        std::fs::write(setup.path("gauged.toml"), text).expect("written");
    }

    /// The response to a request for a path.
    pub fn get(&self, path: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// The response to a text.
    pub fn send(&self, request: &str) -> Response {
        let mut stream = connect(self.address);
        stream.write_all(request.as_bytes()).expect("sent");
        Response::read(&mut stream)
    }

    /// Asserts that a genuine scraper is answered within its patience. One of several scrapes may fail: the machine may be busy.
    pub fn expect_scrapes(&self) {
        let scrapes: Vec<_> = (0..6).map(|_| self.scrape()).collect();
        let is_well = |scrape: &io::Result<Response>| scrape.as_ref().is_ok_and(|response| response.status == 200);
        let failed: Vec<_> = scrapes.iter().filter(|scrape| !is_well(scrape)).collect();
        assert!(failed.len() <= 1, "{failed:?}");
    }

    fn scrape(&self) -> io::Result<Response> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        if text.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Response::parse(&text)) }
    }

    /// Waits until so many requests and connections were rejected for a reason.
    pub fn wait_rejected(&mut self, reason: &str, count: u64) {
        let key = format!("http_rejected_total{{reason=\"{reason}\"}}");
        self.agent.wait(|sample| sample["agent"][&key].as_u64().expect("a count") >= count);
    }

    /// The memory that the agent has had at most, without the pages of the program, in kB.
    pub fn peak_kb(&self) -> u64 {
        self.agent.status("VmHWM").saturating_sub(self.agent.status("RssFile"))
    }
}

/// The response to a request for a path on a connection of its own.
pub fn request(stream: &mut TcpStream, path: &str) -> Response {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    Response::read(stream)
}

/// Reads one response of several on a connection.
pub fn read_response(stream: &mut (impl io::Read + ?Sized)) -> Response {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a response");
        text.push(byte[0]);
    }
    let mut response = Response::parse(&text);
    let length = response.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
    response.body = vec![0; length];
    stream.read_exact(&mut response.body).expect("the body");
    response
}

/// A connection on which a test waits as long as for any other condition.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream
}

/// A connection whose own queue is short.
pub fn connect_shallow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("set");
    socket.set_read_timeout(Some(DEADLINE)).expect("set");
    socket.connect(&address.into()).expect("connected");
    socket.into()
}

/// Everything that comes until the peer closes the connection, in whatever way.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return text,
            Ok(length) => text.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return text,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}; so far: {}", String::from_utf8_lossy(&text)),
        }
    }
}

/// A response to one request.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// With names in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn read(stream: &mut TcpStream) -> Self {
        Self::parse(&read_all(stream))
    }

    pub fn parse(text: &[u8]) -> Self {
        let end = text.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no response in {:?}", String::from_utf8_lossy(text)));
        let head = String::from_utf8(text[..end].to_vec()).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: text[end + 4..].to_vec() }
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}
