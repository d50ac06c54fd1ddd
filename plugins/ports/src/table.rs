//! The kernel's tables of sockets, `/proc/net/tcp` and its like, of which only the lines of those are of interest that
//! listen. Reads no file.

use gauged_plugin::kernel::{self, File, Line};

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

impl Table {
    pub(crate) const ALL: [Self; 4] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6];

    /// As the first process sees it: what is below `/proc/net` belongs to who reads it.
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

    /// The state of a socket that listens: of TCP, `LISTEN`; of UDP, one that is bound and not connected to a peer
    /// (`CLOSE`).
    fn listening(self) -> &'static str {
        match self {
            Self::Tcp | Self::Tcp6 => "0A",
            Self::Udp | Self::Udp6 => "07",
        }
    }

    /// Calls `found` with the port of each socket that listens, and with what waits in it.
    pub(crate) fn listeners(self, file: &File, mut found: impl FnMut(u16, u64)) -> Result<(), kernel::Error> {
        let mut lines = file.lines();
        let header = lines.next().ok_or_else(|| file.error("is empty"))?;
        if !header.text().contains("local_address") {
            return Err(header.error("is not the heading of a table of sockets"));
        }
        for line in lines {
            if let Some((port, waiting)) = self.listener(line)? {
                found(port, waiting);
            }
        }
        Ok(())
    }

    /// `0: 0100007F:0CEA 00000000:0000 0A 00000000:00000003 …`: a number, this address, the peer's, the state, what is to
    /// be sent and what has come, all hexadecimal. What has come to a socket that listens are connections.
    fn listener(self, line: Line<'_>) -> Result<Option<(u16, u64)>, kernel::Error> {
        let mut fields = line.fields();
        let _number = fields.word("the socket's number")?;
        let address = fields.word("the local address")?;
        let _peer = fields.word("the remote address")?;
        if fields.word("the state")? != self.listening() {
            return Ok(None);
        }
        let port = address.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        let port = port.ok_or_else(|| line.error(format_args!("{address} is not an address with a port")))?;
        let queues = fields.word("the queues")?;
        let waiting = queues.split_once(':').and_then(|(_, waiting)| u64::from_str_radix(waiting, 16).ok());
        let waiting = waiting.ok_or_else(|| line.error(format_args!("{queues} are not two queues")))?;
        Ok(Some((port, waiting)))
    }
}
