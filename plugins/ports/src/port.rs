//! A port in the settings: `80`, `"tcp6:443"`, `"udp:53"`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::table::Table;

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
        }
    }

    /// The tables with its sockets. A socket on the unspecified IPv6 address mostly serves IPv4 too and is only in the
    /// IPv6 table, so `Tcp` and `Udp` have both tables.
    pub(crate) fn tables(self) -> &'static [Table] {
        match self {
            Self::Tcp => &[Table::Tcp, Table::Tcp6],
            Self::Tcp6 => &[Table::Tcp6],
            Self::Udp => &[Table::Udp, Table::Udp6],
            Self::Udp6 => &[Table::Udp6],
        }
    }

    /// Whether its listening sockets have an accept queue.
    pub(crate) fn has_accept_queue(self) -> bool {
        matches!(self, Self::Tcp | Self::Tcp6)
    }
}

/// A configured port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

impl Port {
    fn parse(text: &str) -> Option<Self> {
        let (protocol, number) = text.split_once(':').unwrap_or(("tcp", text));
        let protocols = [Protocol::Tcp, Protocol::Tcp6, Protocol::Udp, Protocol::Udp6];
        let protocol = protocols.into_iter().find(|known| known.name() == protocol)?;
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|&number| number > 0 && is_plain)?;
        Some(Self { protocol, number })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.protocol.name(), self.number)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

/// Deserialises a port from a number or a string.
struct PortVisitor;

impl Visitor<'_> for PortVisitor {
    type Value = Port;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port from 1 to 65535, or a text such as \"tcp:80\", \"tcp6:443\", \"udp:53\" or \"udp6:53\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Port, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Port, E> {
        Port::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}
