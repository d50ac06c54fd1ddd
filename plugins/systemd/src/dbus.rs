//! A client of D-Bus, as far as a reader of properties needs one: the wire format in both byte orders, and a connection that
//! authenticates itself and has several calls under way. Whatever a peer sends is bounded and checked before it is believed.
//! Knows nothing of systemd, and serves no calls of others.

pub(crate) mod bus;
pub(crate) mod message;
pub(crate) mod reader;
pub(crate) mod signature;
pub(crate) mod writer;

/// The order of the bytes of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The order with this mark at the beginning of a message.
    pub(crate) fn from_mark(mark: u8) -> Option<Self> {
        match mark {
            b'l' => Some(Self::Little),
            b'B' => Some(Self::Big),
            _ => None,
        }
    }

    pub(crate) fn mark(self) -> u8 {
        match self {
            Self::Little => b'l',
            Self::Big => b'B',
        }
    }
}

/// Why bytes are not what they should be, as the end of a sentence that begins with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);
