//! What a server says on one connection.

use std::collections::VecDeque;

use crate::net::Error;

/// What a server expects and answers on one connection, in this order. When there is nothing left it says nothing, so
/// that reading ends with a timeout.
///
/// ```
/// use gauged_plugin::net::{Connection, Error};
/// use gauged_plugin::testing::{Conversation, Host};
///
/// let mut host = Host::new();
/// host.connection("127.0.0.1:6379", Conversation::new().expects("PING\r\n").answers("+PONG\r\n"));
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
pub struct Conversation {
    steps: VecDeque<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Expects(Vec<u8>),
    Answers(Vec<u8>),
    Closes,
    Fails(Error),
}

impl Conversation {
    /// A server that says nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These bytes are written to it, in one or in several writes. Anything else fails the test.
    #[must_use]
    pub fn expects(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Expects(bytes.as_ref().to_vec()))
    }

    /// It sends these bytes. Two answers arrive in two pieces.
    #[must_use]
    pub fn answers(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Answers(bytes.as_ref().to_vec()))
    }

    /// It closes the connection.
    #[must_use]
    pub fn closes(self) -> Self {
        self.then(Step::Closes)
    }

    /// Whatever is done next fails so.
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
                        "the plugin writes what is not expected"
                    );
                    bytes = &bytes[length..];
                    expected.drain(..length);
                    if expected.is_empty() {
                        self.steps.pop_front();
                    }
                }
                Some(Step::Answers(_)) => {
                    panic!("the plugin writes {:?} before it has read the answer", String::from_utf8_lossy(bytes))
                }
                Some(Step::Closes) => return Err(Error::Io("Broken pipe (os error 32)".to_owned())),
                Some(Step::Fails(error)) => return Err(error.clone()),
                None => panic!("the plugin writes {:?}, which is not expected", String::from_utf8_lossy(bytes)),
            }
        }
        Ok(())
    }

    pub(super) fn read(&mut self, max_bytes: usize) -> Result<Vec<u8>, Error> {
        match self.steps.front_mut() {
            Some(Step::Answers(bytes)) => {
                let read: Vec<u8> = bytes.drain(..bytes.len().min(max_bytes)).collect();
                if bytes.is_empty() {
                    self.steps.pop_front();
                }
                Ok(read)
            }
            Some(Step::Closes) => Ok(Vec::new()),
            Some(Step::Fails(error)) => Err(error.clone()),
            // It waits for a request, or has nothing more to say.
            Some(Step::Expects(_)) | None => Err(Error::Timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_and_go_in_pieces() {
        let mut server = Conversation::new().expects("PING\r\n").answers("+PONG").answers("\r\n").closes();
        assert_eq!(server.read(10), Err(Error::Timeout), "it was not asked");
        server.write(b"PI").expect("as expected");
        server.write(b"NG\r\n").expect("as expected");
        assert_eq!(server.read(3).as_deref(), Ok(&b"+PO"[..]));
        assert_eq!(server.read(10).as_deref(), Ok(&b"NG"[..]));
        assert_eq!(server.read(10).as_deref(), Ok(&b"\r\n"[..]));
        assert_eq!(server.read(10).as_deref(), Ok(&b""[..]));
        assert!(server.write(b"x").is_err(), "it is closed");
    }

    #[test]
    fn what_fails_goes_on_failing() {
        let mut server = Conversation::new().fails(Error::Timeout);
        assert_eq!((server.write(b"x"), server.read(1)), (Err(Error::Timeout), Err(Error::Timeout)));
    }

    #[test]
    #[should_panic(expected = "the plugin writes what is not expected")]
    fn another_request_fails_the_test() {
        let _ = Conversation::new().expects("PING").write(b"QUIT");
    }

    #[test]
    #[should_panic(expected = "before it has read the answer")]
    fn a_request_before_the_answer_was_read_fails_the_test() {
        let _ = Conversation::new().answers("hello").write(b"x");
    }

    #[test]
    #[should_panic(expected = "which is not expected")]
    fn one_request_more_fails_the_test() {
        let _ = Conversation::new().write(b"x");
    }
}
