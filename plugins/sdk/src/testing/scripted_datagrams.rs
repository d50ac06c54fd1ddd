//! The scripted datagrams of a peer.

use std::collections::VecDeque;

use crate::net::{Datagram, Error};

/// The datagrams of one socket, in order: those that the peer expects, and its replies. After the last step a receive times out.
///
/// ```
/// use gauged_plugin::net::DatagramSocket;
/// use gauged_plugin::testing::{Host, ScriptedDatagrams};
///
/// let mut host = Host::new();
/// host.datagrams("udp:127.0.0.1:161", ScriptedDatagrams::new().expects("get").replies("a long value"));
/// host.run(|| {
///     let agent = DatagramSocket::open("udp:127.0.0.1:161")?;
///     agent.send(b"get")?;
///     let reply = agent.receive_part(6)?;
///     assert_eq!((&*reply.bytes, reply.length, reply.is_cut_off()), (&b"a long"[..], 12, true));
///     Ok::<(), gauged_plugin::Error>(())
/// })?;
/// # Ok::<(), gauged_plugin::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ScriptedDatagrams {
    steps: VecDeque<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Expects(Vec<u8>),
    Replies(Vec<u8>),
    Fails(Error),
}

impl ScriptedDatagrams {
    /// A peer that is silent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects exactly this datagram. Another one fails the test.
    #[must_use]
    pub fn expects(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Expects(bytes.as_ref().to_vec()))
    }

    /// Replies with one datagram. Without a reply to what it expects, the plugin has to cope with a lost one.
    #[must_use]
    pub fn replies(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Replies(bytes.as_ref().to_vec()))
    }

    /// Fails every further receive with this error. What is sent is lost.
    #[must_use]
    pub fn fails(self, error: Error) -> Self {
        self.then(Step::Fails(error))
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let sent = String::from_utf8_lossy(bytes);
        // A plugin need not wait for a reply.
        let next = self.steps.iter().position(|step| !matches!(step, Step::Replies(_)));
        match next.and_then(|next| self.steps.get(next)) {
            Some(Step::Expects(expected)) => {
                assert_eq!(sent, String::from_utf8_lossy(expected), "the plugin sends an unexpected datagram");
                self.steps.remove(next.unwrap_or_default());
            }
            Some(Step::Fails(_)) => {}
            Some(Step::Replies(_)) | None => panic!("the plugin sends {sent:?}, which is not expected"),
        }
    }

    pub(super) fn receive(&mut self, max_bytes: u32) -> Result<Datagram, Error> {
        match self.steps.front() {
            Some(Step::Fails(error)) => return Err(error.clone()),
            Some(Step::Replies(_)) => {}
            // The peer waits for a request, or has no more steps.
            Some(Step::Expects(_)) | None => return Err(Error::Timeout),
        }
        let Some(Step::Replies(mut bytes)) = self.steps.pop_front() else { return Err(Error::Timeout) };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes.truncate(max_bytes as usize);
        Ok(Datagram { bytes, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_datagrams() {
        let mut peer = ScriptedDatagrams::new().expects("a").replies("1").expects("b").replies("2");
        assert_eq!(peer.receive(10), Err(Error::Timeout), "no request yet");
        peer.send(b"a");
        // Before the reply.
        peer.send(b"b");
        let bytes = |peer: &mut ScriptedDatagrams| peer.receive(10).expect("a reply").bytes;
        assert_eq!([bytes(&mut peer), bytes(&mut peer)], [b"1", b"2"]);
        assert_eq!(peer.receive(10), Err(Error::Timeout), "no more");
    }

    #[test]
    #[should_panic(expected = "the plugin sends an unexpected datagram")]
    fn wrong_datagram_fails_the_test() {
        ScriptedDatagrams::new().expects("ab").send(b"a");
    }

    #[test]
    #[should_panic(expected = "which is not expected")]
    fn additional_datagram_fails_the_test() {
        ScriptedDatagrams::new().replies("x").send(b"a");
    }
}
