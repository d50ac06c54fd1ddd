//! Conversations of a script in datagrams. Each socket of the plugin has one, which begins with its first datagram.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

use super::deviation::{deviation, shown};
use super::present::{PresentHost, lock};
use crate::config::script::{ScriptedConnection, Step, bytes};

/// Longer than any datagram.
const DATAGRAM_BYTES: usize = 64 << 10;

/// Holds the conversations of a peer.
pub(super) async fn serve(socket: UdpSocket, address: String, state: Arc<Mutex<PresentHost>>) {
    let mut conversations: BTreeMap<SocketAddr, VecDeque<Step>> = BTreeMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES];
    // An error is that of a plugin that has closed its socket.
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let steps = conversations.entry(from).or_insert_with(|| {
            let next = lock(&state).connections.get_mut(&address).and_then(VecDeque::pop_front);
            match next {
                Some(ScriptedConnection::Steps(steps)) => steps.into(),
                // Silent.
                Some(ScriptedConnection::Failure(_)) => VecDeque::from([Step::Wait(true)]),
                None => VecDeque::new(),
            }
        });
        match answer(steps, &buffer[..length]) {
            Ok(datagrams) => {
                for datagram in datagrams {
                    // It may have closed its socket.
                    let _ = socket.send_to(&datagram, from).await;
                }
            }
            Err(why) => {
                lock(&state).deviations.push(format!("{address}: {why}"));
                *steps = VecDeque::from([Step::Wait(true)]);
            }
        }
    }
}

/// Takes the steps up to the next datagram of the plugin. Returns what is sent to it.
fn answer(steps: &mut VecDeque<Step>, received: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let expected = match steps.front() {
        Some(Step::Receive(text)) => text.clone().into_bytes(),
        Some(Step::ReceiveHex(text)) => bytes(text).unwrap_or_default(),
        Some(Step::Wait(_)) => return Ok(Vec::new()),
        _ => return Err(format!("the plugin sent \"{}\" after the end of the conversation", shown(received))),
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
