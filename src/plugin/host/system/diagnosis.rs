//! Messages of the kernel's socket diagnosis, `sock_diag(7)`: the request for the sockets of a table in given states, and the sockets
//! in a reply. No system call is made here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plugin::guest::bindings::gauged::plugin::system::SocketTable;

/// The number of the protocol of netlink.
pub(super) const NETLINK_SOCK_DIAG: i32 = 4;

/// The length of a request, also as it says it.
const REQUEST_BYTES: usize = 72;
const REQUEST_LENGTH: u32 = 72;

/// The numbers of families and protocols, which have one byte here.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// The header of each message: length, type, flags, sequence, port.
const HEADER_BYTES: usize = 16;

/// The part of a message about a socket that every kernel has.
const SOCKET_BYTES: usize = 72;

/// Types of messages.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// The flags of a request for all sockets.
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;

/// The states that `/proc/net/tcp` has, by their numbers, with the names that ss(8) and `node_exporter` give them. A connection that
/// is being accepted has a number of its own in requests, and the same as any other of its state in replies.
pub(super) const STATES: [(u8, &str); 12] = [
    (1, "established"),
    (2, "syn_sent"),
    (3, "syn_recv"),
    (4, "fin_wait1"),
    (5, "fin_wait2"),
    (6, "time_wait"),
    (7, "close"),
    (8, "close_wait"),
    (9, "last_ack"),
    (10, "listen"),
    (11, "closing"),
    (12, "new_syn_recv"),
];

/// The number of the state of listening TCP sockets, and that of UDP sockets without a peer.
const LISTEN: u8 = 10;
const CLOSE: u8 = 7;

/// A set of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateSet(u32);

impl StateSet {
    /// All that `/proc/net/tcp` has.
    pub(super) fn all() -> Self {
        Self(STATES.iter().fold(0, |set, (state, _)| set | 1 << state))
    }

    /// That of the sockets which wait for peers.
    pub(super) fn listening(table: SocketTable) -> Self {
        match table {
            SocketTable::Tcp | SocketTable::Tcp6 => Self(1 << LISTEN),
            SocketTable::Udp | SocketTable::Udp6 => Self(1 << CLOSE),
        }
    }
}

/// A socket in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) state: u8,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// The number of the interface that it is bound to; 0 without one.
    pub(super) device: u32,
    /// For a listening TCP socket, the connections that wait to be accepted; otherwise the bytes that wait to be read.
    pub(super) receive_queue: u32,
    /// For a listening TCP socket, how many connections may wait; otherwise the bytes that wait to be sent.
    pub(super) send_queue: u32,
    pub(super) user: u32,
    pub(super) inode: u32,
}

/// A message of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Socket(Socket),
    /// The reply is complete.
    Done,
    /// The kernel's error, by its number.
    Error(i32),
    /// It does not have the form of any message.
    Malformed,
}

/// The request for all sockets of a table in these states.
pub(super) fn request(table: SocketTable, StateSet(states): StateSet) -> [u8; REQUEST_BYTES] {
    let (family, protocol) = match table {
        SocketTable::Tcp => (AF_INET, IPPROTO_TCP),
        SocketTable::Tcp6 => (AF_INET6, IPPROTO_TCP),
        SocketTable::Udp => (AF_INET, IPPROTO_UDP),
        SocketTable::Udp6 => (AF_INET6, IPPROTO_UDP),
    };
    let mut bytes = [0; REQUEST_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &REQUEST_LENGTH.to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    put(HEADER_BYTES, &[family, protocol]);
    put(HEADER_BYTES + 4, &states.to_ne_bytes());
    bytes
}

/// The messages in a part of a reply. It ends after the last one, and after a malformed one.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some((message, rest)) = split(bytes) else {
            bytes = &[];
            return Some(Message::Malformed);
        };
        bytes = rest;
        Some(message)
    })
}

/// The first message, and the bytes after it.
fn split(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let kind = u16::from_ne_bytes(array_at(bytes, 4)?);
    let payload = bytes.get(HEADER_BYTES..length)?;
    let message = match kind {
        NLMSG_DONE => match i32::from_ne_bytes(array_at(payload, 0).unwrap_or_default()) {
            0 => Message::Done,
            error => Message::Error(error.wrapping_neg()),
        },
        NLMSG_ERROR => Message::Error(i32::from_ne_bytes(array_at(payload, 0)?).wrapping_neg()),
        SOCK_DIAG_BY_FAMILY => Message::Socket(socket(payload)?),
        _ => return None,
    };
    // Messages begin at multiples of four.
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Parses `struct inet_diag_msg`.
fn socket(bytes: &[u8]) -> Option<Socket> {
    let bytes = bytes.get(..SOCKET_BYTES)?;
    let address = match bytes[0] {
        AF_INET => IpAddr::V4(Ipv4Addr::from(array_at::<4>(bytes, 8)?)),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(array_at::<16>(bytes, 8)?)),
        _ => return None,
    };
    Some(Socket {
        state: bytes[1],
        address,
        port: u16::from_be_bytes(array_at(bytes, 4)?),
        device: u32_at(bytes, 40)?,
        receive_queue: u32_at(bytes, 56)?,
        send_queue: u32_at(bytes, 60)?,
        user: u32_at(bytes, 64)?,
        inode: u32_at(bytes, 68)?,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message about a socket, as the kernel writes it.
    fn message(family: u8, state: u8, attributes: usize) -> Vec<u8> {
        let mut payload = vec![0; SOCKET_BYTES + attributes];
        payload[..2].copy_from_slice(&[family, state]);
        payload[4..6].copy_from_slice(&443_u16.to_be_bytes());
        payload[8..12].copy_from_slice(&[127, 0, 0, 1]);
        for (at, number) in [(40, 2_u32), (56, 3), (60, 128), (64, 1000), (68, 77)] {
            payload[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        framed(SOCK_DIAG_BY_FAMILY, &payload)
    }

    fn framed(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER_BYTES + payload.len()).expect("short").to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    const SOCKET: Socket = Socket {
        state: 10,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 443,
        device: 2,
        receive_queue: 3,
        send_queue: 128,
        user: 1000,
        inode: 77,
    };

    #[test]
    fn reply_has_sockets_and_an_end() {
        let mut bytes = message(2, 10, 9);
        bytes.extend(message(10, 1, 0));
        bytes.extend(framed(NLMSG_DONE, &[0; 4]));
        let found: Vec<Message> = messages(&bytes).collect();
        let second = Socket { state: 1, address: "7f00:1::".parse().expect("an address"), ..SOCKET };
        assert_eq!(found, [Message::Socket(SOCKET), Message::Socket(second), Message::Done]);
    }

    #[test]
    fn errors_of_the_kernel_are_positive() {
        let errors = [framed(NLMSG_ERROR, &(-2_i32).to_ne_bytes()), framed(NLMSG_DONE, &(-13_i32).to_ne_bytes())];
        let found: Vec<Message> = errors.iter().flat_map(|error| messages(error)).collect();
        assert_eq!(found, [Message::Error(2), Message::Error(13)]);
        assert_eq!(messages(&framed(9, &[])).collect::<Vec<_>>(), [Message::Malformed]);
    }

    #[test]
    fn requests_have_table_and_states() {
        let bytes = request(SocketTable::Udp6, StateSet::listening(SocketTable::Udp6));
        assert_eq!((bytes.len(), bytes[HEADER_BYTES], bytes[HEADER_BYTES + 1]), (72, 10, 17));
        assert_eq!(u32_at(&bytes, HEADER_BYTES + 4), Some(1 << 7));
        assert_eq!(StateSet::all(), StateSet(0x1ffe));
    }

    proptest! {
        #[test]
        fn damaged_replies_are_malformed_or_understood(at in 0_usize..200, byte: u8, length in 0_usize..200) {
            let mut bytes = message(2, 10, 20);
            bytes.extend(message(10, 1, 0));
            bytes.truncate(length);
            if let Some(damaged) = bytes.get_mut(at) {
                *damaged = byte;
            }
            // Each has a header at least.
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER_BYTES + 1);
        }
    }
}
