//! Proxies: a tunnel for TLS (`CONNECT`), and their errors.

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::error::{ClientError, ClientErrorKind};
use super::message::USER_AGENT_TEXT;
use crate::address::Endpoint;
use crate::config::Proxy;
use crate::escape::printable;

/// The largest head of a proxy's response.
const HEAD_BYTES: usize = 16 << 10;

/// The longest status line in an error.
const SHOWN_CHARACTERS: usize = 128;

/// Has a proxy connect a stream to an endpoint.
///
/// # Errors
///
/// Those of the kind `Proxy`.
pub(crate) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    endpoint: &Endpoint,
) -> Result<(), ClientError> {
    let failed = |why: String, remedy| {
        ClientError::new(ClientErrorKind::Proxy, format!("no tunnel to {endpoint} by the proxy {proxy}: {why}"), remedy)
    };
    let broken = |error: &dyn std::error::Error| failed(error.to_string(), "check the proxy");
    let mut request =
        format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: {USER_AGENT_TEXT}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(HeaderValue::as_bytes(authorization));
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(|error| broken(&error))?;
    stream.flush().await.map_err(|error| broken(&error))?;
    let mut head = Vec::new();
    let status = loop {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await.map_err(|error| broken(&error))?;
        if read == 0 {
            return Err(failed("it closed the connection".to_owned(), "check the proxy"));
        }
        head.extend_from_slice(&part[..read]);
        match parse(&head) {
            Head::Whole(status) => break status,
            Head::Partial if head.len() < HEAD_BYTES => {}
            Head::Partial => {
                return Err(failed(format!("its response has more than {HEAD_BYTES} bytes"), "check the proxy"));
            }
            Head::Invalid => {
                return Err(failed("its response is not HTTP".to_owned(), "check that a proxy is at this address"));
            }
        }
    };
    match status.code {
        200..300 => Ok(()),
        407 => Err(unauthorized(proxy)),
        _ => Err(failed(format!("it responds {}", status.line), "check that the proxy may connect to this address")),
    }
}

/// The error of a proxy that wants other credentials, or any.
pub(crate) fn unauthorized(proxy: &Proxy) -> ClientError {
    ClientError::new(
        ClientErrorKind::Proxy,
        format!("the proxy {proxy} wants other credentials (status 407)"),
        "write user and password of the proxy into its URL, as in http://user:password@proxy:3128",
    )
}

/// A response to `CONNECT`, as far as it was received.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    Partial,
    Whole(Status),
    /// It is not HTTP, or there is more than a head: a peer says nothing before the client in TLS.
    Invalid,
}

#[derive(Debug, PartialEq, Eq)]
struct Status {
    code: u16,
    /// Code and reason, for people.
    line: String,
}

fn parse(bytes: &[u8]) -> Head {
    const BEGIN: &[u8] = b"HTTP/1.";

    if !bytes.starts_with(&BEGIN[..BEGIN.len().min(bytes.len())]) {
        return Head::Invalid;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let Some(end) = end else { return Head::Partial };
    let line = bytes.split(|&byte| byte == b'\r').next().and_then(|line| line.get(BEGIN.len() + 2..));
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(code) = code.and_then(|code| code.parse().ok()) else { return Head::Invalid };
    // The body of a refusal is left unread.
    if (200..300).contains(&code) && end < bytes.len() {
        return Head::Invalid;
    }
    let shown: String = line.chars().take(SHOWN_CHARACTERS).collect();
    Head::Whole(Status { code, line: printable(&shown) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(bytes: &[u8]) -> Option<u16> {
        match parse(bytes) {
            Head::Whole(status) => Some(status.code),
            Head::Partial | Head::Invalid => None,
        }
    }

    #[test]
    fn status_of_a_proxy_is_parsed() {
        assert_eq!(code(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(code(b"HTTP/1.0 200\r\nVia: x\r\n\r\n"), Some(200));
        assert_eq!(code(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nno!\r\n"), Some(403));
        for partial in [&b"HT"[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nVia: x\r\n\r"] {
            assert_eq!(parse(partial), Head::Partial);
        }
        for invalid in [&b"SSH-2.0"[..], b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx"]
        {
            assert_eq!(parse(invalid), Head::Invalid);
        }
    }

    proptest! {
        /// Whatever stands before the end of a head, no more of it is waited for, and it is shown as text of one line.
        #[test]
        fn arbitrary_heads_are_whole_or_invalid(bytes in prop::collection::vec(any::<u8>(), 0..64), is_http in any::<bool>()) {
            let begin: &[u8] = if is_http { b"HTTP/1.1 " } else { b"" };
            match parse(&[begin, &bytes, b"\r\n\r\n"].concat()) {
                Head::Whole(Status { code, line }) => {
                    prop_assert!(line.starts_with(&format!("{code:03}")), "{} {}", code, line);
                    prop_assert!(!line.contains(char::is_control), "{:?}", line);
                }
                head => prop_assert_eq!(head, Head::Invalid),
            }
        }
    }
}
