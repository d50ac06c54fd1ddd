//! Servers for guests to connect to, and peers for their datagrams: threads of the test process that listen on loopback addresses and
//! unix sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A server, on a loopback address by default.
pub struct Server {
    /// The address that it listens on.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// A server that passes each connection to a function, and then closes it.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), serve)
    }

    /// A server at an address of this machine.
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

    /// An HTTP server that sends these bytes after each request.
    pub fn responding(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |mut stream| {
            read_request(&mut stream);
            // The client may close the connection before it has read everything.
            let _ = stream.write_all(&response);
        })
    }

    /// An HTTP server that sends a text after each request, and then another one over and over, until the client closes the
    /// connection.
    pub fn endless(first: &str, then: &str) -> Self {
        let (first, then) = (first.to_owned(), then.repeat(1000));
        Self::start(move |mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(first.as_bytes());
            while stream.write_all(then.as_bytes()).is_ok() {}
        })
    }

    /// A server that sends back what it receives.
    pub fn echo() -> Self {
        Self::echo_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// An echo server at an address of this machine.
    pub fn echo_at(address: SocketAddr) -> Self {
        Self::start_at(address, |stream| echo(&stream, &stream))
    }

    /// The number of connections that it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Starts an echo server on a unix socket.
pub fn unix_echo(path: &Path) {
    unix_server(path, |stream| echo(&stream, &stream));
}

/// Starts a server on a unix socket that passes each connection to a function, and then closes it.
pub fn unix_server(path: &Path, serve: impl Fn(UnixStream) + Send + Sync + 'static) {
    let listener = UnixListener::bind(path).expect("a socket");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
}

/// Starts a peer on a loopback address that sends back each datagram. Returns its address.
pub fn udp_echo() -> SocketAddr {
    udp_echo_at((Ipv4Addr::LOCALHOST, 0).into()).expect("a port")
}

/// The same at an address of this machine.
///
/// # Errors
///
/// The machine has no such address.
pub fn udp_echo_at(address: SocketAddr) -> std::io::Result<SocketAddr> {
    let socket = UdpSocket::bind(address)?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..length], from);
        }
    });
    Ok(address)
}

/// Sends back what it receives, until the peer closes the connection.
fn echo(mut from: impl Read, mut to: impl Write) {
    let _ = std::io::copy(&mut from, &mut to);
}

/// Reads an HTTP request: its head, and a body of the announced length.
pub fn read_request(stream: &mut impl Read) -> String {
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

/// A port that no process listens on.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}
