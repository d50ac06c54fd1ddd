//! Names of network interfaces. The ioctls that take one have the kernel load a module of that name when there is no such interface,
//! and start modprobe for that, if the agent has the capability. So no name that a plugin made up may reach them: the kernel is
//! asked by rtnetlink first, which only looks it up.

use std::ffi::CStr;
use std::io::{self, Read as _};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::error::{QueryError, unsupported};

/// The number of the protocol of netlink.
const NETLINK_ROUTE: i32 = 0;

/// Types of messages.
const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;

/// The flag of a request for one interface.
const NLM_F_REQUEST: u16 = 1;

/// The attribute with a name, which may also be an alternative one.
const IFLA_IFNAME: u16 = 3;

/// The header of each message: length, type, flags, sequence, port.
const HEADER_BYTES: usize = 16;

/// The record of an interface after it, which is empty in a request by name; and the header of an attribute.
const RECORD_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;

/// The part of a reply that is read: its type, and the number of an error.
const REPLY_BYTES: usize = HEADER_BYTES + 4;

/// The remedy where the operating system refuses it.
const REMEDY: &str = "let the agent's sandbox open netlink sockets";

/// The name of an interface of the agent's network, which was there a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterfaceName([u8; libc::IFNAMSIZ]);

impl InterfaceName {
    /// Looks a name up. What a colon begins is that of an address of the interface.
    pub(super) fn find(name: &str) -> Result<Self, QueryError> {
        let name = name.split(':').next().unwrap_or_default();
        let mut bytes = [0; libc::IFNAMSIZ];
        // One byte ends the name.
        if name.is_empty() || name.len() >= bytes.len() || name.contains(['\0', '/']) {
            return Err(QueryError::NotFound);
        }
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        match reply(&request(&bytes)).map_err(|error| failed(&error))? {
            Reply::Found => Ok(Self(bytes)),
            Reply::Error(Errno::NODEV) => Err(QueryError::NotFound),
            Reply::Error(errno) => Err(failed(&errno.into())),
            Reply::Malformed => Err(QueryError::Other("the kernel's reply is malformed".to_owned())),
        }
    }

    /// The name, and zeros after it.
    pub(super) fn bytes(self) -> [u8; libc::IFNAMSIZ] {
        self.0
    }
}

/// The reply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Found,
    Error(Errno),
    /// It does not have the form of any reply.
    Malformed,
}

/// Sends a request. The kernel has replied when that returns.
fn reply(request: &[u8]) -> io::Result<Reply> {
    let protocol = Some(Protocol::from(NETLINK_ROUTE));
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, protocol)?;
    socket.set_nonblocking(true)?;
    // Without an address a message goes to the kernel.
    socket.send(request)?;
    // The rest, which has all of an interface, is lost.
    let mut bytes = [0; REPLY_BYTES];
    let length = (&socket).read(&mut bytes)?;
    Ok(parse(&bytes[..length]))
}

/// The request for the interface with a name.
fn request(name: &[u8; libc::IFNAMSIZ]) -> Vec<u8> {
    let name = CStr::from_bytes_until_nul(name).unwrap_or_default().to_bytes_with_nul();
    let attribute = ATTRIBUTE_BYTES + name.len();
    let length = HEADER_BYTES + RECORD_BYTES + attribute;
    let mut bytes = vec![0; length.next_multiple_of(4)];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    put(4, &RTM_GETLINK.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    put(HEADER_BYTES + RECORD_BYTES, &u16::try_from(attribute).unwrap_or(u16::MAX).to_ne_bytes());
    put(HEADER_BYTES + RECORD_BYTES + 2, &IFLA_IFNAME.to_ne_bytes());
    put(HEADER_BYTES + RECORD_BYTES + ATTRIBUTE_BYTES, name);
    bytes
}

/// Parses the beginning of a reply.
fn parse(bytes: &[u8]) -> Reply {
    let Some((kind, error)) = bytes.get(4..6).zip(bytes.get(HEADER_BYTES..REPLY_BYTES)) else {
        return Reply::Malformed;
    };
    match u16::from_ne_bytes([kind[0], kind[1]]) {
        RTM_NEWLINK => Reply::Found,
        NLMSG_ERROR => {
            let number = i32::from_ne_bytes([error[0], error[1], error[2], error[3]]).wrapping_neg();
            Reply::Error(Errno::from_io_error(&io::Error::from_raw_os_error(number)).unwrap_or(Errno::IO))
        }
        _ => Reply::Malformed,
    }
}

/// The error of a system call or of the kernel's reply.
fn failed(error: &io::Error) -> QueryError {
    match Errno::from_io_error(error) {
        Some(errno @ (Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP)) => {
            unsupported("no look-up of interfaces (NETLINK_ROUTE)", errno)
        }
        Some(errno) => QueryError::new(errno, REMEDY),
        None => QueryError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_interfaces_are_found() {
        let lo = InterfaceName::find("lo").expect("every kernel has it");
        assert_eq!(&lo.bytes()[..3], b"lo\0");
        assert_eq!(InterfaceName::find("lo:1"), Ok(lo), "an address of it");
    }

    #[test]
    fn unknown_names_are_not_found() {
        for name in [
            "",
            ":",
            ":lo",
            "none-such",
            "a-name-of-fifteen-or-more",
            "fifteen-letters",
            "l\0o",
            "lo/",
            "../lo",
            " lo",
            "%d",
            "é",
        ] {
            assert_eq!(InterfaceName::find(name), Err(QueryError::NotFound), "{name:?}");
        }
    }

    #[test]
    fn replies_have_a_type_or_are_malformed() {
        let reply = |kind: u16, error: i32| {
            let mut bytes = [0; REPLY_BYTES];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[HEADER_BYTES..].copy_from_slice(&error.to_ne_bytes());
            bytes
        };
        assert_eq!(parse(&reply(RTM_NEWLINK, 0)), Reply::Found);
        assert_eq!(parse(&reply(NLMSG_ERROR, -19)), Reply::Error(Errno::NODEV));
        assert_eq!(parse(&reply(NLMSG_ERROR, i32::MIN)), Reply::Error(Errno::IO));
        assert_eq!(parse(&reply(3, 0)), Reply::Malformed);
        assert_eq!(parse(&reply(RTM_NEWLINK, 0)[..REPLY_BYTES - 1]), Reply::Malformed);
    }
}
