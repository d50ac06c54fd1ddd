//! Sockets of the agent's network, from the kernel's socket diagnosis: a dump in which the kernel leaves out the states that nobody
//! asked for. A dump ends at its deadline, and at a number of sockets.

use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Type};

use super::diagnosis::{Message, NETLINK_SOCK_DIAG, STATES, Socket, StateSet, messages, request};
use super::error::{QueryError, unsupported};
use crate::plugin::guest::bindings::gauged::plugin::system::{
    Listener, Listeners, SocketCounts, SocketTable, StateCount,
};

/// The most sockets that are counted: a host with more of them has a load balancer's tables, and a dump of a second.
const COUNTED_SOCKETS: usize = 1_000_000;

/// The most listening sockets in a result: a hundred times as many as a busy host has.
const LISTENERS: usize = 10_000;

/// The part of a reply that is read at once: twice as long as the kernel makes them.
const PART_BYTES: usize = 64 << 10;

/// How long a part may take at least: a time limit of zero would be none.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// The remedy where the operating system refuses it.
const REMEDY: &str = "let the agent's sandbox open netlink sockets";

/// Counts the sockets of a table by their state.
pub(super) fn count(table: SocketTable, until: Instant) -> Result<SocketCounts, QueryError> {
    count_at_most(COUNTED_SOCKETS, table, until)
}

fn count_at_most(most: usize, table: SocketTable, until: Instant) -> Result<SocketCounts, QueryError> {
    let (mut counts, mut counted) = ([0_u64; 256], 0);
    let truncated = dump(table, StateSet::all(), until, |socket| {
        if counted == most {
            return ControlFlow::Break(());
        }
        counted += 1;
        counts[usize::from(socket.state)] += 1;
        ControlFlow::Continue(())
    })?;
    let states = STATES.iter().filter(|(state, _)| counts[usize::from(*state)] > 0);
    let states = states.map(|&(state, name)| StateCount { state: name.to_owned(), count: counts[usize::from(state)] });
    Ok(SocketCounts { states: states.collect(), truncated })
}

/// Lists the sockets of a table that wait for peers.
pub(super) fn listeners(table: SocketTable, until: Instant) -> Result<Listeners, QueryError> {
    listeners_at_most(LISTENERS, table, until)
}

fn listeners_at_most(most: usize, table: SocketTable, until: Instant) -> Result<Listeners, QueryError> {
    let mut sockets = Vec::new();
    let truncated = dump(table, StateSet::listening(table), until, |socket| {
        if sockets.len() == most {
            return ControlFlow::Break(());
        }
        sockets.push(listener(table, socket));
        ControlFlow::Continue(())
    })?;
    Ok(Listeners { sockets, truncated })
}

fn listener(table: SocketTable, socket: &Socket) -> Listener {
    let &Socket { address, port, device, receive_queue: queued, send_queue, user, inode, state: _ } = socket;
    let queue_limit = match table {
        SocketTable::Tcp | SocketTable::Tcp6 => Some(send_queue),
        SocketTable::Udp | SocketTable::Udp6 => None,
    };
    Listener { address: address.to_string(), port, device, queued, queue_limit, user, inode }
}

/// Passes on the sockets of a table in these states, until the caller breaks. Returns whether it did.
fn dump(
    table: SocketTable,
    states: StateSet,
    until: Instant,
    mut found: impl FnMut(&Socket) -> ControlFlow<()>,
) -> Result<bool, QueryError> {
    let domain = Domain::from(libc::AF_NETLINK);
    let protocol = Some(Protocol::from(NETLINK_SOCK_DIAG));
    let socket = socket2::Socket::new(domain, Type::RAW, protocol).map_err(|error| failed(&error))?;
    // Without an address a message goes to the kernel.
    socket.send(&request(table, states)).map_err(|error| failed(&error))?;
    let mut part = vec![0; PART_BYTES];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(QueryError::Timeout);
        }
        socket.set_read_timeout(Some(left.max(MIN_WAIT))).map_err(|error| failed(&error))?;
        let length = match (&socket).read(&mut part) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(QueryError::Timeout),
            Err(error) => return Err(failed(&error)),
        };
        for message in messages(&part[..length]) {
            match message {
                Message::Socket(socket) => {
                    if found(&socket).is_break() {
                        return Ok(true);
                    }
                }
                Message::Done => return Ok(false),
                Message::Error(number) => return Err(failed(&io::Error::from_raw_os_error(number))),
                Message::Malformed => return Err(QueryError::Other("the kernel's reply is malformed".to_owned())),
            }
        }
    }
}

/// The error of a system call or of the kernel's reply. A kernel without the module for a protocol has no such file.
fn failed(error: &io::Error) -> QueryError {
    match Errno::from_io_error(error) {
        Some(errno @ (Errno::NOENT | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT)) => {
            unsupported("no socket diagnosis (NETLINK_SOCK_DIAG)", errno)
        }
        Some(errno) => QueryError::new(errno, REMEDY),
        None => QueryError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn listeners_have_their_queues_and_limits() {
        for (address, table) in [("127.0.0.1:0", SocketTable::Tcp), ("[::1]:0", SocketTable::Tcp6)] {
            let server = TcpListener::bind(address).expect("bound");
            let bound = server.local_addr().expect("bound");
            let find = || {
                let Listeners { sockets, truncated } = listeners(table, far()).expect("listed");
                assert!(!truncated);
                sockets.into_iter().find(|socket| socket.port == bound.port()).expect("it is there")
            };
            let listener = find();
            assert_eq!((listener.address.as_str(), listener.queued), (&*bound.ip().to_string(), 0));
            assert!(listener.queue_limit >= Some(1) && listener.inode > 0, "{listener:?}");
            assert_eq!(listener.user, rustix::process::geteuid().as_raw());
            let _waiting = [(); 3].map(|()| TcpStream::connect(bound).expect("accepted by the kernel"));
            assert_eq!(find().queued, 3);
        }
    }

    #[test]
    fn datagram_sockets_without_a_peer_listen() {
        for (address, table) in [("127.0.0.1:0", SocketTable::Udp), ("[::1]:0", SocketTable::Udp6)] {
            let socket = UdpSocket::bind(address).expect("bound");
            let port = socket.local_addr().expect("bound").port();
            let find =
                || listeners(table, far()).expect("listed").sockets.into_iter().find(|socket| socket.port == port);
            let listener = find().expect("it is there");
            assert_eq!((listener.queued, listener.queue_limit), (0, None));
            let sender = UdpSocket::bind(address).expect("bound");
            sender.send_to(b"waits", socket.local_addr().expect("bound")).expect("sent");
            assert!(find().expect("it is there").queued > 0);
            socket.connect(sender.local_addr().expect("bound")).expect("connected");
            assert_eq!(find(), None, "it has a peer");
        }
    }

    #[test]
    fn counts_are_those_of_the_file() {
        let _server = TcpListener::bind("127.0.0.1:0").expect("bound");
        // Other tests open and close sockets.
        let is_equal = || {
            let file = || {
                let text = std::fs::read_to_string("/proc/self/net/tcp").expect("readable");
                let mut counts = BTreeMap::new();
                for line in text.lines().skip(1) {
                    let state = line.split_ascii_whitespace().nth(3).expect("a state");
                    let state = u8::from_str_radix(state, 16).expect("a number");
                    *counts.entry(state).or_insert(0_u64) += 1;
                }
                counts
            };
            let (before, counts, after) = (file(), count(SocketTable::Tcp, far()).expect("counted"), file());
            assert!(!counts.truncated);
            let name = |state: u8| STATES.iter().find(|(known, _)| *known == state).expect("known").1;
            let expected: BTreeMap<&str, u64> = before.iter().map(|(state, count)| (name(*state), *count)).collect();
            let found: BTreeMap<&str, u64> =
                counts.states.iter().map(|counted| (&*counted.state, counted.count)).collect();
            before == after && found == expected
        };
        assert!((0..1000).any(|_| is_equal()), "equal while nothing changes");
    }

    #[test]
    fn results_are_bounded_in_number_and_time() {
        let _servers = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("bound"));
        let Listeners { sockets, truncated } = listeners_at_most(2, SocketTable::Tcp, far()).expect("listed");
        assert_eq!((sockets.len(), truncated), (2, true));
        let SocketCounts { states, truncated } = count_at_most(2, SocketTable::Tcp, far()).expect("counted");
        assert_eq!((states.iter().map(|counted| counted.count).sum::<u64>(), truncated), (2, true));
        assert!(matches!(count(SocketTable::Tcp, Instant::now()), Err(QueryError::Timeout)));
    }
}
