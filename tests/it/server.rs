//! Servers for guests to connect to: threads of the test process on loopback addresses and unix sockets, which do to each
//! connection what the test says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A server, on a loopback address unless it is told otherwise.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// A server that does this to each connection, and then closes it.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), serve)
    }

    /// The same, at an address of this machine.
    pub fn start_at(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("bound");
        let (connections, serve) = (Arc::new(AtomicUsize::new(0)), Arc::new(serve));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self { address, connections }
    }

    /// An HTTP server that answers every request with these bytes.
    pub fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |mut stream| {
            request(&mut stream);
            // A client that has seen enough hangs up.
            let _ = stream.write_all(&response);
        })
    }

    /// A server that sends back what it is sent.
    pub fn echoing() -> Self {
        Self::echoing_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same, at an address of this machine.
    pub fn echoing_at(address: SocketAddr) -> Self {
        Self::start_at(address, |stream| echo(&stream, &stream))
    }

    /// How many connections it has seen.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Serves a unix socket that sends back what it is sent.
pub fn echo_at(path: &Path) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || echo(&stream, &stream));
        }
    });
    UnixStream::connect(path).expect("it listens");
}

fn echo(mut from: impl Read, mut to: impl Write) {
    let _ = std::io::copy(&mut from, &mut to);
}

/// Reads the head of a request and as much of a body as it announces.
pub fn request(stream: &mut impl Read) -> String {
    let mut read = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= announced.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => read.extend_from_slice(&bytes[..count]),
            _ => return text,
        }
    }
}

/// A port on which nobody listens.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}
