//! The parser for the listening sockets in the kernel's tables, `/proc/net/tcp` and the like. Reads no file.

use gauged_plugin::kernel::{self, File, Line};

/// A socket table of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

impl Table {
    pub(crate) const ALL: [Self; 4] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6];

    /// The file of process 1: `/proc/net` would show the reader's own network namespace.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Tcp => "/proc/1/net/tcp",
            Self::Tcp6 => "/proc/1/net/tcp6",
            Self::Udp => "/proc/1/net/udp",
            Self::Udp6 => "/proc/1/net/udp6",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.path().trim_start_matches("/proc/1/net/")
    }

    pub(crate) fn is_ipv6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6)
    }

    /// The state of a listening socket: `LISTEN` for TCP; `CLOSE` for UDP, which means bound without a peer.
    fn listening_state(self) -> &'static str {
        match self {
            Self::Tcp | Self::Tcp6 => "0A",
            Self::Udp | Self::Udp6 => "07",
        }
    }

    /// Calls `found` with the port and the queue length of each listening socket.
    pub(crate) fn listeners(self, file: &File, mut found: impl FnMut(u16, u64)) -> Result<(), kernel::Error> {
        let mut lines = file.lines();
        let header = lines.next().ok_or_else(|| file.error("is empty"))?;
        if !header.text().contains("local_address") {
            return Err(header.error("is not the header of a socket table"));
        }
        for line in lines {
            if let Some((port, waiting)) = self.parse_listener(line)? {
                found(port, waiting);
            }
        }
        Ok(())
    }

    /// Parses `0: 0100007F:0CEA 00000000:0000 0A 00000000:00000003 …`: number, local address, remote address, state, send
    /// and receive queue, in hexadecimal. The receive queue of a listening socket counts connections.
    fn parse_listener(self, line: Line<'_>) -> Result<Option<(u16, u64)>, kernel::Error> {
        let mut fields = line.fields();
        let _number = fields.word("the socket's number")?;
        let address = fields.word("the local address")?;
        let _peer = fields.word("the remote address")?;
        if fields.word("the state")? != self.listening_state() {
            return Ok(None);
        }
        let port = address.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        let port = port.ok_or_else(|| line.error(format_args!("{address} is not an address with a port")))?;
        let queues = fields.word("the queues")?;
        let waiting = queues.split_once(':').and_then(|(_, waiting)| u64::from_str_radix(waiting, 16).ok());
        let waiting = waiting.ok_or_else(|| line.error(format_args!("{queues} is not a pair of queue lengths")))?;
        Ok(Some((port, waiting)))
    }
}
