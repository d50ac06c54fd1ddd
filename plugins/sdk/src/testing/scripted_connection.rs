//! A scripted connection of a server, in clear and over TLS. The latter is only a point of the conversation: nothing is encrypted.

use std::collections::VecDeque;

use super::FIRST_TICK_UNIX_SECONDS;
use crate::net::{Error, TlsChannel};
use crate::{Certificate, OsError, TlsSession};

/// The steps of one connection, in order: data that the server expects, and its replies. After the last step a read times
/// out.
///
/// ```
/// use gauged_plugin::net::{Connection, Error};
/// use gauged_plugin::testing::{ScriptedConnection, Host};
///
/// let mut host = Host::new();
/// host.connection("127.0.0.1:6379", ScriptedConnection::new().expects("PING\r\n").replies("+PONG\r\n"));
/// host.run(|| {
///     let redis = Connection::open("127.0.0.1:6379")?;
///     redis.write(b"PING\r\n")?;
///     assert_eq!(redis.read_until(b"\r\n", 100)?, b"+PONG\r\n");
///     assert_eq!(redis.read(100).unwrap_err().error, Error::Timeout);
///     Ok::<(), gauged_plugin::Error>(())
/// })?;
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ScriptedConnection {
    steps: VecDeque<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Expects(Vec<u8>),
    Replies(Vec<u8>),
    Closes,
    Fails(Error),
    /// With the name that the plugin has to ask for.
    StartsTls(String, Result<TlsChannel, Error>),
}

/// A channel to a server of this name, over TLS 1.3, with a certificate for the half years before and after the first tick, and an
/// end point of 32 zeros. Change what a test is about.
#[must_use]
pub fn tls_channel(server_name: &str) -> TlsChannel {
    const HALF_YEAR: i64 = 183 * 86_400;
    let now = i64::try_from(FIRST_TICK_UNIX_SECONDS).unwrap_or(i64::MAX);
    let certificate = Certificate {
        not_before: now - HALF_YEAR,
        not_after: now + HALF_YEAR,
        subject: format!("CN={server_name}"),
        issuer: "CN=Authority".to_owned(),
    };
    let session = TlsSession { version: "1.3".to_owned(), certificate };
    TlsChannel { session, server_end_point: Some(vec![0; 32]) }
}

impl ScriptedConnection {
    /// A connection without steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects these bytes, in one or several writes. Other bytes fail the test.
    #[must_use]
    pub fn expects(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Expects(bytes.as_ref().to_vec()))
    }

    /// Replies with these bytes. Each reply is a separate read.
    #[must_use]
    pub fn replies(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Replies(bytes.as_ref().to_vec()))
    }

    /// Closes the connection.
    #[must_use]
    pub fn closes(self) -> Self {
        self.then(Step::Closes)
    }

    /// Fails every further operation with this error.
    #[must_use]
    pub fn fails(self, error: Error) -> Self {
        self.then(Step::Fails(error))
    }

    /// Goes on over TLS, once the plugin starts it with this server name; another name fails the test.
    #[must_use]
    pub fn starts_tls(self, server_name: &str) -> Self {
        self.starts_tls_as(server_name, tls_channel(server_name))
    }

    /// The same with a channel of its own, such as one with another certificate or end point.
    #[must_use]
    pub fn starts_tls_as(self, server_name: &str, channel: TlsChannel) -> Self {
        self.then(Step::StartsTls(server_name.to_owned(), Ok(channel)))
    }

    /// Fails when the plugin starts TLS, as for a certificate that is not trusted. The connection has ended then.
    #[must_use]
    pub fn fails_tls(self, server_name: &str, error: Error) -> Self {
        self.then(Step::StartsTls(server_name.to_owned(), Err(error)))
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.steps.front_mut() {
                Some(Step::Expects(expected)) => {
                    let length = expected.len().min(bytes.len());
                    assert_eq!(
                        String::from_utf8_lossy(&bytes[..length]),
                        String::from_utf8_lossy(&expected[..length]),
                        "the plugin writes unexpected data"
                    );
                    bytes = &bytes[length..];
                    expected.drain(..length);
                    if expected.is_empty() {
                        self.steps.pop_front();
                    }
                }
                Some(Step::Replies(_)) => {
                    panic!("the plugin writes {:?} before it has read the reply", String::from_utf8_lossy(bytes))
                }
                Some(Step::StartsTls(..)) => {
                    panic!("the plugin writes {:?} in clear before it starts TLS", String::from_utf8_lossy(bytes))
                }
                Some(Step::Closes) => return Err(Error::Reset(OsError::new("EPIPE", "Broken pipe"))),
                Some(Step::Fails(error)) => return Err(error.clone()),
                None => panic!("the plugin writes {:?}, which is not expected", String::from_utf8_lossy(bytes)),
            }
        }
        Ok(())
    }

    pub(super) fn read(&mut self, max_bytes: usize) -> Result<Vec<u8>, Error> {
        match self.steps.front_mut() {
            Some(Step::Replies(bytes)) => {
                let read: Vec<u8> = bytes.drain(..bytes.len().min(max_bytes)).collect();
                if bytes.is_empty() {
                    self.steps.pop_front();
                }
                Ok(read)
            }
            Some(Step::Closes) => Ok(Vec::new()),
            Some(Step::Fails(error)) => Err(error.clone()),
            // The server waits for a request or TLS, or has no more steps.
            Some(Step::Expects(_) | Step::StartsTls(..)) | None => Err(Error::Timeout),
        }
    }

    pub(super) fn start_tls(&mut self, server_name: &str) -> Result<TlsChannel, Error> {
        let started = match self.steps.pop_front() {
            Some(Step::StartsTls(expected, channel)) => {
                assert_eq!(server_name, expected, "the plugin starts TLS with another server name");
                channel
            }
            // As the agent has it.
            Some(Step::Replies(_)) => Err(Error::Tls("the peer has sent more in clear than was read".to_owned())),
            Some(Step::Closes) => Err(Error::Reset(OsError::new("ECONNRESET", "the peer closed the connection"))),
            Some(Step::Fails(error)) => Err(error),
            Some(Step::Expects(_)) | None => panic!("the plugin starts TLS, which is not expected"),
        };
        if started.is_err() {
            self.steps = VecDeque::from([Step::Fails(Error::Tls("the connection has ended".to_owned()))]);
        }
        started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_may_be_partial() {
        let mut server = ScriptedConnection::new().expects("PING\r\n").replies("+PONG").replies("\r\n").closes();
        assert_eq!(server.read(10), Err(Error::Timeout), "no request yet");
        server.write(b"PI").expect("as expected");
        server.write(b"NG\r\n").expect("as expected");
        assert_eq!(server.read(3).as_deref(), Ok(&b"+PO"[..]));
        assert_eq!(server.read(10).as_deref(), Ok(&b"NG"[..]));
        assert_eq!(server.read(10).as_deref(), Ok(&b"\r\n"[..]));
        assert_eq!(server.read(10).as_deref(), Ok(&b""[..]));
        assert!(server.write(b"x").is_err(), "closed");
    }

    #[test]
    fn failure_is_permanent() {
        let mut server = ScriptedConnection::new().fails(Error::Timeout);
        assert_eq!((server.write(b"x"), server.read(1)), (Err(Error::Timeout), Err(Error::Timeout)));
    }

    #[test]
    fn tls_is_a_point_of_the_conversation() {
        let mut server = ScriptedConnection::new().replies("S").starts_tls("db").expects("hello").replies("hi");
        assert_eq!(server.read(1).as_deref(), Ok(&b"S"[..]));
        assert_eq!(server.read(1), Err(Error::Timeout), "it waits for TLS");
        let channel = server.start_tls("db").expect("as expected");
        assert_eq!(
            (channel.session.certificate.subject, channel.server_end_point),
            ("CN=db".to_owned(), Some(vec![0; 32]))
        );
        server.write(b"hello").expect("as expected");
        assert_eq!(server.read(9).as_deref(), Ok(&b"hi"[..]));
    }

    #[test]
    fn failed_tls_ends_the_connection() {
        let expired = Error::Tls("expired".to_owned());
        let mut server = ScriptedConnection::new().fails_tls("db", expired.clone()).replies("hi");
        assert_eq!(server.start_tls("db"), Err(expired));
        assert!(matches!((server.read(1), server.write(b"x")), (Err(Error::Tls(_)), Err(Error::Tls(_)))));
        let mut server = ScriptedConnection::new().replies("S, and more").starts_tls("db");
        server.read(1).expect("a reply");
        assert!(matches!(server.start_tls("db"), Err(Error::Tls(_))), "more in clear");
    }

    #[test]
    #[should_panic(expected = "in clear before it starts TLS")]
    fn request_in_clear_fails_the_test() {
        let _ = ScriptedConnection::new().starts_tls("db").expects("hello").write(b"hello");
    }

    #[test]
    #[should_panic(expected = "the plugin starts TLS, which is not expected")]
    fn tls_without_consent_fails_the_test() {
        let _ = ScriptedConnection::new().expects("STARTTLS").starts_tls("db").start_tls("db");
    }

    #[test]
    #[should_panic(expected = "the plugin starts TLS with another server name")]
    fn wrong_server_name_fails_the_test() {
        let _ = ScriptedConnection::new().starts_tls("db").start_tls("10.0.0.1");
    }

    #[test]
    #[should_panic(expected = "the plugin writes unexpected data")]
    fn wrong_request_fails_the_test() {
        let _ = ScriptedConnection::new().expects("PING").write(b"QUIT");
    }

    #[test]
    #[should_panic(expected = "before it has read the reply")]
    fn request_before_the_reply_fails_the_test() {
        let _ = ScriptedConnection::new().replies("hello").write(b"x");
    }

    #[test]
    #[should_panic(expected = "which is not expected")]
    fn additional_request_fails_the_test() {
        let _ = ScriptedConnection::new().write(b"x");
    }
}
