//! Peers on loopback, each connection on a thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::PATIENCE;

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nX-Peer: yes\r\nContent-Length: 4\r\n\r\nfine";

/// More requests and connections than a test has.
const QUEUE: usize = 64;

/// A server, until the test ends.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Receiver<String>,
    closed: Receiver<()>,
}

impl Peer {
    /// A peer that does this with each connection, and then closes it. The connections are numbered from 0.
    pub(super) fn start_counting(serve: impl Fn(usize, &mut Recorded) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address");
        let (connections, serve) = (Arc::<AtomicUsize>::default(), Arc::new(serve));
        let (sender, requests) = sync_channel(QUEUE);
        let (end, closed) = sync_channel(QUEUE);
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (serve, end) = (Arc::clone(&serve), end.clone());
                let mut stream = Recorded { stream, requests: sender.clone() };
                thread::spawn(move || {
                    serve(number, &mut stream);
                    drop(stream);
                    let _ = end.send(());
                });
            }
        });
        Self { address, connections, requests, closed }
    }

    pub(super) fn start(serve: impl Fn(&mut Recorded) + Send + Sync + 'static) -> Self {
        Self::start_counting(move |_, stream| serve(stream))
    }

    /// A peer that responds to each request.
    pub(super) fn responding(response: &'static str) -> Self {
        Self::start(move |stream| while respond(stream, response) {})
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request that it has read.
    pub(super) fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// Waits until the next connection is closed.
    pub(super) fn wait_closed(&self) {
        self.closed.recv_timeout(PATIENCE).expect("a connection is closed");
    }
}

/// A connection whose requests the test sees.
pub(super) struct Recorded {
    stream: TcpStream,
    pub(super) requests: SyncSender<String>,
}

impl Recorded {
    pub(super) fn socket(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Reads a request with its body. None at the end of the stream.
pub(super) fn read_message(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if bytes.len() >= end + length {
                return Some(String::from_utf8(bytes).expect("text"));
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&part[..read]),
        }
    }
}

/// Reads a request, and shows it to the test. Returns whether there was one.
pub(super) fn read_request(stream: &mut Recorded) -> bool {
    let request = read_message(stream);
    request.map(|request| stream.requests.send(request)).is_some()
}

/// Reads a request and responds.
pub(super) fn respond(stream: &mut Recorded, response: &str) -> bool {
    read_request(stream) && stream.write_all(response.as_bytes()).is_ok()
}

/// Reads until the client closes the connection.
pub(super) fn drain(stream: &mut impl Read) {
    let _ = io::copy(stream, &mut io::sink());
}

/// Writes this again and again, until the client closes the connection. Returns how many bytes that were.
pub(super) fn flood(stream: &mut impl Write, piece: &str) -> usize {
    let piece = piece.repeat(8192 / piece.len());
    let mut written = 0;
    while let Ok(count) = stream.write(piece.as_bytes()) {
        written += count;
    }
    written
}

/// A file that only its owner may read.
pub(super) fn secret(directory: &tempfile::TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, content).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    path.to_str().expect("text").to_owned()
}

/// A value that a thread leaves for the test.
#[derive(Debug, Default)]
pub(super) struct Left<T>(Mutex<Option<T>>);

impl<T> Left<T> {
    pub(super) fn leave(&self, value: T) {
        *self.0.lock().expect("no panic") = Some(value);
    }

    pub(super) fn take(&self) -> Option<T> {
        self.0.lock().expect("no panic").take()
    }
}
