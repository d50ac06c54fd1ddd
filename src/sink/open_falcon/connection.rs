//! A connection that is kept, with one call at a time on it. Responses of the peer are bounded.

use std::io;
use std::net::IpAddr;

use hyper::body::{Buf as _, Bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rpc::{CALL_TAIL, ObjectEnd, ObjectScanner};

/// The most bytes of a response. That of a transfer has a hundred.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// How much of a response is read at once.
const READ_BYTES: usize = 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Whether the last call on it has succeeded, and nothing followed the response.
    is_reusable: bool,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// The peer closed the connection before it sent anything: on a kept connection, it may just have been restarted.
    Closed(io::Error),
    /// The peer closed the connection in the middle of its response.
    Cut(io::Error),
    /// Its response is no object.
    NoObject,
    /// Its response is too long.
    TooLong,
}

impl CallFailure {
    /// The end of a sentence that begins with the peer's address.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Closed(error) => format!("closed the connection without a response ({error})"),
            Self::Cut(error) => format!("closed the connection in the middle of its response ({error})"),
            Self::NoObject => "sends no JSON-RPC".to_owned(),
            Self::TooLong => format!("sends more than {MAX_RESPONSE_BYTES} bytes"),
        }
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, is_reusable: false }
    }

    pub(super) fn is_reusable(&self) -> bool {
        self.is_reusable
    }

    /// The address of this host on it.
    pub(super) fn local_address(&self) -> Option<IpAddr> {
        self.stream.local_addr().ok().map(|address| address.ip().to_canonical())
    }

    /// Sends a call, and returns the text of the response. A connection on which this failed, or whose future was dropped, is of no use
    /// any more.
    pub(super) async fn call(&mut self, head: String, parameter: &Bytes) -> Result<Vec<u8>, CallFailure> {
        let mut call = Bytes::from(head).chain(parameter.clone()).chain(CALL_TAIL);
        let sent = self.stream.write_all_buf(&mut call).await;
        // A peer that refuses a call may respond, and close the connection, before it has read all of it.
        let mut response = Vec::new();
        let mut scanner = ObjectScanner::default();
        loop {
            let read = response.len();
            response.resize(read + READ_BYTES, 0);
            let count = match self.stream.read(&mut response[read..]).await {
                Ok(0) => Err(sent.as_ref().err().map_or(io::ErrorKind::UnexpectedEof.into(), copied)),
                Ok(count) => Ok(count),
                Err(error) => Err(error),
            };
            let count = match count {
                Ok(count) => count,
                Err(error) if read == 0 => return Err(CallFailure::Closed(error)),
                Err(error) => return Err(CallFailure::Cut(error)),
            };
            response.truncate(read + count);
            match scanner.scan(&response[read..]) {
                ObjectEnd::At(end) => {
                    // More than one response to a call belongs to no other call.
                    self.is_reusable = response[read + end..].iter().all(u8::is_ascii_whitespace);
                    response.truncate(read + end);
                    return Ok(response);
                }
                ObjectEnd::NoObject => return Err(CallFailure::NoObject),
                ObjectEnd::Later if response.len() > MAX_RESPONSE_BYTES => return Err(CallFailure::TooLong),
                ObjectEnd::Later => {}
            }
        }
    }
}

fn copied(error: &io::Error) -> io::Error {
    error.kind().into()
}
