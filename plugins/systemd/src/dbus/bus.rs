//! A connection to a bus, or to a program that speaks its protocol: authentication, and calls of which several are under way at
//! a time. A connection that fails is of no more use.

use gauged_plugin::net::{self, Connection};
use gauged_plugin::{Error, OsError};

use super::message::{Body, Call, ErrorReply, Message, length};
use super::{ByteOrder, Malformed};

/// The most calls under way: each is work that waits in the peer, and `dbus-daemon` was built with a limit of 128 once.
pub(crate) const WINDOW: usize = 64;

/// The most messages, beside the replies, that are skipped for one exchange. The plugin asks for no signals, and gets a few all the
/// same.
const MAX_OTHERS: usize = 10_000;

/// The longest line of the authentication.
const MAX_LINE_BYTES: usize = 4096;

/// The size of one read, the most that the agent returns.
const CHUNK_BYTES: u32 = 64 << 10;

/// The bus itself, and its method that gives a client its name.
const HELLO: Call<'_> = Call {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
    arguments: &[],
};

/// Why there are no replies.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The connection failed, or the peer closed it.
    Connection(net::Failure),
    /// The peer sent something that is no message, or has other types than it should.
    Protocol { address: String, why: &'static str },
    /// The peer does not accept the agent's user.
    Rejected { address: String },
    /// The bus does not let the client in.
    Hello { address: String, error: ErrorReply },
}

impl From<net::Failure> for Failure {
    fn from(failure: net::Failure) -> Self {
        Self::Connection(failure)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connection(failure) => failure.into(),
            Failure::Protocol { address, why } => {
                Self::Unavailable(format!("what {address} sent is no message of D-Bus: it {why}"))
            }
            Failure::Rejected { address } => {
                Self::Failed(format!("{address} does not accept the agent's user; run the agent as another one"))
            }
            Failure::Hello { address, error: ErrorReply { name, text } } => {
                Self::Unavailable(format!("{address} does not let the agent in: {name}: {text}"))
            }
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Bus {
    address: String,
    connection: Connection,
    /// What was received and is not used yet, from `start` on.
    received: Vec<u8>,
    start: usize,
    /// The number of the last call.
    serial: u32,
}

impl Bus {
    /// Connects, authenticates, and with `has_names`, on a bus, gets a name.
    pub(crate) fn open(address: &str, has_names: bool) -> Result<Self, Failure> {
        let connection = Connection::open(address)?;
        let mut bus = Self { address: address.to_owned(), connection, received: Vec::new(), start: 0, serial: 0 };
        bus.authenticate()?;
        if has_names {
            let mut refused = None;
            bus.call_all(&[HELLO], |_, reply| {
                refused = reply.err();
                Ok(())
            })?;
            if let Some(error) = refused {
                return Err(Failure::Hello { address: bus.address, error });
            }
        }
        Ok(bus)
    }

    /// Authenticates as the agent's user, whom the peer knows by the socket.
    fn authenticate(&self) -> Result<(), Failure> {
        // The first byte once carried the user, and is part of the protocol.
        self.connection.write(b"\0AUTH EXTERNAL\r\n")?;
        let mut reply = self.line()?;
        if reply.starts_with(b"DATA") {
            self.connection.write(b"DATA\r\n")?;
            reply = self.line()?;
        }
        if reply.starts_with(b"REJECTED") {
            return Err(Failure::Rejected { address: self.address.clone() });
        }
        if !reply.starts_with(b"OK ") && reply != b"OK\r\n" {
            return Err(self.malformed(Malformed("does not authenticate as a bus does")));
        }
        self.connection.write(b"BEGIN\r\n")?;
        Ok(())
    }

    fn line(&self) -> Result<Vec<u8>, Failure> {
        Ok(self.connection.read_until(b"\r\n", MAX_LINE_BYTES)?)
    }

    /// Makes calls, and passes the reply to each to `take` with its number, in whatever order they come.
    pub(crate) fn call_all(
        &mut self,
        calls: &[Call<'_>],
        mut take: impl FnMut(usize, Result<Body<'_>, ErrorReply>) -> Result<(), Malformed>,
    ) -> Result<(), Failure> {
        // Zero is no number of a call, and no earlier call is under way.
        if u32::try_from(calls.len()).is_ok_and(|count| self.serial.checked_add(count).is_none()) {
            self.serial = 0;
        }
        let first = self.serial + 1;
        let mut is_pending = vec![true; calls.len()];
        let (mut sent, mut replied, mut others) = (0, 0, 0);
        while replied < calls.len() {
            // Few writes for many calls.
            if sent < calls.len() && sent - replied <= WINDOW / 2 {
                let until = calls.len().min(replied + WINDOW);
                self.send(calls.get(sent..until).unwrap_or_default())?;
                sent = until;
            }
            let end = self.receive()?;
            let message = self.received.get(self.start..end).unwrap_or_default();
            self.start = end;
            let malformed = |Malformed(why)| Failure::Protocol { address: self.address.clone(), why };
            let Message::Reply { serial, result } = Message::decode(message).map_err(malformed)? else {
                others += 1;
                if others > MAX_OTHERS {
                    return Err(malformed(Malformed("is one of too many signals")));
                }
                continue;
            };
            let at = usize::try_from(serial.wrapping_sub(first)).unwrap_or(usize::MAX);
            match is_pending.get_mut(at) {
                Some(is_pending) if at < sent && *is_pending => *is_pending = false,
                _ => return Err(malformed(Malformed("is a reply to no call"))),
            }
            replied += 1;
            take(at, result).map_err(malformed)?;
        }
        // The list of units may be megabytes, which nobody needs until the next tick.
        self.received.drain(..self.start);
        self.received.shrink_to_fit();
        self.start = 0;
        Ok(())
    }

    fn send(&mut self, calls: &[Call<'_>]) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        for call in calls {
            self.serial += 1;
            bytes.append(&mut call.encode(self.serial, ByteOrder::Little));
        }
        Ok(self.connection.write(&bytes)?)
    }

    /// Receives until there is a whole message from `start` on, and returns its end.
    fn receive(&mut self) -> Result<usize, Failure> {
        loop {
            let rest = self.received.get(self.start..).unwrap_or_default();
            let length = length(rest).map_err(|malformed| self.malformed(malformed))?;
            match length {
                Some(length) if length <= rest.len() => return Ok(self.start + length),
                length => {
                    self.received.drain(..self.start);
                    self.start = 0;
                    // A long message is received in many parts: no more memory than it needs.
                    self.received.reserve_exact(length.unwrap_or(0).saturating_sub(self.received.len()));
                }
            }
            let mut part = self.connection.read(CHUNK_BYTES)?;
            if part.is_empty() {
                let error = net::Error::Io(OsError::new("", "it was closed"));
                return Err(Failure::Connection(net::Failure { address: self.address.clone(), error }));
            }
            self.received.append(&mut part);
        }
    }

    /// The memory for what was received.
    #[cfg(test)]
    pub(crate) fn received_capacity(&self) -> usize {
        self.received.capacity()
    }

    fn malformed(&self, Malformed(why): Malformed) -> Failure {
        Failure::Protocol { address: self.address.clone(), why }
    }
}
