//! The servers of a script that accept connections: web servers, and those that hold conversations.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use super::conversation::{Socket, converse, hold, send};
use super::present::{PresentHost, lock};
use crate::config::script::{Response, ScriptedConnection, ScriptedResponse, ServerError, ServerFailure};

/// The largest request that a scripted web server reads: a plugin sends at most a head of 16 KiB and a body of 1 MiB.
const REQUEST_BYTES: usize = 2 << 20;

/// A server or a conversation, as the host has it.
#[derive(Clone)]
pub(super) struct ServerEnd {
    pub(super) address: String,
    pub(super) state: Arc<Mutex<PresentHost>>,
    /// Asks it to end. The host waits for the last of these.
    pub(super) ending: watch::Receiver<()>,
}

impl ServerEnd {
    /// Adds a deviation from the script.
    pub(super) fn report(&self, why: &str) {
        lock(&self.state).deviations.push(format!("{}: {why}", self.address));
    }
}

/// A listening socket.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Socket>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }

    /// The connections that wait to be accepted. The kernel has some of which the runtime has not heard yet.
    fn waiting(self) -> io::Result<Vec<Box<dyn Socket>>> {
        let mut streams: Vec<Box<dyn Socket>> = Vec::new();
        match self {
            Self::Tcp(listener) => {
                let listener = listener.into_std()?;
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    streams.push(Box::new(TcpStream::from_std(stream)?));
                }
            }
            Self::Unix(listener) => {
                let listener = listener.into_std()?;
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    streams.push(Box::new(UnixStream::from_std(stream)?));
                }
            }
        }
        Ok(streams)
    }
}

/// Accepts a server's connections until it is to end, and then those that the plugin has left.
pub(super) async fn serve(listener: Listener, mut server: ServerEnd) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Also when there is no host any more.
            _ = server.ending.changed() => break,
        };
        let Ok(stream) = accepted else { break };
        tokio::spawn(respond_on(stream, server.clone()));
    }
    match listener.waiting() {
        Ok(streams) => {
            for stream in streams {
                tokio::spawn(respond_on(stream, server.clone()));
            }
        }
        Err(error) => server.report(&error.to_string()),
    }
}

/// Holds the next conversation, or answers a request.
async fn respond_on(mut stream: impl Socket, server: ServerEnd) {
    let ServerEnd { address, state, ending: _ } = &server;
    let next = lock(state).connections.get_mut(address).and_then(VecDeque::pop_front);
    let held = match next {
        Some(ScriptedConnection::Steps(steps)) => converse(&mut stream, steps).await,
        Some(ScriptedConnection::Failure(ServerError::Timeout)) => hold(&mut stream).await,
        Some(ScriptedConnection::Failure(_)) => Ok(()),
        None => respond(&mut stream, address, state).await,
    };
    if let Err(why) = held {
        server.report(&why);
    }
}

/// Answers one request as a web server.
async fn respond(
    stream: &mut (impl Socket + ?Sized),
    endpoint: &str,
    state: &Mutex<PresentHost>,
) -> Result<(), String> {
    let (method, path) = request(stream).await?;
    let response = lock(state).responses.get(&(endpoint.to_owned(), path)).cloned();
    let (status, headers, body) = match response {
        Some(ScriptedResponse::Response(response)) => {
            let Response { status, headers, body, .. } = *response;
            (status, headers, body)
        }
        Some(ScriptedResponse::Failure(ServerFailure { error: ServerError::Timeout })) => return hold(stream).await,
        Some(ScriptedResponse::Failure(_)) => return Ok(()),
        None => (404, BTreeMap::new(), String::new()),
    };
    let mut message = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        // Writing to a string does not fail.
        let _ = write!(message, "{name}: {value}\r\n");
    }
    message.push_str("\r\n");
    if method != "HEAD" {
        message.push_str(&body);
    }
    send(stream, message.as_bytes()).await
}

/// Reads a request. Returns its method and path.
async fn request(stream: &mut (impl Socket + ?Sized)) -> Result<(String, String), String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if bytes.len() >= end + 4 + length.unwrap_or_default() {
                let mut words = head.split(' ');
                let [method, path] = [words.next(), words.next()].map(|word| word.unwrap_or_default().to_owned());
                return Ok((method, path));
            }
        }
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.map_err(|error| error.to_string())?;
        if read == 0 || bytes.len() > REQUEST_BYTES {
            return Err("the plugin sent no complete request".to_owned());
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}
