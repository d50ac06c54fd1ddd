//! A scripted connection of a server.

use std::collections::VecDeque;

use crate::OsError;
use crate::net::Error;

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
            // The server waits for a request, or has no more steps.
            Some(Step::Expects(_)) | None => Err(Error::Timeout),
        }
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
