//! Conversations of a script in datagrams. Each socket of the plugin has one, which begins with its first datagram.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::deviation::{deviation, omission, shown};
use super::present::lock;
use super::servers::ServerEnd;
use crate::config::script::{ScriptedConnection, Step, bytes};

/// Longer than any datagram.
const DATAGRAM_BYTES: usize = 64 << 10;

/// Holds the conversations of a peer until it is to end, and reports what the plugin has left out of them.
pub(super) async fn serve(socket: UdpSocket, mut peer: ServerEnd) {
    let mut conversations = Conversations::default();
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            // Also when there is no host any more.
            _ = peer.ending.changed() => break,
        };
        // An error is that of a plugin that has closed its socket.
        let Ok((length, from)) = received else { continue };
        for datagram in conversations.take(&peer, &buffer[..length], from) {
            // It may have closed its socket.
            let _ = socket.send_to(&datagram, from).await;
        }
    }
    match socket.into_std() {
        Ok(socket) => conversations.finish(&peer, &socket, &mut buffer),
        Err(error) => peer.report(&error.to_string()),
    }
}

/// The steps that are left of each conversation, by the plugin's socket.
#[derive(Default)]
struct Conversations(BTreeMap<SocketAddr, VecDeque<Step>>);

impl Conversations {
    /// Takes a datagram of the plugin. Returns what is sent to it.
    fn take(&mut self, peer: &ServerEnd, datagram: &[u8], from: SocketAddr) -> Vec<Vec<u8>> {
        let steps = self.0.entry(from).or_insert_with(|| {
            let next = lock(&peer.state).connections.get_mut(&peer.address).and_then(VecDeque::pop_front);
            match next {
                Some(ScriptedConnection::Steps(steps)) => steps.into(),
                // Silent.
                Some(ScriptedConnection::Failure(_)) => VecDeque::from([Step::Wait(true)]),
                None => VecDeque::new(),
            }
        });
        answer(steps, datagram).unwrap_or_else(|why| {
            peer.report(&why);
            *steps = VecDeque::from([Step::Wait(true)]);
            Vec::new()
        })
    }

    /// Takes the datagrams of which the runtime has not heard yet, and reports those that the plugin did not send.
    fn finish(mut self, peer: &ServerEnd, socket: &std::net::UdpSocket, buffer: &mut [u8]) {
        loop {
            match socket.recv_from(buffer) {
                Ok((length, from)) => drop(self.take(peer, &buffer[..length], from)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // That of a plugin that has closed its socket, which is reported once.
                Err(_) => {}
            }
        }
        for expected in self.0.values().filter_map(|steps| expected(steps.front()?)) {
            peer.report(&omission(&expected));
        }
    }
}

/// The datagram of the plugin that is a step.
fn expected(step: &Step) -> Option<Vec<u8>> {
    match step {
        Step::Receive(text) => Some(text.clone().into_bytes()),
        Step::ReceiveHex(text) => Some(bytes(text).unwrap_or_default()),
        _ => None,
    }
}

/// Takes the steps up to the next datagram of the plugin. Returns what is sent to it.
fn answer(steps: &mut VecDeque<Step>, received: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if let Some(Step::Wait(_)) = steps.front() {
        return Ok(Vec::new());
    }
    let Some(expected) = steps.front().and_then(expected) else {
        return Err(format!("the plugin sent \"{}\" after the end of the conversation", shown(received)));
    };
    if received != expected {
        return Err(deviation(received, &expected));
    }
    steps.pop_front();
    let mut sent = Vec::new();
    while let Some(Step::Send(_) | Step::SendHex(_)) = steps.front() {
        match steps.pop_front() {
            Some(Step::Send(text)) => sent.push(text.into_bytes()),
            Some(Step::SendHex(text)) => sent.push(bytes(&text).unwrap_or_default()),
            _ => {}
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_follow_the_steps() {
        let step = |text: &str| Step::Receive(text.to_owned());
        let mut steps = VecDeque::from([
            step("a"),
            Step::Send("1".to_owned()),
            Step::SendHex("0032".to_owned()),
            step("b"),
            Step::ReceiveHex("63".to_owned()),
            Step::Wait(true),
        ]);
        assert_eq!(answer(&mut steps, b"a"), Ok(vec![b"1".to_vec(), b"\x002".to_vec()]));
        assert_eq!(answer(&mut steps, b"b"), Ok(Vec::new()), "a lost reply");
        let why = answer(&mut steps.clone(), b"x").expect_err("another one");
        assert_eq!(why, "the plugin sent \"x\" instead of \"c\"");
        assert_eq!(answer(&mut steps, b"c"), Ok(Vec::new()));
        assert_eq!(answer(&mut steps, b"anything"), Ok(Vec::new()));
        let why = answer(&mut VecDeque::new(), b"d").expect_err("no more");
        assert_eq!(why, "the plugin sent \"d\" after the end of the conversation");
    }
}
