//! A port in the settings: `80`, `"tcp6:443"`, `"udp:53"`.

use std::fmt;

use gauged_plugin::parse_setting;
use gauged_plugin::system::SocketTable;
use serde::de::{Deserialize, Deserializer};

/// A configured port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) protocol: SocketTable,
    pub(crate) number: u16,
}

impl Port {
    fn parse(text: &str) -> Option<Self> {
        let (protocol, number) = text.split_once(':').unwrap_or(("tcp", text));
        let protocol = SocketTable::ALL.into_iter().find(|known| known.name() == protocol)?;
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|&number| number > 0 && is_plain)?;
        Some(Self { protocol, number })
    }

    /// The tables with its sockets. A socket on the unspecified IPv6 address mostly serves IPv4 too and is only in the
    /// IPv6 table, so a port of IPv4 has both tables.
    pub(crate) fn tables(self) -> &'static [SocketTable] {
        match self.protocol {
            SocketTable::Tcp => &[SocketTable::Tcp, SocketTable::Tcp6],
            SocketTable::Tcp6 => &[SocketTable::Tcp6],
            SocketTable::Udp => &[SocketTable::Udp, SocketTable::Udp6],
            SocketTable::Udp6 => &[SocketTable::Udp6],
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.protocol.name(), self.number)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a port from 1 to 65535, or a text such as \"tcp:80\", \"tcp6:443\", \"udp:53\" or \"udp6:53\"";
        parse_setting(deserializer, expected, Self::parse)
    }
}
