//! A port as an operator writes it: `80`, `"tcp6:443"`, `"udp:53"`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::table::Table;

/// Of which sockets a port is one.
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

    /// Where its sockets are. One that is bound to the unspecified address of IPv6 mostly serves IPv4 as well, and is
    /// only in the table of IPv6: so what is not restricted to IPv6 is looked up in both.
    pub(crate) fn tables(self) -> &'static [Table] {
        match self {
            Self::Tcp => &[Table::Tcp, Table::Tcp6],
            Self::Tcp6 => &[Table::Tcp6],
            Self::Udp => &[Table::Udp, Table::Udp6],
            Self::Udp6 => &[Table::Udp6],
        }
    }

    /// Whether connections wait to be accepted.
    pub(crate) fn has_accept_queue(self) -> bool {
        matches!(self, Self::Tcp | Self::Tcp6)
    }
}

/// A port that is watched.
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
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
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
